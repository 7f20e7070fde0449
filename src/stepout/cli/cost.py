"""`stepout cost`: what a NAT gateway costs in a month, and what this way does."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, TypeAlias, TypeVar, get_args

import click

from stepout.cli import bill
from stepout.deploy.cost import (
    ENDPOINTS,
    MAX_KB,
    MAX_SECONDS,
    Api,
    Comparison,
    Compute,
    Duration,
    Endpoint,
    Usage,
)
from stepout.deploy.prices import UNITS, PriceFile, Prices
from stepout.errors import SettingsError
from stepout.gateway.upstreams import Upstreams

__all__ = ["command"]

_T = TypeVar("_T")

DEFAULT_CALLS: Final = 1_000_000

SERVICE: Final = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")


# --- Numbers that are given -----------------------------------------------------------------------

_NUMBER: Final = re.compile(r"[0-9]{1,15}(\.[0-9]{1,12})?")
_SUFFIXES: Final = {"k": 1_000, "M": 1_000_000, "G": 1_000_000_000}


def _number(text: str) -> Fraction:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"expected a number, 0 or more, found '{text}'.")
    return Fraction(text)


def _calls(text: str) -> int:
    """`250000`, `250k`, `1.5M`."""
    size = _SUFFIXES.get(text[-1:], 1)
    calls = _number(text if size == 1 else text[:-1]) * size
    if calls.denominator != 1 or calls > 10**15:
        raise ValueError(f"expected a whole number such as 250k or 1.5M, found '{text}'.")
    return int(calls)


def _durations(text: str) -> tuple[Duration, ...]:
    """`0.2`, or `0.2:90%,1.5:10%`: seconds and the share of calls that take them."""
    parts = [part.partition(":") for part in text.split(",")]
    if len(parts) == 1 and not parts[0][1]:
        return (Duration(_seconds(text)),)
    found = [
        Duration(_seconds(seconds), _number(share.removesuffix("%")) / 100)
        for seconds, _, share in parts
    ]
    total = sum(part.share for part in found)
    if total != 1:
        raise ValueError(f"expected shares that make 100 %, found {float(total):.4%}.")
    return tuple(found)


def _seconds(text: str) -> Fraction:
    seconds = _number(text)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(
            f"expected seconds above 0 and up to {MAX_SECONDS}, when an HTTP Task ends, "
            f"found '{text}'."
        )
    return seconds


def _kb(text: str) -> Fraction:
    size = _number(text)
    if size > MAX_KB:
        raise ValueError(
            f"expected up to {MAX_KB} KB, which is what a call carries, found '{text}'."
        )
    return size


def _percent(text: str) -> Fraction:
    share = _number(text.removesuffix("%")) / 100
    if share > 1:
        raise ValueError(f"expected a percentage up to 100, found '{text}'.")
    return share


def _service(text: str) -> str:
    if not SERVICE.fullmatch(text):
        raise ValueError(f"expected a service such as secretsmanager, found '{text}'.")
    return text


def _reading(read: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """A callback that makes of an option what `read` does; of a list, of each."""

    def convert(context: click.Context, option: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(read(text) for text in value)
            return None if value is None else read(value)
        except ValueError as error:
            raise click.BadParameter(_sentence(error), context, option) from None

    return convert


def _sentence(error: ValueError) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]


def _named(read: Callable[[str], _T]) -> Callable[[str], tuple[str, _T]]:
    """`NAME=TEXT`, for one API, or a text for all others, whose name is empty."""

    def read_named(text: str) -> tuple[str, _T]:
        name, equals, rest = text.partition("=")
        return (name, read(rest)) if equals else ("", read(text))

    return read_named


def _price(text: str) -> tuple[str, Fraction]:
    name, _, usd = text.partition("=")
    if name not in UNITS:
        raise ValueError(f"expected NAME=USD with one of {', '.join(UNITS)}, found '{text}'.")
    return name, _number(usd)


_Decorator: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


def _of_api(name: str, read: Callable[[str], Any], metavar: str, text: str) -> _Decorator:
    return click.option(
        name,
        multiple=True,
        metavar=f"[NAME=]{metavar}",
        callback=_reading(_named(read)),
        help=text,
    )


_path: Final = click.Path(dir_okay=False, path_type=Path)


@click.command("cost")
@_of_api("--calls", _calls, "N", "Calls a month, such as 250k or 1.5M [1M].")
@_of_api(
    "--seconds",
    _durations,
    "S",
    "How long a call takes, or several times with shares: 0.2:90%,1.5:10% [0.2].",
)
@_of_api("--request-kb", _kb, "KB", "Size of a request [0].")
@_of_api("--response-kb", _kb, "KB", "Size of an answer [0].")
@_of_api("--retried", _percent, "%", "Calls that are repeated once [0].")
@click.option("--upstreams", type=_path, metavar="FILE", help="The APIs, NAMEs of the above.")
@click.option("--region", default="us-east-1", show_default=True, help="The AWS region.")
@click.option("--zones", type=click.IntRange(1, 6), default=1, help="Availability zones [1].")
@click.option("--nat-gateways", type=click.IntRange(1, 6), help="NAT gateways [one in each zone].")
@click.option(
    "--compute",
    type=click.Choice(get_args(Compute)),
    default="lambda",
    help="What runs in the subnet [lambda].",
)
@click.option(
    "--endpoint",
    "more",
    multiple=True,
    metavar="SERVICE",
    callback=_reading(_service),
    help="One more service that the subnet needs an endpoint for.",
)
@click.option(
    "--without",
    multiple=True,
    metavar="SERVICE",
    callback=_reading(_service),
    help="An endpoint of --compute that is not needed.",
)
@click.option(
    "--nat-gb",
    metavar="GB",
    callback=_reading(_number),
    default="0",
    help="Other traffic a month that needs the NAT gateway in any case.",
)
@click.option("--keep-nat", is_flag=True, help="The NAT gateway stays, whatever its traffic.")
@click.option(
    "--aws-gb",
    metavar="GB",
    callback=_reading(_number),
    default="0",
    help="Traffic a month to AWS services but S3 and DynamoDB.",
)
@click.option(
    "--memory-mb", type=click.IntRange(1, 3_008), default=64, help="Memory of an execution [64]."
)
@click.option(
    "--prices",
    "files",
    multiple=True,
    type=_path,
    metavar="FILE",
    help="Prices that go before those of stepout.",
)
@click.option(
    "--price",
    "given",
    multiple=True,
    metavar="NAME=USD",
    callback=_reading(_price),
    help="One price.",
)
@click.option("--sources", is_flag=True, help="Print each price and where it comes from.")
@click.option("--no-chart", is_flag=True, help="Print no chart.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def command(
    *,
    region: str,
    files: tuple[Path, ...],
    given: tuple[tuple[str, Fraction], ...],
    sources: bool,
    no_chart: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Compare a NAT gateway with Step Functions behind an interface endpoint, in USD a month.

    With NAME= an option is for one API; without, for all the others together. Asks nobody: prices
    come from a dated file, and from --prices and --price.
    """
    try:
        laid = [PriceFile.of_package(), *map(PriceFile.load, files)]
        prices = Prices.of(region, laid, dict(given))
        comparison = Comparison(_usage(flags), prices)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    _warn(prices)
    if as_json:
        click.echo(json.dumps(bill.as_json(comparison), indent=2))
    else:
        click.echo(bill.as_text(comparison, has_chart=not no_chart, has_sources=sources))


def _warn(prices: Prices) -> None:
    stale = prices.stale(datetime.now(UTC).date())
    if stale:
        oldest = min(str(prices.items[name].checked) for name in stale)
        click.echo(
            f"Warning: these prices were last gone through on {oldest}, more than a year ago: "
            f"{', '.join(stale)}. Give newer ones with --price or --prices.",
            err=True,
        )


# --- From flags to a usage ------------------------------------------------------------------------


def _usage(flags: Mapping[str, Any]) -> Usage:
    zones = flags["zones"]
    gateways = flags["nat_gateways"] or zones
    if gateways > zones:
        raise SettingsError(f"Expected --nat-gateways up to --zones, found {gateways} and {zones}.")
    keeps_nat = flags["keep_nat"] or bool(flags["nat_gb"])
    endpoints = tuple(_endpoints(flags, keeps_nat=keeps_nat))
    if flags["aws_gb"] and not endpoints and not keeps_nat:
        raise SettingsError(
            "--aws-gb has no endpoint to go through: name the services with --endpoint, or what "
            "runs in the subnet with --compute."
        )
    return Usage(
        apis=tuple(_apis(flags)),
        zones=zones,
        nat_gateways=gateways,
        keeps_nat=keeps_nat,
        nat_gb=flags["nat_gb"],
        aws_gb=flags["aws_gb"],
        endpoints=endpoints,
        memory_mb=flags["memory_mb"],
    )


def _endpoints(flags: Mapping[str, Any], *, keeps_nat: bool) -> Iterator[Endpoint]:
    """Those of what runs there, unless a NAT gateway leads to AWS, and those that are asked for."""
    needed = {endpoint.service: endpoint for endpoint in ENDPOINTS[flags["compute"]]}
    for service in flags["without"]:
        if service not in needed:
            raise SettingsError(
                f"--without {service}: --compute {flags['compute']} does not need it; it needs "
                f"{', '.join(needed) or 'none'}."
            )
        del needed[service]
    if keeps_nat:
        needed = {}
    for service in flags["more"]:
        needed.setdefault(service, Endpoint(service, "asked for with --endpoint"))
    yield from (endpoint for endpoint in needed.values() if endpoint.service != "sync-states")


@dataclass(frozen=True, slots=True)
class _Given:
    """One option of the calls: for all, and by the name of an API."""

    flag: str
    plain: Any
    named: Mapping[str, Any]

    @classmethod
    def of(cls, flags: Mapping[str, Any], flag: str) -> _Given:
        pairs: Sequence[tuple[str, Any]] = flags[flag]
        names = [name for name, _ in pairs]
        doubled = next((name for name in names if names.count(name) > 1), None)
        if doubled is not None:
            what = f" for {doubled}" if doubled else ""
            raise SettingsError(f"--{flag.replace('_', '-')} is given twice{what}.")
        found = dict(pairs)
        return cls(flag.replace("_", "-"), found.pop("", None), found)

    def get(self, name: str, default: Any) -> Any:
        found = self.named.get(name, self.plain)
        return default if found is None else found


def _apis(flags: Mapping[str, Any]) -> Iterator[Api]:
    options = ("calls", "seconds", "request_kb", "response_kb", "retried")
    calls, seconds, request_kb, response_kb, retried = (_Given.of(flags, one) for one in options)
    names = _names(flags["upstreams"], calls)
    for option in (calls, seconds, request_kb, response_kb, retried):
        unknown = sorted(option.named.keys() - set(names))
        if unknown:
            known = f"there are {', '.join(names)}" if any(names) else "no --calls names one"
            raise SettingsError(f"--{option.flag}: there is no API {', '.join(unknown)}; {known}.")
    for name, number in _shared(names, calls).items():
        yield Api(
            name=name,
            calls=number,
            durations=seconds.get(name, (Duration(Fraction("0.2")),)),
            request_kb=request_kb.get(name, Fraction(0)),
            response_kb=response_kb.get(name, Fraction(0)),
            retried=retried.get(name, Fraction(0)),
        )


def _names(upstreams: Path | None, calls: _Given) -> tuple[str, ...]:
    if upstreams is not None:
        return Upstreams.load(upstreams).names
    others = ("others",) if calls.plain is not None else ()
    return (*calls.named, *others) if calls.named else ("",)


def _shared(names: Sequence[str], calls: _Given) -> dict[str, int]:
    """Calls by API; those without a number of their own share the plain one."""
    rest = [name for name in names if name not in calls.named]
    plain = calls.plain
    if plain is None:
        plain = 0 if calls.named else DEFAULT_CALLS
    elif not rest:
        raise SettingsError(
            "--calls: every API has a number of its own; none is left for the rest."
        )
    each, over = divmod(plain, len(rest)) if rest else (0, 0)
    shares = {name: each + (at < over) for at, name in enumerate(rest)}
    return {name: calls.named.get(name, shares.get(name, 0)) for name in names}
