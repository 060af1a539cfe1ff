"""Key sets of remote issuers: one background task each, so that the request path never waits for one.

https only, but for loopback; no redirects, no environment proxies, bounded size and time. What fails
or is refused leaves the last good set in place.
"""

import asyncio
import logging

import httpx

from weir.auth.keys import MAX_SET, KeySetError, read_key_set
from weir.auth.verifier import Issuer

logger = logging.getLogger(__name__)

#: Seconds between refreshes, and until the next try after a failure.
REFRESH = 300.0
RETRY = 5.0
TIMEOUT = 10.0


async def keep_fresh(issuer: Issuer) -> None:
    """Refresh *issuer*'s keys for ever. Ends only by cancellation."""
    async with httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT) as client:
        while True:
            try:
                async with asyncio.timeout(TIMEOUT):
                    issuer.keys = read_key_set(await _get(client, issuer.source))
                pause = REFRESH
            except Exception as error:  # whatever it is, the task must live: the last good set stays
                reason = str(error) or type(error).__name__
                logger.error(f"weir: keys of issuer {issuer.rules.name!r} not refreshed: {reason}")
                pause = RETRY
            await asyncio.sleep(pause)


async def _get(client: httpx.AsyncClient, url: str) -> bytes:
    body = bytearray()
    async with client.stream("GET", url, headers={"Accept": "application/json"}) as response:
        if response.status_code != 200:
            raise KeySetError(f"{url} answered {response.status_code}")
        async for chunk in response.aiter_bytes():
            body += chunk
            if len(body) > MAX_SET:
                raise KeySetError(f"{url} sent more than {MAX_SET} bytes")
    return bytes(body)
