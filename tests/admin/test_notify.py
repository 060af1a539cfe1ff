"""Notifications of approvals: their format, their signature, retries, dead letters, and no mixed-up messages."""

import asyncio
import base64
import hmac
import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from tests.approvals.samples import CAROL, LEADS, approval

from weir.admin import notify
from weir.admin.notify import Notifier, events, message_of, signature
from weir.approvals.hooks import Hook, compile_hook
from weir.approvals.model import Approval, Reviewers, Shown, Vote
from weir.approvals.people import Directory
from weir.base.mistakes import SettingError
from weir.config.model import HookSettings
from weir.state.watcher import Watcher

NASTY = "<!channel> *bold* [link](https://evil.example) \u202e"


@dataclass
class Receiver:
    """An HTTP server that keeps the requests. It answers with ``statuses`` in turn, and repeats the last one."""

    statuses: list[int] = field(default_factory=lambda: [200])
    seen: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            data = self.rfile.read(int(self.headers["Content-Length"]))
            found.seen.append(({k.lower(): v for k, v in self.headers.items()}, data))
            self.send_response(found.statuses.pop(0) if len(found.statuses) > 1 else found.statuses[0])
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield found
    server.shutdown()
    server.server_close()


def hook(text: str, folder: Path = Path(), **environment: str) -> Hook:
    """Compile a hook like one in gateway.yaml."""
    from ruamel.yaml import YAML

    settings = HookSettings.model_validate(YAML(typ="safe", pure=True).load(text))
    return compile_hook(settings, folder, environment, ["reranker", "search"])


ASKED = approval(shown=Shown(operation="rerank", query=(NASTY,), documents=300), now=1000.0)


def told(
    hooks: list[Hook], approvals: list[Approval], until: Any, monkeypatch: pytest.MonkeyPatch, home: Path
) -> list[Any]:
    """Notify *hooks* of *approvals*, and return the dead letters once *until* is true."""
    monkeypatch.setenv("WEIR_HOME", str(home))
    monkeypatch.setattr(notify, "RETRY", 0.05)
    monkeypatch.setattr(notify, "INTERVAL", 0.05)
    policies: Any = SimpleNamespace(
        admin=SimpleNamespace(hooks=tuple(hooks), url="https://admin.example"), directory=Directory()
    )

    async def story() -> list[Any]:
        state = Watcher()
        state.start(lambda: None)
        for one in approvals:
            await state.run(lambda store, one=one: store.add_approval(one, 99))  # type: ignore[misc]
        notifier = Notifier(lambda: policies, state)
        notifier.changed(approvals)
        notifier.changed(approvals)  # each event is notified once
        task = asyncio.create_task(notifier.run())
        async with asyncio.timeout(20):
            while not until(dead := await state.run(lambda store: store.dead_letters())):
                await asyncio.sleep(0.02)
        await asyncio.sleep(0.2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.to_thread(state.stop)
        return dead

    return asyncio.run(story())


def test_a_webhook_is_signed_tried_again_and_told_once(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    receiver.statuses = [500, 503, 200]
    secret = "whsec_" + base64.b64encode(b"a key of some length").decode()
    one = hook(f"{{webhook: '{receiver.url}', secret: '${{env:S}}'}}", S=secret)
    assert told([one], [ASKED], lambda _: len(receiver.seen) >= 3, monkeypatch, tmp_path) == []
    assert len(receiver.seen) == 3
    ids = {headers["webhook-id"] for headers, _ in receiver.seen}
    assert len(ids) == 1  # with the id, a receiver recognises a repeated message
    headers, data = receiver.seen[-1]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + data
    expected = base64.b64encode(hmac.digest(b"a key of some length", signed, "sha256")).decode()
    assert (
        headers["webhook-signature"] == f"v1,{expected}" and abs(time.time() - int(headers["webhook-timestamp"])) < 10
    )
    message = json.loads(data)
    assert (message["event"], message["requester"], message["rules"]) == ("asked", "acme/alice", ["wide"])
    assert message["url"] == "https://admin.example/approvals/a-1" and message["documents"] == 300


def test_one_that_fails_for_ever_is_a_dead_letter_and_keeps_nobody_waiting(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(notify, "TRIES", 3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(notify, "TIMEOUT", 0.3)
        port = silent.getsockname()[1]
        hooks = [
            hook(f"{{webhook: 'http://127.0.0.1:{port}/', secret: '${{env:S}}'}}", S="s"),
            hook("{command: [/bin/false]}"),
            hook("{command: [/no/such/program]}"),
            hook(f"{{webhook: '{receiver.url}', secret: '${{env:S}}'}}", S="s"),
        ]
        began = time.monotonic()
        arrived: list[float] = []

        def over(dead: list[Any]) -> bool:
            if receiver.seen and not arrived:
                arrived.append(time.monotonic() - began)
            return len(dead) == 3

        dead = told(hooks, [ASKED], over, monkeypatch, tmp_path)
    assert arrived[0] < 5 and len(receiver.seen) == 1
    assert [(x.attempts, x.error.partition(" (")[0]) for x in sorted(dead, key=lambda x: x.error)] == [
        (3, "it cannot be reached"), (3, "the command cannot be started"), (3, "the command ended with exit code 1")]  # fmt: skip


@pytest.mark.parametrize("kind", ["slack", "teams"])
def test_chat_messages_have_a_link_and_nothing_that_a_caller_could_make_of_them(
    kind: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = hook(f"{{{kind}: '${{env:URL}}'}}", URL=receiver.url)
    told([one], [ASKED], lambda _: receiver.seen, monkeypatch, tmp_path)
    message = json.loads(receiver.seen[0][1])
    text = json.dumps(message, ensure_ascii=False)
    assert "https://admin.example/approvals/a-1" in text and "acme" in text
    if kind == "slack":
        texts = [f["text"] for f in message["blocks"][1]["fields"]]
        assert all(f["type"] == "plain_text" for f in message["blocks"][1]["fields"])  # plain text contains no markup
        assert any("<!channel>" in t for t in texts) and "<!channel>" not in message["text"]
    else:
        facts = {f["title"]: f["value"] for f in message["attachments"][0]["content"]["body"][1]["facts"]}
        assert facts["Query"].startswith(r"\<\!channel\> \*bold\* \[link\]\(https://evil\.example\)")


def test_mail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    received: list[bytes] = []

    def serve(server: socket.socket) -> None:
        connection, _ = server.accept()
        with connection, connection.makefile("rwb") as stream:
            stream.write(b"220 mail.example ESMTP\r\n")
            stream.flush()
            while line := stream.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    stream.write(b"354 go on\r\n")
                    stream.flush()
                    while (part := stream.readline()) != b".\r\n":
                        received.append(part)
                stream.write(b"221 bye\r\n" if word == b"QUIT" else b"250 fine\r\n")
                stream.flush()

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        port = server.getsockname()[1]
        text = f"{{email: {{server: 'smtp://127.0.0.1:{port}', sender: weir@example.com, to: [leads@example.com]}}}}"
        told([hook(text)], [ASKED], lambda _: received, monkeypatch, tmp_path)
    mail = b"".join(received).decode()
    assert "To: leads@example.com" in mail and "Subject: Approval asked: rerank on reranker by acme/alice" in mail
    assert "https://admin.example/approvals/a-1" in mail and "Auto-Submitted: auto-generated" in mail


def test_a_command_gets_the_message_on_its_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    out = tmp_path / "told.json"
    one = hook(f"{{command: [/bin/sh, -c, 'cat > {out}.part; mv {out}.part {out}']}}")
    told([one], [ASKED], lambda _: out.exists(), monkeypatch, tmp_path)
    assert json.loads(out.read_text())["approval_id"] == "a-1"


def decided(yes: bool, **more: Any) -> Approval:
    vote = Vote(CAROL, yes, "because", 1001.0, **more)
    return approval(state="approved" if yes else "denied", decided=1001.0, votes=(vote,))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (ASKED, ["asked"]),
        (decided(True), ["approved"]),
        (replace(decided(True), state="used"), ["approved"]),
        (decided(False), ["denied"]),
        (decided(True, break_glass=True), ["approved", "break_glass"]),
        (approval(state="expired"), ["expired"]),
        (replace(decided(True), state="expired"), []),
        (approval(state="withdrawn"), []),
    ],
)
def test_what_there_is_to_tell(found: Approval, expected: list[str]) -> None:
    assert events(found) == expected
    for event in expected:
        assert message_of(event, found, "u")["event"] == event


def test_what_is_escalated_is_told_when_its_time_comes(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(notify, "LOOK", 0.05)
    terms = replace(LEADS, escalate_after=1, escalate_to=Reviewers(users=("acme/head",)))
    one = hook(f"{{webhook: '{receiver.url}', secret: '${{env:S}}', on: [escalated]}}", S="s")
    began = time.time()
    told([one], [approval(terms=terms, now=began)], lambda _: receiver.seen, monkeypatch, tmp_path)
    assert time.time() >= began + 1 and len(receiver.seen) == 1
    message = json.loads(receiver.seen[0][1])
    assert (message["event"], message["escalated_to"]) == ("escalated", "acme/head")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{webhook: 'https://a.example'}", "a webhook is signed: name a `secret`"),
        ("{webhook: 'http://a.example', secret: '${env:S}'}", "must be https://host/"),
        ("{webhook: 'https://a.example', secret: plain}", "a policy file must not contain a credential"),
        ("{webhook: 'https://a.example', secret: '${env:BAD}'}", "the part after whsec_ is not Base64"),
        ("{slack: 'https://hooks.slack.example/x'}", "a policy file must not contain a credential"),
        ("{slack: '${env:S}', teams: '${env:S}'}", "name one of webhook, slack, teams, email, command"),
        ("{}", "name one of webhook, slack, teams, email, command"),
        ("{slack: '${env:U}', secret: '${env:S}'}", "only webhooks are signed"),
        ("{command: []}", "name a program"),
        ("{command: [x], connections: [serch]}", "there is no connection 'serch'. Did you mean 'search'?"),
        ("{email: {server: mail.example, sender: a@b, to: c@d}}", "is not a mail server"),
        ("{email: {server: 'smtp://mail.example', sender: a@b, to: ['c@d, e@f']}}", "is not an address"),
        (
            "{email: {server: 'smtp://mail.example', sender: a@b, to: c@d, user: x}}",
            "a user and a password go together",
        ),
    ],
)
def test_hooks_that_cannot_be(text: str, why: str) -> None:
    with pytest.raises(SettingError) as raised:
        hook(text, S="s", U="https://a.example", BAD="whsec_abcde")
    assert why in raised.value.message


def test_nothing_secret_is_in_a_hooks_name() -> None:
    one = hook("{slack: '${env:U}'}", U="https://hooks.example/T000/B000/secret")
    assert one.name.startswith("slack-") and "secret" not in repr(one) + one.name
    assert one.name == hook("{slack: '${env:U}'}", U="https://hooks.example/T000/B000/secret").name


def test_the_signature_is_that_of_the_standard() -> None:
    """The test vector of the libraries of https://github.com/standard-webhooks/standard-webhooks."""
    headers = signature(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
