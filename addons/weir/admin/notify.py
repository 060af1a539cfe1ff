"""Notifies people of approvals by webhook, chat, mail or command. The admin process does this, so traffic never waits.

Each notification is stored once in the shared state as a letter. The notifier tries to send it, with growing pauses,
until it is sent or becomes a dead letter. A message has the requester, the request, the rule and the link for the
decision. Of the caller's data it contains only the masked texts that reviewers see. Reviewers decide after a login, not
in the chat.
"""

import asyncio
import base64
import contextlib
import email.message
import hmac
import json
import math
import smtplib
import ssl
import time
from collections.abc import Callable
from typing import Any

import httpx

from weir.approvals.hooks import Hook, signing_key
from weir.approvals.lifecycle import needs, who
from weir.approvals.model import Approval
from weir.base.alarms import alarm
from weir.policyset.model import PolicySet
from weir.routing.model import is_loopback
from weir.state.model import Letter
from weir.state.store import Store
from weir.state.watcher import StateUnavailable, Watcher

TIMEOUT = 10.0
#: Seconds to the second try, which double with each try; their maximum; and the maximum number of tries.
RETRY = 2.0
RETRY_MOST = 3600.0
TRIES = 12
#: Seconds that a letter is reserved for the process that sends it.
LEASE = 60.0
#: Seconds between two checks for due letters, and between two checks for escalations.
INTERVAL = 1.0
LOOK = 5.0
#: Maximum number of letters that are sent at the same time.
MOST_SENDING = 100


class NotSent(Exception):
    """A letter could not be sent. The message gives the reason, without the address or a secret."""


class Notifier:
    """Stores letters for changed approvals, and sends due letters."""

    def __init__(self, policies: Callable[[], PolicySet], state: Watcher) -> None:
        self._policies = policies
        self._state = state
        self._news: list[Approval] = []  # changed approvals without a letter yet
        self._looked = 0.0  # Unix time of the last check for escalations
        self._sending: set[asyncio.Task[None]] = set()

    def changed(self, approvals: list[Approval]) -> None:
        """Note that *approvals* have changed."""
        self._news += approvals

    async def run(self) -> None:
        """Store and send letters until cancelled."""
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
                while True:
                    try:
                        await self._post()
                        await self._send(client)
                    except StateUnavailable:
                        pass  # the changes are kept until they can be stored
                    except Exception as error:  # other letters must still be sent
                        alarm("notify_failed", f"sending notifications of approvals failed: {type(error).__name__}")
                    await asyncio.sleep(INTERVAL)
        finally:
            for task in self._sending:
                task.cancel()
            await asyncio.gather(*self._sending, return_exceptions=True)

    async def _post(self) -> None:
        """Store letters for changes, and for escalations since the last check."""
        news, hooks, now = list(self._news), self._policies().admin.hooks, time.time()
        told = [(approval, event) for approval in news for event in events(approval)]
        looks = now - self._looked >= LOOK and any("escalated" in hook.on for hook in hooks)
        if looks:
            pending = await self._state.run(lambda store: store.approvals_in("pending"))
            told += [(a, "escalated") for a in pending if any(self._looked < at <= now for at in escalations(a))]
        letters = [
            Letter(f"{approval.id} {event} {hook.name}", hook.name, event, approval.id, due=now)
            for approval, event in told
            for hook in hooks
            if event in hook.on and (not hook.connections or approval.connection in hook.connections)
        ]
        if letters:
            await self._state.run(lambda store: store.post(letters))
        del self._news[: len(news)]  # only now, so that letters that could not be stored are stored the next time
        self._looked = now if looks else self._looked

    async def _send(self, client: httpx.AsyncClient) -> None:
        """Start a task for each due letter, so that no letter waits for another."""
        policies = self._policies()
        hooks = {hook.name: hook for hook in policies.admin.hooks}
        if not hooks or len(self._sending) >= MOST_SENDING:
            return

        def due(store: Store) -> list[tuple[Letter, Approval | None]]:
            return [(x, store.approval(x.approval)) for x in store.due_letters(time.time(), LEASE)]

        for letter, approval in await self._state.run(due):
            trying = self._try(client, hooks.get(letter.hook), letter, approval, policies)
            task = asyncio.create_task(trying, name="letter")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _try(
        self,
        client: httpx.AsyncClient,
        hook: Hook | None,
        letter: Letter,
        approval: Approval | None,
        policies: PolicySet,
    ) -> None:
        """Try to send one letter, and store the result."""
        error = ""
        if hook is None or approval is None:
            error = "the hook or the approval does not exist any more"
        else:
            try:
                async with asyncio.timeout(TIMEOUT * 2):
                    await _deliver(client, hook, letter, approval, policies)
            except NotSent as failed:
                error = str(failed)
            except TimeoutError:
                error = "sending took too long"
            except Exception as failed:
                error = f"sending failed ({type(failed).__name__})"
        again = error and hook is not None and approval is not None and letter.attempts + 1 < TRIES
        due = time.time() + min(RETRY * 2**letter.attempts, RETRY_MOST) if again else None
        dead = bool(error) and not again
        if dead:
            alarm("dead_letter", f"{letter.hook} was not notified of {letter.event} {letter.approval}: {error}")
        with contextlib.suppress(StateUnavailable):  # the letter is tried again when its lease ends
            await self._state.run(lambda store: store.letter_tried(letter, due, error, dead=dead))


def escalations(approval: Approval) -> list[float]:
    """Return the Unix times at which *approval* is escalated."""
    return [approval.asked + d.terms.escalate_after for d in approval.demands if d.terms.escalate_after]


def events(approval: Approval) -> list[str]:
    """Return the events of the present state of *approval*. Escalations are not among them; they come with time."""
    found = {"pending": ["asked"], "approved": ["approved"], "denied": ["denied"]}.get(approval.state, [])
    if approval.state == "used":
        found = ["approved"]
    elif approval.state == "expired" and not approval.decided:
        found = ["expired"]
    return [*found, *(["break_glass"] if approval.break_glass else [])]


async def _deliver(
    client: httpx.AsyncClient, hook: Hook, letter: Letter, approval: Approval, policies: PolicySet
) -> None:
    """Send one letter. Raises `NotSent`."""
    url = f"{policies.admin.url}/approvals/{approval.id}"
    message = message_of(letter.event, approval, url, needs(approval, policies.directory))
    if hook.kind == "email":
        await asyncio.to_thread(_mail, hook, letter, message)
    elif hook.kind == "command":
        await _run(hook, message)
    else:
        body = json.dumps(_SHAPES[hook.kind](message), ensure_ascii=False).encode()
        headers = {"Content-Type": "application/json"}
        if hook.kind == "webhook":
            headers |= signature(hook.secret.reveal(), letter.id, int(time.time()), body)
        try:
            async with client.stream("POST", hook.url.reveal(), content=body, headers=headers) as response:
                status = response.status_code  # the body is not read
        except (httpx.HTTPError, OSError) as error:
            raise NotSent(f"it cannot be reached ({type(error).__name__})") from None
        if not 200 <= status < 300:
            raise NotSent(f"it answered {status}")


def signature(secret: str, message_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers of a signed webhook (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body."""
    name = message_id.replace(" ", ".")
    digest = hmac.digest(signing_key(secret), f"{name}.{at}.".encode() + body, "sha256")
    return {
        "webhook-id": name,
        "webhook-timestamp": str(at),
        "webhook-signature": "v1," + base64.b64encode(digest).decode(),
    }


def message_of(event: str, approval: Approval, url: str, missing: str = "") -> dict[str, Any]:
    """Return the message: enough to decide whether to look at the approval, and the link to it."""
    shown = approval.shown
    to = [who(d.terms.escalate_to) for d in approval.demands if d.terms.escalate_after]
    escalated_to = "; ".join(to) if event == "escalated" else ""
    what = {
        "documents": shown.documents,
        "indexes": list(shown.indexes) or None,
        "query": shown.query[0][:200] if shown.query else None,
        "model": shown.model,
    }
    return {
        "event": event,
        "approval_id": approval.id,
        "kind": approval.kind,
        "connection": approval.connection,
        "requester": approval.requester.name,
        "groups": list(approval.requester.groups),
        "operation": shown.operation,
        "rules": list(approval.rules),
        "message": approval.demands[0].message if approval.demands else "",
        "reason": approval.decided_why() or approval.reason or None,
        "decided_by": [vote.by.name for vote in approval.decisive] if approval.decided else [],
        "break_glass": approval.break_glass,
        "needs": missing or None,
        "escalated_to": escalated_to or None,
        "asked": int(approval.asked),
        "expires": math.ceil(approval.expires),
        "url": url,
        **{name: value for name, value in what.items() if value is not None},
    }


_TITLES = {
    "asked": "Approval asked",
    "escalated": "Approval escalated",
    "approved": "Approved",
    "denied": "Denied",
    "expired": "Approval expired",
    "break_glass": "The glass was broken",
}


def _title(message: dict[str, Any]) -> str:
    return f"{_TITLES[message['event']]}: {message['operation']} on {message['connection']} by {message['requester']}"


def _facts(message: dict[str, Any]) -> list[tuple[str, str]]:
    names = (
        ("Rule", "rules"), ("Says", "message"), ("Documents", "documents"), ("Indexes", "indexes"), ("Query", "query"),
        ("Model", "model"), ("Decided by", "decided_by"), ("Reason", "reason"), ("Needs", "needs"),
        ("Escalated to", "escalated_to"),
    )  # fmt: skip
    found = [(title, message.get(name)) for title, name in names]
    return [(t, ", ".join(map(str, v)) if isinstance(v, list) else str(v)) for t, v in found if v]


def _slack(message: dict[str, Any]) -> dict[str, Any]:
    """Return Slack blocks. Texts are plain, so that no part of them becomes a link, a mention or markup."""

    def plain(text: str) -> dict[str, Any]:
        return {"type": "plain_text", "text": text, "emoji": False}

    fields = [plain(f"{title}: {value}"[:2000]) for title, value in _facts(message)][:10]
    button = {"type": "button", "text": plain("Decide"), "url": message["url"]}
    return {
        "text": _escaped(_title(message)),
        "blocks": [
            {"type": "header", "text": plain(_title(message)[:150])},
            *([{"type": "section", "fields": fields}] if fields else []),
            {"type": "actions", "elements": [button]},
        ],
    }


def _escaped(text: str) -> str:
    """Escape a message's text: https://docs.slack.dev/messaging/formatting-message-text#escaping"""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _teams(message: dict[str, Any]) -> dict[str, Any]:
    """Return an Adaptive Card for a Teams workflow. Facts are Markdown there, so its characters are escaped."""

    def literal(text: str) -> str:
        return "".join(f"\\{c}" if c in r"\`*_{}[]()#+-.!|<>~" else c for c in text)

    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [
            {"type": "TextBlock", "text": literal(_title(message)), "weight": "Bolder", "wrap": True},
            {"type": "FactSet", "facts": [{"title": t, "value": literal(v)} for t, v in _facts(message)]},
        ],
        "actions": [{"type": "Action.OpenUrl", "title": "Decide", "url": message["url"]}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "attachments": [attachment]}


_SHAPES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "webhook": lambda message: message,
    "slack": _slack,
    "teams": _teams,
}


def _mail(hook: Hook, letter: Letter, message: dict[str, Any]) -> None:
    mail = hook.mail
    assert mail is not None
    text = email.message.EmailMessage()
    text["From"], text["To"] = mail.sender, ", ".join(mail.to)
    text["Subject"] = " ".join(_title(message).split())
    text["Message-ID"] = f"<{letter.approval}.{letter.event}.{letter.hook}@weir>"
    text["Auto-Submitted"] = "auto-generated"
    lines = [f"{title}: {value}" for title, value in _facts(message)]
    text.set_content("\n".join([*lines, "", f"Decide: {message['url']}", ""]))
    context = ssl.create_default_context()
    try:
        kind = smtplib.SMTP_SSL if mail.implicit_tls else smtplib.SMTP
        options: dict[str, Any] = {"context": context} if mail.implicit_tls else {}
        with kind(mail.host, mail.port, timeout=TIMEOUT, **options) as server:
            if not mail.implicit_tls and not is_loopback(mail.host):
                server.starttls(context=context)
            if mail.user:
                server.login(mail.user, mail.password.reveal())
            server.send_message(text)
    except (smtplib.SMTPException, OSError) as error:
        raise NotSent(f"the mail server refused or did not answer ({type(error).__name__})") from None


async def _run(hook: Hook, message: dict[str, Any]) -> None:
    """Run the command with the message on standard input.

    Arguments and environment contain no text of the caller. Raises `NotSent`.
    """
    try:
        process = await asyncio.create_subprocess_exec(
            *hook.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise NotSent(f"the command cannot be started ({error.strerror})") from None
    try:
        async with asyncio.timeout(TIMEOUT):
            await process.communicate(json.dumps(message).encode())
    except TimeoutError:
        raise NotSent(f"the command did not end within {TIMEOUT:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise NotSent(f"the command ended with exit code {process.returncode}")
