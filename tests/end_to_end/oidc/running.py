"""Runs the certified npm `oidc-provider`, and logs in like a person with a browser."""

import re
import subprocess
import threading
from dataclasses import dataclass
from html import unescape
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from tests import needs
from tests.end_to_end import gateway as gateways
from tests.end_to_end import npm
from tests.processes import PATIENCE

HERE = Path(__file__).resolve().parent

#: Reason to skip the tests with it; empty if they run.
MISSING = needs.node()


@dataclass
class RealProvider:
    """A running provider at *url*."""

    url: str
    process: "subprocess.Popen[str]"

    def client_credentials(self, resource: str) -> str:
        """Return a token for the client ``nightly`` itself."""
        form = {"grant_type": "client_credentials", "resource": resource, "scope": "rank"}
        answer = httpx.post(f"{self.url}/token", data=form, auth=("nightly", "nightly-secret-000000000000000000"))
        token = str(answer.raise_for_status().json()["access_token"])
        gateways.MINTED.append(token)
        return token

    def rotate(self) -> None:
        """Make the provider sign with a new key."""
        httpx.post(f"{self.url}/rotate").raise_for_status()

    def stop(self) -> None:
        """Stop the provider."""
        with self.process:
            self.process.terminate()


def start(port: int) -> RealProvider:
    """Install the provider once, and start it."""
    npm.install(HERE)
    process = subprocess.Popen(
        ["node", str(HERE / "provider.js"), str(port)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    while (line := process.stdout.readline()) != "listening\n":
        assert line, "the provider ended at once"
    threading.Thread(target=process.stdout.read, daemon=True).start()
    return RealProvider(f"http://127.0.0.1:{port}", process)


def browse(url: str, user: str) -> str:
    """Open *url* like a person: log in as *user* and agree to everything. Return the last page's text."""
    cookies: dict[str, str] = {}
    method, form = "GET", None
    for _ in range(20):
        header = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
        answer = httpx.request(method, url, data=form, headers=header, timeout=PATIENCE)
        for cookie in answer.headers.get_list("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            cookies[name] = value
        if answer.is_redirect:
            method, url, form = "GET", urljoin(url, answer.headers["location"]), None
            continue
        action = re.search(r'<form[^>]*action="([^"]+)"', answer.text)
        if action is None:
            return answer.text
        form = {
            name: unescape(value)
            for name, value in re.findall(r'<input[^>]*name="(\w+)"[^>]*value="([^"]*)"', answer.text)
        }
        if 'name="login"' in answer.text:
            form |= {"login": user, "password": "any"}
        method, url = "POST", urljoin(url, unescape(action[1]))
        if urlsplit(url).path.endswith("/callback"):
            break
    raise AssertionError(f"the provider's pages lead nowhere: {answer.text[:2000]}")
