"""Finds out whether this process could listen on an address, and which process prevents it."""

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from weir.base.text import inert

_LISTENING = "0A"  # a state in /proc/net/tcp


def obstacle(host: str, port: int, *, shared: bool = False) -> str:
    """Return why this process cannot listen on *host* and *port*; empty if it can. An empty *host* means all addresses.

    *shared*: processes that share their ports (SO_REUSEPORT) are no obstacle.
    """
    errors: list[OSError] = []
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        return reason(error, port)
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if shared:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(address)
        except OSError as error:
            errors.append(error)
    # A name may have addresses of a family that this machine does not have.
    missing = [e for e in errors if e.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)]
    decisive = [e for e in errors if e not in missing] or (missing if len(missing) == len(found) else [])
    return reason(decisive[0], port) if decisive else ""


def reason(error: OSError, port: int) -> str:
    """Return why listening on *port* failed, with the process that uses the port if it can be found."""
    if error.errno is None or error.errno not in errno.errorcode:  # of a name that cannot be resolved
        return str(error.strerror or error)
    why = os.strerror(error.errno)  # asyncio's own text is long
    users = [f"process {pid} ({inert(name)})" for pid, name in _users(port)] if error.errno == errno.EADDRINUSE else []
    return f"{why} by {', '.join(users)}" if users else why


def _users(port: int) -> Iterator[tuple[int, str]]:
    """Yield id and name of the processes that listen on *port*, as far as this user may see them (Linux only)."""
    links = {f"socket:[{inode}]" for inode in _inodes(port)}
    if not links:
        return
    for process in sorted(Path("/proc").glob("[0-9]*"), key=lambda folder: int(folder.name)):
        with contextlib.suppress(OSError):  # it has ended, or belongs to another user
            if any(_link(descriptor) in links for descriptor in (process / "fd").iterdir()):
                yield int(process.name), (process / "comm").read_text().strip()


def _inodes(port: int) -> Iterator[str]:
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == _LISTENING and fields[1].endswith(f":{port:04X}"):
                    yield fields[9]


def _link(descriptor: Path) -> str:
    with contextlib.suppress(OSError):  # closed meanwhile
        return os.readlink(descriptor)
    return ""
