"""A rerank upstream that costs almost nothing: it sends one fixed answer. Usage: python upstream.py PORT"""

import asyncio
import json
import sys

_RESULTS = [{"index": i, "relevance_score": round(0.99 - i / 100, 4)} for i in range(20)]
_BODY = json.dumps({"id": "bench", "results": _RESULTS, "meta": {"api_version": {"version": "2"}}}).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)


class Answerer(asyncio.Protocol):
    """Answers each complete request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        assert isinstance(transport, asyncio.Transport)
        self.transport, self.buffer = transport, b""

    def data_received(self, data: bytes) -> None:
        """Answer each complete request in the buffer."""
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            self.buffer = self.buffer[end + 4 + length :]
            self.transport.write(ANSWER)


async def main() -> None:
    """Serve until the process ends."""
    server = await asyncio.get_running_loop().create_server(Answerer, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
