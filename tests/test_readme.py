"""The README and docs/ say what the project does: policies, settings, commands, links and references are checked.

Each policy that is shown stands in policies/, where a case of a policy test matches it.
"""

import functools
import importlib.util
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import duckdb
import pytest
from ruamel.yaml import YAML

from weir.base.problems import Kind
from weir.config.model import ConnectionSettings, GatewaySettings, IssuerSettings, ScheduleSettings
from weir.config.profile_settings import OperationSettings
from weir.policyset.load import load_without_secrets
from weir.recorder import catalog, live
from weir.recorder.folder import Recordings
from weir.rehearsal.cases import load_cases, run_cases

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FOLDERS = [ROOT / "policies", ROOT / "policies/guardrails"]
#: Pages that people write; those below docs/reference are generated.
WRITTEN = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")),
    *sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "reference"),
]


@functools.cache
def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documentation", ROOT / "scripts/docs.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def built() -> list[Path]:
    """All pages of the reference. Those that are not committed are written, as scripts/docs does."""
    folder = DOCS / "reference"
    for name, text in generator().pages().items():
        path = folder / name
        if name not in generator().COMMITTED and (not path.exists() or path.read_text() != text):
            fresh = path.with_suffix(f".{os.getpid()}")
            fresh.write_text(text)
            fresh.replace(path)
    return sorted(folder.glob("*.md"))


PAGES = [*WRITTEN, *built()]


def parsed(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


def fenced(language: str) -> list[str]:
    return [
        block
        for path in WRITTEN
        for block in re.findall(rf"^```{language}\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    ]


TEXTS = fenced("yaml")
BLOCKS = [parsed(block) for block in TEXTS]
FILES = [parsed(path.read_text()) for folder in FOLDERS for path in sorted(folder.glob("*.yaml"))]
PROFILES = [parsed(path.read_text()) for folder in FOLDERS for path in sorted(folder.glob("profiles/*.yaml"))]
CASES = [
    case for folder in FOLDERS for path in sorted(folder.glob("tests/*.yaml")) for case in parsed(path.read_text())
]


def examples(kind: str) -> list[Any]:
    lists = [block[kind] for block in BLOCKS if isinstance(block, dict) and isinstance(block.get(kind), list)]
    found = [entry for entries in lists for entry in entries]
    assert found, f"the documentation shows no {kind}"
    return found


# Policies.


def test_every_rule_in_the_documentation_stands_in_policies() -> None:
    known = [rule for file in FILES for rule in file.get("rules", [])]
    for rule in examples("rules"):
        assert rule in known, rule["name"]


def test_every_limit_in_the_documentation_stands_in_policies() -> None:
    known = [limit for file in FILES for limit in file.get("limits", [])]
    for limit in examples("limits"):
        assert limit in known or limit == {"rate": "60/minute", "per": "user"}, limit


def test_every_profile_and_case_in_the_documentation_stands_in_policies() -> None:
    profiles = [block for block in BLOCKS if isinstance(block, dict) and "operations" in block]
    assert profiles and all(profile in PROFILES for profile in profiles)
    cases = [case for block in BLOCKS if isinstance(block, list) for case in block]
    trimmed = [{**case, "expect": {k: v for k, v in case["expect"].items() if k != "problem"}} for case in CASES]
    assert cases and all({**case, "groups": None} in [{**c, "groups": None} for c in trimmed] for case in cases)


def test_every_part_of_gateway_yaml_in_the_documentation_is_one() -> None:
    parts = [parsed(text) for text in TEXTS if re.match(r"# (of|policies/)\s*gateway\.yaml", text)]
    assert len(parts) > 1
    for part in parts:
        GatewaySettings.model_validate({"version": 1, "listen": ["http://127.0.0.1:8080"], **part})


def test_every_part_of_a_connection_in_the_documentation_is_one() -> None:
    given = {"version": 1, "connection": "c", "profile": "cohere", "upstream": "https://api.example"}
    parts = [b for t, b in zip(TEXTS, BLOCKS, strict=True) if t.startswith("# of a connection")]
    lists = [b for b in BLOCKS if isinstance(b, dict) and {"rules", "limits", "masks"} & b.keys()]
    parts += [b for b in lists if "listen" not in b and isinstance(b.get("limits", []), list)]
    whole = [b for b in BLOCKS if isinstance(b, dict) and "connection" in b and "upstream" in b]
    assert len(parts) > 5 and len(whole) > 1
    for part in (*parts, *whole):
        ConnectionSettings.model_validate({**given, **part})


def test_every_other_setting_in_the_documentation_is_one() -> None:
    kinds: dict[str, tuple[Any, dict[str, Any]]] = {
        "# of an issuer": (IssuerSettings, {"name": "acme", "issuer": "https://login.example", "audience": "weir"}),
        "# of an operation in a profile": (OperationSettings, {"paths": "/ask", "operation": "chat"}),
        "# policies/schedules/": (ScheduleSettings, {}),
    }
    for start, (model, given) in kinds.items():
        parts = [b for t, b in zip(TEXTS, BLOCKS, strict=True) if t.startswith(start)]
        assert parts, start
        for part in parts:
            model.model_validate({**given, **part})


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_every_rule_in_policies_is_matched_by_a_case_and_every_case_passes(folder: Path) -> None:
    policies, _ = load_without_secrets(folder)
    results = list(run_cases(policies, load_cases(folder)))
    assert results and {r.case.settings.name: r.differences for r in results if not r.passed} == {}
    covered = frozenset().union(*(result.covered for result in results))
    rules = {(c.name, r.name) for c in policies.connections for r in (*c.rules.rules, *c.response_rules.rules)}
    assert rules <= covered


# Links.


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    titles = re.findall(r"^#+ (.+)$", without_code(path.read_text()), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", title.lower()).strip() for title in titles)
    return frozenset(re.sub(r"\s", "-", title) for title in plain)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        name, _, anchor = target.partition("#")
        to = (page.parent / name).resolve() if name else page
        assert to.exists(), target
        if page.is_relative_to(DOCS):
            assert to.is_relative_to(DOCS), f"{target}: the site has no page outside docs/"
        if anchor:
            assert anchor in anchors(to), target


def test_files_of_the_project_that_pages_name_are_there() -> None:
    folders = "addons|scripts|policies|tests|docs|examples"
    for page in WRITTEN:
        text = page.read_text()
        for name in re.findall(rf"`((?:{folders})/[\w./-]+)`", text):
            examples_of = ("policies/profiles/", "policies/schedules/")
            if name.startswith(examples_of) or "NAME" in name:
                continue
            assert (ROOT / name).exists(), f"{page.name}: {name}"


def test_the_site_has_every_page() -> None:
    def names(entry: Any) -> Iterator[str]:
        if isinstance(entry, str):
            yield entry
        for below in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
            yield from names(below)

    nav = list(names(parsed((ROOT / "mkdocs.yml").read_text())["nav"]))
    assert sorted(nav) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


# Commands.


def commands_in(text: str) -> Iterator[list[str]]:
    """The simple commands of a shell script, as words."""
    text = re.sub(r"(?:^|\s)#\s.*$", "", text.replace("\\\n", " "), flags=re.MULTILINE)
    for inner in re.findall(r"\$\(([^()]*)\)", text):
        yield from commands_in(inner)
    lexer = shlex.shlex(re.sub(r"\$\([^()]*\)", "X", text), posix=True, punctuation_chars=";|&<>()\n")
    lexer.whitespace, lexer.commenters = " \t", ""
    words: list[str] = []
    for token in (*lexer, ";"):
        if set(token) <= set(";|&<>()\n"):
            while words and (re.fullmatch(r"\w+=.*", words[0], re.DOTALL) or words[0] == "export"):
                words.pop(0)
            if words:
                yield words
            words = []
        else:
            words.append(token)


def shown() -> Iterator[tuple[str, list[str]]]:
    """Every command in a script or within a sentence, and its page."""
    for page in WRITTEN:
        text = page.read_text()
        for block in re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            for words in commands_in(block):
                yield page.name, words
        for span in re.findall(r"`(weir [a-z][^`]*|scripts/[a-z]+[^`]*)`", without_code(text)):
            for words in commands_in(span):
                yield page.name, words


def test_commands_of_weir_are_there_with_their_options() -> None:
    known, seen = dict(generator().commands()), 0
    for page, words in shown():
        if words[0] != "weir" or len(words) == 1 or not re.fullmatch(r"[a-z][a-z-]*", words[1]):
            continue
        path, rest = "weir", words[1:]
        while rest and hasattr(known[path], "commands") and re.fullmatch(r"[a-z][a-z-]*", rest[0]):
            path, rest = f"{path} {rest[0]}", rest[1:]
            assert path in known, f"{page}: {' '.join(words)}"
        options = {o for p in known[path].params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
        for word in rest[: rest.index("--")] if "--" in rest else rest:
            if re.match(r"--?[a-z]", word):
                assert word.partition("=")[0] in options, f"{page}: {' '.join(words)}"
        seen += 1
    assert seen > 100


def test_scripts_that_commands_name_are_there() -> None:
    for page, words in shown():
        named = [word for word in words if re.match(r"(scripts|addons|tests)/[\w./-]+$", word)]
        for name in named:
            assert (ROOT / name).exists(), f"{page}: {' '.join(words)}"


def test_queries_in_the_documentation_are_understood(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path / "recordings")
    recordings.identify()
    live.prepare(recordings)
    catalog.create(recordings)
    blocks = [query for block in fenced("sql") for query in block.split(";") if query.strip()]
    asked = [words[2] for _, words in shown() if words[:2] == ["weir", "sql"] and len(words) > 2]
    asked += [span for page in WRITTEN for span in re.findall(r"`(SELECT [^`]*)`", page.read_text())]
    assert len(blocks) > 5 and len(asked) > 3
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        for query in (*blocks, *asked):
            connection.execute(query)


# References, and the form of pages.


def test_generated_pages_are_current() -> None:
    pages = generator().pages()
    assert {path.name for path in (DOCS / "reference").glob("*.md")} == {*pages, "index.md"}
    for name in generator().COMMITTED:
        text = pages[name]
        assert (DOCS / "reference" / name).read_text() == text, f"{name} is old; run: scripts/docs reference"


def test_every_problem_type_is_explained() -> None:
    page = (DOCS / "operations/troubleshooting.md").read_text()
    rows = set(re.findall(r"^\| (\d{3}) \| `([a-z-]+)` \|", page, re.MULTILINE))
    assert rows == {(str(kind.status), kind.slug) for kind in Kind}


def test_every_setting_of_a_connection_and_of_the_gateway_is_in_a_guide() -> None:
    guides = "".join(path.read_text() for path in WRITTEN)
    for model in (ConnectionSettings, GatewaySettings):
        for name, field in model.model_fields.items():
            label = field.alias or name
            assert field.description or re.search(rf"\b{label}\b", guides), label


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 300


@pytest.mark.parametrize("page", [p for p in PAGES if DOCS in p.parents], ids=lambda p: str(p.relative_to(DOCS)))
def test_a_page_begins_with_its_audience(page: Path) -> None:
    lines = [line for line in page.read_text().splitlines() if line and not line.startswith("<!--")]
    assert lines[0].startswith("# ") and lines[1].startswith("For "), lines[:2]
