"""Streams are charged as they report. The gateway asks for the report, and callers receive it if they asked, too."""

import gzip
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import needs
from tests.end_to_end.gateway import (
    Answer,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    raw_answer,
    token,
    write_policies,
)

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

CONNECTION = """
version: 1
connection: {name}
profile: {profile}
upstream: http://127.0.0.1:{upstream}
match: {{path: /{name}}}
access: {{groups: [search]}}
limits: [{{rate: 10000/day, count: tokens, per: user}}]
rules:
  - name: at-most-1000
    when: {{max_output_tokens: {{gt: 1000}}}}
    effect: deny
  - name: options-are-judged
    when: {{model: judged, body: {{"$.stream_options.include_usage": true}}}}
    effect: deny
{more}
"""
MASKS = "masks: [{detect: [email], with: redact}]"
HIDDEN = "masks: [{fields: [$.usage, $.response.usage], with: redact}]"
#: An API without the option.
STRICT = "profile: strict\ntitle: A service that refuses the option\nextends: openai\nusage_option: false\n"

MESSAGES = [{"role": "user", "content": "hi"}]
CHAT = {"model": "m", "messages": MESSAGES, "stream": True}
PATH = "/v1/chat/completions"
USAGE = {"prompt_tokens": 19, "completion_tokens": 8, "total_tokens": 27}
TEXT = "Hello there, " * 50


def event(document: Any) -> bytes:
    return f"data: {json.dumps(document)}\n\n".encode()


def chat(*, reports: bool) -> bytes:
    head = {
        "id": "chatcmpl-B9MBs8CjcvOU2jLn4n570S5qMJKcT",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
    }
    pieces = [TEXT[i : i + 5] for i in range(0, len(TEXT), 5)]
    chunks = [{**head, "choices": [{"index": 0, "delta": {"content": p}, "finish_reason": None}]} for p in pieces]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    report = [{**head, "choices": [], "usage": USAGE}] if reports else []
    return b"".join(event(c) for c in [*chunks, *report]) + b"data: [DONE]\n\n"


def responses() -> bytes:
    response = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": [], "tools": [], "tool_choice": "auto", "parallel_tool_calls": True}  # fmt: skip
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    usage = {"input_tokens": 19, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 8, "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 27}  # fmt: skip
    documents: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "usage": None}},
        *({"type": "response.output_text.delta", **where, "delta": word, "logprobs": []} for word in TEXT.split(" ")),
        {"type": "response.completed", "response": {**response, "status": "completed", "usage": usage}},
    ]
    return b"".join(event({**document, "sequence_number": i}) for i, document in enumerate(documents))


def answer(seen: Seen) -> bytes:
    """Answer as OpenAI does: chat reports its usage only if the request has the option."""
    if not seen.body:
        return json_answer({"data": []})
    body = json.loads(seen.body)
    asked = (body.get("stream_options") or {}).get("include_usage") is True
    stream = responses() if b"/responses" in seen.head.partition(b"\r\n")[0] else chat(reports=asked)
    return raw_answer(stream, headers="Content-Type: text/event-stream\r\n")


@pytest.fixture(scope="module")
def service() -> Iterator[Upstream]:
    upstream = Upstream()
    upstream.answer = answer
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, service: Upstream, launch: Callable[..., Gateway]
) -> Iterator[Gateway]:
    folder, port = tmp_path_factory.mktemp("usage"), free_port()
    named = {
        "plain": ("openai", ""),
        "masked": ("openai", MASKS),
        "hidden": ("openai", HIDDEN),
        "strict": ("strict", ""),
    }
    connections = {
        name: CONNECTION.format(name=name, profile=profile, upstream=service.port, more=more)
        for name, (profile, more) in named.items()
    }
    write_policies(folder, port, service.port, **connections)
    (folder / "policies" / "reranker.yaml").unlink()
    (folder / "policies" / "profiles").mkdir()
    (folder / "policies" / "profiles" / "strict.yaml").write_text(STRICT)
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway
    gateway.stop()


def charged(site: Gateway, name: str, user: str) -> int:
    """Return how many tokens *user* has used, as the limit says in the next answer."""
    found = site.call(f"/{name}/v1/models", token=token(user), method="GET")
    return 10_000 - int(found.headers["ratelimit"].partition("r=")[2].partition(";")[0])


def recorded(site: Gateway, found: Answer | None = None) -> tuple[int | None, str, str]:
    """Return the newest record's tokens, and the texts of its request and its answer."""
    which = "" if found is None else f"AND request_id = '{found.headers['x-request-id']}'"
    query = f"SELECT request_id, tokens FROM flows WHERE method = 'POST' {which} ORDER BY time DESC LIMIT 1"
    ((request_id, tokens),) = site.sql(query)
    flow = next(f for f in site.flows() if request_id in str(f.metadata))
    assert flow.response is not None
    return tokens, flow.request.get_text() or "", flow.response.get_text() or ""


def read_chat(url: str, key: str, **more: Any) -> list[Any]:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **more)  # type: ignore[call-overload]
        return [chunk.model_dump(warnings=False) for chunk in stream]


@pytest.mark.parametrize("name", ["plain", "masked", "hidden", "strict"])
@pytest.mark.parametrize("asks", [False, True])
def test_the_sdk_reads_the_same_stream_as_without_the_gateway(
    name: str, asks: bool, site: Gateway, service: Upstream
) -> None:
    if reason := needs.client("openai"):
        pytest.skip(reason)
    options = {"stream_options": {"include_usage": True}} if asks else {}
    direct = read_chat(f"http://127.0.0.1:{service.port}", "key", **options)
    through = read_chat(f"http://127.0.0.1:{site.port}/{name}", token(f"sdk-{name}-{asks}"), **options)
    if name == "hidden" and asks:
        assert through.pop()["id"] == direct.pop()["id"]  # this mask changes the report itself
    assert through == direct
    reports = asks or name != "strict"
    assert (b'"include_usage"' in service.seen[-1].body) is reports
    tokens, request, response = recorded(site)
    assert tokens == (27 if reports else None)
    assert json.loads(request) == json.loads(service.seen[-1].body), "the record has the request as it was sent"
    assert ('"usage"' in response) is reports, "the record keeps the report"


def test_responses_are_charged_as_their_last_event_reports(site: Gateway) -> None:
    if reason := needs.client("openai"):
        pytest.skip(reason)
    import openai

    url = f"http://127.0.0.1:{site.port}/plain/v1"
    with openai.OpenAI(base_url=url, api_key=token("responses"), max_retries=0) as client:
        last = [event.type for event in client.responses.create(model="m", input="hi", stream=True)][-1]
    assert last == "response.completed"
    assert recorded(site)[0] == charged(site, "plain", "responses") == 27


@pytest.mark.parametrize(("name", "tokens"), [("plain", 27), ("masked", 27), ("hidden", 27), ("strict", None)])
def test_a_stream_is_charged_as_it_reports_or_by_its_texts(name: str, tokens: int | None, site: Gateway) -> None:
    found = site.call(f"/{name}{PATH}", CHAT, token=token(f"charged-{name}"))
    assert (found.status, b"[DONE]" in found.body, b'"usage"' in found.body) == (200, True, False)
    assert recorded(site, found)[0] == tokens
    texts = len(TEXT) + len("m" + "user" + "hi")
    assert charged(site, name, f"charged-{name}") == (tokens or -(-texts // 4))


def test_an_answer_that_is_not_streamed_has_no_report_that_the_caller_did_not_ask_for(
    site: Gateway, service: Upstream
) -> None:
    headers = "Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n"
    with service.answering(raw_answer(gzip.compress(chat(reports=True)), headers=headers)):
        found = site.call(f"/plain{PATH}", CHAT, token=token("whole"))
        asked = site.call(f"/plain{PATH}", {**CHAT, "stream_options": {"include_usage": True}}, token=token("whole"))
    assert (b'"usage"' in found.body, b'"usage"' in asked.body) == (False, True)
    assert found.body == chat(reports=False) and asked.body == chat(reports=True)
    tokens, _, response = recorded(site, found)
    assert tokens == 27 and '"usage"' in response


def test_a_stream_that_is_cut_is_charged_by_the_texts_that_arrived(site: Gateway, service: Upstream) -> None:
    def cut(seen: Seen) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        half = chat(reports=True).partition(b'"finish_reason": "stop"')[0]
        yield b"%x\r\n%s\r\n" % (len(half), half)
        yield b""

    service.answer = cut
    try:
        with pytest.raises(Exception, match="IncompleteRead"):
            site.call(f"/plain{PATH}", CHAT, token=token("cut"))
    finally:
        service.answer = answer
    assert charged(site, "plain", "cut") == -(-(len(TEXT) + len("muserhi")) // 4)


def test_completions_multiply_the_tokens_that_a_rule_caps(site: Gateway, service: Upstream) -> None:
    before = len(service.seen)
    for more in ({"n": 2}, {"n": 1, "best_of": 2}, {"max_completion_tokens": 1001}):
        found = site.call(f"/plain{PATH}", {**CHAT, "max_tokens": 900, **more}, token=token("many"))
        assert (found.status, found.json["rule"]) == (403, "at-most-1000")
    prompts = {"model": "m", "prompt": ["a"] * 100, "max_tokens": 11}
    assert site.call("/plain/v1/completions", prompts, token=token("many")).problem == "denied-by-rule"
    assert len(service.seen) == before
    assert site.call(f"/plain{PATH}", {**CHAT, "max_tokens": 900, "n": 1}, token=token("many")).status == 200


def test_rules_judge_the_option_that_is_sent(site: Gateway, service: Upstream) -> None:
    before = len(service.seen)
    assert site.call(f"/plain{PATH}", {**CHAT, "model": "judged"}, token=token()).json["rule"] == "options-are-judged"
    assert len(service.seen) == before
    assert site.call(f"/strict{PATH}", {**CHAT, "model": "judged"}, token=token()).status == 200
    spelled = {**CHAT, "Stream_Options": {"include_usage": False}}
    assert site.call(f"/plain{PATH}", spelled, token=token()).problem == "unreadable-body"
