"""Keyed digests that bind an approval to the exact content that was reviewed. Pure.

They are keyed so that their content cannot be guessed from a digest.
"""

import hashlib
import hmac
from collections.abc import Iterable, Sequence

import msgspec

from weir.approvals.model import Demand
from weir.base.jsonpath import compile_path
from weir.base.principal import Principal
from weir.policy.facts import ABSENT, Facts
from weir.policy.rules import Rule
from weir.routing.model import Upstream


def request_binding(
    key: bytes,
    principal: Principal,
    connection: str,
    to: Upstream,
    method: str,
    target: str,
    content_type: bytes,
    content_encoding: bytes,
    body: bytes,
) -> str:
    """Return the digest of one exact request as its caller sent it, and of its destination."""
    upstream = f"{to.origin.scheme}://{to.origin.authority}{to.base_path}"
    parts: list[str | bytes] = [
        b"request", principal.iss, principal.sub, connection, upstream, method, target, content_type,
        content_encoding, hashlib.sha256(body).digest(),
    ]  # fmt: skip
    return _digest(key, parts)


def content_digest(key: bytes, status: int, content_type: str, body: bytes) -> str:
    """Return the digest of one response."""
    return _digest(key, [b"response", str(status), content_type, hashlib.sha256(body).digest()])


def keyed(key: bytes, name: str) -> str:
    """Return the digest of *name*."""
    return _digest(key, [b"name", name])


def demands(key: bytes, rules: Iterable[Rule], principal: Principal, connection: str, facts: Facts) -> list[Demand]:
    """Return the demands of *rules* on reviewers, for a request with *facts*."""
    found = []
    for rule in rules:
        covers = ""
        if rule.terms.reuse:
            values = [[name, _value(name, facts)] for name in rule.terms.same]
            parts: list[str | bytes] = [
                b"reuse",
                principal.iss,
                principal.sub,
                connection,
                rule.digest,
                msgspec.json.encode(values),
            ]
            covers = _digest(key, parts)
        found.append(Demand(rule.name, rule.digest, rule.message, rule.terms, covers))
    return found


def _value(name: str, facts: Facts) -> object:
    if name.startswith("body:"):
        body = facts["body"]
        return None if body is ABSENT else compile_path(name.removeprefix("body:")).find(body)
    value = facts.get(name, ABSENT)
    return ["absent"] if value is ABSENT else [value]


def _digest(key: bytes, parts: Sequence[str | bytes]) -> str:
    """Join *parts*, each with its length, so that different lists have different digests."""
    data = [part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part for part in parts]
    return hmac.digest(key, b"".join(b"%d:%b" % (len(part), part) for part in data), "sha256").hex()
