"""Tokens that their form identifies: a prefix that only one vendor uses, an alphabet and a length.

Prefixes and lengths are those that vendors document. A form has no lookaround, because RE2 searches it too.
"""

import hashlib
import re

from weir.masking.detectors.model import Candidate, Detector

_EDGE = r"(?<![A-Za-z0-9_])"
_END = r"(?![A-Za-z0-9_]|-[A-Za-z0-9])"

#: Second part of a token that names its place, as in `glpat-….01.…`.
_ROUTE = r"(?:\.[0-9a-z]{2}\.[0-9a-z]{3,12}|\.[0-9a-z]{9})?"

_VENDORS = (
    # Code and packages
    r"gh[pousr]_[A-Za-z0-9]{36,255}", r"github_pat_[A-Za-z0-9_]{22,255}",
    rf"gl(?:pat|ptt|dt|rt|rtr|cbt|ft|ffct|soat|imt|agent|oas|wt)-[A-Za-z0-9_-]{{20,300}}{_ROUTE}", r"GR1348941[A-Za-z0-9_-]{20}", r"_gitlab_session=[0-9a-z]{32}",
    r"npm_[A-Za-z0-9]{36}", r"pypi-[A-Za-z0-9_-]{50,1000}", r"rubygems_[a-f0-9]{48}", r"(?:CLOJARS|clojars)_[A-Za-z0-9]{60}", r"oy2[a-z0-9]{43}", r"dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,32}",
    r"AKCp[A-Za-z0-9]{69}", r"cmVmd[A-Za-z0-9]{59}", r"sgp_(?:(?:[a-fA-F0-9]{16}|local)_)?[a-fA-F0-9]{40}", r"bkua_[a-f0-9]{40}", r"CCIP(?:AT|RJ)_[A-Za-z0-9]{10,40}_[a-f0-9]{40}",
    r"AT(?:ATT|CTT|BBT|STT)3[A-Za-z0-9_=-]{100,255}", r"ATBB[A-Za-z0-9]{28,40}", r"API-[A-Z0-9]{26}", r"[ps]at\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}",
    r"lin_(?:api|oauth)_[A-Za-z0-9]{40,64}", r"(?:ntn|secret)_[A-Za-z0-9]{43,50}", r"figd_[A-Za-z0-9_-]{40}", r"PMAK-[a-fA-F0-9]{24}-[a-fA-F0-9]{34}", r"rdme_[a-z0-9]{70}",
    # Models and search
    r"sk-ant-[A-Za-z0-9_-]{20,255}", r"sk-(?:proj|svcacct|admin|or-v1|lf)-[A-Za-z0-9_-]{20,255}", r"sk-[A-Za-z0-9]{20,64}",
    r"hf_[A-Za-z0-9]{30,40}", r"api_org_[A-Za-z]{34}", r"gsk_[A-Za-z0-9]{40,64}", r"r8_[A-Za-z0-9]{37}", r"pplx-[A-Za-z0-9]{40,64}", r"nvapi-[A-Za-z0-9_-]{60,80}",
    r"xai-[A-Za-z0-9]{60,100}", r"tvly-[A-Za-z0-9-]{20,64}", r"pcsk_[A-Za-z0-9_]{40,100}", r"pa-[A-Za-z0-9_-]{43}", r"jina_[A-Za-z0-9_-]{50,80}", r"csk-[a-z0-9]{48}", r"tgp_v1_[A-Za-z0-9_-]{43}",
    r"lsv2_[a-z]{2}_[a-f0-9]{32}_[a-f0-9]{10}", r"fw_[A-Za-z0-9]{22,40}",
    # Payment and shops
    r"[srp]k_(?:live|test|prod)_[A-Za-z0-9]{10,255}", r"whsec_[A-Za-z0-9+/=]{24,128}", r"shp(?:at|ca|pa|ss|tka)_[a-fA-F0-9]{32}", r"sq0[a-z]{3}-[A-Za-z0-9_-]{22,60}", r"EAAA[A-Za-z0-9_-]{22,60}",
    r"FLW(?:PUB|SEC)K(?:_TEST|_LIVE)?-[A-Za-z0-9]{12,40}(?:-[Xx])?", r"EZ[AT]K[A-Za-z0-9]{54}", r"shippo_(?:live|test)_[a-fA-F0-9]{40}", r"duffel_(?:live|test)_[A-Za-z0-9_=-]{43}",
    r"live_[A-Za-z0-9_=-]{40}", r"(?:live|test)_(?:[a-fA-F0-9]{35}|pub_[a-fA-F0-9]{31})", r"access-(?:sandbox|development|production)-[a-f0-9]{8}(?:-[a-f0-9]{4}){3}-[a-f0-9]{12}",
    # Messages
    r"xox[abdeoprs]-(?:\d-)?(?:\d{8,14}-){1,3}[A-Za-z0-9-]{16,64}", r"xox[aer]-(?:\d-)?[A-Za-z0-9]{8,64}", r"xoxs-\d{1,3}-\d{1,3}-\d{1,3}-[a-f0-9]{8,64}", r"(?:xoxe\.)?xox[bep]-\d-[A-Za-z0-9]{100,255}",
    r"xapp-\d-[A-Za-z0-9]+-\d+-[A-Za-z0-9]{5,128}", r"hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/+]{35,100}",
    r"SG\.[A-Za-z0-9_=.-]{60,72}", r"(?:SK|AC)[0-9a-fA-F]{32}", r"key-[0-9a-f]{32}", r"[0-9a-f]{32}-us\d{1,2}", r"xkeysib-[a-f0-9]{64}-[A-Za-z0-9]{16}", r"\d{8,10}:[A-Za-z0-9_-]{35}",
    r"[MNO][A-Za-z\d_-]{23,25}\.[A-Za-z\d_-]{6}\.[A-Za-z\d_-]{27,40}", r"tfp_[A-Za-z0-9_.=-]{59}", r"EAA[A-Za-z0-9]{80,255}", r"tk-us-[A-Za-z0-9_-]{48}",
    # Machines, databases and monitoring
    r"do[opr]_v1_[a-fA-F0-9]{64}", r"(?:dapi|dose)[a-f0-9]{32}(?:-\d)?", r"hv[bsr]\.[A-Za-z0-9_-]{24,300}", r"s\.[A-Za-z0-9]{24}", r"[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,70}",
    r"dp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,64}", r"pul-[a-f0-9]{40}", r"fo1_[A-Za-z0-9_-]{43}", r"fm(?:1[ar]|2)_[A-Za-z0-9+/]{100,900}={0,3}", r"HRKU-AA[A-Za-z0-9_-]{58}",
    r"tskey-[a-z]{2,8}-[A-Za-z0-9]{6,24}-[A-Za-z0-9]{16,40}", r"sbp_[a-f0-9]{40}", r"nfp_[A-Za-z0-9]{36,40}", r"pn[bu]_[A-Za-z0-9]{36}", r"ico-[A-Za-z0-9]{32}", r"dnkey-[A-Za-z0-9_=-]{79}", r"aio_[A-Za-z0-9]{28}",
    r"pscale_(?:tkn|oauth|pw)_[A-Za-z0-9_=.-]{32,64}", r"4b1d[A-Za-z0-9]{38}", r"sha256~[A-Za-z0-9_-]{43}", r"eyJrIjoi[A-Za-z0-9+/=]{40,420}", r"glc_[A-Za-z0-9+/]{32,400}={0,3}", r"glsa_[A-Za-z0-9]{32}_[a-fA-F0-9]{8}",
    r"sntrys_eyJ[A-Za-z0-9+/=]{20,400}_[A-Za-z0-9+/]{43}", r"sntryu_[a-f0-9]{64}", r"dt0[a-z]\d\d\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}", r"NRII-[A-Za-z0-9-]{32}", r"NRAK-[A-Za-z0-9]{27}", r"NRJS-[a-fA-F0-9]{19}",
    r"phc_[A-Za-z0-9]{40,50}", r"cio[A-Za-z0-9]{32}", r"sm_[aps]at_[A-Za-z0-9]{16}", r"fio-u-[A-Za-z0-9_=-]{64}",
    # Identity and vaults
    r"ya29\.[A-Za-z0-9_-]{20,255}", r"1//0[A-Za-z0-9_-]{30,120}", r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}", r"p8e-[A-Za-z0-9]{32}", r"s-s4t2(?:ud|af)-[a-fA-F0-9]{64}", r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
    r"ops_eyJ[A-Za-z0-9+/_-]{100,900}={0,3}", r"(?:sc|ext|scauth|authress)_[A-Za-z0-9]{5,30}\.[A-Za-z0-9]{4,6}\.acc[_-][A-Za-z0-9-]{10,32}\.[A-Za-z0-9+/_=-]{30,120}", r"[A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34}",
)  # fmt: skip
_CLOUDS = (
    r"(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|A3T[A-Z0-9])[A-Z0-9]{16}", r"ABSK[A-Za-z0-9+/]{109,269}={0,2}", r"bedrock-api-key-YmVkcm9jay5hbWF6b25hd3MuY29t[A-Za-z0-9+/_-]{0,900}={0,2}",
    r"AIza[A-Za-z0-9_-]{35}", r"GOCSPX-[A-Za-z0-9_-]{28}", r"LTAI[A-Za-z0-9]{12,24}", r"v1\.0-[a-f0-9]{24}-[a-f0-9]{146}",
)  # fmt: skip

#: Digests of keys that Google publishes in its samples for everyone.
_PUBLISHED = frozenset((
    "0c7b6ce21545", "1dc4fef3b100", "2205fc1d5614", "3184400d830a", "391e39f9fb76", "3d4c71978459", "4ee319889c07",
    "60e64b0b23dc", "84a6d0e2f0bc", "8d0d4f07b98b", "92bcde4e105b", "aaf285906cce", "c4e5f166ec42", "ca26814f2ae0",
))  # fmt: skip
#: Text in the examples of manuals: an alphabet, a row of digits, a word.
_EXAMPLE = re.compile(r"(?i)abcdefghijklmnopq|0123456789012|123456789012345|example|x{8}")
#: Words that are joined as in names of programs, with at most a few digits.
_NAME = re.compile(r"[A-Za-z]?[a-z]{2,}(?:[-_.][A-Z]?[a-z]{2,}|[A-Z][a-z]{2,})*\d{0,4}")


def is_name(text: str) -> bool:
    """True if *text* consists of joined words, like `requiredTypesForDisplay` and `test_reads_all_lines`."""
    return _NAME.fullmatch(text) is not None


def is_example(text: str) -> bool:
    """True if *text* is a placeholder of a manual: few characters repeat, or it contains an alphabet."""
    return len(set(text[-16:])) <= 4 or _EXAMPLE.search(text) is not None


def _made(c: Candidate) -> tuple[int, int] | None:
    """Accept a token unless a person wrote it: an example of a manual, or a name after something like the prefix."""
    rest = c.value[2:].partition("_")[2] or c.value[2:]
    if is_example(c.value) or is_name(rest) or not (_DIGIT.search(rest) or _MIXED.search(rest)):
        return None
    return None if _digest(c.value) in _PUBLISHED else (c.start, c.start + len(c.value.rstrip(".")))


_DIGIT = re.compile(r"\d")
_MIXED = re.compile(r"[a-z].*[A-Z]|[A-Z].*[a-z]")


def _digest(value: str) -> str:
    return hashlib.blake2b(value.encode(), digest_size=6).hexdigest()


def _token(kind: str, form: str) -> Detector:
    """Return the detector of a token with the given *form*, between other characters."""
    return Detector(kind, f"(?:^|[^A-Za-z0-9_])(?:{form})", re.compile(f"{_EDGE}(?:{form}){_END}"), _made, 92)


DETECTORS = (
    *(_token("vendor_token", form) for form in _VENDORS),
    *(_token("cloud_key", form) for form in _CLOUDS),
)  # fmt: skip
