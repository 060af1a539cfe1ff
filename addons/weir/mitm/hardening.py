"""Sets mitmproxy up so that nothing passes without a judgement: addons are removed, options are set or refused.

The addons and options are rows of `weir.mitm.table`. Measured on mitmproxy 12.2: half of a bare mitmdump's time is
dispatch to its built-in addons.
"""

import logging
import resource

from mitmproxy import ctx, master
from mitmproxy.proxy import mode_specs

from weir.base import bounds
from weir.mitm import table

#: The rows of options that this file sets. Other files set other options, later.
_SET_HERE = "mitm.hardening.set_options"


class HardeningError(ValueError):
    """An option or mode with which the gateway does not start. The text gives the reason and the next action."""


def trim(to: master.Master) -> None:
    """Remove built-in addons, and keep content out of mitmproxy's log. Idempotent."""
    for row in table.rows("removed"):
        assert isinstance(row.expected, table.Addon)
        addon = to.addons.get(row.expected.name)
        if addon is not None:
            to.addons.remove(addon)
    # Each log record would be dispatched to every addon, and records of connections quote bytes of callers.
    to._legacy_log_events.uninstall()
    logging.getLogger("mitmproxy.proxy.server").addFilter(_without_content)
    for name in ("mitmproxy.proxy.server", "httpx", "httpcore", "hpack"):
        logging.getLogger(name).setLevel(logging.WARNING)


def _without_content(record: logging.LogRecord) -> bool:
    """Log a crash of a connection handler by its type only: its message and traceback quote bytes of callers."""
    if record.exc_info:
        kind = record.exc_info[0].__name__ if record.exc_info[0] else "an error"
        record.msg, record.args, record.exc_info = f"weir: mitmproxy failed on a connection: {kind}", (), None
    return True


def set_options() -> None:
    """Set the options that must not depend on the command line, and the body limit unless it was given."""
    wanted = {_option(row): row.value for row in table.rows("set") if row.ours == _SET_HERE}
    if ctx.options.body_size_limit is None:
        wanted["body_size_limit"] = str(bounds.current().body)  # until the policies are read
    ctx.options.update(**wanted)


def raise_descriptors() -> None:
    """Raise this process's limit of open connections to the system's: the usual 1,024 are few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 16
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(wanted, 1 << 16)), hard))


def refuse_options() -> None:
    """Raise `HardeningError` if an option was given that is refused or unknown."""
    for row in table.rows("refused"):
        name = _option(row)
        if getattr(ctx.options, name) != ctx.options.default(name):
            raise HardeningError(f"the option {name} is refused: {row.why}; start without it")
    if ctx.options.deferred:
        unknown = ", ".join(sorted(ctx.options.deferred))
        raise HardeningError(f"there is no option {unknown}; see `mitmdump --options` and the README")


def given_modes() -> list[mode_specs.ProxyMode]:
    """Return the modes of ``--mode``; none if it was not given. Raise `HardeningError` for an unsupported mode."""
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


def _option(row: table.Row) -> str:
    return row.target.rpartition(".")[2]
