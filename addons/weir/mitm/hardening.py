"""mitmproxy, set up so that nothing passes by itself: built-ins that a gateway has no use for are removed,
options that closedness needs are set, and options that would open or leak are refused.

Measured on mitmproxy 12.2: half of a bare mitmdump's time is dispatch to its default addons.
"""

import logging
import resource

from mitmproxy import ctx, master
from mitmproxy.proxy import mode_specs

from weir.base import bounds

#: Built-ins without a part in the gateway. Some would write, change or show unmasked flows.
_REMOVED = (
    "browser", "block", "stripdnshttpsrecords", "blocklist", "anticache", "anticomp", "commandhistory",
    "comment", "cut", "disableh2c", "export", "onboarding", "proxyauth", "dnsresolver", "mapremote",
    "maplocal", "modifybody", "modifyheaders", "stickyauth", "stickycookie", "save", "savehar",
    "upstreamauth", "updatealtsvc", "dumper", "nextlayer", "tlsconfig",
)  # fmt: skip

#: Set, whatever was asked for: otherwise bytes could pass before or without a judgement.
_REQUIRED: dict[str, object] = {
    "connection_strategy": "lazy",  # eager dials the upstream before anything is judged
    "rawtcp": False,                # upgrades and binary after CONNECT would become tunnels
    "websocket": True,              # relayed by `weir.websocket`, where a connection lets one be opened
    "http2": True,
    "http2_ping_keepalive": 0,      # idle connections end
    "http3": False,
    "upstream_cert": False,
    "keep_host_header": True,       # routing reads the caller's Host; the upstream gets its own
    "validate_inbound_headers": True,
    "store_streamed_bodies": False,
}  # fmt: skip

#: Refused when set: each would open the gateway or write what it must not.
_REFUSED: dict[str, str] = {
    "stream_large_bodies": "a streamed request reaches the upstream before it is judged",
    "ssl_insecure": "the upstream's certificate is always verified",
    "ignore_hosts": "what is not intercepted is not judged",
    "allow_hosts": "what is not intercepted is not judged",
    "tcp_hosts": "what is not HTTP is not judged",
    "udp_hosts": "what is not HTTP is not judged",
    "save_stream_file": "it would write unmasked flows; Weir records by itself",
    "hardump": "it would write unmasked flows; Weir records by itself",
    "modify_body": "use masks",
    "modify_headers": "Weir decides which headers pass",
    "map_remote": "Weir decides where a request goes",
    "map_local": "Weir decides what is answered",
    "block_list": "use rules",
    "proxyauth": "Weir authenticates callers itself",
    "upstream_auth": "use `credential`",
    "stickyauth": "a credential is never carried from one request to another",
    "stickycookie": "a cookie is never carried from one request to another",
    "server_replay_nopop": "use server_replay_reuse",
}  # fmt: skip


class HardeningError(ValueError):
    """An option or mode with which the gateway does not start; the text says why and what to do."""


def trim(to: master.Master) -> None:
    """Remove the built-ins; idempotent."""
    for name in _REMOVED:
        addon = to.addons.get(name)
        if addon is not None:
            to.addons.remove(addon)
    # Each log record would be dispatched to every addon, and connection logs quote what callers sent.
    to._legacy_log_events.uninstall()
    logging.getLogger("mitmproxy.proxy.server").addFilter(_without_content)
    for name in ("mitmproxy.proxy.server", "httpx", "httpcore", "hpack"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _without_content(record: logging.LogRecord) -> bool:
    """A crash of a connection's handler is logged by its type: its message and traceback quote what was sent."""
    if record.exc_info:
        kind = record.exc_info[0].__name__ if record.exc_info[0] else "an error"
        record.msg, record.args, record.exc_info = f"weir: mitmproxy failed on a connection: {kind}", (), None
    return True


def set_options() -> None:
    """Set what closedness needs."""
    wanted = dict(_REQUIRED)
    if ctx.options.body_size_limit is None:
        wanted["body_size_limit"] = str(bounds.current().body)  # until the policies say
    ctx.options.update(**wanted)


def raise_descriptors() -> None:
    """Let this process have as many open connections as the system lets it: the usual 1,024 are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 16
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, 1 << 16)), hard))


def refuse_options() -> None:
    """Raise `HardeningError` for options that do not go with a gateway, or that nobody knows."""
    for name, why in _REFUSED.items():
        if getattr(ctx.options, name) != ctx.options.default(name):
            raise HardeningError(f"the option {name} is refused: {why}; start without it")
    if ctx.options.deferred:
        unknown = ", ".join(sorted(ctx.options.deferred))
        raise HardeningError(f"there is no option {unknown}; see `mitmdump --options` and the README")


def given_modes() -> list[mode_specs.ProxyMode]:
    """The modes of ``--mode``; empty where it was not given. Raises `HardeningError` for those that are not ours."""
    specs = list(ctx.options.mode)
    if specs == ctx.options.default("mode"):
        return []
    modes = [mode_specs.ProxyMode.parse(spec) for spec in specs]
    for mode in modes:
        if isinstance(mode, mode_specs.RegularMode | mode_specs.TransparentMode):
            continue
        if not isinstance(mode, mode_specs.ReverseMode) or mode.scheme != "http":
            raise HardeningError(
                f"--mode {mode.full_spec} is not supported; use reverse:http://weir.invalid@HOST:PORT, "
                "regular@HOST:PORT, transparent@HOST:PORT, or `listen:`"
            )
    return modes
