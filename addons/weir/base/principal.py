"""Who is calling, as a value."""

from dataclasses import dataclass

#: What stands before the thumbprint of a client certificate (RFC 8705), to tell it from a key's (RFC 9449).
CERTIFICATE_BOUND = "x5t#S256:"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: the pair (iss, sub), never an e-mail address.

    ``groups`` are namespaced by the issuer's configured name (``acme/search``), so that no issuer can
    speak for another's groups; where they could not be known there are none, and ``groups_unknown``
    says why. ``expires`` and ``issued`` are Unix times in seconds; ``issued`` is the earliest that the
    token can have been, clocks differing as they may. ``token_id`` is the token's ``jti`` (an API key's
    id), ``sid`` the identity provider's session, ``key_thumbprint`` that of the key (RFC 7638) or certificate
    (RFC 8705, with `CERTIFICATE_BOUND` before it) to which the token is bound; each is empty where there is none.
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

    @property
    def key(self) -> tuple[str, str]:
        """What identifies this caller in limits and sessions."""
        return (self.iss, self.sub)
