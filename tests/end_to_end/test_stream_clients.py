"""Official SDKs read the same streams through the gateway as without it, except for masked values.

The service replays the units of a shape, one per chunk. The SDK reads them directly, and then through Weir.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, is_dataclass
from itertools import zip_longest
from typing import Any

import pytest

from tests import needs
from tests.end_to_end.gateway import Gateway, Seen, Upstream, free_port, token, write_policies
from tests.masking.making import everything
from tests.masking.shapes import SHAPES, at, note
from weir.masking.masker import mask_text
from weir.masking.walk import Report

#: Warnings from imports of SDKs on newer versions of Python.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BY_NAME = {shape.name: shape for shape in SHAPES}
FORMS = {"events": "text/event-stream", "lines": "application/x-ndjson"}

CONNECTION = """
version: 1
connection: {profile}
profile: {profile}
upstream: http://127.0.0.1:{upstream}
match: {{path: /{profile}}}
access: {{groups: [search]}}
masks: [{{detect: [all], with: redact}}]
"""
#: A minimal profile of operations that no built-in profile covers.
OPERATIONS = """
profile: clients
title: What the SDKs of the tests call
operations:
  - paths:
      - /v1/messages
      - /v1/conversations
      - /v1/chat/completions
      - "/{version}/models/{model}:streamGenerateContent"
      - /api/chat
      - /api/generate
      - /generate_stream
    operation: chat
    request: {query: [$.messages, $.inputs, $.contents, $.prompt], model: $.model, stream: $.stream}
"""

WITH_VALUES = {
    "mail-and-phone": ["Write to ", "alice.sm", "ith@exam", "ple.com or", " call +44 20 7946", " 0958 tod", "ay", "."],
    "card-by-digits": ["My card is ", *"4111 1111 1111 1111", ", thanks", "."],
    "ends-with-an-iban": ["Pay", " to DE89", " 3704", " 0044", " 0532", " 0130", " 00"],
}
WITHOUT_VALUES = {
    "words": [
        "The",
        " quick",
        " fox",
        " jumps",
        " 日本",
        "語 ",
        "😀",
        ' "quoted" \\ ',
        "\n\n- a",
        "\n- b",
        "\t1. ",
        "2.0.1",
    ],
    "letters": list("He paid 7 of 12, as they say."),
}
HELLO = [{"role": "user", "content": "hi"}]


def blank(found: Any) -> Any:
    """Return an SDK's object as plain data."""
    if hasattr(found, "model_dump"):
        return json.loads(json.dumps(found.model_dump(mode="json", warnings=False)))
    return json.loads(json.dumps(asdict(found) if is_dataclass(found) and not isinstance(found, type) else found))


# One function per SDK and way of reading. It yields the objects of the stream at *url*, and the assembled result last.


def openai_chat(url: str, key: str) -> Iterator[Any]:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield from client.chat.completions.create(model="m", messages=HELLO, stream=True)
        with client.chat.completions.stream(model="m", messages=HELLO) as stream:
            yield stream.get_final_completion()


def openai_completions(url: str, key: str) -> Iterator[Any]:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield from client.completions.create(model="m", prompt="hi", stream=True)


def openai_responses(url: str, key: str) -> Iterator[Any]:
    import openai

    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        yield from client.responses.create(model="m", input="hi", stream=True)
        with client.responses.stream(model="m", input="hi") as stream:
            yield stream.get_final_response()


def anthropic_messages(url: str, key: str) -> Iterator[Any]:
    import anthropic

    with anthropic.Anthropic(base_url=url, auth_token=key, api_key=None, max_retries=0) as client:
        yield from client.messages.create(model="m", max_tokens=99, messages=HELLO, stream=True)
        with client.messages.stream(model="m", max_tokens=99, messages=HELLO) as stream:
            yield stream.get_final_message()


def cohere_chat(url: str, key: str) -> Iterator[Any]:
    import cohere

    with cohere.ClientV2(key, base_url=url) as client:
        yield from client.chat_stream(model="m", messages=HELLO)


def mistral_chat(url: str, key: str) -> Iterator[Any]:
    from mistralai.client import Mistral

    client = Mistral(api_key=key, server_url=url)
    with client, client.chat.stream(model="m", messages=HELLO) as stream:
        yield from stream


def mistral_conversation(url: str, key: str) -> Iterator[Any]:
    from mistralai.client import Mistral

    client = Mistral(api_key=key, server_url=url)
    with client, client.beta.conversations.start_stream(model="m", inputs="hi") as stream:
        yield from stream


def google_generate(url: str, key: str) -> Iterator[Any]:
    from google import genai

    options = {"base_url": url, "headers": {"Authorization": f"Bearer {key}"}}
    client = genai.Client(api_key="unused", http_options=options)
    try:
        for response in client.models.generate_content_stream(model="gemini-2.5-flash", contents="hi"):
            response.sdk_http_response = None  # the head contains header fields of the gateway
            yield response
    finally:
        client.close()


def ollama_chat(url: str, key: str) -> Iterator[Any]:
    import ollama

    client = ollama.Client(host=url, headers={"Authorization": f"Bearer {key}"})
    try:
        yield from client.chat(model="m", messages=HELLO, stream=True)
    finally:
        client.close()


def ollama_generate(url: str, key: str) -> Iterator[Any]:
    import ollama

    client = ollama.Client(host=url, headers={"Authorization": f"Bearer {key}"})
    try:
        yield from client.generate(model="m", prompt="hi", stream=True)
    finally:
        client.close()


def huggingface_generate(url: str, key: str) -> Iterator[Any]:
    import huggingface_hub

    with huggingface_hub.InferenceClient(model=f"{url}/generate_stream", token=key) as client:
        yield from client.text_generation("hi", stream=True, details=True)


def huggingface_chat(url: str, key: str) -> Iterator[Any]:
    import huggingface_hub

    with huggingface_hub.InferenceClient(base_url=f"{url}/v1", token=key) as client:
        yield from client.chat_completion(HELLO, model="m", stream=True)


@dataclass(frozen=True)
class Client:
    """An SDK that reads one shape.

    ``told`` is the path of the text's pieces in its objects, ``whole`` are paths of the complete text in other objects.
    In paths, ``*`` stands for any index. ``only``, a path and a value, selects the objects with pieces.
    """

    package: str
    read: Callable[[str, str], Iterable[Any]]
    shape: str
    told: str
    whole: tuple[str, ...] = ()
    only: tuple[str, Any] | None = None

    def text(self, found: list[Any]) -> str:
        """Return the text of all pieces in its objects."""
        chosen = [o for o in found if self.only is None or _found(o, self.only[0]) == self.only[1]]
        pieces = [_found(o, self.told) for o in chosen]
        text = "".join(p for p in pieces if isinstance(p, str))
        return note(text) if text.startswith('{"note"') else text


def _found(document: Any, path: str) -> Any:
    return at(document, *(int(s) if s.isdigit() else s for s in path.split(".")))


_RESPONSE = "response.output.*.content.*"
CLIENTS = [
    Client("openai", openai_chat, "openai-chat", "choices.0.delta.content", ("choices.*.message.content",)),
    Client("openai", openai_chat, "azure-openai", "choices.0.delta.content", ("choices.*.message.content",)),
    Client("openai", openai_chat, "deepseek-reasoning", "choices.0.delta.content", ("choices.*.delta.reasoning_content", "choices.*.message.content", "choices.*.message.reasoning_content")),
    Client("openai", openai_chat, "openrouter-chat", "choices.0.delta.content", ("choices.*.message.content",)),
    Client("openai", openai_chat, "openai-chat-refusal", "choices.0.delta.refusal", ("choices.*.message.refusal",)),
    Client("openai", openai_chat, "openai-chat-tool-calls", "choices.0.delta.tool_calls.0.function.arguments", ("choices.*.message.tool_calls.*.function.arguments",)),
    Client("openai", openai_completions, "openai-completions", "choices.0.text"),
    Client("openai", openai_responses, "openai-responses", "delta", ("text", "part.text", "item.content.*.text", f"{_RESPONSE}.text", "output.*.content.*.text")),
    Client("openai", openai_responses, "openai-responses-refusal", "delta", ("refusal", "part.refusal", "item.content.*.refusal", f"{_RESPONSE}.refusal", "output.*.content.*.refusal")),
    Client("openai", openai_responses, "openai-responses-function-call", "delta", ("arguments", "item.arguments", "response.output.*.arguments", "output.*.arguments")),
    Client("openai", openai_responses, "openai-responses-reasoning-summary", "delta", ("text", "part.text", "item.summary.*.text", "response.output.*.summary.*.text", "output.*.summary.*.text")),
    Client("openai", openai_responses, "openai-responses-code-interpreter", "delta", ("code", "item.code", "response.output.*.code", "output.*.code")),
    Client("openai", openai_responses, "openai-responses-audio-transcript", "delta", only=("type", "response.audio.transcript.delta")),
    Client("anthropic", anthropic_messages, "anthropic-text", "delta.text", ("content.*.text",)),
    Client("anthropic", anthropic_messages, "anthropic-thinking", "delta.thinking", ("content.*.thinking",)),
    Client("anthropic", anthropic_messages, "anthropic-tool-use", "delta.partial_json", ("content.*.input.note",)),
    Client("cohere", cohere_chat, "cohere-chat", "delta.message.content.text"),
    Client("cohere", cohere_chat, "cohere-tool-plan", "delta.message.tool_plan"),
    Client("cohere", cohere_chat, "cohere-tool-call", "delta.message.tool_calls.function.arguments"),
    Client("mistralai.client", mistral_chat, "mistral-chat", "data.choices.0.delta.content"),
    Client("mistralai.client", mistral_chat, "mistral-thinking", "data.choices.0.delta.content", ("data.choices.*.delta.content.*.thinking.*.text",)),
    Client("mistralai.client", mistral_conversation, "mistral-conversations", "data.content"),
    Client("google.genai", google_generate, "gemini", "candidates.0.content.parts.0.text"),
    Client("google.genai", google_generate, "gemini-thought", "candidates.0.content.parts.0.text", only=("candidates.0.content.parts.0.thought", True)),
    Client("ollama", ollama_chat, "ollama-chat", "message.content"),
    Client("ollama", ollama_chat, "ollama-chat-thinking", "message.content", ("message.thinking",)),
    Client("ollama", ollama_generate, "ollama-generate", "response"),
    Client("huggingface_hub", huggingface_generate, "huggingface-generate", "token.text", ("generated_text",)),
    Client("huggingface_hub", huggingface_chat, "huggingface-chat", "choices.0.delta.content"),
]  # fmt: skip


@pytest.fixture(scope="module")
def service() -> Iterator[Upstream]:
    upstream = Upstream()
    yield upstream
    upstream.stop()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, service: Upstream, launch: Callable[..., Gateway]
) -> Iterator[Gateway]:
    folder, port = tmp_path_factory.mktemp("clients"), free_port()
    names = ("openai", "cohere", "clients")
    connections = {name: CONNECTION.format(profile=name, upstream=service.port) for name in names}
    write_policies(folder, port, service.port, **connections)
    (folder / "policies" / "reranker.yaml").unlink()
    (folder / "policies" / "profiles").mkdir()
    (folder / "policies" / "profiles" / "clients.yaml").write_text(OPERATIONS)
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway
    gateway.stop()


def read(client: Client, pieces: list[str], site: Gateway, service: Upstream) -> tuple[list[Any], list[Any]]:
    """Return the SDK's objects of the direct stream, and of the stream through the gateway."""
    if reason := needs.client(client.package):
        pytest.skip(reason)
    shape = BY_NAME[client.shape]
    units = shape.told(pieces)

    def answer(seen: Seen) -> Iterator[bytes]:
        yield f"HTTP/1.1 200 OK\r\nContent-Type: {FORMS[shape.form]}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        for unit in _asked(units, seen):
            yield b"%x\r\n%s\r\n" % (len(unit), unit)
        yield b"0\r\n\r\n"

    service.answer = answer
    connection = shape.profile if shape.profile in ("openai", "cohere") else "clients"
    urls = f"http://127.0.0.1:{service.port}", f"http://127.0.0.1:{site.port}/{connection}"
    direct, through = ([blank(found) for found in client.read(url, token())] for url in urls)
    return direct, through


def _asked(units: list[bytes], seen: Seen) -> list[bytes]:
    """Return the *units* of a service that reports the usage of a chat in a document of its own, if it is asked."""
    asked = b'"include_usage":true' in seen.body.replace(b" ", b"") or b"/chat/completions" not in seen.head
    return [unit for unit in units if asked or b'"choices":[],' not in unit or b'"usage":{' not in unit]


def differences(one: Any, other: Any, path: str = "") -> set[str]:
    """Return the paths at which two documents differ."""
    if type(one) is dict and type(other) is dict:
        members = {**one, **other}
        absent = object()
        return {d for m in members for d in differences(one.get(m, absent), other.get(m, absent), f"{path}.{m}")}
    if type(one) is list and type(other) is list and len(one) == len(other):
        return {d for a, b in zip(one, other, strict=True) for d in differences(a, b, f"{path}.*")}
    return set() if type(one) is type(other) and one == other else {path[1:]}


def cases(texts: dict[str, list[str]]) -> Any:
    ids = [f"{c.package.partition('.')[0]}: {c.shape}" for c in CLIENTS]
    pieces = pytest.mark.parametrize("pieces", texts.values(), ids=texts)
    return lambda test: pytest.mark.parametrize("client", CLIENTS, ids=ids)(pieces(test))


@cases(WITH_VALUES)
def test_an_sdk_reads_the_same_but_for_values(
    client: Client, pieces: list[str], site: Gateway, service: Upstream
) -> None:
    direct, through = read(client, pieces, site, service)
    masked = mask_text(everything(), client.text(direct), Report())
    assert client.text(through) == masked != client.text(direct)
    texts = {client.told.replace(".0", ".*"), *client.whole}
    found = [differences(one, other) for one, other in zip_longest(direct, through)]
    assert set().union(*found) - texts == set()


@cases(WITHOUT_VALUES)
def test_an_sdk_reads_the_same_where_there_is_no_value(
    client: Client, pieces: list[str], site: Gateway, service: Upstream
) -> None:
    direct, through = read(client, pieces, site, service)
    assert through == direct
