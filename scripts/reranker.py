"""A small real reranker for trying Weir: BM25 over the documents in the request. It needs only the standard library.

It serves the API of Cohere (POST /v2/rerank, /v1/rerank) and of Text Embeddings Inference (POST /rerank). A chat
completion (POST /v1/chat/completions) returns the last message as a stream, a few letters at a time. Like a hosted
service, it requires its API key:

    RERANKER_API_KEY=secret python scripts/reranker.py --port 9400
"""

import argparse
import json
import math
import os
import re
import threading
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def bm25(query: str, documents: Sequence[str], k1: float = 1.2, b: float = 0.75) -> list[float]:
    """Return the Okapi BM25 score of each document for *query*, scaled to 0..1 like the scores of rerankers."""
    words = [Counter(re.findall(r"\w+", text.lower())) for text in documents]
    average = sum(map(Counter.total, words)) / max(1, len(words)) or 1.0
    scores = []
    for document in words:
        score = 0.0
        for term in re.findall(r"\w+", query.lower()):
            containing = sum(term in other for other in words)
            idf = math.log(1 + (len(words) - containing + 0.5) / (containing + 0.5))
            frequency = document[term]
            score += idf * frequency * (k1 + 1) / (frequency + k1 * (1 - b + b * document.total() / average))
        scores.append(round(1 - math.exp(-score / 4), 6))
    return scores


class Handler(BaseHTTPRequestHandler):
    """Answers rerank requests and keeps each request in ``Reranker.seen`` for tests and the demo."""

    protocol_version = "HTTP/1.1"
    server: "Reranker"

    def do_POST(self) -> None:
        """Check the key, then rank or return the chat stream."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append((self.path, dict(self.headers.items()), body))
        if self.headers.get("Authorization") != f"Bearer {self.server.api_key}":
            return self._answer(401, {"message": "invalid api token"})
        try:
            request = json.loads(body)
            if self.path in ("/v2/rerank", "/v1/rerank"):
                return self._answer(200, _cohere(request))
            if self.path == "/rerank":
                return self._answer(200, _tei(request))
            if self.path == "/v1/chat/completions":
                return self._tell(request["messages"][-1]["content"])
        except (ValueError, KeyError, TypeError) as error:
            return self._answer(400, {"message": f"invalid request: {error}"})
        return self._answer(404, {"message": "not found"})

    def _tell(self, text: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pieces: list[dict[str, Any]] = [{"content": text[i : i + 5]} for i in range(0, len(text), 5)]
        for delta in [*pieces, {}]:
            choice = {"index": 0, "delta": delta, "finish_reason": None if delta else "stop"}
            self._chunk(f"data: {json.dumps({'id': 'told', 'choices': [choice]})}\n\n")
        self._chunk("data: [DONE]\n\n")
        self._chunk("")

    def _chunk(self, text: str) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(text.encode()), text.encode()))

    def _answer(self, status: int, document: Any) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, because the gateway records the requests."""


class Reranker(ThreadingHTTPServer):
    """The service; port 0 selects a free port. ``seen`` holds (path, headers, body) of every request."""

    daemon_threads = True

    def __init__(self, api_key: str, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.api_key = api_key
        self.seen: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return int(self.server_address[1])

    def start(self) -> "Reranker":
        """Serve in a new thread."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop serving and close the port."""
        self.shutdown()
        self.server_close()


def _text(document: Any) -> str:
    return document if isinstance(document, str) else str(document["text"])


def _cohere(request: dict[str, Any]) -> dict[str, Any]:
    documents = request["documents"]
    scores = bm25(request["query"], [_text(d) for d in documents])
    order = sorted(range(len(documents)), key=lambda i: (-scores[i], i))[: request.get("top_n") or len(documents)]
    results = [{"index": i, "relevance_score": scores[i]} for i in order]
    if request.get("return_documents"):
        results = [{**r, "document": documents[r["index"]]} for r in results]
    return {"id": "bm25", "results": results, "meta": {"api_version": {"version": "2"}}}


def _tei(request: dict[str, Any]) -> list[dict[str, Any]]:
    texts = request["texts"]
    scores = bm25(request["query"], texts)
    order = sorted(range(len(texts)), key=lambda i: (-scores[i], i))
    return [
        {"index": i, "score": scores[i], **({"text": texts[i]} if request.get("return_text") else {})} for i in order
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=9400)
    options = parser.parse_args()
    key = os.environ.get("RERANKER_API_KEY")
    if not key:
        parser.error("set RERANKER_API_KEY to the key that callers must send")
    service = Reranker(key, options.port)
    print(f"reranker on http://127.0.0.1:{service.port}")
    try:
        service.serve_forever()
    except KeyboardInterrupt:
        service.server_close()
