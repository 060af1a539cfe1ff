"""Every refusal that Weir sends, each with an RFC 9457 problem type. No other code may refuse.

A problem states the mistake and the next action. It never contains the upstream's address, a credential or a token. A
room raises `Refusal`; Stack turns it into the answer.
"""

from dataclasses import dataclass, field, replace
from enum import Enum

import msgspec
from mitmproxy import http


class Kind(Enum):
    """A problem type: its status and title. Its URI is ``urn:weir:problem:<name>``."""

    APPROVAL_ACCEPTED = (202, "Approval asked for")
    MALFORMED_REQUEST = (400, "Malformed request")
    AMBIGUOUS_REQUEST = (400, "Ambiguous request")
    UNREADABLE_BODY = (400, "Unreadable body")
    TWO_CREDENTIALS = (400, "Two credentials")
    CREDENTIALS_REQUIRED = (401, "Credentials required")
    INVALID_TOKEN = (401, "Invalid token")
    REVOKED = (401, "Revoked")
    ACCESS_DENIED = (403, "Access denied")
    DENIED_BY_RULE = (403, "Denied by rule")
    APPROVAL_REQUIRED = (403, "Approval required")
    APPROVAL_PENDING = (403, "Approval pending")
    APPROVAL_DENIED = (403, "Approval denied")
    UNKNOWN_OPERATION = (403, "Unknown operation")
    DISCOVERY_REFUSED = (403, "Discovery refused")
    REPLAY_REFUSED = (403, "Replay refused")
    UNKNOWN_DESTINATION = (403, "Unknown destination")
    DESTINATION_FORBIDDEN = (403, "Destination forbidden")
    UNKNOWN_CONNECTION = (404, "Unknown connection")
    UNKNOWN_APPROVAL = (404, "Unknown approval")
    NOT_RECORDED = (404, "Not recorded")
    CONNECT_REFUSED = (405, "CONNECT refused")
    REQUEST_TIMEOUT = (408, "Request timeout")
    REQUEST_TOO_LARGE = (413, "Request too large")
    TARGET_TOO_LONG = (414, "Target too long")
    MISDIRECTED = (421, "Misdirected")
    UNSUPPORTED_CONTENT = (415, "Unsupported content")
    HEAD_TOO_LARGE = (431, "Request head too large")
    RATE_LIMITED = (429, "Rate limited")
    TOO_MANY_HELD = (429, "Too many held")
    NOT_POSSIBLE = (409, "Not possible")
    WITHDRAWN = (499, "Withdrawn")
    UPSTREAM_UNREACHABLE = (502, "Upstream unreachable")
    UPSTREAM_UNREADABLE = (502, "Upstream unreadable")
    RESPONSE_TOO_LARGE = (502, "Response too large")
    OVERLOADED = (503, "Overloaded")
    STOPPED = (503, "Stopped")
    CIRCUIT_OPEN = (503, "Circuit open")
    GATEWAY_NOT_READY = (503, "Gateway not ready")
    GATEWAY_ERROR = (503, "Gateway error")
    MASK_CHANGES_FACT = (503, "Mask changes a judged fact")
    IDENTITY_UNAVAILABLE = (503, "Identity provider unavailable")
    STATE_UNAVAILABLE = (503, "State unavailable")
    APPROVALS_FULL = (503, "Approvals full")
    LIMITS_UNAVAILABLE = (503, "Limits unavailable")
    RECORDER_UNAVAILABLE = (503, "Recorder unavailable")

    def __init__(self, status: int, title: str) -> None:
        self.status = status
        self.title = title

    @property
    def slug(self) -> str:
        """The name in the type's URI: ``access-denied``."""
        return self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Problem:
    """One refusal: its kind, the next action for the caller, and the rule that caused it."""

    kind: Kind
    detail: str
    rule: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=())
    members: tuple[tuple[str, str], ...] = field(default=())  # more of the document (RFC 9457, 3.2)
    proxied: bool = False  # sent by an explicit proxy: 401 becomes 407

    @property
    def status(self) -> int:
        """The HTTP status."""
        return 407 if self.proxied and self.kind.status == 401 else self.kind.status

    def body(self, request_id: str, decision_id: str = "") -> bytes:
        """Return the ``application/problem+json`` document.

        ``message`` and ``error`` repeat the detail where vendors' SDKs look for it (Cohere reads ``message``, OpenAI's
        shape is ``error.message``).
        """
        document: dict[str, object] = {
            "type": f"urn:weir:problem:{self.kind.slug}",
            "title": self.kind.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if decision_id:
            document["decision_id"] = decision_id
        if self.rule:
            document["rule"] = self.rule
        document.update(self.members)
        document["message"] = self.detail
        document["error"] = {"message": self.detail, "type": self.kind.slug, "code": self.status}
        return msgspec.json.encode(document)

    def response(self, request_id: str, decision_id: str = "") -> http.Response:
        """Return the problem as mitmproxy's response."""
        response = http.Response.make(self.status, self.body(request_id, decision_id), http.Headers())
        response.headers["Content-Type"] = "application/problem+json"
        response.headers["Cache-Control"] = "no-store"
        for name, value in self.headers:
            response.headers.add(name, value)
        response.headers["X-Request-Id"] = request_id
        return response

    def with_headers(self, *headers: tuple[str, str]) -> "Problem":
        """Return the same problem with additional response headers."""
        return replace(self, headers=(*self.headers, *headers))


class Refusal(Exception):
    """A room refuses the current exchange."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        rule: str = "",
        headers: tuple[tuple[str, str], ...] = (),
        members: tuple[tuple[str, str], ...] = (),
        proxied: bool = False,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(kind, detail, rule, headers, members, proxied)

    @classmethod
    def of(cls, problem: Problem) -> "Refusal":
        """Return a refusal with exactly *problem*."""
        refusal = cls(problem.kind, problem.detail)
        refusal.problem = problem
        return refusal


def gateway_error() -> Problem:
    """Return the problem for a failure inside the gateway. It does not give the caller the reason."""
    return Problem(
        Kind.GATEWAY_ERROR,
        "The gateway failed while handling this request and refused it. "
        "Give the request id to the gateway's operator; the log has details.",
    )
