"""Discovery: a client that asks for the addresses of a service's nodes stays at the gateway.

The profile declares which operations answer with addresses, and where they are in the answer.
"""

from weir.base.content import encode
from weir.base.problems import Kind, Refusal
from weir.path.exchange import Answered, Arrived, Exchange, Head, Matched, Routed
from weir.routing.model import DEFAULT_PORTS, Origin


class RefuseDiscovery:
    """Refuse discovery below a path prefix: clients drop the prefix when they continue at an address."""

    name = "refuse_discovery"

    def __call__(self, head: Head, routed: Routed, matched: Matched) -> None:
        discovery = matched.operation.discovery if matched.operation is not None else None
        if discovery is None:
            return
        prefix = routed.connection.match.path if head.origin is None else routed.connection.upstream.base_path
        if prefix:
            raise Refusal(
                Kind.DISCOVERY_REFUSED,
                "The answer would name addresses of the service's nodes. A client that continues there leaves the "
                f"gateway, or drops the path prefix {prefix}. {discovery.advice}",
            )


class ReplaceAddresses:
    """Replace the addresses of the service's nodes in the answer with the address at which the caller is now."""

    name = "replace_addresses"

    def __call__(self, exchange: Exchange, arrived: Arrived, head: Head, matched: Matched, answered: Answered) -> None:
        discovery = matched.operation.discovery if matched.operation is not None else None
        if discovery is None or exchange.replay == "request":  # no client continues at an address of a replay
            return
        if answered.document is not None:
            if discovery.readdress(answered.document, _gateway(arrived, head)):
                answered.body = encode(answered.document)
        elif answered.body and 200 <= answered.status < 300:
            raise Refusal(
                Kind.UPSTREAM_UNREADABLE,
                "The answer names addresses of the service's nodes, and is not JSON, so that they cannot be replaced. "
                "Ask for JSON.",
            )


def _gateway(arrived: Arrived, head: Head) -> Origin:
    """Return the origin that the caller addresses: for a proxy's caller, the service's own."""
    if head.origin is not None:
        return head.origin
    public = arrived.policies.public_url or ""  # TLS may end before the gateway
    scheme = "https" if public.startswith("https:") else head.scheme
    return Origin(scheme, head.host, head.port or DEFAULT_PORTS[scheme])
