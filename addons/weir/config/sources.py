"""Resolve an upstream's credential from ``${env:NAME}`` and ``${file:path}`` inside a value.

This happens at load, so a missing credential is a mistake in the policy file and not a failed request.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from weir.base.mistakes import SettingError
from weir.base.secret import Secret

_REFERENCE = re.compile(r"\$\{([a-z]+):([^}]*)\}")


def resolve(template: str, folder: Path, environment: Mapping[str, str]) -> tuple[Secret, Secret]:
    """Return the whole value, and the secret inside it. Paths are relative to *folder*. Raises `SettingError`."""
    parts: list[str] = []

    def fetch(match: re.Match[str]) -> str:
        text = _fetch(match[1], match[2], folder, environment)
        parts.append(text)
        return text

    value = _REFERENCE.sub(fetch, template)
    if not parts:
        raise SettingError(
            "a policy file must not contain a credential; refer to it with ${env:NAME} or ${file:path}", "value"
        )
    if len(parts) > 1:
        raise SettingError("a credential has one secret part; put the whole value in one variable or file", "value")
    if any(ord(c) < 0x20 or ord(c) > 0x7E for c in value):
        raise SettingError("the credential has characters that headers do not allow; use printable ASCII", "value")
    return Secret(value), Secret(parts[0])


def _fetch(source: str, name: str, folder: Path, environment: Mapping[str, str]) -> str:
    if source == "env":
        text = environment.get(name, "")
        if not text:
            raise SettingError(f"the environment variable {name} is not set; set it before the gateway starts", "value")
        return text
    if source == "file":
        path = folder / name
        try:
            text = path.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise SettingError(f"{name} cannot be read ({reason}); check the path and its owner", "value") from None
        if not text:
            raise SettingError(f"{name} is empty; write the credential into it", "value")
        return text
    raise SettingError(f"{source!r} is not a source; use ${{env:NAME}} or ${{file:path}}", "value")
