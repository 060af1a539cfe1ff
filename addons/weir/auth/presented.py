"""Where in a request's head its token stands. Two of them are one too many, wherever they stand. Pure."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

#: Schemes of ``Authorization``: those that are always allowed, and those that a profile or connection may allow.
_ALWAYS = frozenset(("bearer", "dpop"))
_SCHEMES = frozenset(("token", "apikey", "basic"))
_HEADERS = frozenset((b"api-key", b"x-api-key", b"x-goog-api-key"))


class TwoCredentials(ValueError):
    """More than one credential: which of them would be judged?"""


@dataclass(frozen=True, slots=True)
class Presented:
    """A token as the caller sent it, and how: ``bearer``, ``dpop``, another scheme, or a header's name."""

    token: str
    place: str


def find_token(fields: Iterable[tuple[bytes, bytes]], places: frozenset[str]) -> Presented | None:
    """The token among the header *fields*; None where there is none in an allowed place. Raises `TwoCredentials`.

    *places* are those allowed besides ``Authorization: Bearer`` (and ``DPoP``).
    """
    found: list[Presented | None] = []
    for raw_name, value in fields:
        name = raw_name.lower()
        if name == b"authorization":
            found.append(_authorization(value.decode("latin-1"), places))
        elif name in _HEADERS and (place := name.decode()) in places:
            found.append(Presented(value.decode("latin-1").strip(), place))
    if len(found) > 1:
        raise TwoCredentials("send one credential: one Authorization header, or one header with a key")
    presented = found[0] if found else None
    return presented if presented and presented.token else None


def find_proxy_token(fields: Iterable[tuple[bytes, bytes]]) -> Presented | None:
    """The token that a proxy is sent: Bearer, or as the password of Basic, which ``http://user:token@host`` becomes.

    A user name alone is taken for it, too. None where there is none. Raises `TwoCredentials`.
    """
    values = [value.decode("latin-1") for name, value in fields if name.lower() == b"proxy-authorization"]
    if len(values) > 1:
        raise TwoCredentials("send one Proxy-Authorization header")
    scheme, _, token = (values[0] if values else "").partition(" ")
    word = scheme.lower()
    if word not in ("bearer", "basic"):
        return None
    if word == "basic":
        token = _password(token) or _user(token)
    return Presented(token, "bearer") if token else None


def _authorization(value: str, places: frozenset[str]) -> Presented | None:
    scheme, _, token = value.partition(" ")
    word = scheme.lower()
    if word not in _ALWAYS and not (word in _SCHEMES and word in places):
        return None
    if word == "basic":
        token = _password(token)
    return Presented(token, word)


def _password(credentials: str) -> str:
    """The password of Basic credentials (RFC 7617); empty where they are none. The user name says nothing here."""
    return _basic(credentials).partition(":")[2]


def _user(credentials: str) -> str:
    return _basic(credentials).partition(":")[0]


def _basic(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""
