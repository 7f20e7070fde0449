"""Prices: those of the package with their sources, laid over by what a user knows better."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from zipfile import ZipFile

import pytest

from stepout.deploy.prices import UNITS, PriceFile, Prices
from stepout.errors import SettingsError

ROOT = Path(__file__).parents[2]


def own(region: str = "us-east-1") -> Prices:
    return Prices.of(region, [PriceFile.of_package()])


def laid(text: str, region: str = "us-east-1", **given: str) -> Prices:
    files = [PriceFile.of_package(), PriceFile.parse(text, "mine.toml")]
    return Prices.of(region, files, {name: Fraction(usd) for name, usd in given.items()})


@pytest.mark.parametrize("region", ["us-east-1", "ap-northeast-1"])
def test_every_price_of_the_package_has_a_source_and_a_date(region: str) -> None:
    for name, price in own(region).items.items():
        assert price.usd > 0, name
        assert price.source, name
        assert price.published.startswith("202"), name
        assert price.checked, name


def test_prices_are_exactly_what_the_file_says() -> None:
    assert own()["nat_hour"] == Fraction(45, 1_000)
    assert own()["express_gb_s_3"] == Fraction(456, 100_000_000)
    assert own("ap-northeast-1")["endpoint_hour"] == Fraction(14, 1_000)


def test_what_was_seen_for_other_regions_is_not_sure_here() -> None:
    assert own().unsure == ()
    unsure = own("ap-northeast-1").unsure
    assert unsure == ("express_request", "express_gb_s_1", "express_gb_s_2", "express_gb_s_3")


def test_a_region_without_prices_is_refused_with_those_that_have_them_and_what_is_missing() -> None:
    with pytest.raises(SettingsError) as caught:
        own("eu-west-1")
    assert str(caught.value) == (
        "There are no prices for the region eu-west-1; there are for ap-northeast-1, us-east-1. "
        "Missing: nat_hour, nat_gb, egress_gb, endpoint_hour; give them with --price or --prices."
    )


def test_a_region_can_be_given_by_a_file_and_by_single_prices() -> None:
    mine = "[region.eu-west-1]\nnat_hour = 0.048\nnat_gb = { usd = 0.048, source = 'seen' }\n"
    prices = laid(mine, "eu-west-1", egress_gb="0.09", endpoint_hour="0.011")
    assert prices["nat_hour"] == Fraction("0.048")
    assert prices.items["nat_hour"].source == "mine.toml"
    assert prices.items["nat_gb"].source == "seen"
    assert prices.items["endpoint_hour"].source == "--price"
    # Seen for Ireland, too.
    assert prices.is_sure("express_request")
    assert set(prices.items) == set(UNITS)


def test_the_last_file_wins_and_in_a_file_the_region() -> None:
    mine = "[everywhere]\nnat_hour = 1\nnat_gb = 2\n[region.us-east-1]\nnat_gb = 3\n"
    prices = laid(mine, nat_hour="7")
    assert prices["nat_hour"] == 7
    assert prices["nat_gb"] == 3
    assert laid(mine)["nat_hour"] == 1
    assert prices["egress_gb"] == own()["egress_gb"]


def test_all_problems_of_a_file_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        PriceFile.parse(
            """
            date = "yesterday"
            [everywhere]
            nat_hours = 1
            nat_gb = -1
            egress_gb = { source = "x", date = "May" }
            ipv4_hour = nan
            express_request = true
            [region.us-east-1]
            endpoint_gb = { usd = "0.01" }
            """,
            "mine.toml",
        )
    assert str(caught.value).splitlines() == [
        "mine.toml: date: expected a date such as 2026-09-13, found 'yesterday'.",
        "mine.toml: everywhere.nat_hours: there is no such key; did you mean 'nat_hour'?",
        "mine.toml: everywhere.nat_gb: expected US dollars, 0 or more, found -1.",
        "mine.toml: everywhere.ipv4_hour: expected US dollars, 0 or more, found nan.",
        'mine.toml: everywhere.egress_gb.date: expected a date, or a text such as "2026-09", '
        "found 'May'.",
        "mine.toml: everywhere.egress_gb: 'usd' is missing.",
        "mine.toml: everywhere.express_request: expected US dollars, 0 or more, found True.",
        "mine.toml: region.us-east-1.endpoint_gb.usd: expected US dollars, 0 or more, "
        "found '0.01'.",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("region = 1", "region: expected a table, found 1."),
        ("[region.Ohio]", "region.'Ohio': expected a region such as us-east-1, found 'Ohio'."),
        ("[region]\nus-east-1 = 1", "region.us-east-1: expected a table, found 1."),
        ("prices = 1", "prices: there is no such key; there are: date, everywhere, region."),
    ],
)
def test_a_file_of_another_form_is_refused(text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        PriceFile.parse(text, "mine.toml")
    assert str(caught.value) == f"mine.toml: {message}"


def test_prices_are_stale_a_year_after_their_file_was_gone_through() -> None:
    checked = own().items["nat_hour"].checked
    assert checked is not None
    assert own().stale(checked + timedelta(days=365)) == ()
    assert own().stale(checked + timedelta(days=366)) == tuple(UNITS)


def test_what_a_user_gives_now_is_not_stale_and_what_their_old_file_gives_is() -> None:
    later = date(2099, 1, 1)
    mine = "date = 2098-12-01\n[everywhere]\nnat_hour = 1"
    stale = laid(mine, endpoint_hour="1").stale(later)
    assert not {"nat_hour", "endpoint_hour"} & set(stale)
    assert "nat_gb" in stale
    assert "nat_hour" in laid(mine.replace("2098", "2097")).stale(later)
    assert "nat_hour" not in laid(mine.partition("\n")[2]).stale(later)


def test_the_price_file_is_in_the_wheel(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert "stepout/deploy/prices.toml" in ZipFile(wheel).namelist()
