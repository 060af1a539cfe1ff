"""A mitmdump script that only trims mitmproxy to its proxy core: what any gateway built on it pays at least."""

from typing import Any

from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.tlsconfig import TlsConfig

from weir.mitm.hardening import trim


class Floor:
    """No hooks of its own."""

    name = "floor"

    def load(self, loader: Any) -> None:
        """Trim, once; what the gateway does in their place, mitmproxy's own do."""
        trim(loader.master)
        loader.master.addons.add(NextLayer(), TlsConfig())


addons = [Floor()]
