"""Secrets: cloud keys, vendor tokens, private keys, JWTs, and values after a word for password.

The formats are those that vendors document or public secret scanners list.
"""

import base64
import math
import re
from collections import Counter

from weir.masking.detectors.model import Candidate, Detector, checked, whole, word_prefilter, words

_EDGE = r"(?<![A-Za-z0-9_])"
_END = r"(?![A-Za-z0-9_])"


def _varied(c: Candidate) -> tuple[int, int] | None:
    """Accept the candidate, unless few characters repeat, as in the examples of manuals."""
    return (c.start, c.end) if len(set(c.value[-16:])) > 4 else None


def _token(kind: str, form: str) -> Detector:
    """Return the detector of a token with the given *form*, between other characters."""
    return Detector(kind, f"(?:^|[^A-Za-z0-9_])(?:{form})", re.compile(f"{_EDGE}(?:{form}){_END}"), _varied, 92)


_VENDORS = (
    r"gh[pousr]_[A-Za-z0-9]{36,255}", r"github_pat_[A-Za-z0-9_]{22,255}",
    r"glpat-[A-Za-z0-9_-]{20,64}", r"gl(?:ptt|dt|rt|cbt|ft|soat|imt)-[A-Za-z0-9_-]{20,64}",
    r"xox[abeoprs]-[A-Za-z0-9-]{10,255}", r"xapp-\d-[A-Z0-9]+-\d+-[a-f0-9]{20,128}",
    r"[srp]k_(?:live|test)_[A-Za-z0-9]{10,255}", r"whsec_[A-Za-z0-9+/=]{24,128}",
    r"sk-ant-[A-Za-z0-9_-]{20,255}", r"sk-(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{20,255}", r"sk-[A-Za-z0-9]{20,64}",
    r"hf_[A-Za-z0-9]{30,64}", r"npm_[A-Za-z0-9]{36}", r"pypi-[A-Za-z0-9_-]{50,512}",
    r"SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}", r"(?:SK|AC)[0-9a-f]{32}", r"key-[0-9a-f]{32}",
    r"\d{8,10}:[A-Za-z0-9_-]{35}", r"do[orp]_v1_[a-f0-9]{64}", r"shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}",
    r"dapi[a-f0-9]{32}(?:-\d)?", r"hv[sb]\.[A-Za-z0-9_-]{24,255}", r"dp\.pt\.[A-Za-z0-9]{40,64}",
    r"lin_api_[A-Za-z0-9]{40}", r"(?:ntn|secret)_[A-Za-z0-9]{43,50}", r"ATATT3[A-Za-z0-9_=-]{100,255}",
    r"gsk_[A-Za-z0-9]{40,64}", r"r8_[A-Za-z0-9]{37}", r"pplx-[A-Za-z0-9]{40,64}", r"nvapi-[A-Za-z0-9_-]{60,80}", r"xai-[A-Za-z0-9]{60,100}",
    r"tvly-[A-Za-z0-9-]{20,64}", r"pcsk_[A-Za-z0-9_]{40,100}", r"pa-[A-Za-z0-9_-]{43}", r"jina_[A-Za-z0-9_-]{50,80}",
    r"eyJrIjoi[A-Za-z0-9=]{40,200}", r"glsa_[A-Za-z0-9]{32}_[a-f0-9]{8}", r"sq0(?:atp|csp|idp)-[A-Za-z0-9_-]{22,43}",
    r"EAA[A-Za-z0-9]{80,255}", r"ya29\.[A-Za-z0-9_-]{20,255}", r"1//0[A-Za-z0-9_-]{30,120}", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}",
    r"rubygems_[a-f0-9]{48}", r"dckr_pat_[A-Za-z0-9_-]{27}", r"cio[A-Za-z0-9]{32}", r"sntr[yu]s?_[A-Za-z0-9_=+/]{40,255}", r"phc_[A-Za-z0-9]{40,50}",
    r"https://hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/+]{40,100}", r"[MNO][A-Za-z\d_-]{23,25}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,40}",
)  # fmt: skip
_CLOUDS = (
    r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA)[A-Z0-9]{16}", r"AIza[A-Za-z0-9_-]{35}", r"GOCSPX-[A-Za-z0-9_-]{28}", r"LTAI[A-Za-z0-9]{12,24}",
)  # fmt: skip

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


def _is_jwt(text: str) -> bool:
    head = text.partition(".")[0]
    try:
        decoded = base64.urlsafe_b64decode(head + "=" * (-len(head) % 4))
    except ValueError:
        return False
    return decoded.startswith(b"{") and (b'"alg"' in decoded or b'"typ"' in decoded or b'"enc"' in decoded)


# Values after a word for password or key.

_PASSWORD_STEMS = (
    "pass", "password", "passwd", "pw", "passphrase", "pwd", "passcode", "pass word", "passwort", "kennwort", "mot[ _-]de[ _-]passe", "mdp", "contraseña", "contrasena", "clave(?: de acceso)?", "zugangspasswort", "ww", "salasanal?la", "adgangskode", "senha", "parola d'ordine", "parola chiave",
    "wachtwoord", "hasł[oaem]{1,2}", "lösenord(?:et)?", "salasana", "passord(?:et)?", "パスワード", "暗証番号", "暗証コード", "कूटशब्द", "비밀번호", "암호", "密码", "密碼", "口令", "पासवर्ड", "పాస్‌వర్డ్", "పాస్వర్డ్",
)  # fmt: skip
_KEY_STEMS = (
    "secret", "client[ _-]?secret", "api[ _-]?key", "apikey", "api[ _-]?token", "api[ _-]?secret", "access[ _-]?key", "access[ _-]?token", "auth[ _-]?token", "refresh[ _-]?token", "secret[ _-]?key(?:[ _-]?base)?",
    "private[ _-]?key", "bearer", "token", "credentials?", "signing[ _-]?key", "encryption[ _-]?key", "master[ _-]?key", "webhook[ _-]?secret", "session[ _-]?key", "schlüssel", "clé(?: api)?",
    "clave(?: api)?", "chave(?: api)?", "chiave(?: api)?", "app[ _-]?secret", "consumer[ _-]?secret", "shared[ _-]?secret", "密钥", "キー", "키", "authorization",
)  # fmt: skip
_JOINER = r"(?: mitt| ditt| din| mein| new| nueva| nuevo| nova| nouveau)?(?:[\"'`*)\]]{0,4}\s{0,2}(?:(?:is now|is|was|ist|lautet|est|es|é|è|on|är|er|to)(?![A-Za-zÀ-ɏ0-9])|:=|=>|->|[:=：＝]|は|은|는|是|为|改为|बदलकर|है)\s{0,2}){1,2}[\"'`*(\[]{0,3}"

#: The value is the content of an XML element, or the value of an attribute.
_ELEMENT = r"(?:[\"']?>(?=[^<>\s]{4,512}</)|[\"'] (?:value|val)=[\"'])"


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
    return rf"(?:(?<![A-Za-zÀ-ɏ])(?:{spaced})|(?-i:[A-Z]{{1,12}}(?:PASSWORD|PASSWD|SECRET|TOKEN|KEY))|(?-i:(?<=[a-z0-9])(?:Password|Passwd|Passphrase|Pwd|Secret|SecretKey|AccessKey|ApiKey|Token))|(?:{joined}))"


#: Text between a word and its secret, for a prefilter.
_GAP = r"(?:[ ](?:below|immediately|now|again|today|instead)|[ ](?:for|of|to)(?:[ ][\w'-]{1,20}){1,4}|[\"'] (?:value|val)=)?[^a-z0-9]{0,8}(?:is now|is|was|ist|lautet|est|es|é|è|on|är|er|to|は|은|는|是|为|改为|बदलकर|है)?[^a-z0-9]{0,6}"
_AFTER_PASSWORD = re.compile(
    rf"{_stems(_PASSWORD_STEMS)}(?:(?: (?:below|immediately|now|again|today|instead))?{_JOINER}|{_ELEMENT}|\s[\"'`](?=[^\s\"'`]{{6,64}}[\"'`])|[\s\"'`*(]{{1,3}}(?=[!-~]{{0,64}}\d))([!#-&(-+\--;=?-_a-~]{{4,128}})",
    re.IGNORECASE,
)
_AFTER_KEY = re.compile(
    rf"{_stems(_KEY_STEMS)}(?:(?: (?:for|of|to)(?: [\w'-]{{1,20}}){{1,4}})?{_JOINER}|{_ELEMENT}|\s(?=[A-Za-z0-9_-]{{20}}))(?:bearer |basic )?([A-Za-z0-9_+/=.~:!@#$%^&*-]{{12,512}})",
    re.IGNORECASE,
)
_SOLE = re.compile(r"\A\s{0,8}(?:[Bb]earer |[Bb]asic )?(\S{4,512})\s{0,8}\Z")
_PASSWORD_NAMES = words(*_PASSWORD_STEMS)
_KEY_NAMES = words(*_KEY_STEMS)
_NOT_NAMES = words("count", "counts", "type", "types", "limit", "max", "min", "next", "page", "continuation", "prompt", "completion", "total", "usage", "url", "uri", "name",
                   "hint", "policy", "expir(?:y|es|ed|ation|ing)", "public", "length", "strength", "id", "ids", "cursor", "reset", "field", "at", "tokens")  # fmt: skip
_PLACEHOLDER = re.compile(
    r"\*{3,}|•{3,}|x{4,}|\.{3,}|…|^[<\[{(]|^\$[A-Z_]+$|^%[A-Z_]+%$|^\$\(|\$\{|\{\{|\[[A-Z_ ]+\]|hash:|your|example|placeholder|change[_-]?me|redacted|masked|hidden|insert|dummy|sample"
    r"|^(?:none|null|true|false|undefined|required|optional|string|secret|password|token|todo|tbd|n/?a|unknown|invalid|missing|expired|process\.env.*|os\.environ.*|env\..*|self\..*|config\..*|get.*\(.*)$",
    re.IGNORECASE,
)  # fmt: skip
_HEX = re.compile(r"[0-9a-fA-F]+")
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
#: Orders of letters that no word has: upper case after lower case, twice.
_JUMBLED = re.compile(r"[a-z][A-Z].*[A-Z]{2}|[A-Z]{2}.*[a-z][A-Z]|[a-z][A-Z][a-z]?[A-Z].*[a-z]")
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
    if value.isdigit():
        return False
    if _JUMBLED.search(value) and len(value) >= 7 and value.isalpha():
        return True
    letters_and_more = _classes(value) >= 2 and any(c.isdigit() or c in "!@#$%^&*_+=~?|/\\" for c in value)
    return letters_and_more and not re.fullmatch(
        r"[^\W\d_]+[.\-/_][^\W\d_]+|[A-Za-z_.]{3,}\(.*|\d+(?:\.\d+)*[a-z]{0,2}", value
    )


def _is_key(value: str) -> bool:
    if len(value) < 12 or _PLACEHOLDER.search(value[:64]) or _UUID.fullmatch(value) or "://" in value:
        return False
    return any(c.isdigit() for c in value) and any(c.isalpha() for c in value) and entropy(value[:128]) > 3.0


def _trimmed(c: Candidate) -> tuple[int, int]:
    start, end = c.match.span(1)
    if c.text[end : end + 1] in _QUOTES and c.text[start - 1 : start] == c.text[end : end + 1]:
        return start, end
    while end > start and c.text[end - 1] in _TRAILING:
        end -= 1
    return start, end


def _password(c: Candidate) -> tuple[int, int] | None:
    start, end = _trimmed(c)
    return (start, end) if _is_password(c.text[start:end]) else None


def _key(c: Candidate) -> tuple[int, int] | None:
    start, end = _trimmed(c)
    return (start, end) if _is_key(c.text[start:end]) else None


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
    if not name or _NOT_NAMES.search(name):
        return None
    if _PASSWORD_NAMES.search(name):
        return c.match.span(1) if _is_password(c.match[1]) else None
    return c.match.span(1) if _KEY_NAMES.search(name) and _is_key(c.match[1]) else None


DETECTORS = (
    *(_token("vendor_token", form) for form in _VENDORS),
    *(_token("cloud_key", form) for form in _CLOUDS),
    Detector("cloud_key", r"(?:^|[^A-Za-z0-9+/_-])[A-Za-z0-9+/]{40}", _AWS_SECRET, _aws_secret, 91, words=word_prefilter(*_AWS_STEMS)),
    Detector("cloud_key", r"(?:AccountKey|SharedAccessKey|SharedSecret)=", _AZURE, _group, 91),
    Detector("cloud_key", r"[?&;]sig=[A-Za-z0-9%+/=]{40}", _AZURE_SAS, _group, 91),
    Detector("private_key", r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY", _PRIVATE_KEY, whole, 99),
    Detector("jwt", r"(?:^|[^A-Za-z0-9_-])(?:ey[A-Za-z0-9_-]{8,200}\.|ey[A-Za-z0-9_-]{200})", _JWT, checked(_is_jwt), 96),
    Detector("password", f"(?i)(?:{_prefilter(_PASSWORD_STEMS)}){_GAP}[^\\s\"]{{4}}", _AFTER_PASSWORD, _password, 85),
    Detector("password", f"(?i)(?:{'|'.join(_KEY_STEMS)}){_GAP}[^\\s\"]{{12}}", _AFTER_KEY, _key, 84),
    Detector("password", f"(?i)(?:{_prefilter((*_PASSWORD_STEMS, *_KEY_STEMS))}){_GAP}[^\\s\"]{{4}}", _SOLE, _named, 83),
    Detector("password", r"[\t|;,] ?[^\s|;,]{6}", _CELL, _celled, 82, words=word_prefilter(*_PASSWORD_STEMS, "secret", "api[ _-]?key", "token")),
)  # fmt: skip
