"""A mitmdump script that only trims mitmproxy to its proxy core: what any gateway built on it pays at least."""

from typing import Any

from weir.hardening import trim


class Floor:
    """No hooks of its own."""

    name = "floor"

    def load(self, loader: Any) -> None:
        """Trim, once."""
        trim(loader.master)


addons = [Floor()]
