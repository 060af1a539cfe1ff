"""Which addresses may be dialled: the kind of the address decides, not its spelling."""

import asyncio
import socket
from ipaddress import ip_address

import pytest

from weir.base.addresses import Addresses, Kind, compile_addresses, kind_of
from weir.base.mistakes import SettingError
from weir.mitm import resolving
from weir.routing.dial import FORBIDDEN, Dial, Dialed, Forbidden, refusal

KINDS = {
    "8.8.8.8": Kind.PUBLIC, "2606:4700::1111": Kind.PUBLIC, "10.1.2.3": Kind.PRIVATE, "172.31.0.1": Kind.PRIVATE,
    "192.168.1.1": Kind.PRIVATE, "100.64.0.1": Kind.PRIVATE, "fd00::1": Kind.PRIVATE, "127.0.0.1": Kind.LOOPBACK,
    "127.9.9.9": Kind.LOOPBACK, "::1": Kind.LOOPBACK, "169.254.1.1": Kind.LINK_LOCAL, "fe80::1": Kind.LINK_LOCAL,
    "169.254.169.254": Kind.METADATA, "fd00:ec2::254": Kind.METADATA, "100.100.100.200": Kind.METADATA,
    "168.63.129.16": Kind.METADATA, "0.0.0.0": Kind.RESERVED, "::": Kind.RESERVED, "224.0.0.1": Kind.RESERVED,
    "255.255.255.255": Kind.RESERVED, "192.0.2.1": Kind.RESERVED, "2001:db8::1": Kind.RESERVED, "0.1.2.3": Kind.RESERVED,
    "::ffff:127.0.0.1": Kind.LOOPBACK, "::ffff:169.254.169.254": Kind.METADATA, "::ffff:10.0.0.1": Kind.PRIVATE,
    "64:ff9b::7f00:1": Kind.LOOPBACK, "64:ff9b::a9fe:a9fe": Kind.METADATA, "2002:7f00:1::": Kind.LOOPBACK,
    "2002:a9fe:a9fe::1": Kind.METADATA, "fd20:ce::254": Kind.METADATA, "fd00:ec2::23": Kind.METADATA, "fec0::1": Kind.RESERVED,
    "192.88.99.1": Kind.RESERVED,
}  # fmt: skip


@pytest.mark.parametrize("address", KINDS)
def test_kinds(address: str) -> None:
    assert kind_of(ip_address(address)) == KINDS[address]


@pytest.mark.parametrize(
    ("words", "host", "may", "may_not"),
    [
        (None, "api.example", ["8.8.8.8"], ["10.0.0.1", "127.0.0.1", "169.254.169.254", "::ffff:10.0.0.1", "0.0.0.0"]),
        (None, "localhost", ["127.0.0.1", "::1"], ["8.8.8.8", "10.0.0.1"]),
        (None, "10.0.0.5", ["10.0.0.5", "::ffff:10.0.0.5"], ["10.0.0.6", "8.8.8.8"]),
        (["private"], "api.example", ["10.0.0.1", "fd00::1"], ["8.8.8.8", "127.0.0.1", "fd00:ec2::254", "100.100.100.200"]),
        (["public", "private", "loopback"], "x", ["8.8.8.8", "10.0.0.1", "127.0.0.1"], ["169.254.169.254", "169.254.1.1", "0.0.0.0", "224.0.0.1"]),
        (["10.1.0.0/16"], "x", ["10.1.2.3"], ["10.2.0.1", "8.8.8.8"]),
        (["169.254.0.0/16"], "x", ["169.254.1.1"], ["169.254.169.254"]),
        (["169.254.169.254/32"], "x", ["169.254.169.254"], ["169.254.1.1"]),
        ([], "x", [], ["8.8.8.8"]),
    ],
)  # fmt: skip
def test_permissions(words: list[str] | None, host: str, may: list[str], may_not: list[str]) -> None:
    addresses = compile_addresses(words, host)
    assert [a for a in may if not addresses.permits(ip_address(a))] == []
    assert [a for a in may_not if addresses.permits(ip_address(a))] == []


@pytest.mark.parametrize("word", ["privat", "10.0.0.1/8", "metadata", "link-local", "*", ""])
def test_words_that_are_none(word: str) -> None:
    with pytest.raises(SettingError, match="neither"):
        compile_addresses([word], "x")


PUBLIC = Dial("c", Addresses())


def test_only_what_was_judged_is_dialled() -> None:
    assert refusal("api.example") == "the destination was not judged"
    assert refusal(Dialed("api.example", PUBLIC)) == "" and refusal(Dialed("8.8.8.8", PUBLIC)) == ""
    assert refusal(Dialed("127.0.0.1", PUBLIC)) == FORBIDDEN
    one, same, other = Dialed("h", PUBLIC), Dialed("h", Dial("c", Addresses())), Dialed("h", Dial("d", Addresses()))
    assert one == same and hash(one) == hash(same) and one not in (other, "h", Dialed("i", PUBLIC))
    assert (one, 1) != ("h", 1) and (one, 1) != ("h", 1) and str(one) == "h"


def test_names_are_dialled_where_they_may_lead(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that also leads to this machine is dialled elsewhere; a name that leads only here is not dialled."""
    answers: list[str] = []
    asked = 0

    async def story() -> None:
        loop = asyncio.get_running_loop()

        async def getaddrinfo(host: str, port: int, **_: object) -> list[object]:
            nonlocal asked
            asked += 1
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, port)) for answer in answers]

        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo, raising=False)
        resolving.install(loop)
        resolving.install(loop)
        answers[:] = ["127.0.0.1", "93.184.216.34", "169.254.169.254"]
        found = await loop.getaddrinfo(Dialed("evil.example", PUBLIC), 443)
        assert [entry[4] for entry in found] == [("93.184.216.34", 443)]
        answers[:] = ["127.0.0.1"]
        with pytest.raises(Forbidden, match=FORBIDDEN):
            await loop.getaddrinfo(Dialed("evil.example", PUBLIC), 443)
        before = asked
        pinned = Dialed("evil.example", Dial("c", Addresses(), pinned=tuple(found)))
        assert await loop.getaddrinfo(pinned, 443) == tuple(found) and asked == before  # no second DNS lookup
        assert len(await loop.getaddrinfo("evil.example", 443)) == 1  # other code's lookups are unchanged

    asyncio.run(story())
