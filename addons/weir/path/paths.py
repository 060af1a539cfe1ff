"""The data path: every step, in order. Read this first.

One list for each kind of traffic and phase. `weir.path.stack` walks the lists in mitmproxy's hooks; `weir.rehearsal`
walks them for ``weir explain`` and ``weir test``, and replaces steps that perform I/O by their stand-ins. To add a
step, write it in ``steps/`` and add its line here. `weir.path.step.check` refuses a list in which a step needs a state
that no earlier step adds.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mitmproxy import http
from mitmproxy.connection import Client

from weir.base.problems import Problem
from weir.mitm.arrival import Arrival
from weir.path.exchange import Exchange
from weir.path.rooms import Rooms
from weir.path.step import Paths, Step, bound, check
from weir.path.steps import (
    answer,
    approval,
    arrive,
    cors,
    credential,
    discovery,
    documents,
    identity,
    kept,
    limits,
    masking,
    messages,
    reading,
    record,
    replay,
    resume,
    routing,
    rules,
    tunnels,
)
from weir.policyset.model import PolicySet

#: The phases of each kind, in running order. For a streamed answer, the phase stream_end replaces response. For an
#: answer that opens a WebSocket, the phase open replaces response.
ORDERS = {
    "request": ("head", "request", "response_head", "response"),
    "replay": ("request", "response_head", "response"),
    "tunnel": ("request",),
}


@dataclass(frozen=True, slots=True)
class Gateway:
    """Functions of the running gateway that steps call."""

    policies: Callable[[], PolicySet | None]  # the current ones; None while the gateway takes no requests
    until_ready: Callable[[], Awaitable[None]]
    arrival: Callable[[Client, PolicySet], Arrival]
    end_upstream: Callable[[http.HTTPFlow], None]
    stream_failed: Callable[[http.HTTPFlow, Exchange, Exception], None]


def permit(policies: Callable[[], PolicySet | None], rooms: Rooms) -> messages.Permit:
    """Return the check of open WebSockets. *policies* returns the current policies, also while the gateway stops."""

    def no_longer(exchange: Exchange) -> Problem | None:
        return rooms.identity.no_longer(exchange) or rooms.access.stopped(exchange)

    return messages.Permit(policies, no_longer)


def paths(rooms: Rooms, gateway: Gateway, permitted: messages.Permit) -> Paths:
    """Return all lists of steps, bound and checked. Raises `ListError` if a list is invalid."""
    arrives = arrive.Arrive(gateway.policies, gateway.arrival)
    judges = rules.JudgeRequest(rooms.access)
    resumes = resume.Resume(gateway.policies, rooms.identity, rooms.access, judges)
    #: Once the connection is known: for requests in the phase head, for replays in the phase request.
    routed: list[Step] = [
        identity.Present(),
        identity.Identify(rooms.identity),
        rooms.access,
    ]
    head: list[Step] = [
        arrives,
        routing.CheckHead(),
        routing.Route(),
        cors.AllowOrigin(),
        *routed,
    ]
    request: list[Step] = [
        reading.CheckWhole(),
        record.Recordable(rooms.recorder),
        cors.AnswerPreflight(),
        identity.Authenticate(rooms.identity),
        documents.OwnDocuments(rooms.state, rooms.approvals),
        rules.AccessAgain(rooms.access),
        resumes,
        reading.Match(),
        discovery.RefuseDiscovery(),
        reading.Decode(),
        reading.ReadCall(),
        judges,
        limits.TakeLimits(rooms.limits),
        kept.FindKept(rooms.approvals),
        approval.ApproveRequest(rooms.approvals),
        limits.EnterBreaker(rooms.limits),
        masking.MaskRequest(),
        routing.WriteHead(),
        replay.MarkReplay(rooms.replay),
        record.CopyRequest(),
        kept.DeliverKept(),
        record.RecordIntent(rooms.records),
        credential.InjectCredential(),
    ]
    response_head: list[Step] = [
        answer.RefuseInformational(gateway.end_upstream),
        answer.StreamAnswer(gateway.stream_failed),
        record.RecordStream(rooms.records),
        answer.DeliverStream(),
    ]
    response: list[Step] = [
        answer.ReadAnswer(),
        credential.ScrubAnswer(),
        discovery.ReplaceAddresses(),
        resumes,
        reading.ReadRanking(),
        limits.SettleLimits(rooms.limits),
        rules.JudgeAnswer(),
        approval.ApproveAnswer(rooms.approvals),
        masking.MaskAnswer(),
        answer.WriteAnswer(),
    ]
    stream_end: list[Step] = [answer.ReadStreamed(), reading.ReadRanking(), limits.SettleLimits(rooms.limits)]
    tunnel: list[Step] = [
        arrives,
        tunnels.ReadConnect(),
        identity.Present(),
        identity.Identify(rooms.identity),
        identity.Authenticate(rooms.identity),
        tunnels.OpenTunnel(),
    ]
    recorded: list[Step] = [
        arrive.UntilReady(gateway.until_ready),
        arrives,
        routing.CheckHead(),
        routing.RouteRecorded(),
        *routed,
        *request,
    ]
    message: list[Step] = [
        permitted,
        messages.ScrubMessage(),
        messages.MaskMessage(),
        messages.RecordMessage(rooms.records),
    ]
    lists: dict[tuple[str, str], list[Step]] = {
        ("request", "head"): head,
        ("request", "request"): request,
        ("request", "response_head"): response_head,
        ("request", "response"): response,
        ("request", "stream_end"): stream_end,
        ("request", "open"): [answer.OpenWebSocket(), limits.SettleLimits(rooms.limits)],
        ("replay", "request"): recorded,
        ("replay", "response_head"): response_head,
        ("replay", "response"): response,
        ("replay", "stream_end"): stream_end,
        ("tunnel", "request"): tunnel,
        ("websocket", "message"): message,
        ("websocket", "end"): [messages.MaskRest(), messages.RecordMessage(rooms.records)],
    }
    found = {key: bound(steps) for key, steps in lists.items()}
    for kind, phases in ORDERS.items():
        for last in ("response", "stream_end", "open"):
            order = [last if phase == "response" else phase for phase in phases]
            if all((kind, phase) in found for phase in order):
                check(found, {kind: order})
    check(found, {"websocket": ("message", "end")}, (messages.Heard,))
    return found
