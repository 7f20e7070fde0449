"""The recorded cases, where the corpus is at hand; what fails is named in docs/conformance.md."""

from __future__ import annotations

import pytest
from tests.conformance.corpus import CORPUS, SUITES, Suite, explained

from stepout.testing import Server

pytestmark = pytest.mark.skipif(
    not (CORPUS / "run.py").exists(), reason=f"The corpus is not in {CORPUS}."
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.title)
def test_a_suite_passes_but_for_what_is_explained(suite: Suite) -> None:
    with Server() as server:
        result = suite.run(server.url)
    assert result.cases
    assert result.unexplained() == []
    assert result.outdated() == []
    for score, least in zip(result.scores, suite.least, strict=True):
        assert score >= least * len(result.counted)


def test_an_unknown_suite_has_nothing_explained() -> None:
    assert explained(Suite("No such suite", (), lambda _: iter(()))) == ()
