"""Weir: an identity-aware gateway in the data path, as a stack of mitmproxy addons."""

__version__ = "0.1.0"
