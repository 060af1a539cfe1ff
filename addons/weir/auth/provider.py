"""HTTP client of an identity provider: fetches its discovery document and keys, and introspects opaque tokens.

Uses https only (http on loopback), no redirects, no environment proxies and no compression, and limits size and
time. A provider that is slow, floods or never answers delays only its own requests: the event loop runs other
tasks after each piece that arrives. Background tasks use it, and requests that may wait.
"""

import asyncio
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx

from weir.auth.keys import MAX_SET, KeySet, KeySetError, read_key_set
from weir.auth.urls import check_url, discovery_url
from weir.base.content import ContentError, parse
from weir.base.secret import Secret

#: Time limits in seconds for a whole key refresh, and for one introspection.
TIMEOUT = 10.0
INTROSPECTION_TIMEOUT = 5.0
#: Seconds that a discovery document is cached.
DISCOVERY = 3600.0

#: Maximum JSON values in an answer, so that parsing stays fast. 64 keys, or a token with 1,000 groups, have far fewer.
MAX_VALUES = 5_000


class ProviderError(Exception):
    """The provider did not answer, or its answer is unusable. The text is safe to log."""


@dataclass(frozen=True, slots=True)
class Introspection:
    """How to introspect tokens (RFC 7662): the endpoint (None: from discovery) and the gateway's client credentials."""

    endpoint: str | None
    client_id: str
    client_secret: Secret
    audience_required: bool = True


@dataclass(frozen=True, slots=True)
class Source:
    """Where to fetch an issuer's keys: from *jwks*, or from discovery for *issuer* if *jwks* is None.

    *ca* is a PEM file that replaces the system's authorities. *token_file* contains a bearer token for the provider;
    it is read again for each fetch, because Kubernetes rotates it.
    """

    issuer: str
    jwks: str | None
    ca: Path | None = None
    token_file: Path | None = None
    uses: tuple[str, ...] = ("sig",)
    introspection: Introspection | None = None


class Provider:
    """The client of one identity provider."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._client: httpx.AsyncClient | None = None
        self._discovered: dict[str, Any] = {}
        self._discovered_until = 0.0

    def open(self) -> None:
        """Create the HTTP client once. Call it in a thread: reading certificate authorities takes tens of milliseconds.

        Raises OSError or ssl.SSLError if the ``tls.ca`` file cannot be used.
        """
        if self._client is not None:
            return
        verify: ssl.SSLContext | bool = True
        if self.source.ca is not None:
            verify = ssl.create_default_context(cafile=str(self.source.ca))
        self._client = httpx.AsyncClient(follow_redirects=False, trust_env=False, timeout=TIMEOUT, verify=verify)

    async def close(self) -> None:
        """Close the HTTP client."""
        if self._client is not None:
            await self._client.aclose()

    async def keys(self) -> KeySet:
        """Fetch the issuer's current keys. Raises `ProviderError` or `KeySetError`."""
        try:
            async with asyncio.timeout(TIMEOUT):
                url = self.source.jwks or await self._endpoint("jwks_uri")
                headers = {"Accept": "application/json, application/jwk-set+json", **await self._own_token()}
                try:
                    return read_key_set(await self._send("GET", url, headers), self.source.uses)
                except (ProviderError, KeySetError):
                    self._discovered_until = 0.0  # the URL of the keys may have changed
                    raise
        except TimeoutError:
            raise ProviderError(f"no answer within {TIMEOUT:.0f} s") from None

    async def introspect(self, token: Secret) -> dict[str, Any]:
        """Return the provider's introspection response for *token*, unchanged. Raises `ProviderError`."""
        introspection = self.source.introspection
        assert introspection is not None
        try:
            async with asyncio.timeout(INTROSPECTION_TIMEOUT):
                url = introspection.endpoint or await self._endpoint("introspection_endpoint")
                # RFC 6749, 2.3.1: both are form-encoded before they become Basic credentials.
                user = quote_plus(introspection.client_id)
                secret = quote_plus(introspection.client_secret.reveal())
                form = f"token={quote_plus(token.reveal())}&token_type_hint=access_token"
                headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
                body = await self._send("POST", url, headers, form.encode(), httpx.BasicAuth(user, secret))
        except TimeoutError:
            raise ProviderError(f"no answer within {INTROSPECTION_TIMEOUT:.0f} s") from None
        return _object(body)

    async def _endpoint(self, name: str) -> str:
        """Return URL *name* of the discovery document (OpenID Connect Discovery 1.0, 4). Raises `ProviderError`."""
        if time.monotonic() >= self._discovered_until:
            url = discovery_url(self.source.issuer)
            headers = {"Accept": "application/json", **await self._own_token()}
            document = _object(await self._send("GET", url, headers))
            if document.get("issuer") != self.source.issuer:
                raise ProviderError(
                    f"{url} is the document of another issuer (its `issuer` must equal the configured one exactly)"
                )
            self._discovered, self._discovered_until = document, time.monotonic() + DISCOVERY
        found = self._discovered.get(name)
        if not isinstance(found, str):
            raise ProviderError(f"the discovery document has no {name}")
        try:
            check_url(found, allow_loopback=self.source.issuer.startswith("http://"))
        except ValueError as error:
            raise ProviderError(f"{name} in the discovery document is refused: {error}") from None
        return found

    async def _own_token(self) -> dict[str, str]:
        path = self.source.token_file
        if path is None:
            return {}
        try:
            return {"Authorization": f"Bearer {(await asyncio.to_thread(path.read_text)).strip()}"}
        except (OSError, UnicodeDecodeError) as error:
            raise ProviderError(f"{path.name} cannot be read ({type(error).__name__})") from None

    async def _send(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        content: bytes | None = None,
        auth: httpx.Auth | None = None,
    ) -> bytes:
        assert self._client is not None, "call open() first"
        body = bytearray()
        headers = {**headers, "Accept-Encoding": "identity"}
        try:
            request = self._client.build_request(method, url, headers=headers, content=content)
            response = await self._client.send(request, stream=True, auth=auth)
            try:
                if response.status_code != 200:
                    hint = (
                        "; check `introspection.client_id` and its secret" if auth and response.is_client_error else ""
                    )
                    raise ProviderError(f"{url} answered {response.status_code}{hint}")
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise ProviderError(f"{url} sent a compressed answer, although none was requested")
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > MAX_SET:
                        raise ProviderError(f"{url} sent more than {MAX_SET} bytes")
                    await asyncio.sleep(0)  # let other tasks run: a thousand tiny pieces may have arrived at once
            finally:
                await response.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError, ValueError) as error:
            raise ProviderError(f"the request to {url} failed: {type(error).__name__}") from None
        if body.count(b",") + body.count(b"{") + body.count(b"[") > MAX_VALUES:
            raise ProviderError(f"{url} sent more than {MAX_VALUES} values")
        return bytes(body)


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = parse(body)
    except ContentError:
        raise ProviderError("the provider's answer is not unambiguous JSON") from None
    if not isinstance(document, dict):
        raise ProviderError("the provider's answer is not a JSON object")
    return document
