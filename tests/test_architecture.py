"""The house holds: imports go down, rooms of one floor do not know each other, the window is pinned."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import stepout

ROOT = Path(stepout.__file__).parent

FLOORS = {
    "errors": 0,
    "secret": 0,
    "tables": 0,
    "asl": 0,
    "aws": 0,
    "certificates": 0,
    "config": 0,
    "engine": 1,
    "egress": 1,
    "gateway": 1,
    "tasks": 2,
    "journal": 2,
    "store": 2,
    "functions": 2,
    "runtime": 3,
    "api": 4,
    "client": 4,
    "deploy": 4,
    "origin": 4,
    "cli": 5,
    "testing": 5,
}
"""Room → floor; the rooms are packages or single modules of `stepout`."""

BASICS = {"errors", "secret", "tables"}
"""What every room may use; on floor 0 nothing else."""


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """Rooms that a module imports, at run time or for types, with the line."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "stepout" and len(parts) > 1 and parts[1] in FLOORS:
                yield node.lineno, parts[1]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_its_own_room_and_lower_floors(path: Path) -> None:
    room = room_of(path)
    if room in ("__init__", "__main__"):
        return
    # `errors` names `asl.problems` for types only: a DefinitionError carries them.
    allowed = {room, *BASICS} | ({"asl"} if room == "errors" else set())
    for line, other in imported(path):
        assert other in allowed or FLOORS[other] < FLOORS[room], (
            f"{path.relative_to(ROOT)}:{line} imports stepout.{other}: floor {FLOORS[other]} is "
            f"not below {room}'s floor {FLOORS[room]}"
        )


def test_every_room_stands_on_a_floor() -> None:
    rooms = {room_of(path) for path in modules()} - {"__init__", "__main__"}
    assert rooms == set(FLOORS)


THIRD_PARTY = {
    "aiodns": {"egress"},
    "aiohttp": {"egress"},
    "awslambdaric": {"functions"},
    "boto3": {"cli", "testing"},
    "botocore": {"aws", "cli", "client", "testing"},
    "click": {"cli"},
    "cryptography": {"certificates", "store"},
    "h11": {"client"},
    "httptools": {"api", "functions", "origin"},
    "httpx": {"client"},
    "idna": {"egress"},
    "jlens": {"asl"},
    "orjson": {"api", "asl", "cli"},
    "opentelemetry": {"client"},
    "prometheus_client": {"api"},
    "pytest": {"testing"},
    "requests": {"client"},
    "urllib3": {"client"},
    "uvicorn": set(),
    "uvloop": {"cli"},
    "yaml": {"cli"},
    "yarl": {"egress"},
}
"""Library → rooms that may import it."""


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_library_is_imported_in_its_rooms_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.module and node.level == 0:
            names = [node.module]
        for name in names:
            library = name.partition(".")[0]
            rooms = THIRD_PARTY.get(library)
            assert rooms is None or room_of(path) in rooms, (
                f"{path.relative_to(ROOT)}:{node.lineno} imports {library}, which belongs in {rooms}"
            )


def test_the_environment_is_read_by_doors_alone() -> None:
    """Settings come through `config`; only a door may look at the environment."""
    for path in modules():
        text = path.read_text()
        if "os.environ" in text or "os.getenv" in text:
            assert room_of(path) in {"cli", "client", "functions", "testing"}, path


def test_the_shop_window_is_pinned() -> None:
    """A name more is a promise more; each can be had, and only these."""
    assert stepout.__all__ == [
        "AnswerFailed",
        "AsyncGateway",
        "BodyNotCarried",
        "CallFailed",
        "CallRefused",
        "CallTimedOut",
        "DefinitionError",
        "Gateway",
        "GatewayError",
        "JsonError",
        "Machine",
        "Mocks",
        "NotCarried",
        "Problem",
        "Result",
        "SettingsError",
        "StepoutError",
        "TaskFailed",
        "TruncatedResponse",
        "UnknownUpstream",
        "__version__",
        "get",
        "post",
        "request",
        "run",
    ]
    assert [getattr(stepout, name).__name__ for name in stepout.__all__ if name[0] != "_"]
    with pytest.raises(AttributeError, match="'stepout' has no attribute 'walk'"):
        stepout.walk  # noqa: B018 — the access is the test


def test_the_engine_does_no_input_or_output() -> None:
    forbidden = {"asyncio", "socket", "time", "datetime", "random", "os", "uuid", "secrets"}
    for path in (ROOT / "engine").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            assert not forbidden & {name.partition(".")[0] for name in names}, path
