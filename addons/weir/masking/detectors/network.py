"""Addresses of machines and places: IP, MAC, credentials in URLs, coordinates."""

import ipaddress
import re

from weir.masking.detectors.model import Candidate, Detector, whole, word_prefilter, words

_OCTET = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"
_IPV4 = re.compile(rf"(?<![\w.-])(?<![A-Za-z]/){_OCTET}(?:\.{_OCTET}){{3}}(?![\w]|\.\d|-\d)", re.ASCII)
_VERSIONS = words(
    "v", "ver", "rv", "versions?", "release[ds]?", "sections", "build", "builds", "firmware", "driver", "sdk", "assembly", "section", "sec", "chapter", "clause", "kapitel",
    "abschnitt", "versio", "versjon", "versi[óo]n", "versie", "wersj[aię]", "vers[ãa]o", "versione", "versionen", "utgave", "punkt", "पृ?ष्ठ", "版本", "버전", "バージョン", "संस्करण", "revision", "rev", "patch", "upgrade[d]?", "runtime", "fileversion", "productversion", "oid", "para", "paragraph",
)  # fmt: skip
_WORD_OF_ADDRESS = words("ip", "ips", "address", "addr", "host", "server", "client", "from", "subnet", "ipv4")

#: The rest of a version: a pre-release or a build (1.2.3.4-beta, 1.2.3.4+build).
_RELEASE = re.compile(
    r"[-+_~](?:alpha|beta|rc|dev|pre|preview|snapshot|final|ga|build|post|nightly|canary|release|hotfix|patch|r|b|a|p|m|sp)[.-]?\d*(?![A-Za-z])",
    re.IGNORECASE,
)
_THOUSANDS = re.compile(r"\d,$")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")


def _ipv4(c: Candidate) -> tuple[int, int] | None:
    if c.before(2).endswith("§") or c.nearer(_VERSIONS, _WORD_OF_ADDRESS, 24):
        return None
    if _THOUSANDS.search(c.before(2)) and not _WORD_OF_ADDRESS.search(_CAMEL.sub(" ", c.column())):
        return None
    if _RELEASE.match(c.text, c.end):
        return None
    if c.after(1) == "." and c.after(2)[1:].isdigit():
        return None
    return c.start, c.end


_IPV6 = re.compile(
    r"(?<![\w.])(?<![0-9A-Fa-f:]:)(?:[0-9A-Fa-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[0-9A-Fa-f]{0,4})(?:%[\w]{1,15})?(?![\w:]|\.\d)",
    re.ASCII,
)


#: The start of a slice in code, up to its first colon: `rows[` and `rows[-`.
_SLICE = re.compile(r"[\w)\]\"']\[[^\[\]\s]{0,30}$")


def _ipv6(c: Candidate) -> tuple[int, int] | None:
    value = c.value.partition("%")[0]
    if value.replace(":", "").isdigit() and _SLICE.search(c.before(34)):
        return None
    if not re.search(r"\d", value) or len(value) < 3:
        return None
    if "::" not in value and value.count(":") != 7 and "." not in value:
        return None
    try:
        ipaddress.IPv6Address(value)
    except ValueError:
        return None
    return c.start, c.end


_MAC = re.compile(
    r"(?<![\w.-])(?<![0-9A-Fa-f]:)(?:(?:[0-9A-Fa-f]{2}:){13}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4})(?![\w]|[:.-][0-9A-Fa-f])",
    re.ASCII,
)
_URL = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z][A-Za-z0-9+.-]{1,20}://([^\s/:@\"'<>{}$\[\]\x00-\x1f]{0,128}:[^\s/@\"'<>\x00-\x1f]{1,256})@(?=[\w\[])"
)
_TEMPLATE = re.compile(r"[*•]{3,}|\$\{|(?:^|:)\$[A-Za-z_]+(?::|$)|\{\{|\[[A-Z_]+\]")


def _credentials(c: Candidate) -> tuple[int, int] | None:
    return None if _TEMPLATE.search(c.match[1]) else c.match.span(1)


# Coordinates.

_PLACE_STEMS = (
    "lat", "lng", "lon", "long", "latitude", "longitude", "latlng", "lat_?lon", "coords?", "coordinates?", "gps", "geo", "geo ?location", "location", "located", "position", "waypoint",
    "koordinaten?", "breitengrad", "längengrad", "standort", "coordonnées", "position gps", "coordenadas?", "ubicación", "latitud", "longitud", "coordinate",
    "posizione", "latitudine", "longitudine", "coördinaten", "locatie", "współrzędne", "lokalizacja", "localização", "koordinater", "plats", "posisjon", "koordinaatit",
    "sijainti", "座標", "緯度", "経度", "좌표", "위도", "경도", "坐标", "纬度", "经度", "निर्देशांक", "अक्षांश", "देशांतर",
)  # fmt: skip
_PLACES = words(*_PLACE_STEMS)
_DEGREES = r"[+-]?\d{1,3}\.\d{2,15}"
_PAIR = re.compile(
    rf"(?<![\w.,/-])(?<!\d, )({_DEGREES})°?\s?[NS]?\s?[,;/ ]\s?({_DEGREES})(?:°?\s?[EWO](?![A-Za-z]))?(?![\w]|\.\d|,\s?-?\d)",
    re.ASCII,
)
_LETTERED = re.compile(r"°|\d ?[NS]\b")
_COMPASS = re.compile(
    r"(?<![\w.])\d{1,3}(?:\.\d{1,10})?\s?°\s?(?:\d{1,2}(?:\.\d{1,6})?\s?[′'’]\s?(?:\d{1,2}(?:\.\d{1,6})?\s?(?:[″\"”]|''|′′)\s?)?)?[NSEWO](?![A-Za-z])"
    r"(?:[,;]?\s{0,2}\d{1,3}(?:\.\d{1,10})?\s?°\s?(?:\d{1,2}(?:\.\d{1,6})?\s?[′'’]\s?(?:\d{1,2}(?:\.\d{1,6})?\s?(?:[″\"”]|''|′′)\s?)?)?[EWONS](?![A-Za-z]))?"
)
_DEGREE = re.compile(r"(?<![\w.-])[+-]?\d{1,3}\.\d{2,17}(?![\w]|\.\d)", re.ASCII)
_NAMED = words("lat", "lng", "lon", "long", "latitude", "longitude", "latitud", "longitud", "latitudine", "longitudine", "breitengrad", "längengrad", "coordinates?", "coords?", "geo ?points?", "緯度", "経度", "위도", "경도", "纬度", "经度")  # fmt: skip


_TIMES = words("ms", "ns", "us", "s", "sec", "seconds?", "time", "p50", "p9\\d", "latency")  # lat_ms is a latency


def _pair(c: Candidate) -> tuple[int, int] | None:
    first, second = float(c.match[1]), float(c.match[2])
    if abs(first) > 180 or abs(second) > 180 or (abs(first) > 90 and abs(second) > 90):
        return None
    if c.near(_PLACES, 40):
        return c.start, c.end
    precise = min(len(c.match[i].partition(".")[2]) for i in (1, 2)) >= 4
    alone = c.before(1) in ("[", "(") and c.after() in ("]", ")")
    return (
        (c.start, c.end)
        if precise and (alone or _LETTERED.search(c.value)) and max(abs(first), abs(second)) > 2
        else None
    )


def _degree(c: Candidate) -> tuple[int, int] | None:
    """Accept a single number if its name or the word directly before it is a coordinate."""
    if abs(float(c.value)) > 180:
        return None
    alone = c.start == 0 and c.end == len(c.text)
    names = c.column() if c.before(1) == "," else c.key if alone else c.context(14)
    return (c.start, c.end) if _NAMED.search(names) and not _TIMES.search(names) else None


DETECTORS = (
    Detector("ip", r"(?:^|[^0-9A-Za-z_.-])\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", _IPV4, _ipv4, 65),
    Detector("ip", r"[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]{1,4}:[0-9A-Fa-f]|::[0-9A-Fa-f]|[0-9A-Fa-f]::", _IPV6, _ipv6, 64),
    Detector("mac", r"(?:^|[^0-9A-Za-z_.-])(?:[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}|[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f])", _MAC, whole, 66),
    Detector("url_credentials", r"://[^\s/@\"'<>]{1,300}@", _URL, _credentials, 95),
    Detector("coordinates", r"\d\.\d{2}", _PAIR, _pair, 45, words=word_prefilter(*_PLACE_STEMS)),
    Detector("coordinates", r"[\[(][+-]?\d{1,3}\.\d{4,15}, ?[+-]?\d{1,3}\.\d{4,15}[\])]|\d°|\d{4} ?[NS][, ]", _PAIR, _pair, 45),
    Detector("coordinates", r"\d ?°", _COMPASS, whole, 46),
    Detector("coordinates", r"\d\.\d{2}", _DEGREE, _degree, 44, words=word_prefilter("lat", "lng", "lon", "long", "latitude?", "longitude?", "latitudine", "longitudine", "coordinates?", "coords?", "geo ?points?", "breitengrad", "längengrad", "緯度", "経度", "위도", "경도", "纬度", "经度")),
)  # fmt: skip
