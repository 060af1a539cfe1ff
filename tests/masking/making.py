"""Compile masks and apply them, for the tests in this folder."""

import json
from functools import cache
from typing import Any

from weir.base.content import parse
from weir.config.model import MaskSettings
from weir.masking.masker import mask_json
from weir.masking.masks import MaskedField, Masks, View, compile_masks
from weir.masking.strategies import Tokens
from weir.masking.walk import Report

KEY = b"k" * 32


def masks(*entries: dict[str, Any], key: bytes = KEY, own: Any = None) -> Masks:
    return compile_masks([MaskSettings.model_validate(entry) for entry in entries], Tokens([key]), own=own)


def view(*entries: dict[str, Any], own: Any = None) -> View:
    """Return the masks for the record of responses."""
    return masks(*entries, own=own).record("response")


@cache
def everything(strategy: str = "redact") -> View:
    """Return a view that masks all kinds. It is compiled once: that takes half a second."""
    return view({"detect": ["all"], "with": strategy})


def masked_bytes(body: bytes, *entries: dict[str, Any]) -> tuple[bytes, list[MaskedField]]:
    report = Report()
    return mask_json(view(*entries), body, parse(body), report), report.fields()


def spelt(text: str, escaped: list[bool]) -> str:
    """Write *text* as a JSON string; the marked characters are written as escapes."""
    parts = []
    for i, c in enumerate(text):
        if escaped and escaped[i % len(escaped)]:
            units = c.encode("utf-16-be")
            parts += [f"\\u{int.from_bytes(units[j : j + 2]):04x}" for j in range(0, len(units), 2)]
        else:
            parts.append(json.dumps(c, ensure_ascii=False)[1:-1])
    return f'"{"".join(parts)}"'
