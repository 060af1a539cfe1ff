"""National identity numbers, and dates of birth."""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from weir.masking.detectors import checksums
from weir.masking.detectors.model import AHEAD, EDGE, Candidate, Detector, checked, checked_near, word_prefilter, words

_SSN_STEMS = ("ssn", "ss(?:#| ?n(?:o|um|umber))", "social[ _-]?sec(?:urity)?", "tax ?id", "tin", "itin")
_SSN = words(*_SSN_STEMS)


def _digits(pattern: str) -> re.Pattern[str]:
    """Compile *pattern* so that it does not match within a longer number or word."""
    return re.compile(rf"(?<![\w.+/-])(?<!\d )(?:{pattern})(?![\w]|[-/. ]\d)", re.ASCII | re.IGNORECASE)


def _written(kind: str, form: str, check: Callable[[str], bool]) -> Detector:
    """Return the detector of a number with a format that is specific enough without a word nearby."""
    return Detector(kind, f"(?i){EDGE}(?:{form})", _digits(form), checked(check), 75)


def _bare(kind: str, form: str, check: Callable[[str], bool], *stems: str) -> Detector:
    """Return the detector of a number that could be any other, so one of its words must be near."""
    found = _digits(form)
    return Detector(
        kind, f"(?i){EDGE}(?:{form})", found, checked_near(check, words(*stems)), 76, word_prefilter(*stems)
    )


_NATIONAL = (
    _written("us_ssn", r"\d{3}-\d{2}-\d{4}", checksums.us_ssn),
    _bare("us_ssn", r"\d{3}[ .]?\d{2}[ .]?\d{4}", checksums.us_ssn, *_SSN_STEMS),
    _written("br_cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}", checksums.br_cpf),
    _bare("br_cpf", r"\d{9}-?\d{2}", checksums.br_cpf, "c\\.?p\\.?f\\.?", "cadastro de pessoas?", "contribuinte"),
    _bare("ca_sin", r"\d{3}[ -]?\d{3}[ -]?\d{3}", checksums.ca_sin, "sin", "social[ _-]?insurance", "assurance[ _-]?sociale", "nas"),
    _written("cn_resident_id", r"[1-9]\d{5}(?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dX]", checksums.cn_resident_id),
    _written("cn_resident_id", r"[1-9]\d{5} (?:18|19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01]) \d{3}[\dX]", checksums.cn_resident_id),
    _bare("de_steuer_id", r"\d{2} ?\d{3} ?\d{3} ?\d{3}", checksums.de_steuer_id,
          "steuer", "steuer[ _-]?id", "steuer[ _-]?nummer", "steueridentifikationsnummer", "steuer[ -]?identifikations[ -]?nummer", "id[- ]?nr", "tax[ _-]?id", "tin"),
    _written("es_dni", r"(?:\d{8}|\d{2}\.\d{3}\.\d{3})[ -]?[A-HJ-NP-TV-Z]", checksums.es_dni),
    _written("es_dni", r"[XYZ][ -]?\d{7}[ -]?[A-HJ-NP-TV-Z]", checksums.es_dni),
    _written("fi_hetu", r"[0-3]\d[01]\d{3}[-+A-FU-Y]\d{3}[0-9A-Y]", checksums.fi_hetu),
    _written("fr_nir", r"[1-478] \d{2} \d{2} (?:\d{2}|2[AB]) \d{3} \d{3}(?: \d{2}|[ /]+\d{2})", checksums.fr_nir),
    _written("fr_nir", r"[1-478]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{6} ?\d{2}", checksums.fr_nir),
    _bare("gb_nhs", r"\d{3}[ -]?\d{3}[ -]?\d{4}", checksums.gb_nhs, "nhs", "national[ _-]?health", "patient(?: ?(?:no|number|id))?"),
    _written("in_aadhaar", r"[2-9]\d{3} \d{4} \d{4}|[2-9]\d{3}-\d{4}-\d{4}", checksums.in_aadhaar),
    _bare("in_aadhaar", r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}", checksums.in_aadhaar, "aadha?ar", "adha?ar", "uidai", "uid", "आधार", "ఆధార్"),
    _written("it_codice_fiscale", r"[A-Z]{3} ?[A-Z]{3} ?\d[0-9LMNPQRSTUV] ?[ABCDEHLMPRST][0-9LMNPQRSTUV]{2} ?[A-Z][0-9LMNPQRSTUV]{3} ?[A-Z]", checksums.it_codice_fiscale),
    _written("kr_rrn", r"\d{2}[01]\d[0-3]\d-[1-8]\d{6}", checksums.kr_rrn),
    _bare("kr_rrn", r"\d{2}[01]\d[0-3]\d-?[1-8]\d{6}", checksums.kr_rrn, "주민", "주민등록번호", "rrn", "resident[ _-]?registration", "jumin"),
    _bare("nl_bsn", r"\d{4}[ .]?\d{2}[ .]?\d{3}|\d{3}[ .-]\d{3}[ .-]\d{3}|\d{8,9}", checksums.nl_bsn, "bsn", "burgerservice(?:nummer|nr)", "sofi(?:nummer|-nummer)?", "citizen service"),
    _written("no_fodselsnummer", r"[0-7]\d[0-9]\d{3} \d{5}", checksums.no_fodselsnummer),
    _bare("no_fodselsnummer", r"[0-7]\d{5}[ -]?\d{5}", checksums.no_fodselsnummer,
          "f[øo]dsels?(?:nummer|nr)?", "fnr", "personnummer", "personnr", "d-?nummer", "national[ _-]?id", "identitetsnummer"),
    _bare("pl_pesel", r"\d{11}", checksums.pl_pesel, "pesel", "pesel-?u", "numer ewidencyjny"),
    _written("se_personnummer", r"(?:19|20)?\d{2}(?:0[1-9]|1[0-2])(?:[06][1-9]|[1278]\d|[39][01])[-+]\d{4}", checksums.se_personnummer),
    _bare("se_personnummer", r"(?:19|20)?\d{2}(?:0[1-9]|1[0-2])(?:[06][1-9]|[1278]\d|[39][01])[-+ ]?\d{4}", checksums.se_personnummer,
          "person(?:nummer|nr)", "pers\\.? ?nr", "pnr", "samordningsnummer", "org\\.?nr", "personal[ _-]?(?:identity|id|number)", "social[ _-]?security"),
    _bare("za_id", r"\d{6} ?\d{4} ?\d{3}|\d{13}", checksums.za_id, "id", "identity", "identity[ _-]?(?:number|no)", "id[ _-]?(?:number|no|nr)", "rsa[ _-]?id(?:[ _-]?number)?",
          "sa[ _-]?id", "south african?", "identiteitsnommer", "isazisi", "national[ _-]?id"),
)  # fmt: skip

# Dates of birth: any date of a lifetime, near one of the words.

_MONTHS = (
    "jan(?:uary|uar|vier|uari|eiro)?", "feb(?:ruary|ruar|ruari)?", "f[ée]vr?(?:ier)?", "mar(?:ch|s|zo|t|ço)?", "m[äa]r[zs]", "maart", "apr(?:il|ile|iel)?",
    "avr(?:il)?", "may", "mai", "maj", "mei", "mag(?:gio)?", "maggio", "ma[iy]o", "june?", "jui?ni?", "juin", "giu(?:gno)?", "junho", "junio", "july?",
    "juli?", "juillet", "lug(?:lio)?", "julho", "julio", "aug(?:ust|usti|ustus)?", "ao[ûu]t", "ago(?:sto)?", "sept?(?:ember|embre|iembre)?", "set(?:tembre|embro)?",
    "o[ck]t(?:ober|obre|ubre)?", "ott(?:obre)?", "out(?:ubro)?", "nov(?:ember|embre|iembre|embro)?", "de[cz](?:ember|embre|embro)?", "d[ée]c(?:embre)?",
    "dic(?:embre|iembre)?", "ene(?:ro)?", "enero", "genn?(?:aio)?", "febbraio", "febrero", "fevereiro", "abr(?:il)?", "desember", "januar[iy]", "februar[iy]",
    "stycznia", "lutego", "marca", "kwietnia", "maja", "czerwca", "lipca", "sierpnia", "września", "października", "listopada", "grudnia",
    "tammi", "helmi", "maalis", "huhti", "touko", "kesä", "heinä", "elo", "syys", "loka", "marras", "joulu",
    "जनवरी", "फरवरी", "फ़रवरी", "मार्च", "अप्रैल", "मई", "जून", "जुलाई", "अगस्त", "सितंबर", "सितम्बर", "अक्टूबर", "अक्तूबर", "नवंबर", "नवम्बर", "दिसंबर", "दिसम्बर",
)  # fmt: skip
_MONTH = rf"(?:{'|'.join(_MONTHS)})(?:kuuta|kuun)?\.?"
_YEAR = r"(?:1[89]\d\d|20[0-4]\d)"
_DAY = r"(?:0?[1-9]|[12]\d|3[01])"
_DATE = re.compile(
    rf"(?<![A-Za-z0-9_/.-])(?:{_YEAR}([-/.]) ?\d{{1,2}}\1 ?{_DAY}(?:T[0-9:.]+Z?)?|{_DAY}([-/.]) ?\d{{1,2}}\2 ?(?:{_YEAR}|\d\d)|\d{{1,2}}([-/.]){_DAY}\3(?:{_YEAR}|\d\d)"
    rf"|(?:19\d\d|20[0-4]\d)(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    rf"|{_DAY}(?:st|nd|rd|th|\.|º|er|-?(?:ego|e))?(?:[ -]| of | de | del | d['’])[ ]?{_MONTH},?(?:[ -]| de | del )[ ]?{_YEAR}"
    rf"|{_MONTH}[ -]{_DAY}(?:st|nd|rd|th)?,?[ -]{_YEAR}"
    rf"|{_YEAR}[ -]{_MONTH}[ -]{_DAY}"
    rf"|{_YEAR} ?[年년] ?\d{{1,2}} ?[月월] ?\d{{1,2}} ?[日일]?|{_DAY}/\d{{1,2}} {_YEAR}|\d\d ?[年년] ?\d{{1,2}} ?[月월] ?\d{{1,2}} ?[日일]?|(?:明治|大正|昭和|平成|令和)\d{{1,2}}年\d{{1,2}}月\d{{1,2}}日)(?![A-Za-z0-9_/]|[-.]\d)",
    re.IGNORECASE,
)
_BIRTH_STEMS = (
    "born(?: on)?", "birth", "birth ?date", "birth ?day", "birthdays?", "date[ _-]?of[ _-]?birth", "d\\.?o\\.?b\\.?", "bday", "geboren(?: am| op)?", "geb", "geburtsdatum", "geburtstag",
    "geburt", "née?(?: le)?", "naissance", "anniversaire", "nacid[oa]s?", "nacimiento", "nació", "nací", "cumpleaños", "nat[oa](?: il)?", "nascita", "compleanno",
    "geboortedatum", "geboorte", "geboortedag", "verjaardag", "ur", "urodzon[yae]", "urodzenia", "urodził", "urodziła", "urodziny", "nascid[oa]", "nasci", "nascimento", "nasceu",
    "nasc", "aniversário", "född", "födelsedatum", "födelsedag", "fødselsdato", "fødselsdag", "født", "syntynyt", "syntymäaika", "syntymäpäivä", "syntyi", "synt",
    "生年月日", "誕生日", "生まれ", "생년월일", "출생", "생일", "태어", "出生", "生日", "生于", "जन्म", "janm", "పుట్టిన",
)  # fmt: skip
_BIRTH = words(*_BIRTH_STEMS)
_NOT_BIRTH = words(
    "orders?", "ordered", "shipped", "shipping", "delivered", "due", "invoices?", "created", "updated", "issued", "published", "expir(?:y|es|ed|ation)",
    "released?", "meeting", "signed", "hired?", "hiring", "start(?:ed|s)?", "joined", "paid", "deadline", "valid", "since", "until", "founded", "rechnung", "bestellt", "geliefert",
    "timestamp", "version", "appointment", "termin", "visit", "visited",
)  # fmt: skip
#: Words after a date, and genealogical signs before one.
_BORN_AFTER = re.compile(
    r"[.)]?\s?(?:in [^\s]{2,10} )?(?:geboren|生まれ|生(?!産)|出生|출생|에? ?태어|년생|születet|को जन्म|जन्म)"
)
_BORN_BEFORE = re.compile(r"(?:^|[\s(,])(?:f|s|b|n|geb|\*)\.? ?$")
_BORN_PREFILTER = r"\d[.)日일]{0,2} ?(?:in [^\s]{2,10} )?(?:geboren|生まれ|生|出生|출생|에? ?태어|년생|को जन्म|जन्म)|(?:^|[\s(,])(?:f|s|b|n|geb|\*)\.? ?\d{1,4}[-/.]|(?:^|[\s(,])(?:f|s|b|n)\. \d{8}"
_LETTERS = re.compile(r"[^\W\d_]")


def _birth(c: Candidate) -> tuple[int, int] | None:
    if not (c.nearer(_BIRTH, _NOT_BIRTH, 45) or _BORN_AFTER.match(c.after(AHEAD)) or _BORN_BEFORE.search(c.before(4))):
        return None
    years = re.findall(_YEAR, c.value)
    if years and int(years[0]) > datetime.now(UTC).year:
        return None
    numbers = [int(n) for n in re.findall(r"\d+", c.value)]
    if not _LETTERS.search(c.value) and len(numbers) == 3 and not _possible(numbers):
        return None
    return c.start, c.end


def _possible(numbers: list[int]) -> bool:
    _, month, day = numbers if numbers[0] > 31 else numbers[::-1]
    return 1 <= min(month, day) <= 12 and 1 <= max(month, day) <= 31


DETECTORS = (
    *_NATIONAL,
    Detector("date_of_birth", _BORN_PREFILTER, _DATE, _birth, 72),
    Detector(
        "date_of_birth",
        rf"(?i){EDGE}(?:\d{{1,4}}[-/.] ?\d{{1,2}}[-/. ]|\d{{1,2}} ?(?:st|nd|rd|th|\.|º|er|-?ego)?(?:[ -]|of|del?|d['’]){{1,4}}[a-zäéûźśjn]|(?:19|20)\d{{6}}|\d{{1,4}} [^\x00-\x7f]|\d{{4}} [a-z])|[a-zé]{{3}}\.?[ -]\d|[年년]",
        _DATE,
        _birth,
        72,
        word_prefilter(*_BIRTH_STEMS),
    ),
)  # fmt: skip
