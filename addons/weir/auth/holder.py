"""Resolve a bare token to its principal: the token of a configured issuer, or an API key."""

import math

from weir.auth.jws import TokenError
from weir.auth.verifier import Undecided, Verifier
from weir.base.principal import Principal
from weir.state.database import KEY_PREFIX, key_digest
from weir.state.model import KEYS_ISSUER, KEYS_NAME, ApiKey, Snapshot


async def holder(
    verifier: Verifier,
    trusts_keys: bool,
    snapshot: Snapshot,
    token: str,
    now: float,
    thumbprint: str = "",
    address: str = "",
) -> Principal:
    """Return the principal of *token* of a caller at *address*, at Unix time *now*. May ask a provider.

    Raises `TokenError` or `KeysUnavailable`.
    """
    if token.startswith(KEY_PREFIX):
        return key_holder(trusts_keys, snapshot, token, now)[1]
    try:
        return verifier.verify(token, now, thumbprint)
    except Undecided:
        return await verifier.settle(token, now, thumbprint, address)


def key_holder(trusts_keys: bool, snapshot: Snapshot, token: str, now: float) -> tuple[ApiKey, Principal]:
    """Return the API key that *token* is, and its principal. Raises `TokenError`."""
    if not trusts_keys:
        raise TokenError("API keys are not accepted here")
    key = snapshot.keys.get(key_digest(token))
    if key is None:
        raise TokenError("the API key is unknown or revoked")
    if key.expires is not None and now >= key.expires:
        raise TokenError("the API key has expired")
    expires = math.inf if key.expires is None else key.expires
    groups = frozenset(key.groups)
    return key, Principal(
        KEYS_NAME, KEYS_ISSUER, key.name, groups, expires=expires, issued=key.created, token_id=key.id
    )
