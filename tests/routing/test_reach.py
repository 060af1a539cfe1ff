"""Which hosts may be dialled, and what `weir check` says about the others, as `tests/corpus/addresses.yaml` lists it."""

import json
import time
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from tests.corpora import corpus
from tests.processes import run

from weir.base.addresses import compile_addresses
from weir.rehearsal import reach
from weir.rehearsal.reach import advice, look_up
from weir.routing.dial import Dial, Dialed, refusal

TABLE = corpus("addresses")


@pytest.mark.parametrize("case", TABLE["names"], ids=lambda case: f"{case['host']} {case.get('resolves')}")
def test_names(case: dict[str, Any]) -> None:
    host, may = case["host"], compile_addresses(case.get("addresses"), case["host"])

    def resolve(name: str) -> list[str]:
        if "resolves" not in case:
            raise OSError("no such name")
        return list(case["resolves"])

    said = advice(host, may, look_up([host], resolve).get(host))
    assert said.endswith(case["line"]) if case["line"] else said == ""
    assert case.get("said", "") in said
    if case["line"]:  # with this line, the gateway dials it
        allowed = compile_addresses([w.strip() for w in case["line"].partition("[")[2].strip("]").split(",")], host)
        assert all(allowed.permits(ip_address(address)) for address in case.get("resolves", ["10.0.0.1"]))


@pytest.mark.parametrize("case", TABLE["literals"], ids=lambda case: str(case["host"]))
def test_an_address_may_be_dialled_in_every_form(case: dict[str, Any]) -> None:
    host = Dialed(case["host"], Dial("c", compile_addresses(None, case["host"])))
    assert (refusal(host) == "") is case["dialled"]


@pytest.mark.parametrize("case", TABLE["networks"], ids=lambda case: f"{case['addresses']} {case['of']}")
def test_networks_in_the_forms_of_ipv6(case: dict[str, Any]) -> None:
    assert compile_addresses(case["addresses"], "a.example").permits(ip_address(case["of"])) is case["dialled"]


def test_a_resolver_that_does_not_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reach, "PATIENCE", 0.05)

    def resolve(name: str) -> list[str]:
        time.sleep(3 if name == "slow.example" else 0)
        return ["10.0.0.1"]

    began = time.monotonic()
    assert look_up(["slow.example", "fast.example", "127.0.0.1"], resolve) == {"fast.example": [ip_address("10.0.0.1")]}
    assert time.monotonic() - began < 2


def test_check_names_the_line(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "gateway.yaml").write_text(
        "version: 1\nissuers: [local]\nlisten: [http://127.0.0.1:8080]\npass: ['elsewhere:443']\n"
    )
    (policies / "search.yaml").write_text(
        "version: 1\nconnection: search\nprofile: cohere\nupstream: http://search:9200\nmatch: {path: /search}\n"
    )

    def warnings(*options: str) -> list[str]:
        done = run("weir", "check", "--json", *options, folder=tmp_path)
        return [f"{row['line']} {row['message']}" for row in json.loads(done.stdout) if "addresses:" in row["message"]]

    assert warnings() == [
        "4 pass: elsewhere is a name of a local network, and only public ones are dialled; "
        "add the line: addresses: [private]",
        "4 upstream: search is a name of a local network, and only public ones are dialled; "
        "add the line: addresses: [private]",
    ]
    assert warnings("--offline") == []
