"""Sends checkpoints to a webhook, a git remote or an object store, out of reach of this machine's users.

Each run sends every worker's checkpoint that has changed since it was last sent. If a target cannot be reached, the run
raises an alarm, and the next run tries again.
"""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from weir.base.home import home
from weir.recorder.evidence import CHECKPOINT, KEEPER
from weir.recorder.folder import Recordings, read_regular
from weir.recorder.journal import timestamp
from weir.recorder.worker import log_folders

_TIMEOUT = 20.0
_SENT = "published.json"


class PublishError(Exception):
    """A target did not accept a checkpoint; the message names the target and the reason."""


def checkpoints(root: Path) -> dict[str, bytes]:
    """Return the last checkpoint of every worker below the recordings folder *root*."""
    found = {}
    for folder in log_folders(root):
        note = read_regular(folder / CHECKPOINT) if os.path.lexists(folder / CHECKPOINT) else b""
        if note.startswith(b"weir/"):  # a link or a planted file may hold anything, so it is not sent
            found[folder.name] = note
    return found


def publish(recordings: Recordings, targets: list[Mapping[str, Any]], now: float) -> list[str]:
    """Send new checkpoints to each of *targets* that is due at *now*. Return one message per failed target.

    Raises OSError.
    """
    path = recordings.make(recordings.log(KEEPER)) / _SENT
    try:
        sent: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError):
        sent = {}
    errors, current = [], checkpoints(recordings.root)
    for target in targets:
        name = str(target.get("webhook") or target.get("git") or target.get("store"))
        before = sent.get(name, {"at": 0, "held": {}})
        fresh = {worker: note for worker, note in current.items() if before["held"].get(worker) != note.decode()}
        if not fresh or now - before["at"] < target["seconds"]:
            continue
        try:
            if target.get("webhook"):
                _to_webhook(name, fresh)
            elif target.get("git"):
                _to_git(recordings, name, str(target["branch"]), fresh)
            else:
                _to_store(name, fresh)
        except PublishError as error:
            errors.append(str(error))
            continue
        sent[name] = {"at": now, "held": {worker: note.decode() for worker, note in current.items()}}
    recordings.replace(path, json.dumps(sent).encode())
    return errors


def _to_webhook(url: str, notes: Mapping[str, bytes]) -> None:
    for worker, note in notes.items():
        try:
            answer = httpx.post(
                url, content=note, timeout=_TIMEOUT,
                headers={"Content-Type": "text/plain; charset=utf-8", "X-Weir-Worker": worker},
            )  # fmt: skip
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise PublishError(f"checkpoints: the webhook cannot be reached ({type(error).__name__})") from None
        if not answer.is_success:
            raise PublishError(f"checkpoints: the webhook answered {answer.status_code}")


def _to_git(recordings: Recordings, remote: str, branch: str, notes: Mapping[str, bytes]) -> None:
    """Push one commit on *branch*. The clone is in ``WEIR_HOME``, because git runs commands that a clone configures."""
    clone = home() / "checkpoints" / recordings.identify()
    environment = {
        **os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_AUTHOR_NAME": "weir", "GIT_AUTHOR_EMAIL": "weir@localhost",
        "GIT_COMMITTER_NAME": "weir", "GIT_COMMITTER_EMAIL": "weir@localhost",
    }  # fmt: skip

    def git(*arguments: str, may_fail: bool = False) -> bool:
        try:
            done = subprocess.run(  # noqa: S603
                ["git", "-C", str(clone), *arguments],  # noqa: S607
                env=environment, capture_output=True, timeout=_TIMEOUT * 3, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise PublishError(f"checkpoints: git {arguments[0]} failed ({type(error).__name__})") from None
        if done.returncode and not may_fail:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise PublishError(f"checkpoints: git {arguments[0]} failed: {said[-1][:200] if said else done.returncode}")
        return done.returncode == 0

    clone.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (clone / ".git").exists():
        git("init", "--quiet")
    if git("fetch", "--quiet", remote, branch, may_fail=True):
        git("checkout", "--quiet", "-B", branch, "FETCH_HEAD")
    else:  # the branch does not exist yet; if the remote cannot be reached, the push fails
        git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
    for worker, note in notes.items():
        (clone / worker).write_bytes(note)
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "-m", f"checkpoints of {timestamp(time.time())}")
    git("push", "--quiet", remote, f"HEAD:refs/heads/{branch}")


def _to_store(url: str, notes: Mapping[str, bytes]) -> None:
    """Store each checkpoint as a new object. Existing objects are never overwritten."""
    try:
        import obstore  # noqa: PLC0415  an extra
        from obstore.store import from_url  # noqa: PLC0415
    except ImportError:
        raise PublishError("checkpoints: obstore is not installed; run: pip install 'weir[store]'") from None
    moment = timestamp(time.time()).replace(":", "")
    try:
        store = from_url(url)
        for worker, note in notes.items():
            obstore.put(store, f"{worker}/{moment}", note, mode="create")
    except Exception as error:  # the errors of obstore have no other common class
        raise PublishError(f"checkpoints: the object store did not take them ({type(error).__name__})") from None
