"""The data dictionary: one sentence for each view of the index and each of its columns.

The database has the same sentences as comments.
"""

_CALLER = {
    "connection": "Name of the connection; NULL if no connection matched.",
    "user": "Subject (sub) of the caller.",
    "issuer": "Issuer (iss) of the caller's token.",
}
_REQUEST = {
    "request_id": "UUIDv7 of the request, as in X-Request-Id.",
    "time": "Time at which the request arrived, UTC.",
    **_CALLER,
}
_OPERATION = "Operation according to the profile: rerank, search, write, …"
_MODEL = "Name of the model in the request."
_DOCUMENTS = "Number of documents in the request."
_PATH = "Path as sent to the service, masked and without the query."
_POLICY_VERSION = "SHA-256 of the settings that decided."
_QUERY_DIGEST = "Keyed digest of the query."
_SESSION_ID = (
    "X-Session-Id with a suffix for the caller, or an id that changes after 30 minutes without requests of the caller "
    "on the connection."
)

#: The description of each view, and those of its columns.
VIEWS: dict[str, tuple[str, dict[str, str]]] = {
    "flows": (
        "One row per finished request, allowed or refused, and one per WebSocket message.",
        {
            "version": "Version of the journal line's columns.",
            **_REQUEST,
            "duration_ms": "Milliseconds from the request's head to the record.",
            "upstream_ms": "Milliseconds from sending the request upstream to the record; NULL if it was not sent.",
            "worker": "Id of the gateway process.",
            "segment": "Name of the .mitm file with the flow, below segments/ and without its suffix.",
            "offset": "Position of the flow in that file, in bytes.",
            "length": "Length of the flow in bytes.",
            "sha256": "SHA-256 of the flow's bytes.",
            "session_id": _SESSION_ID,
            "groups": "Groups of the caller.",
            "token_id": "The token's jti, or the id of the API key.",
            "client_ip": "IP address of the caller.",
            "client_request_id": "X-Request-Id that the caller sent.",
            "method": "HTTP method.",
            "path": _PATH,
            "operation": _OPERATION,
            "model": _MODEL,
            "documents": _DOCUMENTS,
            "top_n": "Number of results that the request asks for.",
            "indexes": "Names of the indexes in the request.",
            "tokens": "Number of tokens used, according to the answer.",
            "request_bytes": "Size of the request body as received, in bytes.",
            "response_bytes": "Size of the response body as recorded, in bytes.",
            "status": "HTTP status that the caller received; 0 if there was no answer.",
            "upstream_status": "HTTP status that the service returned; NULL if the request was not sent.",
            "effect": "Enforced effect: allow, deny, limit or require_approval.",
            "rule": "Name of the rule that decided.",
            "message": "Message of the rule, the approvers, or the detail of the refusal.",
            "decision_id": "Id of the decision, as in the problem document.",
            "policy_version": _POLICY_VERSION,
            "rule_file": "File that contains the rule.",
            "rule_line": "Line of the rule in that file.",
            "shadow": "Names of the shadow rules that matched.",
            "shadow_effect": "Effect that would have been enforced if the shadow rules counted.",
            "trace": "Every clause of the evaluated rules, with the value that it saw.",
            "approvals": "Ids of the approvals that the request used or waited for.",
            "problem": "Problem type of the refusal; NULL if the request was allowed.",
            "replay": "Kind of replay: request or response; NULL if nothing was replayed.",
            "error": "Error message if the request ended without an answer.",
            "websocket": "request_id of the handshake, for WebSocket messages and for the end of a WebSocket.",
            "query_digest": _QUERY_DIGEST,
            "request_digest": "Keyed digest of the recorded request body, with bodies: digest.",
            "response_digest": "Keyed digest of the recorded response body, with bodies: digest.",
            "masked_request": "True if masks changed the recorded request.",
            "masked": "Number of replaced values per mask and per field or kind.",
            "results": "The ranking in order: index, score and keyed digest of each document.",
            "dropped_headers": "Names of the caller's headers that the service did not receive, at most 20.",
        },
    ),
    "intents": (
        "One row per request that was about to be sent or streamed and has no recorded end yet.",
        {
            **_REQUEST,
            "worker": "Id of the gateway process.",
            "session_id": _SESSION_ID,
            "method": "HTTP method.",
            "path": _PATH,
            "operation": _OPERATION,
            "model": _MODEL,
            "documents": _DOCUMENTS,
            "rule": "Name of the rule that decided.",
            "effect": "Enforced effect.",
            "approvals": "Ids of the approvals that the request used.",
            "policy_version": _POLICY_VERSION,
            "segment": "Name of the segment with the journal line.",
        },
    ),
    "sessions": (
        "One row per session.",
        {
            "session_id": _SESSION_ID,
            **_CALLER,
            "started": "Time of the first request, UTC.",
            "ended": "Time of the last request, UTC.",
            "seconds": "Seconds from the first request to the last.",
            "requests": "Number of requests.",
            "refused": "Number of refused requests.",
            "documents": "Number of documents in all requests.",
            "bytes": "Size of all request and response bodies in bytes.",
        },
    ),
    "rankings": (
        "One row per ranked result.",
        {
            "request_id": _REQUEST["request_id"],
            "time": _REQUEST["time"],
            "connection": _CALLER["connection"],
            "user": _CALLER["user"],
            "model": _MODEL,
            "query_digest": _QUERY_DIGEST,
            "rank": "Rank of the result; the first has 1.",
            "index": "Position of the document in the request, from 0; NULL for searches.",
            "score": "Score that the service returned.",
            "document": "Keyed digest of the document as sent, or of a search result's index and id.",
        },
    ),
    "violations": (
        "One row per rule or limit that refused a request, or would have refused it.",
        {
            "request_id": _REQUEST["request_id"],
            "time": _REQUEST["time"],
            "connection": _CALLER["connection"],
            "user": _CALLER["user"],
            "rule": "Name of the rule or limit.",
            "effect": "Effect of the rule: deny, limit or require_approval.",
            "problem": "Problem type of the refusal.",
            "message": "Message that the caller received.",
            "enforced": "False for a shadow rule.",
        },
    ),
    "masked_fields": (
        "One row per request and mask, and per field or kind with replaced values.",
        {
            "request_id": _REQUEST["request_id"],
            "time": _REQUEST["time"],
            "connection": _CALLER["connection"],
            "path": "Field that the mask names.",
            "strategy": "Strategy that replaced the values.",
            "count": "Number of replaced values.",
            "kind": "Kind of value that was recognised.",
            "rule": "The mask: masks[0] is the first mask of the connection.",
        },
    ),
    "approvals": (
        "One row per approval, with its present state.",
        {
            "approval_id": "Id of the approval, as callers and reviewers see it.",
            "changed": "Number of its last change.",
            "worker": "Id of the process that wrote the row.",
            "kind": "Kind of approval: request, response or access.",
            "outcome": "State of the approval: pending, approved, denied, expired, withdrawn, used, ended.",
            "asked": "Time of the approval request, UTC.",
            "decided": "Time of the decision, UTC.",
            "latency": "Seconds from the approval request to the decision.",
            "decided_by": "Reviewers whose votes decided.",
            "reason": "Reason that the reviewers gave.",
            "break_glass": "True if a reviewer broke the glass.",
            "connection": _CALLER["connection"],
            "issuer": "Issuer (iss) of the requester's token.",
            "user": "Subject (sub) of the requester.",
            "operation": _OPERATION,
            "documents": _DOCUMENTS,
            "rules": "Names of the rules that required the approval.",
            "request_id": "Id of the request that waited.",
            "used_by": "Id of the request that used the approval.",
            "used": "Time at which the approval was used, UTC.",
            "until": "End of the access window, UTC.",
            "asked_because": "Reason that the requester gave.",
        },
    ),
    "events": (
        "One row per action on the gateway, and per access to its recordings.",
        {
            "time": "Time of the event, UTC.",
            "worker": "Id of a gateway process, admin, or command.",
            "kind": "Kind of event.",
            "who": "Who caused the event.",
            "subject": "Object of the action.",
            "old": "Policy version before the event.",
            "new": "Policy version after the event.",
            "message": "More details.",
        },
    ),
    "metrics_violations": (
        "Share of requests that a rule or limit refused, per connection and day.",
        {
            "connection": "Name of the connection.",
            "day": "Day, UTC.",
            "requests": "Number of requests.",
            "violations": "Number of requests that a rule or limit refused.",
            "rate": "violations / requests.",
        },
    ),
    "metrics_sessions": (
        "Length of sessions, per connection and day.",
        {
            "connection": "Name of the connection.",
            "day": "Day on which the sessions started, UTC.",
            "sessions": "Number of sessions.",
            "requests": "Average number of requests in a session.",
            "p50_seconds": "Median length in seconds.",
            "p95_seconds": "95th percentile of the length in seconds.",
        },
    ),
    "metrics_masking": (
        "Share of requests in which masks replaced values, per connection and day.",
        {
            "connection": "Name of the connection.",
            "day": "Day, UTC.",
            "requests": "Number of requests.",
            "masked_requests": "Number of requests with replaced values.",
            "coverage": "masked_requests / requests.",
            "masked_values": "Number of replaced values.",
        },
    ),
    "metrics_approvals": (
        "Time that reviewers take, per rule and day.",
        {
            "rule": "Name of the rule that required the approvals.",
            "day": "Day on which the approvals were requested, UTC.",
            "asked": "Number of requested approvals.",
            "decided": "Number of decided approvals.",
            "p50_latency": "Median latency in seconds.",
            "p95_latency": "95th percentile of the latency in seconds.",
        },
    ),
}
