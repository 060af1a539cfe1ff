"""A mitmdump script that only trims mitmproxy to its proxy core: the minimum cost of any gateway built on it."""

from typing import Any

from mitmproxy.addons.next_layer import NextLayer
from mitmproxy.addons.tlsconfig import TlsConfig

from weir.mitm.hardening import trim


class Floor:
    """No hooks of its own."""

    name = "floor"

    def load(self, loader: Any) -> None:
        """Trim mitmproxy, then add its own addons for the work that the gateway would do itself."""
        trim(loader.master)
        loader.master.addons.add(NextLayer(), TlsConfig())


addons = [Floor()]
