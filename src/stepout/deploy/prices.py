"""Prices of AWS in one region: those of the package, and those that a user knows better.

    date = 2026-09-13

    [everywhere]
    ipv4_hour = 0.005

    [region.eu-west-1]
    nat_hour = { usd = 0.048, date = 2026-06-01, source = "the price list" }

Files are laid over each other; in one file a region's price goes before the one of everywhere.
All problems of a file are told at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from fractions import Fraction
from importlib import resources
from math import isfinite
from pathlib import Path
from typing import Final

from stepout import tables
from stepout.errors import SettingsError
from stepout.tables import Raw, Read, Unexpected

__all__ = ["UNITS", "Price", "PriceFile", "Prices"]

UNITS: Final[Mapping[str, str]] = {
    "nat_hour": "hour of a NAT gateway",
    "nat_gb": "GB through a NAT gateway, either direction",
    "ipv4_hour": "hour of a public IPv4 address",
    "egress_gb": "GB out to the internet",
    "endpoint_hour": "hour of an interface endpoint in one zone",
    "endpoint_gb": "GB through an interface endpoint, either direction",
    "express_request": "Express execution",
    "express_gb_s_1": "GB-second, the first 3.6 million a month",
    "express_gb_s_2": "GB-second, the next 14.4 million",
    "express_gb_s_3": "GB-second above",
}
"""What each price is for: the names that files and `--price` know."""

FRESH: Final = timedelta(days=365)
"""How long the prices of a file are believed without a warning."""


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for one unit, and how that is known."""

    usd: Fraction
    source: str
    published: str = ""
    """When the source said so: a date, a month or a year."""
    checked: date | None = None
    """The date of the file; none where a user gave the price now."""
    sure_in: frozenset[str] | None = None
    """The regions for which it was seen; none: wherever it stands for."""


@dataclass(frozen=True, slots=True)
class PriceFile:
    """One file of prices: those of everywhere, and by region."""

    everywhere: Mapping[str, Price]
    regions: Mapping[str, Mapping[str, Price]]

    @classmethod
    def of_package(cls) -> PriceFile:
        """The prices that come with stepout."""
        found = resources.files("stepout.deploy").joinpath("prices.toml")
        return cls.parse(found.read_text("utf-8"), "prices.toml")

    @classmethod
    def load(cls, path: Path) -> PriceFile:
        """A user's file; raises `SettingsError` with every problem."""
        return cls._read(tables.load(path, "The price file"), str(path))

    @classmethod
    def parse(cls, text: str, name: str) -> PriceFile:
        """As `load`, of a text."""
        return cls._read(tables.parse(text, name), name)

    @classmethod
    def _read(cls, content: Mapping[str, Raw], name: str) -> PriceFile:
        problems: list[str] = []
        found = tables.members("", content, _FILE, problems)
        checked = found.get("date")
        everywhere = _prices("everywhere.", found.get("everywhere", {}), name, checked, problems)
        regions = {
            region: _prices(f"region.{region}.", table, name, checked, problems)
            for region, table in found.get("region", {}).items()
        }
        if problems:
            raise SettingsError("\n".join(f"{name}: {problem}" for problem in problems))
        return cls(everywhere, regions)


@dataclass(frozen=True, slots=True)
class Prices:
    """All prices of one region, by the names of `UNITS`."""

    region: str
    items: Mapping[str, Price]

    @classmethod
    def of(
        cls, region: str, files: Iterable[PriceFile], given: Mapping[str, Fraction] | None = None
    ) -> Prices:
        """The last file wins, and what is given (in US dollars) before all.

        Raises `SettingsError` where a price is missing; it names the regions that have all.
        """
        files = list(files)
        items = _laid_over(files, region)
        items |= {name: Price(usd, "--price") for name, usd in (given or {}).items()}
        missing = [name for name in UNITS if name not in items]
        if missing:
            known = {region for file in files for region in file.regions}
            whole = [name for name in sorted(known) if len(_laid_over(files, name)) == len(UNITS)]
            raise SettingsError(
                f"There are no prices for the region {region}; there are for {', '.join(whole)}. "
                f"Missing: {', '.join(missing)}; give them with --price or --prices."
            )
        return cls(region, {name: items[name] for name in UNITS})

    def __getitem__(self, name: str) -> Fraction:
        return self.items[name].usd

    def is_sure(self, name: str) -> bool:
        """Whether the price was seen for this very region."""
        regions = self.items[name].sure_in
        return regions is None or self.region in regions

    @property
    def unsure(self) -> tuple[str, ...]:
        return tuple(name for name in self.items if not self.is_sure(name))

    def stale(self, today: date) -> tuple[str, ...]:
        """Prices of files that nobody has gone through for a year."""
        return tuple(
            name
            for name, price in self.items.items()
            if price.checked is not None and today - price.checked > FRESH
        )


def _laid_over(files: Iterable[PriceFile], region: str) -> dict[str, Price]:
    items: dict[str, Price] = {}
    for file in files:
        items |= file.everywhere
        items |= file.regions.get(region, {})
    return items


# --- Reading --------------------------------------------------------------------------------------


def _prices(
    at: str, table: Raw, name: str, checked: date | None, problems: list[str]
) -> dict[str, Price]:
    found = tables.members(at, table, dict.fromkeys(UNITS, _price), problems)
    return {
        key: replace(price, source=price.source or name, checked=checked)
        for key, price in found.items()
    }


def _price(raw: Raw) -> Price:
    if not isinstance(raw, dict):
        return Price(_usd(raw), "")
    problems: list[str] = []
    found = tables.members(".", raw, _PRICE, problems)
    problems += [] if "usd" in raw else [": 'usd' is missing."]
    if problems:
        raise Unexpected.at(problems)
    return Price(
        found["usd"],
        found.get("source", ""),
        found.get("date", ""),
        sure_in=frozenset(found["sure_in"]) if "sure_in" in found else None,
    )


def _usd(raw: Raw) -> Fraction:
    """A number as it is written: the shortest text of a float is the one that was read."""
    if isinstance(raw, bool) or not isinstance(raw, int | float) or not isfinite(raw) or raw < 0:
        raise Unexpected("US dollars, 0 or more", raw)
    return Fraction(repr(raw))


def _date(raw: Raw) -> date:
    if not isinstance(raw, date) or isinstance(raw, datetime):
        raise Unexpected("a date such as 2026-09-13", raw)
    return raw


def _published(raw: Raw) -> str:
    return _date(raw).isoformat() if isinstance(raw, date) else str(_month(raw))


_month: Final = tables.matching(r"[0-9]{4}(-[0-9]{2})?", 'a date, or a text such as "2026-09"')
_REGION: Final = r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}"
_region: Final = tables.matching(_REGION, "a region such as us-east-1")


def _table(raw: Raw) -> Raw:
    if not isinstance(raw, dict):
        raise Unexpected("a table", raw)
    return raw


def _regions(raw: Raw) -> Raw:
    problems = list(_region_problems(_table(raw)))
    if problems:
        raise Unexpected.at(problems)
    return raw


def _region_problems(table: Mapping[str, Raw]) -> Iterator[str]:
    for name in table:
        try:
            _region(name)
        except Unexpected as error:
            yield f".{tables.shown(name)}: {error}"


_PRICE: Final[Mapping[str, Read]] = {
    "usd": _usd,
    "source": tables.text,
    "date": _published,
    "sure_in": tables.each(_region),
}

_FILE: Final[Mapping[str, Read]] = {"date": _date, "everywhere": _table, "region": _regions}
