"""The destinations of callers of a proxy."""

from ipaddress import ip_address

import pytest

from weir.base.mistakes import SettingError
from weir.config.model import PassSettings
from weir.routing.destinations import Destinations, Known, compile_pass
from weir.routing.head import HeadError, check_connect
from weir.routing.model import Origin, parse_upstream

API = Origin("https", "api.example", 443)


def test_a_destination_is_a_scheme_a_host_a_port_and_a_path() -> None:
    table = Destinations(
        [
            (parse_upstream("https://api.example"), None, "all"),
            (parse_upstream("https://api.example/v2"), None, "v2"),
            (parse_upstream("https://api.example"), 3129, "there"),
        ]
    )
    assert table.route(API, 3128, "/v1/x") == ("all", "/v1/x") and table.route(API, 3128, "/v2/x") == ("v2", "/x")
    assert table.route(API, 3128, "/v2") == ("v2", "/") and table.route(API, 3128, "/v22") == ("all", "/v22")
    assert table.route(API, 3129, "/v1/x") == ("there", "/v1/x")
    twins = Destinations(
        [
            (parse_upstream("https://api.example"), None, "one"),
            (parse_upstream("https://api.example"), None, "two"),
            (parse_upstream("https://api.example/v2"), None, "v2"),
        ]
    )
    assert twins.route(API, 3128, "/v1/x") is None and twins.route(API, 3128, "/v2/x") == ("v2", "/x")
    assert [{*pair} for pair in twins.twins()] == [{"one", "two"}] and table.twins() == []
    for other in (
        Origin("http", "api.example", 443),
        Origin("https", "api.example", 8443),
        Origin("https", "api.example.", 443),
    ):
        assert other not in table.origins and table.route(other, 3128, "/v1/x") is None


def test_what_is_passed() -> None:
    passes = tuple(
        compile_pass(PassSettings(to=to))
        for to in ("pinned.example:443", "*.push.example:5223", "203.0.113.0/24:443", "[2001:db8::1]:443")
    )
    table: Destinations[str] = Destinations([], passes)
    for host, port in [
        ("pinned.example", 443),
        ("a.push.example", 5223),
        ("a.b.push.example", 5223),
        ("203.0.113.9", 443),
        ("2001:db8::1", 443),
    ]:
        assert table.passed(host, port) is not None, host
    for host, port in [
        ("pinned.example", 80),
        ("x.pinned.example", 443),
        ("push.example", 5223),
        ("apush.example", 5223),
        ("203.0.114.1", 443),
        ("203.0.113.9.evil.example", 443),
    ]:
        assert table.passed(host, port) is None, host


@pytest.mark.parametrize(
    "to",
    ["pinned.example", ":443", "a*.example:443", "*:443", "x:0", "x:65536", "x:٣", "10.0.0.1/8:443", "*.*.example:443"],
)
def test_what_cannot_be_passed(to: str) -> None:
    with pytest.raises(SettingError):
        compile_pass(PassSettings(to=to))


def test_addresses_count_for_a_while_after_the_dns_has_told_them() -> None:
    known = Known()
    known.learn("api.example", ["198.51.100.1", "198.51.100.2"], 0)
    known.learn("other.example", ["198.51.100.2"], 0)
    assert known.hosts(ip_address("198.51.100.2")) == {"api.example", "other.example"}
    known.learn("api.example", ["198.51.100.3"], Known.KEPT)
    assert known.hosts(ip_address("198.51.100.1")) == {"api.example"}  # a caller may still have it cached
    known.learn("api.example", ["198.51.100.3"], Known.KEPT + 1)
    assert known.hosts(ip_address("198.51.100.1")) == frozenset()
    assert known.hosts(ip_address("198.51.100.3")) == {"api.example"}


@pytest.mark.parametrize(
    ("authority", "headers", "expected"),
    [
        (b"api.example:443", [], ("api.example", 443)),
        (b"API.Example:8443", [(b"Host", b"api.example:8443"), (b"User-Agent", b"x")], ("api.example", 8443)),
        (b"api.example:443", [(b"host", b"api.example")], ("api.example", 443)),
        (b"[2001:DB8::1]:443", [(b"Host", b"[2001:db8::1]:443")], ("2001:db8::1", 443)),
        (b"api.example", [], None), (b"api.example:", [], None), (b":443", [], None), (b"api.example:0", [], None),
        (b"api.example:70000", [], None), (b"a b:443", [], None), (b"api.example:443/x", [], None), (b"u@api.example:443", [], None),
        (b"2001:db8::1:443", [], None), (b"api.example:443\n", [], None), (b"api.example:+443", [], None),
        (b"api.example:443", [(b"Host", b"evil.example:443")], None), (b"api.example:443", [(b"Host", b"api.example:80")], None),
        (b"api.example:443", [(b"Host", b"api.example"), (b"Host", b"api.example")], None),
        (b"api.example:443", [(b"Content-Length", b"0")], None), (b"api.example:443", [(b"Transfer-Encoding", b"chunked")], None),
        (b"api.example:443", [(b"X", b"a\x00b")], None), (b"api.example:443", [(b"X Y", b"a")], None),
    ],
)  # fmt: skip
def test_connects(authority: bytes, headers: list[tuple[bytes, bytes]], expected: tuple[str, int] | None) -> None:
    if expected is None:
        with pytest.raises(HeadError):
            check_connect(authority, headers)
    else:
        assert check_connect(authority, headers) == expected
