"""Secrets that words around them identify: cloud keys, private keys, JWTs, and values after a word for password."""

import base64
import math
import re
from collections import Counter

from weir.masking.detectors.model import Candidate, Detector, checked, whole, word_prefilter, words
from weir.masking.detectors.tokens import is_example, is_name

_AWS_STEMS = ("aws", "secret[ _-]?access[ _-]?key", "secret[ _-]?key", "amazon")
_AWS = words(*_AWS_STEMS)
_AWS_SECRET = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/]{40}(?![A-Za-z0-9+/=_-])")
_AZURE = re.compile(r"(?:AccountKey|SharedAccessKey|SharedSecret)=([A-Za-z0-9+/]{40,88}={0,2})")
_AZURE_SAS = re.compile(r"[?&;]sig=([A-Za-z0-9%+/=]{40,120})")


def _aws_secret(c: Candidate) -> tuple[int, int] | None:
    return (c.start, c.end) if c.near(_AWS) and entropy(c.value) > 4.0 and not _HEX.fullmatch(c.value) else None


def _group(c: Candidate) -> tuple[int, int] | None:
    start, end = c.match.span(1)
    return start, end


_PRIVATE_KEY = re.compile(
    r"-----BEGIN ([A-Z0-9 ]{0,40})PRIVATE KEY( BLOCK)?-----[^-]{16,20000}(?:-----END \1PRIVATE KEY\2?-----|-{0,5}$)"
)
_JWT = re.compile(
    r"(?<![A-Za-z0-9_-])ey[A-Za-z0-9_-]{8,4096}\.[A-Za-z0-9_-]{4,16384}(?:\.[A-Za-z0-9_-]{0,4096})?(?:\.[A-Za-z0-9_-]{0,16384}){0,2}"
)


#: A token that is encoded once more.
_JWT_AGAIN = re.compile(r"(?<![A-Za-z0-9+/_-])ZXlK[A-Za-z0-9+/_-]{60,16384}={0,2}")


def _again(c: Candidate) -> tuple[int, int] | None:
    head = c.value.rstrip("=")[:4096].replace("-", "+").replace("_", "/")
    inner = base64.b64decode(head[: len(head) // 4 * 4]).decode("latin-1")
    first, dot, _ = inner.partition(".")
    return (c.start, c.end) if dot and _decoded(first).startswith(b'{"') else None


def _decoded(head: str) -> bytes:
    """Return the decoded header of a token; empty if it is not base 64."""
    try:
        return base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except ValueError:
        return b""


def _is_jwt(text: str) -> bool:
    decoded = _decoded(text.partition(".")[0])
    return decoded.startswith(b"{") and (b'"alg"' in decoded or b'"typ"' in decoded or b'"enc"' in decoded)


# Values after a word for password or key.

_PASSWORD_STEMS = (
    "pass", "password", "passwd", "pw", "passphrase", "pwd", "passcode", "pass word", "passwort", "kennwort", "mot[ _-]de[ _-]passe", "mdp", "contraseña", "contrasena", "clave(?: de acceso)?", "zugangspasswort", "ww", "salasanal?la", "adgangskode", "senha", "parola d'ordine", "parola chiave",
    "wachtwoord", "hasł[oaem]{1,2}", "lösenord(?:et)?", "salasana", "passord(?:et)?", "パスワード", "暗証番号", "暗証コード", "कूटशब्द", "비밀번호", "암호", "密码", "密碼", "口令", "पासवर्ड", "పాస్‌వర్డ్", "పాస్వర్డ్",
)  # fmt: skip
_KEY_STEMS = (
    "secret", "client[ _-]?secret", "api[ _-]?key", "apikey", "api[ _-]?token", "api[ _-]?secret", "access[ _-]?key", "access[ _-]?token", "auth[ _-]?token", "refresh[ _-]?token", "secret[ _-]?key(?:[ _-]?base)?",
    "private[ _-]?key", "bearer", "token", "credentials?", "creds", "user[ _-]?auth", "signing[ _-]?key", "encryption[ _-]?key", "master[ _-]?key", "webhook[ _-]?secret", "session[ _-]?key", "schlüssel", "clé(?: api)?",
    "clave(?: api)?", "chave(?: api)?", "chiave(?: api)?", "app[ _-]?secret", "consumer[ _-]?secret", "shared[ _-]?secret", "密钥", "キー", "키", "authorization",
)  # fmt: skip
_JOINER = r"(?: mitt| ditt| din| mein| new| nueva| nuevo| nova| nouveau)?(?:[\"'`*)\]]{0,4}\s{0,2}(?:(?:is now|is|was|ist|lautet|est|es|é|è|on|är|er|to)(?![A-Za-zÀ-ɏ0-9])|:=|=>|->|[:=：＝]|は|은|는|是|为|改为|बदलकर|है)\s{0,2}){1,2}[\"'`*(\[]{0,3}"

#: The value is the content of an XML element on the line of its name.
_ELEMENT = r"[\"']?>(?=[^<>\s]{4,512}</)"
_VALUE = r"(?:value|val|string|secret)"
#: Text between a name and its value in code and files. RE2 reads these too.
_BETWEEN = "|".join([
    r"[\"'] ?(?:value|val)=[\"']",  # <add key="NAME" value="…"/>
    r"[\"']?>\s{0,2}\n[ \t]{1,80}",  # <name>, and the value on the next line, indented; <token> alone is a placeholder
    rf"</[\w:.-]{{1,40}}>\s{{0,80}}<{_VALUE}>\s{{0,80}}",  # <key>NAME</key><string>…
    r"[\"'`]\s?,\s{0,4}[\"'`]",  # setProperty("NAME", "…")
    r"[\"'`)\]]{0,2}\s?[:?.+|!=]{1,3}=\s{0,2}[\"'`]?",  # ::= ?= .= +=
    r"\[\w{0,8}\]\s?=\s{0,2}[\"'`]",  # char NAME[] = "…"
    r"(?:\s?:)?\s{1,2}[&*]?[A-Za-z_][\w.<>\[\]]{0,24}\??\s?=\s{0,2}[\"'`]",  # NAME string = "…"
    r"[\"']?:\s?[|>][+-]?\d?\s{0,2}\n\s{1,40}",  # a block of YAML
    rf"[\"']?\s{{0,2}}[,;]?\s{{0,80}}(?:[\"']?\w{{1,20}}[\"']?\s?[:=]\s?[\"']?\w{{1,20}}[\"']?\s?,\s{{0,80}})?[\"']?{_VALUE}[\"']?\s?[:=]\s{{0,2}}[\"'`]?",  # "name": "NAME", "value": "…"
])  # fmt: skip


def _prefilter(stems: tuple[str, ...]) -> str:
    """Return the prefilter for *stems*; short ones only at the start of a word, as base 64 has them by chance."""
    short = "|".join(w for w in stems if len(w) < 5 and ord(w[0]) < 0x900)
    names = "|".join(w.capitalize() for w in stems if len(w) < 5 and w.isascii())
    others = "|".join(w for w in stems if len(w) >= 5 or ord(w[0]) >= 0x900)
    return f"(?:^|[^A-Za-z])(?:{short})|[a-z](?-i:{names})|{others}"


def _stems(stems: tuple[str, ...]) -> str:
    """Return a pattern for any of *stems* at the start of a word; in scripts without spaces, anywhere."""
    spaced = "|".join(w for w in stems if ord(w[0]) < 0x900)
    joined = "|".join(w for w in stems if ord(w[0]) >= 0x900)
    return rf"(?:(?<![A-Za-zÀ-ɏ])(?:{spaced})|(?-i:[A-Z]{{1,12}}(?:PASSWORD|PASSWD|SECRET|TOKEN|KEY))|(?-i:(?<=[A-Za-z0-9])(?:Password|Passwd|Passphrase|Pwd|Secret|SecretKey|AccessKey|ApiKey|Token))|(?:{joined}))"


#: Text between a word and its secret, for a prefilter.
_GAP = rf"(?:[ ](?:below|immediately|now|again|today|instead)|[ ](?:for|of|to)(?:[ ][\w'-]{{1,20}}){{1,4}})?(?:[^a-z0-9]{{0,8}}(?:is now|is|was|ist|lautet|est|es|é|è|on|är|er|to|は|은|는|是|为|改为|बदलकर|है)?[^a-z0-9]{{0,6}}|{_BETWEEN})"
_AFTER_PASSWORD = re.compile(
    rf"{_stems(_PASSWORD_STEMS)}(?:(?: (?:below|immediately|now|again|today|instead))?{_JOINER}|{_ELEMENT}|{_BETWEEN}|\s[\"'`](?=[^\s\"'`]{{6,64}}[\"'`])|[\s\"'`*(]{{1,3}}(?=[!-~]{{0,64}}\d))([!#-&(-+\--;=?-_a-~]{{4,128}})",
    re.IGNORECASE,
)
_AFTER_KEY = re.compile(
    rf"{_stems(_KEY_STEMS)}(?:(?: (?:for|of|to)(?: [\w'-]{{1,20}}){{1,4}})?{_JOINER}|{_ELEMENT}|{_BETWEEN}|\s(?=[A-Za-z0-9_-]{{20}}))(?:bearer |basic |token |apikey )?([A-Za-z0-9_+/=.~:!@#$%^&*-]{{12,512}})",
    re.IGNORECASE,
)
_SOLE = re.compile(r"\A\s{0,8}(?:[Bb]earer |[Bb]asic )?(\S{4,512})\s{0,8}\Z")
_PASSWORD_NAMES = words(*_PASSWORD_STEMS)
_KEY_NAMES = words(*_KEY_STEMS)
_NOT_NAMES = words("count", "counts", "type", "types", "limit", "max", "min", "next", "page", "continuation", "prompt", "completion", "total", "usage", "url", "uri", "name",
                   "hint", "policy", "expir(?:y|es|ed|ation|ing)", "public", "length", "strength", "id", "ids", "cursor", "reset", "field", "at", "tokens")  # fmt: skip
_PLACEHOLDER = re.compile(
    r"\*{3,}|•{3,}|x{4,}|\.{3,}|…|^[<\[{(]|^\$[A-Z_]+$|^%[A-Z_]+%$|^\$\(|\$\{|\{\{|\[[A-Z_ ]+\]|hash:|^ENC\[|your|example|placeholder|change[_-]?me|redacted|masked|hidden|insert|dummy|sample"
    r"|^(?:none|null|true|false|undefined|required|optional|string|secret|password|token|todo|tbd|n/?a|unknown|invalid|missing|expired|process\.env.*|os\.environ.*|env\..*|self\..*|config\..*|get.*\(.*)$",
    re.IGNORECASE,
)  # fmt: skip
_HEX = re.compile(r"[0-9a-fA-F]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: Orders of letters that no word has: upper case after lower case, twice.
_JUMBLED = re.compile(r"[a-z][A-Z].*[A-Z]{2}|[A-Z]{2}.*[a-z][A-Z]|[a-z][A-Z][a-z]?[A-Z].*[a-z]")
#: Code in place of a value: an attribute, an argument, an index, a format, the name of the next setting.
_CODE = re.compile(
    r"(?:[A-Za-z_]+\d{0,2}(?:\.[A-Za-z_]+(?:\d\d[A-Za-z_]+)?)+|[A-Za-z_]+=[A-Za-z_.]*\)?|(?:[A-Za-z_]+\.)*[A-Za-z_]+=|\w+\[[\w:.-]*\]?|%[sdr].*|[\w.]{2,60}\([^)]{0,40}\)?)$"
)
#: Names of tokens that are no secrets, directly before the word; and a value that its writer has cut short.
_OPEN_NAME = re.compile(
    r"(?i)(?:public|csrf|xsrf|authenticity|publishable|continuation|next|page|request|trace|correlation|idempotency|cursor|sync)[ _-]?$"
)
_CUT = re.compile(r"\.{2}|…|\.?\[|#{3}")
_QUOTES = ('"', "'", "`")
_TRAILING = ".,;:!?)]}\"'`"


def entropy(text: str) -> float:
    """Return the Shannon entropy in bits per character."""
    return -sum(n / len(text) * math.log2(n / len(text)) for n in Counter(text).values())


def _classes(text: str) -> int:
    return sum(bool(re.search(p, text)) for p in (r"[a-z]", r"[A-Z]", r"\d", r"[^A-Za-z0-9]"))


def _is_password(value: str) -> bool:
    """True if *value* looks like a password: letters with digits or signs, and not a word of a sentence."""
    if len(value) < 5 or _PLACEHOLDER.search(value) or "://" in value:
        return False
    if value.isdigit() or _CODE.match(value):
        return False
    if _JUMBLED.search(value) and len(value) >= 7 and value.isalpha():
        return True
    letters_and_more = _classes(value) >= 2 and any(c.isdigit() or c in "!@#$%^&*_+=~?|/\\" for c in value)
    return letters_and_more and not re.fullmatch(
        r"[^\W\d_]+[.\-/_][^\W\d_]+|[A-Za-z_.]{3,}\(.*|\d+(?:\.\d+)*[a-z]{0,2}", value
    )


def _is_key(value: str) -> bool:
    if len(value) < 12 or _PLACEHOLDER.search(value[:64]) or "://" in value or _CODE.match(value):
        return False
    if is_example(value) or is_name(value.partition(":")[2] or value):
        return False
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value) and entropy(value[:128]) > 2.9


def _trimmed(c: Candidate) -> tuple[int, int]:
    start, end = c.match.span(1)
    if c.text[end : end + 1] in _QUOTES and c.text[start - 1 : start] == c.text[end : end + 1]:
        return start, end
    while end > start and c.text[end - 1] in _TRAILING:
        end -= 1
    return start, end


def _is_listed(c: Candidate, gap: str) -> bool:
    """True if the word is a member of a list of names, and not the first argument of a call or the name of a pair."""
    return _COMMA.fullmatch(gap[-8:]) is not None and _CALLED.search(c.before()) is None


_COMMA = re.compile(r".*[\"'`]\s?,\s{0,4}[\"'`]", re.DOTALL)


def _password(c: Candidate) -> tuple[int, int] | None:
    start, end = _trimmed(c)
    gap = c.text[c.start : c.match.start(1)]
    if _is_listed(c, gap):
        return None
    if gap.endswith(" ") and gap[:-1].isalpha() and _IDENTIFIER.fullmatch(c.text, start, end):
        return None
    return (start, end) if _is_password(c.text[start:end]) else None


#: The start of a call or a pair, up to the name: `set("DB_`.
_CALLED = re.compile(r"[(\[{]\s?[\"'`][\w.:-]{0,40}$")
_IDENTIFIER = re.compile(r"[A-Za-z]+(?:_\w+|=.*)")


def _key(c: Candidate) -> tuple[int, int] | None:
    start, end = _trimmed(c)
    if _OPEN_NAME.search(c.before(20)) or _CUT.match(c.text, end) or _is_listed(c, c.text[c.start : c.match.start(1)]):
        return None
    return (start, end) if _is_key(c.text[start:end]) else None


#: The user and password of a command: `curl -u user:secret`.
_COMMAND = re.compile(
    r"(?<!\S)(?:-u|-U|-a|--user|--proxy-user|--auth)[ =]{0,2}[\"']?([^\s\"':]{0,64})([\"']?:[\"']?)([^\s\"']{0,128})"
)
_ANYONE = re.compile(r"(?i)(?:pass(?:word|wd)?|test|token|x+|y+|[*.]+)$|.*[<$%{\[]{2}|[<$%\[]")
_CLIENTS = re.compile(r"\b(?:curl|wget|https?|xh|httpie)\b[^\n]")


def _command(c: Candidate) -> tuple[int, int] | None:
    """Accept the credentials of a program that speaks HTTP; other programs have `-u` for other purposes."""
    user, secret = c.match[1], c.match[3] or c.match[1]
    if not _CLIENTS.search(c.before(600)) or _ANYONE.match(secret) or _ANYONE.match(user) or len(secret) < 3:
        return None
    return c.match.start(1), c.match.end(3)


def _named(c: Candidate) -> tuple[int, int] | None:
    """Accept a whole text if its name means a secret."""
    if not c.key or _NOT_NAMES.search(c.key):
        return None
    value = c.match[1]
    if _PASSWORD_NAMES.search(c.key):
        one = (
            len(value) >= 4
            and not _PLACEHOLDER.search(value)
            and (_is_password(value) or (len(value) >= 6 and _classes(value) >= 2))
        )
        return c.match.span(1) if one else None
    return c.match.span(1) if _KEY_NAMES.search(c.key) and _is_key(value) else None


_CELL = re.compile(r"(?<=[\t|;,])[ ]?([^\s|;,]{6,128})(?=[ ]?(?:[\t|;,\n]|\Z))")


def _celled(c: Candidate) -> tuple[int, int] | None:
    """Accept a cell of a table if its column's name means a secret."""
    name = c.column()
    if not name or _NOT_NAMES.search(name) or (c.match[1][0] in _QUOTES and c.match[1][-1] in ")]"):
        return None
    if _PASSWORD_NAMES.search(name):
        return c.match.span(1) if _is_password(c.match[1]) else None
    return c.match.span(1) if _KEY_NAMES.search(name) and _is_key(c.match[1]) else None


DETECTORS = (
    Detector("cloud_key", r"(?:^|[^A-Za-z0-9+/_-])[A-Za-z0-9+/]{40}", _AWS_SECRET, _aws_secret, 91, words=word_prefilter(*_AWS_STEMS)),
    Detector("cloud_key", r"(?:AccountKey|SharedAccessKey|SharedSecret)=", _AZURE, _group, 91),
    Detector("cloud_key", r"[?&;]sig=[A-Za-z0-9%+/=]{40}", _AZURE_SAS, _group, 91),
    Detector("private_key", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY", _PRIVATE_KEY, whole, 99),
    Detector("password", r"(?:^|\s)(?:-[uUa]|--(?:proxy-)?user|--auth)[ =]{0,2}[\"']?[^\s\"':]{0,64}[\"']?:", _COMMAND, _command, 86),
    Detector("jwt", r"(?:^|[^A-Za-z0-9+/_-])ZXlK[A-Za-z0-9+/_-]{60}", _JWT_AGAIN, _again, 96),
    Detector("jwt", r"(?:^|[^A-Za-z0-9_-])(?:ey[A-Za-z0-9_-]{8,200}\.|ey[A-Za-z0-9_-]{200})", _JWT, checked(_is_jwt), 96),
    Detector("password", f"(?i)(?:{_prefilter(_PASSWORD_STEMS)}){_GAP}[^\\s\"]{{4}}", _AFTER_PASSWORD, _password, 85),
    Detector("password", f"(?i)(?:{'|'.join(_KEY_STEMS)}){_GAP}[^\\s\"]{{12}}", _AFTER_KEY, _key, 84),
    Detector("password", f"(?i)(?:{_prefilter((*_PASSWORD_STEMS, *_KEY_STEMS))}){_GAP}[^\\s\"]{{4}}", _SOLE, _named, 83),
    Detector("password", r"[\t|;,] ?[^\s|;,]{6}", _CELL, _celled, 82, words=word_prefilter(*_PASSWORD_STEMS, "secret", "api[ _-]?key", "token")),
)  # fmt: skip
