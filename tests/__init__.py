"""Warnings are errors in tests, but what mitmproxy's own dependencies deprecate while imported is not ours."""

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import mitmproxy.addons
    import mitmproxy.io  # noqa: F401
