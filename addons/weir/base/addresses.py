"""Decide which network addresses may be dialled. Pure.

A name does not show where it leads: the owner of its DNS zone can point it at this machine, at the cloud's metadata
service or at a neighbour. So each resolved address is judged, and exactly the judged address is dialled.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from weir.base.mistakes import SettingError, did_you_mean

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

#: Metadata services of clouds: they give the machine's credentials to any process that asks.
_METADATA = frozenset(map(ip_address, (
    "169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254",
    "100.100.100.200", "168.63.129.16", "192.0.0.192",
)))  # fmt: skip
_SHARED = ip_network("100.64.0.0/10")  # RFC 6598: internal networks of providers and clouds
#: Deprecated site-local and relay addresses (RFC 3879, RFC 7526), which Python does not count as reserved.
_DEPRECATED = (ip_network("fec0::/10"), ip_network("192.88.99.0/24"))
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052: the last four bytes are an IPv4 address


class Kind(StrEnum):
    """The kind of network that an address belongs to."""

    PUBLIC = "public"
    PRIVATE = "private"
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    METADATA = "metadata"
    RESERVED = "reserved"


#: Kinds that a policy file can name. An address of another kind must be listed itself.
WORDS = (Kind.PUBLIC, Kind.PRIVATE, Kind.LOOPBACK)


def plain(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address embeds (mapped, 6to4, NAT64), or *address* itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.scope_id is not None:  # the interface to use; it does not change what the address is
        address = IPv6Address(address.packed)
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(address.packed[12:])
    return address


def kind_of(address: Address) -> Kind:
    """Return the kind of *address*. An embedded IPv4 address counts."""
    address = plain(address)
    if address in _METADATA:
        return Kind.METADATA
    if address.is_loopback:
        return Kind.LOOPBACK
    if address.is_link_local:
        return Kind.LINK_LOCAL
    if address.is_multicast or address.is_unspecified or address.is_reserved or any(address in n for n in _DEPRECATED):
        return Kind.RESERVED
    if address in _SHARED:
        return Kind.PRIVATE
    if address.is_global:
        return Kind.PUBLIC
    private = IPv4Network("10.0.0.0/8"), IPv4Network("172.16.0.0/12"), IPv4Network("192.168.0.0/16")
    if any(address in network for network in (*private, IPv6Network("fc00::/7"))):
        return Kind.PRIVATE
    return Kind.RESERVED  # for documentation, tests, or a protocol's own use


@dataclass(frozen=True, slots=True)
class Addresses:
    """The addresses that may be dialled: kinds and networks."""

    kinds: frozenset[Kind] = frozenset((Kind.PUBLIC,))
    networks: tuple[Network, ...] = ()

    def permits(self, address: Address) -> bool:
        """True if *address* may be dialled. A metadata service must be listed by its single address."""
        kind, address = kind_of(address), plain(address)
        named = [network for network in self.networks if address in network]
        if kind is Kind.METADATA:
            return any(network.num_addresses == 1 for network in named)
        return kind in self.kinds or bool(named)


def plain_network(network: Network) -> Network:
    """Return the IPv4 network that *network* embeds (mapped, NAT64), or *network* itself. `permits` compares IPv4.

    Raises ValueError if it embeds all of IPv4, because that includes this machine.
    """
    first = network[0]
    if not isinstance(first, IPv6Address) or not (first.ipv4_mapped is not None or first in _NAT64):
        return network
    if network.prefixlen <= 96:
        raise ValueError
    return ip_network((plain(first), network.prefixlen - 96))


def literal(host: str) -> Address | None:
    """Return *host* as an address, or None if it is not one in its usual form."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def compile_addresses(words: Iterable[str] | None, host: str) -> Addresses:
    """Compile the addresses that the upstream *host* may resolve to. Raises `SettingError`.

    Default: the address itself if *host* is an address, loopback for ``localhost``, public addresses for other names.
    """
    address = literal(host)
    own = (ip_network(plain(address)),) if address is not None else ()
    if words is None:
        if own:
            return Addresses(frozenset(), own)
        return Addresses(frozenset((Kind.LOOPBACK if host == "localhost" else Kind.PUBLIC,)))
    kinds, networks = set(), list[Network](own)
    for i, word in enumerate(words):
        if word in WORDS:
            kinds.add(Kind(word))
            continue
        try:
            networks.append(plain_network(ip_network(word)))
        except ValueError:
            raise SettingError(
                f"{word!r} is neither {', '.join(WORDS)} nor a network like 10.0.0.0/8{did_you_mean(word, WORDS)}", i
            ) from None
    return Addresses(frozenset(kinds), tuple(networks))
