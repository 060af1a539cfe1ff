"""Changes mitmproxy: the one place from which all replacements are made."""

import pkgutil

from mitmproxy import master

# The originals are looked up when these modules are imported, so before anything is replaced.
from weir.mitm import answers, dispatch, hooks, http1, http2, relay, resolving, table, tls_closing, typechecks  # noqa: F401
from weir.mitm.hooks import Hooks


def install(given: Hooks, to: master.Master) -> None:
    """Make all changes of the table, to classes and to the addon manager and event loop of *to*. Idempotent.

    The layers call *given*. Raises AttributeError if a name of the table does not exist.
    """
    hooks.use(given)
    for row in table.rows("replaced", "wrapped"):
        if not row.each:
            owner, _, name = row.target.rpartition(".")
            setattr(pkgutil.resolve_name(owner), name, pkgutil.resolve_name(f"weir.{row.ours}"))
    dispatch.install(to.addons)
    resolving.install(to.event_loop)
