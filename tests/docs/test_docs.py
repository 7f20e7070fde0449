"""The documentation holds: what exists is documented, what is documented exists, examples run."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from stepout.api import operations
from stepout.api.caller import OPERATIONS
from stepout.cli.main import COMMANDS
from stepout.config import ServerSettings
from stepout.egress.addresses import _SPECIAL
from stepout.tasks.http import _UNUSABLE
from stepout.tasks.mocks import Mocks

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
]


@pytest.mark.parametrize("setting", [setting.name for setting in fields(ServerSettings)])
def test_every_setting_is_in_the_reference(setting: str) -> None:
    assert f"`--{setting.replace('_', '-')}`" in REFERENCE
    assert f"`STEPOUT_{setting.upper()}`" in REFERENCE


def test_every_flag_of_serve_is_a_setting() -> None:
    from stepout.cli.serve import command

    flags = {parameter.name for parameter in command.params}
    settings = {setting.name for setting in fields(ServerSettings)}
    assert flags == settings | {"file", "show_config"}


def test_the_reference_names_the_operations_that_are_served() -> None:
    operations.load()
    for _, operation in OPERATIONS:
        assert operation in REFERENCE


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_reference(command: str) -> None:
    assert f"`stepout {command}" in REFERENCE


@pytest.mark.parametrize("word", [*(f"address-{kind}" for kind in _SPECIAL), "metadata"])
def test_every_reason_of_the_guard_is_in_the_reference(word: str) -> None:
    assert f"`{word}`" in REFERENCE


@pytest.mark.parametrize("name", sorted({*_UNUSABLE.values()} - {"InvalidPrivateConnectionState"}))
def test_every_error_of_connections_is_in_the_reference(name: str) -> None:
    assert f"`Events.ConnectionResource.{name}`" in REFERENCE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize(
    "path", re.findall(r"`([a-z]+/[a-z_0-9]+\.py)`", (ROOT / "docs" / "map.md").read_text())
)
def test_every_file_on_the_map_exists(path: str) -> None:
    assert (ROOT / "src" / "stepout" / path).exists() or (ROOT / path).exists()


def examples(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL)


def test_the_examples_of_the_testing_page_run(tmp_path: Path) -> None:
    found = examples("testing.md", "python")
    for index, example in enumerate(found):
        (tmp_path / f"test_example_{index}.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    assert f"{len(found)} passed" in done.stdout


def test_the_mock_file_of_the_testing_page_is_one() -> None:
    (example,) = examples("testing.md", "json")
    assert Mocks.parse(example).cases("order") == ("Refused",)


def test_the_example_of_the_library_page_runs() -> None:
    (example,) = examples("library.md", "python")
    done = subprocess.run(
        [sys.executable, "-c", example], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("SUCCEEDED {'total': 10}\n1 ExecutionStarted\n"), done.stderr


@pytest.mark.parametrize(
    "name", ["Machine", "Mocks", "Result", "StepoutError", "TaskFailed", "run"]
)
def test_the_public_names_are_on_the_library_page(name: str) -> None:
    assert re.search(rf"`{name}\b", (ROOT / "docs" / "library.md").read_text())


def test_the_readme_shows_two_commands() -> None:
    readme = (ROOT / "README.md").read_text()
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"$ make {target}" in readme
        assert f"\n{target}:" in makefile


def test_nothing_names_a_registry_or_a_machine() -> None:
    """Lock files pin by hash; where packages come from is the user's business."""
    for path in (ROOT / "requirements" / "dev.txt", ROOT / "tests/e2e/js/package-lock.json"):
        assert not re.search(
            r"https?://", path.read_text().replace("https://opencollective", "")
        ), path
