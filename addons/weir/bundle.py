"""The script that mitmdump loads: ``mitmdump -s "$(weir bundle)"``. It registers Stack and Gate, once."""

import os
import sys

from mitmproxy.addonmanager import Loader

from weir.path.stack import register

# mitmproxy puts the folder of a script at the front of sys.path. This folder is a package: without this line,
# `import config` in any library would import weir/config.
sys.path[:] = [entry for entry in sys.path if entry != os.path.dirname(__file__)]


class Weir:
    """Registers the gateway. If this file is reloaded or lost, the running gateway does not change."""

    name = "weir-loader"

    def load(self, loader: Loader) -> None:
        """Register Stack and Gate as addons of their own."""
        register(loader.master)


addons = [Weir()]
