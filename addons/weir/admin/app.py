"""The HTTP API of ``weir admin``: JSON requests and responses, described at ``/openapi.json``.

Every request needs a token of a trusted issuer in ``Authorization: Bearer``. The API uses no cookie, and nothing else
that a browser sends automatically, so no other site can act for a reviewer. Requests from other sites are refused as
well. Refusals use the gateway's own problem types.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, get_args
from urllib.parse import urlsplit

import msgspec
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from weir.admin.desk import Desk, NotFound
from weir.approvals.lifecycle import NotPossible
from weir.approvals.model import Approval, Person, State
from weir.auth.holder import holder
from weir.auth.jws import TokenError, check_form
from weir.auth.presented import TwoCredentials, find_token
from weir.auth.refresher import KeysUnavailable
from weir.base.alarms import alarm
from weir.base.identifiers import Uuid7
from weir.base.problems import Kind, Problem, Refusal, gateway_error
from weir.policyset.model import PolicySet
from weir.state.database import TooManyOpen
from weir.state.watcher import StateUnavailable, Watcher

LARGEST_BODY = 16_384
#: Maximum seconds that a list waits for a change.
LONGEST_WAIT = 30
_STATES = get_args(State)

Endpoint = Callable[[Request, Person], Awaitable[Any]]


class Decision(msgspec.Struct, forbid_unknown_fields=True):
    """A decision's reason. Denying and breaking the glass need one."""

    reason: Annotated[str, msgspec.Meta(max_length=2000)] = ""
    break_glass: bool = False


class AccessRequest(msgspec.Struct, forbid_unknown_fields=True):
    """A request for access to a connection for a number of seconds."""

    connection: str
    seconds: int
    reason: Annotated[str, msgspec.Meta(max_length=2000)]


class Api:
    """The endpoints. *policies* returns the present policies."""

    def __init__(self, policies: Callable[[], PolicySet], state: Watcher, desk: Desk) -> None:
        self._policies = policies
        self._state = state
        self._desk = desk
        self._new_id = Uuid7()
        self._news = asyncio.Event()
        self._closing = False

    def changed(self, approvals: list[Approval]) -> None:
        """Answer the requests that wait for a change, because *approvals* have changed."""
        news, self._news = self._news, asyncio.Event()
        news.set()

    def close(self) -> None:
        """Answer the requests that wait for a change, because the process ends."""
        self._closing = True
        self._news.set()

    def app(self) -> Starlette:
        """Return the ASGI application."""
        return Starlette(
            routes=[
                Route("/healthz", self._health),
                Route("/openapi.json", self._openapi),
                Route("/approvals/{id}", _page),
                Route("/v1/approvals", self._guarded(self._list)),
                Route("/v1/approvals/{id}", self._guarded(self._show)),
                Route("/v1/approvals/{id}/approve", self._guarded(self._approve), methods=["POST"]),
                Route("/v1/approvals/{id}/deny", self._guarded(self._deny), methods=["POST"]),
                Route("/v1/approvals/{id}/revoke", self._guarded(self._revoke), methods=["POST"]),
                Route("/v1/access", self._guarded(self._ask_access), methods=["POST"]),
            ]
        )

    # Endpoints.

    async def _health(self, request: Request) -> Response:
        try:
            self._state.snapshot()
        except StateUnavailable:
            return _json({"status": "the shared state cannot be read"}, 503)
        return _json({"status": "ok"})

    async def _openapi(self, request: Request) -> Response:
        return _json(description(self._policies().admin.url))

    async def _list(self, request: Request, person: Person) -> Any:
        state = request.query_params.get("state", "")
        if state and state not in _STATES:
            raise Refusal(Kind.MALFORMED_REQUEST, f"The parameter state must be one of {', '.join(_STATES)}.")
        after, wait = _number(request, "after"), min(_number(request, "wait"), LONGEST_WAIT)
        news = self._news
        if wait and not self._closing and after >= await self._state.run(lambda store: store.last_change()):
            try:
                async with asyncio.timeout(wait):
                    await news.wait()
            except TimeoutError:
                pass
        cursor = await self._state.run(lambda store: store.last_change())
        found = await self._desk.list(self._policies(), person, state or None, after)  # type: ignore[arg-type]
        shown = [await self._desk.shown(self._policies(), a, person, differences=False) for a in found]
        return {"approvals": shown, "cursor": cursor}

    async def _show(self, request: Request, person: Person) -> Any:
        policies = self._policies()
        approval = await self._desk.get(policies, person, request.path_params["id"])
        differences = request.query_params.get("changes") == "true"
        return await self._desk.shown(policies, approval, person, differences=differences)

    async def _approve(self, request: Request, person: Person) -> Any:
        return await self._decide(request, person, yes=True)

    async def _deny(self, request: Request, person: Person) -> Any:
        return await self._decide(request, person, yes=False)

    async def _decide(self, request: Request, person: Person, *, yes: bool) -> Any:
        decision = await _body(request, Decision)
        policies = self._policies()
        if len(request.path_params["id"]) < 36:
            raise NotFound("a decision needs the whole id of the approval")
        after = await self._desk.decide(
            policies, person, request.path_params["id"], yes=yes, reason=decision.reason,
            break_glass=decision.break_glass,
        )  # fmt: skip
        return await self._desk.shown(policies, after, person, differences=False)

    async def _revoke(self, request: Request, person: Person) -> Any:
        policies = self._policies()
        after = await self._desk.revoke(policies, person, request.path_params["id"])
        return await self._desk.shown(policies, after, person, differences=False)

    async def _ask_access(self, request: Request, person: Person) -> Any:
        asked = await _body(request, AccessRequest)
        policies = self._policies()
        approval = await self._desk.ask_access(policies, person, asked.connection, asked.seconds, asked.reason)
        return await self._desk.shown(policies, approval, person, differences=False)

    # Authentication and refusals.

    def _guarded(self, endpoint: Endpoint) -> Callable[[Request], Awaitable[Response]]:
        async def call(request: Request) -> Response:
            request_id = self._new_id()
            try:
                return _json(await endpoint(request, await self._person(request)))
            except Refusal as refusal:
                problem = refusal.problem
            except NotFound as error:
                problem = Problem(Kind.UNKNOWN_APPROVAL, f"{_sentence(error)}")
            except NotPossible as error:
                problem = Problem(Kind.NOT_POSSIBLE, f"Refused: {error}.")
            except TooManyOpen:
                problem = Problem(Kind.TOO_MANY_HELD, "Too many of your requests are not decided yet.")
            except StateUnavailable:
                problem = Problem(Kind.STATE_UNAVAILABLE, "The shared state cannot be asked now. Try again later.")
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:
                alarm("admin_failed", f"{type(error).__name__} in the admin API; request {request_id}")
                problem = gateway_error()
            return _problem(problem, request_id)

        return call

    async def _person(self, request: Request) -> Person:
        policies = self._policies()
        own = urlsplit(policies.admin.url)
        origin = request.headers.get("origin")
        if origin is not None and origin != f"{own.scheme}://{own.netloc}":
            raise Refusal(Kind.ACCESS_DENIED, "Requests of other sites are refused.")
        try:
            presented = find_token(request.headers.raw, frozenset())
        except TwoCredentials as error:
            raise Refusal(Kind.TWO_CREDENTIALS, f"Refused: {error}.") from None
        challenge = (("WWW-Authenticate", 'Bearer realm="weir admin"'),)
        if presented is None or presented.place != "bearer":
            raise Refusal(Kind.CREDENTIALS_REQUIRED, "Send 'Authorization: Bearer <token>'.", headers=challenge)
        try:
            check_form(presented.token)
            snapshot = self._state.snapshot()
            address = request.client.host if request.client else ""
            principal = await holder(
                policies.verifier, policies.trusts_keys, snapshot, presented.token, time.time(), address=address
            )
        except TokenError as error:
            detail = f"The token was not accepted: {error}."
            raise Refusal(Kind.INVALID_TOKEN, detail, headers=challenge) from None
        except KeysUnavailable as error:
            detail = f"The identity provider {error} cannot be asked now. Try again."
            raise Refusal(Kind.IDENTITY_UNAVAILABLE, detail) from None
        if snapshot.revoked(principal, ""):
            raise Refusal(Kind.REVOKED, "This token, its subject or its session has been revoked.", headers=challenge)
        if (stop := snapshot.personally_stopped(principal.key, (principal.sid,))) is not None:
            raise Refusal(Kind.STOPPED, f"The operator has stopped your access: {stop.reason}")
        return await self._desk.person(principal)


async def _body[T](request: Request, kind: type[T]) -> T:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refusal(Kind.UNSUPPORTED_CONTENT, "Send the body as application/json.")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > LARGEST_BODY:
            raise Refusal(Kind.REQUEST_TOO_LARGE, f"The body is larger than {LARGEST_BODY} bytes.")
    try:
        return msgspec.json.decode(bytes(data), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refusal(Kind.UNREADABLE_BODY, f"The body cannot be read: {error}.") from None


def _number(request: Request, name: str) -> int:
    text = request.query_params.get(name, "0")
    if not (text.isascii() and text.isdecimal() and len(text) <= 15):
        raise Refusal(Kind.MALFORMED_REQUEST, f"The parameter {name} must be a whole number.")
    return int(text)


async def _page(request: Request) -> Response:
    """Return the page that links in messages lead to. It only explains how to decide, because it needs no token."""
    approval_id = request.path_params["id"]
    if not (len(approval_id) == 36 and all(c in "0123456789abcdef-" for c in approval_id)):
        return PlainTextResponse("There is no approval with that id.\n", 404, _HEADERS)
    text = (
        f"Show:     weir approvals show {approval_id}\n"
        f"Approve:  weir approvals approve {approval_id}\n"
        f"Deny:     weir approvals deny {approval_id} --reason '…'\n"
    )
    return PlainTextResponse(text, 200, _HEADERS)


_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


def _json(document: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(document), status, _HEADERS, "application/json")


def _problem(problem: Problem, request_id: str) -> Response:
    headers = {**_HEADERS, "X-Request-Id": request_id, **dict(problem.headers)}
    return Response(problem.body(request_id), problem.status, headers, "application/problem+json")


def _sentence(error: Exception) -> str:
    text = str(error)
    return f"{text[:1].upper()}{text[1:]}."


def description(url: str) -> dict[str, Any]:
    """Return the OpenAPI description of the API."""
    (decision, access), components = msgspec.json.schema_components(
        [Decision, AccessRequest], ref_template="#/components/schemas/{name}"
    )
    approval = {"type": "object", "description": "An approval. `shown` is masked, inert text; `cut` names shortened members."}  # fmt: skip  # noqa: E501
    answers = {
        "200": {"description": "Done.", "content": {"application/json": {"schema": approval}}},
        "default": {
            "description": "Refused (RFC 9457).",
            "content": {"application/problem+json": {"schema": {"type": "object"}}},
        },
    }
    one = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]

    def query(name: str, kind: str, text: str) -> dict[str, Any]:
        return {"name": name, "in": "query", "schema": {"type": kind}, "description": text}

    def post(summary: str, schema: dict[str, Any] | None, parameters: list[dict[str, Any]]) -> dict[str, Any]:
        body = {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
        return {
            "post": {"summary": summary, "parameters": parameters, "responses": answers, **(body if schema else {})}
        }

    listing = [
        query("state", "string", f"One of {', '.join(_STATES)}. Default: all."),
        query("after", "integer", "The `cursor` of an earlier answer. Lists only approvals that have changed since."),
        query("wait", "integer", f"Seconds to wait for a change, at most {LONGEST_WAIT}."),
    ]
    showing = [*one, query("changes", "boolean", "Ask the service for the stored data that a write would change.")]
    return {
        "openapi": "3.1.0",
        "info": {"title": "Weir admin", "version": "1", "description": "Approvals and access windows."},
        "servers": [{"url": url}],
        "security": [{"token": []}],
        "paths": {
            "/v1/approvals": {"get": {"summary": "List approvals.", "parameters": listing, "responses": answers}},
            "/v1/approvals/{id}": {
                "get": {"summary": "Show an approval.", "parameters": showing, "responses": answers}
            },
            "/v1/approvals/{id}/approve": post("Approve.", decision, one),
            "/v1/approvals/{id}/deny": post("Deny.", decision, one),
            "/v1/approvals/{id}/revoke": post("End a reusable approval or an access window.", None, one),
            "/v1/access": post("Request access to a connection.", access, []),
        },
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }
