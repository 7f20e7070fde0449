"""`stepout cost`: what is given, what is refused, and a bill that fits 80 columns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from stepout.cli.chart import HEIGHT, chart, short
from stepout.cli.cost import command
from stepout.cli.main import commands
from stepout.deploy.cost import ENDPOINTS
from stepout.deploy.prices import UNITS

UPSTREAMS = """
[upstream.items]
url = "https://api.example.com/v1/"

[upstream.pay]
url = "https://pay.example.com/"

[upstream.mail]
url = "https://mail.example.com/"
"""


def cost(*arguments: str) -> Result:
    return CliRunner().invoke(
        commands, ["cost", *arguments], prog_name="stepout", catch_exceptions=False
    )


def found(*arguments: str) -> dict[str, Any]:
    result = cost(*arguments, "--json")
    assert result.exit_code == 0, result.output
    whole: dict[str, Any] = json.loads(result.stdout)
    return whole


def shown(*arguments: str) -> str:
    result = cost(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def refused(*arguments: str) -> str:
    result = cost(*arguments)
    assert result.exit_code == 2
    return result.stderr.split("\nError: ")[1].strip()


def row(text: str, label: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.strip().startswith(label))
    return line.split()[-2:]


# --- The bill -------------------------------------------------------------------------------------


def test_without_arguments_a_million_calls_are_held_against_a_gateway() -> None:
    text = shown()
    assert text.startswith("us-east-1, 1 zone; 1,000,000 calls a month, 0.0125 GB-seconds each")
    assert row(text, "NAT gateway, 730 h") == ["32.85", "-"]
    assert row(text, "its public address") == ["3.65", "-"]
    assert row(text, "endpoint sync-states, 730 h") == ["-", "7.30"]
    assert row(text, "without any call") == ["36.50", "7.30"]
    assert row(text, "executions, 1,000,000") == ["-", "1.00"]
    assert row(text, "GB-seconds, 12,500") == ["-", "0.21"]
    assert row(text, "total") == ["36.50", "8.51"]
    assert row(text, "a million calls, on average") == ["0.00", "1.21"]
    assert (
        "Break-even: Step Functions is cheaper up to 24,164,683 calls a month (9.2 a\n"
        "second), the NAT gateway beyond." in text
    )
    for left_out in ("tax", "CloudWatch Logs", "KMS", "free tiers", "between zones", "IPv6"):
        assert left_out in text.partition("Not counted:")[2]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--sources"],
        ["--calls", "0"],
        ["--calls", "900G", "--region", "ap-northeast-1", "--zones", "6"],
        ["--compute", "fargate", "--endpoint", "secretsmanager", "--aws-gb", "123.456"],
        ["--compute", "ec2", "--nat-gb", "5", "--retried", "2%"],
        ["--seconds", "10", "--response-kb", "130"],
    ],
)
def test_it_fits_80_columns_of_plain_characters(arguments: list[str]) -> None:
    text = shown(*arguments)
    assert max(map(len, text.splitlines())) <= 80
    assert text.isascii()
    assert "\n\n\n" not in text


def test_the_chart_can_be_left_out() -> None:
    assert "o NAT gateway, * Step Functions" in shown()
    assert "o NAT gateway" not in shown("--no-chart")


def test_sources_are_shown_with_their_dates_and_what_is_not_sure() -> None:
    text = shown("--region", "ap-northeast-1", "--sources")
    for name in ("nat_hour", "endpoint_gb", "express_gb_s_3"):
        assert re.search(rf"^  {name} +[0-9.]+  ", text, re.MULTILINE)
    assert "AWS price list, APN1-VpcEndpoint-Hours, 2026-09-13" in text
    assert " ".join(text.split()).count("; not seen for this region") == 4


def test_endpoints_are_listed_with_their_reasons() -> None:
    text = shown("--compute", "fargate", "--without", "logs", "--endpoint", "secretsmanager")
    listed = text.partition("Endpoints besides sync-states:\n")[2].partition("\n\n")[0]
    assert [line.split()[0] for line in listed.splitlines()] == [
        *("ecr.api", "ecr.dkr", "s3", "secretsmanager"),
    ]
    assert "  secretsmanager  asked for with --endpoint" in listed
    assert row(text, "endpoint s3, free") == ["-", "0.00"]
    assert row(text, "without any call") == ["36.50", "29.20"]


def test_beside_a_gateway_that_stays_nothing_else_needs_an_endpoint() -> None:
    usage = found("--compute", "ec2", "--keep-nat", "--endpoint", "kms")["usage"]
    assert [one["service"] for one in usage["endpoints"]] == ["kms"]
    assert usage["keeps_nat"]


# --- The break-even in words ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keep-nat"], "cheaper at any number of calls: it is there for other traffic anyway"),
        (["--nat-gb", "100"], "the NAT gateway is cheaper at any number of calls: it is there"),
        (
            [f"--endpoint=service{at}" for at in range(5)],
            "the NAT gateway is cheaper at any number of calls: the endpoints alone cost as much",
        ),
        (
            ["--request-kb", "100", "--response-kb", "200"],
            "Step Functions is cheaper at any number of calls: a call costs no more than its bytes",
        ),
        (
            # In the first tier a call costs more than its bytes, in the last less.
            ["--seconds", "10", "--response-kb", "130", "--price", "nat_hour=1"],
            "Step Functions is cheaper at any number of calls: its duration gets cheaper before",
        ),
        (
            ["--seconds", "10", "--response-kb", "130"],
            "the NAT gateway up to 140,395,448 calls a month (53.4 a second), Step Functions beyond. "
            "Duration gets cheaper from 3,600,000 GB-seconds on",
        ),
        (
            ["--keep-nat", "--response-kb", "200"],
            "Break-even: the NAT gateway is cheaper up to 1,335,200 calls a month",
        ),
        (["--price", "nat_hour=10"], "300 HTTP Tasks a second, makes 788,400,000 at most."),
        (
            [f"--price={name}=0" for name in ("nat_hour", "ipv4_hour", "endpoint_hour")]
            + ["--price=express_request=0"]
            + [f"--price=express_gb_s_{tier}=0" for tier in (1, 2, 3)],
            "both ways cost the same, however many calls.",
        ),
    ],
)
def test_the_break_even_or_why_there_is_none_is_said(arguments: list[str], words: str) -> None:
    assert words in found(*arguments)["verdict"]
    text = " ".join(shown(*arguments).split())
    assert words in text


# --- What is given --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "calls"),
    [("250000", 250_000), ("250k", 250_000), ("1.5M", 1_500_000), ("2G", 2 * 10**9)],
)
def test_calls_have_suffixes(text: str, calls: int) -> None:
    assert found("--calls", text)["usage"]["calls"] == calls


def test_seconds_may_be_a_distribution() -> None:
    each = found("--seconds", "0.2:90%,1.5:10")["usage"]["gb_seconds_each"]
    assert each == pytest.approx((0.2 * 0.9 + 1.5 * 0.1) / 16)


def test_the_upstreams_share_the_calls_that_none_has_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "upstreams.toml"
    file.write_text(UPSTREAMS)
    given = ["--upstreams", str(file), "--calls", "1000001", "--calls", "pay=5k"]
    apis = {api["name"]: api["calls"] for api in found(*given)["apis"]}
    assert apis == {"items": 500_001, "mail": 500_000, "pay": 5_000}
    text = shown(*given, "--seconds", "mail=1", "--response-kb", "pay=4")
    assert row(text, "pay, 5,000 calls") == ["0.00", "0.01"]
    assert row(text, "items, 500,001 calls") == ["0.00", "0.60"]
    assert row(text, "mail, 500,000 calls") == ["0.00", "1.02"]
    alone = {api["name"]: api["calls"] for api in found(*given[:2], "--calls", "pay=5k")["apis"]}
    assert alone == {"items": 0, "mail": 0, "pay": 5_000}


def test_apis_may_be_named_without_a_file() -> None:
    apis = found("--calls", "a=1k", "--calls", "2k", "--seconds", "a=3")["apis"]
    assert [(api["name"], api["calls"]) for api in apis] == [("a", 1_000), ("others", 2_000)]


def test_a_price_and_a_file_of_prices_go_before(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("[region.eu-west-1]\nnat_hour = 0.048\nnat_gb = 0.048\nendpoint_hour = 0.011\n")
    whole = found("--region=eu-west-1", "--prices", str(file), "--price", "egress_gb=0.09")
    assert whole["ways"]["nat"]["fixed"] == pytest.approx(730 * 0.053)
    assert whole["prices"]["nat_hour"]["source"] == str(file)
    assert whole["prices"]["egress_gb"] == {
        "usd": 0.09,
        "unit": "GB out to the internet",
        "source": "--price",
        "published": None,
        "is_sure": True,
    }


def test_json_has_both_bills_and_where_each_is_cheaper() -> None:
    whole = found("--zones", "2", "--nat-gateways", "1")
    nat, steps = whole["ways"]["nat"], whole["ways"]["step-functions"]
    assert (nat["fixed"], nat["total"], steps["fixed"]) == (36.5, 36.5, 14.6)
    assert steps["per_million_calls"] == 1.208375
    assert sum(item["usd"] for item in steps["items"]) == pytest.approx(steps["total"])
    assert whole["cheaper"] == [
        {"from": 0, "to": 18_123_512, "way": "step-functions"},
        {"from": 18_123_512, "to": None, "way": "nat"},
    ]
    assert found("--calls", "0")["ways"]["nat"]["per_million_calls"] is None


def test_prices_that_nobody_has_gone_through_for_a_year_are_warned_of(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("date = 2020-02-29\n[everywhere]\nnat_hour = 0.05\n")
    result = cost("--prices", str(file), "--json")
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "Warning: these prices were last gone through on 2020-02-29, more than a year ago: nat_hour"
    )
    assert json.loads(result.stdout)["prices"]["nat_hour"]["usd"] == 0.05
    file.write_text("date = 2999-01-01\n[everywhere]\nnat_hour = 0.05\n")
    assert "2020" not in cost("--prices", str(file)).stderr


# --- What is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--region eu-west-1",
            "There are no prices for the region eu-west-1; there are for ap-nor",
        ),
        ("--calls 1.5", "Expected a whole number such as 250k or 1.5M, found '1.5'."),
        ("--calls -1", "Expected a number, 0 or more, found '-1'."),
        ("--calls many", "Expected a number, 0 or more, found 'many'."),
        ("--calls=", "Expected a number, 0 or more, found ''."),
        ("--calls 1 --calls 2", "--calls is given twice."),
        ("--calls a=1 --calls a=2", "--calls is given twice for a."),
        ("--seconds 0", "Expected seconds above 0 and up to 60"),
        ("--seconds 61", "Expected seconds above 0 and up to 60"),
        ("--seconds 0.2:50%,1:49%", "Expected shares that make 100 %, found 99.0000%."),
        ("--seconds 0.2,1", "Expected a number, 0 or more, found ''."),
        ("--seconds a=1", "--seconds: there is no API a; no --calls names one."),
        ("--calls b=1 --seconds a=1", "--seconds: there is no API a; there are b."),
        ("--request-kb 257", "Expected up to 256 KB, which is what a call carries, found '257'."),
        ("--retried 101%", "Expected a percentage up to 100, found '101%'."),
        ("--zones 7", "Invalid value for '--zones': 7 is not in the range 1<=x<=6."),
        ("--nat-gateways 2", "Expected --nat-gateways up to --zones, found 2 and 1."),
        ("--compute vm", "Invalid value for '--compute': 'vm' is not one of 'lambda', 'fargate'"),
        ("--endpoint S3!", "Expected a service such as secretsmanager, found 'S3!'."),
        ("--without logs", "--without logs: --compute lambda does not need it; it needs none."),
        ("--aws-gb 1", "--aws-gb has no endpoint to go through"),
        ("--price nat=1", "Expected NAME=USD with one of nat_hour, nat_gb, "),
        ("--price nat_hour=x", "Expected a number, 0 or more, found 'x'."),
        ("--prices none.toml", "The price file none.toml cannot be read"),
        ("--upstreams none.toml", "none.toml cannot be read"),
    ],
)
def test_what_cannot_be_is_a_wrong_call(arguments: str, message: str) -> None:
    assert message in refused(*arguments.split())


def test_calls_for_nobody_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "upstreams.toml"
    file.write_text(UPSTREAMS)
    each = [f"--calls={name}=1" for name in ("items", "pay", "mail")]
    assert "none is left for the rest" in refused("--upstreams", str(file), "--calls=1", *each)
    assert "there is no API post" in refused("--upstreams", str(file), "--calls", "post=1")


# --- The chart ------------------------------------------------------------------------------------


def test_a_curve_is_drawn_from_corner_to_corner_and_meets_another() -> None:
    lines = chart({"o": lambda _: 100.0, "*": lambda x: x}, (0, 4), [("here", 100.0)]).splitlines()
    assert len(lines) == HEIGHT + 3
    assert lines[0].startswith("     10k |")
    assert lines[0].endswith("*")
    assert lines[HEIGHT - 1].startswith("       1 |*")
    middle = next(line for line in lines if line.startswith("     100 |"))
    assert middle.startswith("     100 |o")
    arrow = lines[-1].index("^")
    assert middle[arrow] == "#"
    assert lines[-1].strip() == "^ here"
    assert lines[-2].split() == ["1", "10", "100", "1k", "10k"]


def test_a_mark_at_the_right_stands_before_its_arrow_and_one_outside_is_not_drawn() -> None:
    marks = [("the end", 9_999.0), ("outside", 99_999.0)]
    lines = chart({"o": lambda _: 0.0}, (0, 4), marks).splitlines()
    assert lines[-1].endswith("the end ^")
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.5, "0.5"), (20, "20"), (1e3, "1k"), (5e6, "5M"), (1e9, "1G"), (1e12, "1T")],
)
def test_numbers_are_short(number: float, text: str) -> None:
    assert short(number) == text


# --- The page -------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[2] / "docs" / "cost.md").read_text()


def test_the_bill_on_the_page_is_what_is_printed() -> None:
    block = re.search(r"```\n\$ stepout cost (.*)\n((?s:.*?))```", PAGE)
    assert block
    assert shown(*block[1].split()) == block[2]


def test_the_prices_on_the_page_are_enough_for_its_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (arguments,) = re.findall(r"\$ stepout cost (--region .*)\n", PAGE)
    (tmp_path / "prices.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert found(*arguments.split())["region"] == "eu-west-1"


def test_every_option_is_on_the_page_and_every_price() -> None:
    for option in command.params:
        assert f"`{option.opts[0]}" in PAGE, option
    for name in UNITS:
        assert f"`{name}`" in PAGE
    for compute, endpoints in ENDPOINTS.items():
        (line,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{compute}` |"))
        assert set(re.findall(r"`([a-z.0-9]+)`", line)) == {
            compute,
            *(endpoint.service for endpoint in endpoints),
        }
