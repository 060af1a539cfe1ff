"""``weir schema``: JSON Schemas of the files in the policies folder, for editors."""

import json
from enum import StrEnum
from typing import Annotated, Any

import typer
from pydantic import BaseModel

from weir.config.model import ConnectionSettings, GatewaySettings, ScheduleSettings
from weir.config.profile_settings import ProfileSettings
from weir.policy.facts import RESPONSE_FACTS, Kind
from weir.rehearsal.cases import CaseFile


class What(StrEnum):
    """The kinds of files in the policies folder."""

    CONNECTION = "connection"
    GATEWAY = "gateway"
    PROFILE = "profile"
    SCHEDULE = "schedule"
    TESTS = "tests"


_MODELS: dict[What, type[BaseModel]] = {
    What.CONNECTION: ConnectionSettings,
    What.GATEWAY: GatewaySettings,
    What.PROFILE: ProfileSettings,
    What.SCHEDULE: ScheduleSettings,
    What.TESTS: CaseFile,
}


def schema(what: Annotated[What, typer.Argument(help="The kind of file.")] = What.CONNECTION) -> None:
    """Print the JSON Schema of a kind of file in the policies folder.

    Editors with a YAML language server use it after the first line
    [bold]# yaml-language-server: $schema=connection.schema.json[/].

    [bold]Examples[/]

      weir schema > policies/connection.schema.json

      weir schema gateway > policies/gateway.schema.json
    """
    print(json.dumps(json_schema(what), indent=1))


def json_schema(what: What) -> dict[str, Any]:
    """Return the JSON Schema of *what*, with every fact and matcher that a condition may have."""
    document = _MODELS[what].model_json_schema(by_alias=True)
    document["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    if what is What.CONNECTION:
        definitions = document["$defs"]
        definitions["RuleSettings"]["properties"]["when"] = {"$ref": "#/$defs/Condition"}
        definitions["Condition"] = _condition()
    return document


def _condition() -> dict[str, Any]:
    nested = {"$ref": "#/$defs/Condition"}
    several = {"type": "array", "items": nested, "minItems": 1}
    facts: dict[str, Any] = {name: _matcher(kind, name) for name, kind in RESPONSE_FACTS.items()}
    facts["body"] = {"type": "object", "minProperties": 1, "additionalProperties": _matcher(None, "")}
    facts["category"] = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
    facts |= {"any": several, "all": several, "not": nested}
    return {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": facts}


def _matcher(kind: Kind | None, name: str) -> dict[str, Any]:
    number, text = {"type": "number"}, {"type": "string"}
    value: dict[str, Any] = {"number": number, "boolean": {"type": "boolean"}, "text": text}.get(
        {"texts": "text", "list": "text"}.get(kind or "", kind or ""), {"type": ["string", "number", "boolean", "null"]}
    )
    values = {"type": "array", "items": value, "minItems": 1}
    operations: dict[str, Any] = {"in": values, "not_in": values, "exists": {"type": "boolean"}}
    if kind in ("number", None):
        operations |= dict.fromkeys(("gt", "ge", "lt", "le"), number)
    if kind in ("text", "texts", "list", None):
        operations |= dict.fromkeys(("matches", "starts_with", "contains"), text)
        operations["length"] = {"anyOf": [number, {"type": "object"}]}
    if name == "index":
        names = {"anyOf": [text, {"type": "array", "items": text}]}
        operations |= {"touches": names, "outside": names}
    return {
        "anyOf": [
            value,
            values,
            {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": operations},
        ]
    }
