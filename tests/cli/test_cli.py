"""The `weir` command in a process of its own: output, errors and exit codes."""

import csv
import io
import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests import processes
from tests.recorder.recording import write_lines

from weir.auth import local
from weir.auth.claims import ClaimRules
from weir.auth.issuer import Issuer
from weir.auth.verifier import Verifier
from weir.base.duration import seconds
from weir.base.jsonpath import compile_path
from weir.base.text import inert
from weir.cli import run
from weir.recorder import catalog
from weir.recorder.folder import Recordings
from weir.recorder.journal import SCHEMA_VERSION, JournalLine, timestamp


def weir(*words: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return processes.run("weir", *words, folder=folder, environment=environment)


def test_a_token_is_accepted_where_local_is_trusted(tmp_path: Path) -> None:
    command = [processes.BIN / "weir", "token", "--user", "alice", "--group", "search", "--group", "ml", "--for", "90s"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    rules = ClaimRules("local", local.ISSUER, frozenset((local.AUDIENCE,)), compile_path("$.groups"))
    import time

    principal = Verifier([Issuer(rules, local.key_set())]).verify(done.stdout.strip(), time.time())
    assert (principal.sub, principal.groups) == ("alice", {"local/search", "local/ml"})
    assert 85 < principal.expires - time.time() <= 90


def test_the_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = weir("token", "--user", "a", folder=tmp_path, WEIR_HOME=str(home))
    assert first.returncode == 0
    key = home / "local-issuer.pem"
    made = key.read_bytes()
    assert stat.S_IMODE(key.stat().st_mode) == 0o600 and stat.S_IMODE(home.stat().st_mode) == 0o700
    weir("token", "--user", "b", folder=tmp_path, WEIR_HOME=str(home))
    assert key.read_bytes() == made and [p.name for p in home.iterdir()] == ["local-issuer.pem"]


@pytest.mark.parametrize(
    "words",
    [
        ("token", "--user", "a", "--for", "soon"),
        ("token", "--user", ""),
        ("sql", "SELECT 1", "--json", "--csv"),
        ("sql", "SELECT 1"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = weir(*words, folder=tmp_path)
    assert (
        done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    )


def test_durations() -> None:
    assert [seconds(text) for text in ("90s", "15m", "1h", "30d")] == [90, 900, 3600, 2592000]
    for text in ("", "1", "1.5h", "0s", "h", "1w", "-1h"):
        with pytest.raises(ValueError, match="is not a duration"):
            seconds(text)


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    root = tmp_path / "recordings"
    lines = [
        JournalLine(version=SCHEMA_VERSION, request_id=f"id-{n}", time=timestamp(1.8e9 + n), duration_ms=1.0, worker="w0", method="POST", path="/\x1b[2J", user=user)
        for n, user in enumerate(("alice", "bob, \"jr\"", None))
    ]  # fmt: skip
    write_lines(root, lines, seal=False)
    recordings = Recordings(root)
    catalog.create(recordings)
    return root


QUERY = 'SELECT request_id, time, "user" FROM flows ORDER BY request_id'


def test_sql_as_table_json_and_csv(recordings: Path, tmp_path: Path) -> None:
    options = ("--recordings", str(recordings))
    table = weir("sql", QUERY, *options, folder=tmp_path)
    assert table.returncode == 0 and "alice" in table.stdout and table.stdout.endswith("3 rows\n")
    rows = json.loads(weir("sql", QUERY, "--json", *options, folder=tmp_path).stdout)
    assert rows[0] == {"request_id": "id-0", "time": "2027-01-15 08:00:00", "user": "alice"} and rows[2]["user"] is None
    lines = list(csv.reader(io.StringIO(weir("sql", QUERY, "--csv", *options, folder=tmp_path).stdout)))
    assert lines[0] == ["request_id", "time", "user"] and lines[2][2] == 'bob, "jr"'


def test_sql_never_writes_and_names_what_is_wrong(recordings: Path, tmp_path: Path) -> None:
    for query in ("SELECT nothing FROM flows", "DROP VIEW flows", "CREATE TABLE t (a INT)", "not sql"):
        done = weir("sql", query, "--recordings", str(recordings), folder=tmp_path)
        assert done.returncode == 2 and done.stderr.startswith("weir: ") and "Traceback" not in done.stderr


def test_what_callers_sent_does_not_move_the_readers_cursor(recordings: Path, tmp_path: Path) -> None:
    shown = weir("sql", "SELECT path FROM flows", "--recordings", str(recordings), folder=tmp_path).stdout
    assert "\x1b" not in shown and "\\x1b[2J" in shown
    assert inert("a\u202eb\n") == "a\\u202eb\\n"


def test_sql_shows_values_as_they_are(recordings: Path, tmp_path: Path) -> None:
    options = ("--recordings", str(recordings))
    assert ":x: [bold]" in weir("sql", "SELECT ':x: [bold]' AS v", *options, folder=tmp_path).stdout
    odd = "SELECT 'nan'::DOUBLE AS a, 'x'::BLOB AS b, [1.5] AS c, TIMESTAMPTZ '2027-01-15 08:00:00+00' AS d"
    (row,) = json.loads(weir("sql", odd, "--json", *options, folder=tmp_path, TZ="Asia/Tokyo").stdout)
    assert row == {"a": None, "b": "78", "c": [1.5], "d": "2027-01-15 08:00:00+00:00"}
    recent = "SELECT count(*) AS n FROM flows WHERE time < now() + interval 1 year AND now()::TIMESTAMP - now() AT TIME ZONE 'UTC' < interval 1 minute"
    assert json.loads(weir("sql", recent, "--json", *options, folder=tmp_path, TZ="Asia/Tokyo").stdout) == [{"n": 3}]
    assert weir("sql", "", *options, folder=tmp_path).returncode in (0, 2)


@pytest.mark.parametrize("command", ["run", "token", "sql"])
def test_every_command_has_examples_in_its_help(tmp_path: Path, command: str) -> None:
    done = weir(command, "--help", folder=tmp_path)
    assert done.returncode == 0 and "Examples" in done.stdout and f"weir {command}" in done.stdout


def test_mitmdump_starts_without_its_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `pip install --user`, scripts are not beside the interpreter."""
    assert run._mitmdump() == [str(Path(sys.executable).with_name("mitmdump"))]
    python = sys.executable
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "python").symlink_to(python)
    command = run._mitmdump()
    assert command[0] == str(tmp_path / "python")
    done = subprocess.run([python, *command[1:], "--version"], capture_output=True, text=True, check=True)
    assert "Mitmproxy" in done.stdout
