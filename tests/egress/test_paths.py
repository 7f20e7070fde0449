"""A prefix of a rule is not left by a path that some server reads in another way."""

from __future__ import annotations

import pytest

from stepout.egress.paths import is_under, read_path


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1/",
        "/v1/items/12",
        "/v1//items",
        "/v1/a%20b",
        "/v1/%C3%A9",
        "/v1/group%2Fproject",
        "/v1/a;b=c",
        "/v1/.well-known/x",
        "/v1/..a/b...",
        "/v1/a..b",
        "/v1/100%25",
    ],
)
def test_a_path_without_dot_segments_has_one_meaning(path: str) -> None:
    assert not read_path(path).is_ambiguous


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin",
        "/v1/./x",
        "/v1/..",
        "/v1/%2e%2e/admin",
        "/v1/%2E./admin",
        "/v1/.%2e/admin",
        "/v1/..%2fadmin",
        "/v1/%2e%2e%2fadmin",
        "/v1/..%5cadmin",
        "/v1/..\\admin",
        "/v1/%252e%252e/admin",
        "/v1/%252e%252e%252fadmin",
        "/v1/%25252e%25252e/admin",
        "/v1/%25252525252e/admin",
        "/v1/..;/admin",
        "/v1/..;a=b/admin",
        "/v1/..%3b/admin",
        "/v1/.../admin",
        "/v1/..%20/admin",
        "/v1/%20../admin",
        "/v1/..%00/admin",
        "/v1/a%00",
        "/v1/a%0d%0aHost:x",
        "/v1/%c0%ae%c0%ae/admin",
        "/v1/%EF%BC%8E%EF%BC%8E/admin",
        "/v1/%E2%80%A5/admin",
        "/v1/..%EF%BC%8Fadmin",
        "/v1/%EF%BC%852e%EF%BC%852e/admin",
        "/v1;%2fx/admin",
        "/v1/a;b%5cc",
        "/v1/%2",
        "/v1/%zz",
    ],
)
def test_a_path_that_may_climb_is_ambiguous(path: str) -> None:
    assert read_path(path).is_ambiguous


@pytest.mark.parametrize(
    ("path", "finest"),
    [
        ("/Admin", "/admin"),
        ("//admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("/%2561dmin", "/admin"),
        ("/%2fadmin", "/admin"),
        ("/\\admin", "/admin"),
        ("/v1%2Fadmin//x", "/v1/admin/x"),
        ("/%EF%BD%81dmin", "/admin"),
        ("/v1;a=b/;c/admin./x%20", "/v1/admin/x"),
    ],
)
def test_the_finest_reading_finds_what_is_hidden(path: str, finest: str) -> None:
    assert read_path(path).finest == finest


@pytest.mark.parametrize(
    ("path", "prefix", "is_it"),
    [
        ("/v1/x", "/v1/", True),
        ("/v1/", "/v1/", True),
        ("/v1", "/v1/", False),
        ("/v1", "/v1", True),
        ("/v1/x", "/v1", True),
        ("/v10", "/v1", False),
        ("/v1x/", "/v1", False),
        ("/x/v1/", "/v1/", False),
        ("/anything", "/", True),
    ],
)
def test_a_prefix_ends_where_a_segment_ends(path: str, prefix: str, is_it: bool) -> None:
    assert is_under(path, prefix) is is_it
