"""Policy examples in the README are valid: each one is in policies/, where a case of a policy test matches it."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from weir.config.model import GatewaySettings
from weir.policyset.load import load_without_secrets
from weir.rehearsal.cases import load_cases, run_cases

ROOT = Path(__file__).parents[1]
FOLDERS = [ROOT / "policies", ROOT / "policies/guardrails"]


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


BLOCKS = [parsed(block) for block in re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)]
FILES = [parsed(path.read_text()) for folder in FOLDERS for path in sorted(folder.glob("*.yaml"))]
PROFILES = [parsed(path.read_text()) for folder in FOLDERS for path in sorted(folder.glob("profiles/*.yaml"))]
CASES = [
    case for folder in FOLDERS for path in sorted(folder.glob("tests/*.yaml")) for case in parsed(path.read_text())
]


def examples(kind: str) -> list[Any]:
    found = [entry for block in BLOCKS if isinstance(block, dict) for entry in block.get(kind, [])]
    assert found, f"the README shows no {kind}"
    return found


def test_every_rule_in_the_readme_stands_in_policies() -> None:
    known = [rule for file in FILES for rule in file.get("rules", [])]
    for rule in examples("rules"):
        assert rule in known, rule["name"]


def test_every_limit_in_the_readme_stands_in_policies() -> None:
    known = [limit for file in FILES for limit in file.get("limits", [])]
    for limit in examples("limits"):
        assert limit in known or limit == {"rate": "60/minute", "per": "user"}, limit


def test_every_profile_and_case_in_the_readme_stands_in_policies() -> None:
    profiles = [block for block in BLOCKS if isinstance(block, dict) and "operations" in block]
    assert profiles and all(profile in PROFILES for profile in profiles)
    cases = [case for block in BLOCKS if isinstance(block, list) for case in block]
    trimmed = [{**case, "expect": {k: v for k, v in case["expect"].items() if k != "problem"}} for case in CASES]
    assert cases and all({**case, "groups": None} in [{**c, "groups": None} for c in trimmed] for case in cases)


def test_every_part_of_gateway_yaml_in_the_readme_is_one() -> None:
    text = (ROOT / "README.md").read_text()
    parts = [parsed(block) for block in re.findall(r"```yaml\n(# of gateway\.yaml.*?)```", text, re.DOTALL)]
    assert len(parts) > 1
    for part in parts:
        GatewaySettings.model_validate({"version": 1, "listen": ["http://127.0.0.1:8080"], **part})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_rule_in_policies_is_matched_by_a_case_and_every_case_passes(folder: Path) -> None:
    policies, _ = load_without_secrets(folder)
    results = list(run_cases(policies, load_cases(folder)))
    assert results and {r.case.settings.name: r.differences for r in results if not r.passed} == {}
    covered = frozenset().union(*(result.covered for result in results))
    rules = {(c.name, r.name) for c in policies.connections for r in (*c.rules.rules, *c.response_rules.rules)}
    assert rules <= covered
