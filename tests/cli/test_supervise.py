"""Supervision: which ends of processes are repaired, and which stop the gateway. The processes are small scripts."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.processes import PATIENCE

SERVE = "from weir.base.ready import report_ready; import time; report_ready(); say('ready'); time.sleep(600)"
#: Lines of several processes must not mix.
SAY = "import os\ndef say(what): os.write(1, f'{what} {os.getpid()}\\n'.encode())\n"
#: Fails before it is ready if the file `broken` exists.
CHECKED = f"import sys\nif os.path.exists('broken'): sys.exit(1)\n{SERVE}"

Supervised = Callable[..., "Running"]


class Running:
    """A supervisor of scripts, with its output."""

    def __init__(self, folder: Path, *workers: str, admin: str = "") -> None:
        def command(code: str) -> list[str]:
            return [sys.executable, "-uc", f"{SAY}{code}"]

        of_admin = command(admin) if admin else None
        code = f"""
from weir.cli import supervise
supervise._AGAIN = 0.05
raise SystemExit(supervise.Supervisor({[command(worker) for worker in workers]}, {of_admin}).run())
"""
        self.process = subprocess.Popen(
            [sys.executable, "-uc", code],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.output = ""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output += line

    def wait_for(self, text: str, count: int = 1) -> list[int]:
        """Wait until *count* lines have begun with *text*. Return the numbers after it."""
        deadline = time.monotonic() + PATIENCE
        while len(found := re.findall(rf"(?m)^{text} (\d+)", self.output)) < count:
            assert time.monotonic() < deadline and self._reader.is_alive(), self.output
            time.sleep(0.01)
        return [int(number) for number in found]

    def ended(self) -> int:
        """Wait for the end. Return the exit code."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code


@pytest.fixture
def supervised(tmp_path: Path) -> Iterator[Supervised]:
    made: list[Running] = []

    def run(*workers: str, admin: str = "") -> Running:
        made.append(Running(tmp_path, *workers, admin=admin))
        return made[-1]

    yield run
    for running in made:
        running.process.terminate()
        running.ended()


def exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_worker_that_ends_is_started_again(supervised: Supervised, how: signal.Signals) -> None:
    running = supervised(SERVE, SERVE)
    first, second = running.wait_for("ready", 2)
    os.kill(first, how)
    third = running.wait_for("ready", 3)[2]
    assert f"worker process {first} was killed by {how.name}; it is started again" in running.output
    running.process.terminate()
    assert running.ended() == 0
    assert not exists(second) and not exists(third)


def test_five_deaths_within_a_minute_stop_all(supervised: Supervised) -> None:
    running = supervised(SERVE, SERVE)
    for number in range(5):
        os.kill(running.wait_for("ready", number + 2)[-1], signal.SIGKILL)
    assert running.ended() == 1
    assert "5 workers ended within 60 s, so all were stopped; find the cause" in running.output
    assert not any(map(exists, running.wait_for("ready", 6)))


def test_deaths_of_the_admin_process_do_not_count(supervised: Supervised) -> None:
    running = supervised(SERVE, admin="say('admin')")
    running.wait_for("admin", 6)
    assert running.process.poll() is None
    running.process.terminate()
    assert running.ended() == 0


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "os.kill(os.getpid(), 9)", ""])
def test_a_worker_that_is_never_ready_stops_all_at_once(supervised: Supervised, code: str) -> None:
    running = supervised(SERVE, code)
    assert running.ended() == 1
    assert "before it was ready, so all were stopped; correct what its last lines above say" in running.output
    assert "started again" not in running.output.replace("then start again", "")


def test_settings_that_became_invalid_do_not_stop_the_workers_that_serve(
    supervised: Supervised, tmp_path: Path
) -> None:
    running = supervised(CHECKED, CHECKED)
    first, second = running.wait_for("ready", 2)
    (tmp_path / "broken").touch()
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE
    while running.output.count("ended with code 1 before it was ready; it is started again") < 5:
        assert time.monotonic() < deadline and running.process.poll() is None
        time.sleep(0.01)
    assert exists(second)
    (tmp_path / "broken").unlink()
    running.wait_for("ready", 3)


def test_settings_that_became_invalid_stop_all_if_no_worker_serves(supervised: Supervised, tmp_path: Path) -> None:
    running = supervised(CHECKED, admin="import time; time.sleep(600)")
    (worker,) = running.wait_for("ready")
    (tmp_path / "broken").touch()
    os.kill(worker, signal.SIGKILL)
    assert running.ended() == 1 and "so all were stopped" in running.output


def test_a_hang_up_reaches_workers_that_are_ready(supervised: Supervised) -> None:
    listens = "import signal; signal.signal(1, lambda *_: say('hung'))\n" + SERVE
    running = supervised(listens, listens, admin="import time; say('admin'); time.sleep(600)")
    pids = running.wait_for("ready", 2)
    running.wait_for("admin")
    running.process.send_signal(signal.SIGHUP)
    assert sorted(running.wait_for("hung", 2)) == sorted(pids)
    assert running.process.poll() is None
