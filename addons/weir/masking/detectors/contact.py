"""E-mail addresses and telephone numbers."""

import re

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumber, is_valid_number

from weir.masking.detectors.checksums import digits
from weir.masking.detectors.model import EDGE, Candidate, Detector, word_prefilter, words

# E-mail. The local part is bounded and begins after a character that it cannot contain, so the search is linear.

_EMAIL = re.compile(
    r"(?<![\w.%+@-])[\w%+'&-][\w.%+'&-]{0,127}"
    r"@(?:[^\W_](?:[\w-]{0,61}[^\W_])?\.){1,8}(?:[^\W\d_]{2,24}|xn--[a-z0-9-]{2,59})(?![\w@]|-\w)"
)
#: Endings that follow an @ and a dot in file names, not in addresses.
_FILES = frozenset(
    [
        "png",
        "jpg",
        "jpeg",
        "gif",
        "svg",
        "webp",
        "ico",
        "css",
        "js",
        "ts",
        "map",
        "json",
        "yaml",
        "yml",
        "md",
        "txt",
        "py",
        "html",
        "pdf",
        "zip",
    ]
)


def _email(c: Candidate) -> tuple[int, int] | None:
    local, _, domain = c.value.rpartition("@")
    if domain.rpartition(".")[2].lower() in _FILES:
        return None
    if local == "git" and c.after() in (":", "/"):  # the address of a repository
        return None
    start = c.start + len(local) - len(local.lstrip("'&%-"))
    return (start, c.end) if start < c.start + len(local) else None


# Telephone numbers.

_STEMS = (
    "phones?", "fone", "telephones?", "tel", "tele?fon[oae]?s?", "telefonnummer", "t[eé]l[eé]phones?", "tel[eé]fonos?", "telefonisch", "telefónico", "cells", "cellular(?:es)?", "llamar(?:me|nos|le)?", "kom", "kontakt telefoniczny", "拨打", "联系", "व्हाट्स", "व्हाट्सऐप", "tél", "mobile?s?", "mob", "cell", "cellphone",
    "cellular", "fax", "call", "called", "calling", "dial", "ring(?: me| us)", "text(?: me| us| him| her)?(?: at| on)", "sms", "whatsapp", "hotline", "helpline",
    "voicemail", "msisdn", "handy", "rufnummer", "mobil", "mobilnummer", "handynummer", "anrufen", "portable", "appeler", "appelez",
    "joindre", "móvil", "movil", "celular", "llamar?", "llame", "llámame", "cellulare", "chiamare", "chiama", "numero di telefono", "bel",
    "bellen", "telefoonnummer", "mobiel", "gsm", "komórka", "komórkowy", "komórki", "zadzwoń", "numer telefonu", "pod numer", "telefone", "ligue", "ligar",
    "telemóvel", "ringa?(?: mig| oss)?(?: på)?", "mobilnr", "tlf", "telefonnr", "puhelin", "puh", "puhelinnumero", "soita", "soittakaa", "matkapuhelin", "ext", "extension",
    "pager", "switchboard", "phone ?n(?:o|r|um|umber)", "contact(?:s|ez|e|ar|are|o|os|eer)?(?: ?(?:number|no|nr|num|me|us|him|her|them|info))?", "contattar[ei]|contatt[aio]|contáct[ae]nos", "erreichen", "comunicarse", "(?:my|his|her|our|their|your|mi|mon|il mio) (?:number|número|numéro|numero)(?: is| es| est| è)?", "contattare il numero", "reach(?:ed)?(?: me| us| him| her| them| you)?(?: at| on)",
    "電話", "携帯", "전화", "연락처", "휴대폰", "핸드폰", "手机", "电话", "联系方式", "फोन", "फ़ोन", "मोबाइल", "दूरभाष", "संपर्क", "सम्पर्क", "कॉल", "ఫోన్", "మొబైల్", "సంప్రదింపు", "కాల్",
)  # fmt: skip
_WORDS = words(*_STEMS)
#: Words that show that a number nearby is not a telephone number.
_OTHERS = words(
    "orders?", "invoices?", "refs?", "references?", "tickets?", "tracking", "isbn", "issn", "ids?", "case", "sku", "part", "model", "version",
    "serial", "imei", "batch", "lot", "pages?", "pp", "chapters?", "accounts?", "acct", "polic(?:y|ies)", "zip", "postcode", "postal", "ssn",
    "card", "bestellung", "bestellnummer", "rechnung", "auftrag", "kunden(?:nummer|nr)", "commande", "facture", "pedido", "factura", "ordine",
    "fattura", "zamówienie", "faktura", "order", "ordernummer", "tilaus", "doi", "ean", "upc", "gtin", "scores?", "build", "commit", "issue",
    "pesel", "bsn", "cpf", "personnummer", "aadhaar", "nhs", "sin", "nir", "dni", "date", "dated", "timestamp", "range", "years?", "iban",
    "cas", "varen?r", "nr kat", "零件号", "部品番号", "art\\.? ?nr", "sku", "founded", "订单", "注文", "주문", "ऑर्डर",
)  # fmt: skip
_EXTENSION = r"(?:[ ,;]{0,3}(?:x|ext\.?|extension|#|poste|durchwahl|dw)[ .:]{0,2}\d{1,6})?"
_NUMBER = re.compile(
    r"(?<![\w+.#$€£¥/@%-])(?:(?<!\d[,:])|(?=\+|(?:1[-. ])?\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?!\d)))(?:(?:\+|\(\+|00(?=[ .-]?[1-9]))[ ]?\(?\d{1,4}\)?|\(\d{1,5}\)|\d)"
    r"(?:[ \u00a0.\-/()‐‑–]{0,3}\d){5,14}(?![\d])" + _EXTENSION + r"(?![\w@%€$]|[.:/-]\d|,\d{3}(?!\d|\.\d))",
    re.IGNORECASE | re.ASCII,
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-/. ]\d{1,2}[-/. ]\d{1,2}|\d{1,2}[-/. ]\d{1,2}[-/. ](?:19|20)\d\d|(?:19|20)\d\d ?[-–/] ?(?:19|20)?\d\d"
)
#: National formats that are recognised without a word, by grouping and leading digits of a numbering plan.
_TELLING = re.compile(
    r"(?:1[ .-])?(?:\(\d{3}\)[ .-]?\d{3}[ .-]\d{4}|\d{3}([.-])\d{3}\1\d{4}|[2-9]\d\d \d{3}[ -]\d{4})"  # North America
    r"|1[ .-]\d{3}[ .-]\d{3}[ .-]\d{4}|1[ -]?8(?:00|88|77|66|55|44|33)[ -]\d{3}[ -]?\d{4}"
    r"|\(?0\d{1,5}\)?[ .\-/]{1,3}\d{2,4}(?:[ .-]?\d{2,4}){1,3}"  # with a trunk prefix, in many countries
    r"|07\d{3} ?\d{6}|0[67]-?\d{8}|0[1-9](?:[ .]\d\d){4}|\(0\d{2,4}\) ?\d{3,8}"
    r"|\(\d\d\) ?9?\d{4}-\d{4}|\d\d 9\d{4}-\d{4}"  # Brazil
    r"|01[016789]-?\d{3,4}-?\d{4}|1[3-9]\d[ -]\d{4}[ -]\d{4}"  # Korea, China
)  # fmt: skip
_DECIMAL = re.compile(r"\d+\.\d{1,2}")
_BARE_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def _phone(c: Candidate) -> tuple[int, int] | None:
    value = c.value
    number = digits(re.split(r"(?i)[ ,;]*(?:x|e|#|p|d)", value, maxsplit=1)[0])
    place = (c.start, c.end)
    if not 6 <= len(number) <= 17 or len(set(number)) == 1:
        return None
    if _DECIMAL.fullmatch(value) or (value.startswith("00") and value.isdigit() and not c.near(_WORDS)):
        return None
    bare = value.lstrip("(")
    if bare.startswith("+") or (bare.startswith("00") and len(number) >= 10):
        return place if _international(number.removeprefix("00") if not bare.startswith("+") else number) else None
    if (
        len(number) > 15
        or _DATE.match(value)
        or (len(number) == 10 and value == number and number[0] in "01" and number[:2] in ("16", "17", "18"))
    ):
        return place if c.key and _WORDS.search(c.key) and not _DATE.match(value) else None
    if " / " in value and " - " in value:
        return None
    if c.nearer(_WORDS, _OTHERS):
        return place if len(number) >= 7 and not _BARE_DATE.fullmatch(value) else None
    if (_OTHERS.search(c.before(20)) or _OTHERS.search(c.key)) and not c.near(_WORDS):
        return None
    core = re.split(r"(?i)[ ,;]{0,3}(?:x|ext|#|poste|durchwahl|dw)", value, maxsplit=1)[0].strip()
    if not _TELLING.fullmatch(core):
        return None
    if core.startswith(("0", "(0")) and not 9 <= len(number) <= 12:
        return None
    return place


def _international(number: str) -> bool:
    """True if *number*, without its plus, has a country code and a length that is valid for that country."""
    for length in (1, 2, 3):
        code = int(number[:length] or 0)
        if code in COUNTRY_CODE_TO_REGION_CODE:
            rest = number[length:]
            if 6 <= len(rest) <= 12:
                return len(rest) >= 7 or is_valid_number(PhoneNumber(country_code=code, national_number=int(rest)))
    return False


_PHONE_PREFILTERS = (
    r"(?:^|[^0-9A-Za-z])\+ ?\(?\d(?:[ ().\-/\x{a0}‐‑–]{0,3}\d){6}",
    rf"{EDGE}\(?0\d{{1,5}}\)?[ .\-/]{{1,3}}\d{{2,4}}[ .-]?\d{{2}}",
    rf"{EDGE}\(?\d{{3}}[ .)-]{{1,2}}\d{{3}}[ .-]\d{{4}}|{EDGE}1[ .-]\(?\d{{3}}|\(\d\d\) ?9?\d{{4}}|{EDGE}\d\d 9\d{{4}}-\d{{4}}",
    rf"{EDGE}(?:01[016789]\d|07\d{{3}}|0[67]\d{{2}}|00[1-9])[\d -]{{5}}|{EDGE}1[3-9]\d[ -]\d{{4}}[ -]",
)  # fmt: skip

DETECTORS = (
    Detector("email", r"[^\s@]@[^\s@]", _EMAIL, _email, 80),
    *(Detector("phone", g, _NUMBER, _phone, 40) for g in _PHONE_PREFILTERS),
    Detector(
        "phone",
        rf"{EDGE}[(+]{{0,2}}\d(?:[ ().\-/\x{{a0}}‐‑–]{{0,3}}\d){{6}}",
        _NUMBER,
        _phone,
        40,
        words=word_prefilter(*_STEMS),
    ),
)
