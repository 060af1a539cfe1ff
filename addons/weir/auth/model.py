"""Who is calling, as a value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated caller: the pair (iss, sub), never an e-mail address.

    ``groups`` are namespaced by the issuer's configured name (``acme/search``), so that no issuer can
    speak for another's groups. ``expires`` is Unix time in seconds.
    """

    issuer: str
    iss: str
    sub: str
    groups: frozenset[str]
    expires: float

    @property
    def key(self) -> tuple[str, str]:
        """What identifies this caller in limits and sessions."""
        return (self.iss, self.sub)
