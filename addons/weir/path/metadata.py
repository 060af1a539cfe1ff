"""Documents about the gateway: metadata for clients (RFC 9728), and whoami for an authenticated caller. Pure."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from weir.approvals.model import Approval
from weir.auth.issuer import Issuer, authorization_server
from weir.auth.keys import ALGORITHMS
from weir.base.principal import Principal
from weir.policyset.connection import Connection


def protected_resource(base_url: str, connection: Connection | None, issuers: Iterable[Issuer]) -> dict[str, Any]:
    """Return the metadata of *connection*, or of the whole gateway if it is None (RFC 9728, 2).

    ``weir_login`` is an extension: how `weir login` can obtain a token that this gateway accepts.
    """
    issuers = list(issuers)
    prefix = (connection.match.path or "") if connection else ""
    return {
        "resource": f"{base_url}{prefix}",
        "resource_name": f"{connection.name} behind Weir" if connection else "Weir",
        "authorization_servers": list(dict.fromkeys(filter(None, map(authorization_server, issuers)))),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": sorted(ALGORITHMS),
        "weir_login": [
            {
                "name": issuer.rules.name,
                "issuer": issuer.rules.iss,
                "client_id": issuer.login.client_id,
                "scopes": issuer.login.scopes,
                "resource": issuer.login.resource,
                "token": "id_token" if issuer.rules.profile == "id" else "access_token",
                **issuer.login.model_dump(include={"client_secret", "redirect_port"}, exclude_none=True),
            }
            for issuer in issuers
            if issuer.login is not None
        ],
    }


def whoami(
    url_of: Callable[[Connection], str],
    principal: Principal,
    connections: Iterable[Connection],
    windows: Mapping[str, Approval],
    admin_url: str | None,
) -> dict[str, Any]:
    """Return *principal* as the gateway sees them, and the connections that they may use, with the reason.

    *url_of* gives the URL at which they call a connection. ``on_request`` lists the connections for which they may
    request access at ``admin_url``.
    """
    connections = list(connections)
    return {
        "issuer": principal.issuer,
        "iss": principal.iss,
        "subject": principal.sub,
        "groups": sorted(principal.groups),
        "groups_unknown": principal.groups_unknown or None,
        "token_id": principal.token_id or None,
        "expires": principal.expires if principal.expires != float("inf") else None,
        "admin_url": admin_url,
        "on_request": [
            connection.name
            for connection in connections
            if connection.on_request is not None
            and connection.access.isdisjoint(principal.groups)
            and connection.name not in windows
        ],
        "connections": [
            {
                "name": connection.name,
                "profile": connection.profile.name,
                "url": url_of(connection),
                "by_groups": sorted(connection.access & principal.groups),
                "until": window.until if (window := windows.get(connection.name)) else None,
                "given_by": window.decided_by() if window else None,
                "window_id": window.id if window else None,
            }
            for connection in connections
            if not connection.access.isdisjoint(principal.groups) or connection.name in windows
        ],
    }
