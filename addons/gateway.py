"""For a checkout: ``mitmdump -s addons/gateway.py``. With an installed package: ``mitmdump -s "$(weir bundle)"``."""

from weir.bundle import addons

__all__ = ["addons"]
