"""Tokens of vendors, made up from a prefix, an alphabet and a length; and the places in which secrets stand."""

import random
import re
import string

import pytest
from tests.corpora import corpus
from tests.masking.making import everything
from tests.masking.quality import DETECTORS

from weir.masking.detectors.engine import GROUPS
from weir.masking.masker import mask_text
from weir.masking.streams import PlainMasker
from weir.masking.walk import Report

ALPHABETS = {
    "a": string.ascii_letters + string.digits, "l": string.ascii_lowercase + string.digits, "u": string.ascii_uppercase + string.digits,
    "h": "0123456789abcdef", "w": string.ascii_letters + string.digits + "_-", "d": string.digits, "b": string.ascii_letters + string.digits + "+/",
    "e": string.ascii_letters, "x": "023456789ACDEFGHJKLMNPQRSTUVWXYZ",
}  # fmt: skip
FORMS: list[str] = corpus("vendor_tokens")


def made(form: str, chance: random.Random) -> str:
    """Return a token of *form*. It begins and ends with a letter or digit."""

    def part(match: re.Match[str]) -> str:
        letters, length = ALPHABETS[match[1]], int(match[2])
        inner = "".join(chance.choices(letters, k=length - 2)) if length > 2 else ""
        edge = [c for c in letters if c.isalnum()]
        return f"{chance.choice(edge)}{inner}{chance.choice(edge)}"[:length]

    return re.sub(r"<([a-z])(\d+)>", part, form)


def secrets_in(text: str) -> list[str]:
    return [text[s.start : s.end] for s in DETECTORS.find(text) if s.kind in GROUPS["secrets"]]


@pytest.mark.parametrize("form", FORMS)
def test_a_token_is_masked_whole_wherever_it_stands(form: str) -> None:
    chance = random.Random(form)
    for _ in range(5):
        token = made(form, chance)
        for text in (token, f"Use {token}.", f'"{token}",', f"<{token}>", f"a\n{token}\nb"):
            assert secrets_in(text) == [token]


@pytest.mark.parametrize(
    "text",
    [
        "hf_requiredCharacteristicTypesForDisplay", "test_reads_every_line_of_the_configuration_file", "AKIAIOSFODNN7EXAMPLE", "xoxb-xoxb-my-bot-token", "xoxp-1-RANDOMSTRINGHERE",
        "s.makeKubeConfigController = args", "s.THISSTRINGISALLUPPERCASE", "glpat-XXXXXXXXXXXXXXXXXXXX", "sk-abcdefghijklmnopqrstuvwxyz", "ghp_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "curl -u user:password http://x", "curl -u \"$USER:$PASS\" http://x", "curl -u <user>:<pass> x", "docker run -u 1000:1000 image", "Authorization: Bearer <token>\n2024-12-03T02:27:52Z started",
        "snowflake.password=\njdbc.snowflake.url=", "password = var.db_password", "pw = pw[:-1]", "authorization = base64.decodebytes(x)", "pass encoding=encoding)", "csrf_token = 8f14e45fceea167a5a36dedd4bea2543",
        "export TOKEN=ops_eyJzaWduSW5BZGRyZXNzIjoi...",
    ],
)  # fmt: skip
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert secrets_in(text) == []


VALUE = "q7Xk2mZr9Tb4Wv8Lp3Nd"


@pytest.mark.parametrize(
    "text",
    [
        "curl -u ci:{} https://x", "curl -s --user 'ci:{}' https://x", "curl -H 'Authorization: Token {}' https://x", "x_token: |\n  {}\nnext: 1", "x_token: >-\n    {}\n", 'System.setProperty("X_TOKEN", "{}")',
        "env('X_SECRET', '{}')", '{{"name":"X_TOKEN","value":"{}"}}', "- name: X_TOKEN\n  value: {}\n", 'name = "x_token"\nvalue = "{}"', '{{"name": "X_TOKEN", "type": "String", "value": "{}"}}',
        "<xToken>\n    {}\n</xToken>", "<key>ApiToken</key>\n<string>{}</string>", '<add key="ApiToken" value="{}"/>', 'var xToken string = "{}"', 'let xToken: String = "{}"', 'const char x_token[] = "{}";', 'x_TOKEN ::= "{}"',
        'x_TOKEN ?= "{}"', '$xToken .= "{}"', 'x_token ??= "{}"', 'XToken => "{}"', "https://x.example/?access_token={}", 'XYZToken := `{}`',
    ],
)  # fmt: skip
def test_places_in_which_a_secret_stands(text: str) -> None:
    found = secrets_in(text.format(VALUE))
    assert len(found) == 1 and VALUE in found[0]


def test_a_token_that_is_encoded_twice() -> None:
    text = "ZXlKaGJHY2lPaUpJVXpJMU5pSXNJblI1Y0NJNklrcFhWQ0o5LmV5SnpkV0lpT2lJeE1qTTBOVFkzT0Rrd0luMC5hYmNkZWY="
    assert secrets_in(f"cookie {text} end") == [text]


@pytest.mark.parametrize("size", [1, 5])
@pytest.mark.parametrize(
    "text",
    [
        "curl -u ci:hunter!two https://x y",
        "<xPassword>\n    hunter!two\n</xPassword> tail",
        "- name: X_PASSWORD\n  value: hunter!two\nmore words",
        "token glpat-q7Xk2mZr9Tb4Wv8Lp3Ndabcdefg.01.0a1b2c3d4 and more",
        "Desk: 9747 6578 now",
        "Text the word HELP to 9747 6578 please",
    ],
)
def test_pieces_of_a_stream_are_masked_like_the_whole(text: str, size: int) -> None:
    masker = PlainMasker(everything(), Report())
    pieces = [text[i : i + size].encode() for i in range(0, len(text), size)]
    out = b"".join([*(p for piece in pieces for p in masker.feed(piece)), *masker.end()]).decode()
    assert out == mask_text(everything(), text, Report()) != text
