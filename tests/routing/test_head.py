"""Heads that two servers could read differently are refused. From the others, only allowed headers are forwarded."""

import pytest

from weir.routing.head import HeadError, check_head, check_path

HOST = (b"Host", b"weir.example:8080")


@pytest.mark.parametrize(
    "path", ["/", "/v2/rerank", "/a/b-c_d~e.f", "/caf%C3%A9", "/a:b@c", "/a=b,c", "/(x)'*!$&+", "/a/", "/%20", "/a%2Fb"]
)
def test_paths_that_pass(path: str) -> None:
    check_path(path.encode())


@pytest.mark.parametrize(
    "path",
    [b"", b"x", b"//", b"/a//b", b"/..", b"/a/../b", b"/a/./b", b"/a/.", b"/%2e%2e/a", b"/a%5cb", b"/a\\b", b"/a;b",
     b"/%00", b"/%0a", b"/%41", b"/a b", b"/a#b", b"/caf\xc3\xa9", b"/%c0%af", b"/%ff", b"/%zz", b"/%", b"/%2", b"/a%25b", b"/a\x00",
     b"/a?b", b"/%3b", b"/a%2F", b"/a%2F%2Fb", b"/a%2F..%2Fb", b"/..%2Fb", b"/%2Fb", b"/%7f", b"http://other/", b"/a\r\nX: y"],
)  # fmt: skip
def test_paths_that_are_refused(path: bytes) -> None:
    with pytest.raises(HeadError):
        check_path(path)


def refuse(
    *fields: tuple[bytes, bytes], method: bytes = b"POST", target: bytes = b"/v2/rerank", authority: bytes = b""
) -> None:
    with pytest.raises(HeadError):
        check_head(method, target, authority, fields)


def test_a_plain_request_passes() -> None:
    check_head(b"POST", b"/v2/rerank?x=1&y=%20", b"", [HOST, (b"Content-Type", b"application/json"), (b"Connection", b"keep-alive, Upgrade"),
                                                      (b"Upgrade", b"h2c"), (b"HTTP2-Settings", b"AAM")])  # fmt: skip


@pytest.mark.parametrize("method", [b"get", b"TRACE", b"CONNECT", b"PROPFIND", b"P OST", b""])
def test_methods(method: bytes) -> None:
    refuse(HOST, method=method)


@pytest.mark.parametrize("target", [b"/a?b c", b"/a?b#c", b"/a?\xff", b"/a?x\r\n", b"*"])
def test_targets(target: bytes) -> None:
    refuse(HOST, target=target)


def test_an_absolute_target_is_refused() -> None:
    refuse(HOST, authority=b"other.example")


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [HOST, HOST],
        [(b"Host", b"a, b")], [(b"Host", b"a b")], [(b"Host", b"a/b")], [(b"Host", b"user@a")], [(b"Host", b"")],
        [HOST, (b"Content-Length", b"1"), (b"Content-Length", b"1")],
        [HOST, (b"Content-Type", b"application/json"), (b"content-type", b"text/plain")],
        [HOST, (b"X-A", b"b\x00")], [HOST, (b"X-A", b"b\rc")], [HOST, (b"X-A", b"b\r\n c")], [HOST, (b"X-A", b"\x7f")],
        [HOST, (b"X A", b"b")], [HOST, (b"", b"b")], [HOST, (b"X\x00", b"b")],
        [HOST, (b"Connection", b"Authorization")], [HOST, (b"Connection", b"close, X-Tenant")],
        [HOST, (b"Upgrade", b"websocket"), (b"Upgrade", b"h2c")], [HOST, (b"Upgrade", b"tcp")],
        [HOST, (b"Transfer-Encoding", b"gzip, chunked")], [HOST, (b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")],
        [HOST, (b"Trailer", b"X-A")],
    ],
)  # fmt: skip
def test_header_fields(fields: list[tuple[bytes, bytes]]) -> None:
    refuse(*fields)
