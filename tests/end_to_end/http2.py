"""HTTP/2 for tests: a caller that can send invalid frames, and a service that keeps the requests."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events

from tests.processes import PATIENCE

Headers = list[tuple[str, str]]


@dataclass
class Answered:
    """The result of one stream."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: int | None = None

    @property
    def status(self) -> int:
        """Its status; 0 if there is none."""
        return int(self.headers.get(":status", 0))


class Caller:
    """One connection, which does not check what it sends."""

    def __init__(self, connection: ssl.SSLSocket) -> None:
        assert connection.selected_alpn_protocol() == "h2"
        settings = h2.config.H2Configuration(
            client_side=True, header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.connection = connection
        self.h2 = h2.connection.H2Connection(settings)
        self.h2.initiate_connection()
        self.answers: dict[int, Answered] = {}
        self.ended: int | None = None  # error code that closed the connection
        self.eager = False  # acknowledge each DATA frame at once
        self.flush()

    def flush(self) -> None:
        """Send all waiting bytes."""
        self.connection.sendall(self.h2.data_to_send())

    def ask(self, headers: Headers, body: bytes = b"", trailers: Headers | None = None, *, end: bool = True) -> int:
        """Send a request and return its stream id."""
        stream = self.h2.get_next_available_stream_id()
        self.answers[stream] = Answered()
        self.h2.send_headers(stream, headers, end_stream=end and not body and trailers is None)
        for start in range(0, len(body), 16384):
            chunk = body[start : start + 16384]
            while self.h2.local_flow_control_window(stream) < len(chunk):
                self.read()
            self.h2.send_data(stream, chunk, end_stream=end and trailers is None and start + 16384 >= len(body))
            self.flush()
        if trailers is not None:
            self.h2.send_headers(stream, trailers, end_stream=True)
        self.flush()
        return stream

    def read(self) -> bool:
        """Process the received bytes. Return whether there were any."""
        try:
            data = self.connection.recv(65536)
        except (ConnectionError, ssl.SSLError):
            data = b""
        if not data:
            return False
        for event in self.h2.receive_data(data):
            match event:
                case h2.events.ResponseReceived():
                    self.answers[event.stream_id].headers = dict(event.headers)
                case h2.events.DataReceived():
                    self.answers[event.stream_id].body += event.data
                    if self.eager and event.data:
                        self.h2.increment_flow_control_window(len(event.data))
                        if event.stream_ended is None:
                            self.h2.increment_flow_control_window(len(event.data), event.stream_id)
                    else:
                        self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                case h2.events.StreamEnded():
                    self.answers[event.stream_id].ended = True
                case h2.events.StreamReset():
                    self.answers[event.stream_id].reset = event.error_code
                case h2.events.ConnectionTerminated():
                    self.ended = event.error_code
        with contextlib.suppress(OSError):
            self.flush()
        return True

    def answer(self, stream: int) -> Answered:
        """Wait for the end of *stream*, and return its result."""
        answered = self.answers[stream]
        while not answered.ended and answered.reset is None and self.ended is None and self.read():
            pass
        return answered

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def call(port: int, trust: ssl.SSLContext, host: str = "127.0.0.1") -> Caller:
    """Connect to *port* of this machine, with the server name *host*."""
    trust.set_alpn_protocols(["h2"])
    return Caller(
        trust.wrap_socket(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE), server_hostname=host)
    )


class Service:
    """An HTTP/2-only service. It keeps the headers and bodies of each connection."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        tls.set_alpn_protocols(["h2"])
        self._tls = tls
        self.connections = 0
        self.seen: list[tuple[Headers, bytes]] = []
        self.resets = False  # reset each stream instead of answering
        self.refuses = b""  # refuse streams with this text in their bodies
        self.piece = 0  # bytes per DATA frame of an answer; 0: one frame
        self.answer: Callable[[bytes], tuple[Headers, bytes, Headers | None]] = lambda body: (
            [(":status", "200")],
            body,
            None,
        )
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw = self._socket.accept()[0]
                threading.Thread(target=self._serve, args=(raw,), daemon=True).start()

    def _serve(self, raw: socket.socket) -> None:
        try:
            connection = self._tls.wrap_socket(raw, server_side=True)
        except OSError:
            return
        self.connections += 1
        session = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        session.initiate_connection()
        open_: dict[int, tuple[Headers, bytearray]] = {}
        with connection, contextlib.suppress(OSError):
            connection.sendall(session.data_to_send())
            while data := connection.recv(65536):
                for event in session.receive_data(data):
                    match event:
                        case h2.events.RequestReceived():
                            open_[event.stream_id] = (list(event.headers), bytearray())
                        case h2.events.DataReceived():
                            open_[event.stream_id][1].extend(event.data)
                            session.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                        case h2.events.StreamReset():
                            open_.pop(event.stream_id, None)
                        case h2.events.StreamEnded():
                            headers, body = open_.pop(event.stream_id)
                            self.seen.append((headers, bytes(body)))
                            if self.resets:
                                session.reset_stream(event.stream_id, 2)
                                continue
                            if self.refuses and self.refuses in body:
                                session.reset_stream(event.stream_id, 7)
                                continue
                            answer, content, trailers = self.answer(bytes(body))
                            session.send_headers(event.stream_id, answer)
                            for at in range(0, len(content) if self.piece else 0, self.piece or 1):
                                session.send_data(event.stream_id, content[at : at + self.piece])
                            rest = b"" if self.piece else content
                            session.send_data(event.stream_id, rest, end_stream=trailers is None)
                            if trailers is not None:
                                session.send_headers(event.stream_id, trailers, end_stream=True)
                connection.sendall(session.data_to_send())

    def stop(self) -> None:
        """Close the port."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
