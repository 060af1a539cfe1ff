"""The seam at which mitmproxy's own answers become ours is where we expect it. If a new mitmproxy moves it, this fails."""

import inspect

from mitmproxy.proxy.layers.http import _http1

from weir.mitm.http1 import _original_read_body, _original_send


def test_the_two_functions_are_the_only_ones_that_write_answers() -> None:
    source = inspect.getsource(_http1)
    assert source.count("make_error_response(") == 3  # the definition, one in send, one in read_headers
    assert inspect.getsource(_original_send).count("make_error_response(") == 1
    assert inspect.getsource(_http1.Http1Server.read_headers).count("make_error_response(") == 1
    assert list(inspect.signature(_http1.make_error_response).parameters) == ["status_code", "message"]
    assert list(inspect.signature(_original_send).parameters) == ["self", "event"]


def test_what_is_wrapped_is_still_what_reads_heads_and_bodies() -> None:
    assert "raise NotImplementedError" in inspect.getsource(_original_read_body)  # at trailers
    for side in (_http1.Http1Server, _http1.Http1Client):
        assert "FIXME: protect against header size DoS" in inspect.getsource(side.read_headers)
    assert "self.state = self.read_headers" in inspect.getsource(_http1.Http1Connection)
