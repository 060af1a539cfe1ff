"""A credential is sent only to its own scheme, host and port."""

from pathlib import Path

import pytest

from weir.base.mistakes import SettingError
from weir.config.model import CredentialSettings
from weir.credentials.credential import WrongOrigin, compile_credential
from weir.routing.model import Origin

ORIGIN = Origin("https", "api.example", 443)


def test_only_its_own_origin(tmp_path: Path) -> None:
    credential = compile_credential(
        CredentialSettings(header="X-Key", value="${env:K}"), ORIGIN, tmp_path, {"K": "sk-123456"}
    )
    credential.check(ORIGIN)
    for other in (
        Origin("http", "api.example", 443),
        Origin("https", "api.example", 8443),
        Origin("https", "evil.example", 443),
    ):
        with pytest.raises(WrongOrigin) as error:
            credential.check(other)
        assert "sk-123456" not in str(error.value)


def test_as_a_query_parameter_it_replaces_the_callers(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("s k/1\n")
    credential = compile_credential(CredentialSettings(query="key", value="${file:key}"), ORIGIN, tmp_path, {})
    assert credential.target("/a") == "/a?key=s%20k%2F1"
    assert credential.target("/a?x=1&key=mine&y=&key=2") == "/a?x=1&y=&key=s%20k%2F1"


@pytest.mark.parametrize("settings", [{"value": "${env:K}"}, {"header": "A", "query": "b", "value": "${env:K}"}, {"header": "A B", "value": "${env:K}"},
                                      {"query": "a&b", "value": "${env:K}"}, {"header": "A", "value": "${env:N}"}])  # fmt: skip
def test_mistakes(tmp_path: Path, settings: dict[str, str]) -> None:
    with pytest.raises(SettingError):
        compile_credential(CredentialSettings(**settings), ORIGIN, tmp_path, {"K": "sk-123456", "N": "a\nb"})
