"""Code of extensions: whatever it raises or returns, no process ends and no value stays unmasked."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from weir.base.mistakes import SettingError
from weir.config.sources import Environment, resolve
from weir.masking.detectors.model import Candidate, Detector
from weir.policyset.extensions import load_extensions


class Panic(BaseException):
    """What libraries in other languages raise: no `Exception`."""


def raises(error: BaseException) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        raise error

    return call


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str, Any], None]:
    """Install an extension with one entry point, for this test."""

    def offer(group: str, name: str, found: Any) -> None:
        entry = SimpleNamespace(group=group, name=name, value="example:it", load=lambda: found)
        package = SimpleNamespace(name="example", version="1", entry_points=[entry])
        monkeypatch.setattr("importlib.metadata.distribution", lambda name: package)

    return offer


@pytest.mark.parametrize(
    "check",
    [
        raises(SystemExit(1)), raises(Panic("rust")), raises(ValueError("x")), lambda c: (c.end, c.start),
        lambda c: (c.start, c.start), lambda c: (-3, -1), lambda c: (c.start, c.end + 1), lambda c: ("a", "b"),
        lambda c: True, lambda c: (0, 1, 2), lambda c: (0.0, 1.0), lambda c: (False, True),
    ],
)  # fmt: skip
def test_a_detector_fails_closed(offered: Callable[[str, str, Any], None], check: Callable[[Candidate], Any]) -> None:
    offered(
        "weir.detectors", "badge", Detector(kind="badge", prefilter="B-", pattern=re.compile("B-[0-9]+"), check=check)
    )
    (detector,) = load_extensions(["example"], []).detectors["badge"]
    found = re.search("B-[0-9]+", "a B-17")
    assert found is not None
    with pytest.raises(Exception):  # noqa: B017, PT011 - any `Exception` refuses the request
        detector.check(Candidate("a B-17", *found.span(), found, ""))


@pytest.mark.parametrize("error", [SystemExit(1), Panic("rust"), OSError("x")])
def test_a_package_that_fails_is_a_mistake(offered: Callable[[str, str, Any], None], error: BaseException) -> None:
    offered("weir.profiles", "own", raises(error))
    mistakes: list[SettingError] = []
    load_extensions(["example"], mistakes)
    assert [type(error).__name__ in str(mistake) for mistake in mistakes] == [True]


@pytest.mark.parametrize("error", [SystemExit(1), Panic("rust"), OSError("x")])
def test_a_source_that_fails_is_a_mistake(tmp_path: Path, error: BaseException) -> None:
    with pytest.raises(SettingError, match="the source 'own' has no secret 'name'"):
        resolve("Bearer ${own:name}", tmp_path, Environment({}, sources={"own": raises(error)}))
