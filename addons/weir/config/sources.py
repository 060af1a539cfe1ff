"""Resolve an upstream's credential from ``${env:NAME}``, ``${file:path}`` or an extension's source inside a value.

This happens at load, so a missing credential is a mistake in the policy file and not a failed request.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

from weir.base.mistakes import SettingError
from weir.base.secret import Secret

#: The sources without any extension.
BUILT_IN = ("env", "file")
_REFERENCE = re.compile(r"\$\{([a-z][a-z0-9_-]*):([^}]*)\}")


class CredentialSource(Protocol):
    """A source of an extension, for ``${scheme:name}``."""

    def __call__(self, name: str, folder: Path) -> str:
        """Return the secret called *name*; paths are relative to *folder*, the policies folder.

        Called when policies are loaded or reloaded, in a thread; it may block. Raise any exception if there is no
        such secret: its text is shown to the operator, so it must not contain a secret.
        """


class Environment(Mapping[str, str]):
    """The environment variables, and the credential sources of extensions.

    If *missing* is given, a source that fails gives a placeholder, and is noted there: for policies that are loaded
    only to be looked at.
    """

    def __init__(
        self, variables: Mapping[str, str], sources: Mapping[str, CredentialSource], missing: list[str] | None = None
    ) -> None:
        self._variables = variables
        self.sources = sources
        self.missing = missing

    def __getitem__(self, name: str) -> str:
        return self._variables[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._variables)

    def __len__(self) -> int:
        return len(self._variables)


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
    if isinstance(environment, Environment) and source in environment.sources:
        return _fetch_extension(source, name, folder, environment)
    raise SettingError(f"{source!r} is not a source; use ${{env:NAME}} or ${{file:path}}", "value")


def _fetch_extension(source: str, name: str, folder: Path, environment: Environment) -> str:
    try:
        text = environment.sources[source](name, folder)
    except BaseException as error:  # the code of others may raise SystemExit, or errors of other languages
        if environment.missing is not None:
            environment.missing.append(f"{source}:{name}")
            return "not-set"
        what = f"{type(error).__name__}: {error}"[:200]
        raise SettingError(f"the source {source!r} has no secret {name!r} ({what})", "value") from None
    if not isinstance(text, str) or not text:
        raise SettingError(f"the source {source!r} gives no text for {name!r}; check the extension", "value")
    return text
