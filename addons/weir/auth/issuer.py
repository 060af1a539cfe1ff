"""One trusted issuer: its claim rules, a snapshot of its keys, and the refresher of keys that are fetched."""

import hashlib
import re
import ssl
import time
from collections.abc import Callable, Mapping
from math import inf
from pathlib import Path

from weir.auth import local
from weir.auth.claims import ClaimRules, Machines, Requirement
from weir.auth.introspector import Introspector
from weir.auth.keys import ALGORITHMS, KeySet, KeySetError, read_key_set
from weir.auth.presets import with_preset
from weir.auth.provider import Introspection, Provider, Source
from weir.auth.refresher import KeyRefresher, KeysUnavailable
from weir.auth.urls import check_url
from weir.base.duration import seconds
from weir.base.home import HomeError
from weir.base.jsonpath import Path as JsonPath
from weir.base.jsonpath import PathError, compile_path
from weir.base.mistakes import SettingError, did_you_mean
from weir.config.model import Claims, ClientAudienceSettings, IntrospectionSettings, IssuerSettings, LoginSettings
from weir.config.sources import resolve

#: The longest ``leeway`` (seconds).
MOST_LEEWAY = 300


class Issuer:
    """A trusted issuer.

    Keys from a file never expire. Keys from a provider expire *max_stale* seconds after they were last confirmed.
    """

    def __init__(
        self,
        rules: ClaimRules,
        keys: KeySet | None = None,
        provider: Provider | None = None,
        max_stale: float = inf,
        clock: Callable[[], float] = time.monotonic,
        login: LoginSettings | None = None,
        made_of: str = "",
    ) -> None:
        self.rules = rules
        self.provider = provider
        self.login = login
        self.made_of = made_of  # equal for issuers that are interchangeable
        self.refresher: KeyRefresher | None = None
        self.introspector: Introspector | None = None
        self._keys = keys
        if provider is not None:
            if keys is None:
                self.refresher = KeyRefresher(rules.name, provider.keys, max_stale, clock)
            if provider.source.introspection is not None:
                self.introspector = Introspector(rules, provider, provider.source.introspection.audience_required)

    def keys(self) -> KeySet:
        """Return the keys for verifying now. Raises `KeysUnavailable`."""
        if self.refresher is not None:
            return self.refresher.keys()
        if self._keys is None:
            raise KeysUnavailable(self.rules.name)
        return self._keys


def local_issuer() -> Issuer:
    """Return the built-in development issuer. Raises `SettingError` if its key cannot be used."""
    audiences = frozenset((local.AUDIENCE,))
    rules = ClaimRules(local.NAME, local.ISSUER, audiences, compile_path("$.groups"), profile="access")
    try:
        return Issuer(rules, local.key_set(), made_of=local.NAME)
    except (HomeError, ValueError) as error:
        raise SettingError(str(error)) from None


def compile_issuer(settings: IssuerSettings, folder: Path, environment: Mapping[str, str]) -> Issuer:
    """Compile an issuer of gateway.yaml; paths are relative to *folder*. Raises `SettingError`."""
    if settings.name in (local.NAME, "keys"):
        raise SettingError(f"{settings.name!r} is the name of a built-in issuer; choose another name", "name")
    settings = with_preset(settings)
    if settings.issuer is None:
        raise SettingError("'issuer' is missing: write the exact `iss` of its tokens")
    if "/.well-known/" in settings.issuer:
        raise SettingError("write the URL without /.well-known/…, exactly as the `iss` of its tokens", "issuer")
    rules = _rules(settings, settings.issuer)
    max_stale = _duration(settings.max_stale, "max_stale")
    introspection = _introspection(settings.introspection, folder, environment)
    keys = None
    jwks = settings.jwks
    if jwks is None:
        _check(settings.issuer, "issuer", "; discovery needs such a URL; or set `jwks`")
    elif "://" in jwks:
        _check(jwks, "jwks")
    else:
        keys = _keys_in(folder / jwks, jwks, tuple(settings.key_use))
    provider = None
    if keys is None or introspection is not None:
        if introspection is not None and introspection.endpoint is None and jwks is not None:
            _check(settings.issuer, "issuer", "; discovery needs such a URL; or set `introspection.endpoint`")
        provider = Provider(
            Source(
                settings.issuer,
                jwks if keys is None else None,
                ca=_readable(folder, settings.tls.ca, "tls", "ca") if settings.tls else None,
                token_file=_readable(folder, settings.token_file, "token_file") if settings.token_file else None,
                uses=tuple(settings.key_use),
                introspection=introspection,
            )
        )
        if settings.tls:
            try:
                ssl.create_default_context(cafile=str(provider.source.ca))
            except (ssl.SSLError, OSError):
                raise SettingError(f"{settings.tls.ca} has no certificate in PEM format", "tls", "ca") from None
    login = _login(settings.login, folder, environment)
    settings = settings.model_copy(update={"login": login})
    return Issuer(rules, keys, provider, max_stale, login=login, made_of=_made_of(settings, folder, provider))


def _made_of(settings: IssuerSettings, folder: Path, provider: Provider | None) -> str:
    """Return a digest of everything an issuer depends on: its settings, and the files and secrets that they name."""
    digest = hashlib.sha256(settings.model_dump_json().encode())
    local_keys = settings.jwks if settings.jwks and "://" not in settings.jwks else None
    for name in (local_keys, settings.tls.ca if settings.tls else None):
        if name is not None:
            digest.update((folder / name).read_bytes())
    if provider is not None and provider.source.introspection is not None:
        digest.update(provider.source.introspection.client_secret.reveal().encode())
    return digest.hexdigest()


def _rules(settings: IssuerSettings, iss: str) -> ClaimRules:
    algorithms = settings.algorithms
    for i, name in enumerate(algorithms or ()):
        if name not in ALGORITHMS:
            message = f"{name!r} is not one of {', '.join(sorted(ALGORITHMS))}{did_you_mean(name, ALGORITHMS)}"
            raise SettingError(message, "algorithms", i)
    leeway = 0 if settings.leeway == "0s" else _duration(settings.leeway, "leeway")
    if leeway > MOST_LEEWAY:
        raise SettingError(f"the leeway may be at most {MOST_LEEWAY} s", "leeway")
    for i, group in enumerate(settings.add_groups):
        if not group or "/" in group:
            raise SettingError(f"{group!r}: write the group's bare name; it becomes {settings.name}/…", "add_groups", i)
    clients: list[str] = []
    audience = settings.audience
    if isinstance(audience, ClientAudienceSettings):
        if settings.token == "id":  # noqa: S105  # a profile's name
            raise SettingError("ID tokens have an audience; name your client id as `audience`", "audience")
        clients, audience = audience.client_id, []
    return ClaimRules(
        settings.name,
        iss,
        frozenset(audience),
        _path(settings.groups, "groups"),
        clients=frozenset(clients),
        profile=settings.token,
        algorithms=frozenset(algorithms) if algorithms else None,
        leeway=leeway,
        max_lifetime=_duration(settings.max_lifetime, "max_lifetime") if settings.max_lifetime else None,
        subjects=tuple(compile_subject(pattern) for pattern in settings.subjects),
        require=_requirements(settings.require, "require", single=settings.preset is not None),
        add_groups=tuple(settings.add_groups),
        machines=Machines(
            settings.machines.subject_is_client,
            tuple(compile_subject(pattern) for pattern in settings.machines.subjects),
            _requirements(settings.machines.claims, "machines", "claims"),
        ),
    )


def _requirements(claims: Claims, *location: str, single: bool = False) -> tuple[Requirement, ...]:
    return tuple(
        Requirement(name, _claim(name, *location), tuple(values) if isinstance(values, list) else (values,), single)
        for name, values in claims.items()
    )


def compile_subject(pattern: str) -> re.Pattern[str]:
    """Compile a pattern that must match the whole subject.

    ``*`` matches any characters except ``:`` and ``/``; ``**`` matches any characters.
    """
    parts = re.split(r"(\*+)", pattern)
    meanings = {"": "", "*": "[^:/]*"}
    return re.compile("".join(meanings.get(p, "(?s:.*)") if p.strip("*") == "" else re.escape(p) for p in parts))


def _login(settings: LoginSettings | None, folder: Path, environment: Mapping[str, str]) -> LoginSettings | None:
    """Return *settings* with the client's secret in place of a reference to it."""
    if settings is None or settings.client_secret is None or "${" not in settings.client_secret:
        return settings
    try:
        secret, _ = resolve(settings.client_secret, folder, environment)
    except SettingError as error:
        raise SettingError(error.message, "login", "client_secret") from None
    return settings.model_copy(update={"client_secret": secret.reveal()})


def _introspection(
    settings: IntrospectionSettings | None, folder: Path, environment: Mapping[str, str]
) -> Introspection | None:
    if settings is None:
        return None
    try:
        secret, _ = resolve(settings.client_secret, folder, environment)
    except SettingError as error:
        raise SettingError(error.message, "introspection", "client_secret") from None
    if settings.endpoint is not None:
        _check(settings.endpoint, ("introspection", "endpoint"))
    return Introspection(settings.endpoint, settings.client_id, secret, settings.audience == "required")


def _check(url: str, location: str | tuple[str, ...], otherwise: str = "") -> None:
    try:
        check_url(url)
    except ValueError as error:
        raise SettingError(f"{error}{otherwise}", *([location] if isinstance(location, str) else location)) from None


def _duration(text: str, name: str) -> int:
    try:
        return seconds(text)
    except ValueError as error:
        raise SettingError(str(error), name) from None


def _path(text: str, *location: str) -> JsonPath:
    try:
        return compile_path(text)
    except PathError as error:
        raise SettingError(str(error), *location) from None


def _claim(name: str, *location: str) -> JsonPath:
    """Compile the path of a claim: its name, or a JSONPath if it begins with ``$``."""
    return _path(name if name.startswith("$") else f"$['{name}']", *location, name)


def _keys_in(path: Path, shown: str, uses: tuple[str, ...]) -> KeySet:
    try:
        return read_key_set(path.read_bytes(), uses)
    except OSError as error:
        raise SettingError(f"{shown} cannot be read ({error.strerror}); check the path, or use a URL", "jwks") from None
    except KeySetError as error:
        raise SettingError(str(error), "jwks") from None


def _readable(folder: Path, name: str, *location: str) -> Path:
    path = folder / name
    try:
        path.open("rb").close()
    except OSError as error:
        raise SettingError(
            f"{name} cannot be read ({error.strerror}); check the path and its owner", *location
        ) from None
    return path


def authorization_server(issuer: Issuer) -> str | None:
    """Return the issuer's URL as an authorization server (RFC 9728); None for built-in issuers."""
    try:
        check_url(issuer.rules.iss)
    except ValueError:
        return None
    return issuer.rules.iss
