"""Keys are fetched in the background. If the provider fails, the last good set stays and no caller waits."""

import asyncio
import contextlib
import json
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from tests.auth.misbehaving import DISCOVERY, Behaviour, Provider

from weir.auth import introspector, refresher
from weir.auth import provider as network
from weir.auth.claims import ClaimRules
from weir.auth.issuer import Issuer
from weir.auth.jws import TokenError
from weir.auth.keys import read_key_set
from weir.auth.provider import Source
from weir.auth.refresher import KeysUnavailable
from weir.auth.urls import check_url
from weir.auth.verifier import Undecided, Verifier
from weir.base.jsonpath import compile_path
from weir.base.secret import Secret


@pytest.fixture
def idp() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the pauses between refreshes."""
    monkeypatch.setattr(refresher, "REFRESH", 0.02)
    monkeypatch.setattr(refresher, "RETRY", 0.02)
    monkeypatch.setattr(refresher, "RETRY_MOST", 0.02)
    monkeypatch.setattr(network, "TIMEOUT", 1.0)


def run(
    idp: Provider,
    story: Callable[[Issuer, Verifier], Awaitable[None]],
    *,
    jwks: str | None = None,
    ca: Path | None = None,
    **more: Any,
) -> None:
    """Run *story* with an issuer that refreshes its keys from *idp*."""

    async def told() -> None:
        rules = ClaimRules("acme", idp.url, frozenset(("weir",)), compile_path("$.groups"))
        issuer = Issuer(rules, provider=network.Provider(Source(idp.url, jwks, ca)), **more)
        assert issuer.provider is not None and issuer.refresher is not None
        issuer.provider.open()
        task = asyncio.create_task(issuer.refresher.run())
        try:
            async with asyncio.timeout(20):
                await issuer.refresher.first()
                await story(issuer, Verifier([issuer]))
        finally:
            task.cancel()
            await asyncio.wait([task])  # the task closes its connection when it ends
            await issuer.provider.close()

    asyncio.run(told())


async def accepted(verifier: Verifier, token: str, address: str = "") -> str:
    """Return the subject of *token*, and wait for the provider if needed."""
    import time

    try:
        return verifier.verify(token, time.time()).sub
    except Undecided:
        return (await verifier.settle(token, time.time(), address=address)).sub


KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = {**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k9"}
PRIVATE = {**ECAlgorithm.to_jwk(KEY, as_dict=True), "kid": "k9"}
MISBEHAVIOURS = {
    "503": Behaviour(503), "404": Behaviour(404), "no content": Behaviour(204, b""),
    "a redirect": Behaviour(302, b"", {"Location": "/elsewhere"}), "HTML": Behaviour(body=b"<html>"),
    "another shape": Behaviour(body=b"{}"), "no keys": Behaviour(body=b'{"keys": []}'),
    "a private key": Behaviour(body=json.dumps({"keys": [PRIVATE]}).encode()),
    "one key id twice": Behaviour(body=json.dumps({"keys": [PUBLIC, PUBLIC]}).encode()),
    "a symmetric key": Behaviour(body=b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'),
    "a curve that is a list": Behaviour(body=b'{"keys": [{"kty": "EC", "crv": ["P-256"]}]}'),
    "too much": Behaviour(body=b" " * 300_000), "too many values": Behaviour(body=b'{"keys": [' + b"{}," * 60_000 + b"{}]}"), "too many keys": Behaviour(body=json.dumps({"keys": [PUBLIC] * 65}).encode()),
    "a compressed answer": Behaviour(headers={"Content-Encoding": "gzip"}), "dripping": Behaviour(drip=0.05),
    "silence": Behaviour(silent=True), "a length that is none": Behaviour(headers={"Content-Length": "-1"}),
}  # fmt: skip


@pytest.mark.parametrize("name", MISBEHAVIOURS)
@pytest.mark.usefixtures("soon")
def test_the_last_good_set_stays(name: str, idp: Provider, caplog: pytest.LogCaptureFixture) -> None:
    async def story(issuer: Issuer, verifier: Verifier) -> None:
        good = issuer.keys()
        with idp.behaving("/jwks", MISBEHAVIOURS[name]):
            while caplog.text.count("were not refreshed") < 2:
                await asyncio.sleep(0.005)
            assert issuer.keys() is good and await accepted(verifier, idp.token()) == "alice"
        assert "s old, stay in use" in caplog.text
        idp.rotate("k2")
        while issuer.keys() is good:
            await asyncio.sleep(0.005)
        assert await accepted(verifier, idp.token()) == "alice"

    run(idp, story)
    assert idp.count("/elsewhere") == 0


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ({"issuer": "https://evil.example", "jwks_uri": "{url}/jwks"}, "the document of another issuer"),
        ({"issuer": "{url}/", "jwks_uri": "{url}/jwks"}, "the document of another issuer"),
        ({"jwks_uri": "{url}/jwks"}, "the document of another issuer"),
        ({"issuer": "{url}"}, "has no jwks_uri"),
        ({"issuer": "{url}", "jwks_uri": 7}, "has no jwks_uri"),
        ({"issuer": "{url}", "jwks_uri": "http://idp.example/jwks"}, "jwks_uri in the discovery document is refused"),
        ({"issuer": "{url}", "jwks_uri": "file:///etc/passwd"}, "jwks_uri in the discovery document is refused"),
        ([], "is not a JSON object"),
    ],
)
@pytest.mark.usefixtures("soon")
def test_discovery_documents_that_are_not_believed(
    document: Any, reason: str, idp: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps(document).replace("{url}", idp.url).encode()

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        with pytest.raises(KeysUnavailable):
            await accepted(verifier, idp.token())

    with idp.behaving(DISCOVERY, Behaviour(body=body)):
        run(idp, story)
    assert reason in caplog.text and idp.count("/jwks") == 0


def test_https_only_but_for_loopback() -> None:
    check_url("https://idp.example/keys")
    check_url("http://127.0.0.1:1/keys")
    for url in (
        "http://idp.example",
        "ftp://idp.example",
        "https://u:p@idp.example",
        "//x",
        "http://127.0.0.1.evil@x/",
        "http://127.evil.example/keys",
        "https://idp.example/\x1b[2J",
        "https://idp.example/a b",
        "",
    ):
        with pytest.raises(ValueError, match=r"must be https|printable"):
            check_url(url)
    with pytest.raises(ValueError, match="must be https"):
        check_url("http://127.0.0.1/keys", allow_loopback=False)


def test_a_provider_with_a_certificate_of_its_own(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is trusted only with its own ``tls.ca``, not without or with another's."""
    contexts = [certified(tmp_path / name) for name in ("own", "other")]
    idp = Provider(contexts[0])

    async def passes(issuer: Issuer, verifier: Verifier) -> None:
        assert await accepted(verifier, idp.token()) == "alice"

    async def fails(issuer: Issuer, verifier: Verifier) -> None:
        with pytest.raises(KeysUnavailable):
            await accepted(verifier, idp.token())

    run(idp, passes, ca=tmp_path / "own.pem")
    run(idp, fails, ca=tmp_path / "other.pem")
    run(idp, fails)
    assert caplog.text.count("ConnectError") == 2
    idp.stop()


def certified(path: Path) -> ssl.SSLContext:
    """Return a server's context for 127.0.0.1 with a self-signed certificate, written to *path*.pem."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, path.name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.with_suffix(".pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    path.with_suffix(".key").write_bytes(key.private_bytes(serialization.Encoding.PEM, *private))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path.with_suffix(".pem"), path.with_suffix(".key"))
    return context


def test_past_the_hard_limit_nobody_is_let_in(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresher, "REFRESH", 1000)
    now = [0.0]

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        token = idp.token()
        assert await accepted(verifier, token) == "alice"
        now[0] = 3600.0
        assert await accepted(verifier, token) == "alice"
        now[0] = 3601.0
        with pytest.raises(KeysUnavailable):  # also for a cached token
            await accepted(verifier, token)

    run(idp, story, max_stale=3600.0, clock=lambda: now[0])


def test_a_rotated_key_works_within_one_shared_refresh(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred callers with the new key arrive at once: they share one fetch, and all pass."""
    monkeypatch.setattr(refresher, "COOLDOWN", 0.5)

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        first = idp.token()
        assert await accepted(verifier, first) == "alice"
        idp.rotate("k2")
        before = idp.count("/jwks")
        tokens = [idp.token(f"user{i}") for i in range(100)]
        assert await asyncio.gather(*(accepted(verifier, t) for t in tokens)) == [f"user{i}" for i in range(100)]
        assert idp.count("/jwks") == before + 1
        with pytest.raises(TokenError):  # the old key was removed with its set, even for a cached token
            await accepted(verifier, first)

    run(idp, story)


def test_those_who_waited_go_on_one_at_a_time(idp: Provider) -> None:
    """Two hundred callers wait for one fetch; another task gets its turn between any two of them."""

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        idp.rotate("k2")
        turns, at_turn = 0, []

        async def caller(token: str) -> None:
            await accepted(verifier, token)
            at_turn.append(turns)

        with idp.behaving("/jwks", Behaviour(delay=0.3)):
            callers = [asyncio.create_task(caller(idp.token(f"user{i}"))) for i in range(200)]
            while not all(task.done() for task in callers):
                await asyncio.sleep(0)
                turns += 1
        assert len(set(at_turn)) > 190

    run(idp, story)


def test_two_rotations_in_a_row(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second falls into the cooldown of the first: its callers wait until the cooldown ends, and pass."""
    monkeypatch.setattr(refresher, "COOLDOWN", 0.3)

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        for kid in ("k2", "k3", "k4"):
            idp.rotate(kid)
            assert await accepted(verifier, idp.token()) == "alice"
        fetches = [asked.at for asked in idp.asked if asked.path == "/jwks"]
        assert all(later - earlier > 0.28 for earlier, later in pairwise(fetches[1:]))

    run(idp, story)


def test_ten_thousand_made_up_keys_cost_one_fetch_a_cooldown(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresher, "COOLDOWN", 1.0)
    import time

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        good, forged = idp.token(), idp.token().split(".")
        began, before = time.monotonic(), idp.count("/jwks")

        def made_up(i: int) -> str:
            import base64

            header = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "kid": f"made-up-{i}"}).encode()).decode()
            return ".".join([header.rstrip("="), *forged[1:]])

        async def refused(i: int) -> None:
            with pytest.raises((TokenError, KeysUnavailable)):
                await accepted(verifier, made_up(i))

        for start in range(0, 10_000, 100):
            await asyncio.gather(*(refused(i) for i in range(start, start + 100)))
            assert await accepted(verifier, good) == "alice"
        elapsed = time.monotonic() - began
        assert idp.count("/jwks") - before <= elapsed / 1.0 + 1
        idp.rotate("k2", keep=True)  # during the flood, a real new key is found at the next fetch
        await asyncio.sleep(1.1)
        await asyncio.gather(accepted(verifier, idp.token("bob")), refused(10_001))
        assert len(issuer.refresher._absent) <= refresher.MAX_ABSENT  # type: ignore[union-attr]

    run(idp, story)


def test_a_token_that_fails_anyway_has_nobody_asked(idp: Provider) -> None:
    async def story(issuer: Issuer, verifier: Verifier) -> None:
        before = len(idp.asked)
        for claims in ({"aud": "other"}, {"exp": 1}, {"iss": "https://evil.example"}, {"sub": ""}):
            with pytest.raises(TokenError):
                await accepted(verifier, idp.token(header={"kid": "unknown"}, **claims))
        for header in ({"kid": "../../etc/passwd", "jku": "https://evil.example"}, {"kid": "x" * 300}):
            with pytest.raises(TokenError):
                await accepted(verifier, idp.token(header=header))
        assert len(idp.asked) == before

    run(idp, story)


def test_an_unknown_key_while_the_provider_is_down_is_not_the_callers_fault(
    idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(issuer: Issuer, verifier: Verifier) -> None:
        monkeypatch.setattr(network, "TIMEOUT", 0.5)  # after the first fetch, which imports modules
        good = idp.token()
        with idp.behaving("/jwks", Behaviour(silent=True)):
            idp.rotate("k2")
            with pytest.raises(KeysUnavailable):
                await accepted(verifier, idp.token())
            assert await accepted(verifier, good) == "alice"

    run(idp, story)


def test_waiting_is_bounded(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresher, "MAX_WAITING", 10)

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        idp.rotate("k2")
        with idp.behaving("/jwks", Behaviour(delay=0.3)):
            outcomes = await asyncio.gather(
                *(accepted(verifier, idp.token(f"user{i}")) for i in range(30)), return_exceptions=True
            )
        assert outcomes[:10] == [f"user{i}" for i in range(10)]
        assert {type(outcome) for outcome in outcomes[10:]} == {KeysUnavailable}

    run(idp, story)


def introspecting(idp: Provider, name: str) -> Issuer:
    rules = ClaimRules(name, idp.url, frozenset(("weir",)), compile_path("$.groups"))
    asking = network.Introspection(None, "weir", Secret("a-secret-of-weir"))
    source = Source(idp.url, None, introspection=asking)
    issuer = Issuer(rules, read_key_set(json.dumps({"keys": [PUBLIC]}).encode()), network.Provider(source))
    assert issuer.provider is not None
    issuer.provider.open()
    return issuer


def test_questions_about_tokens_are_bounded_and_end_with_those_who_asked(
    idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introspector, "MAX_WAITING", 20)
    monkeypatch.setattr(introspector, "LONGEST_WAIT", 0.3)
    monkeypatch.setattr(network, "INTROSPECTION_TIMEOUT", 1.0)

    async def story() -> None:
        issuer = introspecting(idp, "acme")
        verifier = Verifier([issuer])
        good = idp.opaque("an-opaque-token-000000001")
        with idp.behaving("/introspect", Behaviour(silent=True)):
            for _ in range(3):
                flood = [accepted(verifier, f"made-up-token-{i:09}") for i in range(60)]
                outcomes = await asyncio.gather(*flood, return_exceptions=True)
                assert {type(outcome) for outcome in outcomes} == {KeysUnavailable}
                assert issuer.introspector is not None and not issuer.introspector._asking
        assert idp.count("/introspect") <= 3 * 20
        assert await accepted(verifier, good) == "alice"  # the flood left nothing queued
        await issuer.provider.close()  # type: ignore[union-attr]

    asyncio.run(story())


def test_a_flood_of_tokens_from_one_address_does_not_crowd_out_others(idp: Provider) -> None:
    async def story() -> None:
        issuer = introspecting(idp, "acme")
        verifier = Verifier([issuer])
        known = idp.opaque("an-opaque-token-known-before")
        assert await accepted(verifier, known, "192.0.2.6") == "alice"
        good = [idp.opaque(f"an-opaque-token-{i:09}") for i in range(13)]
        flooding = True

        async def flood(n: int) -> None:
            i = 0
            while flooding:
                i += 1
                with contextlib.suppress(TokenError, KeysUnavailable):
                    await accepted(verifier, f"made-up-token-{n:09}-{i:09}", "192.0.2.6")
                await asyncio.sleep(0.01)

        with idp.behaving("/introspect", Behaviour(delay=0.5)):
            floods = [asyncio.create_task(flood(n)) for n in range(100)]
            await asyncio.sleep(0.2)
            outcomes = await asyncio.gather(*(accepted(verifier, token, "192.0.2.7") for token in good))
            assert outcomes == ["alice"] * 13
            assert issuer.introspector is not None
            issuer.introspector._verdicts = OrderedDict(
                (digest, (verdict, 0.0)) for digest, (verdict, _) in issuer.introspector._verdicts.items()
            )
            assert await accepted(verifier, known, "192.0.2.6") == "alice"  # asked again, from the flooding address
            flooding = False
            await asyncio.gather(*floods)
        assert not issuer.introspector._asked_for and not issuer.introspector._turns._taken
        await issuer.provider.close()  # type: ignore[union-attr]

    asyncio.run(story())


def test_one_provider_that_is_down_does_not_hide_anothers_word(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "INTROSPECTION_TIMEOUT", 1.0)
    other = Provider()

    async def story() -> None:
        issuers = [introspecting(idp, "acme"), introspecting(other, "partner")]
        verifier = Verifier(issuers)
        good = other.opaque("an-opaque-token-of-partner")
        with idp.behaving("/introspect", Behaviour(silent=True)):
            assert await accepted(verifier, good) == "alice"
            with pytest.raises(KeysUnavailable):  # the silent provider may know it
                await accepted(verifier, "an-opaque-token-of-nobody")
        for issuer in issuers:
            await issuer.provider.close()  # type: ignore[union-attr]

    asyncio.run(story())
    other.stop()


@pytest.mark.parametrize("algorithm", ["RS256", "RS512", "PS384"])
def test_keys_that_name_no_algorithm(algorithm: str, idp: Provider) -> None:
    idp.rotate("rsa", algorithm=algorithm, name_algorithm=False)

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        assert await accepted(verifier, idp.token()) == "alice"

    run(idp, story, jwks=f"{idp.url}/jwks")
    assert idp.count(DISCOVERY) == 0


@pytest.mark.parametrize(
    "behaviour",
    [Behaviour(silent=True), Behaviour(delay=1.0), Behaviour(drip=0.001), Behaviour(chunks=40_000), Behaviour(body=b"[" * 200_000)],
    ids=["silent", "slow", "dripping", "crumbs", "deep"],
)  # fmt: skip
@pytest.mark.usefixtures("soon")
def test_the_event_loop_goes_on(behaviour: Behaviour, idp: Provider) -> None:
    """No single step of the event loop takes long, whatever the provider does. The test uses no time limit: it counts
    how often another task gets its turn while the provider misbehaves."""
    import time

    async def story(issuer: Issuer, verifier: Verifier) -> None:
        turns, longest, last = 0, 0.0, time.perf_counter()
        end = last + 1.0
        with idp.behaving("/jwks", behaviour):
            while time.perf_counter() < end:
                await asyncio.sleep(0)
                now = time.perf_counter()
                turns, longest, last = turns + 1, max(longest, now - last), now
        assert turns > 1000 and longest < 0.5

    run(idp, story)
