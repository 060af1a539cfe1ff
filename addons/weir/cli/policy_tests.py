"""``weir test``: run the policy tests in the policies folder."""

import json
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from weir.base.mistakes import SettingError
from weir.base.text import inert
from weir.cli.explain import recorded
from weir.cli.fail import fail
from weir.policyset.load import folder_path, load_without_secrets
from weir.policyset.model import PolicySet
from weir.rehearsal.cases import FOLDER, Case, Result, case_from, load_cases, run_cases


def run_policy_tests(
    only: Annotated[str, typer.Argument(help="Run only cases with this text in their name, connection or file.")] = "",
    policies: Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")] = "",
    fail_only: Annotated[bool, typer.Option("--fail-only", help="Print only cases that fail.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report to this file.")] = None,
    coverage: Annotated[bool, typer.Option("--coverage", help="Exit with 1 if a rule has no case.")] = False,
    create: Annotated[str, typer.Option(help="Print a case made from the recorded request with this id.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Run the policy tests in the policies folder (tests/*.yaml).

    A case has a caller, a request, and the expected effect, rule or status. The exit code is 1 if a case fails. Rules
    without a matching case are listed.

    [bold]Examples[/]

      weir test

      weir test --fail-only --coverage --junit report.xml

      weir test --create 019fa1c2-7a51-7cc3-b1b5-3f8d9a1f0c11 >> policies/tests/reranker.yaml
    """
    folder = folder_path(policies)
    loaded, _ = load_without_secrets(folder)
    if create:
        try:
            print(case_from(loaded, recorded(loaded, create)[0], f"as recorded in {create}"), end="")
        except SettingError as error:
            fail(error.message)
        return
    cases = [case for case in load_cases(folder) if _is_meant(case, only)]
    if not cases:
        fail(
            f"{folder / FOLDER}: no case"
            + (f" has {only!r} in its name, connection or file" if only else "; add a file with cases there")
        )
    began = time.perf_counter()
    results = []
    for result in run_cases(loaded, cases):
        results.append(result)
        if not as_json and not (fail_only and result.passed):
            _print(result)
    uncovered = [] if only else _uncovered(loaded, results)
    failed = sum(not result.passed for result in results)
    if junit is not None:
        try:
            junit.write_bytes(_junit(results, time.perf_counter() - began))
        except OSError as error:
            fail(f"{junit}: cannot be written ({error.strerror})")
    if as_json:
        print(json.dumps({"cases": [_row(r) for r in results], "failed": failed, "uncovered": uncovered}, indent=1))
    else:
        for name in uncovered:
            print(f"no case matches {name}", file=sys.stderr)
        print(f"{len(results)} cases, {failed} failed, {len(uncovered)} rules without a case", file=sys.stderr)
    if failed or (coverage and uncovered):
        raise typer.Exit(1)


def _is_meant(case: Case, only: str) -> bool:
    return any(only in text for text in (case.settings.name, case.settings.connection, case.file))


def _print(result: Result) -> None:
    case = result.case
    print(inert(f"{'pass' if result.passed else 'FAIL'}  {case.settings.name}  ({case.file}:{case.line})"))
    for difference in result.differences:
        print(inert(f"      {difference}"))


def _row(result: Result) -> dict[str, object]:
    case = result.case
    return {
        "name": case.settings.name,
        "file": case.file,
        "line": case.line,
        "passed": result.passed,
        "differences": list(result.differences),
        "effect": result.outcome.effect if result.outcome else None,
        "rule": (result.outcome.rule or None) if result.outcome else None,
    }


def _uncovered(policies: PolicySet, results: Sequence[Result]) -> list[str]:
    """Return the rules and limits that no case matched, with their places."""
    covered = frozenset[tuple[str, str]]().union(*(result.covered for result in results))
    found = []
    for connection in policies.connections:
        rules = (*connection.rules.rules, *connection.response_rules.rules)
        found += [
            f"{connection.name}: {rule.name} ({rule.file}:{rule.line})"
            for rule in rules
            if (connection.name, rule.name) not in covered
        ]
    return found


def _junit(results: Sequence[Result], seconds: float) -> bytes:
    failed = sum(not result.passed for result in results)
    suite = ET.Element("testsuite", name="weir", tests=str(len(results)), failures=str(failed), time=f"{seconds:.3f}")
    for result in results:
        case: Case = result.case
        about = {"classname": case.settings.connection, "name": case.settings.name}
        element = ET.SubElement(suite, "testcase", about, file=case.file, line=str(case.line))
        if not result.passed:
            ET.SubElement(element, "failure", message=result.differences[0]).text = "\n".join(result.differences)
    return bytes(ET.tostring(suite, encoding="utf-8", xml_declaration=True))
