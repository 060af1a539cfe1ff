"""Networks for tests: Linux namespaces, connected by virtual cables, each with its own host names."""

import os
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests import needs

_ETC = Path("/etc/netns")


def unavailable() -> str:
    """Return why namespaces with iptables rules are impossible here, and the remedy; empty if they are possible."""
    if reason := needs.root("network namespaces and NAT rules") or needs.missing("ip", "iptables"):
        return reason
    return _refused("ip netns exec {} iptables -t nat -S")


def nft_unavailable() -> str:
    """Return why nftables rules in a namespace are impossible here, and the remedy; empty if they are possible."""
    return needs.missing("nft") or _refused("ip netns exec {} nft list ruleset")


def _refused(command: str) -> str:
    """Return why *command* fails in a fresh namespace (``{}``), and the remedy; empty if it works."""
    probe = f"weir-probe-{os.getpid()}"
    try:
        for line in (f"ip netns add {probe}", command.format(probe)):
            done = subprocess.run(line.split(), capture_output=True, text=True, check=False)
            if done.returncode != 0:
                why = " ".join(done.stderr.split())
                return f"`{line}` fails here ({why}); run where root has CAP_SYS_ADMIN, / is a mount point and the kernel has NAT"
    finally:
        subprocess.run(["ip", "netns", "delete", probe], stderr=subprocess.DEVNULL, check=False)
    return ""


def run(*command: str, inside: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run *command*, in a namespace if one is given."""
    line = ["ip", "netns", "exec", inside, *command] if inside else list(command)
    done = subprocess.run(line, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 or not check, f"{' '.join(line)}: {done.stdout}{done.stderr}"
    return done


@contextmanager
def three() -> Iterator[tuple[str, str, str]]:
    """Make namespaces for a caller (10.77.1.2, .3), a gateway (.1 on both sides) and services (10.77.2.2 to .4)."""
    caller, gateway, service = names = tuple(f"weir-{kind}-{os.getpid()}" for kind in ("caller", "gateway", "service"))
    with ExitStack() as undo:
        for name in names:
            run("ip", "netns", "add", name)
            undo.callback(run, "ip", "netns", "delete", name, check=False)
            undo.callback(shutil.rmtree, _ETC / name, ignore_errors=True)
            run("ip", "link", "set", "lo", "up", inside=name)
        _cable(caller, "up0", ("10.77.1.2/24", "10.77.1.3/24"), gateway, "callers", ("10.77.1.1/24",))
        _cable(service, "up0", ("10.77.2.2/24", "10.77.2.3/24", "10.77.2.4/24"), gateway, "services", ("10.77.2.1/24",))
        run("ip", "route", "add", "default", "via", "10.77.1.1", inside=caller)
        run("ip", "route", "add", "default", "via", "10.77.2.1", inside=service)
        within(gateway, lambda: Path("/proc/sys/net/ipv4/ip_forward").write_text("1\n"))
        yield caller, gateway, service


def name_hosts(namespace: str, hosts: Mapping[str, str]) -> None:
    """Make processes in *namespace* resolve *hosts* (address by name)."""
    folder = _ETC / namespace
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in hosts.items())]
    (folder / "hosts").write_text("\n".join(lines) + "\n")


def within[T](namespace: str, make: Callable[[], T]) -> T:
    """Run *make* in a thread within *namespace* and return its result. Sockets that it opens stay there."""
    result: list[T] = []
    failed: list[BaseException] = []

    def enter() -> None:
        try:
            with open(f"/run/netns/{namespace}", "rb") as file:
                os.setns(file.fileno(), os.CLONE_NEWNET)
            result.append(make())
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return result[0]


def _cable(here: str, name: str, addresses: tuple[str, ...], there: str, other: str, theirs: tuple[str, ...]) -> None:
    run("ip", "link", "add", name, "netns", here, "type", "veth", "peer", "name", other, "netns", there)
    for namespace, end, own in ((here, name, addresses), (there, other, theirs)):
        for address in own:
            run("ip", "address", "add", address, "dev", end, inside=namespace)
        run("ip", "link", "set", end, "up", inside=namespace)
