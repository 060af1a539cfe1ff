"""Turns to ask a provider: a bounded number at once, shared fairly between the addresses of callers.

A caller that sends many unknown tokens would otherwise delay everyone else's.
"""

import asyncio
from collections import Counter
from ipaddress import IPv6Address, ip_address


class Turns:
    """At most *most* turns are taken at once, and at most *share* of them by one address.

    A free turn goes to the waiting address with the fewest turns, and to its oldest request.
    """

    def __init__(self, most: int, share: int) -> None:
        self._most = most
        self._share = share
        self._taken: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    async def take(self, address: str) -> None:
        """Wait for a turn. Every turn that is taken must be given back with `give`."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append((address, waiting))
        self._continue()
        try:
            await waiting
        except asyncio.CancelledError:
            if waiting.cancelled():
                self._waiting.remove((address, waiting))
            else:  # the turn came at the same moment
                self.give(address)
            raise

    def give(self, address: str) -> None:
        """Give a turn back."""
        self._taken[address] -= 1
        if not self._taken[address]:
            del self._taken[address]
        self._continue()

    def _continue(self) -> None:
        while self._taken.total() < self._most:
            able = [e for e in self._waiting if self._taken[e[0]] < self._share and not e[1].cancelled()]
            if not able:
                return
            address, waiting = entry = min(able, key=lambda entry: self._taken[entry[0]])
            self._waiting.remove(entry)
            self._taken[address] += 1
            waiting.set_result(None)


def network_of(address: str) -> str:
    """Return the part of an IP *address* that one subscriber has: all of IPv4, and the first 64 bits of IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(IPv6Address(int(found) >> 64 << 64))
    return str(found)
