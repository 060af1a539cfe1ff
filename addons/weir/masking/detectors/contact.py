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
    "cellular", "fax", "call", "called", "calling", "dial", "ring(?: me| us)", "text(?: me| us| him| her)?(?: at| on)", "sms", "whats ?app", "hotline", "helpline",
    "voicemail", "msisdn", "handy", "rufnummer", "mobil", "mobilnummer", "handynummer", "anrufen", "portable", "appeler", "appelez",
    "joindre", "móvil", "movil", "celular", "llamar?", "llame", "llámame", "cellulare", "chiamare", "chiama", "numero di telefono", "bel",
    "bellen", "telefoonnummer", "mobiel", "gsm", "komórka", "komórkowy", "komórki", "zadzwoń", "numer telefonu", "pod numer", "telefone", "ligue", "ligar",
    "telemóvel", "ringa?(?: mig| oss)?(?: på)?", "mobilnr", "tlf", "telefonnr", "puhelin", "puh", "puhelinnumero", "soita", "soittakaa", "matkapuhelin", "ext", "extension",
    "pager", "switchboard", "phone ?n(?:o|r|um|umber)", "contact(?:s|ez|e|ar|are|o|os|eer)?(?: ?(?:number|no|nr|num|me|us|him|her|them|info))?", "contattar[ei]|contatt[aio]|contáct[ae]nos", "erreichen", "comunicarse", "(?:my|his|her|our|their|your|mi|mon|il mio) (?:number|número|numéro|numero)(?: is| es| est| è)?", "contattare il numero", "reach(?:ed)?(?: me| us| him| her| them| you)?(?: at| on)",
    "電話", "携帯", "전화", "연락처", "휴대폰", "핸드폰", "手机", "电话", "联系方式", "फोन", "फ़ोन", "मोबाइल", "दूरभाष", "संपर्क", "सम्पर्क", "कॉल", "ఫోన్", "మొబైల్", "సంప్రదింపు", "కాల్",
)  # fmt: skip
_WORDS = words(*_STEMS)


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Words that announce a telephone number if only _LINKS are between: "the office, on …". Two words count as one.
_CUES = _set(
    """
    answer answers answered answering desk office landline home work direct toll-free toll touch hold-of caller caller-id calls-to sim sms picked-up picks-up pick-up picking-up care service support sales helpdesk reception receptionist
    message messages find-me find-us give-me give-us gave-me gave-us ring rings ringing rang dial dials dialled dialed dialing phoned phoning on-hold block blocked forward forwarded recipient sender reservations bookings
    appointments appointment enquiries inquiries emergency urgent signal viber telegram imessage facetime telephoned ph hp beeper text texts texted texting stop speak-to talk-to voicemail doctor dr clinic surgery
    plumber taxi driver agent assistant manager secretary mom mum mother dad father wife husband sister brother parent parents grandma grandpa neighbor neighbour unlisted hung-up hang-up be-at be-on contacted through-to get-through
    reached ask-for asks-for asked-for hours reach-out out-to
    """
)
#: The same, for numbers in groups or with ten digits.
_WEAK_CUES = _set(
    "left gave gave-her gave-him gave-me tried try trying use using sent send available listed registered verify spam scam from-the missed add remove save update"
)
_LINKS = _set(
    """
    is was are now at on to via for from under with by us me him her them you it no nr num number numbers phone line the my our your his their this that one a an instead please just back again directly new old right
    only also still showed shows called and or s he she they we i up out during daytime evening changed updated here there day night main contact dialled dialed have got t ve free in office care
    """
)
#: Words before "line" and "number" that make them another line and another number.
_OTHER_LINES = _set(
    "at in on each of per from error source command code first last next time base out product dead a to any every single this that above below input output"
)
_NO_OWNERS = _set(
    """
    tracking serial customer member employee client user student patient staff registration document license licence passport confirmation booking reservation claim plate vehicle flight seat room house gate
    contract purchase row line column total large small big huge record max maximum minimum random whole integer prime even odd certain transaction payment parcel shipment consignment bug job task item article product article count
    routing sort tax vat chassis engine badge locker container sequence build process
    """
)
#: Words that a number directly after belongs to a telephone, unless the word before them measures something.
_PLACES = _set("at on via")
_WAYS = _set("to from for through")
_LABEL = re.compile(r"[A-Za-z]: ?$")
_MEASURES = _set(
    """
    address offset position row line index port block height byte priced valued sold stands stood peaked capped limited rate rated estimated set fixed starts started starting ends ended level sits running based
    depends depending works bid pegged put hangs crashed failed
    """
)
_WORD = re.compile(r"[A-Za-z]+")
_INTRODUCED = re.compile(
    r"(?i)\b(?:this is|i am|i'm|my name is) [^\W\d_]{2,20}(?: [^\W\d_]{2,20})?[,.;]? (?:at |on )?$"
)
#: Labels of one letter, as on business cards.
_LETTER = re.compile(r"(?:^|[\s|(•·,/])(?:[TMPFHWCOD][.:]|[tmpfhwcod]:|[TMF])[ ]{0,2}$")
#: An open call of code: `foo(` and `foo(1, `.
_CODE = re.compile(r"[A-Za-z_]\w*\([^()\n]{0,40}$")
#: Words that show that a number nearby is not a telephone number.
_OTHERS = words(
    "orders?", "invoices?", "refs?", "references?", "tickets?", "tracking", "isbn", "issn", "ids?", "case", "sku", "part", "model", "version",
    "serial", "imei", "batch", "lot", "pages?", "pp", "chapters?", "accounts?", "acct", "polic(?:y|ies)", "zip", "postcode", "postal", "ssn",
    "card", "bestellung", "bestellnummer", "rechnung", "auftrag", "kunden(?:nummer|nr)", "commande", "facture", "pedido", "factura", "ordine",
    "fattura", "zamówienie", "faktura", "order", "ordernummer", "tilaus", "doi", "ean", "upc", "gtin", "scores?", "build", "commit", "issue",
    "pesel", "bsn", "cpf", "personnummer", "aadhaar", "nhs", "sin", "nir", "dni", "date", "dated", "timestamp", "range", "years?", "iban",
    "functions?", "stack", "firmware", "methods?", "args?", "arguments?", "param(?:eter)?s?", "endpoint", "api", "sold", "handled",
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
_DECIMAL = re.compile(r"\+?\d+\.\d{1,2}|\d{1,2}\.\d{1,2}\.\d{3,5}")  # and versions
#: The left side of a sum in code.
_OPERAND = re.compile(r"[\d)\]] $")
_BARE_DATE = re.compile(r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])")


def _phone(c: Candidate) -> tuple[int, int] | None:
    value = c.value
    number = digits(re.split(r"(?i)[ ,;]*(?:x|e|#|p|d)", value, maxsplit=1)[0])
    place = (c.start, c.end)
    if not 6 <= len(number) <= 17 or len(set(number)) == 1:
        return None
    if _DECIMAL.fullmatch(value) or (value.startswith("00") and value.isdigit() and not c.near(_WORDS)):
        return None
    if value.startswith("+ ") and _OPERAND.search(c.before(3)):
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
    if value.isdigit() and _CODE.search(c.before()):
        return None
    if len(number) == 7 and value.isdigit() and not c.key and not _led(c):
        return None
    if c.nearer(_WORDS, _OTHERS) or _LETTER.search(c.before(8)) or _announced(c, value):
        return place if len(number) >= 7 and not _BARE_DATE.fullmatch(value) else None
    if (_OTHERS.search(c.before(20)) or _OTHERS.search(c.key)) and not c.near(_WORDS):
        return None
    core = re.split(r"(?i)[ ,;]{0,3}(?:x|ext|#|poste|durchwahl|dw)", value, maxsplit=1)[0].strip()
    if not _TELLING.fullmatch(core):
        return None
    if core.startswith(("0", "(0")) and not 9 <= len(number) <= 12:
        return None
    return place


def _announced(c: Candidate, value: str) -> bool:
    """True if the words directly before it announce a telephone number, and it is not a year or an amount."""
    if _AMOUNT.fullmatch(value):
        return False
    line = re.split(r"[\"{}\[\]<]", c.context())[-1]
    if _INTRODUCED.search(line):
        return True
    sure = len(value) >= 8 and (not value.isdigit() or len(value) in (10, 11))
    cues = _CUES | _WEAK_CUES if sure else _CUES
    found = _WORD.findall(line.lower())
    grouped = not value.isdigit()
    placed = found[-1:] and (found[-1] in _PLACES or (grouped and (found[-1] in _WAYS or _LABEL.search(line))))
    if sure and placed and not (_MEASURES | _NO_OWNERS).intersection(found[-4:]) and not _OTHERS.search(line[-30:]):
        return True
    for i in range(len(found) - 1, max(-1, len(found) - 9), -1):
        word, before = found[i], found[i - 1] if i else ""
        if word in cues or f"{before}-{word}" in cues:
            return True
        if word in ("number", "numbers") and before not in _NO_OWNERS and not _OTHERS.search(before):
            return found[i + 1 : i + 2] != ["of"]
        if word == "line" and before not in _OTHER_LINES and before not in _NO_OWNERS and before:
            return True
        if word not in _LINKS:
            return False
    return False


def _led(c: Candidate) -> bool:
    """True if the word directly before seven plain digits leads to a number; otherwise they are an amount."""
    last = _LAST_WORD.search(c.before(24))
    return last is None or last[0].lower() in _LEADS or _WORDS.search(last[0]) is not None


_LAST_WORD = re.compile(r"[^\W\d_]+(?=\W{1,3}$)")
_LEADS = _set("at on is me us number no nr via under desk office work home line")
_AMOUNT = re.compile(r"\d+\.\d+|\d{1,3}(?: \d{3})+|\d{4}-\d{4}|(?:19|20)\d\d [12]\d{3}|\d{1,3}0{5,9}")


def _international(number: str) -> bool:
    """True if *number*, without its plus, has a country code and a length that is valid for that country."""
    for length in (1, 2, 3):
        code = int(number[:length] or 0)
        if code in COUNTRY_CODE_TO_REGION_CODE:
            rest = number[length:]
            if 6 <= len(rest) <= 12:
                return len(rest) >= 7 or is_valid_number(PhoneNumber(country_code=code, national_number=int(rest)))
    return False


_SEVEN = r"[(+]{0,2}\d(?:[ ().\-/\x{a0}‐‑–]{0,3}\d){6}"
_PHONE_PREFILTERS = (
    rf"(?:^|[\s|(•·,/])(?:[TMPFHWCOD][.:]|[tmpfhwcod]:|[TMF]) {{0,2}}{_SEVEN}",
    # A word and a number directly after it; groups of two digits are dates.
    r"[A-Za-z][\s:,.;(#=>*|?!'’&/–—-]{1,4}\(?(?:\d{7,12}|\d{2,5}\)?[ .-]{1,2}\d{3}[ .-]?\d|\d\d[ .]\d\d[ .]\d\d[ .]\d\d)",
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
        rf"{EDGE}{_SEVEN}",
        _NUMBER,
        _phone,
        40,
        words=word_prefilter(*_STEMS),
    ),
)
