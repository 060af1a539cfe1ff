"""Headers that services receive, by tests/corpus/headers.yaml."""

import re
from pathlib import Path

import pytest
from tests.corpora import corpus

from weir.base.mistakes import SettingError
from weir.profiles.profile import load_profile, names
from weir.routing.forwarding import HANDSHAKE, STANDARD, Forwarding, compile_forwarding, header_name, states_identity

CORPUS = corpus("headers")
PROFILES = {name: compile_forwarding(load_profile(name).headers) for name in names()}


def divided(forwarding: Forwarding, headers: list[str]) -> tuple[list[str], list[str]]:
    passed, dropped = forwarding.divide([(name.encode(), b"v") for name in headers])
    return [name.decode() for name, _ in passed], [name.decode() for name in dropped]


@pytest.mark.parametrize("profile", PROFILES)
def test_standard_headers_pass_and_others_are_dropped(profile: str) -> None:
    for headers in CORPUS["passes"]:
        assert divided(PROFILES[profile], headers) == (headers, [])
    for headers in CORPUS["dropped"]:
        for spelled in (headers, [name.upper() for name in headers], [name.lower() for name in headers]):
            assert divided(PROFILES[profile], spelled) == ([], spelled)
    for headers in CORPUS["handled"]:
        assert divided(PROFILES[profile], headers) == ([], [])


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_passes_the_headers_of_its_own_clients(profile: str) -> None:
    chain = {profile, load_profile(profile).settings.extends}
    for owner, headers in CORPUS["profiles"].items():
        expected = (headers, []) if owner in chain else ([], headers)
        assert divided(PROFILES[profile], headers) == expected


def test_a_connection_names_more() -> None:
    forwarding = compile_forwarding([header_name("X-Team"), header_name("x_team")], ["x-api-key", "token"])
    passed, dropped = ["x-team", "X_TEAM"], ["X-Teams", "Api-Key", "Token"]
    assert divided(forwarding, [*passed, *dropped, "X-Api-Key"]) == (passed, dropped)


@pytest.mark.parametrize("entry", CORPUS["mistakes"], ids=lambda entry: repr(entry["name"]))
def test_names_that_cannot_be_forwarded(entry: dict[str, str]) -> None:
    with pytest.raises(SettingError, match=entry["says"]):
        header_name(entry["name"])


def test_names_that_check_warns_about() -> None:
    assert [name for name in CORPUS["states_identity"] if not states_identity(name)] == []
    assert [name for name in CORPUS["harmless"] if states_identity(name)] == []
    built_in = {name.decode() for forwarding in PROFILES.values() for name in forwarding.passes}
    assert [name for name in built_in if states_identity(name)] == []


def test_the_documentation_lists_the_standard_headers() -> None:
    page = (Path(__file__).parents[2] / "docs" / "ways-in" / "headers.md").read_text()
    table = page.partition("## Standard headers")[2].partition("\n\nSome standard")[0]
    assert set(re.findall("`(.*?)`", table)) == {name.decode() for name in STANDARD | HANDSHAKE}
