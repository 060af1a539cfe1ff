"""What mitmdump loads: ``mitmdump -s addons/gateway.py``. It registers Stack and Gate, once."""

from mitmproxy.addonmanager import Loader

from weir.path.stack import register


class Weir:
    """Registers the gateway; reloading or losing this file changes nothing that runs."""

    name = "weir-loader"

    def load(self, loader: Loader) -> None:
        """Register Stack and Gate as addons of their own."""
        register(loader.master)


addons = [Weir()]
