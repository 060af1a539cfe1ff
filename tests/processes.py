"""Run ``mitmdump`` and ``weir`` as processes of their own that do not import everything again.

Importing mitmproxy and Weir takes more than a second of a core, and the tests start hundreds of processes. Each test
process starts one *origin*: it imports all modules, stays single-threaded and forks a child for each program to run.
The child sets its folder, environment, arguments and output, then calls the same function as the installed command.

A program whose environment changes how Python or OpenSSL starts is executed instead, since a fork would ignore that.
"""

import atexit
import contextlib
import functools
import gc
import io
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Protocol, TextIO

Program = Literal["mitmdump", "weir"]

BIN = Path(sys.executable).parent

#: Seconds to wait for an event that always comes. A busy machine needs many; a failure is usually seen earlier.
PATIENCE = 120.0

#: A name that begins so is read when a process starts, by Python, the linker or OpenSSL.
_READ_AT_START = ("PYTHON", "LD_", "SSL", "OPENSSL")
_READ_LATER = ("PYTHONUNBUFFERED", "PYTHON_KEYRING_BACKEND")


class Process(Protocol):
    """The part of `subprocess.Popen` that tests use."""

    @property
    def pid(self) -> int: ...
    @property
    def stdout(self) -> Any: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...


class Forked:
    """A program that the origin forked. Its exit code arrives over *status*."""

    def __init__(self, pid: int, status: socket.socket, stdout: TextIO | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """The exit code; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.wait(0)
        return None

    def wait(self, timeout: float | None = None) -> int:
        """Wait at most *timeout* seconds for the exit code; raise `subprocess.TimeoutExpired` after that."""
        with self._lock:
            if self.returncode is None:
                self._status.settimeout(timeout)
                try:
                    code = self._status.recv(32)
                except (BlockingIOError, TimeoutError):
                    raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0) from None
                self._status.close()
                self.returncode = int(code) if code else -signal.SIGKILL  # the origin itself was killed
            return self.returncode

    def send_signal(self, sig: int) -> None:
        """Send *sig* unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, sig)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self.send_signal(signal.SIGKILL)


def start(program: Program, *arguments: str | Path, folder: Path, environment: Mapping[str, str]) -> Process:
    """Start *program* in *folder*; *environment* is all of it. What it prints and its errors go to one pipe."""
    if executed(environment):
        return subprocess.Popen(
            [str(BIN / program), *map(str, arguments)], cwd=folder, env=dict(environment), stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
    reading, writing = os.pipe()
    try:
        lines = open(reading, encoding="utf-8", errors="replace")  # noqa: SIM115
        with open(os.devnull) as nothing:
            return _fork(program, arguments, folder, environment, (nothing.fileno(), writing, writing), lines)
    finally:
        os.close(writing)


def run(
    program: Program,
    *arguments: str | Path,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    input: str = "",
    timeout: float = PATIENCE,
) -> subprocess.CompletedProcess[str]:
    """Run *program* to its end in *folder*, with more variables in *environment*; return its output, errors and code."""
    whole = {**os.environ, **(environment or {})}
    if executed(whole):
        return subprocess.run(
            [str(BIN / program), *map(str, arguments)], cwd=folder, env=whole, input=input, capture_output=True,
            text=True, check=False, timeout=timeout,
        )  # fmt: skip
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as errors:
        given.write(input.encode())
        given.seek(0)
        process = _fork(program, arguments, folder, whole, (given.fileno(), said.fileno(), errors.fileno()), None)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        texts = []
        for file in (said, errors):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess([program, *map(str, arguments)], code, *texts)


def executed(environment: Mapping[str, str]) -> bool:
    """True if *environment* differs from this process's in a variable that is read when a process starts."""
    return any(
        environment.get(name) != os.environ.get(name)
        for name in environment.keys() | os.environ.keys()
        if name.startswith(_READ_AT_START) and name not in _READ_LATER
    )


class _Origin:
    """The process that forks programs for this one. It ends when *control* is closed."""

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())], pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL
            )
        atexit.register(self._end)

    def _end(self) -> None:
        self.control.close()
        self._process.wait()


_origin = functools.cache(_Origin)
_first = threading.Lock()


def _fork(
    program: Program,
    arguments: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str],
    streams: tuple[int, int, int],
    lines: TextIO | None,
) -> Forked:
    wanted = {
        "program": program, "arguments": [str(argument) for argument in arguments], "folder": str(folder),
        "environment": dict(environment),
    }  # fmt: skip
    ours, theirs = socket.socketpair()
    with theirs, _first:
        socket.send_fds(_origin().control, [json.dumps(wanted).encode()], [theirs.fileno(), *streams])
    pid = ours.recv(32)
    assert pid, "the process that forks programs has ended"
    return Forked(int(pid), ours, lines)


def _serve(control: socket.socket) -> Callable[[], object]:
    """Fork a child for each message on *control*; return in each child the function of its program."""
    programs = _programs()
    gc.collect()
    gc.freeze()
    assert len(os.listdir("/proc/self/task")) == 1, "a fork of several threads is not safe"
    waiting: dict[int, tuple[int, socket.socket]] = {}
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is control:
                message, received, _, _ = socket.recv_fds(control, 1 << 20, 4)
                if not message:
                    os._exit(0)
                answers, *streams = received
                pid = os.fork()
                if pid == 0:
                    selector.close()
                    control.close()
                    for ended, (_, status) in waiting.items():
                        os.close(ended)
                        status.close()
                    os.close(answers)
                    return _become(programs, json.loads(message), streams)
                for stream in streams:
                    os.close(stream)
                status = socket.socket(fileno=answers)
                status.send(str(pid).encode())
                waiting[ended := os.pidfd_open(pid)] = pid, status
                selector.register(ended, selectors.EVENT_READ)
            else:
                selector.unregister(key.fd)
                pid, status = waiting.pop(key.fd)
                os.close(key.fd)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with status, contextlib.suppress(OSError):  # the test process may have ended
                    status.send(str(code).encode())


def _programs() -> dict[str, Callable[[], object]]:
    """Import what the commands run and import when they start; compute the constants that each process caches."""
    import mitmproxy.tools.dump
    import mitmproxy.tools.main

    import weir.cli.main
    import weir.path.stack
    from weir.base import normal
    from weir.config.model import MaskSettings
    from weir.masking.masks import compile_masks
    from weir.masking.strategies import Tokens
    from weir.profiles.profile import load_profile

    normal.somewhere()
    load_profile("cohere")
    compile_masks([MaskSettings.model_validate({"detect": ["all"], "with": "redact"})], Tokens([bytes(32)]))
    return {"mitmdump": mitmproxy.tools.main.mitmdump, "weir": weir.cli.main.main}


def _become(
    programs: Mapping[str, Callable[[], object]], wanted: Mapping[str, Any], streams: Sequence[int]
) -> Callable[[], object]:
    """Take the folder, environment, arguments and streams of the program, as if this process were executed for it."""
    for fd, stream in enumerate(streams):
        os.dup2(stream, fd)
        os.close(stream)
    sys.stdin = sys.__stdin__ = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    for sig in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)
    os.chdir(wanted["folder"])
    os.environ.clear()
    os.environ.update(wanted["environment"])
    time.tzset()
    program = BIN / wanted["program"]
    sys.argv = [str(program), *wanted["arguments"]]
    sys.path[0] = str(BIN)
    for fd, name in ((1, "stdout"), (2, "stderr")):
        raw = open(fd, "wb", closefd=False)  # noqa: SIM115
        text = io.TextIOWrapper(
            raw, encoding="utf-8", errors="strict" if fd == 1 else "backslashreplace",
            line_buffering=fd == 2 or bool(os.environ.get("PYTHONUNBUFFERED")),
        )  # fmt: skip
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
    return programs[wanted["program"]]


def _exit(program: Callable[[], object]) -> NoReturn:
    """Run *program* and end the process as the interpreter would, but leave its many modules and objects unfreed."""
    code: object = 0
    try:
        code = program()
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    _exit(_serve(socket.socket(fileno=int(sys.argv[1]))))
