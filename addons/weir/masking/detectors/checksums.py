"""Check digits, by name. Each function takes the value as found and returns True if its digits agree.

Sources: ISO/IEC 7812-1 (Luhn), ISO 7064 (mod 97-10, mod 11-2, mod 11,10), and the public definition of each national
number, named in its docstring. Separators are ignored; letters count if the number has letters.
"""

import hashlib
import re
from collections.abc import Callable
from datetime import date

Checksum = Callable[[str], bool]

_NOT_DIGIT = re.compile(r"[^0-9]")
_NOT_ALNUM = re.compile(r"[^0-9A-Za-z]")


def digits(text: str) -> str:
    """Return only the digits of *text*."""
    return text if text.isdigit() else _NOT_DIGIT.sub("", text)


def alnum(text: str) -> str:
    """Return only the letters and digits of *text*, in upper case."""
    return _NOT_ALNUM.sub("", text).upper()


def _weighted(number: str, weights: tuple[int, ...]) -> int:
    return sum(int(d) * w for d, w in zip(number, weights, strict=False))


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def luhn(text: str) -> bool:
    """ISO/IEC 7812-1, any length; not all digits may be equal."""
    number = digits(text)
    total = 0
    for i, d in enumerate(reversed(number)):
        value = int(d)
        if i % 2:
            value = value * 2 - 9 if value > 4 else value * 2
        total += value
    return len(number) > 1 and total % 10 == 0 and len(set(number)) > 1


def mod97(text: str) -> bool:
    """ISO 7064 mod 97-10 of a number that begins with its country and check digits, like an IBAN."""
    value = alnum(text)
    if len(value) < 5:
        return False
    return int("".join(str(int(c, 36)) for c in value[4:] + value[:4])) % 97 == 1


_VERHOEFF_D = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_P = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def verhoeff(text: str) -> bool:
    """Verhoeff's dihedral check, any length."""
    check = 0
    number = digits(text)
    for i, d in enumerate(reversed(number)):
        check = int(_VERHOEFF_D[check][int(_VERHOEFF_P[i % 8][int(d)])])
    return len(number) > 1 and check == 0


def br_cpf(text: str) -> bool:
    """Brazil, Cadastro de Pessoas Físicas: two digits mod 11."""
    n = digits(text)
    if len(n) != 11 or len(set(n)) == 1:
        return False
    for length in (9, 10):
        total = sum(int(n[i]) * (length + 1 - i) for i in range(length))
        if (total * 10 % 11) % 10 != int(n[length]):
            return False
    return True


def ca_sin(text: str) -> bool:
    """Canada, Social Insurance Number: Luhn; 0 and 8 are not issued."""
    n = digits(text)
    return len(n) == 9 and n[0] not in "08" and luhn(n)


def cn_resident_id(text: str) -> bool:
    """China, resident identity card (GB 11643-1999): ISO 7064 mod 11-2; contains a date of birth."""
    n = alnum(text)
    if len(n) != 18 or not n[:17].isdigit() or not _is_date(int(n[6:10]), int(n[10:12]), int(n[12:14])):
        return False
    total = _weighted(n, (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2))
    return n[17] == "10X98765432"[total % 11]


def de_steuer_id(text: str) -> bool:
    """Germany, Steuer-Identifikationsnummer: ISO 7064 mod 11,10; one of the first ten digits occurs 2 or 3 times."""
    n = digits(text)
    if len(n) != 11 or n[0] == "0":
        return False
    counts = sorted(n[:10].count(d) for d in set(n[:10]))
    if counts[-1] not in (2, 3) or (len(counts) > 1 and counts[-2] > 1):
        return False
    product = 10
    for d in n[:10]:
        total = (int(d) + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == int(n[10])


def es_dni(text: str) -> bool:
    """Spain, DNI and NIE: a letter mod 23."""
    n = alnum(text)
    if len(n) != 9:
        return False
    number = {"X": "0", "Y": "1", "Z": "2"}.get(n[0], n[0]) + n[1:8]
    return number.isdigit() and n[8] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def fi_hetu(text: str) -> bool:
    """Finland, henkilötunnus: a character mod 31; contains a date of birth before its sign."""
    match = re.fullmatch(r"(\d{2})(\d{2})(\d{2})([-+A-FU-Y])(\d{3})([0-9A-Y])", text.upper())
    if match is None:
        return False
    century = 1800 if match[4] == "+" else 2000 if match[4] in "ABCDEF" else 1900
    if not _is_date(century + int(match[3]), int(match[2]), int(match[1])):
        return False
    number = int(match[1] + match[2] + match[3] + match[5])
    return match[6] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[number % 31]


def fr_nir(text: str) -> bool:
    """France, numéro de sécurité sociale (NIR): a key mod 97; Corsica's 2A and 2B count as 19 and 18."""
    n = alnum(text)
    if not re.fullmatch(r"[1-478]\d{2}(?:0[1-9]|1[0-2]|[2-9]\d)(?:\d{2}|2[AB])\d{8}", n):
        return False
    number = n[:13].replace("2A", "19", 1) if n[5:7] == "2A" else n[:13]
    number = number[:5] + "18" + number[7:] if n[5:7] == "2B" else number
    return number.isdigit() and 97 - int(number) % 97 == int(n[13:])


def gb_nhs(text: str) -> bool:
    """United Kingdom, NHS number: a digit mod 11."""
    n = digits(text)
    if len(n) != 10 or len(set(n)) == 1:
        return False
    check = 11 - _weighted(n, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return check != 10 and check % 11 == int(n[9])


def in_aadhaar(text: str) -> bool:
    """India, Aadhaar: Verhoeff; begins with 2 to 9, and is not a palindrome."""
    n = digits(text)
    return len(n) == 12 and n[0] not in "01" and n != n[::-1] and verhoeff(n)


_CF_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10,
         22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def it_codice_fiscale(text: str) -> bool:
    """Italy, codice fiscale: a letter mod 26 (DM 23/12/1976)."""
    n = alnum(text)
    if not re.fullmatch(r"[A-Z]{6}[0-9LMNPQRSTUV]{2}[ABCDEHLMPRST][0-9LMNPQRSTUV]{2}[A-Z][0-9LMNPQRSTUV]{3}[A-Z]", n):
        return False
    total = sum(_CF_ODD[c] for c in n[0:15:2])
    total += sum(int(c) if c.isdigit() else ord(c) - 65 for c in n[1:15:2])
    return n[15] == chr(65 + total % 26)


def kr_rrn(text: str) -> bool:
    """South Korea, resident registration number: a date of birth; numbers issued before 2020 have a digit mod 11."""
    n = digits(text)
    if len(n) != 13 or n[6] not in "12345678":
        return False
    century = 1900 if n[6] in "1256" else 2000
    if not _is_date(century + int(n[:2]), int(n[2:4]), int(n[4:6])):
        return False
    check = (11 - _weighted(n, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10
    return check == int(n[12]) or (century + int(n[:2])) >= 2020


def nl_bsn(text: str) -> bool:
    """Netherlands, burgerservicenummer: the eleven test."""
    n = digits(text)
    if len(n) not in (8, 9) or int(n) == 0 or len(set(n)) == 1:
        return False
    n = n.zfill(9)
    return (_weighted(n, (9, 8, 7, 6, 5, 4, 3, 2)) - int(n[8])) % 11 == 0


def no_fodselsnummer(text: str) -> bool:
    """Norway, fødselsnummer and D-nummer: two digits mod 11; contains a date of birth."""
    n = digits(text)
    if len(n) != 11:
        return False
    day, month = int(n[:2]), int(n[2:4])
    day -= 40 if day > 40 else 0
    month -= 80 if month > 80 else 40 if month > 40 else 0
    if not any(_is_date(century + int(n[4:6]), month, day) for century in (1900, 2000)):
        return False
    first = (11 - _weighted(n, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11) % 11
    second = (11 - _weighted(n, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11) % 11
    return first == int(n[9]) and second == int(n[10])


def pl_pesel(text: str) -> bool:
    """Poland, PESEL: a digit mod 10; contains a date of birth, and its month encodes the century."""
    n = digits(text)
    if len(n) != 11:
        return False
    century = {0: 1900, 1: 2000, 2: 2100, 3: 2200, 4: 1800}[int(n[2]) // 2]
    if not _is_date(century + int(n[:2]), int(n[2:4]) % 20, int(n[4:6])):
        return False
    return (10 - _weighted(n, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10) % 10 == int(n[10])


def se_personnummer(text: str) -> bool:
    """Sweden, personnummer and samordningsnummer: Luhn over the last ten digits, which begin with a date of birth."""
    n = digits(text)
    if len(n) not in (10, 12):
        return False
    ten = n[-10:]
    day = int(ten[4:6])
    day -= 60 if day > 60 else 0
    centuries = (int(n[:2]) * 100,) if len(n) == 12 else (1900, 2000)
    if centuries[0] not in (1800, 1900, 2000):
        return False
    return any(_is_date(c + int(ten[:2]), int(ten[2:4]), day) for c in centuries) and luhn(ten)


def za_id(text: str) -> bool:
    """South Africa, identity number: Luhn; contains a date of birth."""
    n = digits(text)
    if len(n) != 13 or n[10] not in "012" or not luhn(n):
        return False
    return any(_is_date(c + int(n[:2]), int(n[2:4]), int(n[4:6])) for c in (1900, 2000))


def us_ssn(text: str) -> bool:
    """United States, Social Security number: no check digit, but some ranges are never issued."""
    n = digits(text)
    return (
        len(n) == 9
        and n[:3] not in ("000", "666")
        and n[0] != "9"
        and n[3:5] != "00"
        and n[5:] != "0000"
        and len(set(n)) > 1
    )


#: Length by country, from the SWIFT IBAN registry.
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip


def iban(text: str) -> bool:
    """ISO 13616: the length for its country, and mod 97."""
    value = alnum(text)
    return IBAN_LENGTHS.get(value[:2]) == len(value) and mod97(value)


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def base58check(text: str) -> bool:
    """Base 58 that ends with four bytes of a double SHA-256, as in addresses of Bitcoin and related currencies."""
    number = 0
    for c in text:
        place = _BASE58.find(c)
        if place < 0:
            return False
        number = number * 58 + place
    try:
        data = number.to_bytes(25)
    except OverflowError:
        return False
    return hashlib.sha256(hashlib.sha256(data[:21]).digest()).digest()[:4] == data[21:]


def bech32(text: str) -> bool:
    """BIP 173 and BIP 350."""
    value = text.lower() if text.lower() == text or text.upper() == text else ""
    prefix, _, data = value.rpartition("1")
    if not prefix or len(data) < 6:
        return False
    values = ["qpzry9x8gf2tvdw0s3jn54khce6mua7l".find(c) for c in data]
    if -1 in values:
        return False
    check = 1
    for v in [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix] + values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ v
        for i, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            if top >> i & 1:
                check ^= generator
    return check in (1, 0x2BC830A3)


#: Checksums that custom detectors may name.
BY_NAME: dict[str, Checksum] = {
    "luhn": luhn, "mod97": mod97, "verhoeff": verhoeff, "iban": iban, "base58check": base58check, "bech32": bech32,
    "br_cpf": br_cpf, "ca_sin": ca_sin, "cn_resident_id": cn_resident_id, "de_steuer_id": de_steuer_id,
    "es_dni": es_dni, "fi_hetu": fi_hetu, "fr_nir": fr_nir, "gb_nhs": gb_nhs, "in_aadhaar": in_aadhaar,
    "it_codice_fiscale": it_codice_fiscale, "kr_rrn": kr_rrn, "nl_bsn": nl_bsn,
    "no_fodselsnummer": no_fodselsnummer, "pl_pesel": pl_pesel, "se_personnummer": se_personnummer,
    "us_ssn": us_ssn, "za_id": za_id,
}  # fmt: skip
