"""The internals of mitmproxy and its libraries that Weir replaces, wraps, overrides, calls, reads or sets.

`patches.install` makes the changes of the rows `replaced` and `wrapped`, and `hardening` applies the rows of addons and
options. `tests/mitm/test_table.py` compares all rows with the installed libraries, and finds private names that have no
row. If a name moved, change its row and the module that the row names. To upgrade mitmproxy, see `weir.mitm`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "replaced",    # a function of ours stands in its place, and does not call it
    "wrapped",     # a function of ours stands in its place, and calls it
    "subclassed",  # a class of ours inherits from it, or overrides it
    "called",      # our code calls it
    "read",        # our code reads it, sets it, or depends on how it works
    "matched",     # our code, or the record, depends on this English text
    "removed",     # a built-in addon that does not run in the gateway
    "kept",        # a built-in addon that runs in the gateway
    "set",         # an option that the gateway always sets
    "refused",     # an option with which the gateway does not start
    "left",        # options that operators may set
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Function:
    """A function, by its parameters without types, and by a digest of its code without comments and docstrings."""

    signature: str
    digest: str


@dataclass(frozen=True, slots=True)
class Members:
    """A class, by a digest of the code of each method, and of everything else in the class (`*`)."""

    digests: str


@dataclass(frozen=True, slots=True)
class Inherited:
    """A method that a class inherits from the class named *definer*."""

    definer: str


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute of a class or module, by its declared type, or else by the code that sets it (`= …`)."""

    declared: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """A function of the standard library, by the *names* of the parameters that matter."""

    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """A text that stands in the code of a function."""

    text: str


@dataclass(frozen=True, slots=True)
class Same:
    """A constant with this *value*."""

    value: object


@dataclass(frozen=True, slots=True)
class Addon:
    """A built-in addon with this *name*."""

    name: str


@dataclass(frozen=True, slots=True)
class Option:
    """An option with this *default*."""

    default: object


@dataclass(frozen=True, slots=True)
class Options:
    """The *names* of all options that have no row of their own."""

    names: tuple[str, ...]


Expected = Function | Members | Inherited | Attribute | Parameters | Text | Same | Addon | Option | Options


@dataclass(frozen=True, slots=True)
class Row:
    """One name. *ours* is the part of Weir that depends on it, without the prefix `weir.`; *why* is the reason."""

    kind: Kind
    target: str
    expected: Expected
    ours: str
    why: str
    each: bool = False  # changed in single objects by *ours*, not in the class by `patches.install`
    value: object = None  # of an option that is set


def rows(*kinds: Kind) -> Iterator[Row]:
    """Yield the rows of these kinds."""
    return (row for row in ROWS if row.kind in kinds)


_HTTP = "mitmproxy.proxy.layers.http"
_H1 = "mitmproxy.proxy.layers.http._http1"
_H2 = "mitmproxy.proxy.layers.http._http2"
_EVENTS = "mitmproxy.proxy.layers.http._events"
_TLS = "mitmproxy.proxy.layers.tls"
_TUNNEL = "mitmproxy.proxy.tunnel"
_WS = "mitmproxy.proxy.layers.websocket"
_LAYER = "mitmproxy.proxy.layer"
_SERVER = "mitmproxy.proxy.server"
_MANAGER = "mitmproxy.addonmanager"
_ADDONS = "mitmproxy.addons"

# fmt: off
ROWS: tuple[Row, ...] = (

    # HTTP/1: changed by `patches.install`.

    Row("replaced", f"{_H1}.make_error_response", Function("(status_code, message='')", "696e4703"),
        "mitm.answers.make_error_response",
        "mitmproxy's answers are HTML and name the upstream."),
    Row("wrapped", f"{_H1}.Http1Server.send", Function("(self, event)", "3267dbf9"), "mitm.http1.send",
        "An exchange that failed ends with its own problem, so that the answer and the record agree."),
    Row("wrapped", f"{_H1}.Http1Server._handle_event", Inherited("Http1Connection"), "mitm.http1.server_handle_event",
        "What a caller sends while it waits for its answer is not bounded."),
    Row("wrapped", f"{_H1}.Http1Server.read_headers", Function("(self, event)", "298ba8e8"),
        "mitm.http1.server_read_headers",
        "A request's head is not bounded."),
    Row("wrapped", f"{_H1}.Http1Server.read_body", Inherited("Http1Connection"), "mitm.http1.read_request",
        "Trailers crash it, and neither tiny chunks nor chunk lines are bounded."),
    Row("wrapped", f"{_H1}.Http1Client.read_headers", Function("(self, event)", "bdb672bf"),
        "mitm.http1.client_read_headers",
        "An answer's head is not bounded, and an informational response is taken for the answer."),
    Row("wrapped", f"{_H1}.Http1Client.read_body", Inherited("Http1Connection"), "mitm.http1.read_answer",
        "Trailers crash it, chunk lines are not bounded, and each chunk is a piece of its own."),
    Row("wrapped", f"{_H1}.Http1Client.mark_done", Inherited("Http1Connection"), "mitm.http1.client_mark_done",
        "It decides from the rewritten head whether the connection to the service goes on."),

    # HTTP/1: classes and their members.

    Row("read", f"{_H1}.Http1Connection", Members(
        "*:141262 __init__:5ae985 send:2fa60d read_headers:851ae0 _handle_event:4d72b7 start:ad45a2 "
        "read_body:756cde wait:a3edd1 done:edb874 make_pipe:b254b4 passthrough:b7e8da mark_done:d2f6cf"), "mitm.http1",
        "The functions above work on its states and buffers."),
    Row("read", f"{_H1}.Http1Server",
        Members("*:08189f __init__:d7da7d send:3267db read_headers:298ba8 mark_done:eddad5"), "mitm.http1",
        "The functions above work on its states and buffers."),
    Row("read", f"{_H1}.Http1Client", Members("*:545ef2 __init__:997188 send:fdb0cf read_headers:bdb672"), "mitm.http1",
        "The functions above work on its states and buffers."),
    Row("read", "mitmproxy.proxy.layers.http._base.HttpConnection.conn", Attribute("Connection"), "mitm.http1",
        "Answers are sent to it, and it is closed."),
    Row("called", f"{_H1}.Http1Connection.read_body", Function("(self, event)", "756cde02"),
        "mitm.http1._original_read_body",
        "It reads bodies, and raises NotImplementedError at trailers."),
    Row("called", f"{_H1}.Http1Connection.mark_done", Function("(self, *, request=False, response=False)", "d2f6cf62"),
        "mitm.http1._original_mark_done",
        "It ends an exchange, and the connection if the head says so."),
    Row("called", f"{_H1}.Http1Connection._handle_event", Function("(self, event)", "4d72b7b4"),
        "mitm.http1._original_handle_event",
        "It adds what arrives to `buf`, then calls the state."),
    Row("read", f"{_H1}.Http1Connection.wait", Function("(self, event)", "a3edd143"), "mitm.http1.server_handle_event",
        "The state in which a caller waits for its answer."),
    Row("read", f"{_H1}.Http1Connection.done", Function("(self, event)", "edb87460"), "mitm.http1",
        "The state of a connection that is closed."),
    Row("read", f"{_H1}.Http1Connection.passthrough", Function("(self, event)", "b7e8da58"), "mitm.watch",
        "The state of a tunnel or a WebSocket."),
    Row("read", f"{_H1}.Http1Connection.state",
        Attribute("Callable[[events.Event], layer.CommandGenerator[None]] | Callable"), "mitm.http1",
        "It is compared and set."),
    Row("read", f"{_H1}.Http1Connection.stream_id", Attribute("StreamId | None"), "mitm.http1",
        "The current request; None between two requests to a service."),
    Row("read", f"{_H1}.Http1Connection.request", Attribute("http.Request | None"), "mitm.http",
        "It is replaced by a request with only a method, so that the answer alone decides whether to close."),
    Row("read", f"{_H1}.Http1Connection.response", Attribute("http.Response | None"), "mitm.http1.send",
        "It says whether an answer has begun."),
    Row("read", f"{_H1}.Http1Connection.body_reader", Attribute("TBodyReader"), "mitm.http1.read_answer",
        "It is wrapped, so that trailers are dropped."),
    Row("read", f"{_H1}.Http1Connection.buf", Attribute("ReceiveBuffer"), "mitm.http1",
        "Its size is bounded, and it is emptied."),
    Row("read", f"{_H1}.Http1Connection.ReceiveProtocolError",
        Attribute("type[RequestProtocolError | ResponseProtocolError]"), "mitm.http1",
        "The error of its side, request or response."),
    Row("called", f"{_H1}.Http1Server.mark_done", Function("(self, *, request=False, response=False)", "eddad5e0"),
        "mitm.http1",
        "It calls the method of Http1Connection, which is not changed."),

    # HTTP/2: changed by `patches.install`.

    Row("wrapped", f"{_H2}.Http2Server._handle_event", Function("(self, event)", "05a98c4d"),
        "mitm.http2.server_handle_event",
        "Answers to errors are HTML, frames that carry little are not bounded, and ended streams are kept."),
    Row("wrapped", f"{_H2}.Http2Server.handle_h2_event", Function("(self, event)", "8a448fe3"),
        "mitm.http2.handle_h2_event",
        "Resets are not bounded, and some are lost."),
    Row("wrapped", f"{_H2}.Http2Client._handle_event", Function("(self, event)", "aa5ed585"),
        "mitm.http2.client_handle_event",
        "Each frame is a piece of its own, ended streams are kept, and a waiting stream is opened after its reset."),

    # HTTP/2: classes and their members.

    Row("read", f"{_H2}.Http2Connection", Members(
        "*:b593e2 __init__:bea1d6 is_closed:3a704c is_open_for_us:534ff6 _handle_event:7bcdf3 "
        "handle_h2_event:2e5c48 protocol_error:6481f1 close_connection:0cdca1 done:2026a9"), "mitm.http2",
        "The functions above work on its streams and on its h2 connection."),
    Row("read", f"{_H2}.Http2Server", Members("*:e5b7f8 __init__:7a5ddd _handle_event:05a98c handle_h2_event:8a448f"),
        "mitm.http2",
        "The functions above work on its streams and on its h2 connection."),
    Row("read", f"{_H2}.Http2Client",
        Members("*:83d89a __init__:8075e3 _handle_event:aa5ed5 _handle_event2:ef44c6 handle_h2_event:c432a4"),
        "mitm.http2",
        "The functions above work on its streams and on its h2 connection."),
    Row("called", f"{_H2}.Http2Connection.is_closed", Function("(self, stream_id)", "3a704cfb"), "mitm.http2",
        "Ended streams are forgotten."),
    Row("called", f"{_H2}.Http2Connection.is_open_for_us", Function("(self, stream_id)", "534ff631"), "mitm.http2",
        "An answer is only given to an open stream."),
    Row("called", f"{_H2}.Http2Connection.protocol_error",
        Function("(self, message, error_code=h2.errors.ErrorCodes.PROTOCOL_ERROR)", "6481f1ce"), "mitm.http2",
        "It closes the connection of a caller that sends too much that carries little."),
    Row("read", f"{_H2}.Http2Connection.h2_conn", Attribute("BufferedH2Connection"), "mitm.http2",
        "Answers are written to it."),
    Row("read", f"{_H2}.Http2Connection.streams", Attribute("dict[int, StreamState]"), "mitm.http2",
        "Ended streams are removed from it."),
    Row("read", f"{_H2}.Http2Client.our_stream_id", Attribute("dict[int, int]"), "mitm.http2.client_handle_event",
        "Ended streams are removed from it."),
    Row("read", f"{_H2}.Http2Client.their_stream_id", Attribute("dict[int, int]"), "mitm.http2.client_handle_event",
        "Ended streams are removed from it."),
    Row("read", f"{_H2}.Http2Client.stream_queue", Attribute("collections.defaultdict[int, list[Event]]"),
        "mitm.http2.client_handle_event",
        "Reset streams that wait are removed from it."),
    Row("read", f"{_H2}.StreamState", Members("*:b9ad0e"), "mitm.http2.handle_h2_event",
        "A stream that was forgotten too early is set to HEADERS_RECEIVED."),
    Row("called", "mitmproxy.proxy.layers.http._http_h2.BufferedH2Connection", Members(
        "*:6eb787 __init__:9673e4 initiate_connection:f5d1f0 send_data:6eb216 send_trailers:5ec9bc "
        "end_stream:81b991 reset_stream:366a94 receive_data:68bab4 stream_window_updated:3bd58a "
        "connection_window_updated:b16b41"), "mitm.http2",
        "Answers are written to it."),
    Row("called", "mitmproxy.proxy.layers.http._http_h2.BufferedH2Connection.send_data",
        Function("(self, stream_id, data, end_stream=False, pad_length=None)", "6eb21666"), "mitm.http2",
        "It buffers what the flow control does not allow."),
    Row("called", "mitmproxy.proxy.layers.http._http_h2.BufferedH2Connection.end_stream",
        Function("(self, stream_id)", "81b991e6"), "mitm.http2",
        "It ends an answer."),
    Row("called", "mitmproxy.proxy.layers.http._http_h2.BufferedH2Connection.reset_stream",
        Function("(self, stream_id, error_code=0)", "366a94ae"), "mitm.http2",
        "It refuses a stream."),
    Row("read", "mitmproxy.proxy.layers.http._http_h2.BufferedH2Connection.stream_buffers",
        Attribute("collections.defaultdict[int, collections.deque[SendH2Data]]"), "mitm.watch",
        "Bytes that a caller does not take are counted."),
    Row("read", "mitmproxy.proxy.layers.http._http_h2.SendH2Data", Members("*:7b085f"), "mitm.watch",
        "The buffers consist of it."),
    Row("called", "h2.connection.H2Connection.send_headers", Function(
        "(self, stream_id, headers, end_stream=False, priority_weight=None, priority_depends_on=None, "
        "priority_exclusive=None)",
        "c499b15a"), "mitm.http2",
        "It writes the head of an answer."),
    Row("called", "h2.connection.H2Connection.close_connection",
        Function("(self, error_code=0, additional_data=None, last_stream_id=None)", "6730303d"), "mitm.http",
        "It writes GOAWAY once a connection had enough requests."),
    Row("called", "h2.connection.H2Connection.data_to_send", Function("(self, amount=None)", "1e137706"), "mitm.http2",
        "It returns the bytes to send."),
    Row("read", "h2.connection.H2Connection.open_inbound_streams", Function("(self)", "d6d31e3d"),
        "mitm.http2.handle_h2_event",
        "Open streams are bounded together with those that were reset."),
    Row("read", "h2.connection.H2Connection.streams", Attribute("dict[int, H2Stream]"), "mitm.http2._unanswered",
        "The state of a stream says whether its answer has begun."),
    Row("read", "h2.connection.H2Connection.local_settings", Attribute("= ca0f17eb"), "mitm.http2.AT_ONCE",
        "It announces that a caller may have 100 streams open."),
    Row("read", "h2.stream.H2StreamStateMachine.headers_sent", Attribute("bool | None"), "mitm.http2._unanswered",
        "True once the answer has begun."),
    Row("read", "h2.stream.H2Stream.state_machine", Attribute("= H2StreamStateMachine(stream_id)"),
        "mitm.http2._unanswered",
        "It has `headers_sent`."),

    # Streams and the HTTP layer: subclassed.

    Row("subclassed", f"{_HTTP}.HttpStream", Members(
        "*:a227c3 mode:49c6a2 __init__:4455c0 __repr__:5e8f2a _handle_event:3f3e09 "
        "state_wait_for_request_headers:ec03f5 start_request_stream:81bfb7 state_stream_request_body:455eef "
        "state_consume_request_body:8930a0 state_wait_for_response_headers:9aef1c "
        "start_response_stream:8264f6 state_stream_response_body:eea599 state_consume_response_body:df7f57 "
        "send_response:423c66 flow_done:db3f98 check_body_size:cd098d check_invalid:4bace6 "
        "check_killed:cdb15e handle_protocol_error:fc7e38 make_server_connection:84a3ee handle_connect:12d0e0 "
        "handle_connect_regular:6fb308 handle_connect_upstream:9429b3 handle_connect_finish:f7a726 "
        "passthrough:0cdec5 state_uninitialized:8b085f state_done:bfb120 state_errored:752e25"), "mitm.stream.Stream",
        "Failed streams are kept, and requests are sent for callers that have left."),
    Row("subclassed", f"{_HTTP}.HttpStream.__init__", Function("(self, context, stream_id)", "4455c020"),
        "mitm.stream.Stream",
        "The buffers are replaced by `bodies.Body`."),
    Row("subclassed", f"{_HTTP}.HttpStream.check_killed", Function("(self, emit_error_hook)", "cdb15e1f"),
        "mitm.stream.Stream",
        "A killed stream is dropped."),
    Row("subclassed", f"{_HTTP}.HttpStream.check_invalid", Function("(self, request)", "4bace63f"),
        "mitm.stream.Stream",
        "An invalid stream is dropped."),
    Row("subclassed", f"{_HTTP}.HttpStream.check_body_size", Function("(self, request)", "cd098dfe"),
        "mitm.stream.Stream",
        "Callers and services have separate limits, and the stream is dropped."),
    Row("subclassed", f"{_HTTP}.HttpStream.make_server_connection", Function("(self)", "84a3eea7"),
        "mitm.stream.Stream",
        "Nothing is sent for a caller that left while the service was dialled."),
    Row("subclassed", f"{_HTTP}.HttpStream.handle_protocol_error", Function("(self, event)", "fc7e38ac"),
        "mitm.stream.Stream",
        "A request whose pooled connection was closed without an answer is sent once more."),
    Row("read", f"{_HTTP}.HttpStream.flow_done", Function("(self)", "db3f98ae"), "mitm.relay.Relay",
        "It gets the layer of a WebSocket as an attribute of its module, which `patches.install` changes."),
    Row("read", f"{_HTTP}.HttpStream.request_body_buf", Attribute("ReceiveBuffer"), "mitm.stream.Stream",
        "It is replaced by `bodies.Body`."),
    Row("read", f"{_HTTP}.HttpStream.response_body_buf", Attribute("ReceiveBuffer"), "mitm.stream.Stream",
        "It is replaced by `bodies.Body`."),
    Row("read", f"{_HTTP}.HttpStream.flow", Attribute("http.HTTPFlow"), "mitm.stream.flow_of",
        "It is missing until the head has been read."),
    Row("read", f"{_HTTP}.HttpStream.stream_id", Attribute("StreamId"), "mitm.stream.Stream",
        "It names the stream to drop."),
    Row("read", f"{_HTTP}.HttpStream.child_layer", Attribute("layer.Layer | None"), "mitm.http.Http",
        "The relay of a WebSocket, or the layer of a tunnel."),
    Row("read", f"{_HTTP}.HttpStream.client_state", Attribute("= self.state_uninitialized"), "mitm.watch",
        "It says whether a body is being received."),
    Row("read", f"{_HTTP}.HttpStream.server_state", Attribute("= self.state_uninitialized"), "mitm.http.Http",
        "It says whether an answer is being streamed."),
    Row("read", f"{_HTTP}.HttpStream.state_consume_request_body", Function("(self, event)", "8930a093"), "mitm.watch",
        "The state in which a body is received."),
    Row("read", f"{_HTTP}.HttpStream.state_done", Function("(self, _)", "bfb120c6"), "mitm.stream.Stream",
        "The state of a request that was sent whole."),
    Row("read", f"{_HTTP}.HttpStream.state_wait_for_response_headers", Function("(self, event)", "9aef1ca3"),
        "mitm.stream.Stream",
        "The state in which nothing of an answer has arrived."),
    Row("read", f"{_HTTP}.HttpStream.state_stream_response_body", Function("(self, event)", "eea5990e"),
        "mitm.http.Http",
        "The state in which an answer is streamed; it calls the callback that masks."),
    Row("read", f"{_HTTP}.HttpStream.send_response", Function("(self, already_streamed=False)", "423c66a0"),
        "path.stack",
        "It runs the hook `response`, in which the record is written, before it sends anything."),
    Row("read", f"{_HTTP}.HttpStream.handle_protocol_error", Function("(self, event)", "fc7e38ac"), "path.stack",
        "It runs the hook `error` before it sends the error."),
    Row("read", "mitmproxy.proxy.utils.ReceiveBuffer", Members(
        "*:2d290e __init__:fae9df __iadd__:e22b94 __len__:c3e1d5 __bytes__:d343eb __bool__:bb3ef0 "
        "clear:4cfa4a"), "mitm.bodies.Body",
        "`Body` has its methods."),
    Row("subclassed", f"{_HTTP}.HttpLayer", Members(
        "*:648e46 __init__:804b76 __repr__:7b35a7 _handle_event:dfde45 event_to_child:54bc64 "
        "make_stream:b335fa get_connection:bbed4d register_connection:2375eb"), "mitm.http.Http",
        "It keeps all connections, and does not use idle ones again."),
    Row("subclassed", f"{_HTTP}.HttpLayer.__init__", Function("(self, context, mode)", "804b76a6"), "mitm.http.Http",
        "Our own state is added."),
    Row("subclassed", f"{_HTTP}.HttpLayer._handle_event", Function("(self, event)", "dfde4522"), "mitm.http.Http",
        "It raises on our own events, and on events of forgotten connections."),
    Row("subclassed", f"{_HTTP}.HttpLayer.event_to_child", Function("(self, child, event)", "54bc6471"),
        "mitm.http.Http",
        "Bodies are counted here, and the `Connection` field is set."),
    Row("subclassed", f"{_HTTP}.HttpLayer.make_stream", Function("(self, stream_id)", "b335fa48"), "mitm.http.Http",
        "It makes a `Stream` of ours."),
    Row("subclassed", f"{_HTTP}.HttpLayer.get_connection", Function("(self, event, *, reuse=True)", "bbed4da1"),
        "mitm.http.Http",
        "Idle connections are used again, also for callers of HTTP/2."),
    Row("read", f"{_HTTP}.HttpLayer.mode", Attribute("HTTPMode"), "mitm.http.Http",
        "In regular mode `Proxy-Connection` counts."),
    Row("read", f"{_HTTP}.HttpLayer.streams", Attribute("dict[int, HttpStream]"), "mitm.stream.streams_of",
        "The streams by their ids."),
    Row("read", f"{_HTTP}.HttpLayer.connections", Attribute("dict[Connection, layer.Layer]"), "mitm.http.Http",
        "Closed connections are removed from it."),
    Row("read", f"{_HTTP}.HttpLayer.command_sources", Attribute("dict[commands.Command, layer.Layer]"),
        "mitm.http.Http",
        "It names the stream that waits for a connection."),
    Row("read", f"{_HTTP}.HttpLayer.waiting_for_establishment",
        Attribute("collections.defaultdict[Connection, list[GetHttpConnection]]"), "mitm.http.Http",
        "Connections that a stream waits for are not forgotten."),
    Row("read", f"{_HTTP}.HTTPMode", Members("*:62a23b"), "mitm.layers",
        "Each listener has one of its modes."),
    Row("read", f"{_HTTP}.GetHttpConnection", Members("*:eda549 __hash__:12815e connection_spec_matches:1a6808"),
        "mitm.http.Http",
        "The command of a stream that needs a connection."),
    Row("called", f"{_HTTP}.GetHttpConnection.connection_spec_matches", Function("(self, connection)", "1a680897"),
        "mitm.http.Http",
        "It compares hosts with `==`: `Dialed` hosts are equal only if their `Dial` is."),
    Row("called", f"{_HTTP}.GetHttpConnectionCompleted", Members("*:a4d15a"), "mitm.http.Http",
        "The answer to that command."),
    Row("called", f"{_HTTP}.DropStream", Members("*:276eba"), "mitm.stream.Stream",
        "The command that drops a stream."),
    Row("called", "mitmproxy.proxy.layers.http._base.ReceiveHttp", Members("*:7a247f __init__:989520 __repr__:df278f"),
        "mitm.http1",
        "The command with which a connection passes on what it has read."),
    Row("read", "mitmproxy.proxy.layers.http._base.ReceiveHttp.event", Attribute("HttpEvent"), "mitm.http1",
        "The event that was read."),
    Row("read", f"{_EVENTS}.ErrorCode", Members("*:eaefae http_status_code:c9f5d6"), "mitm.http1",
        "The kind of an error; some have a status."),
    Row("called", f"{_EVENTS}.ErrorCode.http_status_code", Function("(self)", "c9f5d6a1"), "mitm.http2",
        "The status that mitmproxy would answer with."),
    Row("read", f"{_EVENTS}.RequestHeaders", Members("*:caf5b6"), "mitm.http",
        "The head of a request."),
    Row("read", f"{_EVENTS}.RequestData", Members("*:45a7c4 __init__:b1469f"), "mitm.http",
        "A piece of a request's body."),
    Row("read", f"{_EVENTS}.RequestEndOfMessage", Members("*:732ec6 __init__:7e8345"), "mitm.stream",
        "A request that is sent once more ends with it."),
    Row("read", f"{_EVENTS}.RequestProtocolError", Members("*:a45704 __init__:afde5f"), "mitm.http",
        "A request failed, or its caller left."),
    Row("read", f"{_EVENTS}.ResponseHeaders", Members("*:8e7b98"), "mitm.http",
        "The head of an answer."),
    Row("read", f"{_EVENTS}.ResponseData", Members("*:8093ee __init__:b1469f"), "mitm.http",
        "A piece of an answer's body."),
    Row("read", f"{_EVENTS}.ResponseEndOfMessage", Members("*:01b652 __init__:7e8345"), "mitm.http",
        "The end of an answer."),
    Row("read", f"{_EVENTS}.ResponseProtocolError", Members("*:747a99 __init__:afde5f"), "mitm.http",
        "An answer failed."),

    # Layers: subclassed, and their members.

    Row("subclassed", f"{_LAYER}.Layer", Members(
        "*:72d7da __init__:9362c8 __repr__:96a792 __debug:53e44a stack_pos:92894d _handle_event:f62b03 "
        "handle_event:dbab1e __process:154443 __continue:98f514"), "mitm.layers.Refused",
        "The base of all layers."),
    Row("subclassed", f"{_LAYER}.Layer._handle_event", Function("(self, event)", "f62b035e"), "mitm.layers.Refused",
        "It receives the events of a layer."),
    Row("read", f"{_LAYER}.Layer.handle_event", Function("(self, event)", "dbab1efd"), "mitm.http",
        "It pauses a layer while a hook runs."),
    Row("read", f"{_LAYER}.Layer._paused", Attribute("Paused | None"), "mitm.http2",
        "Set while the gateway works for a stream: reset streams count until then."),
    Row("read", f"{_LAYER}.Layer._paused_event_queue", Attribute("collections.deque[events.Event]"),
        "mitm.stream.Stream",
        "`check_killed` finds in it that a caller left while a hook ran."),
    Row("read", f"{_LAYER}.Layer.context", Attribute("Context"), "mitm.http",
        "The connections of a layer."),
    Row("read", "mitmproxy.proxy.context.Context", Members("*:4bc141 __init__:df6441 fork:4d7799 __repr__:cb6038"),
        "mitm.stream.streams_of",
        "It lists the layers from the outermost to the innermost."),
    Row("called", "mitmproxy.proxy.context.Context.fork", Function("(self)", "4d779934"), "mitm.http.Http",
        "Each stream has its own."),
    Row("read", "mitmproxy.proxy.context.Context.layers", Attribute("list['mitmproxy.proxy.layer.Layer']"),
        "mitm.stream.streams_of",
        "The innermost HTTP layer is found in it."),
    Row("read", f"{_LAYER}.NextLayer", Members(
        "*:ab0bef __init__:346f44 __repr__:2f2282 handle_event:30e9f8 _handle_event:e80904 _ask:f44fc7 "
        "data_client:706058 data_server:355ab5 _data:17c05f"), "mitm.wire.Wire",
        "It asks for the next layer each time data arrives."),
    Row("called", f"{_LAYER}.NextLayer.data_client", Function("(self)", "706058f7"), "mitm.wire.Wire",
        "The first bytes of a connection or tunnel."),
    Row("subclassed", f"{_TUNNEL}.TunnelLayer", Members(
        "*:8a953b __init__:bf9780 __repr__:60b87e _handle_event:f12808 _handshake_finished:1dada1 "
        "_handle_command:01652f event_to_child:140da4 start_handshake:ef6dfe receive_handshake_data:cb0a1f "
        "on_handshake_error:ab5d37 receive_data:a24c38 receive_close:a267ff send_data:33d2ae "
        "send_close:516217"), "mitm.tls_closing",
        "The base of the TLS layers."),
    Row("called", f"{_TUNNEL}.TunnelLayer.event_to_child", Function("(self, event)", "140da478"),
        "mitm.tls_closing.event_to_child",
        "It passes an event on."),
    Row("called", f"{_TUNNEL}.TunnelLayer.receive_close", Function("(self)", "a267fff6"),
        "mitm.tls_closing.receive_close",
        "It reports the end of a connection."),
    Row("read", f"{_TUNNEL}.TunnelLayer.tunnel_state", Attribute("TunnelState"), "mitm.tls_closing.send_close",
        "`close_notify` is only sent after the handshake."),
    Row("read", f"{_TUNNEL}.TunnelLayer.conn", Attribute("connection.Connection"), "mitm.tls_closing.event_to_child",
        "The connection within TLS."),
    Row("read", f"{_TUNNEL}.TunnelState", Members("*:74756d"), "mitm.tls_closing.send_close",
        "It has OPEN."),
    Row("called", f"{_TUNNEL}.LayerStack", Members("*:4a343c __init__:3def02 __getitem__:14b131 __truediv__:66e9d8"),
        "mitm.layers.http",
        "It nests HTTP in TLS."),
    Row("wrapped", f"{_TLS}.TLSLayer.receive_data", Function("(self, data)", "47ee0233"),
        "mitm.tls_closing.receive_data",
        "It takes a fatal alert for nothing."),
    Row("replaced", f"{_TLS}.TLSLayer.receive_close", Function("(self)", "9781bd85"), "mitm.tls_closing.receive_close",
        "It takes a fatal alert for an end that was reported already."),
    Row("wrapped", f"{_TLS}.TLSLayer.send_close", Function("(self, command)", "a9a997fe"),
        "mitm.tls_closing.send_close",
        "It sends no `close_notify`."),
    Row("wrapped", f"{_TLS}.TLSLayer.event_to_child", Inherited("TunnelLayer"), "mitm.tls_closing.event_to_child",
        "It notes that the end of the connection was reported."),
    Row("read", f"{_TLS}.TLSLayer", Members(
        "*:061da7 __init__:5233d1 __repr__:0efdd4 is_dtls:88c110 proto_name:a976b0 start_tls:70d1e9 "
        "tls_interact:3c711b receive_handshake_data:d87062 on_handshake_error:9b8fa1 receive_data:47ee02 "
        "receive_close:9781bd send_data:7bd643 send_close:a9a997"), "mitm.tls_closing",
        "The functions above work on its OpenSSL connection."),
    Row("read", f"{_TLS}.ServerTLSLayer.event_to_child", Function("(self, event)", "052ec6be"),
        "mitm.tls_closing.event_to_child",
        "It calls the method of TLSLayer, which is changed."),
    Row("read", f"{_TLS}.TLSLayer.tls", Attribute("SSL.Connection"), "mitm.tls_closing",
        "The OpenSSL connection."),
    Row("called", f"{_TLS}.TLSLayer.tls_interact", Function("(self)", "3c711b52"), "mitm.tls_closing.send_close",
        "It sends what OpenSSL has written."),
    Row("subclassed", f"{_TLS}.ClientTLSLayer", Members(
        "*:c11fea __init__:0b2ec1 start_handshake:7ab4e1 receive_handshake_data:3713d7 "
        "start_server_tls:2b2547 on_handshake_error:33604f errored:e14f19"), "mitm.layers.CallerTls",
        "A ClientHello is not bounded."),
    Row("subclassed", f"{_TLS}.ClientTLSLayer.receive_handshake_data", Function("(self, data)", "3713d7f9"),
        "mitm.layers.CallerTls",
        "A ClientHello is not bounded."),
    Row("read", f"{_TLS}.ClientTLSLayer.recv_buffer", Attribute("bytearray"), "mitm.layers.CallerTls",
        "The bytes of an incomplete ClientHello."),
    Row("read", f"{_TLS}.ClientTLSLayer.client_hello_parsed", Attribute("bool"), "mitm.layers.CallerTls",
        "True once the ClientHello is complete."),
    Row("called", f"{_TLS}.parse_client_hello", Function("(data)", "e5b66f00"), "mitm.layers.named_host",
        "It reads the name from a ClientHello."),
    Row("called", "mitmproxy.net.tls.starts_like_tls_record", Function("(d)", "664bc6f6"), "mitm.layers.speaks_tls",
        "It recognises TLS by the first three bytes."),
    Row("subclassed", "mitmproxy.proxy.layers.tcp.TCPLayer",
        Members("*:ce317d __init__:c36dc9 start:58723d relay_messages:bc46b1 done:58b189"), "mitm.layers.Passed",
        "The bytes of a tunnel are counted."),
    Row("subclassed", "mitmproxy.proxy.layers.tcp.TCPLayer.relay_messages", Function("(self, event)", "bc46b1cc"),
        "mitm.layers.Passed",
        "The bytes of a tunnel are counted."),
    Row("read", "mitmproxy.proxy.layers.modes.ReverseProxy", Members("*:fdfc3a _handle_event:67bb9a"), "mitm.wire.Wire",
        "The outermost layer of a connection says how it arrived."),
    Row("read", "mitmproxy.proxy.layers.modes.HttpProxy", Members("*:5c604b _handle_event:d08a4e"), "mitm.wire.Wire",
        "The outermost layer of a connection says how it arrived."),
    Row("read", "mitmproxy.proxy.layers.modes.TransparentProxy", Members("*:41a51d _handle_event:ec57f0"),
        "mitm.wire.Wire",
        "The outermost layer of a connection says how it arrived."),

    # WebSocket.

    Row("replaced", f"{_WS}.WebsocketLayer",
        Members("*:6028b0 __init__:64f7a3 start:cabc28 relay_messages:b4bb1f done:43ae33"), "mitm.relay.Relay",
        "It bounds no message, keeps all of them, and forwards messages that no hook has seen."),
    Row("subclassed", f"{_WS}.WebsocketLayer.start", Function("(self, _)", "cabc2832"), "mitm.relay.Relay",
        "It opens both sides, and runs the hook `websocket_start`."),
    Row("subclassed", f"{_WS}.WebsocketLayer.relay_messages", Function("(self, event)", "b4bb1fbc"), "mitm.relay.Relay",
        "The method that is replaced."),
    Row("subclassed", f"{_WS}.WebsocketLayer.done", Function("(self, _)", "43ae3359"), "mitm.relay.Relay",
        "The state after the end."),
    Row("read", f"{_WS}.WebsocketLayer.client_ws", Attribute("WebsocketConnection"), "mitm.relay.Relay",
        "The side of the caller."),
    Row("read", f"{_WS}.WebsocketLayer.server_ws", Attribute("WebsocketConnection"), "mitm.relay.Relay",
        "The side of the service."),
    Row("read", f"{_WS}.WebsocketLayer.flow", Attribute("http.HTTPFlow"), "mitm.relay.Relay",
        "Its messages are what the hooks have passed."),
    Row("called", f"{_WS}.WebsocketConnection", Members("*:b44f11 __init__:b8afa7 send2:7fcdd1 __repr__:b2e22a"),
        "mitm.relay.Relay",
        "The protocol of one side."),
    Row("called", f"{_WS}.WebsocketConnection.send2", Function("(self, event)", "7fcdd178"), "mitm.relay.Relay",
        "It writes a message."),
    Row("read", f"{_WS}.WebsocketConnection.conn", Attribute("connection.Connection"), "mitm.relay.Relay",
        "The connection of one side."),
    Row("called", f"{_WS}.WebsocketMessageHook", Members("*:a6d568"), "mitm.relay.Relay",
        "It runs the hook `websocket_message`."),
    Row("called", f"{_WS}.WebsocketEndHook", Members("*:021ac4"), "mitm.relay.Relay",
        "It runs the hook `websocket_end`."),
    Row("called", "mitmproxy.websocket.WebSocketMessage", Members(
        "*:574c4e __init__:4436a3 from_state:4f39fc get_state:4d9f85 set_state:617e3e "
        "_format_ws_message:3b2945 __repr__:cdabc1 is_text:6defff drop:58cb9d kill:07c19d text:9adeaa"),
        "mitm.relay.Relay",
        "The messages of a flow; their state is part of the flow format."),
    Row("read", "mitmproxy.websocket.WebSocketData", Members("*:d32830 __repr__:2d8c6e _get_formatted_messages:035e04"),
        "recorder.flowfile",
        "Its state is part of the flow format."),
    Row("called", "wsproto.connection.Connection.receive_data", Function("(self, data)", "760e3c4f"),
        "mitm.relay.Relay",
        "It reads frames."),
    Row("called", "wsproto.connection.Connection.events", Function("(self)", "06b5bc85"), "mitm.relay.Relay",
        "A violation of the protocol is a CloseConnection that leaves the state OPEN."),
    Row("read", "wsproto.connection.Connection.state", Function("(self)", "b5a58396"), "mitm.relay.Relay",
        "It says which closing frames were exchanged."),

    # Connection handlers: one per client connection.

    Row("read", f"{_SERVER}.ConnectionHandler", Members(
        "*:2d5270 __init__:0b6347 handle_client:0ad9f7 open_connection:855354 wakeup:112bc8 "
        "handle_connection:e9c958 drain_writers:8c2687 on_timeout:bb37cf hook_task:dbbfd2 handle_hook:f29e83 "
        "log:045b58 server_event:3db8e5 close_connection:9df848"), "mitm.handlers",
        "It owns the streams, tasks and layers of a client connection."),
    Row("called", f"{_SERVER}.ConnectionHandler.server_event", Function("(self, event)", "3db8e5b1"), "mitm.handlers",
        "It gives an event to the layers."),
    Row("called", f"{_SERVER}.ConnectionHandler.close_connection",
        Function("(self, connection, half_close=False)", "9df848b3"), "mitm.watch",
        "It closes an idle connection."),
    Row("read", f"{_SERVER}.ConnectionHandler.handle_connection", Function("(self, connection)", "e9c958d7"),
        "mitm.readers",
        "It reads up to 65,535 bytes with `reader.read`, handles them, and reads again."),
    Row("read", f"{_SERVER}.ConnectionHandler.open_connection", Function("(self, command)", "855354d7"),
        "mitm.clients.Connections",
        "It dials the address of a connection, and always runs the hook `server_disconnected`."),
    Row("read", f"{_SERVER}.ConnectionHandler.handle_client", Function("(self)", "0ad9f757"),
        "mitm.clients.Connections",
        "It closes a client for which `client_connected` has set an error."),
    Row("read", f"{_SERVER}.ConnectionHandler.transports", Attribute("MutableMapping[Connection, ConnectionIO]"),
        "mitm.handlers",
        "The streams of each connection."),
    Row("read", f"{_SERVER}.ConnectionHandler.client", Attribute("Client"), "mitm.watch",
        "The client."),
    Row("read", f"{_SERVER}.ConnectionHandler.max_conns",
        Attribute("collections.defaultdict[Address, asyncio.Semaphore]"), "mitm.clients.Connections",
        "It is replaced: with five connections to a service, requests of HTTP/2 wait for each other for ever."),
    Row("read", f"{_SERVER}.ConnectionIO.handler", Attribute("asyncio.Task | None"), "mitm.handlers.end_upstream",
        "Its cancellation closes the connection."),
    Row("read", f"{_SERVER}.ConnectionIO.reader", Attribute("asyncio.StreamReader | mitmproxy_rs.Stream | None"),
        "mitm.readers",
        "Its `read` is wrapped."),
    Row("read", f"{_SERVER}.ConnectionIO.writer", Attribute("asyncio.StreamWriter | mitmproxy_rs.Stream | None"),
        "mitm.clients.Connections",
        "It is closed, and its buffer is measured."),
    Row("read", f"{_SERVER}.logger", Attribute("= logging.getLogger(__name__)"), "mitm.hardening.trim",
        "Its records quote what callers sent: a filter removes that."),
    Row("wrapped", "asyncio.StreamReader.read", Parameters(("n",)), "mitm.readers.take_turns",
        "One read may take a second to handle, and cannot be stopped while a request is held.", each=True),
    Row("read", f"{_ADDONS}.proxyserver.Proxyserver.connections",
        Attribute("dict[tuple | str, ProxyConnectionHandler]"), "mitm.handlers",
        "The handlers of all client connections, by the ids of the clients."),
    Row("read", f"{_ADDONS}.proxyserver.Proxyserver.servers", Attribute("Servers"), "mitm.listening",
        "The listeners."),
    Row("called", f"{_ADDONS}.proxyserver.Servers.update", Function("(self, modes)", "9fa41ce0"), "mitm.listening",
        "It opens and closes listeners."),
    Row("read", f"{_ADDONS}.proxyserver.Servers.__iter__", Function("(self)", "7940949c"), "mitm.listening",
        "It lists the listeners."),
    Row("read", "mitmproxy.proxy.mode_servers.ServerInstance.is_running", Function("(self)", "ddd68cf2"),
        "mitm.listening.open_all",
        "False if a listener could not be opened."),
    Row("read", "mitmproxy.proxy.mode_servers.ServerInstance.mode", Attribute("M"), "mitm.listening.open_all",
        "It names the address of a listener."),
    Row("read", "mitmproxy.proxy.mode_servers.ServerInstance.last_exception", Attribute("Exception | None"),
        "mitm.listening.Failures",
        "Why a listener could not be opened."),
    Row("read", f"{_ADDONS}.proxyserver.Servers.changed", Attribute("= signals.AsyncSignal(lambda: None)"),
        "mitm.listening.Failures",
        "It is sent after listeners were opened, or could not be opened."),
    Row("read", "mitmproxy.proxy.mode_servers.AsyncioServerInstance.listen", Function("(self, host, port)", "f2bae86e"),
        "mitm.listening.open_all",
        "It opens a listener with `loop.create_server`, by way of asyncio.start_server."),
    Row("read", "mitmproxy.proxy.mode_specs.ProxyMode", Members(
        "*:3c5a22 __init_subclass__:bc06cc __repr__:a3b4f7 __post_init__:06fa2f description:2854b8 "
        "default_port:943a28 transport_protocol:df4cc6 parse:ed77ee listen_host:c42902 listen_port:5ae5fe "
        "from_state:c7d0a5 get_state:29adff set_state:846c7f"), "mitm.wire.listener_of",
        "The listener through which a client came."),
    Row("read", "mitmproxy.proxy.mode_specs.ProxyMode.full_spec", Attribute("str"), "mitm.wire.listener_of",
        "It is compared with the listeners of gateway.yaml."),
    Row("wrapped", "asyncio.base_events.BaseEventLoop.create_server", Parameters(("reuse_port",)),
        "mitm.listening.open_all",
        "Workers share ports; mitmproxy has no option for it.", each=True),
    Row("wrapped", "asyncio.base_events.BaseEventLoop.getaddrinfo", Parameters(("host", "port",)),
        "mitm.resolving.install",
        "Names are resolved to permitted addresses only.", each=True),

    # Addons: how hooks are run.

    Row("replaced", f"{_MANAGER}.AddonManager.trigger_event", Function("(self, event)", "35d24095"),
        "mitm.dispatch.install",
        "It looks up each hook of each addon for each event.", each=True),
    Row("replaced", f"{_MANAGER}.AddonManager.handle_lifecycle", Function("(self, event)", "71f356f3"),
        "mitm.dispatch.install",
        "It makes an event `update` for each event of a flow, whether or not an addon has this hook.", each=True),
    Row("replaced", "mitmproxy.hooks.Hook.args", Function("(self)", "fbb3e0d8"), "mitm.dispatch.arguments_of",
        "It looks up the fields of the hook's class each time."),
    Row("read", "mitmproxy.hooks.Hook.name", Attribute("ClassVar[str]"), "mitm.dispatch",
        "The name of the method of addons."),
    Row("wrapped", "mitmproxy.utils.typecheck.check_option_type", Function("(name, value, typeinfo)", "462fb709"),
        "mitm.typechecks.check_option_type",
        "It interprets the annotations of all fields of each message."),
    Row("wrapped", f"{_MANAGER}.AddonManager.register", Function("(self, addon)", "88ccacb0"), "mitm.dispatch.install",
        "The hooks that were looked up are forgotten.", each=True),
    Row("wrapped", f"{_MANAGER}.AddonManager.remove", Function("(self, addon)", "a414b76d"), "mitm.dispatch.install",
        "The hooks that were looked up are forgotten.", each=True),
    Row("wrapped", f"{_MANAGER}.AddonManager.clear", Function("(self)", "6fb9022f"), "mitm.dispatch.install",
        "The hooks that were looked up are forgotten.", each=True),
    Row("read", f"{_MANAGER}.AddonManager", Members(
        "*:c5861c __init__:998fe7 _configure_all:43ca1f clear:6fb902 get:3cf96e register:88ccac add:e14e66 "
        "remove:a414b7 __len__:e603a9 __str__:bbda60 __contains__:696e2a handle_lifecycle:71f356 "
        "_iter_hooks:15e174 invoke_addon:033025 invoke_addon_sync:293ccf trigger_event:35d240 trigger:534910"),
        "mitm.dispatch",
        "Our dispatch must run the same hooks in the same order."),
    Row("read", f"{_MANAGER}.AddonManager.chain", Attribute("= []"), "mitm.dispatch",
        "The top-level addons, in the order in which they are called."),
    Row("read", f"{_MANAGER}.AddonManager.lookup", Attribute("= {}"), "mitm.dispatch.put_before",
        "The addons by their names."),
    Row("called", f"{_MANAGER}.AddonManager.get", Function("(self, name)", "3cf96ecc"), "mitm.handlers",
        "It finds the addon that owns the connections."),
    Row("called", f"{_MANAGER}.safecall", Function("()", "8b70a70c"), "mitm.dispatch",
        "It logs the exception of an addon."),
    Row("called", f"{_MANAGER}.traverse", Function("(chain)", "1d76d6bd"), "mitm.dispatch",
        "It lists an addon and the addons in it."),
    Row("read", "mitmproxy.master.Master.addons", Attribute("= addonmanager.AddonManager(self)"),
        "mitm.patches.install",
        "The addon manager."),
    Row("read", "mitmproxy.master.Master.event_loop", Attribute("asyncio.AbstractEventLoop"), "mitm.patches.install",
        "The event loop."),
    Row("called", "mitmproxy.master.Master._legacy_log_events", Attribute("= log.LegacyLogEvents(self)"),
        "mitm.hardening.trim",
        "It would give each log record to every addon."),
    Row("called", "mitmproxy.log.MitmLogHandler.uninstall", Function("(self)", "af8db383"), "mitm.hardening.trim",
        "It ends that."),
    Row("read", "mitmproxy.optmanager.OptManager.deferred", Attribute("dict[str, Any]"),
        "mitm.hardening.refuse_options",
        "Options that no addon has declared."),
    Row("called", "mitmproxy.optmanager.OptManager.default", Function("(self, option)", "499f718a"),
        "mitm.hardening.refuse_options",
        "An option that differs from its default was given."),
    Row("called", "mitmproxy.optmanager.OptManager.update", Function("(self, **kwargs)", "77a72618"),
        "mitm.hardening.set_options",
        "It sets options."),
    Row("read", "mitmproxy.addonmanager.Loader.master", Attribute("= master"), "path.stack",
        "`patches.install` needs it."),

    # Buffers and readers of h11.

    Row("called", "h11._receivebuffer.ReceiveBuffer", Members(
        "*:bc1705 __init__:fa76c1 __iadd__:693711 __bool__:df4865 __len__:7abdd7 __bytes__:398ed9 "
        "_extract:e510c2 maybe_extract_at_most:67cb6a maybe_extract_next_line:ab6129 "
        "maybe_extract_lines:02b40a is_next_line_obviously_invalid_request_line:cc928e"), "mitm.http1",
        "The bytes of a connection of HTTP/1 that are not read."),
    Row("called", "h11._receivebuffer.ReceiveBuffer.maybe_extract_lines", Function("(self)", "02b40a09"), "mitm.http1",
        "It removes an informational response."),
    Row("read", "h11._receivebuffer.ReceiveBuffer._data", Attribute("= bytearray()"), "mitm.http1._front",
        "The first bytes are looked at without a copy of all."),
    Row("called", "h11._readers.ChunkedReader", Members("*:5dc6a1 __init__:1d3287 __call__:902115 read_eof:7d2d2e"),
        "mitm.http1._WithoutTrailers",
        "It reads chunks."),
    Row("read", "h11._readers.ChunkedReader._bytes_in_chunk", Attribute("= 0"), "mitm.http1._Strict",
        "The rest of a chunk; 0 before the line of the next one."),
    Row("read", "h11._readers.ChunkedReader._bytes_to_discard", Attribute("= b''"), "mitm.http1._Strict",
        "The end of the chunk before that line."),
    Row("called", "h11._readers.ChunkedReader.read_eof", Function("(self)", "7d2d2e69"), "mitm.http1._WithoutTrailers",
        "It raises if a body is cut off."),
    Row("read", "h11._readers.Http10Reader", Members("*:500372 __call__:249cff read_eof:355eb8"),
        "mitm.http1.client_mark_done",
        "A body that it reads ends with its connection."),

    # Messages, connections and the flow format.

    Row("read", "mitmproxy.version.FLOW_FORMAT_VERSION", Same(21), "recorder.flowfile.check_format",
        "The recorder writes this format by itself."),
    Row("called", "mitmproxy.io.tnetstring.dumps", Function("(value)", "76805e63"), "recorder.flowfile",
        "It encodes connections."),
    Row("read", "mitmproxy.connection.Connection", Members(
        "*:cdbd62 connected:ca25f3 tls_established:cf9d18 __eq__:e7d670 __hash__:ac7bd0 __repr__:a03d4f "
        "alpn_proto_negotiated:34e637"), "recorder.flowfile",
        "Its state is part of the flow format."),
    Row("read", "mitmproxy.connection.Client",
        Members("*:95e729 __str__:d7bd67 address:752b9e cipher_name:617e44 clientcert:e24af2"), "recorder.flowfile",
        "Its state is part of the flow format."),
    Row("read", "mitmproxy.connection.Server",
        Members("*:e17314 __str__:9331f5 __setattr__:2ad207 ip_address:b57dc2 cert:437790"), "recorder.flowfile",
        "Its state is part of the flow format."),
    Row("read", "mitmproxy.http.RequestData", Members("*:13c670"), "path.steps.routing",
        "The fields of a request are set directly: the properties keep `Host` and authority in step, which costs "
        "time."),
    Row("read", "mitmproxy.http.ResponseData", Members("*:d6d35d"), "path.steps.answer",
        "The fields of an answer are set directly."),
    Row("read", "mitmproxy.http.Message.data", Attribute("MessageData"), "mitm.http",
        "It has the fields."),
    Row("called", "mitmproxy.http.Request.__init__", Function(
        "(self, host, port, method, scheme, authority, path, http_version, headers, content, trailers, "
        "timestamp_start, timestamp_end)",
        "c5084018"), "mitm.http._asked",
        "A request with only a method."),
    Row("called", "mitmproxy.http.Response.__init__", Function(
        "(self, http_version, status_code, reason, headers, content, trailers, timestamp_start, "
        "timestamp_end)",
        "5ae5a584"), "path.steps.approval",
        "A response that waited for its approval."),
    Row("called", "mitmproxy.net.http.http1.assemble.assemble_response", Function("(response)", "13f6f04c"),
        "mitm.answers.closing",
        "It writes an answer."),
    Row("called", "mitmproxy.net.http.http1.read.expected_http_body_size",
        Function("(request, response=None)", "3900ef97"), "mitm.stream.Stream",
        "The size that a head announces."),
    Row("read", "mitmproxy.net.http.status_codes.RESPONSES", Attribute("= 0930ed08"), "path.steps.answer",
        "The reason phrase of each status; others have an empty one."),
    Row("called", "mitmproxy.flow.Flow.kill", Function("(self)", "d68998db"), "path.gate.Gate",
        "It ends a flow without an answer."),
    Row("called", "mitmproxy.addons.savehar.SaveHar.make_har", Function("(self, flows)", "69ec0656"), "cli.sessions",
        "It writes a HAR."),

    # pyOpenSSL. mitmproxy pins its version.

    Row("read", "OpenSSL.SSL._lib", Attribute("from OpenSSL._util"), "tls.upstream._verify",
        "OpenSSL's functions: pyOpenSSL has none to set the name to verify."),
    Row("read", "OpenSSL.SSL.Connection._ssl", Attribute("= _ffi.gc(ssl, _lib.SSL_free)"), "tls.upstream._verify",
        "The connection, for those functions."),

    # Texts of mitmproxy that decide an answer, or that the record keeps.

    Row("matched", f"{_HTTP}.HttpStream.check_body_size", Text(" body exceeds mitmproxy's body_size_limit."),
        "mitm.messages.too_large",
        "It is answered with 413 or 502."),
    Row("matched", f"{_HTTP}.HttpStream.check_body_size", Text("Request"), "mitm.messages.too_large",
        "It says that the body is a request's."),
    Row("matched", f"{_SERVER}.ConnectionHandler.open_connection", Text("Connection killed: "), "path.stack",
        "The error of a forbidden destination follows it."),
    Row("matched", f"{_H1}.Http1Client.read_headers", Text("server closed connection"), "mitm.messages.unanswered",
        "The request is sent once more, if it may."),
    Row("matched", f"{_H2}.Http2Connection.handle_h2_event", Text("HTTP/2 connection closed"),
        "mitm.messages.unanswered",
        "It is sent once more, if it may."),
    Row("matched", f"{_H1}.Http1Connection.read_body", Text("HTTP trailers are not implemented yet."),
        "mitm.http1.read_request",
        "NotImplementedError means trailers."),
    Row("matched", f"{_H1}.Http1Connection.wait", Text("Client disconnected."), "path.stack",
        "The record keeps it."),
    Row("matched", f"{_H2}.Http2Connection.handle_h2_event", Text("stream reset by client ("), "path.stack",
        "The record keeps it up to the bracket."),
    Row("matched", f"{_H2}.Http2Connection._handle_event", Text("peer closed connection"), "path.stack",
        "The record keeps it."),
    Row("matched", "mitmproxy.flow.Error.KILLED_MESSAGE", Same("Connection killed."), "path.stack",
        "The record keeps it."),

    # Built-in addons. A new one must be removed or kept: unknown is unsafe.

    Row("removed", f"{_ADDONS}.browser.Browser", Addon("browser"), "mitm.hardening.trim",
        "It starts browsers."),
    Row("removed", f"{_ADDONS}.block.Block", Addon("block"), "mitm.hardening.trim",
        "Policies decide who may connect."),
    Row("removed", f"{_ADDONS}.strip_dns_https_records.StripDnsHttpsRecords", Addon("stripdnshttpsrecords"),
        "mitm.hardening.trim",
        "No DNS passes."),
    Row("removed", f"{_ADDONS}.blocklist.BlockList", Addon("blocklist"), "mitm.hardening.trim",
        "Rules decide."),
    Row("removed", f"{_ADDONS}.anticache.AntiCache", Addon("anticache"), "mitm.hardening.trim",
        "It changes requests after they were judged."),
    Row("removed", f"{_ADDONS}.anticomp.AntiComp", Addon("anticomp"), "mitm.hardening.trim",
        "It changes requests after they were judged."),
    Row("removed", f"{_ADDONS}.command_history.CommandHistory", Addon("commandhistory"), "mitm.hardening.trim",
        "It writes a file."),
    Row("removed", f"{_ADDONS}.comment.Comment", Addon("comment"), "mitm.hardening.trim",
        "It is for interactive use."),
    Row("removed", f"{_ADDONS}.cut.Cut", Addon("cut"), "mitm.hardening.trim",
        "It shows flows unmasked."),
    Row("removed", f"{_ADDONS}.disable_h2c.DisableH2C", Addon("disableh2c"), "mitm.hardening.trim",
        "`Upgrade` does not pass."),
    Row("removed", f"{_ADDONS}.export.Export", Addon("export"), "mitm.hardening.trim",
        "It shows flows unmasked."),
    Row("removed", f"{_ADDONS}.onboarding.Onboarding", Addon("onboarding"), "mitm.hardening.trim",
        "It answers requests to mitm.it by itself."),
    Row("removed", f"{_ADDONS}.proxyauth.ProxyAuth", Addon("proxyauth"), "mitm.hardening.trim",
        "The gateway authenticates callers by itself."),
    Row("removed", f"{_ADDONS}.dns_resolver.DnsResolver", Addon("dnsresolver"), "mitm.hardening.trim",
        "No DNS passes."),
    Row("removed", f"{_ADDONS}.next_layer.NextLayer", Addon("nextlayer"), "mitm.hardening.trim",
        "It guesses protocols. `path.stack.NextLayer` does not guess."),
    Row("removed", f"{_ADDONS}.mapremote.MapRemote", Addon("mapremote"), "mitm.hardening.trim",
        "It changes destinations after they were judged."),
    Row("removed", f"{_ADDONS}.maplocal.MapLocal", Addon("maplocal"), "mitm.hardening.trim",
        "It answers requests from files."),
    Row("removed", f"{_ADDONS}.modifybody.ModifyBody", Addon("modifybody"), "mitm.hardening.trim",
        "It changes bodies after they were judged."),
    Row("removed", f"{_ADDONS}.modifyheaders.ModifyHeaders", Addon("modifyheaders"), "mitm.hardening.trim",
        "It changes heads after they were judged."),
    Row("removed", f"{_ADDONS}.stickyauth.StickyAuth", Addon("stickyauth"), "mitm.hardening.trim",
        "It gives credentials to other requests."),
    Row("removed", f"{_ADDONS}.stickycookie.StickyCookie", Addon("stickycookie"), "mitm.hardening.trim",
        "It gives cookies to other requests."),
    Row("removed", f"{_ADDONS}.save.Save", Addon("save"), "mitm.hardening.trim",
        "It writes flows unmasked."),
    Row("removed", f"{_ADDONS}.savehar.SaveHar", Addon("savehar"), "mitm.hardening.trim",
        "It writes flows unmasked."),
    Row("removed", f"{_ADDONS}.tlsconfig.TlsConfig", Addon("tlsconfig"), "mitm.hardening.trim",
        "It makes certificates. `mitm.tls.Tls` has those of the gateway."),
    Row("removed", f"{_ADDONS}.upstream_auth.UpstreamAuth", Addon("upstreamauth"), "mitm.hardening.trim",
        "Connections have credentials of their own."),
    Row("removed", f"{_ADDONS}.update_alt_svc.UpdateAltSvc", Addon("updatealtsvc"), "mitm.hardening.trim",
        "`Alt-Svc` does not pass."),
    Row("removed", f"{_ADDONS}.dumper.Dumper", Addon("dumper"), "mitm.hardening.trim",
        "It shows flows unmasked."),
    Row("kept", f"{_ADDONS}.termlog.TermLog", Addon("termlog"), "mitm.hardening.trim",
        "It writes the log."),
    Row("kept", f"{_ADDONS}.core.Core", Addon("core"), "mitm.hardening.trim",
        "Commands and options."),
    Row("kept", f"{_ADDONS}.clientplayback.ClientPlayback", Addon("clientplayback"), "mitm.hardening.trim",
        "`-C` sends recorded requests; they are judged."),
    Row("kept", f"{_ADDONS}.proxyserver.Proxyserver", Addon("proxyserver"), "mitm.hardening.trim",
        "It owns listeners and connections."),
    Row("kept", f"{_ADDONS}.script.ScriptLoader", Addon("scriptloader"), "mitm.hardening.trim",
        "It loads the gateway."),
    Row("kept", f"{_ADDONS}.serverplayback.ServerPlayback", Addon("serverplayback"), "mitm.hardening.trim",
        "`-S` answers from a recording, after Stack and before Gate."),
    Row("kept", f"{_ADDONS}.keepserving.KeepServing", Addon("keepserving"), "mitm.hardening.trim",
        "It ends mitmdump after a replay."),
    Row("kept", f"{_ADDONS}.readfile.ReadFileStdin", Addon("readfilestdin"), "mitm.hardening.trim",
        "`-r` shows recorded flows; nothing is sent."),
    Row("kept", f"{_ADDONS}.errorcheck.ErrorCheck", Addon("errorcheck"), "mitm.hardening.trim",
        "It ends mitmdump if the start fails."),

    # Options. A new one must be set, refused or left: unknown is unsafe.

    Row("set", "mitmproxy.options.connection_strategy", Option("eager"), "mitm.hardening.set_options",
        "`eager` dials the upstream before anything is judged.", value="lazy"),
    Row("set", "mitmproxy.options.rawtcp", Option(True), "mitm.hardening.set_options",
        "Upgrades and bytes after CONNECT would become tunnels.", value=False),
    Row("set", "mitmproxy.options.websocket", Option(True), "mitm.hardening.set_options",
        "`mitm.relay` relays a WebSocket where a connection allows it.", value=True),
    Row("set", "mitmproxy.options.http2", Option(True), "mitm.hardening.set_options",
        "Callers and services may use HTTP/2.", value=True),
    Row("set", "mitmproxy.options.http2_ping_keepalive", Option(58), "mitm.hardening.set_options",
        "Idle connections end.", value=0),
    Row("set", "mitmproxy.options.http3", Option(True), "mitm.hardening.set_options",
        "QUIC does not pass.", value=False),
    Row("set", "mitmproxy.options.upstream_cert", Option(True), "mitm.hardening.set_options",
        "It dials the upstream before anything is judged.", value=False),
    Row("set", "mitmproxy.options.keep_host_header", Option(False), "mitm.hardening.set_options",
        "Routing reads the caller's `Host`; the upstream gets its own.", value=True),
    Row("set", "mitmproxy.options.validate_inbound_headers", Option(True), "mitm.hardening.set_options",
        "Ambiguous heads are refused.", value=True),
    Row("set", "mitmproxy.options.store_streamed_bodies", Option(False), "mitm.hardening.set_options",
        "The recorder keeps its own, masked copy.", value=False),
    Row("set", "mitmproxy.options.body_size_limit", Option(None), "path.life",
        "The smaller one of `Bounds.body` and `Bounds.answer`; given by hand, it sets both."),
    Row("set", "mitmproxy.options.server", Option(True), "mitm.listening.open_all",
        "Listeners open once the policies are read."),
    Row("set", "mitmproxy.options.mode", Option(['regular']), "mitm.listening.open_all",
        "The listeners of gateway.yaml."),
    Row("set", "mitmproxy.options.server_replay_refresh", Option(True), "path.steps.replay",
        "It raises at odd dates, and the request would go on."),
    Row("set", "mitmproxy.options.server_replay_extra", Option("forward"), "path.steps.replay",
        "Gate refuses a request that has no recorded answer."),
    Row("set", "mitmproxy.options.server_replay_use_headers", Option([]), "path.steps.replay",
        "A keyed digest of the request is compared."),
    Row("set", "mitmproxy.options.server_replay_ignore_content", Option(False), "path.steps.replay",
        "Recorded bodies are masked."),
    Row("set", "mitmproxy.options.server_replay_ignore_host", Option(False), "path.steps.replay",
        "The digest covers it."),
    Row("set", "mitmproxy.options.server_replay_ignore_port", Option(False), "path.steps.replay",
        "The digest covers it."),
    Row("set", "mitmproxy.options.server_replay_ignore_params", Option([]), "path.steps.replay",
        "Credentials may stand in the query."),
    Row("refused", "mitmproxy.options.stream_large_bodies", Option(None), "mitm.hardening.refuse_options",
        "a streamed request reaches the upstream before it is judged"),
    Row("refused", "mitmproxy.options.ssl_insecure", Option(False), "mitm.hardening.refuse_options",
        "the upstream's certificate is always verified"),
    Row("refused", "mitmproxy.options.ignore_hosts", Option([]), "mitm.hardening.refuse_options",
        "traffic that is not intercepted is not judged"),
    Row("refused", "mitmproxy.options.allow_hosts", Option([]), "mitm.hardening.refuse_options",
        "traffic that is not intercepted is not judged"),
    Row("refused", "mitmproxy.options.tcp_hosts", Option([]), "mitm.hardening.refuse_options",
        "traffic that is not HTTP is not judged"),
    Row("refused", "mitmproxy.options.udp_hosts", Option([]), "mitm.hardening.refuse_options",
        "traffic that is not HTTP is not judged"),
    Row("refused", "mitmproxy.options.save_stream_file", Option(None), "mitm.hardening.refuse_options",
        "it would write unmasked flows; Weir records by itself"),
    Row("refused", "mitmproxy.options.hardump", Option(""), "mitm.hardening.refuse_options",
        "it would write unmasked flows; Weir records by itself"),
    Row("refused", "mitmproxy.options.modify_body", Option([]), "mitm.hardening.refuse_options",
        "use masks"),
    Row("refused", "mitmproxy.options.modify_headers", Option([]), "mitm.hardening.refuse_options",
        "Weir decides which headers pass"),
    Row("refused", "mitmproxy.options.map_remote", Option([]), "mitm.hardening.refuse_options",
        "Weir decides where a request goes"),
    Row("refused", "mitmproxy.options.map_local", Option([]), "mitm.hardening.refuse_options",
        "Weir decides what is answered"),
    Row("refused", "mitmproxy.options.block_list", Option([]), "mitm.hardening.refuse_options",
        "use rules"),
    Row("refused", "mitmproxy.options.proxyauth", Option(None), "mitm.hardening.refuse_options",
        "Weir authenticates callers itself"),
    Row("refused", "mitmproxy.options.upstream_auth", Option(None), "mitm.hardening.refuse_options",
        "use `credential`"),
    Row("refused", "mitmproxy.options.stickyauth", Option(None), "mitm.hardening.refuse_options",
        "a credential is never carried from one request to another"),
    Row("refused", "mitmproxy.options.stickycookie", Option(None), "mitm.hardening.refuse_options",
        "a cookie is never carried from one request to another"),
    Row("refused", "mitmproxy.options.server_replay_nopop", Option(False), "mitm.hardening.refuse_options",
        "use server_replay_reuse"),
    Row("left", "mitmproxy.options", Options((
        "add_upstream_certs_to_client_chain", "anticache", "anticomp", "block_global", "block_private",
        "cert_passphrase", "certs", "ciphers_client", "ciphers_server", "client_certs", "client_replay",
        "client_replay_concurrency", "command_history", "confdir", "connect_addr",
        "content_view_lines_cutoff", "dns_name_servers", "dns_use_hosts_file", "dumper_default_contentview",
        "dumper_filter", "emudhra", "emudhra_old", "export_preserve_original_ip", "flow_detail",
        "http_connect_send_host_header", "keep_alt_svc_header", "keepserving", "key_size", "listen_host",
        "listen_port", "normalize_outbound_headers", "onboarding", "onboarding_host",
        "protobuf_definitions", "proxy_debug", "readfile_filter", "request_client_cert", "rfile",
        "save_stream_filter", "scripts", "server_replay", "server_replay_ignore_payload_params",
        "server_replay_kill_extra", "server_replay_reuse", "show_ignored_hosts", "showhost",
        "ssl_verify_upstream_trusted_ca", "ssl_verify_upstream_trusted_confdir", "strip_ech", "tcp_timeout",
        "termlog_verbosity", "tls_ecdh_curve_client", "tls_ecdh_curve_server", "tls_version_client_max",
        "tls_version_client_min", "tls_version_server_max", "tls_version_server_min",)),
        "mitm.hardening.refuse_options",
        "They change nothing that a policy decides, or belong to removed addons."),
)
# fmt: on
