"""Everything in Weir that depends on mitmproxy's internals: patches, protocol layers, and bounds of connections.

The data path (`weir.path`) uses mitmproxy's public API and calls functions of this folder. No other folder changes an
object of mitmproxy, h2, h11, wsproto or asyncio. This folder does not know the data path: `hooks.Hooks` has the few
functions that it calls.

**To upgrade mitmproxy**, this folder and one test are enough:

1. ``scripts/mitmproxy-next`` installs the newest version in a throw-away environment, and prints the names that have
   moved, each with its expected and its present state. It changes nothing.
2. Read each moved name in mitmproxy's source, and the part of this folder that its row names (`ours`). The row gives
   the reason why Weir depends on it. Adapt our part if that no longer holds; delete it if mitmproxy needs it no longer.
3. Put the new digests into the rows of ``table.py``. Remove, keep, set or refuse each new built-in addon and option.
4. Raise the bound in ``pyproject.toml``, run ``scripts/setup``, ``tests/mitm`` and ``tests/end_to_end``.

Where to look:

- ``table.py`` lists all internals; ``tests/mitm/test_table.py`` shows that the list is true and complete.
- ``patches.py`` makes all changes, once, when the gateway loads. ``hooks.py`` has the functions that layers call.
- ``http.py`` is the HTTP layer of a client connection, ``stream.py`` one request in it, ``bodies.py`` the memory of
  bodies, ``events.py`` our own events. ``http1.py`` and ``http2.py`` replace methods of mitmproxy's connections;
  ``frames.py``, ``pieces.py`` and ``crumbs.py`` help them. ``answers.py`` has the answers that mitmproxy would give.
- ``layers.py`` and ``wire.py`` choose the protocol of a connection, ``arrival.py`` has the facts about it, ``tls.py``
  its certificates, ``tls_closing.py`` its end. ``relay.py`` relays WebSockets.
- ``clients.py`` has the hooks of connections, ``watch.py`` bounds their number, time and memory, ``handlers.py`` finds
  mitmproxy's handler of one. ``readers.py`` changes how they are read, ``resets.py`` resets one.
- ``dispatch.py`` runs the hooks of addons, ``hardening.py`` sets addons and options, ``listening.py`` opens listeners,
  ``resolving.py`` resolves names to permitted addresses, ``messages.py`` has texts of errors.
"""
