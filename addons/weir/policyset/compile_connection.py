"""Compile one connection's file to a `Connection`; all mistakes are collected."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

from weir.approvals.model import OnRequest
from weir.approvals.people import Directory
from weir.approvals.terms import compile_window
from weir.base.addresses import compile_addresses
from weir.base.duration import seconds
from weir.base.mistakes import SettingError, at
from weir.config.load import Document, Folder
from weir.config.model import (
    ConnectionSettings,
    OnRequestSettings,
)
from weir.credentials.credential import compile_credential
from weir.masking.detectors.model import Detector
from weir.masking.keys import MaskingKey, connection_key
from weir.masking.masks import Masks, compile_masks
from weir.masking.strategies import Tokens
from weir.policy.compile import compile_limits, compile_rules, compile_trip
from weir.policy.rules import Rules
from weir.policyset.connection import Connection
from weir.policyset.model import Namespaces
from weir.profiles.profile import Profile, load_profile
from weir.recorder.settings import Recording, compile_record
from weir.routing.cors import compile_cors
from weir.routing.dial import Dial
from weir.routing.forwarding import compile_forwarding, header_name
from weir.routing.head import HeadError, check_path
from weir.routing.model import Origin, parse_upstream
from weir.routing.table import compile_match
from weir.tls.upstream import compile_upstream_tls


def compile_connection(
    document: Document[ConnectionSettings],
    folder: Folder,
    issuers: Namespaces,
    profiles: Mapping[str, Profile],
    categories: Mapping[str, str],
    directory: Directory,
    mask_keys: list[MaskingKey],
    detectors: Mapping[str, tuple[Detector, ...]],
    environment: Mapping[str, str],
    errors: list[SettingError],
) -> Connection | None:
    settings = document.settings
    profile = upstream = dial = match = credential = trip = on_request = None
    forward: list[bytes] = []
    access: list[str] = []
    masks, record = Masks(), Recording()
    with at(errors, "record"):
        record = compile_record(settings.record, folder.gateway.settings.record)
    with at(errors, "profile"):
        profile = profiles.get(settings.profile) or _find_profile(settings.profile, folder)
    with at(errors, "upstream"):
        upstream = parse_upstream(settings.upstream)
        dial = _dial(settings, upstream.origin, folder.path, errors)
    with at(errors, "match"):
        anyhow = any(not isinstance(e, str) and e.mode != "reverse" for e in folder.gateway.settings.listen)
        match = compile_match(settings.match.path, settings.match.host, settings.match.port, needed=not anyhow)
    if settings.credential is not None and upstream is not None:
        with at(errors, "credential"):
            credential = compile_credential(settings.credential, upstream.origin, folder.path, environment)
    for i, name in enumerate(settings.forward):
        with at(errors, "forward", i):
            forward.append(header_name(name))
    cors = compile_cors(settings.cors, errors)
    for i, group in enumerate(settings.access.groups):
        with at(errors, "access", "groups", i):
            access.append(issuers.resolve(group))
    if settings.access.on_request is not None:
        with at(errors, "access", "on_request"):
            on_request = _on_request(
                settings.access.on_request, settings.connection, settings.upstream, issuers, directory.schedules
            )
    with at(errors, "trip"):
        trip = compile_trip(settings.trip, document.line("trip"))
    limits = compile_limits(document, errors)
    rules, response_rules = compile_rules(document, profile, issuers.resolve, categories, directory.schedules, errors)
    websocket = _websocket(settings.websocket, response_rules, errors)
    with at(errors, "masks"):
        tokens = Tokens([connection_key(key.secret, settings.connection) for key in mask_keys])
        masks = compile_masks(settings.masks, tokens, issuers.resolve, detectors)
    if profile is None or upstream is None or dial is None or match is None:
        return None
    token_in = settings.token_in if settings.token_in is not None else profile.token_in
    return Connection(
        name=settings.connection,
        profile=profile,
        token_in=frozenset(token_in),
        upstream=upstream,
        dial=dial,
        match=match,
        credential=credential,
        forwarding=compile_forwarding((*profile.headers, *forward), token_in),
        cors=cors,
        access=frozenset(access),
        allow_unknown=settings.unknown_operations == "allow",
        websocket=websocket,
        on_request=on_request,
        trip=trip,
        limits=limits,
        rules=rules,
        response_rules=response_rules,
        masks=masks,
        record=record,
        settings=settings,
        file=document.file,
        access_line=document.line("access"),
    )


def _dial(settings: ConnectionSettings, origin: Origin, folder: Path, errors: list[SettingError]) -> Dial | None:
    tls = addresses = None
    with at(errors, "tls"):
        if settings.tls is not None and origin.scheme != "https":
            raise SettingError("this upstream is http://; TLS begins with https://")
        tls = compile_upstream_tls(settings.tls, folder)
    with at(errors, "addresses"):
        addresses = compile_addresses(settings.addresses, origin.host)
    return None if addresses is None else Dial(settings.connection, addresses, tls)


def _websocket(paths: list[str], response_rules: Rules, errors: list[SettingError]) -> frozenset[str]:
    for i, path in enumerate(paths):
        with at(errors, "websocket", i):
            try:
                check_path(path.encode())
            except HeadError as error:
                raise SettingError(f"{path!r} is not a path as it is sent: {error}") from None
    with at(errors, "websocket"):
        if paths and response_rules.rules:
            raise SettingError(
                f"the rule {response_rules.rules[0].name!r} judges responses, but would not judge messages of a "
                "WebSocket; move these paths to another connection"
            )
    return frozenset(paths)


def _find_profile(name: str, folder: Folder) -> Profile:
    for document in folder.profiles:
        if document.settings.profile != name and Path(document.file).stem == name:
            raise SettingError(f"there is no profile {name!r}; {document.file} declares {document.settings.profile!r}")
    return load_profile(name)


def _on_request(
    settings: OnRequestSettings, connection: str, upstream: str, issuers: Namespaces, schedules: Collection[str]
) -> OnRequest:
    terms = compile_window(settings, issuers.resolve, schedules)
    try:
        digest = hashlib.sha256(repr((connection, upstream, terms)).encode()).hexdigest()
        return OnRequest(terms, seconds(settings.at_most), digest)
    except ValueError as error:
        raise SettingError(str(error), "at_most") from None
