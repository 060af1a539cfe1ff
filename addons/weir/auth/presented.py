"""Find the token in a request's header fields. Two credentials are an error, in any two places. Pure."""

import base64
import binascii
from collections.abc import Iterable
from dataclasses import dataclass

#: Schemes of ``Authorization``: those that are always allowed, and those that a profile or connection may allow.
_ALWAYS = frozenset(("bearer", "dpop"))
_SCHEMES = frozenset(("token", "apikey", "basic"))
_HEADERS = frozenset((b"api-key", b"x-api-key", b"x-goog-api-key"))


class TwoCredentials(ValueError):
    """The request has more than one credential, so it is ambiguous which one counts."""


@dataclass(frozen=True, slots=True)
class Presented:
    """A token as the caller sent it. ``place`` is ``bearer``, ``dpop``, another scheme, or a header name."""

    token: str
    place: str


def find_token(fields: Iterable[tuple[bytes, bytes]], places: frozenset[str]) -> Presented | None:
    """Return the token in the header *fields*; None if no allowed place has one. Raises `TwoCredentials`.

    *places* are the allowed places in addition to ``Authorization: Bearer`` and ``Authorization: DPoP``.
    """
    found: list[Presented | None] = []
    for raw_name, value in fields:
        name = raw_name.lower()
        if name == b"authorization":
            found.append(_authorization(value.decode("latin-1"), places))
        elif name in _HEADERS and (place := name.decode()) in places:
            found.append(Presented(value.decode("latin-1").strip(), place))
    if len(found) > 1:
        raise TwoCredentials("send one credential only: one Authorization header or one API key header")
    presented = found[0] if found else None
    return presented if presented and presented.token else None


def find_proxy_token(fields: Iterable[tuple[bytes, bytes]]) -> Presented | None:
    """Return the token in ``Proxy-Authorization``; None if none exists. Raises `TwoCredentials`.

    Accepts Bearer, and Basic with the token as password (clients send this for ``http://user:token@host``). If the
    password is empty, the user name is the token.
    """
    values = [value.decode("latin-1") for name, value in fields if name.lower() == b"proxy-authorization"]
    if len(values) > 1:
        raise TwoCredentials("send only one Proxy-Authorization header")
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
    """Return the password of Basic credentials (RFC 7617); empty if they are malformed. The user name is ignored."""
    return _basic(credentials).partition(":")[2]


def _user(credentials: str) -> str:
    return _basic(credentials).partition(":")[0]


def _basic(credentials: str) -> str:
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode("utf-8")
    except (binascii.Error, ValueError):
        return ""
