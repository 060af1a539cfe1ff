"""Changes mitmproxy: the one place from which all replacements are made."""

from typing import Any

from mitmproxy import master
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http import _http1, _http2
from mitmproxy.proxy.layers.tls import TLSLayer

from weir.mitm import answers, dispatch, hooks, http1, http2, relay, resolving, tls_closing
from weir.mitm.hooks import Hooks

_PATCHES: tuple[tuple[Any, str, Any], ...] = (
    (_http1, "make_error_response", answers.make_error_response),
    (_http1.Http1Server, "send", http1.send),
    (_http1.Http1Server, "_handle_event", http1.server_handle_event),
    (_http1.Http1Server, "read_headers", http1.server_read_headers),
    (_http1.Http1Server, "read_body", http1.read_request),
    (_http1.Http1Client, "read_headers", http1.client_read_headers),
    (_http1.Http1Client, "read_body", http1.read_answer),
    (_http1.Http1Client, "mark_done", http1.client_mark_done),
    (_http2.Http2Server, "_handle_event", http2.server_handle_event),
    (_http2.Http2Server, "handle_h2_event", http2.handle_h2_event),
    (_http2.Http2Client, "_handle_event", http2.client_handle_event),
    (TLSLayer, "receive_data", tls_closing.receive_data),
    (TLSLayer, "receive_close", tls_closing.receive_close),
    (TLSLayer, "send_close", tls_closing.send_close),
    (TLSLayer, "event_to_child", tls_closing.event_to_child),
    (websocket, "WebsocketLayer", relay.Relay),
)


def install(given: Hooks, to: master.Master) -> None:
    """Put the gateway's functions in the place of mitmproxy's, have them call *given*, and prepare *to*. Idempotent."""
    hooks.use(given)
    for owner, name, replacement in _PATCHES:
        setattr(owner, name, replacement)
    dispatch.install(to.addons)
    resolving.install(to.event_loop)
