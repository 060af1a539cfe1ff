"""Stream shapes of vendors and frameworks, written from their documentation, and hostile shapes. Data only, no tests.

A shape defines how a service sends a text in pieces (`told`) and how its client joins the text (`read`). `read` is a
client: it joins the pieces in the order of arrival and takes the last of cumulative strings. If the service also
repeats the whole text, or sends it several times side by side, `read` returns the text if all copies are equal, else
all of them, so that a comparison fails.

For the forms ``events`` and ``lines``, `read` joins its units before it parses them, so one unit with the whole body is
equivalent to many. Pieces contain no carriage return, because events of plain text cannot express one.
"""

import json
import random
import re
import string
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Literal

Form = Literal["events", "lines", "messages"]
Told = Callable[[list[str]], list[bytes]]
Read = Callable[[list[bytes]], str]


@dataclass(frozen=True)
class StreamShape:
    """How one operation of one service streams a text.

    ``form``: server-sent events, newline-delimited JSON, or the messages that a service sends over a WebSocket.
    ``told``: the stream in units: an event with its blank line, a line with its newline, or a message.
    ``read``: the text, from units of the same form, before or after masking.
    ``profile`` and ``path``: the built-in profile of the operation, and its path; None if no profile has it.
    ``hostile``: not from a vendor; ``source`` names the difficulty.
    """

    name: str
    vendor: str
    source: str
    form: Form
    told: Told
    read: Read
    profile: str | None = None
    path: str | None = None
    hostile: bool = False


SHAPES: list[StreamShape] = []


def _shape(
    name: str,
    vendor: str,
    source: str,
    read: Read,
    *,
    form: Form = "events",
    profile: str | None = None,
    path: str | None = None,
) -> Callable[[Told], Told]:
    def add(told: Told) -> Told:
        SHAPES.append(StreamShape(name, vendor, source, form, told, read, profile, path))
        return told

    return add


def _hostile(name: str, source: str, read: Read, *, form: Form = "events") -> Callable[[Told], Told]:
    def add(told: Told) -> Told:
        SHAPES.append(StreamShape(f"hostile-{name}", "none", source, form, told, read, hostile=True))
        return told

    return add


# Writing.


def dense(document: Any) -> str:
    """JSON without spaces and escapes, as most services write it."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def spaced(document: Any) -> str:
    """JSON as Python's ``json.dumps`` writes it, with escapes."""
    return json.dumps(document)


def event(
    document: Any, name: str = "", *, ident: str = "", spell: Callable[[Any], str] = dense, colon: str = ": "
) -> bytes:
    """One server-sent event. *colon* is ``:`` for services that write no space after it."""
    head = (f"id{colon}{ident}\n" if ident else "") + (f"event{colon}{name}\n" if name else "")
    return f"{head}data{colon}{spell(document)}\n\n".encode()


def typed(document: dict[str, Any], **more: Any) -> bytes:
    """One server-sent event with the name that its document has as ``type``."""
    return event({**document, **more}, document["type"])


DONE = b"data: [DONE]\n\n"


def line(document: Any, spell: Callable[[Any], str] = dense) -> bytes:
    """One line of newline-delimited JSON."""
    return f"{spell(document)}\n".encode()


def message(document: Any) -> bytes:
    """One message of a WebSocket."""
    return dense(document).encode()


def scatter(seed: object, length: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Return a string that looks random and is the same in every run."""
    return "".join(random.Random(str(seed)).choices(alphabet, k=length))


def uuid(seed: object) -> str:
    """Return a UUID that is the same in every run."""
    return re.sub(r"(.{8})(.{4})(.{3})(.{3})(.{12})", r"\1-\2-4\3-a\4-\5", scatter(seed, 30, "0123456789abcdef"))


def arguments(pieces: list[str]) -> list[str]:
    """Pieces of a JSON document with the text in its member ``note``, as models write tool arguments."""
    return ['{"note":"', *(json.dumps(p, ensure_ascii=False)[1:-1] for p in pieces), '"}']


def steps(pieces: list[str]) -> list[str]:
    """Each piece with everything before it."""
    return list(accumulate(pieces))


# Reading.


def events(units: list[bytes]) -> list[tuple[str, str]]:
    """Return (name, data) of each event (WHATWG HTML, 9.2.6); as many clients do, also of an unfinished last one."""
    found: list[tuple[str, str]] = []
    name, data = "", list[str]()
    for text in [*re.split(r"\r\n|\n|\r", b"".join(units).decode().removeprefix("\ufeff")), ""]:
        member, _, value = text.partition(":")
        value = value.removeprefix(" ")
        if not text:
            if data:
                found.append((name, "\n".join(data)))
            name, data = "", []
        elif member == "data":
            data.append(value)
        elif member == "event":
            name = value
    return found


def documents(units: list[bytes], form: Form) -> list[Any]:
    """The JSON documents of a stream, without the end marker ``[DONE]``."""
    if form == "messages":
        return [json.loads(unit) for unit in units]
    if form == "lines":
        return [json.loads(text) for text in b"".join(units).split(b"\n") if text.strip()]
    return [json.loads(data) for _, data in events(units) if data.strip() != "[DONE]"]


def same(texts: Iterable[str]) -> str:
    """Return the text if all *texts* are equal; else list them, so that a comparison fails."""
    different = list(dict.fromkeys(texts))
    return different[0] if len(different) == 1 else f"different texts: {different}"


def note(text: str) -> str:
    """Return the text in tool arguments, see `arguments`; the arguments themselves if they are not such a document."""
    try:
        return str(json.loads(text)["note"])
    except (ValueError, KeyError, TypeError):
        return text


Pick = Callable[[Any], str | None]


def joined(pick: Pick, *wholes: Pick, form: Form = "events", within: Callable[[str], str] = str) -> Read:
    """Read what *pick* finds in all documents, joined. Each of *wholes* must find the same."""

    def read(units: list[bytes]) -> str:
        found = documents(units, form)
        return same(within("".join(p(d) or "" for d in found)) for p in (pick, *wholes))

    return read


def last(pick: Pick, form: Form = "events") -> Read:
    """Read the last string that *pick* finds; the earlier ones are its beginnings."""

    def read(units: list[bytes]) -> str:
        return [text for d in documents(units, form) if (text := pick(d))][-1]

    return read


def in_choices(*path: str) -> Pick:
    """Find the text at *path* in the only choice of a document."""

    def pick(document: Any) -> str | None:
        for choice in document.get("choices", []):
            return at(choice, *path)
        return None

    return pick


def at(document: Any, *path: str | int) -> Any:
    """Return the value at *path* in a document, or None."""
    for step in path:
        if isinstance(step, int):
            document = document[step] if isinstance(document, list) and len(document) > step else None
        else:
            document = document.get(step) if isinstance(document, dict) else None
    return document


def place(*path: str | int) -> Pick:
    """Find the text at *path*."""
    return lambda document: at(document, *path)


def of_type(kind: str, *path: str | int, member: str = "type") -> Pick:
    """Find the text at *path* in documents of one type."""
    return lambda document: at(document, *path) if at(document, member) == kind else None


# OpenAI.

_CHAT = "https://platform.openai.com/docs/api-reference/chat-streaming/streaming"
_RESPONSES = "https://platform.openai.com/docs/api-reference/responses-streaming"
_REALTIME = "https://platform.openai.com/docs/api-reference/realtime-server-events"


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """A document of an OpenAI chat stream, without members that only OpenAI adds; *more* follows the choice."""
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    head = {"id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT", "object": "chat.completion.chunk", "created": 1741569952}
    return {**head, "model": "gpt-5-mini", "choices": [choice], **more}


def _usage(pieces: list[str]) -> dict[str, int]:
    return {"prompt_tokens": 19, "completion_tokens": len(pieces), "total_tokens": 19 + len(pieces)}


def _openai_chat(
    pieces: list[str], first: dict[str, Any], deltas: Iterable[dict[str, Any]], finish: str
) -> list[bytes]:
    own = {"service_tier": "default", "system_fingerprint": "fp_44709d6fcb", "usage": None}
    chunks = [chunk({"role": "assistant", **first}), *map(chunk, deltas), chunk({}, finish)]
    details = {
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0, "accepted_prediction_tokens": 0},
    }
    told = [event(c | own | {"obfuscation": scatter(("chat", i), 2 + i * 5 % 13)}) for i, c in enumerate(chunks)]
    end = chunk({}) | own | {"choices": [], "usage": _usage(pieces) | details, "obfuscation": scatter("end", 6)}
    return [*told, event(end), DONE]


@_shape("openai-chat", "OpenAI", _CHAT, joined(in_choices("delta", "content")), profile="openai", path="/v1/chat/completions")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return _openai_chat(pieces, {"content": "", "refusal": None}, ({"content": p} for p in pieces), "stop")


@_shape("openai-chat-refusal", "OpenAI", _CHAT, joined(in_choices("delta", "refusal")), profile="openai", path="/v1/chat/completions")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return _openai_chat(pieces, {"content": None, "refusal": ""}, ({"refusal": p} for p in pieces), "stop")


def _called(document: Any) -> str | None:
    return "".join(
        call["function"].get("arguments") or ""
        for choice in document["choices"]
        for call in choice["delta"].get("tool_calls") or []
    )


@_shape("openai-chat-tool-calls", "OpenAI", _CHAT, joined(_called, within=note), profile="openai", path="/v1/chat/completions")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    call = {"index": 0, "id": "call_DdmO9pD3xa9XTPNJ32zg2hcA", "type": "function"}
    first = {"content": None, "tool_calls": [{**call, "function": {"name": "save_note", "arguments": ""}}], "refusal": None}  # fmt: skip
    rest = ({"tool_calls": [{"index": 0, "function": {"arguments": a}}]} for a in arguments(pieces))
    return _openai_chat(pieces, first, rest, "tool_calls")


@_shape("openai-chat-function-call", "OpenAI", _CHAT, joined(in_choices("delta", "function_call", "arguments"), within=note), profile="openai", path="/v1/chat/completions")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    first = {"content": None, "function_call": {"name": "save_note", "arguments": ""}, "refusal": None}
    return _openai_chat(
        pieces, first, ({"function_call": {"arguments": a}} for a in arguments(pieces)), "function_call"
    )


@_shape("openai-chat-logprobs", "OpenAI", _CHAT, joined(in_choices("delta", "content")), profile="openai", path="/v1/chat/completions")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    told = [event(chunk({"role": "assistant", "content": "", "refusal": None}, service_tier="default", system_fingerprint="fp_44709d6fcb"))]  # fmt: skip
    for i, piece in enumerate(pieces):
        token = {"token": piece, "logprob": -0.25 - i / 64, "bytes": list(piece.encode())}
        document = chunk({"content": piece}, service_tier="default", system_fingerprint="fp_44709d6fcb")
        document["choices"][0]["logprobs"] = {"content": [{**token, "top_logprobs": [token]}], "refusal": None}
        told.append(event(document))
    return [*told, event(chunk({}, "stop", service_tier="default", system_fingerprint="fp_44709d6fcb")), DONE]


@_shape("openai-completions", "OpenAI", "https://platform.openai.com/docs/api-reference/completions/create", joined(in_choices("text")), profile="openai", path="/v1/completions")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(text: str, finish: str | None = None) -> bytes:
        choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": finish}
        head = {"id": "cmpl-7iA7iJjj8V2zOkCGvWF2hAkWALkad", "object": "text_completion", "created": 1690759702}
        return event({**head, "choices": [choice], "model": "gpt-3.5-turbo-instruct"})

    return [*map(told, pieces), told("", "stop"), DONE]


def _response(status: str, output: list[Any]) -> dict[str, Any]:
    return {
        "id": "resp_67c9fdcecf488190bdd9a0409de3a1ec07b8b0ad4e5eb654", "object": "response", "created_at": 1741290958,
        "status": status, "error": None, "incomplete_details": None, "instructions": "You are a helpful assistant.",
        "max_output_tokens": None, "model": "gpt-5-mini", "output": output, "parallel_tool_calls": True,
        "previous_response_id": None, "reasoning": {"effort": None, "summary": None}, "store": True, "temperature": 1.0,
        "text": {"format": {"type": "text"}}, "tool_choice": "auto", "tools": [], "top_p": 1.0, "truncation": "disabled",
        "usage": None if status == "in_progress" else {
            "input_tokens": 37, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 11,
            "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 48,
        },
        "user": None, "metadata": {},
    }  # fmt: skip


def _responses(begun: list[dict[str, Any]], item: dict[str, Any], blank: dict[str, Any]) -> list[bytes]:
    """A stream of the Responses API: *begun* comes between the item's addition (*blank*) and its end."""
    where = {"output_index": 0}
    told = [
        {"type": "response.created", "response": _response("in_progress", [])},
        {"type": "response.in_progress", "response": _response("in_progress", [])},
        {"type": "response.output_item.added", **where, "item": blank},
        *begun,
        {"type": "response.output_item.done", **where, "item": item},
        {"type": "response.completed", "response": _response("completed", [item])},
    ]
    return [typed(document, sequence_number=n) for n, document in enumerate(told)]


_MSG = "msg_67c9fdcf37fc8190ba82116e33fb28c507b8b0ad4e5eb654"


def _response_part(pieces: list[str], kind: str, member: str, delta: str, done: str) -> list[bytes]:
    """A message with one part, with its text in *member*."""
    where = {"item_id": _MSG, "output_index": 0, "content_index": 0}
    text = kind == "output_text"
    more: dict[str, Any] = {"annotations": [], "logprobs": []} if text else {}
    whole = "".join(pieces)
    part = {"type": kind, member: whole, **more}
    item = {"id": _MSG, "type": "message", "status": "completed", "role": "assistant", "content": [part]}
    begun = [
        {"type": "response.content_part.added", **where, "part": {"type": kind, member: "", **more}},
        *(
            {"type": delta, **where, "delta": p, **({"logprobs": []} if text else {}), "obfuscation": scatter((kind, i), 1 + i * 7 % 16)}
            for i, p in enumerate(pieces)
        ),
        {"type": done, **where, member: whole, **({"logprobs": []} if text else {})},
        {"type": "response.content_part.done", **where, "part": part},
    ]  # fmt: skip
    return _responses(begun, item, {**item, "status": "in_progress", "content": []})


@_shape(
    "openai-responses", "OpenAI", f"{_RESPONSES}/response/output_text",
    joined(
        of_type("response.output_text.delta", "delta"), of_type("response.output_text.done", "text"),
        of_type("response.content_part.done", "part", "text"), of_type("response.output_item.done", "item", "content", 0, "text"),
        of_type("response.completed", "response", "output", 0, "content", 0, "text"),
    ),
    profile="openai", path="/v1/responses",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return _response_part(pieces, "output_text", "text", "response.output_text.delta", "response.output_text.done")


@_shape(
    "openai-responses-refusal", "OpenAI", f"{_RESPONSES}/response/refusal",
    joined(
        of_type("response.refusal.delta", "delta"), of_type("response.refusal.done", "refusal"),
        of_type("response.completed", "response", "output", 0, "content", 0, "refusal"),
    ),
    profile="openai", path="/v1/responses",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return _response_part(pieces, "refusal", "refusal", "response.refusal.delta", "response.refusal.done")


def _response_call(pieces: list[str], delta: str, item: dict[str, Any], member: str) -> list[bytes]:
    """A tool call, with its pieces in *member*."""
    where = {"item_id": item["id"], "output_index": 0}
    begun = [
        *(
            {"type": f"{delta}.delta", **where, "delta": p, "obfuscation": scatter((delta, i), 1 + i * 7 % 16)}
            for i, p in enumerate(pieces)
        ),
        {"type": f"{delta}.done", **where, member: "".join(pieces)},
    ]
    done = {**item, member: "".join(pieces), "status": "completed"}
    return _responses(begun, done, {**item, member: "", "status": "in_progress"})


@_shape(
    "openai-responses-function-call", "OpenAI", f"{_RESPONSES}/response/function_call_arguments",
    joined(
        of_type("response.function_call_arguments.delta", "delta"), of_type("response.function_call_arguments.done", "arguments"),
        of_type("response.completed", "response", "output", 0, "arguments"), within=note,
    ),
    profile="openai", path="/v1/responses",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    item = {"id": "fc_67ca09c6bedc8190a7abfec07b1a1332096610f474011cc0", "type": "function_call"}
    call = {"call_id": "call_unLAR8MvFNptuiZK6K6HCy5k", "name": "save_note"}
    return _response_call(arguments(pieces), "response.function_call_arguments", item | call, "arguments")


@_shape(
    "openai-responses-mcp-call", "OpenAI", f"{_RESPONSES}/response/mcp_call_arguments",
    joined(
        of_type("response.mcp_call_arguments.delta", "delta"), of_type("response.mcp_call_arguments.done", "arguments"),
        of_type("response.completed", "response", "output", 0, "arguments"), within=note,
    ),
    profile="openai", path="/v1/responses",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    item = {"id": "mcp_682d437d90a88191bf88cd03aae0c3e503937d5f622d7a90", "type": "mcp_call"}
    call = {"approval_request_id": None, "error": None, "name": "save_note", "output": None, "server_label": "notes"}
    return _response_call(arguments(pieces), "response.mcp_call_arguments", item | call, "arguments")


@_shape(
    "openai-responses-code-interpreter", "OpenAI", f"{_RESPONSES}/response/code_interpreter_call_code",
    joined(
        of_type("response.code_interpreter_call_code.delta", "delta"), of_type("response.code_interpreter_call_code.done", "code"),
        of_type("response.completed", "response", "output", 0, "code"),
    ),
    profile="openai", path="/v1/responses",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    item = {"id": "ci_688d4d7e3fb08193aa2a2ab1f8bcbdbb06d43c5dc4c18d06", "type": "code_interpreter_call"}
    more = {"container_id": "cntr_688d4d7e0d2881a3b6c5b3f4d1e", "outputs": []}
    return _response_call(pieces, "response.code_interpreter_call_code", item | more, "code")


@_shape(
    "openai-responses-reasoning-summary", "OpenAI", f"{_RESPONSES}/response/reasoning_summary_text",
    joined(
        of_type("response.reasoning_summary_text.delta", "delta"), of_type("response.reasoning_summary_text.done", "text"),
        of_type("response.reasoning_summary_part.done", "part", "text"),
        of_type("response.completed", "response", "output", 0, "summary", 0, "text"),
    ),
    profile="openai", path="/v1/responses",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    ident = "rs_6806bfca0b2481918a5748308061a2600d3ce51bdffd5476"
    where = {"item_id": ident, "output_index": 0, "summary_index": 0}
    part = {"type": "summary_text", "text": "".join(pieces)}
    begun = [
        {"type": "response.reasoning_summary_part.added", **where, "part": {**part, "text": ""}},
        *(
            {"type": "response.reasoning_summary_text.delta", **where, "delta": p, "obfuscation": scatter((ident, i), 1 + i * 7 % 16)}
            for i, p in enumerate(pieces)
        ),
        {"type": "response.reasoning_summary_text.done", **where, "text": "".join(pieces)},
        {"type": "response.reasoning_summary_part.done", **where, "part": part},
    ]  # fmt: skip
    return _responses(begun, {"id": ident, "type": "reasoning", "summary": [part]}, {"id": ident, "type": "reasoning", "summary": []})  # fmt: skip


@_shape(
    "openai-responses-audio-transcript", "OpenAI", f"{_RESPONSES}/response/audio/transcript",
    joined(of_type("response.audio.transcript.delta", "delta")), profile="openai", path="/v1/responses",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    item = {"id": _MSG, "type": "message", "status": "completed", "role": "assistant", "content": []}
    begun: list[dict[str, Any]] = []
    for i, piece in enumerate(pieces):
        sound = scatter(("sound", i), 40) + "=="
        begun += [{"type": "response.audio.transcript.delta", "delta": piece}, {"type": "response.audio.delta", "delta": sound}]  # fmt: skip
    begun += [{"type": "response.audio.transcript.done"}, {"type": "response.audio.done"}]
    return _responses(begun, item, {**item, "status": "in_progress"})


@_shape(
    "openai-assistants", "OpenAI", "https://platform.openai.com/docs/api-reference/assistants-streaming/events",
    joined(
        lambda d: at(d, "delta", "content", 0, "text", "value"),
        lambda d: at(d, "content", 0, "text", "value") if at(d, "status") == "completed" else None,
    ),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    ident, thread, run = (
        "msg_001AbCdEfGhIjKlMnOpQrStU",
        "thread_abcDEFghiJKLmnoPQRstuVWX",
        "run_ABCdefGHIjklMNOpqrSTUvwx",
    )

    def state(status: str, content: list[Any]) -> dict[str, Any]:
        return {
            "id": ident, "object": "thread.message", "created_at": 1710330641, "assistant_id": "asst_abcABCdefDEFghiGHIjklJKL",
            "thread_id": thread, "run_id": run, "status": status, "incomplete_details": None, "incomplete_at": None,
            "completed_at": None, "role": "assistant", "content": content, "metadata": {},
        }  # fmt: skip

    def content(text: str) -> dict[str, Any]:
        return {"type": "text", "text": {"value": text, "annotations": []}}

    deltas = [
        event(
            {"id": ident, "object": "thread.message.delta", "delta": {"content": [{"index": 0, **content(p)}]}},
            "thread.message.delta",
        )
        for p in pieces
    ]
    return [
        event(
            {"id": run, "object": "thread.run", "status": "in_progress", "thread_id": thread}, "thread.run.in_progress"
        ),
        event(state("in_progress", []), "thread.message.created"),
        event(state("in_progress", []), "thread.message.in_progress"),
        *deltas,
        event(state("completed", [content("".join(pieces))]), "thread.message.completed"),
        event({"id": run, "object": "thread.run", "status": "completed", "thread_id": thread}, "thread.run.completed"),
        b"event: done\ndata: [DONE]\n\n",
    ]


@_shape(
    "openai-transcriptions", "OpenAI", "https://platform.openai.com/docs/api-reference/audio/transcript-text-delta-event",
    joined(of_type("transcript.text.delta", "delta"), of_type("transcript.text.done", "text")),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 31, "total_tokens": 45}
    return [
        *(event({"type": "transcript.text.delta", "delta": p}) for p in pieces),
        event({"type": "transcript.text.done", "text": "".join(pieces), "usage": usage}),
        DONE,
    ]


# OpenAI Realtime, over a WebSocket.


def _realtime(told: list[dict[str, Any]]) -> list[bytes]:
    return [
        message({"type": d["type"], "event_id": f"event_{scatter((d['type'], i), 21)}", **d})
        for i, d in enumerate(told)
    ]


_SPOKEN = {"response_id": "resp_BGP8eTlZQ9wXbNcVmKaJh", "item_id": "item_BGP8fLs3RtYuPoKmNbVcX", "output_index": 0}


def _realtime_answer(pieces: list[str], stem: str, part: dict[str, Any], member: str) -> list[bytes]:
    response = {"object": "realtime.response", "id": _SPOKEN["response_id"], "status": "in_progress", "output": []}
    blank = {"id": _SPOKEN["item_id"], "object": "realtime.item", "type": "message", "role": "assistant", "content": []}
    where = {**_SPOKEN, "content_index": 0}
    content = {"type": f"output_{part['type']}", member: "".join(pieces)}
    item = {**blank, "status": "completed", "content": [content]}
    usage = {"total_tokens": 253, "input_tokens": 132, "output_tokens": 121}
    deltas: list[dict[str, Any]] = []
    for i, piece in enumerate(pieces):
        deltas.append({"type": f"{stem}.delta", **where, "delta": piece})
        if member == "transcript" and i % 2:
            deltas.append({"type": "response.output_audio.delta", **where, "delta": scatter(("pcm", i), 64) + "=="})
    return _realtime(
        [
            {"type": "response.created", "response": response},
            {"type": "response.output_item.added", **_SPOKEN, "item": {**blank, "status": "in_progress"}},
            {"type": "response.content_part.added", **where, "part": {**part, member: ""}},
            *deltas,
            {"type": f"{stem}.done", **where, member: "".join(pieces)},
            {"type": "response.content_part.done", **where, "part": {**part, member: "".join(pieces)}},
            {"type": "response.output_item.done", **_SPOKEN, "item": item},
            {
                "type": "response.done",
                "response": {**response, "status": "completed", "output": [item], "usage": usage},
            },
        ]
    )


@_shape(
    "openai-realtime-transcript", "OpenAI", f"{_REALTIME}/response/output_audio_transcript",
    joined(
        of_type("response.output_audio_transcript.delta", "delta"), of_type("response.output_audio_transcript.done", "transcript"),
        of_type("response.done", "response", "output", 0, "content", 0, "transcript"), form="messages",
    ),
    form="messages",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return _realtime_answer(pieces, "response.output_audio_transcript", {"type": "audio"}, "transcript")


@_shape(
    "openai-realtime-text", "OpenAI", f"{_REALTIME}/response/output_text",
    joined(
        of_type("response.output_text.delta", "delta"), of_type("response.output_text.done", "text"),
        of_type("response.done", "response", "output", 0, "content", 0, "text"), form="messages",
    ),
    form="messages",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return _realtime_answer(pieces, "response.output_text", {"type": "text"}, "text")


@_shape(
    "openai-realtime-input-transcription", "OpenAI", f"{_REALTIME}/conversation/item/input_audio_transcription",
    joined(
        of_type("conversation.item.input_audio_transcription.delta", "delta"),
        of_type("conversation.item.input_audio_transcription.completed", "transcript"), form="messages",
    ),
    form="messages",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    where = {"item_id": "item_BGP7kQ2mWnRtYvXzAbCdE", "content_index": 0}
    stem = "conversation.item.input_audio_transcription"
    usage = {"type": "tokens", "total_tokens": 26, "input_tokens": 17, "output_tokens": 9}
    return _realtime(
        [
            {"type": "input_audio_buffer.speech_started", "audio_start_ms": 1000, "item_id": where["item_id"]},
            {"type": "input_audio_buffer.committed", "previous_item_id": None, "item_id": where["item_id"]},
            *({"type": f"{stem}.delta", **where, "delta": p, "logprobs": None} for p in pieces),
            {"type": f"{stem}.completed", **where, "transcript": "".join(pieces), "logprobs": None, "usage": usage},
        ]
    )


@_shape(
    "openai-realtime-function-call", "OpenAI", f"{_REALTIME}/response/function_call_arguments",
    joined(
        of_type("response.function_call_arguments.delta", "delta"), of_type("response.function_call_arguments.done", "arguments"),
        form="messages", within=note,
    ),
    form="messages",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    told = arguments(pieces)
    where = {**_SPOKEN, "call_id": "call_dpBNlKnMqWrTzXcV"}
    stem = "response.function_call_arguments"
    return _realtime(
        [
            *({"type": f"{stem}.delta", **where, "delta": a} for a in told),
            {"type": f"{stem}.done", **where, "name": "save_note", "arguments": "".join(told)},
        ]
    )


# Servers with OpenAI's chat protocol, each with its own variation.


@_shape("azure-openai", "Microsoft", "https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-streaming", joined(in_choices("delta", "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    safe = {kind: {"filtered": False, "severity": "safe"} for kind in ("hate", "self_harm", "sexual", "violence")}
    first = {
        "choices": [], "created": 0, "id": "", "model": "", "object": "",
        "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {**safe, "jailbreak": {"filtered": False, "detected": False}}}],
    }  # fmt: skip

    def told(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        document = chunk(delta, finish, system_fingerprint="fp_50cad350e4", usage=None)
        document["choices"][0] |= {"content_filter_results": {}, **more}
        return event(document)

    filtered = [told({"content": p}, content_filter_results=safe) for p in pieces]
    return [
        event(first),
        told({"role": "assistant", "content": "", "refusal": None}),
        *filtered,
        told({}, "stop"),
        DONE,
    ]


@_shape("deepseek-reasoning", "DeepSeek", "https://api-docs.deepseek.com/guides/reasoning_model", joined(in_choices("delta", "reasoning_content"), in_choices("delta", "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        return event(
            chunk(delta, finish, **more) | {"model": "deepseek-reasoner", "system_fingerprint": "fp_a909934529"}
        )

    usage = _usage(pieces) | {"prompt_cache_hit_tokens": 0, "prompt_cache_miss_tokens": 19}
    return [
        b": keep-alive\n\n",
        told({"role": "assistant", "content": None, "reasoning_content": ""}),
        *(told({"content": None, "reasoning_content": p}) for p in pieces),
        *(told({"content": p, "reasoning_content": None}) for p in pieces),
        told({"content": "", "reasoning_content": None}, "stop", usage=usage),
        DONE,
    ]


@_shape("vllm-reasoning", "vLLM", "https://docs.vllm.ai/en/latest/features/reasoning_outputs.html", joined(in_choices("delta", "reasoning_content")), profile="vllm", path="/v1/chat/completions")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(delta: dict[str, Any], finish: str | None = None) -> bytes:
        document = chunk(delta, finish) | {"id": "chatcmpl-7cabf2957a7145f78b45e34f92ed2d63", "model": "Qwen/Qwen3-8B"}
        document["choices"][0] |= {"stop_reason": None, "token_ids": None}
        return event(document)

    answer = [told({"content": c}) for c in ("\n\n", "Done", ".")]
    return [told({"role": "assistant", "content": ""}), *(told({"reasoning_content": p}) for p in pieces), *answer, told({"content": ""}, "stop"), DONE]  # fmt: skip


@_shape("vllm-generate", "vLLM", "https://docs.vllm.ai/en/latest/examples/online_serving/api_client.html", last(place("text", 0), "lines"), form="lines")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [line({"text": [text]}, spaced) for text in steps(pieces)]


@_shape("sglang-generate", "SGLang", "https://docs.sglang.ai/basic_usage/native_api.html", last(place("text")))
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, text: str, finish: dict[str, Any] | None) -> bytes:
        meta = {
            "id": "b1c9d4e05f3a4c6f8d2e7a1b0c9d8e7f", "finish_reason": finish, "prompt_tokens": 6, "weight_version": "default",
            "completion_tokens": i, "cached_tokens": 0,
        }  # fmt: skip
        return event({"text": text, "output_ids": [311 + n for n in range(i)], "meta_info": meta})

    texts = steps(pieces)
    return [
        *(told(i, text, None) for i, text in enumerate(texts, 1)),
        told(len(texts), texts[-1], {"type": "stop", "matched": 128009}),
        DONE,
    ]


@_shape("llama-cpp-completion", "llama.cpp", "https://github.com/ggml-org/llama.cpp/blob/master/tools/server/README.md", joined(place("content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, text: str, **more: Any) -> bytes:
        head = {"index": 0, "content": text, "tokens": [1000 + i], "stop": False, "id_slot": -1}
        return event({**head, "tokens_predicted": i, "tokens_evaluated": 8, **more})

    settings = {"n_predict": 128, "temperature": 0.8, "top_k": 40, "top_p": 0.95, "stop": [], "stream": True}
    timings = {"prompt_n": 8, "prompt_ms": 21.5, "predicted_n": len(pieces), "predicted_ms": 93.25}
    end: dict[str, Any] = {
        "stop": True,
        "tokens": [],
        "model": "gpt-oss",
        "generation_settings": settings,
        "prompt": "<s>Hi",
    }
    end |= {"has_new_line": False, "truncated": False, "stop_type": "eos", "stopping_word": "", "timings": timings}
    return [*(told(i, p) for i, p in enumerate(pieces, 1)), told(len(pieces), "", **end)]


@_shape("groq-chat", "Groq", "https://console.groq.com/docs/text-chat", joined(in_choices("delta", "content")))
def _(pieces: list[str]) -> list[bytes]:
    own = {"model": "llama-3.3-70b-versatile", "system_fingerprint": "fp_e669a124b2"}
    request = "req_01jbd6g2qdfw2adyrt2az8hz4w"
    usage = _usage(pieces) | {
        "queue_time": 0.03792,
        "prompt_time": 0.0078,
        "completion_time": 0.0916,
        "total_time": 0.0994,
    }
    return [
        event(chunk({"role": "assistant", "content": ""}) | own | {"x_groq": {"id": request}}),
        *(event(chunk({"content": p}) | own) for p in pieces),
        event(chunk({}, "stop") | own | {"x_groq": {"id": request, "usage": usage}}),
        DONE,
    ]


@_shape("xai-chat", "xAI", "https://docs.x.ai/docs/guides/streaming-response", joined(in_choices("delta", "content")))
def _(pieces: list[str]) -> list[bytes]:
    own = {"id": uuid("xai"), "model": "grok-4", "system_fingerprint": "fp_156d35dcaa"}

    def told(i: int, piece: str, finish: str | None = None) -> bytes:
        document = chunk({"content": piece, "role": "assistant"}, finish) | own
        del document["choices"][0]["logprobs"]
        return event(document | {"usage": _usage(pieces[: i + 1]) | {"num_sources_used": 0}})

    return [*(told(i, p) for i, p in enumerate(pieces)), told(len(pieces), "", "stop"), DONE]


@_shape("openrouter-chat", "OpenRouter", "https://openrouter.ai/docs/api-reference/streaming", joined(in_choices("delta", "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(content: str, finish: str | None = None, **more: Any) -> bytes:
        document = chunk({"role": "assistant", "content": content, "reasoning": None, "reasoning_details": []}, finish)
        document["choices"][0]["native_finish_reason"] = finish
        return event(
            {"id": "gen-1735317796-2hpDSFoGyO", "provider": "OpenAI", "model": "openai/gpt-5", **document, **more}
        )

    wait = b": OPENROUTER PROCESSING\n\n"
    middle = len(pieces) // 2
    return [
        wait, wait, *map(told, pieces[:middle]), wait, *map(told, pieces[middle:]),
        told("", "stop"), told("", usage=_usage(pieces) | {"cost": 0.00014, "is_byok": False}), DONE,
    ]  # fmt: skip


@_shape("together-chat", "Together", "https://docs.together.ai/docs/chat-overview", joined(in_choices("delta", "content"), in_choices("text")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, text: str, finish: str | None = None) -> bytes:
        delta = {"token_id": 330 + i, "role": "assistant", "content": text, "tool_calls": None}
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish, "seed": None, "delta": delta}
        head = {"id": "nzm5pHN-4yUbBN-8f2a1c9d3e4b5a60", "object": "chat.completion.chunk", "created": 1741569952}
        usage = _usage(pieces) | {"cached_tokens": 0} if finish else None
        return event({**head, "choices": [choice], "model": "meta-llama/Llama-3.3-70B-Instruct-Turbo", "usage": usage})

    return [*(told(i, p) for i, p in enumerate(pieces)), told(len(pieces), "", "eos"), DONE]


@_shape("fireworks-chat", "Fireworks", "https://docs.fireworks.ai/api-reference/post-chatcompletions", joined(in_choices("delta", "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        document = chunk(delta, finish) | {"id": uuid("fireworks"), "model": "accounts/fireworks/models/deepseek-v3p1"}
        del document["choices"][0]["logprobs"]
        return event({**document, "usage": None, **more})

    return [told({"role": "assistant"}), *(told({"content": p}) for p in pieces), told({}, "stop", usage=_usage(pieces)), DONE]  # fmt: skip


@_shape(
    "perplexity-chat", "Perplexity", "https://docs.perplexity.ai/guides/streaming-responses",
    joined(in_choices("delta", "content"), lambda d: d["choices"][0]["message"]["content"] if d["choices"][0]["finish_reason"] else None),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    sources = [
        {"title": "A page about it", "url": "https://example.org/page", "date": "2025-03-01", "last_updated": "2025-08-12", "snippet": "It is about this.", "source": "web"},
        {"title": "Another page", "url": "https://example.com/other", "date": None, "last_updated": None, "snippet": "", "source": "web"},
    ]  # fmt: skip

    def told(i: int, piece: str, so_far: str, finish: str | None) -> bytes:
        usage = _usage(pieces[: i + 1]) | {"search_context_size": "low"}
        choice = {
            "index": 0, "delta": {"role": "assistant", "content": piece},
            "message": {"role": "assistant", "content": so_far}, "finish_reason": finish,
        }  # fmt: skip
        document = {
            "id": uuid("perplexity"), "model": "sonar", "created": 1754432142, "usage": usage,
            "citations": [s["url"] for s in sources], "search_results": sources, "object": "chat.completion.chunk",
            "choices": [choice],
        }  # fmt: skip
        return event(document, spell=spaced).replace(b"\n", b"\r\n")

    texts = steps(pieces)
    return [
        *(told(i, p, t, None) for i, (p, t) in enumerate(zip(pieces, texts, strict=True))),
        told(len(pieces), "", texts[-1], "stop"),
    ]


@_shape(
    "ai21-chat", "AI21", "https://docs.ai21.com/reference/jamba-1-6-api-ref", joined(in_choices("delta", "content"))
)
def _(pieces: list[str]) -> list[bytes]:
    def told(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return event({"id": "chat-ae86f6bd6b8a4d20b0fd2d9d3d1d4e8f", "choices": [choice], **more}, spell=spaced)

    end = {"usage": _usage(pieces), "meta": {"requestDurationMillis": 1107}}
    return [told({"role": "assistant", "content": ""}), *(told({"content": p}) for p in pieces), told({"content": ""}, "stop", **end), DONE]  # fmt: skip


@_shape("zhipu-chat", "Zhipu", "https://docs.bigmodel.cn/api-reference/%E6%A8%A1%E5%9E%8B-api/%E5%AF%B9%E8%AF%9D%E8%A1%A5%E5%85%A8", joined(in_choices("delta", "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(content: str, **more: Any) -> bytes:
        choice = {"index": 0, "delta": {"role": "assistant", "content": content}, **more}
        head = {"id": "20250312094512a8c4d2", "created": 1741743912, "model": "glm-4-plus", "choices": [choice]}
        return event(head | ({"usage": _usage(pieces)} if more else {}))

    return [*map(told, pieces), told("", finish_reason="stop"), DONE]


@_shape("databricks-agent", "Databricks", "https://mlflow.org/docs/latest/api_reference/python_api/mlflow.types.html", joined(place("delta", "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(content: str, **more: Any) -> bytes:
        return event({"delta": {"role": "assistant", "content": content, "id": uuid("agent")}, **more}, spell=spaced)

    usage = {"prompt_tokens": 19, "completion_tokens": len(pieces), "total_tokens": 19 + len(pieces)}
    return [*map(told, pieces), told("", finish_reason="stop", usage=usage), DONE]


@_shape("huggingface-chat", "Hugging Face", "https://huggingface.co/docs/text-generation-inference/messages_api", joined(in_choices("delta", "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(content: str, finish: str | None = None) -> bytes:
        document = chunk({"role": "assistant", "content": content}, finish, usage=None)
        own = {"id": "", "model": "meta-llama/Llama-3.1-8B-Instruct", "system_fingerprint": "3.2.1-sha-4d28897"}
        return event(document | own)

    return [*map(told, pieces), told("", "stop"), DONE]


@_shape(
    "huggingface-generate", "Hugging Face", "https://huggingface.co/docs/text-generation-inference/conceptual/streaming",
    joined(lambda d: None if d["token"]["special"] else d["token"]["text"], place("generated_text")),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, text: str, special: bool, whole: str | None, details: dict[str, Any] | None) -> bytes:
        token = {"id": 300 + i, "text": text, "logprob": -0.0625 * i, "special": special}
        return event({"index": i, "token": token, "generated_text": whole, "details": details}, colon=":")

    details = {"finish_reason": "eos_token", "generated_tokens": len(pieces) + 1, "seed": None, "input_length": 6}
    texts = [told(i, p, False, None, None) for i, p in enumerate(pieces, 1)]
    return [*texts, told(len(pieces) + 1, "</s>", True, "".join(pieces), details)]


@_shape("cloudflare-workers-ai", "Cloudflare", "https://developers.cloudflare.com/workers-ai/features/prompting/", joined(place("response")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    padding = string.ascii_lowercase + string.ascii_uppercase + string.digits
    told = [event({"response": p, "p": padding[: 3 + i * 11 % 60]}) for i, p in enumerate(pieces)]
    return [*told, event({"response": "", "usage": _usage(pieces)}), DONE]


# Anthropic.

_ANTHROPIC = "https://docs.anthropic.com/en/docs/build-with-claude/streaming"


def _anthropic(pieces: list[str], block: dict[str, Any], deltas: list[dict[str, Any]], stop: str) -> list[bytes]:
    start = {
        "id": "msg_1nZdL29xx5MUA1yADyHTEsnR8uuvGzszyY", "type": "message", "role": "assistant", "content": [],
        "model": "claude-opus-4-20250514", "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 25, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 1},
    }  # fmt: skip
    told = [typed({"type": "content_block_delta", "index": 0, "delta": d}) for d in deltas]
    middle = len(told) // 2
    end = {"type": "message_delta", "delta": {"stop_reason": stop, "stop_sequence": None}}
    return [
        typed({"type": "message_start", "message": start}),
        typed({"type": "content_block_start", "index": 0, "content_block": block}),
        typed({"type": "ping"}),
        *told[:middle],
        typed({"type": "ping"}),
        *told[middle:],
        typed({"type": "content_block_stop", "index": 0}),
        typed(end, usage={"output_tokens": len(pieces)}),
        typed({"type": "message_stop"}),
    ]


@_shape("anthropic-text", "Anthropic", _ANTHROPIC, joined(place("delta", "text")))
def _(pieces: list[str]) -> list[bytes]:
    deltas = [{"type": "text_delta", "text": p} for p in pieces]
    return _anthropic(pieces, {"type": "text", "text": ""}, deltas, "end_turn")


@_shape("anthropic-tool-use", "Anthropic", _ANTHROPIC, joined(place("delta", "partial_json"), within=note))
def _(pieces: list[str]) -> list[bytes]:
    block = {"type": "tool_use", "id": "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "name": "save_note", "input": {}}
    deltas = [{"type": "input_json_delta", "partial_json": a} for a in ["", *arguments(pieces)]]
    return _anthropic(pieces, block, deltas, "tool_use")


@_shape("anthropic-thinking", "Anthropic", _ANTHROPIC, joined(place("delta", "thinking")))
def _(pieces: list[str]) -> list[bytes]:
    deltas = [{"type": "thinking_delta", "thinking": p} for p in pieces]
    deltas.append({"type": "signature_delta", "signature": scatter("signature", 88) + "=="})
    return _anthropic(pieces, {"type": "thinking", "thinking": "", "signature": ""}, deltas, "end_turn")


@_shape("anthropic-completion", "Anthropic", "https://docs.anthropic.com/en/api/streaming", joined(of_type("completion", "completion")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(text: str, reason: str | None = None) -> bytes:
        head = {"type": "completion", "id": "compl_018CKm6gsux7P8yMcwZbeCPw", "completion": text}
        return typed({**head, "stop_reason": reason, "model": "claude-2.1", "stop": "\n\nHuman:" if reason else None, "log_id": "compl_018CKm6gsux7P8yMcwZbeCPw"})  # fmt: skip

    return [*map(told, pieces), typed({"type": "ping"}), told("", "stop_sequence")]


# Cohere.

_COHERE = "https://docs.cohere.com/v2/docs/streaming"
_COHERE_TOOLS = "https://docs.cohere.com/v2/docs/tool-use-streaming"


def _cohere(told: list[dict[str, Any]], finish: str) -> list[bytes]:
    start = {"role": "assistant", "content": [], "tool_plan": "", "tool_calls": [], "citations": []}
    usage = {
        "billed_units": {"input_tokens": 5, "output_tokens": 72},
        "tokens": {"input_tokens": 71, "output_tokens": 72},
    }
    return [
        typed({"type": "message-start", "id": uuid("cohere"), "delta": {"message": start}}),
        *map(typed, told),
        typed({"type": "message-end", "delta": {"finish_reason": finish, "usage": usage}}),
    ]


@_shape("cohere-chat", "Cohere", _COHERE, joined(of_type("content-delta", "delta", "message", "content", "text")), profile="cohere", path="/v2/chat")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    told = [
        {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": ""}}}},
        *({"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": p}}}} for p in pieces),
        {"type": "content-end", "index": 0},
    ]
    return _cohere(told, "COMPLETE")


@_shape("cohere-tool-plan", "Cohere", _COHERE_TOOLS, joined(of_type("tool-plan-delta", "delta", "message", "tool_plan")), profile="cohere", path="/v2/chat")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    told = [{"type": "tool-plan-delta", "delta": {"message": {"tool_plan": p}}} for p in pieces]
    return _cohere(told, "TOOL_CALL")


@_shape("cohere-tool-call", "Cohere", _COHERE_TOOLS, joined(of_type("tool-call-delta", "delta", "message", "tool_calls", "function", "arguments"), within=note), profile="cohere", path="/v2/chat")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    call = {"id": "save_note_pfdt8h3wm1kz", "type": "function", "function": {"name": "save_note", "arguments": ""}}
    told = [
        {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": call}}},
        *(
            {
                "type": "tool-call-delta",
                "index": 0,
                "delta": {"message": {"tool_calls": {"function": {"arguments": a}}}},
            }
            for a in arguments(pieces)
        ),
        {"type": "tool-call-end", "index": 0},
    ]
    return _cohere(told, "TOOL_CALL")


@_shape(
    "cohere-v1-chat", "Cohere", "https://docs.cohere.com/v1/docs/streaming",
    joined(
        of_type("text-generation", "text", member="event_type"), of_type("stream-end", "response", "text", member="event_type"),
        of_type("stream-end", "response", "chat_history", 1, "message", member="event_type"), form="lines",
    ),
    form="lines",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    whole = "".join(pieces)
    history = [{"role": "USER", "message": "What is it?"}, {"role": "CHATBOT", "message": whole}]
    meta = {"api_version": {"version": "1"}, "billed_units": {"input_tokens": 10, "output_tokens": 34}}
    response = {
        "response_id": uuid("response"), "text": whole, "generation_id": uuid("generation"), "chat_history": history,
        "finish_reason": "COMPLETE", "meta": meta,
    }  # fmt: skip
    return [
        line({"is_finished": False, "event_type": "stream-start", "generation_id": uuid("generation")}),
        *(line({"is_finished": False, "event_type": "text-generation", "text": p}) for p in pieces),
        line({"is_finished": True, "event_type": "stream-end", "response": response, "finish_reason": "COMPLETE"}),
    ]


# Google.

_GEMINI = "https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent"


def _gemini(pieces: list[str], contents: list[list[dict[str, Any]]], **more: Any) -> list[bytes]:
    """Events of streamGenerateContent with ``alt=sse``: *contents* are the parts of each."""
    told = []
    for i, parts in enumerate(contents):
        candidate: dict[str, Any] = {"content": {"parts": parts, "role": "model"}}
        if i == len(contents) - 1:
            candidate["finishReason"] = "STOP"
        usage = {"promptTokenCount": 11, "candidatesTokenCount": i + 1, "totalTokenCount": i + 12}
        details = {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 11}]}
        document = {"candidates": [candidate | {"index": 0}], "usageMetadata": usage | details, "modelVersion": "gemini-2.5-flash"}  # fmt: skip
        told.append(event({**document, **more, "responseId": "mBqgaOq5KNKlnvgPvKrxqAk"}, spell=spaced).replace(b"\n", b"\r\n"))  # fmt: skip
    return told


def _parts(thought: bool) -> Pick:
    def pick(document: Any) -> str:
        parts = at(document, "candidates", 0, "content", "parts") or []
        return "".join(p["text"] for p in parts if bool(p.get("thought")) is thought)

    return pick


@_shape("gemini", "Google", _GEMINI, joined(_parts(False)))
def _(pieces: list[str]) -> list[bytes]:
    return _gemini(pieces, [*([{"text": p}] for p in pieces), [{"text": ""}]])


@_shape("gemini-two-parts", "Google", _GEMINI, joined(_parts(False)))
def _(pieces: list[str]) -> list[bytes]:
    return _gemini(pieces, [[{"text": p} for p in pieces[i : i + 2]] for i in range(0, len(pieces), 2)])


@_shape(
    "gemini-thought", "Google", "https://ai.google.dev/gemini-api/docs/thinking", joined(_parts(True), _parts(False))
)
def _(pieces: list[str]) -> list[bytes]:
    return _gemini(pieces, [*([{"text": p, "thought": True}] for p in pieces), *([{"text": p}] for p in pieces)])


@_shape("vertex-gemini", "Google", "https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/projects.locations.publishers.models/streamGenerateContent", joined(_parts(False)))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    contents = [*([{"text": p}] for p in pieces), [{"text": ""}]]
    return _gemini(pieces, contents, createTime="2025-08-16T09:12:04.514873Z", trafficType="ON_DEMAND")


# Mistral.

_MISTRAL = "https://docs.mistral.ai/api/#tag/chat/operation/stream_chat"


def _mistral(contents: list[Any], pieces: list[str]) -> list[bytes]:
    padding = string.ascii_lowercase + string.ascii_uppercase

    def told(i: int, delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        head = {"id": "cmpl-e5cc70bb28c444948073e77776eb30ef", "object": "chat.completion.chunk", "created": 1741569952}
        return event(
            {**head, "model": "mistral-small-latest", "choices": [choice], **more, "p": padding[: 2 + i * 7 % 40]}
        )

    return [
        told(0, {"role": "assistant", "content": ""}),
        *(told(i, {"content": c}) for i, c in enumerate(contents, 1)),
        told(len(contents) + 1, {"content": ""}, "stop", usage=_usage(pieces)),
        DONE,
    ]


@_shape("mistral-chat", "Mistral", _MISTRAL, joined(in_choices("delta", "content")))
def _(pieces: list[str]) -> list[bytes]:
    return _mistral(list(pieces), pieces)


def _mistral_thought(document: Any) -> str | None:
    content = document["choices"][0]["delta"]["content"]
    return content[0]["thinking"][0]["text"] if isinstance(content, list) else None


@_shape("mistral-thinking", "Mistral", "https://docs.mistral.ai/capabilities/reasoning/", joined(_mistral_thought, lambda d: None if _mistral_thought(d) is not None else d["choices"][0]["delta"]["content"]))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    thoughts: list[Any] = [[{"type": "thinking", "thinking": [{"type": "text", "text": p}]}] for p in pieces]
    return _mistral([*thoughts, *pieces], pieces)


@_shape("mistral-conversations", "Mistral", "https://docs.mistral.ai/agents/agents_basics/#streaming-output", joined(of_type("message.output.delta", "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def when(i: int) -> str:
        return f"2025-05-27T10:51:{8 + i // 10 % 50:02}.{i % 10}04219Z"

    where = {"output_index": 0, "id": "message_06835908d2d7716d8000d5d0a1b2c3d4", "content_index": 0}
    who = {"model": "mistral-medium-2505", "agent_id": "ag_06835734dc9f7b38800000000000", "role": "assistant"}
    usage = {
        "prompt_tokens": 19,
        "total_tokens": 19 + len(pieces),
        "completion_tokens": len(pieces),
        "connector_tokens": 0,
    }
    return [
        typed({"type": "conversation.response.started", "created_at": when(0), "conversation_id": "conv_0683590845d773e78000ea1e2d3c4b5a"}),
        *(typed({"type": "message.output.delta", "created_at": when(i), **where, **who, "content": p}) for i, p in enumerate(pieces)),
        typed({"type": "conversation.response.done", "created_at": when(len(pieces)), "usage": usage}),
    ]  # fmt: skip


# Ollama.

_OLLAMA = "https://github.com/ollama/ollama/blob/main/docs/api.md"


def _ollama(told: list[dict[str, Any]], end: dict[str, Any]) -> list[bytes]:
    def head(i: int) -> dict[str, Any]:
        return {"model": "llama3.2", "created_at": f"2025-08-04T08:52:{i // 8 % 60:02}.{125 * (i % 8):03}406455Z"}

    times = {
        "total_duration": 4883583458,
        "load_duration": 1334875,
        "prompt_eval_count": 26,
        "prompt_eval_duration": 342546000,
    }
    done = {"done_reason": "stop", "done": True, **times, "eval_count": len(told), "eval_duration": 4535599000}
    return [
        *(line({**head(i), **d, "done": False}) for i, d in enumerate(told)),
        line({**head(len(told)), **end, **done}),
    ]


@_shape("ollama-chat", "Ollama", f"{_OLLAMA}#generate-a-chat-completion", joined(place("message", "content"), form="lines"), form="lines")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    told = [{"message": {"role": "assistant", "content": p}} for p in pieces]
    return _ollama(told, {"message": {"role": "assistant", "content": ""}})


@_shape("ollama-chat-thinking", "Ollama", "https://docs.ollama.com/capabilities/thinking", joined(place("message", "thinking"), place("message", "content"), form="lines"), form="lines")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    told: list[dict[str, Any]] = [{"message": {"role": "assistant", "content": "", "thinking": p}} for p in pieces]
    told += [{"message": {"role": "assistant", "content": p}} for p in pieces]
    return _ollama(told, {"message": {"role": "assistant", "content": ""}})


@_shape("ollama-generate", "Ollama", f"{_OLLAMA}#generate-a-completion", joined(place("response"), form="lines"), form="lines")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return _ollama([{"response": p} for p in pieces], {"response": "", "context": [128006, 882, 128007, 271]})


# Amazon, IBM, Alibaba, Baidu.


@_shape("bedrock-converse", "Amazon", "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html", joined(place("contentBlockDelta", "delta", "text"), form="lines"), form="lines")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    padding = string.ascii_lowercase + string.ascii_uppercase + string.digits

    def told(name: str, i: int, **members: Any) -> bytes:
        return line({name: {**members, "p": padding[: 4 + i * 13 % 58]}})

    usage = {"inputTokens": 19, "outputTokens": len(pieces), "totalTokens": 19 + len(pieces)}
    return [
        told("messageStart", 1, role="assistant"),
        *(told("contentBlockDelta", i, contentBlockIndex=0, delta={"text": p}) for i, p in enumerate(pieces)),
        told("contentBlockStop", 2, contentBlockIndex=0),
        told("messageStop", 3, stopReason="end_turn"),
        told("metadata", 4, usage=usage, metrics={"latencyMs": 1275}),
    ]


@_shape("watsonx-generation", "IBM", "https://cloud.ibm.com/apidocs/watsonx-ai#text-generation-stream", joined(place("results", 0, "generated_text")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, text: str, reason: str) -> bytes:
        result = {"generated_text": text, "generated_token_count": i, "input_token_count": 0, "stop_reason": reason}
        head = {"model_id": "ibm/granite-3-8b-instruct", "created_at": f"2025-07-21T16:52:{i % 60:02}.190Z"}
        return event({**head, "results": [result]}, "message", ident=str(i))

    return [*(told(i, p, "not_finished") for i, p in enumerate(pieces, 1)), told(len(pieces) + 1, "", "eos_token")]


_DASHSCOPE = "https://help.aliyun.com/zh/model-studio/stream"


def _dashscope(outputs: list[dict[str, Any]]) -> list[bytes]:
    told = []
    for i, output in enumerate(outputs, 1):
        usage = {"total_tokens": 26 + i, "input_tokens": 26, "output_tokens": i}
        data = dense({"output": output, "usage": usage, "request_id": uuid("dashscope")})
        told.append(f"id:{i}\nevent:result\n:HTTP_STATUS/200\ndata:{data}\n\n".encode())
    return told


@_shape("dashscope-text", "Alibaba", _DASHSCOPE, last(place("output", "text")))
def _(pieces: list[str]) -> list[bytes]:
    texts = steps(pieces)
    told = [{"session_id": uuid("session"), "finish_reason": "null", "text": t} for t in texts]
    return _dashscope([*told, {**told[-1], "finish_reason": "stop"}])


@_shape("dashscope-incremental", "Alibaba", _DASHSCOPE, joined(place("output", "choices", 0, "message", "content")))
def _(pieces: list[str]) -> list[bytes]:
    def told(text: str, reason: str) -> dict[str, Any]:
        return {"choices": [{"message": {"content": text, "reasoning_content": "", "role": "assistant"}, "finish_reason": reason}]}  # fmt: skip

    return _dashscope([*(told(p, "null") for p in pieces), told("", "stop")])


@_shape(
    "dashscope-multimodal", "Alibaba", _DASHSCOPE, last(place("output", "choices", 0, "message", "content", 0, "text"))
)
def _(pieces: list[str]) -> list[bytes]:
    def told(text: str, reason: str) -> dict[str, Any]:
        return {"choices": [{"message": {"content": [{"text": text}], "role": "assistant"}, "finish_reason": reason}]}

    texts = steps(pieces)
    return _dashscope([*(told(t, "null") for t in texts), told(texts[-1], "stop")])


@_shape("baidu-ernie", "Baidu", "https://cloud.baidu.com/doc/WENXINWORKSHOP/s/2lygpg88b", joined(place("result")))
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, text: str, end: bool) -> bytes:
        head = {"id": "as-vb0m37ti8y", "object": "chat.completion", "created": 1709089502 + i // 4, "sentence_id": i}
        tail = {
            "is_end": end,
            "is_truncated": False,
            "result": text,
            "need_clear_history": False,
            "finish_reason": "normal",
        }
        return event({**head, **tail, "usage": _usage(pieces)})

    return [*(told(i, p, False) for i, p in enumerate(pieces)), told(len(pieces), "", True)]


# Frameworks and products that use models.


def _plain(name: str) -> Read:
    return lambda units: "".join(data for kind, data in events(units) if kind == name)


@_shape("replicate", "Replicate", "https://replicate.com/docs/topics/predictions/streaming", _plain("output"))
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, text: str, name: str = "output") -> bytes:
        data = "".join(f"data: {part}\n" for part in text.split("\n"))
        return f"event: {name}\nid: {1690212292 + i}:0\n{data}\n".encode()

    return [*(told(i, p) for i, p in enumerate(pieces)), told(len(pieces), "{}", "done")]


def _ai_message(content: str, kind: str = "AIMessageChunk") -> dict[str, Any]:
    more = {"additional_kwargs": {}, "response_metadata": {"model_provider": "openai"}, "type": kind, "name": None}
    calls = {"tool_calls": [], "invalid_tool_calls": [], "usage_metadata": None}
    return {"content": content, **more, "id": f"run--{uuid('run')}", "example": False, **calls}


_GRAPH = {
    "created_by": "system", "run_attempt": 1, "langgraph_version": "0.4.8", "langgraph_plan": "developer", "langgraph_host": "self-hosted",
    "langgraph_step": 1, "langgraph_node": "agent", "langgraph_triggers": ["branch:to:agent"], "langgraph_path": ["__pregel_pull", "agent"],
    "ls_provider": "openai", "ls_model_name": "gpt-5-mini", "ls_model_type": "chat", "ls_temperature": None, "tags": [],
}  # fmt: skip
_LANGGRAPH = "https://docs.langchain.com/langsmith/streaming"


def _langgraph(told: list[bytes]) -> list[bytes]:
    ids = iter(range(1000))
    metadata = event({"run_id": uuid("graph"), "attempt": 1}, "metadata", ident=f"{next(ids)}")
    return [metadata, b": heartbeat\n\n", *told]


def _named(units: list[bytes], *names: str) -> list[Any]:
    return [json.loads(data) for name, data in events(units) if name in names]


@_shape("langgraph-messages", "LangChain", _LANGGRAPH, lambda units: "".join(d[0]["content"] for d in _named(units, "messages")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    chunks = [_ai_message(p) | {"tool_call_chunks": []} for p in ["", *pieces, ""]]
    return _langgraph([event([c, _GRAPH], "messages", ident=str(i)) for i, c in enumerate(chunks, 1)])


@_shape("langgraph-partial", "LangChain", _LANGGRAPH, lambda units: same(d[0]["content"] for d in _named(units, "messages/partial", "messages/complete")[-2:]))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    metadata = event({f"run--{uuid('run')}": {"metadata": _GRAPH}}, "messages/metadata", ident="1")
    told = [event([_ai_message(t, "ai")], "messages/partial", ident=str(i)) for i, t in enumerate(steps(pieces), 2)]
    return _langgraph([metadata, *told, event([_ai_message("".join(pieces), "ai")], "messages/complete")])


@_shape(
    "langgraph-values", "LangChain", _LANGGRAPH,
    lambda units: same(["".join(d[0]["content"] for d in _named(units, "messages")), _named(units, "values")[-1]["messages"][-1]["content"]]),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    human = {"content": "What is it?", "additional_kwargs": {}, "type": "human", "name": None, "id": uuid("human")}
    chunks = [event([_ai_message(p) | {"tool_call_chunks": []}, _GRAPH], "messages") for p in pieces]
    state = event({"messages": [human, _ai_message("".join(pieces), "ai")]}, "values")
    return _langgraph([event({"messages": [human]}, "values"), *chunks, state])


_LANGSERVE = "https://github.com/langchain-ai/langserve#endpoints"


@_shape("langserve-stream", "LangChain", _LANGSERVE, lambda units: "".join(_named(units, "data")))
def _(pieces: list[str]) -> list[bytes]:
    return [
        event({"run_id": uuid("serve")}, "metadata", spell=spaced),
        *(event(p, "data") for p in pieces),
        b": ping - 2025-08-16 09:12:04.514873+00:00\n\n",
        b"event: end\n\n",
    ]


def _patched(units: list[bytes]) -> str:
    ops = [op for document in _named(units, "data") for op in document["ops"]]
    streamed = "".join(op["value"] for op in ops if op["path"] == "/streamed_output/-")
    model = "".join(op["value"] for op in ops if op["path"].endswith("/streamed_output_str/-"))
    return same([streamed, model, [op["value"] for op in ops if op["path"] == "/final_output"][-1]])


@_shape("langserve-log", "LangChain", _LANGSERVE, _patched)
def _(pieces: list[str]) -> list[bytes]:
    def told(*ops: tuple[str, str, Any]) -> bytes:
        return event({"ops": [{"op": op, "path": path, "value": value} for op, path, value in ops]}, "data")

    state = {
        "id": uuid("log"),
        "streamed_output": [],
        "final_output": None,
        "logs": {},
        "name": "/chat",
        "type": "chain",
    }
    run = {"id": uuid("model"), "name": "ChatOpenAI", "type": "llm", "tags": ["seq:step:2"], "metadata": {}}
    run |= {"start_time": "2025-08-16T09:12:04.514+00:00", "streamed_output": [], "streamed_output_str": [], "final_output": None, "end_time": None}  # fmt: skip
    patches = []
    for piece, text in zip(pieces, steps(pieces), strict=True):
        patches += [
            told(("add", "/logs/ChatOpenAI/streamed_output_str/-", piece)),
            told(("add", "/streamed_output/-", piece), ("replace", "/final_output", text)),
        ]
    return [told(("replace", "", state)), told(("add", "/logs/ChatOpenAI", run)), *patches, b"event: end\n\n"]


@_shape(
    "llamaindex-workflow", "LlamaIndex", "https://developers.llamaindex.ai/python/llamaagents/workflows/deployment/",
    lambda units: same(["".join(d["value"].get("delta", "") for d in documents(units, "lines")), *[d["value"]["response"] for d in documents(units, "lines") if "delta" in d["value"]][-1:]]),
    form="lines",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(name: str, value: dict[str, Any]) -> bytes:
        module = "llama_index.core.agent.workflow.workflow_events"
        return line({"value": value, "qualified_name": f"{module}.{name}", "type": name, "types": None})

    def stream(piece: str, text: str) -> dict[str, Any]:
        return {"delta": piece, "response": text, "current_agent_name": "Agent", "tool_calls": [], "raw": None, "thinking_delta": None}  # fmt: skip

    return [
        told("AgentInput", {"input": [{"role": "user", "blocks": [{"block_type": "text", "text": "Hi"}]}], "current_agent_name": "Agent"}),
        *(told("AgentStream", stream(p, t)) for p, t in zip(pieces, steps(pieces), strict=True)),
        told("StopEvent", {"result": "done"}),
    ]  # fmt: skip


_AI_SDK = "https://ai-sdk.dev/docs/ai-sdk-ui/stream-protocol"


def _ai_sdk(told: list[dict[str, Any]]) -> list[bytes]:
    begin = [
        {"type": "start", "messageId": "msg_68679a454370819ca74c8eb3d04379630dd1afb72306ca5d"},
        {"type": "start-step"},
    ]
    return [*map(event, begin), *map(event, told), event({"type": "finish-step"}), event({"type": "finish"}), DONE]


@_shape("ai-sdk-text", "Vercel", _AI_SDK, joined(of_type("text-delta", "delta")))
def _(pieces: list[str]) -> list[bytes]:
    ident = {"id": "msg_68679a454370819ca74c8eb3d04379630dd1afb72306ca5d"}
    return _ai_sdk([{"type": "text-start", **ident}, *({"type": "text-delta", **ident, "delta": p} for p in pieces), {"type": "text-end", **ident}])  # fmt: skip


@_shape(
    "ai-sdk-reasoning", "Vercel", _AI_SDK, joined(of_type("reasoning-delta", "delta"), of_type("text-delta", "delta"))
)
def _(pieces: list[str]) -> list[bytes]:
    told: list[dict[str, Any]] = []
    for kind, ident in (("reasoning", "reasoning_123"), ("text", "txt-0")):
        told.append({"type": f"{kind}-start", "id": ident})
        told += [{"type": f"{kind}-delta", "id": ident, "delta": p} for p in pieces]
        told.append({"type": f"{kind}-end", "id": ident})
    return _ai_sdk(told)


@_shape(
    "ai-sdk-tool-input", "Vercel", _AI_SDK,
    lambda units: same([joined(of_type("tool-input-delta", "inputTextDelta"), within=note)(units), joined(of_type("tool-input-available", "input", "note"))(units)]),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    call = {"toolCallId": "call_fJdQDqnXeGxTmr4E3YPSR7Ar"}
    told = [
        {"type": "tool-input-start", **call, "toolName": "saveNote"},
        *({"type": "tool-input-delta", **call, "inputTextDelta": a} for a in arguments(pieces)),
        {"type": "tool-input-available", **call, "toolName": "saveNote", "input": {"note": "".join(pieces)}},
        {"type": "tool-output-available", **call, "output": {"saved": True}},
    ]
    return _ai_sdk(told)


_AG_UI = "https://docs.ag-ui.com/concepts/events"


def _ag_ui(told: list[dict[str, Any]]) -> list[bytes]:
    run = {"threadId": uuid("thread"), "runId": uuid("ag-ui")}
    begin = [{"type": "RUN_STARTED", **run}, {"type": "STEP_STARTED", "stepName": "agent"}]
    end = [{"type": "STEP_FINISHED", "stepName": "agent"}, {"type": "RUN_FINISHED", **run}]
    return [*map(event, begin), *map(event, told), *map(event, end)]


@_shape("ag-ui-text", "AG-UI", _AG_UI, joined(of_type("TEXT_MESSAGE_CONTENT", "delta"), of_type("MESSAGES_SNAPSHOT", "messages", 1, "content")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    ident = {"messageId": uuid("ag-message")}
    messages = [
        {"id": uuid("ag-user"), "role": "user", "content": "What is it?"},
        {"id": ident["messageId"], "role": "assistant", "content": "".join(pieces)},
    ]
    return _ag_ui(
        [
            {"type": "TEXT_MESSAGE_START", **ident, "role": "assistant"},
            *({"type": "TEXT_MESSAGE_CONTENT", **ident, "delta": p} for p in pieces),
            {"type": "TEXT_MESSAGE_END", **ident},
            {"type": "MESSAGES_SNAPSHOT", "messages": messages},
        ]
    )


@_shape("ag-ui-tool-call", "AG-UI", _AG_UI, joined(of_type("TOOL_CALL_ARGS", "delta"), within=note))
def _(pieces: list[str]) -> list[bytes]:
    call = {"toolCallId": uuid("ag-call")}
    return _ag_ui(
        [
            {"type": "TOOL_CALL_START", **call, "toolCallName": "save_note", "parentMessageId": uuid("ag-message")},
            *({"type": "TOOL_CALL_ARGS", **call, "delta": a} for a in arguments(pieces)),
            {"type": "TOOL_CALL_END", **call},
            {"type": "TOOL_CALL_RESULT", "messageId": uuid("ag-result"), **call, "content": "saved", "role": "tool"},
        ]
    )


@_shape("dify-chat", "Dify", "https://docs.dify.ai/api-reference/chat/send-chat-message", joined(of_type("message", "answer", member="event")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    ids = {"task_id": uuid("task"), "message_id": uuid("message"), "conversation_id": uuid("conversation")}
    resource = {"position": 1, "dataset_name": "Guide", "document_name": "guide.md", "segment_id": uuid("segment"), "score": 0.98, "content": "The guide."}  # fmt: skip
    usage = _usage(pieces) | {
        "prompt_unit_price": "0.001",
        "total_price": "0.0012890",
        "currency": "USD",
        "latency": 0.7682,
    }
    metadata = {"usage": usage, "retriever_resources": [resource]}
    told = [event({"event": "message", **ids, "answer": p, "created_at": 1679586595}, spell=spaced) for p in pieces]
    middle = len(told) // 2
    end = event({"event": "message_end", "id": ids["message_id"], **ids, "metadata": metadata}, spell=spaced)
    return [*told[:middle], b"event: ping\n\n", *told[middle:], end]


@_shape("flowise-prediction", "Flowise", "https://docs.flowiseai.com/using-flowise/streaming", joined(of_type("token", "data", member="event")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(name: str, data: Any) -> bytes:
        return b"message:\n" + event({"event": name, "data": data}, colon=":")

    metadata = {
        "chatId": uuid("chat"),
        "chatMessageId": uuid("chat-message"),
        "question": "What is it?",
        "sessionId": uuid("chat"),
    }
    return [told("start", ""), *(told("token", p) for p in pieces), told("metadata", metadata), told("end", "[DONE]")]


@_shape(
    "coze-chat", "Coze", "https://www.coze.com/docs/developer_guides/chat_v3",
    lambda units: same("".join(d["content"] for d in _named(units, f"conversation.message.{kind}") if d["type"] == "answer") for kind in ("delta", "completed")),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    where = {"conversation_id": "7381473525342978089", "bot_id": "7379462189365198898"}
    ids = where | {"chat_id": "7381473946123468800", "section_id": "7381473525342978089"}
    chat = {"id": ids["chat_id"], **where, "created_at": 1718792949, "last_error": {"code": 0, "msg": ""}}

    def told(name: str, **members: Any) -> bytes:
        return event(members, name, colon=":")

    def state(name: str, tokens: int) -> bytes:
        usage = {"token_count": tokens, "output_count": tokens // 4, "input_count": tokens - tokens // 4}
        return told(f"conversation.chat.{name}", **chat, status=name, usage=usage, section_id=ids["section_id"])

    def part(name: str, ident: str, kind: str, content: str) -> bytes:
        head = {"role": "assistant", "type": kind, "content": content, "content_type": "text"}
        return told(f"conversation.message.{name}", id=ident, **head, **ids)

    finish = dense({"msg_type": "generate_answer_finish", "data": "", "from_module": None, "from_unit": None})
    return [
        state("created", 0),
        state("in_progress", 0),
        *(part("delta", "7381473945440239668", "answer", p) for p in pieces),
        part("completed", "7381473945440239668", "answer", "".join(pieces)),
        part("completed", "7381473964905807872", "verbose", finish),
        state("completed", 633),
        b'event:done\ndata:"[DONE]"\n\n',
    ]


_ELASTIC = "https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-inference-stream-completion"


@_shape("elasticsearch-completion", "Elastic", _ELASTIC, joined(lambda d: "".join(c["delta"] for c in d["completion"])), profile="elasticsearch", path="/_inference/completion/notes/_stream")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    told = [pieces[:1], *(pieces[i : i + 2] for i in range(1, len(pieces), 2))]  # one result, then two at a time
    done = b"event: message\ndata: [DONE]\n\n"
    return [*(event({"completion": [{"delta": p} for p in some]}, "message") for some in told), done]


@_shape("elasticsearch-chat-completion", "Elastic", "https://www.elastic.co/docs/api/doc/elasticsearch/operation/operation-inference-chat-completion-unified", joined(lambda d: in_choices("delta", "content")(d["chat_completion"])), profile="elasticsearch", path="/_inference/chat_completion/notes/_stream")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(delta: dict[str, Any], **more: Any) -> bytes:
        head = {"id": "chatcmpl-Ae0TWsy2VPnSfBbv5UztnSdYUMFP3", "choices": [{"delta": delta, **more, "index": 0}]}
        return event({"chat_completion": {**head, "model": "gpt-4o-2024-08-06", "object": "chat.completion.chunk"}}, "message")  # fmt: skip

    usage = {"chat_completion": {"id": "chatcmpl-Ae0TWsy2VPnSfBbv5UztnSdYUMFP3", "choices": [], "model": "gpt-4o-2024-08-06", "object": "chat.completion.chunk", "usage": _usage(pieces)}}  # fmt: skip
    return [
        told({"content": "", "role": "assistant"}), *(told({"content": p}) for p in pieces), told({}, finish_reason="stop"),
        event(usage, "message"), b"event: message\ndata: [DONE]\n\n",
    ]  # fmt: skip


@_shape(
    "weaviate-query-agent", "Weaviate", "https://docs.weaviate.io/agents/query/usage",
    joined(of_type("streamed_tokens", "delta", member="output_type"), of_type("final_state", "final_answer", member="output_type")),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(kind: str, **members: Any) -> bytes:
        return event({"output_type": kind, **members}, kind)

    search = {"query": "notes", "filters": None, "collection": "Notes", "sort_property": None, "uuid_value": None}
    state = {
        "searches": [search],
        "aggregations": [],
        "usage": {"model_units": 1, "usage_in_plan": True},
        "total_time": 3.25,
    }
    sources = [{"object_id": uuid("object"), "collection": "Notes"}]
    return [
        told("progress_message", stage="query_analysis", message="Analyzing query...", details={}),
        *(told("streamed_tokens", delta=p) for p in pieces),
        told(
            "final_state",
            **state,
            is_partial_answer=False,
            missing_information=[],
            final_answer="".join(pieces),
            sources=sources,
        ),
    ]


@_shape("hayhooks-run", "Haystack", "https://github.com/deepset-ai/hayhooks/releases/tag/v1.7.0", _plain(""))
def _(pieces: list[str]) -> list[bytes]:
    return [("".join(f"data: {part}\n" for part in p.split("\n")) + "\n").encode() for p in pieces]


@_shape(
    "mcp-progress", "Model Context Protocol", "https://modelcontextprotocol.io/specification/2025-06-18/basic/utilities/progress",
    joined(place("params", "message"), place("result", "content", 0, "text")),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, **members: Any) -> bytes:
        return event({"jsonrpc": "2.0", **members}, "message", ident=f"{scatter('stream', 12)}_{i}")

    def progress(i: int, piece: str) -> dict[str, Any]:
        return {"progressToken": "abc123", "progress": i, "total": len(pieces), "message": piece}

    steps_ = [told(i, method="notifications/progress", params=progress(i, p)) for i, p in enumerate(pieces, 1)]
    result = {"content": [{"type": "text", "text": "".join(pieces)}], "isError": False}
    return [*steps_, told(len(pieces) + 1, id=2, result=result)]


@_shape("a2a-artifact", "A2A", "https://a2a-protocol.org/v0.3.0/specification/#92-streaming-task-execution-sse", joined(place("result", "artifact", "parts", 0, "text")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    task = {"taskId": uuid("a2a-task"), "contextId": uuid("a2a-context")}

    def told(**result: Any) -> bytes:
        return event({"jsonrpc": "2.0", "id": 1, "result": result})

    def part(i: int, piece: str) -> bytes:
        artifact = {"artifactId": uuid("artifact"), "name": "note", "parts": [{"kind": "text", "text": piece}]}
        return told(**task, kind="artifact-update", artifact=artifact, append=i > 0, lastChunk=i == len(pieces) - 1)

    submitted = {"state": "submitted", "timestamp": "2025-04-02T16:59:25.331844"}
    completed = {"state": "completed", "timestamp": "2025-04-02T16:59:35.331844"}
    return [
        told(id=task["taskId"], contextId=task["contextId"], status=submitted, kind="task", metadata={}),
        *(part(i, p) for i, p in enumerate(pieces)),
        told(**task, kind="status-update", status=completed, final=True),
    ]


@_shape(
    "pinecone-assistant", "Pinecone", "https://docs.pinecone.io/guides/assistant/chat-with-assistant",
    joined(of_type("content_chunk", "delta", "content")),
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    head = {"id": "0000000000000000111b35de85e8a8f9", "model": "gpt-4o-2024-05-13"}

    def told(kind: str, **members: Any) -> bytes:
        return event({"type": kind, **head, **members}, colon=":")

    file = {
        "status": "Available",
        "id": uuid("file"),
        "name": "guide.pdf",
        "size": 1073470,
        "metadata": None,
        "percent_done": 1.0,
    }
    citation = {"position": 78, "references": [{"file": file, "pages": [1, 32]}]}
    return [
        told("message_start", role="assistant"),
        *(told("content_chunk", delta={"content": p}) for p in pieces),
        told("citation", citation=citation),
        told("message_end", finish_reason="stop", usage=_usage(pieces)),
    ]


@_shape("letta-messages", "Letta", "https://docs.letta.com/guides/agents/streaming", joined(of_type("assistant_message", "content", member="message_type"), of_type("reasoning_message", "reasoning", member="message_type")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(kind: str, seq: int, **members: Any) -> bytes:
        head = {"id": f"message-{uuid(kind)}", "date": "2025-08-16T09:12:04+00:00", "name": None, "message_type": kind}
        ids = {"otid": f"{uuid(kind)[:-1]}0", "sender_id": None, "step_id": f"step-{uuid('step')}", "is_err": None}
        return event({**head, **ids, "seq_id": seq, "run_id": f"run-{uuid('letta')}", **members})

    thoughts = [
        told("reasoning_message", i, source="reasoner_model", reasoning=p, signature=None) for i, p in enumerate(pieces)
    ]
    texts = [told("assistant_message", len(pieces) + i, content=p) for i, p in enumerate(pieces)]
    usage = {"message_type": "usage_statistics", **_usage(pieces), "step_count": 1, "run_ids": None}
    return [*thoughts, b": keepalive\n\n", *texts, event({"message_type": "stop_reason", "stop_reason": "end_turn"}), event(usage), DONE]  # fmt: skip


@_shape("anythingllm-chat", "AnythingLLM", "https://docs.anythingllm.com/features/api", joined(of_type("textResponseChunk", "textResponse")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(kind: str, text: str, close: bool) -> bytes:
        return event({"uuid": uuid("anything"), "type": kind, "textResponse": text, "sources": [], "close": close, "error": False})  # fmt: skip

    end = {"uuid": uuid("anything"), "type": "finalizeResponseStream", "close": True, "error": False, "chatId": 33}
    return [*(told("textResponseChunk", p, False) for p in pieces), told("textResponseChunk", "", True), event(end)]


# Speech.


@_shape("deepgram-live", "Deepgram", "https://developers.deepgram.com/docs/interim-results", last(place("channel", "alternatives", 0, "transcript"), "messages"), form="messages")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    info = {"name": "general-nova-3", "version": "2025-01-09.0", "arch": "nova-3"}
    metadata = {"request_id": uuid("deepgram"), "model_info": info, "model_uuid": uuid("nova")}

    def told(text: str, final: bool) -> bytes:
        words = [
            {"word": w, "start": 0.5 * i, "end": 0.5 * i + 0.25, "confidence": 0.984375, "punctuated_word": w}
            for i, w in enumerate(text.split())
        ]
        channel = {"alternatives": [{"transcript": text, "confidence": 0.96875, "words": words}]}
        head = {"type": "Results", "channel_index": [0, 1], "duration": 0.5 * len(words), "start": 0.0}
        return message({**head, "is_final": final, "speech_final": final, "channel": channel, "metadata": metadata, "from_finalize": False})  # fmt: skip

    texts = steps(pieces)
    end = {"type": "UtteranceEnd", "channel": [0, 1], "last_word_end": 3.1}
    return [*(told(t, False) for t in texts), told(texts[-1], True), message(end)]


@_shape("assemblyai-turns", "AssemblyAI", "https://www.assemblyai.com/docs/streaming/message-sequence", last(of_type("Turn", "transcript"), "messages"), form="messages")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(text: str, end: bool) -> bytes:
        words = [
            {"start": 1920 + 400 * i, "end": 2000 + 400 * i, "text": w, "confidence": 0.875, "word_is_final": True}
            for i, w in enumerate(text.split())
        ]
        head = {"turn_order": 0, "turn_is_formatted": end, "end_of_turn": end, "transcript": text}
        return message({**head, "end_of_turn_confidence": 0.5, "words": words, "utterance": text if end else "", "type": "Turn"})  # fmt: skip

    texts = steps(pieces)
    begin = {"type": "Begin", "id": uuid("assembly"), "expires_at": 1759796682}
    end = {"type": "Termination", "audio_duration_seconds": 12, "session_duration_seconds": 13}
    return [message(begin), *(told(t, False) for t in texts), told(texts[-1], True), message(end)]


@_shape("elevenlabs-transcripts", "ElevenLabs", "https://elevenlabs.io/docs/api-reference/speech-to-text/v-1-speech-to-text-realtime", last(place("text"), "messages"), form="messages")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    config = {
        "sample_rate": 16000,
        "audio_format": "pcm_16000",
        "language_code": "en",
        "model_id": "scribe_v2_realtime",
    }
    texts = steps(pieces)
    return [
        message({"message_type": "session_started", "session_id": scatter("eleven", 20), "config": config}),
        *(message({"message_type": "partial_transcript", "text": t}) for t in texts),
        message({"message_type": "committed_transcript", "text": texts[-1]}),
    ]


@_shape(
    "elevenlabs-timestamps", "ElevenLabs", "https://elevenlabs.io/docs/api-reference/text-to-speech/stream-with-timestamps",
    joined(
        lambda d: "".join(d["alignment"]["characters"]), lambda d: "".join(d["normalized_alignment"]["characters"]), form="lines"
    ),
    form="lines",
)  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def told(i: int, piece: str) -> bytes:
        begins = [round(0.125 * n, 3) for n in range(len(piece))]
        alignment = {
            "characters": list(piece), "character_start_times_seconds": begins,
            "character_end_times_seconds": [round(b + 0.125, 3) for b in begins],
        }  # fmt: skip
        return line(
            {"audio_base64": scatter(("mp3", i), 64), "alignment": alignment, "normalized_alignment": alignment}
        )

    return [told(i, p) for i, p in enumerate(pieces)]


# Hostile shapes: not from a vendor, but possible.


def _delta(text: str, **more: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}], **more}


_READ_DELTA = joined(in_choices("delta", "content"))
_READ_TEXT = joined(place("text"))


def _by(key: Callable[[Any], Any], text: Callable[[Any], str]) -> Read:
    """Read several equal texts, which *key* separates."""

    def read(units: list[bytes]) -> str:
        texts: dict[Any, str] = defaultdict(str)
        for document in documents(units, "events"):
            texts[key(document)] += text(document)
        return same(texts.values())

    return read


@_hostile("twelve-choices", "12 choices side by side, told apart by an index that looks like a counter", _by(lambda d: d["choices"][0]["index"], lambda d: d["choices"][0]["delta"]["content"]))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    order = random.Random(12)
    mixed = [(piece, index) for piece in pieces for index in order.sample(range(12), 12)]
    return [event({"choices": [{"index": i, "delta": {"content": p}, "finish_reason": None}]}) for p, i in mixed]


@_hostile("two-texts", "two texts, interleaved at random and told apart by an id", _by(lambda d: d["id"], lambda d: d["text"]))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    order = random.Random(2)
    waiting = {"msg-a": list(pieces), "msg-b": list(pieces)}
    told = []
    while any(waiting.values()):
        ident = order.choice([i for i, rest in waiting.items() if rest])
        told.append(event({"id": ident, "text": waiting[ident].pop(0)}))
    return told


@_hostile("two-names", "one text, alternating between two members", joined(lambda d: d.get("text", "") + d.get("content", "")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [event({("text", "content")[i % 2]: p}) for i, p in enumerate(pieces)]


@_hostile("start-then-delta", "a text that begins in the start event and goes on in deltas", joined(lambda d: d["block"]["text"] if d["type"] == "start" else at(d, "delta", "text")))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [
        typed({"type": "start", "index": 0, "block": {"type": "text", "text": pieces[0]}}),
        *(typed({"type": "delta", "index": 0, "delta": {"type": "text", "text": p}}) for p in pieces[1:]),
        typed({"type": "stop", "index": 0}),
    ]


@_hostile("random-ids", "every event has ids of its own", _READ_TEXT)
def _(pieces: list[str]) -> list[bytes]:
    return [
        event({"id": uuid(("event", i)), "trace": {"span": scatter(("span", i), 16, "0123456789abcdef")}, "text": p})
        for i, p in enumerate(pieces)
    ]


@_hostile("flag", "a flag beside the text changes with every event", _READ_TEXT)
def _(pieces: list[str]) -> list[bytes]:
    return [event({"text": p, "bold": i % 2 == 0}) for i, p in enumerate(pieces)]


@_hostile("style", "words of an enumeration beside the text", _READ_TEXT)
def _(pieces: list[str]) -> list[bytes]:
    return [event({"kind": ("plain", "code", "quote")[i * 5 % 3], "text": p}) for i, p in enumerate(pieces)]


@_hostile("sequence", "counters beside the text, numbers and strings", joined(place("t")))
def _(pieces: list[str]) -> list[bytes]:
    offsets = [0, *accumulate(map(len, pieces))]
    return [
        event({"seq": i, "offset": offsets[i], "part": f"{i:04}", "t": p}, ident=str(i)) for i, p in enumerate(pieces)
    ]


@_hostile("characters", "every character is a member of a list", joined(lambda d: "".join(d["chars"])))
def _(pieces: list[str]) -> list[bytes]:
    return [event({"chars": list(p)}) for p in pieces]


@_hostile("number-keys", "pieces under keys that are numbers, up to three in an event", joined(lambda d: "".join(d.values())))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    numbered = [(str(i), p) for i, p in enumerate(pieces)]
    return [event(dict(numbered[i : i + 3])) for i in range(0, len(numbered), 3)]


@_hostile("id-keys", "each piece under a long id of its own", joined(lambda d: "".join(d["messages"].values())))
def _(pieces: list[str]) -> list[bytes]:
    return [event({"messages": {scatter(("key", i), 24, "0123456789abcdef"): p}}) for i, p in enumerate(pieces)]


@_hostile("cumulative", "each string begins with the one before", last(place("output")))
def _(pieces: list[str]) -> list[bytes]:
    return [event({"output": t}) for t in steps(pieces)]


@_hostile("cumulative-lines", "each line's string begins with the one before, in lists", last(place(0, 1), "lines"), form="lines")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [line([["answer", t], ["seq", i]]) for i, t in enumerate(steps(pieces))]


@_hostile("delta-and-snapshot", "each event has the piece and all of the text so far", lambda units: same([joined(place("delta"))(units), last(place("snapshot"))(units)]))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [event({"delta": p, "snapshot": t}) for p, t in zip(pieces, steps(pieces), strict=True)]


@_hostile("json-string", "the piece is a JSON string within a JSON string", joined(lambda d: str(json.loads(d["payload"]))))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [event({"payload": json.dumps(p)}) for p in pieces]


@_hostile("json-in-json", "the piece is in a document within a document within a document", joined(lambda d: str(json.loads(json.loads(d["payload"])["body"])["text"])))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [
        event({"type": "chunk", "payload": dense({"body": dense({"text": p, "n": i})})}) for i, p in enumerate(pieces)
    ]


@_hostile("escapes", "every character is an escape", _READ_DELTA)
def _(pieces: list[str]) -> list[bytes]:
    def escaped(text: str) -> str:
        units = text.encode("utf-16-be").hex()
        return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))

    return [event("", spell=lambda _, p=p: f'{{"choices":[{{"index":0,"delta":{{"content":"{escaped(p)}"}}}}]}}') for p in pieces]  # fmt: skip


@_hostile("escaped-arguments", "every character is an escape within the arguments of a tool, cut anywhere", joined(_called, within=note))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    def escaped(text: str) -> str:
        units = text.encode("utf-16-be").hex()
        return "".join(f"\\u{units[i : i + 4]}" for i in range(0, len(units), 4))

    whole = '{"note":"' + "".join(map(escaped, pieces)) + '"}'
    cuts = [0, *accumulate(max(1, len(p) * 6 - 2) for p in pieces), len(whole)]
    told = [whole[a:b] for a, b in pairwise(cuts)]
    return [event(chunk({"tool_calls": [{"index": 0, "function": {"arguments": a}}]})) for a in told] + [DONE]


@_hostile("crlf", "lines end with CRLF", _READ_DELTA)
def _(pieces: list[str]) -> list[bytes]:
    return [u.replace(b"\n", b"\r\n") for u in [*(event(_delta(p)) for p in pieces), DONE]]


@_hostile("cr", "lines end with CR alone", _READ_DELTA)
def _(pieces: list[str]) -> list[bytes]:
    return [u.replace(b"\n", b"\r") for u in [*(event(_delta(p)) for p in pieces), DONE]]


@_hostile("data-lines", "the document of an event is spread over several data lines", _READ_DELTA)
def _(pieces: list[str]) -> list[bytes]:
    def told(piece: str) -> bytes:
        lines = json.dumps(_delta(piece), indent=1, ensure_ascii=False).split("\n")
        return ("".join(f"data: {text}\n" for text in lines) + "\n").encode()

    return [*map(told, pieces), DONE]


@_hostile("comments", "comments, pings and retry fields between all pieces", _READ_DELTA)
def _(pieces: list[str]) -> list[bytes]:
    told = [b"retry: 3000\n\n"]
    for i, piece in enumerate(pieces):
        told += [
            event(_delta(piece)),
            b": keep-alive\n\n",
            b'event: ping\ndata: {"type":"ping"}\n\n',
            f"id: {i}\n\n".encode(),
        ]
    return [*told, DONE]


@_hostile("no-blank-line", "the last event, with a piece, ends without its blank line", _READ_DELTA)
def _(pieces: list[str]) -> list[bytes]:
    *told, end = [event(_delta(p)) for p in pieces]
    return [*told, end.removesuffix(b"\n")]


@_hostile("no-line-end", "the stream ends in the last line of [DONE]", _READ_DELTA)
def _(pieces: list[str]) -> list[bytes]:
    return [*(event(_delta(p)) for p in pieces), b"data: [DONE]"]


@_hostile("last-line", "the last line has no newline", joined(place("text"), form="lines"), form="lines")
def _(pieces: list[str]) -> list[bytes]:
    *told, end = [line({"text": p}) for p in pieces]
    return [*told, end.removesuffix(b"\n")]


@_hostile("lines", "lines of JSON with a text and nothing else", joined(place("text"), form="lines"), form="lines")
def _(pieces: list[str]) -> list[bytes]:
    return [line({"text": p}) for p in pieces]


@_hostile("nested-lists", "pairs of a name and a piece in lists", joined(lambda d: d[0][1]))
def _(pieces: list[str]) -> list[bytes]:
    return [event([["text", p], ["seq", i]]) for i, p in enumerate(pieces)]


@_hostile("event-names", "every event has a name of its own", lambda units: "".join(json.loads(data)["text"] for _, data in events(units)))  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [event({"text": p}, f"piece-{i}") for i, p in enumerate(pieces)]


@_hostile("bare-strings", "the data of an event is a JSON string", lambda units: "".join(documents(units, "events")))
def _(pieces: list[str]) -> list[bytes]:
    return [*(event(p) for p in pieces), DONE]


@_hostile("bare-messages", "a message is a JSON string", lambda units: "".join(documents(units, "messages")), form="messages")  # fmt: skip
def _(pieces: list[str]) -> list[bytes]:
    return [message(p) for p in pieces]


def _under(member: str) -> None:
    @_hostile(f"under-{member}", f"pieces under {member}, where most services have none", joined(place(member, "text")))
    def _(pieces: list[str]) -> list[bytes]:
        return [event({"type": "chunk", member: {"text": p}}) for p in pieces]


for _member in ("error", "metadata", "usage", "citations", "item"):
    _under(_member)


@_hostile("numbers", "pieces that are digits are JSON numbers", joined(lambda d: str(d["text"])))
def _(pieces: list[str]) -> list[bytes]:
    def told(piece: str) -> Any:
        is_number = piece.isascii() and piece.isdecimal() and str(int(piece)) == piece and len(piece) < 16
        return int(piece) if is_number else piece

    return [event({"text": told(p)}) for p in pieces]


@_hostile("names", "member names with NUL and unusual white space", joined(place("te\x00xt\u2003")))
def _(pieces: list[str]) -> list[bytes]:
    return [event({"\u00a0": "\u2028", "te\x00xt\u2003": p, "": i}, spell=spaced) for i, p in enumerate(pieces)]


@_hostile("ended-early", "done markers and finish reasons before the text has ended", joined(lambda d: d["text"]))
def _(pieces: list[str]) -> list[bytes]:
    told = [event({"text": p, "done": True, "finish_reason": "stop"}, "done") for p in pieces]
    return [*told[:1], DONE, *told[1:], DONE]
