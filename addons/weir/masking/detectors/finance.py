"""Payment cards, bank accounts and addresses of cryptocurrencies."""

import re

from weir.masking.detectors.checksums import IBAN_LENGTHS, base58check, bech32, digits, iban, luhn
from weir.masking.detectors.model import EDGE, Candidate, Detector, whole, words

_CARD = re.compile(r"(?<![\w.+/-])(?<!\d )\d(?:[ \u00a0-]?\d){11,18}(?![\w]|[.-]\d| \d)", re.ASCII)
_CARD_STEMS = (
    "cards?", "credit", "debit", "visa", "master ?card", "amex", "american express", "maestro", "discover", "jcb", "diners", "unionpay", "pan",
    "cc", "ccn", "kreditkarten?", "kreditkartennummer", "kartennummer", "karte", "carte", "tarjeta", "carta", "cartão", "kaart(?:nummer)?", "kart[ayę]", "numer karty", "kort(?:et)?", "kortti(?:numero)?", "kortin(?: numero)?", "kredittkort(?:et)?", "kreditkort(?:et)?", "betaalkaart", "creditcard", "luottokortti",
    "kortnummer", "payment", "pay", "paid", "numéro de carte", "カード", "카드", "卡号", "信用卡", "银行卡", "कार्ड", "కార్డ్",
)  # fmt: skip
_CARD_WORDS = words(*_CARD_STEMS)
_NOT_CARDS = words(
    "imei", "order", "tracking", "serial", "isbn", "ean", "gtin", "upc", "barcode", "timestamp", "snowflake"
)
#: Ranges of card issuers (ISO/IEC 7812) with their lengths.
_ISSUERS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),
    (re.compile(r"35"), (16,)),
    (re.compile(r"2131|1800"), (15,)),
    (re.compile(r"30[0-5]|3[689]|309"), (14, 16)),
    (re.compile(r"62|81"), (16, 17, 18, 19)),
    (re.compile(r"50[0-9]|5[6-9]|6[0-9]"), (12, 13, 14, 15, 16, 17, 18, 19)),
)
_GROUPED = re.compile(
    r"\d{4}([ \u00a0-])\d{4}\1\d{5}|\d{4}([ \u00a0-])\d{4}\2\d{4}\2\d{1,4}(?:\2\d{1,3})?|\d{4}([ \u00a0-])\d{6}\3\d{4,5}|\d+"
)


def _card(c: Candidate) -> tuple[int, int] | None:
    number = digits(c.value)
    if not _GROUPED.fullmatch(c.value) or not luhn(number):
        return None
    known = any(len(number) in lengths and prefix.match(number) for prefix, lengths in _ISSUERS)
    if not known:
        return None
    named = c.near(_CARD_WORDS)
    if not named and c.near(_NOT_CARDS, 24):
        return None
    return (c.start, c.end) if named or _is_certain(number) else None


def _is_certain(number: str) -> bool:
    """True if the issuer's range is specific enough without a word nearby."""
    return len(number) in (14, 15, 16) and (
        number[0] in "345" or number[:2] in ("60", "64", "65", "22", "23", "24", "25", "26", "27", "62")
    )


#: Between groups of one card: a tab or a line break, if no number is before it in this or the previous line.
_GAP = r"[ \u00a0-]?(?:\t|[ \t]{0,4}\r?\n[ \t>]{0,8})|[ \u00a0-]"
#: Any other separator, the same between all groups.
_SIGN = r" - | ?[._/~*\u00b7\u2022\u2219] ?"
_CARD_IN_PARTS = re.compile(
    rf"(?<![\w.,;|+/-])(?<!\d[ \t\n])(?<!\d\r\n)(?:\d{{4}}(?:{_GAP})\d{{6}}(?:{_GAP})\d{{4,5}}|\d{{4}}(?:(?:{_GAP})\d{{4}}){{3}}"
    rf"|\d{{4}}({_SIGN})\d{{4}}\1\d{{4}}\1\d{{4}})(?!\w|[,;|]\S|[./-]\d)",
    re.ASCII,
)
_PART_PREFILTER = rf"(?:{_GAP}|{_SIGN})".replace(r"\u00a0", r"\x{a0}").replace(
    r"\u00b7\u2022\u2219", r"\x{b7}\x{2022}\x{2219}"
)
_NUMBER = r"[ \t]{0,4}(?:[ \t]|\r?\n)[ \t]{0,8}[+-]?\d[\d.,]{0,30}(?=[\s;|]|\Z)"
_NUMBER_FOLLOWS, _NUMBERS_FOLLOW = re.compile(_NUMBER), re.compile(f"(?:{_NUMBER}){{3}}")


def _card_in_parts(c: Candidate) -> tuple[int, int] | None:
    """Accept a card over several lines or cells. A tenth of all numbers pass Luhn, so cells of a table are rejected."""
    number = digits(c.value)
    if not luhn(number) or not _is_certain(number):
        return None
    if not any(len(number) in lengths and prefix.match(number) for prefix, lengths in _ISSUERS):
        return None
    named = c.near(_CARD_WORDS)
    in_table = (_NUMBERS_FOLLOW if named else _NUMBER_FOLLOWS).match(c.text, c.end)
    return None if in_table or (not named and c.near(_NOT_CARDS, 24)) else (c.start, c.end)


_IBAN = re.compile(
    r"(?<![A-Za-z0-9_.+/-])[A-Za-z]{2}\d{2}(?:(?:[ \u00a0\t-]|[ \t]?\r?\n)?[A-Za-z0-9]){11,30}", re.ASCII
)


def _iban(c: Candidate) -> tuple[int, int] | None:
    """The longest beginning of the candidate that is one: what follows may look like more of it."""
    length = IBAN_LENGTHS.get(c.value[:2].upper())
    if length is None:
        return None
    count = 0
    for place in range(c.start, c.end):
        count += c.text[place].isalnum()
        if count == length:
            following = c.text[place + 1 : place + 2]
            if following.isalnum() and following.isascii():
                return None
            return (c.start, place + 1) if iban(c.text[c.start : place + 1]) else None
    return None


_BASE58 = re.compile(r"(?<![A-Za-z0-9_.+/-])[13LMDTA9][1-9A-HJ-NP-Za-km-z]{25,40}(?![A-Za-z0-9])")
_BECH32 = re.compile(r"(?<![A-Za-z0-9_.+/-])(?:bc1|tb1|ltc1|BC1|addr1)[a-zA-Z0-9]{11,100}(?![A-Za-z0-9])")
_ETHEREUM = re.compile(r"(?<![A-Za-z0-9])0x[0-9a-fA-F]{40}(?![A-Za-z0-9])")
_MONERO = re.compile(r"(?<![A-Za-z0-9_.+/-])[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}(?![A-Za-z0-9])")
_COIN_STEMS = (
    "bitcoins?",
    "btc",
    "litecoin",
    "ltc",
    "dogecoin",
    "doge",
    "tron",
    "wallet",
    "crypto",
    "blockchain",
    "satoshis?",
    "ethereum",
    "eth",
    "portafoglio",
    "monedero",
    "बिटकॉइन",
    "బిట్‌కాయిన్",
)
_COINS = words(*_COIN_STEMS)


def _base58(c: Candidate) -> tuple[int, int] | None:
    return (c.start, c.end) if base58check(c.value) or (c.value[0] in "13LM" and c.near(_COINS)) else None


def _bech32(c: Candidate) -> tuple[int, int] | None:
    return (c.start, c.end) if bech32(c.value) or c.near(_COINS) else None


DETECTORS = (
    Detector("credit_card", EDGE + r"(?:[3456]\d{3}|2[2-7]\d\d|62\d\d|2131|1800)[ \x{a0}-]?\d{4}[ \x{a0}-]?\d{2}[ \x{a0}-]?\d{2}", _CARD, _card, 78),
    Detector(
        "credit_card",
        rf"(?:^|[^0-9A-Za-z_.,;|+/-])[2-6]\d{{3}}{_PART_PREFILTER}(?:\d{{6}}{_PART_PREFILTER}\d{{4}}|\d{{4}}{_PART_PREFILTER}\d{{4}}{_PART_PREFILTER}\d{{4}})",
        _CARD_IN_PARTS,
        _card_in_parts,
        78,
    ),
    Detector("iban", rf"(?i){EDGE}(?:{'|'.join(IBAN_LENGTHS)})\d{{2}}[ \x{{a0}}\t-]?(?:\r?\n)?[a-z0-9]{{4}}[ \x{{a0}}\t-]?(?:\r?\n)?[a-z0-9]{{3}}", _IBAN, _iban, 90),
    Detector("crypto_address", EDGE + r"[13LMDTA9][1-9A-HJ-NP-Za-km-z]{25}", _BASE58, _base58, 60),
    Detector("crypto_address", EDGE + r"(?:bc|tb|ltc|BC|addr)1[a-zA-Z0-9]{11}", _BECH32, _bech32, 60),
    Detector("crypto_address", r"0x[0-9a-fA-F]{40}", _ETHEREUM, whole, 60),
    Detector("crypto_address", EDGE + r"[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}", _MONERO, whole, 60),
)  # fmt: skip
