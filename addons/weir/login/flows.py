"""Log a person in and get a token: authorization code with PKCE on a loopback port, or a code for another device.

Sources: RFC 7636 (PKCE, S256 only), RFC 8252 (loopback redirect), RFC 9207 (`iss` in the response),
RFC 8628 (device flow), RFC 8707 (`resource`).
"""

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from weir.auth.jws import TokenError, read_jws
from weir.login.model import LoginError, Option, Provider, seconds
from weir.login.server import failure, post

#: Seconds to wait for the person to log in.
PATIENCE = 300.0
_CALLBACK = "/callback"
_DONE = "<!doctype html><meta charset=utf-8><title>Weir</title><p>{}</p><p>You can close this window.</p>"


def authorization_code(option: Option, provider: Provider, show: Callable[[str], None]) -> dict[str, Any]:
    """Return the token response after the person agreed in a browser; *show* receives the URL to open there.

    Raises `LoginError`, also after `PATIENCE` seconds.
    """
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    with _listener(state, option.redirect_port) as listener:
        redirect = f"http://127.0.0.1:{listener.port}{_CALLBACK}"
        query = {
            **_client(option),
            "response_type": "code",
            "redirect_uri": redirect,
            "scope": " ".join(option.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if "offline_access" in option.scopes:
            query["prompt"] = "consent"  # OpenID Connect Core, 11: without it, there may be no refresh token
        separator = "&" if "?" in provider.authorization else "?"
        show(f"{provider.authorization}{separator}{urlencode(query)}")
        answer = listener.wait(PATIENCE)
    if answer is None:
        raise LoginError(f"no login within {PATIENCE / 60:.0f} minutes; run the command again")
    issuer = answer.get("iss")
    if issuer != provider.issuer and (issuer is not None or provider.names_itself):
        raise LoginError("the answer came from another identity provider; nothing was sent to it; log in again")
    if "code" not in answer:
        raise LoginError(f"the identity provider refused: {failure(answer)}")
    form = {**authenticated(option), "grant_type": "authorization_code", "code": answer["code"]}
    tokens = _tokens(post(provider.token, {**form, "redirect_uri": redirect, "code_verifier": verifier}))
    _check_nonce(tokens, nonce)
    return tokens


def device(option: Option, provider: Provider, show: Callable[[str, str], None]) -> dict[str, Any]:
    """Return the token response after the person typed a code on another device; *show* receives the URL and the code.

    Raises `LoginError`.
    """
    status, started = post(provider.device, {**authenticated(option), "scope": " ".join(option.scopes)})
    code, user_code = started.get("device_code"), started.get("user_code")
    where = started.get("verification_uri_complete") or started.get("verification_uri")
    if status != 200 or not isinstance(code, str) or not isinstance(user_code, str) or not isinstance(where, str):
        raise LoginError(f"the identity provider refused: {failure(started)}")
    show(where, user_code)
    interval = min(seconds(started.get("interval"), 5.0), 60.0)
    deadline = time.monotonic() + min(seconds(started.get("expires_in"), PATIENCE), 3600)
    form = {**authenticated(option), "grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": code}
    while time.monotonic() < deadline:
        time.sleep(interval)
        status, answer = post(provider.token, form)
        error = answer.get("error")
        if status == 200 or error not in ("authorization_pending", "slow_down"):
            return _tokens((status, answer))
        interval += 5 if error == "slow_down" else 0
    raise LoginError("the code was not confirmed in time; run the command again")


def refresh(option: Option, provider: Provider, refresh_token: str) -> dict[str, Any]:
    """Return the token response for *refresh_token*. Raises `LoginError`."""
    form = {**authenticated(option), "grant_type": "refresh_token", "refresh_token": refresh_token}
    status, answer = post(provider.token, form)
    if status != 200:
        raise LoginError(f"the login has ended ({failure(answer)}); run: weir login")
    return _tokens((status, answer))


def _tokens(response: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    status, answer = response
    if status != 200 or not isinstance(answer.get("access_token"), str):
        raise LoginError(f"the identity provider gave no token: {failure(answer)}")
    return answer


def _check_nonce(tokens: dict[str, Any], nonce: str) -> None:
    """Raise `LoginError` unless an ID token in *tokens* answers this request (OpenID Connect Core, 3.1.3.7)."""
    if "id_token" not in tokens:
        return
    try:
        claims = read_jws(str(tokens["id_token"])).claims
    except TokenError as error:
        raise LoginError(f"the identity provider's ID token cannot be read: {error}") from None
    if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
        raise LoginError("the ID token does not belong to this login (its nonce differs); run the command again")


def _client(option: Option) -> dict[str, str]:
    """Return the fields of the client and its resource, for a URL."""
    return {"client_id": option.client_id, **({"resource": option.resource} if option.resource else {})}


def authenticated(option: Option) -> dict[str, str]:
    """Return the form fields of the client and its resource for requests to the provider, with the client's secret."""
    return {**_client(option), **({"client_secret": option.client_secret} if option.client_secret else {})}


def _listener(state: str, port: int | None) -> "_Listener":
    try:
        return _Listener(state, port or 0)
    except OSError as error:
        raise LoginError(
            f"the browser must return to port {port} of this machine, which cannot be used ({error.strerror}); end the "
            "program that uses it (another login?), or log in with --device"
        ) from None


class _Listener(TCPServer):  # HTTPServer would look up its own name in the DNS
    """Accepts one answer on loopback: the one with our state. Refuses any other request and keeps waiting."""

    allow_reuse_address = True  # the next login may follow at once

    def __init__(self, state: str, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self._state = state
        self._answer: dict[str, str] | None = None

    @property
    def port(self) -> int:
        """The port that the listener is bound to."""
        return int(self.server_address[1])

    def wait(self, patience: float) -> dict[str, str] | None:
        """Return the parameters of the answer; None if none came within *patience* seconds."""
        deadline = time.monotonic() + patience
        while self._answer is None and (left := deadline - time.monotonic()) > 0:
            self.timeout = min(left, 1.0)
            self.handle_request()
        return self._answer

    def take(self, target: str) -> bool:
        """Store the parameters of a request for *target*. Return False if it is not the answer to this login."""
        parts = urlsplit(target)
        parameters = parse_qs(parts.query)
        given = parameters.get("state", [])
        ours = len(given) == 1 and hmac.compare_digest(given[0].encode(), self._state.encode())
        if parts.path != _CALLBACK or not ours or any(len(values) != 1 for values in parameters.values()):
            return False
        self._answer = {name: values[0] for name, values in parameters.items()}
        return True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not print a traceback for a connection that broke off."""


class _Handler(BaseHTTPRequestHandler):
    timeout = 5  # seconds until a silent connection is closed

    def do_GET(self) -> None:
        """Answer the browser that returns from the identity provider."""
        assert isinstance(self.server, _Listener)
        taken = self.server.take(self.path)
        body = _DONE.format("Done." if taken else "This is not the answer to the login that is waiting.").encode()
        self.send_response(200 if taken else 400)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: the request line contains the code."""
