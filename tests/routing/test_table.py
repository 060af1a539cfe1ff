"""The most specific match wins."""

import pytest

from weir.base.mistakes import SettingError
from weir.routing.model import Origin, parse_upstream
from weir.routing.table import Table, compile_match

TABLE = Table([
    (compile_match("/a", None, None), "path"),
    (compile_match("/a/b", None, None), "longer path"),
    (compile_match(None, "api.example", None), "host"),
    (compile_match("/a", "api.example", None), "host and path"),
    (compile_match(None, None, 9000), "port"),
])  # fmt: skip


@pytest.mark.parametrize(
    ("host", "port", "path", "expected"),
    [
        ("x", 1, "/a", ("path", "/")),
        ("x", 1, "/a/", ("path", "/")),
        ("x", 1, "/a/c", ("path", "/c")),
        ("x", 1, "/a/b/c", ("longer path", "/c")),
        ("x", 1, "/ab", None),
        ("x", 1, "/A", None),
        ("api.example", 1, "/z", ("host", "/z")),
        ("api.example", 1, "/a/z", ("host and path", "/z")),
        ("api.example.evil", 1, "/z", None),
        ("x", 9000, "/a/b", ("port", "/a/b")),
    ],
)
def test_routes(host: str, port: int, path: str, expected: tuple[str, str] | None) -> None:
    routed = TABLE.route(host, port, path)
    assert (tuple(routed) if routed else None) == expected


@pytest.mark.parametrize("path", ["a", "/a/../b", "/a//b", "/a?b", "/a b"])
def test_a_prefix_must_be_a_plain_path(path: str) -> None:
    with pytest.raises(SettingError):
        compile_match(path, None, None)


def test_upstreams() -> None:
    assert parse_upstream("https://API.example/base/").origin == Origin("https", "api.example", 443)
    assert parse_upstream("https://api.example/base/").base_path == "/base"
    assert parse_upstream("http://[::1]:9000").origin.authority == "[::1]:9000"
    for url in ("api.example", "ftp://a", "https://user:pw@a", "https://a?x=1", "https://", "http://a:b"):
        with pytest.raises(SettingError):
            parse_upstream(url)
