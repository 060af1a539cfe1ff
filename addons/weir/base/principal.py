"""The authenticated caller as a value."""

from dataclasses import dataclass

#: Prefix for the thumbprint of a client certificate (RFC 8705), to distinguish it from a key's (RFC 9449).
CERTIFICATE_BOUND = "x5t#S256:"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: the pair (iss, sub), never an e-mail address.

    ``groups`` have the issuer's configured name as prefix (``acme/search``), so no issuer can assign another issuer's
    groups. If the groups could not be determined, there are none, and ``groups_unknown`` has the reason. ``expires``
    and ``issued`` are Unix times in seconds; ``issued`` is the earliest possible time, given the allowed clock
    difference. ``token_id`` is the token's ``jti`` (or an API key's id), ``sid`` the identity provider's session.
    ``key_thumbprint`` belongs to the key (RFC 7638) or certificate (RFC 8705, with the prefix `CERTIFICATE_BOUND`) that
    the token is bound to. Each of these three is empty if absent. A ``machine`` never decides about approvals.
    """

    issuer: str
    iss: str
    sub: str
    groups: frozenset[str]
    expires: float
    issued: float = 0.0
    token_id: str = ""
    sid: str = ""
    groups_unknown: str = ""
    key_thumbprint: str = ""
    machine: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The identity of this caller in limits and sessions."""
        return (self.iss, self.sub)
