"""A seeded corpus of typical texts for rerank, search and LLM APIs, with every personal datum and secret marked.

It models the world, not a detector: support tickets, e-mails, chats, logs, tables and code in sixteen locales, as plain
text and in the JSON of such services. Each sample lists the places of its values. A value is anything that a reasonable
reader would mask: identifiers have valid checksums, bare runs of digits are near the words that identify them, and
specific formats often have no word nearby.

Everything else must be kept: hashes, versions, scores, order numbers, placeholders, numbers with a wrong checksum.
About a third of the samples contain only such text, and most other samples contain some.

The labels omit: names and addresses (they have no kind), values that only look like test data (there are none), and
loopback addresses, on which readers differ.

While a document is built, its values carry marks from Unicode's private use area, so that templates can be nested;
`_finish` removes the marks and notes the places.
"""

import base64
import hashlib
import json
import random
import re
import string
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from faker import Faker

KINDS: tuple[str, ...] = (
    "email", "phone", "credit_card", "iban", "us_ssn", "ip", "mac", "url_credentials", "date_of_birth", "coordinates",
    "crypto_address", "cloud_key", "vendor_token", "private_key", "jwt", "password", "br_cpf", "ca_sin",
    "cn_resident_id", "de_steuer_id", "es_dni", "fi_hetu", "fr_nir", "gb_nhs", "in_aadhaar", "it_codice_fiscale",
    "kr_rrn", "nl_bsn", "no_fodselsnummer", "pl_pesel", "se_personnummer", "za_id",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """One value that must be found: its place and its kind."""

    kind: str
    text: str
    path: tuple[str | int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A document and its values that must be found; a hard negative has none."""

    form: Literal["text", "json"]
    locale: str
    document: Any
    values: tuple[Value, ...]


# ---------------------------------------------------------------------------------------------------------------------
# Checksums, from their public definitions


def luhn_digit(body: str) -> str:
    """Return the digit that makes `body` pass Luhn's check (cards, SIN, South African ID, personnummer)."""
    total = 0
    for place, char in enumerate(reversed(body)):
        doubled = int(char) * 2 if place % 2 == 0 else int(char)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)


def weighted(body: str, weights: tuple[int, ...]) -> int:
    """Return the sum of the digits, each multiplied by its weight."""
    return sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True))


def iban_digits(country: str, bban: str) -> str:
    """ISO 13616: 98 minus the remainder mod 97 of account, country and two zeros; letters are 10 to 35."""
    return f"{98 - int(''.join(str(int(char, 36)) for char in f'{bban}{country}00')) % 97:02d}"


def cpf_digits(body: str) -> str:
    """Two digits mod 11, the second over the first."""
    for _ in range(2):
        rest = weighted(body, tuple(range(len(body) + 1, 1, -1))) % 11
        body += "0" if rest < 2 else str(11 - rest)
    return body[-2:]


def bsn_digit(body: str) -> str | None:
    """The eleven-test: weights 9 to 2, and -1 for the last digit."""
    rest = weighted(body, (9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return None if rest == 10 else str(rest)


def nhs_digit(body: str) -> str | None:
    """Mod 11 with weights 10 to 2; a check of ten is not issued."""
    check = 11 - weighted(body, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return None if check == 10 else str(check % 11)


def pesel_digit(body: str) -> str:
    """Repeated weights 1, 3, 7, 9, mod 10."""
    return str(-weighted(body, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3)) % 10)


def fodselsnummer_digits(body: str) -> str | None:
    """Two digits mod 11; a number with a digit of ten is not issued."""
    first = -weighted(body, (3, 7, 6, 1, 8, 9, 4, 5, 2)) % 11
    if first == 10:
        return None
    second = -weighted(f"{body}{first}", (5, 4, 3, 2, 7, 6, 5, 4, 3, 2)) % 11
    return None if second == 10 else f"{first}{second}"


def rrn_digit(body: str) -> str:
    """Weights 2 to 9, then 2 to 5, mod 11."""
    return str((11 - weighted(body, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)) % 11) % 10)


def resident_id_char(body: str) -> str:
    """GB 11643: ISO 7064 MOD 11-2, with X for ten."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return "10X98765432"[weighted(body, weights) % 11]


def steuer_id_digit(body: str) -> str:
    """ISO 7064 MOD 11,10."""
    product = 10
    for char in body:
        product = ((int(char) + product) % 10 or 10) * 2 % 11
    return str((11 - product) % 10)


def dni_letter(number: int) -> str:
    """The letter mod 23."""
    return "TRWAGMYFPDXBNJZSQVHLCKE"[number % 23]


def hetu_char(body: str) -> str:
    """The control character mod 31 over date and individual number."""
    return "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(body) % 31]


def nir_key(body: str) -> str:
    """97 minus the remainder mod 97; Corsica's departments count as 19 and 18."""
    return f"{97 - int(body.replace('2A', '19').replace('2B', '18')) % 97:02d}"


_VERHOEFF_D = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_P = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def verhoeff_digit(body: str) -> str:
    """Verhoeff's check over the dihedral group of ten."""
    check = 0
    for place, char in enumerate(reversed(body), start=1):
        check = int(_VERHOEFF_D[check][int(_VERHOEFF_P[place % 8][int(char)])])
    return "0432156789"[check]


_FISCAL_ODD = dict(
    zip(
        string.digits + string.ascii_uppercase,
        (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16,
         10, 22, 25, 24, 23),
        strict=True,
    )
)  # fmt: skip


def fiscal_letter(body: str) -> str:
    """Positions from one: odd ones by the ministry's table, even ones by their value, mod 26."""
    total = 0
    for place, char in enumerate(body, start=1):
        total += _FISCAL_ODD[char] if place % 2 else int(char) if char.isdigit() else ord(char) - ord("A")
    return chr(ord("A") + total % 26)


_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def base58check(payload: bytes) -> str:
    """Version and hash, with four bytes of a double SHA-256."""
    payload += hashlib.sha256(hashlib.sha256(payload).digest()).digest()[:4]
    number, text = int.from_bytes(payload), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(payload) - len(payload.lstrip(b"\0"))) + text


def segwit(version: int, program: bytes) -> str:
    """BIP 173 for version 0, BIP 350 above."""
    bits = "".join(f"{byte:08b}" for byte in program)
    bits += "0" * (-len(bits) % 5)
    data = [version, *(int(bits[at : at + 5], 2) for at in range(0, len(bits), 5))]

    def polymod(values: list[int]) -> int:
        check = 1
        for value in values:
            top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
            for at, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
                check ^= generator if top >> at & 1 else 0
        return check

    check = polymod([3, 3, 0, 2, 3, *data, *[0] * 6]) ^ (0x2BC830A3 if version else 1)
    return "bc1" + "".join(_BECH32[five] for five in [*data, *(check >> 5 * (5 - at) & 31 for at in range(6))])


def keccak256(message: bytes) -> bytes:
    """Keccak as in Ethereum, before SHA-3 changed the padding; one block suffices here."""
    mask = (1 << 64) - 1
    block = bytearray(message) + bytes(136 - len(message))
    block[len(message)] ^= 0x01
    block[135] ^= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for at in range(17):
        lanes[at % 5][at // 5] = int.from_bytes(block[8 * at : 8 * at + 8], "little")

    def rotate(lane: int, by: int) -> int:
        by %= 64
        return (lane << by | lane >> (64 - by)) & mask

    register = 1
    for _ in range(24):
        parity = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
        for x in range(5):
            mix = parity[x - 1] ^ rotate(parity[(x + 1) % 5], 1)
            lanes[x] = [lane ^ mix for lane in lanes[x]]
        x, y, current = 1, 0, lanes[1][0]
        for step in range(24):
            x, y = y, (2 * x + 3 * y) % 5
            current, lanes[x][y] = lanes[x][y], rotate(current, (step + 1) * (step + 2) // 2)
        for y in range(5):
            row = [lanes[x][y] for x in range(5)]
            for x in range(5):
                lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & mask & row[(x + 2) % 5])
        for bit in range(7):
            register = (register << 1 ^ (register >> 7) * 0x71) % 256
            if register & 2:
                lanes[0][0] ^= 1 << ((1 << bit) - 1)
    return b"".join(lanes[at % 5][at // 5].to_bytes(8, "little") for at in range(4))


def eip55(address: str) -> str:
    """The letter case of an Ethereum address by EIP-55."""
    digest = keccak256(address.encode()).hex()
    return "0x" + "".join(c.upper() if int(d, 16) > 7 else c for c, d in zip(address, digest, strict=False))


# ---------------------------------------------------------------------------------------------------------------------
# Languages. In templates {V} is the value, {L} its word; other names in braces are generated.


@dataclass(frozen=True, slots=True)
class Language:
    """Sentences of one language about people, and about everything else."""

    months: str
    dates: tuple[str, ...]  # DD MM YYYY YY; D and M without zeros; MON the month's name
    words: dict[str, tuple[str, ...]]  # what stands before a value
    keys: dict[str, tuple[str, ...]]  # and what it is called in JSON
    domains: tuple[str, ...]
    labelled: tuple[str, ...]
    plain: tuple[str, ...]
    about: dict[str, tuple[str, ...]]
    filler: tuple[str, ...]
    negative: tuple[str, ...]
    table: tuple[str, str, str, str]  # name, order, date, amount
    price: str
    place: tuple[float, float]
    hello: tuple[str, ...]
    bye: tuple[str, ...]
    joint: str = " "


_ENGLISH: dict[str, Any] = {
    "months": "January February March April May June July August September October November December",
    "words": {
        "email": ("E-mail", "Email", "Email address", "e-mail"),
        "phone": ("Phone", "Tel.", "Tel", "Mobile", "phone number", "Cell", "Telephone", "Contact number", "Fax"),
        "date_of_birth": ("Date of birth", "DOB", "D.O.B.", "Birth date", "Born", "Birthday"),
        "credit_card": ("Credit card", "Card number", "card no.", "Visa card", "CC"),
        "password": ("Password", "password", "pwd", "Passphrase", "API key", "client secret"),
        "ip": ("IP", "IP address", "Client IP", "Source IP"),
        "mac": ("MAC", "MAC address", "Wi-Fi MAC"),
        "coordinates": ("Coordinates", "GPS", "Location", "lat/long"),
    },
    "keys": {},
    "labelled": (
        "My {L} is {V}.", "Please update the {L} on file to {V} before the renewal.",
        "The form came back with {L}: {V}, can you check it?", "{name} gave us this {L}: {V}.",
        "I need the {L} ({V}) changed as soon as possible.", "According to our records, {L} {V} belongs to {name}.",
        "For verification: {L} {V}.", "{L}: {V}", "{L} = {V}", "- {L} - {V}",
    ),
    "plain": (
        "Could you look up {V} for me?", "It should read {V}, not what is printed.", "{V} was entered twice.",
        "See attachment ({V}).", "Is “{V}” still right?", "Found this in the notes: {V}", "{V}", "[{V}] added by {name}",
    ),
    "about": {
        "email": ("Please reply to {V}.", "You can write to {V} or come by the office.", "Send the invoice to {V}, thanks!",
                  "{name} <{V}> wrote:", "I never got the confirmation at {V}"),
        "phone": ("Call me on {V} after five.", "My phone number is {V}.", "You can reach me at {V} or by mail.",
                  "Text me: {V}", "Her mobile ({V}) goes straight to voicemail.", "Please phone {V} and ask for {name}."),
        "date_of_birth": ("I was born on {V}.", "{name} (born {V}) has been a patient since spring.",
                          "Date of birth: {V}.", "The DOB we have is {V}, is that correct?"),
        "credit_card": ("Charge it to my card {V}, please.", "I paid with card number {V} and was billed twice.",
                        "Visa {V} was declined."),
        "iban": ("Please transfer the refund to {V}.", "My bank account is {V}.", "Payable to IBAN {V}."),
        "ip": ("The requests all come from {V}.", "We blocked {V} after ten failed logins.", "Server {V} does not answer."),
        "password": ("my password is {V} and it still says wrong", "Log in with the password {V}.",
                     "The new password: {V}", "user {name}, pw: {V}"),
        "coordinates": ("We are at coordinates {V}, by the lake.", "GPS: {V}.", "Pin the location {V} on the map."),
    },
    "filler": (
        "Thanks for the quick answer.", "The package has not arrived yet.", "I have been a customer for many years.",
        "Nothing helped so far.", "{name} from {company} takes care of it.", "We live in {city}.",
        "How do rerankers differ from embeddings?", "The meeting was moved, see the calendar.",
    ),
    "negative": (
        "Order {order} of {date} over {price} has shipped.", "Invoice {invoice} is due on {date}.",
        "Your ticket {ticket} was closed, see pages {pages}.", "Tracking number {tracking} shows no movement.",
        "The novel (ISBN {isbn}) covers the years {years}.", "Version {version} was released on {date}.",
        "Your password must be at least 12 characters long and expires on {date}.",
        "Our phone lines are open 9-17, Monday to Friday, all {count} of them.", "Part no. {part}, {count} pieces at {price}.",
        "The score rose from {float} to {float}.", "The company was founded on {date} and employs {count} people.",
        "The match ended {sport}, attendance {count}.", "Born in the {decade}s, jazz rap had {count} charting singles.",
        "Contract term: {years}, clause {section}.", "Meter reading {count} on {date}, meter no. {meter}.",
    ),
    "table": ("Name", "Order", "Date", "Amount"),
    "hello": ("Hello,", "Hi there,", "Dear support team,", "Hi {name},"),
    "bye": ("Kind regards", "Best,", "Thanks", "Cheers"),
}  # fmt: skip

LANGUAGES: dict[str, Language] = {
    "en_US": Language(
        **_ENGLISH,
        dates=("MM/DD/YYYY", "M/D/YYYY", "MON D, YYYY", "MON DD YYYY", "YYYY-MM-DD", "M/D/YY", "MM-DD-YYYY", "D MON YYYY"),
        domains=("gmail.com", "yahoo.com", "aol.com", "brightwater-dental.com", "mail.northfield.edu", "harborlight.io"),
        price="$#,###.##",
        place=(40.71, -74.0),
    ),
    "en_GB": Language(
        **_ENGLISH,
        dates=("DD/MM/YYYY", "D MON YYYY", "DD-MM-YYYY", "DD.MM.YY", "YYYY-MM-DD", "MON D, YYYY", "D/M/YY"),
        domains=("btinternet.com", "hotmail.co.uk", "outlook.com", "thornbury-joinery.co.uk", "students.wexham.ac.uk"),
        price="£#,###.##",
        place=(51.5, -0.12),
    ),
    "de_DE": Language(
        months="Januar Februar März April Mai Juni Juli August September Oktober November Dezember",
        dates=("DD.MM.YYYY", "D. MON YYYY", "DD.MM.YY", "D.M.YYYY", "YYYY-MM-DD"),
        words={
            "email": ("E-Mail", "Mail", "E-Mail-Adresse"),
            "phone": ("Tel.", "Telefon", "Rufnummer", "Handy", "Mobil", "Telefonnummer", "Fax", "Tel"),
            "date_of_birth": ("Geburtsdatum", "geboren am", "geb.", "Geb.-Datum", "geb. am"),
            "credit_card": ("Kreditkarte", "Kartennummer", "Kreditkartennummer", "Karten-Nr."),
            "password": ("Passwort", "Kennwort", "PW", "Zugangspasswort"),
            "ip": ("IP", "IP-Adresse"),
            "mac": ("MAC-Adresse", "MAC"),
            "coordinates": ("Koordinaten", "GPS", "Standort"),
        },
        keys={"phone": ("telefon", "handy", "rufnummer"), "date_of_birth": ("geburtsdatum", "geburtstag"),
              "credit_card": ("kreditkarte", "kartennummer"), "password": ("passwort", "kennwort")},
        domains=("gmx.de", "web.de", "t-online.de", "posteo.de", "nordwind-logistik.de", "praxis-müller.de"),
        labelled=(
            "{L}: {V}", "{L} {V}", "Im Formular steht als {L} {V}.", "Bitte ändern Sie {L} auf {V}.",
            "{name} hat {L} {V} angegeben.", "Zur Legitimation: {L} {V}.", "Stimmt {L} ({V}) noch?",
            "Angaben des Kunden: {L} {V}, Wohnort {city}.",
        ),
        plain=(
            "Bitte {V} prüfen.", "Im Vertrag steht „{V}“.", "{V}", "Können Sie mir zu {V} etwas sagen?",
            "({V}) fehlt in der Liste.", "Notiz von {name}: {V}.",
        ),
        about={
            "email": ("Bitte antworten Sie an {V}.", "Sie erreichen mich per Mail unter {V}.", "Die Rechnung bitte an {V} schicken!"),
            "phone": ("Sie erreichen mich telefonisch unter {V}.", "Rufen Sie mich bitte unter {V} an.",
                      "Meine Handynummer ist {V}.", "Rückruf erbeten: Tel. {V}", "Ruf {V} an und frag nach {name}."),
            "date_of_birth": ("Ich bin am {V} geboren.", "{name}, geb. {V}, wohnhaft in {city}.", "Patient geboren am {V} in {city}."),
            "credit_card": ("Bitte buchen Sie von meiner Kreditkarte {V} ab.", "Die Karte {V} wurde abgelehnt."),
            "iban": ("Bitte überweisen Sie auf das Konto {V}.", "Meine Bankverbindung: {V}.", "Lastschrift von IBAN {V} zurückgegeben."),
            "ip": ("Alle Anfragen kommen von {V}.", "Der Server {V} antwortet nicht."),
            "password": ("Das Passwort lautet {V}", "Mein Kennwort ist {V} und es geht trotzdem nicht.", "Anmeldung mit Passwort {V} schlägt fehl."),
            "coordinates": ("Der Unfallort hat die Koordinaten {V}.", "Standort (GPS): {V}."),
        },
        filler=(
            "Vielen Dank für die schnelle Antwort.", "Das Paket ist noch nicht angekommen.", "Ich bin seit Jahren Kunde bei Ihnen.",
            "{name} von {company} kümmert sich darum.", "Wir wohnen in {city}.", "Worin unterscheiden sich Reranker und Embeddings?",
        ),
        negative=(
            "Die Bestellung {order} vom {date} über {price} ist unterwegs.", "Rechnung Nr. {invoice} ist am {date} fällig.",
            "Vorgang {ticket} wurde geschlossen, siehe S. {pages}.", "Sendungsnummer {tracking} zeigt keine Bewegung.",
            "Das Buch (ISBN {isbn}) behandelt die Jahre {years}.", "Version {version} erschien am {date}.",
            "Das Passwort muss mindestens 12 Zeichen lang sein.", "Telefonisch sind wir Mo-Fr von 9-17 Uhr da.",
            "Art.-Nr. {part}, {count} Stück zu je {price}.", "Gegründet wurde die Firma am {date} mit {count} Leuten.",
            "Zählerstand {count}, Zählernummer {meter}.", "Das Spiel endete {sport} vor {count} Zuschauern.", "Nach § {section} gilt das nicht.",
        ),
        table=("Name", "Bestellung", "Datum", "Betrag"),
        price="#.###,## €",
        place=(52.52, 13.4),
        hello=("Hallo,", "Sehr geehrte Damen und Herren,", "Guten Tag {name},"),
        bye=("Mit freundlichen Grüßen", "Viele Grüße", "MfG"),
    ),
    "fr_FR": Language(
        months="janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
        dates=("DD/MM/YYYY", "D MON YYYY", "DD-MM-YYYY", "DD/MM/YY", "YYYY-MM-DD", "DD.MM.YYYY"),
        words={
            "email": ("Courriel", "E-mail", "Mél.", "Adresse e-mail"),
            "phone": ("Tél.", "Téléphone", "Portable", "Tél", "Numéro de téléphone", "Mobile", "Télécopie"),
            "date_of_birth": ("Date de naissance", "Né le", "Née le", "né(e) le"),
            "credit_card": ("Carte bancaire", "Numéro de carte", "CB", "N° de carte"),
            "password": ("Mot de passe", "mdp", "mot de passe"),
            "ip": ("Adresse IP", "IP"),
            "mac": ("Adresse MAC", "MAC"),
            "coordinates": ("Coordonnées GPS", "Position GPS", "GPS"),
        },
        keys={"phone": ("telephone", "portable", "tel"), "date_of_birth": ("date_naissance", "dateNaissance"),
              "credit_card": ("carte_bancaire", "numero_carte"), "password": ("mot_de_passe",)},
        domains=("orange.fr", "laposte.net", "free.fr", "wanadoo.fr", "atelier-lumiere.fr", "mairie-belleville.fr"),
        labelled=(
            "{L} : {V}", "{L}: {V}", "{L} {V}", "Sur le formulaire, {L} : {V}.", "Merci de corriger : {L} {V}.",
            "{name} nous a communiqué ceci : {L} {V}.", "Pour vérification, {L} ({V}).", "Dossier de {name} – {L} : {V}",
        ),
        plain=(
            "Pouvez-vous vérifier {V} ?", "Il est écrit « {V} » dans le contrat.", "{V}", "Voir la note ({V}).",
            "C’est bien {V} ?", "{V}, saisi deux fois.",
        ),
        about={
            "email": ("Merci de répondre à {V}.", "Écrivez-moi à l’adresse {V}.", "La facture est à envoyer à {V}, merci !"),
            "phone": ("Vous pouvez me joindre au {V}.", "Appelez-moi au {V} après 18 h.", "Mon numéro de téléphone est le {V}.", "Mon portable : {V}"),
            "date_of_birth": ("Je suis née le {V} à {city}.", "{name}, né le {V}, demeurant à {city}.", "Date de naissance du patient : {V}."),
            "credit_card": ("Débitez ma carte bancaire {V}.", "Ma carte {V} a été refusée."),
            "iban": ("Merci de virer la somme sur le compte {V}.", "Mon RIB : {V}.", "Voici mon IBAN {V}."),
            "ip": ("Toutes les requêtes viennent de {V}.", "Le serveur {V} ne répond plus."),
            "password": ("Mon mot de passe est {V}", "Connectez-vous avec le mot de passe {V} puis changez-le."),
            "coordinates": ("Rendez-vous aux coordonnées GPS {V}.", "Position GPS du bateau : {V}."),
        },
        filler=(
            "Merci pour votre réponse rapide.", "Le colis n’est pas encore arrivé.", "Je suis client depuis des années.",
            "{name} de {company} s’en occupe.", "Nous habitons à {city}.", "Quelle est la différence entre rerank et embeddings ?",
        ),
        negative=(
            "La commande {order} du {date} d’un montant de {price} est partie.", "Facture n° {invoice}, échéance le {date}.",
            "Le ticket {ticket} est clos, voir p. {pages}.", "Le suivi {tracking} n’avance pas.", "Ce roman (ISBN {isbn}) couvre les années {years}.",
            "La version {version} est sortie le {date}.", "Le mot de passe doit compter au moins 12 caractères.",
            "Standard téléphonique ouvert de 9 h à 17 h.", "Réf. {part}, {count} pièces à {price}.", "L’entreprise fondée le {date} compte {count} salariés.",
            "Le match s’est terminé sur le score de {sport}.", "Article {section} du contrat.",
        ),
        table=("Nom", "Commande", "Date", "Montant"),
        price="# ###,## €",
        place=(48.85, 2.35),
        hello=("Bonjour,", "Madame, Monsieur,", "Bonjour {name},"),
        bye=("Cordialement", "Bien à vous", "Merci d’avance"),
    ),
    "es_ES": Language(
        months="enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
        dates=("DD/MM/YYYY", "D de MON de YYYY", "DD-MM-YYYY", "D/M/YY", "YYYY-MM-DD", "DD.MM.YYYY"),
        words={
            "email": ("Correo electrónico", "Correo", "E-mail"),
            "phone": ("Teléfono", "Tel.", "Móvil", "Tfno.", "Tlf.", "Número de teléfono", "Fax"),
            "date_of_birth": ("Fecha de nacimiento", "Nacido el", "Nacida el", "F. nacimiento"),
            "credit_card": ("Tarjeta de crédito", "Número de tarjeta", "Tarjeta"),
            "password": ("Contraseña", "contraseña", "clave de acceso"),
            "ip": ("Dirección IP", "IP"),
            "mac": ("Dirección MAC", "MAC"),
            "coordinates": ("Coordenadas", "Ubicación GPS", "GPS"),
        },
        keys={"phone": ("telefono", "movil", "teléfono"), "date_of_birth": ("fecha_nacimiento", "fechaNacimiento"),
              "credit_card": ("tarjeta", "numero_tarjeta"), "password": ("contraseña", "contrasena"), "email": ("correo",)},
        domains=("hotmail.es", "telefonica.net", "yahoo.es", "gmail.com", "talleres-ibarra.es", "uni-salinas.es"),
        labelled=(
            "{L}: {V}", "{L} {V}", "Mis datos son: {L} {V}.", "En el formulario consta {L}: {V}.", "Ruego corrijan {L} por {V}.",
            "{name} nos indicó lo siguiente: {L} {V}.", "Para la verificación, {L} ({V}).", "Cliente {name}; {L}: {V}",
        ),
        plain=(
            "¿Pueden comprobar {V}?", "En el contrato pone «{V}».", "{V}", "Véase la nota ({V}).", "¿Es correcto {V}?", "{V}, anotado por {name}.",
        ),
        about={
            "email": ("Por favor, respondan a {V}.", "Mi correo es {V}.", "¡Envíen la factura a {V}!"),
            "phone": ("Pueden llamarme al {V}.", "Mi número de móvil es {V}.", "Llámame al {V} por la tarde.", "Mi teléfono de contacto es el {V}."),
            "date_of_birth": ("Nací el {V} en {city}.", "{name}, nacido el {V}, con domicilio en {city}.", "La fecha de nacimiento es {V}."),
            "credit_card": ("Carguen el importe a mi tarjeta {V}.", "La tarjeta de crédito {V} fue rechazada."),
            "iban": ("Hagan la transferencia a la cuenta {V}.", "Mi IBAN es {V}.", "Domiciliación en {V}."),
            "ip": ("Todas las peticiones vienen de {V}.", "El servidor {V} no responde."),
            "password": ("mi contraseña es {V} y no funciona", "Entra con la contraseña {V}", "La clave y contraseña nueva: {V}"),
            "coordinates": ("El punto de encuentro tiene las coordenadas {V}.", "Ubicación GPS: {V}."),
        },
        filler=(
            "Gracias por la pronta respuesta.", "El paquete aún no ha llegado.", "Soy cliente desde hace años.", "{name} de {company} se encarga.",
            "Vivimos en {city}.", "¿En qué se diferencian los rerankers de los embeddings?",
        ),
        negative=(
            "El pedido {order} del {date} por {price} ya ha salido.", "La factura {invoice} vence el {date}.", "El ticket {ticket} está cerrado, véanse las págs. {pages}.",
            "El seguimiento {tracking} no avanza.", "La novela (ISBN {isbn}) abarca los años {years}.", "La versión {version} salió el {date}.",
            "La contraseña debe tener al menos 12 caracteres.", "Atención telefónica de 9 a 17 h.", "Ref. {part}, {count} unidades a {price}.",
            "La empresa, fundada el {date}, tiene {count} empleados.", "El partido acabó {sport}.", "Cláusula {section} del contrato.",
        ),
        table=("Nombre", "Pedido", "Fecha", "Importe"),
        price="#.###,## €",
        place=(40.41, -3.7),
        hello=("Hola,", "Estimados señores:", "Buenos días, {name}:"),
        bye=("Un saludo", "Atentamente", "Gracias"),
    ),
    "it_IT": Language(
        months="gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
        dates=("DD/MM/YYYY", "D MON YYYY", "DD-MM-YYYY", "DD/MM/YY", "YYYY-MM-DD", "DD.MM.YYYY"),
        words={
            "email": ("E-mail", "Email", "Indirizzo e-mail", "Posta elettronica"),
            "phone": ("Telefono", "Tel.", "Cellulare", "Cell.", "Numero di telefono", "Fax"),
            "date_of_birth": ("Data di nascita", "Nato il", "Nata il", "nato/a il"),
            "credit_card": ("Carta di credito", "Numero di carta", "Carta n."),
            "password": ("Password", "password", "parola chiave"),
            "ip": ("Indirizzo IP", "IP"),
            "mac": ("Indirizzo MAC", "MAC"),
            "coordinates": ("Coordinate", "Posizione GPS", "GPS"),
        },
        keys={"phone": ("telefono", "cellulare"), "date_of_birth": ("data_nascita", "dataNascita", "data_di_nascita"),
              "credit_card": ("carta_di_credito", "numero_carta")},
        domains=("libero.it", "virgilio.it", "tiscali.it", "gmail.com", "officina-rossetti.it", "pec.studio-bellini.it"),
        labelled=(
            "{L}: {V}", "{L} {V}", "I miei dati: {L} {V}.", "Nel modulo risulta {L}: {V}.", "Si prega di correggere: {L} {V}.",
            "{name} ci ha indicato: {L} {V}.", "Per la verifica, {L} ({V}).", "Cliente {name}, {L} {V}, residente a {city}.",
        ),
        plain=("Potete controllare {V}?", "Nel contratto c’è scritto «{V}».", "{V}", "Vedi nota ({V}).", "È giusto {V}?", "{V}, inserito due volte."),
        about={
            "email": ("Rispondete per favore a {V}.", "La mia e-mail è {V}.", "Inviate la fattura a {V}, grazie!"),
            "phone": ("Potete chiamarmi al {V}.", "Il mio numero di cellulare è {V}.", "Chiamami al {V} dopo le 18.", "Telefonare al {V} ore pasti."),
            "date_of_birth": ("Sono nata il {V} a {city}.", "{name}, nato il {V} a {city}.", "La data di nascita è {V}."),
            "credit_card": ("Addebitate sulla mia carta di credito {V}.", "La carta {V} è stata rifiutata."),
            "iban": ("Fate il bonifico sul conto {V}.", "Il mio IBAN è {V}.", "Coordinate bancarie: {V}."),
            "ip": ("Tutte le richieste arrivano da {V}.", "Il server {V} non risponde."),
            "password": ("la mia password è {V} ma non entra", "Accedi con la password {V} e poi cambiala."),
            "coordinates": ("Il rifugio è alle coordinate {V}.", "Posizione GPS: {V}."),
        },
        filler=(
            "Grazie per la risposta rapida.", "Il pacco non è ancora arrivato.", "Sono cliente da anni.", "Se ne occupa {name} di {company}.",
            "Abitiamo a {city}.", "Che differenza c’è tra reranker ed embedding?",
        ),
        negative=(
            "L’ordine {order} del {date} di {price} è partito.", "La fattura {invoice} scade il {date}.", "Il ticket {ticket} è chiuso, vedi pp. {pages}.",
            "Il tracking {tracking} è fermo.", "Il romanzo (ISBN {isbn}) copre gli anni {years}.", "La versione {version} è uscita il {date}.",
            "La password deve avere almeno 12 caratteri.", "Il centralino telefonico è aperto dalle 9 alle 17.", "Cod. art. {part}, {count} pezzi a {price}.",
            "L’azienda, fondata il {date}, conta {count} dipendenti.", "La partita è finita {sport}.", "Art. {section} del contratto.",
        ),
        table=("Nome", "Ordine", "Data", "Importo"),
        price="#.###,## €",
        place=(41.9, 12.49),
        hello=("Buongiorno,", "Gentile assistenza,", "Ciao {name},"),
        bye=("Cordiali saluti", "Grazie", "Distinti saluti"),
    ),
    "nl_NL": Language(
        months="januari februari maart april mei juni juli augustus september oktober november december",
        dates=("DD-MM-YYYY", "D MON YYYY", "D-M-YYYY", "DD/MM/YYYY", "DD-MM-YY", "YYYY-MM-DD"),
        words={
            "email": ("E-mail", "E-mailadres", "Mail"),
            "phone": ("Tel.", "Telefoon", "Telefoonnummer", "Mobiel", "Mobiel nummer", "Tel"),
            "date_of_birth": ("Geboortedatum", "geboren op", "geb.", "Geb.datum"),
            "credit_card": ("Creditcard", "Creditcardnummer", "Kaartnummer"),
            "password": ("Wachtwoord", "wachtwoord", "ww"),
            "ip": ("IP-adres", "IP"),
            "mac": ("MAC-adres", "MAC"),
            "coordinates": ("Coördinaten", "GPS-locatie", "GPS"),
        },
        keys={"phone": ("telefoon", "telefoonnummer", "mobiel"), "date_of_birth": ("geboortedatum", "geboorteDatum"),
              "credit_card": ("creditcardnummer", "kaartnummer"), "password": ("wachtwoord",)},
        domains=("ziggo.nl", "kpnmail.nl", "xs4all.nl", "gmail.com", "fietsenhuis-dekker.nl", "student.veenstad.nl"),
        labelled=(
            "{L}: {V}", "{L} {V}", "Mijn gegevens: {L} {V}.", "Op het formulier staat {L}: {V}.", "Graag wijzigen: {L} {V}.",
            "{name} gaf door: {L} {V}.", "Ter controle: {L} ({V}).", "Klant {name}, {L} {V}, woont in {city}.",
        ),
        plain=("Kunt u {V} nakijken?", "In het contract staat ‘{V}’.", "{V}", "Zie de notitie ({V}).", "Klopt {V} nog?", "{V} is dubbel ingevoerd."),
        about={
            "email": ("Graag antwoord naar {V}.", "U kunt mailen naar {V}.", "Stuur de factuur naar {V}!"),
            "phone": ("U kunt mij bellen op {V}.", "Mijn telefoonnummer is {V}.", "Bel me even op {V}.", "Mobiel bereikbaar op {V}."),
            "date_of_birth": ("Ik ben geboren op {V} in {city}.", "{name}, geboren op {V}.", "Mijn geboortedatum is {V}."),
            "credit_card": ("Schrijf het af van mijn creditcard {V}.", "De kaart {V} werd geweigerd."),
            "iban": ("Maak het bedrag over naar {V}.", "Mijn rekeningnummer is {V}.", "Graag storten op IBAN {V}."),
            "ip": ("Alle verzoeken komen van {V}.", "Server {V} reageert niet."),
            "password": ("mijn wachtwoord is {V} en het werkt niet", "Log in met wachtwoord {V}"),
            "coordinates": ("De boot ligt op de coördinaten {V}.", "GPS-locatie: {V}."),
        },
        filler=(
            "Bedankt voor het snelle antwoord.", "Het pakket is nog niet aangekomen.", "Ik ben al jaren klant.", "{name} van {company} regelt het.",
            "Wij wonen in {city}.", "Wat is het verschil tussen rerankers en embeddings?",
        ),
        negative=(
            "Bestelling {order} van {date} ter waarde van {price} is onderweg.", "Factuur {invoice} vervalt op {date}.", "Ticket {ticket} is gesloten, zie p. {pages}.",
            "De zending {tracking} staat stil.", "Het boek (ISBN {isbn}) gaat over de jaren {years}.", "Versie {version} kwam uit op {date}.",
            "Het wachtwoord moet minstens 12 tekens hebben.", "Wij zijn telefonisch bereikbaar van 9-17 uur.", "Art.nr. {part}, {count} stuks à {price}.",
            "Het bedrijf, opgericht op {date}, heeft {count} medewerkers.", "De wedstrijd eindigde in {sport}.", "Zie artikel {section}.",
        ),
        table=("Naam", "Bestelling", "Datum", "Bedrag"),
        price="€ #.###,##",
        place=(52.37, 4.89),
        hello=("Hallo,", "Geachte heer/mevrouw,", "Beste {name},"),
        bye=("Met vriendelijke groet", "Groeten", "Mvg"),
    ),
    "pl_PL": Language(
        months="stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
        dates=("DD.MM.YYYY", "D MON YYYY r.", "DD-MM-YYYY", "D.MM.YYYY", "YYYY-MM-DD", "DD/MM/YYYY"),
        words={
            "email": ("E-mail", "Adres e-mail", "Mail"),
            "phone": ("Tel.", "Telefon", "Numer telefonu", "Kom.", "Nr tel.", "tel. kom."),
            "date_of_birth": ("Data urodzenia", "ur.", "urodzony", "urodzona", "Data ur."),
            "credit_card": ("Karta kredytowa", "Numer karty", "Nr karty"),
            "password": ("Hasło", "hasło"),
            "ip": ("Adres IP", "IP"),
            "mac": ("Adres MAC", "MAC"),
            "coordinates": ("Współrzędne", "Lokalizacja GPS", "GPS"),
        },
        keys={"phone": ("telefon", "numer_telefonu", "telefon_komorkowy"), "date_of_birth": ("data_urodzenia", "dataUrodzenia"),
              "credit_card": ("numer_karty", "karta"), "password": ("haslo", "hasło")},
        domains=("wp.pl", "onet.pl", "interia.pl", "o2.pl", "stolarnia-kowal.com.pl", "gmail.com"),
        labelled=(
            "{L}: {V}", "{L} {V}", "Moje dane: {L} {V}.", "W formularzu podano {L}: {V}.", "Proszę poprawić: {L} {V}.",
            "{name} – {L} {V}.", "Do weryfikacji: {L} ({V}).", "Klient {name}, {L} {V}, zam. {city}.",
        ),
        plain=("Proszę sprawdzić {V}.", "W umowie jest „{V}”.", "{V}", "Zob. notatka ({V}).", "Czy {V} jest aktualne?", "{V} wpisano dwa razy."),
        about={
            "email": ("Proszę o odpowiedź na adres {V}.", "Mój mail to {V}.", "Fakturę proszę wysłać na {V}!"),
            "phone": ("Proszę dzwonić pod numer {V}.", "Mój numer telefonu to {V}.", "Zadzwoń do mnie: {V}.", "Kontakt telefoniczny: {V}"),
            "date_of_birth": ("Urodziłem się {V}.", "{name}, ur. {V} w mieście {city}.", "Data urodzenia pacjenta: {V}."),
            "credit_card": ("Proszę obciążyć moją kartę {V}.", "Karta kredytowa {V} została odrzucona."),
            "iban": ("Zwrot proszę przelać na konto {V}.", "Mój numer konta: {V}.", "Przelew na IBAN {V}."),
            "ip": ("Wszystkie żądania idą z {V}.", "Serwer {V} nie odpowiada."),
            "password": ("moje hasło to {V} i nie działa", "Zaloguj się, hasło: {V}"),
            "coordinates": ("Schronisko ma współrzędne {V}.", "Lokalizacja GPS: {V}."),
        },
        filler=(
            "Dziękuję za szybką odpowiedź.", "Paczka jeszcze nie dotarła.", "Jestem klientem od lat.", "{name} z {company} się tym zajmie.",
            "Mieszkamy w {city}.", "Czym różni się reranker od embeddingów?",
        ),
        negative=(
            "Zamówienie {order} z dnia {date} na kwotę {price} wysłano.", "Termin płatności faktury {invoice}: {date}.", "Zgłoszenie {ticket} zamknięto, zob. s. {pages}.",
            "Przesyłka {tracking} stoi w miejscu.", "Powieść (ISBN {isbn}) obejmuje lata {years}.", "Wersja {version} ukazała się {date}.",
            "Hasło musi mieć co najmniej 12 znaków.", "Infolinia telefoniczna czynna 9-17.", "Nr kat. {part}, {count} szt. po {price}.",
            "Firmę założono {date}, zatrudnia {count} osób.", "Mecz zakończył się wynikiem {sport}.", "Zgodnie z pkt {section} umowy.",
        ),
        table=("Nazwisko", "Zamówienie", "Data", "Kwota"),
        price="# ###,## zł",
        place=(52.23, 21.01),
        hello=("Dzień dobry,", "Szanowni Państwo,", "Cześć {name},"),
        bye=("Pozdrawiam", "Z poważaniem", "Dziękuję"),
    ),
    "pt_BR": Language(
        months="janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
        dates=("DD/MM/YYYY", "D de MON de YYYY", "DD/MM/YY", "DD-MM-YYYY", "YYYY-MM-DD"),
        words={
            "email": ("E-mail", "Email", "Correio eletrônico"),
            "phone": ("Telefone", "Tel.", "Celular", "WhatsApp", "Fone", "Tel/Cel"),
            "date_of_birth": ("Data de nascimento", "Nascido em", "Nascida em", "Nasc.", "Dt. nascimento"),
            "credit_card": ("Cartão de crédito", "Número do cartão", "Cartão"),
            "password": ("Senha", "senha"),
            "ip": ("Endereço IP", "IP"),
            "mac": ("Endereço MAC", "MAC"),
            "coordinates": ("Coordenadas", "Localização GPS", "GPS"),
        },
        keys={"phone": ("telefone", "celular", "whatsapp"), "date_of_birth": ("data_nascimento", "dataNascimento"),
              "credit_card": ("cartao", "numero_cartao"), "password": ("senha",)},
        domains=("uol.com.br", "bol.com.br", "terra.com.br", "gmail.com", "padaria-estrela.com.br", "ig.com.br"),
        labelled=(
            "{L}: {V}", "{L} {V}", "Meus dados: {L} {V}.", "No cadastro consta {L}: {V}.", "Favor corrigir: {L} {V}.",
            "{name} informou {L} {V}.", "Para conferência: {L} ({V}).", "Cliente {name}, {L} {V}, residente em {city}.",
        ),
        plain=("Podem verificar {V}?", "No contrato está \u201c{V}\u201d.", "{V}", "Ver anotação ({V}).", "{V} está certo?", "{V} foi digitado duas vezes."),
        about={
            "email": ("Por favor respondam para {V}.", "Meu e-mail é {V}.", "Mandem a nota fiscal para {V}!"),
            "phone": ("Podem me ligar no {V}.", "Meu celular é {V}.", "Me chama no WhatsApp {V}", "Telefone para contato: {V}."),
            "date_of_birth": ("Nasci em {V}.", "{name}, nascido em {V} em {city}.", "A data de nascimento é {V}."),
            "credit_card": ("Podem cobrar no meu cartão {V}.", "O cartão de crédito {V} foi recusado."),
            "iban": ("Façam a transferência para {V}.", "Meu IBAN é {V}.", "Conta no exterior: {V}."),
            "ip": ("Todas as requisições vêm de {V}.", "O servidor {V} não responde."),
            "password": ("minha senha é {V} e não entra", "Entre com a senha {V}"),
            "coordinates": ("O sítio fica nas coordenadas {V}.", "Localização GPS: {V}."),
        },
        filler=(
            "Obrigado pela resposta rápida.", "O pacote ainda não chegou.", "Sou cliente há anos.", "{name} da {company} cuida disso.",
            "Moramos em {city}.", "Qual a diferença entre rerankers e embeddings?",
        ),
        negative=(
            "O pedido {order} de {date} no valor de {price} já saiu.", "A fatura {invoice} vence em {date}.", "O chamado {ticket} foi encerrado, ver págs. {pages}.",
            "O rastreio {tracking} está parado.", "O romance (ISBN {isbn}) cobre os anos {years}.", "A versão {version} saiu em {date}.",
            "A senha deve ter pelo menos 12 caracteres.", "Atendimento telefônico das 9 às 17h.", "Cód. {part}, {count} unidades a {price}.",
            "A empresa, fundada em {date}, tem {count} funcionários.", "O jogo terminou {sport}.", "Cláusula {section} do contrato.",
        ),
        table=("Nome", "Pedido", "Data", "Valor"),
        price="R$ #.###,##",
        place=(-23.55, -46.63),
        hello=("Olá,", "Prezados,", "Bom dia, {name},"),
        bye=("Atenciosamente", "Abraços", "Obrigado"),
    ),
    "sv_SE": Language(
        months="januari februari mars april maj juni juli augusti september oktober november december",
        dates=("YYYY-MM-DD", "D MON YYYY", "D/M YYYY", "DD.MM.YYYY", "YYYYMMDD"),
        words={
            "email": ("E-post", "Mejl", "E-postadress"),
            "phone": ("Tel.", "Telefon", "Mobil", "Telefonnummer", "Mobilnummer", "Tfn"),
            "date_of_birth": ("Födelsedatum", "född", "Född den", "Födelsedag"),
            "credit_card": ("Kreditkort", "Kortnummer", "Kontokort"),
            "password": ("Lösenord", "lösenord"),
            "ip": ("IP-adress", "IP"),
            "mac": ("MAC-adress", "MAC"),
            "coordinates": ("Koordinater", "GPS-position", "GPS"),
        },
        keys={"phone": ("telefon", "mobil", "telefonnummer"), "date_of_birth": ("fodelsedatum", "födelsedatum"),
              "credit_card": ("kortnummer",), "password": ("lösenord", "losenord"), "email": ("epost",)},
        domains=("telia.com", "bredband.net", "hotmail.se", "gmail.com", "snickeri-björk.se", "lundby-bygg.se"),
        labelled=(
            "{L}: {V}", "{L} {V}", "Mina uppgifter: {L} {V}.", "I formuläret står {L}: {V}.", "Var god ändra: {L} {V}.",
            "{name} uppgav {L} {V}.", "För kontroll: {L} ({V}).", "Kund {name}, {L} {V}, bor i {city}.",
        ),
        plain=("Kan ni kontrollera {V}?", "I avtalet står ”{V}”.", "{V}", "Se anteckning ({V}).", "Stämmer {V}?", "{V} har skrivits in två gånger."),
        about={
            "email": ("Svara gärna till {V}.", "Min mejladress är {V}.", "Skicka fakturan till {V}!"),
            "phone": ("Ring mig på {V}.", "Mitt telefonnummer är {V}.", "Jag nås på mobil {V}.", "Telefon dagtid: {V}"),
            "date_of_birth": ("Jag är född den {V}.", "{name}, född {V} i {city}.", "{name}, f. {V}, {city}.", "Patientens födelsedatum: {V}."),
            "credit_card": ("Dra beloppet från mitt kreditkort {V}.", "Kortet {V} nekades."),
            "iban": ("Betala tillbaka till kontot {V}.", "Mitt IBAN är {V}."),
            "ip": ("Alla anrop kommer från {V}.", "Servern {V} svarar inte."),
            "password": ("mitt lösenord är {V} men det fungerar inte", "Logga in med lösenord {V}"),
            "coordinates": ("Stugan ligger på koordinaterna {V}.", "GPS-position: {V}."),
        },
        filler=(
            "Tack för snabbt svar.", "Paketet har inte kommit än.", "Jag har varit kund i många år.", "{name} på {company} sköter det.",
            "Vi bor i {city}.", "Vad är skillnaden mellan omrankning och inbäddningar?",
        ),
        negative=(
            "Beställning {order} från {date} på {price} är skickad.", "Faktura {invoice} förfaller {date}.", "Ärende {ticket} är stängt, se s. {pages}.",
            "Försändelse {tracking} står still.", "Romanen (ISBN {isbn}) täcker åren {years}.", "Version {version} släpptes {date}.",
            "Lösenordet måste ha minst 12 tecken.", "Telefontid 9-17 vardagar.", "Art.nr {part}, {count} st à {price}.",
            "Företaget grundades {date} och har {count} anställda.", "Matchen slutade {sport}.", "Enligt punkt {section} i avtalet.",
        ),
        table=("Namn", "Beställning", "Datum", "Belopp"),
        price="# ### kr",
        place=(59.33, 18.06),
        hello=("Hej,", "Hej {name},", "God dag,"),
        bye=("Med vänlig hälsning", "Mvh", "Tack"),
    ),
    "fi_FI": Language(
        months="tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta lokakuuta marraskuuta joulukuuta",
        dates=("D.M.YYYY", "DD.MM.YYYY", "D. MON YYYY", "YYYY-MM-DD", "D.M.YY"),
        words={
            "email": ("Sähköposti", "S-posti", "Sähköpostiosoite"),
            "phone": ("Puh.", "Puhelin", "Puhelinnumero", "Matkapuhelin", "GSM", "Puh"),
            "date_of_birth": ("Syntymäaika", "synt.", "Syntynyt", "Syntymäpäivä"),
            "credit_card": ("Luottokortti", "Kortin numero", "Korttinumero"),
            "password": ("Salasana", "salasana"),
            "ip": ("IP-osoite", "IP"),
            "mac": ("MAC-osoite", "MAC"),
            "coordinates": ("Koordinaatit", "GPS-sijainti", "GPS"),
        },
        keys={"phone": ("puhelin", "puhelinnumero", "matkapuhelin"), "date_of_birth": ("syntymaaika", "syntymäaika"),
              "credit_card": ("korttinumero", "luottokortti"), "password": ("salasana",), "email": ("sahkoposti",)},
        domains=("luukku.com", "elisanet.fi", "kolumbus.fi", "gmail.com", "puutyö-niemi.fi", "rantala-rakennus.fi"),
        labelled=(
            "{L}: {V}", "{L} {V}", "Tietoni: {L} {V}.", "Lomakkeessa lukee {L}: {V}.", "Korjatkaa tieto: {L} {V}.",
            "{name} ilmoitti: {L} {V}.", "Tarkistusta varten: {L} ({V}).", "Asiakas {name}, {L} {V}, {city}.",
        ),
        plain=("Voitteko tarkistaa: {V}?", "Sopimuksessa lukee ”{V}”.", "{V}", "Katso muistiinpano ({V}).", "Onko {V} oikein?", "{V} on syötetty kahdesti."),
        about={
            "email": ("Vastatkaa osoitteeseen {V}.", "Sähköpostini on {V}.", "Lähettäkää lasku osoitteeseen {V}!"),
            "phone": ("Soittakaa numeroon {V}.", "Puhelinnumeroni on {V}.", "Minut tavoittaa puhelimitse numerosta {V}.", "Soita: {V}"),
            "date_of_birth": ("Olen syntynyt {V}.", "{name}, synt. {V}, {city}.", "Potilaan syntymäaika on {V}.", "{name}, s. {V}, {city}."),
            "credit_card": ("Veloittakaa luottokorttia {V}.", "Kortti {V} hylättiin."),
            "iban": ("Maksakaa palautus tilille {V}.", "Tilinumeroni on {V}."),
            "ip": ("Kaikki pyynnöt tulevat osoitteesta {V}.", "Palvelin {V} ei vastaa."),
            "password": ("salasanani on {V} eikä se toimi", "Kirjaudu salasanalla {V}", "Uusi salasana: {V}"),
            "coordinates": ("Mökin koordinaatit ovat {V}.", "GPS-sijainti: {V}."),
        },
        filler=(
            "Kiitos nopeasta vastauksesta.", "Paketti ei ole vielä saapunut.", "Olen ollut asiakas vuosia.", "{name} ({company}) hoitaa asian.",
            "Asumme paikassa {city}.", "Miten uudelleenjärjestäjät eroavat upotuksista?",
        ),
        negative=(
            "Tilaus {order} ({date}, {price}) on lähetetty.", "Lasku {invoice} erääntyy {date}.", "Tiketti {ticket} on suljettu, ks. s. {pages}.",
            "Lähetys {tracking} ei liiku.", "Romaani (ISBN {isbn}) kattaa vuodet {years}.", "Versio {version} julkaistiin {date}.",
            "Salasanassa on oltava vähintään 12 merkkiä.", "Puhelinpalvelu avoinna 9-17.", "Tuotenro {part}, {count} kpl, {price}.",
            "Yritys perustettiin {date}, työntekijöitä {count}.", "Ottelu päättyi {sport}.", "Sopimuksen kohta {section}.",
        ),
        table=("Nimi", "Tilaus", "Päivä", "Summa"),
        price="# ###,## €",
        place=(60.17, 24.94),
        hello=("Hei,", "Hyvä asiakaspalvelu,", "Moi {name},"),
        bye=("Ystävällisin terveisin", "Terveisin", "Kiitos"),
    ),
    "no_NO": Language(
        months="januar februar mars april mai juni juli august september oktober november desember",
        dates=("DD.MM.YYYY", "D. MON YYYY", "DD.MM.YY", "D.M.YYYY", "YYYY-MM-DD"),
        words={
            "email": ("E-post", "Epost", "E-postadresse"),
            "phone": ("Tlf.", "Telefon", "Mobil", "Tlf", "Telefonnummer", "Mobilnr."),
            "date_of_birth": ("Fødselsdato", "født", "Født den", "Fødselsdag"),
            "credit_card": ("Kredittkort", "Kortnummer", "Kortnr."),
            "password": ("Passord", "passord"),
            "ip": ("IP-adresse", "IP"),
            "mac": ("MAC-adresse", "MAC"),
            "coordinates": ("Koordinater", "GPS-posisjon", "GPS"),
        },
        keys={"phone": ("telefon", "mobil", "tlf"), "date_of_birth": ("fodselsdato", "fødselsdato"),
              "credit_card": ("kortnummer",), "password": ("passord",), "email": ("epost",)},
        domains=("online.no", "broadpark.no", "gmail.com", "hotmail.no", "fjordbygg.no", "snekker-lien.no"),
        labelled=(
            "{L}: {V}", "{L} {V}", "Mine opplysninger: {L} {V}.", "I skjemaet står {L}: {V}.", "Vennligst endre: {L} {V}.",
            "{name} oppga {L} {V}.", "Til kontroll: {L} ({V}).", "Kunde {name}, {L} {V}, bor i {city}.",
        ),
        plain=("Kan dere sjekke {V}?", "I avtalen står «{V}».", "{V}", "Se notat ({V}).", "Stemmer {V}?", "{V} er ført to ganger."),
        about={
            "email": ("Vennligst svar til {V}.", "E-postadressen min er {V}.", "Send fakturaen til {V}!"),
            "phone": ("Ring meg på {V}.", "Telefonnummeret mitt er {V}.", "Jeg treffes på mobil {V}.", "Tlf. dagtid: {V}"),
            "date_of_birth": ("Jeg er født {V}.", "{name}, født {V} i {city}.", "{name}, f. {V}, {city}.", "Pasientens fødselsdato er {V}."),
            "credit_card": ("Trekk beløpet fra kredittkortet mitt {V}.", "Kortet {V} ble avvist."),
            "iban": ("Overfør til konto {V}.", "Mitt IBAN er {V}."),
            "ip": ("Alle forespørslene kommer fra {V}.", "Serveren {V} svarer ikke."),
            "password": ("passordet mitt er {V}, men det virker ikke", "Logg inn med passord {V}"),
            "coordinates": ("Hytta ligger på koordinatene {V}.", "GPS-posisjon: {V}."),
        },
        filler=(
            "Takk for raskt svar.", "Pakken har ikke kommet ennå.", "Jeg har vært kunde i mange år.", "{name} i {company} tar seg av det.",
            "Vi bor i {city}.", "Hva er forskjellen på reranking og embeddings?",
        ),
        negative=(
            "Bestilling {order} fra {date} på {price} er sendt.", "Faktura {invoice} forfaller {date}.", "Sak {ticket} er lukket, se s. {pages}.",
            "Sending {tracking} står stille.", "Romanen (ISBN {isbn}) dekker årene {years}.", "Versjon {version} kom {date}.",
            "Passordet må ha minst 12 tegn.", "Telefontid 9-17 på hverdager.", "Varenr. {part}, {count} stk. à {price}.",
            "Firmaet ble stiftet {date} og har {count} ansatte.", "Kampen endte {sport}.", "Se avtalens punkt {section}.",
        ),
        table=("Navn", "Bestilling", "Dato", "Beløp"),
        price="kr # ###,##",
        place=(59.91, 10.75),
        hello=("Hei,", "Hei {name},", "God dag,"),
        bye=("Med vennlig hilsen", "Mvh", "Takk"),
    ),
    "ko_KR": Language(
        months="1월 2월 3월 4월 5월 6월 7월 8월 9월 10월 11월 12월",
        dates=("YYYY년 M월 D일", "YYYY.MM.DD", "YYYY-MM-DD", "YYYY. M. D.", "YYYYMMDD", "YY년 M월 D일"),
        words={
            "email": ("이메일", "메일", "이메일 주소"),
            "phone": ("전화번호", "휴대폰", "연락처", "전화", "핸드폰", "휴대전화", "팩스"),
            "date_of_birth": ("생년월일", "출생일", "생일"),
            "credit_card": ("카드번호", "신용카드", "신용카드 번호"),
            "password": ("비밀번호", "암호", "패스워드"),
            "ip": ("IP 주소", "IP"),
            "mac": ("MAC 주소", "MAC"),
            "coordinates": ("좌표", "GPS 위치", "위치 좌표"),
        },
        keys={"phone": ("전화번호", "휴대폰", "연락처"), "date_of_birth": ("생년월일", "birthDate"), "credit_card": ("카드번호",),
              "password": ("비밀번호",), "email": ("이메일",)},
        domains=("naver.com", "hanmail.net", "daum.net", "kakao.com", "hansol-tech.co.kr", "gmail.com"),
        labelled=(
            "{L}: {V}", "{L} {V}", "{L}는 {V}입니다.", "신청서에 {L} {V}(으)로 되어 있습니다.", "{L}를 {V}로 변경해 주세요.",
            "{name}님 {L}: {V}", "본인 확인: {L} ({V})", "{L}={V}",
        ),
        plain=("{V} 확인 부탁드립니다.", "계약서에 '{V}'라고 적혀 있습니다.", "{V}", "메모({V}) 참고하세요.", "{V}가 맞나요?", "{V} 중복 입력되었습니다."),
        about={
            "email": ("{V}로 답장 부탁드립니다.", "제 이메일은 {V}입니다.", "청구서는 {V}으로 보내주세요!"),
            "phone": ("{V}로 전화 주세요.", "제 전화번호는 {V}입니다.", "연락처는 {V}이고 오후에 통화 가능합니다.", "휴대폰 {V}로 문자 주세요."),
            "date_of_birth": ("생년월일은 {V}입니다.", "{name}님은 {V}에 태어났습니다.", "환자 {name}({V} 출생)"),
            "credit_card": ("제 카드 {V}로 결제해 주세요.", "신용카드 {V}가 거절되었습니다."),
            "iban": ("{V} 계좌로 송금해 주세요.", "해외 계좌 IBAN은 {V}입니다."),
            "ip": ("모든 요청이 {V}에서 옵니다.", "서버 {V}가 응답하지 않습니다."),
            "password": ("비밀번호는 {V} 입니다.", "비밀번호 {V} 로 로그인하세요", "임시 비밀번호: {V}"),
            "coordinates": ("만나는 곳의 좌표는 {V}입니다.", "GPS 위치: {V}"),
        },
        filler=(
            "빠른 답변 감사합니다.", "택배가 아직 도착하지 않았습니다.", "오랫동안 이용한 고객입니다.", "{company}의 {name}님이 담당합니다.",
            "저희는 {city}에 삽니다.", "리랭커와 임베딩은 무엇이 다른가요?",
        ),
        negative=(
            "{date} 주문 {order}({price})이 발송되었습니다.", "청구서 {invoice}의 납부 기한은 {date}입니다.", "문의 {ticket}은 종료되었습니다. {pages}쪽 참고.",
            "송장번호 {tracking}은 움직임이 없습니다.", "이 소설(ISBN {isbn})은 {years}년을 다룹니다.", "버전 {version}은 {date}에 출시되었습니다.",
            "비밀번호는 12자 이상이어야 합니다.", "전화 상담은 9-17시에 가능합니다.", "부품번호 {part}, {count}개, {price}.",
            "회사는 {date}에 설립되어 직원이 {count}명입니다.", "경기는 {sport}로 끝났습니다.", "계약서 {section}항 참조.",
        ),
        table=("이름", "주문", "날짜", "금액"),
        price="#,###원",
        place=(37.56, 126.97),
        hello=("안녕하세요.", "{name}님 안녕하세요,", "담당자님께"),
        bye=("감사합니다", "수고하세요", "{name} 드림"),
    ),
    "zh_CN": Language(
        months="1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月",
        dates=("YYYY年M月D日", "YYYY-MM-DD", "YYYY/MM/DD", "YYYY.MM.DD", "YYYYMMDD", "YYYY/M/D"),
        words={
            "email": ("邮箱", "电子邮件", "电子邮箱", "E-mail"),
            "phone": ("电话", "手机", "手机号", "联系电话", "电话号码", "手机号码", "传真"),
            "date_of_birth": ("出生日期", "生日", "出生年月日"),
            "credit_card": ("信用卡号", "卡号", "银行卡号", "信用卡"),
            "password": ("密码", "口令", "登录密码"),
            "ip": ("IP地址", "IP"),
            "mac": ("MAC地址", "MAC"),
            "coordinates": ("坐标", "经纬度", "GPS坐标"),
        },
        keys={"phone": ("手机号", "联系电话", "shouji"), "date_of_birth": ("出生日期", "birth"), "credit_card": ("卡号", "银行卡号"),
              "password": ("密码",), "email": ("邮箱",)},
        domains=("qq.com", "163.com", "126.com", "sina.com.cn", "huaxin-keji.com.cn", "139.com"),
        labelled=(
            "{L}：{V}", "{L}:{V}", "{L} {V}", "我的{L}是{V}。", "表格上的{L}为{V}，请核对。", "请把{L}改为{V}。", "{name}，{L}{V}。", "核实信息（{L}：{V}）",
        ),
        plain=("请查一下{V}。", "合同上写的是“{V}”。", "{V}", "见备注（{V}）。", "{V}对吗？", "{V}重复录入了。"),
        about={
            "email": ("请回复到{V}。", "我的邮箱是{V}。", "发票请发到{V}，谢谢！"),
            "phone": ("请拨打{V}联系我。", "我的手机号是{V}。", "下午请打电话{V}找{name}。", "联系电话：{V}，姓名：{name}"),
            "date_of_birth": ("我出生于{V}。", "{name}，{V}出生，现住{city}。", "患者出生日期为{V}。"),
            "credit_card": ("请从我的信用卡{V}扣款。", "银行卡{V}被拒绝了。"),
            "iban": ("请汇款到{V}。", "我的境外账户IBAN是{V}。"),
            "ip": ("所有请求都来自{V}。", "服务器{V}没有响应。"),
            "password": ("我的密码是 {V} 但登录不了", "请用密码 {V} 登录", "初始密码：{V}"),
            "coordinates": ("集合地点坐标：{V}。", "经纬度为{V}。"),
        },
        filler=("谢谢您的快速回复。", "包裹还没有到。", "我是多年的老客户。", "{company}的{name}负责此事。", "我们住在{city}。", "重排序模型和向量嵌入有什么区别？"),
        negative=(
            "{date}的订单{order}（{price}）已发货。", "发票号{invoice}，到期日{date}。", "工单{ticket}已关闭，见第{pages}页。", "快递单号{tracking}没有更新。",
            "这本小说（ISBN {isbn}）讲述{years}年的故事。", "版本{version}于{date}发布。", "密码长度至少12位。", "电话客服时间9-17点。",
            "零件号{part}，{count}件，单价{price}。", "公司成立于{date}，员工{count}人。", "比赛以{sport}结束。", "见合同第{section}条。",
        ),
        table=("姓名", "订单", "日期", "金额"),
        price="¥#,###.##",
        place=(39.9, 116.4),
        hello=("您好，", "{name}您好：", "尊敬的客服："),
        bye=("谢谢", "此致敬礼", "祝好"),
        joint="",
    ),
    "hi_IN": Language(
        months="जनवरी फ़रवरी मार्च अप्रैल मई जून जुलाई अगस्त सितंबर अक्टूबर नवंबर दिसंबर",
        dates=("DD/MM/YYYY", "D MON YYYY", "DD-MM-YYYY", "DD.MM.YYYY", "YYYY-MM-DD"),
        words={
            "email": ("ईमेल", "ई-मेल", "Email"),
            "phone": ("फ़ोन", "मोबाइल", "मोबाइल नंबर", "फोन नंबर", "संपर्क", "दूरभाष"),
            "date_of_birth": ("जन्म तिथि", "जन्मतिथि", "जन्म", "DOB"),
            "credit_card": ("क्रेडिट कार्ड", "कार्ड नंबर", "क्रेडिट कार्ड नंबर"),
            "password": ("पासवर्ड", "कूटशब्द"),
            "ip": ("आईपी पता", "IP"),
            "mac": ("MAC पता", "MAC"),
            "coordinates": ("निर्देशांक", "GPS स्थान", "GPS"),
        },
        keys={"phone": ("मोबाइल", "mobile_no", "फ़ोन"), "date_of_birth": ("जन्म_तिथि", "janm_tithi"), "password": ("पासवर्ड",), "email": ("ईमेल",)},
        domains=("rediffmail.com", "gmail.com", "yahoo.co.in", "sharma-traders.in", "outlook.in"),
        labelled=(
            "{L}: {V}", "{L} {V}", "मेरा विवरण: {L} {V}।", "फ़ॉर्म में {L} {V} लिखा है।", "कृपया {L} बदलकर {V} कर दें।",
            "{name} ने {L} {V} दिया।", "सत्यापन के लिए: {L} ({V})", "ग्राहक {name}, {L} {V}, {city}।",
        ),
        plain=("कृपया {V} जाँचें।", "अनुबंध में “{V}” लिखा है।", "{V}", "टिप्पणी ({V}) देखें।", "क्या {V} सही है?", "{V} दो बार दर्ज है।"),
        about={
            "email": ("कृपया {V} पर उत्तर दें।", "मेरा ईमेल {V} है।", "बिल {V} पर भेजें!"),
            "phone": ("मुझे {V} पर फ़ोन करें।", "मेरा मोबाइल नंबर {V} है।", "{V} पर कॉल करके {name} से बात करें।", "व्हाट्सऐप नंबर {V}"),
            "date_of_birth": ("मेरा जन्म {V} को हुआ।", "{name}, जन्म {V}, निवासी {city}।", "रोगी की जन्म तिथि {V} है।"),
            "credit_card": ("मेरे क्रेडिट कार्ड {V} से काट लें।", "कार्ड {V} अस्वीकार हो गया।"),
            "iban": ("राशि {V} खाते में भेजें।", "मेरा IBAN {V} है।"),
            "ip": ("सभी अनुरोध {V} से आते हैं।", "सर्वर {V} उत्तर नहीं देता।"),
            "password": ("मेरा पासवर्ड {V} है", "पासवर्ड {V} से लॉगिन करें"),
            "coordinates": ("स्थान के निर्देशांक {V} हैं।", "GPS स्थान: {V}"),
        },
        filler=(
            "जल्दी उत्तर देने के लिए धन्यवाद।", "पार्सल अभी तक नहीं आया।", "मैं कई साल से ग्राहक हूँ।", "{company} के {name} इसे देख रहे हैं।",
            "हम {city} में रहते हैं।", "रीरैंकर और एम्बेडिंग में क्या अंतर है?",
        ),
        negative=(
            "{date} का ऑर्डर {order} ({price}) भेज दिया गया।", "चालान {invoice} की अंतिम तिथि {date} है।", "टिकट {ticket} बंद है, पृष्ठ {pages} देखें।",
            "ट्रैकिंग {tracking} में कोई बदलाव नहीं।", "यह उपन्यास (ISBN {isbn}) वर्ष {years} का है।", "संस्करण {version} {date} को जारी हुआ।",
            "पासवर्ड कम से कम 12 अक्षरों का होना चाहिए।", "फ़ोन सेवा 9-17 बजे तक।", "पार्ट नं. {part}, {count} नग, {price}।",
            "कंपनी {date} को बनी, {count} कर्मचारी हैं।", "मैच {sport} पर समाप्त हुआ।", "अनुबंध की धारा {section} देखें।",
        ),
        table=("नाम", "ऑर्डर", "दिनांक", "राशि"),
        price="₹#,###.##",
        place=(28.61, 77.2),
        hello=("नमस्ते,", "प्रिय {name},", "महोदय,"),
        bye=("धन्यवाद", "सादर", "भवदीय"),
    ),
    "ja_JP": Language(
        months="1月 2月 3月 4月 5月 6月 7月 8月 9月 10月 11月 12月",
        dates=("YYYY年M月D日", "YYYY/MM/DD", "YYYY-MM-DD", "YYYY.MM.DD", "ERA", "YYYY年MM月DD日"),
        words={
            "email": ("メールアドレス", "メール", "E-mail", "Eメール"),
            "phone": ("電話", "電話番号", "携帯", "携帯電話", "TEL", "ご連絡先", "FAX"),
            "date_of_birth": ("生年月日", "誕生日"),
            "credit_card": ("クレジットカード番号", "カード番号", "クレジットカード"),
            "password": ("パスワード", "暗証コード", "PW"),
            "ip": ("IPアドレス", "IP"),
            "mac": ("MACアドレス", "MAC"),
            "coordinates": ("座標", "緯度経度", "GPS座標"),
        },
        keys={"phone": ("電話番号", "携帯電話", "tel"), "date_of_birth": ("生年月日", "誕生日"), "credit_card": ("カード番号",),
              "password": ("パスワード",), "email": ("メールアドレス",)},
        domains=("docomo.ne.jp", "ezweb.ne.jp", "yahoo.co.jp", "softbank.ne.jp", "yamato-seiki.co.jp", "gmail.com"),
        labelled=(
            "{L}：{V}", "{L}: {V}", "{L} {V}", "{L}は{V}です。", "申込書の{L}が{V}になっています。", "{L}を{V}に変更してください。", "{name}様、{L}{V}。", "ご本人確認（{L}：{V}）",
        ),
        plain=("{V}をご確認ください。", "契約書には「{V}」とあります。", "{V}", "メモ（{V}）をご覧ください。", "{V}で合っていますか？", "{V}が二重に登録されています。"),
        about={
            "email": ("{V}までご返信ください。", "私のメールアドレスは{V}です。", "請求書は{V}へお送りください！"),
            "phone": ("{V}までお電話ください。", "携帯電話は{V}です。", "電話（{V}）で{name}をお呼びください。", "TEL：{V}（平日のみ）"),
            "date_of_birth": ("私は{V}生まれです。", "{name}様（{V}生まれ）", "患者の生年月日は{V}です。"),
            "credit_card": ("クレジットカード{V}で支払いました。", "カード番号{V}が使えません。"),
            "iban": ("{V}の口座に送金してください。", "海外口座のIBANは{V}です。"),
            "ip": ("すべてのリクエストが{V}から来ています。", "サーバー{V}が応答しません。"),
            "password": ("パスワードは {V} です。", "パスワード {V} でログインしてください", "初期パスワード：{V}"),
            "coordinates": ("集合場所の座標は{V}です。", "緯度経度：{V}"),
        },
        filler=("早速のご返信ありがとうございます。", "荷物がまだ届きません。", "長年利用しております。", "{company}の{name}が担当します。", "{city}に住んでいます。", "リランカーと埋め込みの違いは何ですか？"),
        negative=(
            "{date}のご注文{order}（{price}）を発送しました。", "請求書{invoice}の期限は{date}です。", "チケット{ticket}は終了しました。{pages}ページ参照。",
            "追跡番号{tracking}に動きがありません。", "この小説（ISBN {isbn}）は{years}年を描きます。", "バージョン{version}は{date}に公開されました。",
            "パスワードは12文字以上にしてください。", "電話受付は9-17時です。", "部品番号{part}、{count}個、{price}。",
            "当社は{date}に設立され、社員は{count}名です。", "試合は{sport}で終わりました。", "契約書の{section}項をご覧ください。",
        ),
        table=("氏名", "注文", "日付", "金額"),
        price="#,###円",
        place=(35.68, 139.76),
        hello=("お世話になっております。", "{name}様", "ご担当者様"),
        bye=("よろしくお願いいたします", "敬具", "{name}"),
        joint="",
    ),
}  # fmt: skip
LOCALES: tuple[str, ...] = tuple(LANGUAGES)

# ---------------------------------------------------------------------------------------------------------------------
# Words and formats of a kind


@dataclass(frozen=True, slots=True)
class Words:
    """The names of an identifier in its country, in other languages, and in JSON."""

    homes: tuple[str, ...]
    local: tuple[str, ...]
    abroad: tuple[str, ...]
    keys: tuple[str, ...]


IDS: dict[str, Words] = {
    "us_ssn": Words(("en_US",), ("SSN", "Social Security number", "Social Security No.", "SS#"), ("US SSN", "SSN"),
                    ("ssn", "social_security_number", "ssnNumber", "SSN")),
    "ca_sin": Words(("en_US",), ("SIN", "Social Insurance Number", "SIN number"), ("Canadian SIN", "SIN"),
                    ("sin", "social_insurance_number", "sinNumber")),
    "gb_nhs": Words(("en_GB",), ("NHS number", "NHS No.", "NHS no", "NHS"), ("NHS number",), ("nhs_number", "nhsNumber", "nhs_no")),
    "za_id": Words(("en_GB",), ("South African ID", "SA ID number", "RSA ID", "SA identity number"), ("South African ID", "SA ID"),
                   ("sa_id_number", "za_id", "south_african_id", "rsaIdNumber")),
    "de_steuer_id": Words(("de_DE",), ("Steuer-ID", "Steueridentifikationsnummer", "Steuer-IdNr.", "Identifikationsnummer (Steuer)", "IdNr."),
                          ("Steuer-ID", "German tax ID"), ("steuer_id", "steuerId", "steueridentifikationsnummer")),
    "fr_nir": Words(("fr_FR",), ("NIR", "numéro de sécurité sociale", "N° de sécu", "N° SS", "Numéro de sécurité sociale"),
                    ("NIR", "French social security number"), ("nir", "numero_securite_sociale", "num_secu")),
    "es_dni": Words(("es_ES",), ("DNI", "NIF", "DNI/NIE", "D.N.I.", "documento nacional de identidad"), ("DNI", "NIE"),
                    ("dni", "nif", "dni_nie", "documento_identidad")),
    "it_codice_fiscale": Words(("it_IT",), ("Codice fiscale", "C.F.", "CF", "cod. fisc."), ("Codice fiscale",),
                               ("codice_fiscale", "codiceFiscale", "cf")),
    "nl_bsn": Words(("nl_NL",), ("BSN", "Burgerservicenummer", "BSN-nummer", "bsn"), ("BSN", "Dutch BSN"), ("bsn", "burgerservicenummer", "BSN")),
    "pl_pesel": Words(("pl_PL",), ("PESEL", "nr PESEL", "Numer PESEL"), ("PESEL",), ("pesel", "PESEL", "nr_pesel")),
    "br_cpf": Words(("pt_BR",), ("CPF", "CPF nº", "C.P.F.", "CPF/MF"), ("CPF",), ("cpf", "cpf_cliente", "CPF")),
    "se_personnummer": Words(("sv_SE",), ("Personnummer", "personnr", "Pers.nr", "pnr"), ("Personnummer",), ("personnummer", "personal_number", "pnr")),
    "fi_hetu": Words(("fi_FI",), ("Henkilötunnus", "Hetu", "HETU", "hlötunnus"), ("Henkilötunnus", "HETU"), ("hetu", "henkilotunnus", "henkilötunnus")),
    "no_fodselsnummer": Words(("no_NO",), ("Fødselsnummer", "fnr.", "Fødselsnr.", "fnr", "Personnummer"), ("Fødselsnummer",),
                              ("fodselsnummer", "fødselsnummer", "fnr")),
    "kr_rrn": Words(("ko_KR",), ("주민등록번호", "주민번호"), ("RRN", "Korean RRN"), ("주민등록번호", "rrn", "resident_registration_number")),
    "cn_resident_id": Words(("zh_CN",), ("身份证号", "身份证号码", "居民身份证", "公民身份号码"), ("Resident ID", "身份证"),
                            ("身份证号", "id_card", "idCardNo", "resident_id")),
    "in_aadhaar": Words(("hi_IN",), ("आधार नंबर", "आधार", "आधार संख्या", "Aadhaar", "Aadhaar No."), ("Aadhaar", "Aadhaar number"),
                        ("aadhaar", "aadhaar_number", "aadhaarNo", "aadhar")),
}  # fmt: skip

# If variants of a kind have different words, the variant follows a colon.
WORDS: dict[str, tuple[str, ...]] = {
    "iban": ("IBAN", "IBAN", "iban"),
    "url_credentials": ("Connection string", "DSN", "Database URL", "Proxy", "remote"),
    "crypto_address:btc": ("BTC address", "Bitcoin", "BTC", "Bitcoin wallet"),
    "crypto_address:eth": ("ETH", "Ethereum address", "ETH wallet", "ERC-20"),
    "cloud_key:aws_id": ("AWS access key", "Access key ID"),
    "cloud_key:aws_secret": ("AWS secret access key", "AWS secret key"),
    "cloud_key:gcp": ("Google API key", "Maps key"),
    "cloud_key:azure": ("Azure storage account key", "AccountKey"),
    "vendor_token": ("API token", "Token", "Access token", "API key"),
    "private_key": ("Private key", "SSH key", "Key"),
    "jwt": ("JWT", "Session token", "Access token", "Bearer"),
    "date_of_birth": ("DOB",), "email": ("Email",), "phone": ("Phone",),
}  # fmt: skip

KEYS: dict[str, tuple[str, ...]] = {
    "email": ("email", "e_mail", "emailAddress", "contact_email", "user_email", "mail", "reply_to", "from"),
    "phone": ("phone", "phone_number", "mobile", "tel", "phoneNumber", "contact_phone", "fax", "home_phone", "cell"),
    "credit_card": ("credit_card", "card_number", "cardNumber", "cc_number", "pan", "creditCardNumber"),
    "iban": ("iban", "IBAN", "bank_account", "account_iban"),
    "ip": ("ip", "client_ip", "remote_addr", "ip_address", "x_forwarded_for", "source_ip", "clientIp"),
    "mac": ("mac", "mac_address", "hwaddr", "bssid"),
    "url_credentials": ("database_url", "DATABASE_URL", "dsn", "connection_string", "proxy", "remote_url", "uri"),
    "date_of_birth": ("dob", "birth_date", "date_of_birth", "birthDate", "birthday", "dateOfBirth", "birthdate"),
    "crypto_address:btc": ("btc_address", "wallet", "bitcoin_address", "payout_address"),
    "crypto_address:eth": ("eth_address", "wallet_address", "wallet", "payout_address"),
    "cloud_key:aws_id": ("aws_access_key_id", "AccessKeyId", "accessKeyId"),
    "cloud_key:aws_secret": ("aws_secret_access_key", "SecretAccessKey", "secretAccessKey", "AWS_SECRET_ACCESS_KEY"),
    "cloud_key:gcp": ("google_api_key", "maps_key", "apiKey"),
    "cloud_key:azure": ("AzureWebJobsStorage", "storage_connection_string", "AZURE_STORAGE_CONNECTION_STRING"),
    "vendor_token": ("token", "api_key", "access_token", "apiKey", "auth_token", "api_token"),
    "private_key": ("private_key", "ssh_private_key", "tls_key", "key_pem", "privateKey"),
    "jwt": ("access_token", "id_token", "jwt", "token", "session", "authorization"),
    "password:human": ("password", "passwd", "pwd", "user_password", "db_password", "DB_PASSWORD"),
    "password:random": ("password", "client_secret", "api_key", "secret", "clientSecret", "apiKey", "passphrase", "secret_key",
                        "DB_PASSWORD", "COHERE_API_KEY", "auth_token"),
}  # fmt: skip
NEUTRAL_KEYS = ("value", "note", "ref", "input", "comment", "content", "description", "raw", "title", "contact")

# '#' is any digit, '%' one from 1 to 9, '!' one from 2 to 9. First specific formats, then others.
PHONES: dict[str, tuple[str, str]] = {
    "en_US": ("(!##) !##-####|!##-!##-####|+1 !##-!##-####|+1 (!##) !##-####|+1!##!######|+1.!##.!##.####|(555) !##-####"
              "|(!##) !##-#### x###|1-!##-!##-####|+1-!##-!##-####",
              "!##.!##.####|!## !## ####|!##!######|!##-####|!##-!##-#### ext. ####|001-!##-!##-####x###|+1-!##-!##-####x####"
              "|(!##)!##-####|1 (!##) !##-####|!##/!##-####|555.!##.####|!##-!##-####, ext ##"),
    "en_GB": ("020 7### ####|+44 20 7### ####|+44 7### ######|+44 (0)20 7### ####|(0161) ### ####|+447#########|07### ######"
              "|+44 (0) 1### ######|+44.20.7###.####|(020) 7### ####",
              "07#########|0121 ### ####|01### ######|(01###) ######|0800 ### ####|0044 7### ######|020-7###-####|0161 4960###"
              "|07### ### ###|+44 1### ###### ext 2##|01632 960###"),
    "de_DE": ("+49 151 ########|+49 (0)30 %#######|+49 30 %#######|+4917########|+49-89-%######|+49 (0) 221 / %######|0049 171 #######",
              "0151 ########|030 %#######|030/%#######|089-%######|0221 / %## ## ##|(030) %#######|(0711) %#####-##|0171/#######"
              "|0160 %######|040 %## %## ##|04131-%####|030 / %## ## ## - #|0171########"),
    "fr_FR": ("+33 6 ## ## ## ##|+33 (0)1 ## ## ## ##|+336########|0033 6 ## ## ## ##|06 ## ## ## ##|01 ## ## ## ##|+33 1 ## ## ## ##",
              "06########|06.##.##.##.##|01-##-##-##-##|07 ## ## ## ##|04.##.##.##.##|0 800 ### ###|09 ## ## ## ##"),
    "es_ES": ("+34 6## ### ###|+34 91# ### ###|+346########|0034 6## ## ## ##|+34 6## ## ## ##|(+34) 6## ### ###",
              "6## ### ###|6## ## ## ##|91# ## ## ##|91 ### ## ##|6########|93 ### ## ##|900 ### ###|96#-###-###|6##.###.###"),
    "it_IT": ("+39 3## #######|+39 02 ########|+39 3## ### ####|+393#########|0039 3## #######|+39 06 #### ####",
              "3## #######|3##-#######|3##/#######|3## ### ####|02 ########|06-########|06 #### ####|011 #######|3#########|800 ######"),
    "nl_NL": ("+31 6 ########|+31 (0)20 ### ####|+31 6 ## ## ## ##|+316########|0031 6 ########|+31 20 ### ## ##|+31-10-#######",
              "06-########|06 ########|06########|020-#######|020 ### ## ##|010 ### ####|(020) #######|06 ## ## ## ##|0800-####|06 - ## ## ## ##"),
    "pl_PL": ("+48 6## ### ###|+48 22 ### ## ##|+485########|0048 6## ### ###|+48 (22) ### ## ##|+48-60#-###-###",
              "6## ### ###|5##-###-###|22 ### ## ##|(22) ### ## ##|22 ### ## ## wew. ##|6########|801 ### ###|12-###-##-##"),
    "pt_BR": ("+55 11 9####-####|(11) 9####-####|+55 (21) 9####-####|+5511 9####-####|(31) 3###-####|+55 21 3###-####|+55119########",
              "11 9####-####|(11)9########|119########|21 3###-####|0800 ### ####|9####-####|0xx11 3###-####|11 9 #### ####|041 11 3###-####"),
    "sv_SE": ("+46 70 ### ## ##|+46 (0)8 ### ## ##|+4670#######|+46 8-### ### ##|0046 70 ### ## ##|+46 70-### ## ##",
              "070-### ## ##|0701-## ## ##|08-### ### ##|08-### ## ##|07########|031-## ## ##|076 ### ## ##|020-## ## ##"),
    "fi_FI": ("+358 40 ### ####|+358 9 ### ####|+35850#######|+358 (0)9 ### ###|+358 45 ### ## ##|00358 40 ### ####",
              "040 ### ####|050-#######|09 ### ####|045 ### ## ##|0400 ### ###|044#######|(09) ### ####|0800 # ####"),
    "no_NO": ("+47 9## ## ###|+47 22 ## ## ##|+479#######|0047 9## ## ###|+47 4## ## ###|(+47) 9## ## ###",
              "9## ## ###|22 ## ## ##|4## ## ###|9#######|800 ## ###|55 ## ## ##|22######"),
    "ko_KR": ("+82 10-!###-####|010-!###-####|+82-2-!##-####|+82 (0)10 !### ####|+8210!#######|02-!##-####",
              "010 !### ####|010!#######|010.!###.####|031-!##-####|051-!##-####|1588-####|070-!###-####|(02) !##-####|02)!##-####"),
    "zh_CN": ("+86 13# #### ####|+86 10 #### ####|+8613#########|0086 13# #### ####|(+86) 15# #### ####|+86-21-########",
              "13#########|15# #### ####|18#-####-####|010-########|(021) ########|0755-########|400-###-####|021-########转8##|139 #### ####"),
    "hi_IN": ("+91 9#### #####|+91-98########|+9198########|+91 22 #### ####|+91 (0)11 #### ####|0091 9#### #####",
              "98########|9#### #####|098########|022-########|011-#### ####|080-########|1800 ### ####|9##-###-####|(022) #### ####"),
    "ja_JP": ("+81 90-####-####|090-####-####|+81-3-####-####|+8180########|03-####-####|+81 (0)3-####-####",
              "080########|0120-###-###|06-####-####|(03) ####-####|03(####)####|045-###-####|070-####-####|090 #### ####"
              "|０９０－####－####"),
}  # fmt: skip
UNPLANNED_PHONES = "+999 ### ### ###|+2## ### ###|00## ### ### ####|0## #### ###|+%## ## ### ####|### ### ###|####-######|+0 (###) ###-##-##"

# Country, total length, and the account: counts of digits '#', capitals '@' or either '*'; other characters are literal
IBANS: dict[str, tuple[int, str]] = {
    "DE": (22, "18#"), "GB": (22, "4@ 14#"), "FR": (27, "10# 11* 2#"), "ES": (24, "20#"), "IT": (27, "1@ 10# 12*"), "NL": (18, "4@ 10#"), "PL": (28, "24#"),
    "SE": (24, "20#"), "FI": (18, "14#"), "NO": (15, "11#"), "DK": (18, "14#"), "BE": (16, "12#"), "AT": (20, "16#"), "CH": (21, "5# 12*"), "PT": (25, "21#"),
    "IE": (22, "4@ 14#"), "CZ": (24, "20#"), "GR": (27, "7# 16*"), "HU": (28, "24#"), "LU": (20, "3# 13*"), "RO": (24, "4@ 16*"), "SK": (24, "20#"),
    "TR": (26, "5# 0 16*"), "SA": (24, "2# 18*"), "AE": (23, "19#"), "EE": (20, "16#"), "LT": (20, "16#"), "BR": (29, "23# 1@ 1*"),
}  # fmt: skip

# Issuer, first digits, length, groups
CARDS = (
    ("visa", ("4",), 16, (4, 4, 4, 4)), ("visa", ("4",), 16, (4, 4, 4, 4)), ("mastercard", ("51", "52", "53", "54", "55"), 16, (4, 4, 4, 4)),
    ("mastercard", ("2221", "2450", "2699", "2720"), 16, (4, 4, 4, 4)), ("amex", ("34", "37"), 15, (4, 6, 5)),
    ("discover", ("6011", "644", "65"), 16, (4, 4, 4, 4)), ("jcb", ("3528", "3566", "3589"), 16, (4, 4, 4, 4)),
    ("diners", ("300", "305", "36", "38"), 14, (4, 6, 4)), ("maestro", ("5018", "5020", "5038", "6304", "6759", "6761"), 16, (4, 4, 4, 4)),
    ("maestro", ("5018", "6304", "6762"), 19, (4, 4, 4, 4, 3)), ("maestro", ("5893", "6763"), 13, (4, 4, 5)),
    ("unionpay", ("6221", "6228", "6250"), 16, (4, 4, 4, 4)), ("unionpay", ("6217", "6222"), 19, (4, 4, 4, 4, 3)),
)  # fmt: skip

_ALNUM = string.ascii_letters + string.digits
_URL = _ALNUM + "_-"
_HEX = "0123456789abcdef"
# Issuer's prefix, parts as (alphabet, length) or literal text. Prefixes are split in two, because a host that scans
# pushed code would report the whole as a leak.
TOKENS: tuple[tuple[str, tuple[tuple[str, int] | str, ...]], ...] = (
    ("gh" "p_", ((_ALNUM, 36),)), ("gh" "o_", ((_ALNUM, 36),)), ("gh" "s_", ((_ALNUM, 36),)),
    ("github_" "pat_", ((_ALNUM, 22), "_", (_ALNUM, 59))),
    ("glp" "at-", ((_URL, 20),)),
    ("xox" "b-", ((string.digits, 12), "-", (string.digits, 13), "-", (_ALNUM, 24))),
    ("xox" "p-", ((string.digits, 12), "-", (string.digits, 12), "-", (string.digits, 13), "-", (_HEX, 32))),
    ("sk_" "live_", ((_ALNUM, 24),)), ("sk_" "live_", ((_ALNUM, 99),)), ("rk_" "live_", ((_ALNUM, 24),)),
    ("sk" "-", ((_ALNUM, 20), "T3Blbk" "FJ", (_ALNUM, 20))), ("sk" "-proj-", ((_URL, 74), "T3Blbk" "FJ", (_URL, 74))),
    ("sk" "-ant-api03-", ((_URL, 93), "AA")),
    ("h" "f_", ((string.ascii_letters, 34),)),
    ("np" "m_", ((_ALNUM, 36),)),
    ("py" "pi-", ("AgEIcHlw" "aS5vcmc", (_URL, 150))),
    ("S" "G.", ((_URL, 22), ".", (_URL, 43))),
    ("S" "K", ((_HEX, 32),)),
    ("", ((string.digits[1:], 1), (string.digits, 9), ":" "AA", (_URL, 33))),
    ("dop" "_v1_", ((_HEX, 64),)),
    ("shp" "at_", ((_HEX, 32),)),
    ("da" "pi", ((_HEX, 32),)),
    ("gs" "k_", ((_ALNUM, 52),)),
    ("r" "8_", ((_ALNUM, 37),)),
    ("GOC" "SPX-", ((_URL, 28),)),
    ("lin_" "api_", ((_ALNUM, 40),)),
    ("gls" "a_", ((_ALNUM, 32), "_", (_HEX, 8))),
)  # fmt: skip

# How secrets and machine data appear, in any language of the surrounding text.
USES: dict[str, tuple[str, ...]] = {
    "vendor_token": (
        "export API_TOKEN={V}", "Authorization: Bearer {V}", "curl -H 'Authorization: Bearer {V}' https://api.{host}/v1/items",
        'token = "{V}"', "I accidentally pushed {V} to the repo.", "please revoke {V}, it leaked", "{V}", "TOKEN={V} make deploy",
        "X-Api-Key: {V}", "client = Client('{V}')", "(token {V})", "| ci | {V} | active |", "https://api.{host}/v2/rerank?key={V}&top_n=3",
        "- name: TOKEN\n  value: {V}", '{"api_key": "{V}"}',
    ),
    "jwt": (
        "Authorization: Bearer {V}", "Cookie: session={V}; Path=/; HttpOnly", "GET /callback?access_token={V}&state=ok", "id_token={V}",
        "jwt decode {V}", 'localStorage.setItem("jwt", "{V}")', "the token {V} is expired", "{V}",
    ),
    "private_key": ("{V}", "cat ~/.ssh/id_rsa\n{V}\n", "Here is the key:\n\n{V}\n", "server.key:\n{V}", "```\n{V}\n```"),
    "url_credentials": (
        "DATABASE_URL={V}", "psql {V}", "git clone {V}", "connecting to {V} failed", "export HTTPS_PROXY={V}", "url: {V}", "curl -s '{V}'",
        'engine = create_engine("{V}")', "<{V}>", "The staging database is at {V}, be careful.",
    ),
    "cloud_key:aws_id": ("aws_access_key_id = {V}", "AWS_ACCESS_KEY_ID={V}", "key {V} was used from a new region", "{V}", "Credential={V}/20240501/eu-west-1/s3"),
    "cloud_key:aws_secret": (
        "aws_secret_access_key = {V}", "AWS_SECRET_ACCESS_KEY={V}", "AWS secret key: {V}", 'secretAccessKey: "{V}",', "aws configure set aws_secret_access_key {V}",
    ),
    "cloud_key:gcp": ("https://maps.googleapis.com/maps/api/js?key={V}&callback=init", "GOOGLE_API_KEY={V}", "x-goog-api-key: {V}", "{V}"),
    "cloud_key:azure": ("{V}", "AZURE_STORAGE_CONNECTION_STRING={V}", "conn = '{V}'"),
    "password:random": (
        "api_key={V}", "client_secret={V}", "password: {V}", "PGPASSWORD={V} psql -h db.{host}", "API_KEY='{V}'", "secret_key = \"{V}\"",
        "COHERE_API_KEY={V}", "grant_type=client_credentials&client_id=web&client_secret={V}", "passphrase: {V}",
    ),
    "password:human": (
        "password: {V}", "user=admin password={V}", "Password is {V}", "pwd={V};Encrypt=yes", "login: svc / password: {V}", "<password>{V}</password>",
        'password = "{V}"', "--password={V} --force", "passwd: {V}",
    ),
    "crypto_address:btc": ("Send 0.05 BTC to {V}", "bitcoin:{V}?amount=0.1", "BTC wallet: {V}", "{V}", "Donations (BTC): {V}."),
    "crypto_address:eth": ("Send 0.5 ETH to {V}", "https://etherscan.io/address/{V}", "ETH: {V}", "{V}", "wallet {V} received 120 USDC"),
    "mac": ("DHCPACK to {V} via eth0", "link/ether {V} brd", "MAC: {V}", "new device {V} on the guest Wi-Fi", "ether {V} txqueuelen 1000", "{V}", "arp: {V} moved"),
    "ip": (
        '{V} - - [{clf}] "GET {path} HTTP/1.1" 200 {int}', "sshd[{int}]: Failed password for root from {V} port 22 ssh2", "client={V} status=403",
        "X-Forwarded-For: {V}", "ping {V}", "allow {V};", "peer {V} timed out after 30 s", "(from {V})", "{V}", "nameserver {V}", "{V} → {ip}",
    ),
    "email": (
        'level=info msg="mail sent" to={V}', "user={V} action=login", "To: {name} <{V}>", "mailto:{V}", "git log: Author: {latin} <{V}>", "cc: {V}; {email}",
    ),
    "phone": ("sms sent to phone={V} status=delivered", "tel: {V}", "call from phone {V} dropped"),
    "coordinates": ("lat/lon: {V}", "device position (GPS) {V}", "coordinates={V}"),
    "date_of_birth": ("patient dob={V} sex=F", "DOB: {V}"),
}  # fmt: skip

# Log lines and code without values
NEGATIVE_LINES = (
    "{iso} INFO [{pod}] request {reqid} finished in {float} ms", "commit {sha1}", "digest: sha256:{sha256}", "ETag: \"{md5}\"", "trace_id={hex32} span_id={hex16}",
    "uuid {uuid}", "s3://{bucket}/data/{date_path}/part-00{int}.parquet", "npm i @types/node@{semver} lodash@{semver}", "@pytest.mark.parametrize(\"n\", [1, 2, 3])",
    "@app.route('/v1/rerank')", "scores = [{float16}, {float16}, {float16}]", "embedding: [{vector}]", "epoch {epoch_ms}, offset {epoch}", "doi:10.{doi}",
    "arXiv:{arxiv} [cs.IR]", "color: #{hex6}; background: #{hex3};", ".box { margin: 0 12px 4px; width: 33.333%; }", "1. e4 e5 2. Nf3 Nc6 3. Bb5 a6 4. O-O",
    "f(x) = 3.1415926535 * x^2 - 2.718281828", "{time} | {time} | {time}", "build {buildno}", "Chrome/{chrome} Safari/537.36", "id: chatcmpl-{alnum29}",
    "password: ********", "password: <password>", "api_key=YOUR_API_KEY", "password = os.environ['DB_PASSWORD']", "DB_PASSWORD=${DB_PASSWORD}", "token: [REDACTED]",
    "Authorization: Bearer <token>", "sk-... goes here", "ghp_{xs}", "postgres://<user>:<password>@host/db", "email: [EMAIL]",
    "card ending in {last4}", "**** **** **** {last4}", "SSN ***-**-{last4}", "follow @{handle} on X", "https://medium.com/@{handle}/post-{hex12}", "logo@2x.png",
    "https://{host}:8443{path}?page={int}&size=20", "IMG_{date_compact}_{time_compact}.jpg", "report_{date_compact}_v2.final.pdf", "image: nginx@sha256:{sha256}",
    "EAN {ean}", "ISBN-10: {isbn10}", "ISSN 1234-5679", "CAS 7732-18-5", "IMEI of the returned phone model: {imei}", "S/N {serial}", "order {amazon}", "UPS 1Z{ups}",
    "card number {badluhn} was a typo", "invalid IBAN {badiban}", "SSN {badssn}", "ref {badluhn}", "Qm{base58_44}", "tx 0x{sha256}", "OID 1.3.6.1.4.1.{int}.{int}",
    "{base64blob}", "data:image/png;base64,{base64blob}", "fingerprint {fingerprint}", "-{int}, +{int}, {int}-{int}", "2019-2020, pp. {pages}", "x = {int} / {int} - {int}",
    "kubectl delete pod {pod}", "Python 3.12.{int} on linux", "version 10.0.19041.1", "v{version4}", "section {section}.1", "see clause {version4} of the manual, section {version4}", "eyJhbGciOi... (truncated)", "cursor: eyJwYWdlIjoyfQ==", "temperature {smallfloat}, {smallfloat} at {time}",
    "max_tokens: 4096, total_tokens: {int}", "the price is {price}", "{slug}-{hex12}", "resolution 1920x1080 @ 60 Hz", "job_{alnum24} queued", "{iso} DEBUG cache miss key={hex32}",
    "latency p50={smallfloat} p99={smallfloat}", "def test_{handle}(self): assert self.x @ self.w", "Jira {ticket}, PR #{int}", "GTIN {ean}", "chapter {int}:{int}-{int}",
    "if (token == null) { return 401; }", "secret_name: prod/db/main", "const key = event.key;", "passport control is on the left", "1st {int}, 2nd {int}, 3rd {int}",
    "12:34:56:78 frame count", "dims {smallfloat}, {smallfloat}, {smallfloat} mm", "mailing list archive no. {int}", "phone case SM-G998B, 6.8\"", "HTTP 429 after {int} calls",
    "PLN {int},00", "isin US0378331005", "VIN WVWZZZ1JZXW000001", "ISO 8601, RFC 3339, DIN EN 60529", "A4 210-297, B5 176-250",
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Marks for values


_OPEN, _CLOSE, _BARE, _BASE = "\ue000", "\ue001", "\ue002", 0xE100
_KIND_AT = {kind: at for at, kind in enumerate(KINDS)}
_MARKS = re.compile(f"[{_OPEN}{_CLOSE}]")


@dataclass(frozen=True, slots=True)
class _Number:
    """A JSON number that is a value."""

    kind: str
    number: int | float


@dataclass(frozen=True, slots=True)
class _Made:
    """A value of a kind, and whether its format is specific enough without a word."""

    text: str
    telling: bool = True
    variant: str = ""
    before: str = ""
    after: str = ""


def _mark(kind: str, text: str) -> str:
    return f"{_OPEN}{chr(_BASE + _KIND_AT[kind])}{text}{_CLOSE}"


def _strip(marked: str, path: tuple[str | int, ...]) -> tuple[str, list[Value]]:
    """Return the leaf without its marks, and the marked values."""
    out, values, length, at, kind = [], [], 0, 0, ""
    for found in _MARKS.finditer(marked):
        piece = marked[at : found.start()]
        if found.group() == _OPEN:
            kind = KINDS[ord(marked[found.end()]) - _BASE]
        else:
            values.append(Value(kind, piece, path, length, length + len(piece)))
        out.append(piece)
        length += len(piece)
        at = found.end() + (found.group() == _OPEN)
    out.append(marked[at:])
    return "".join(out), values


def _finish(node: Any, path: tuple[str | int, ...], values: list[Value]) -> Any:
    if isinstance(node, str):
        text, found = _strip(node, path)
        values.extend(found)
        return text
    if isinstance(node, _Number):
        text = str(node.number)
        values.append(Value(node.kind, text, path, 0, len(text)))
        return node.number
    if isinstance(node, dict):
        return {key: _finish(value, (*path, key), values) for key, value in node.items()}
    if isinstance(node, list):
        return [_finish(value, (*path, at), values) for at, value in enumerate(node)]
    return node


def _dumps(node: Any, indent: int | None = None) -> str:
    """Return JSON inside a text, with its marks."""

    def bare(value: Any) -> Any:
        if isinstance(value, _Number):
            return f"{_BARE}{_mark(value.kind, str(value.number))}{_BARE}"
        if isinstance(value, dict):
            return {key: bare(inner) for key, inner in value.items()}
        return [bare(inner) for inner in value] if isinstance(value, list) else value

    text = json.dumps(bare(node), ensure_ascii=False, indent=indent)
    return text.replace(f'"{_BARE}', "").replace(f'{_BARE}"', "")


def _passes_luhn(digits: str) -> bool:
    return luhn_digit(digits[:-1]) == digits[-1]


# ---------------------------------------------------------------------------------------------------------------------
# Values

_COMMON = {
    "email": 5, "phone": 7, "credit_card": 3.5, "iban": 3, "ip": 3.5, "mac": 2, "url_credentials": 2, "date_of_birth": 3.5,
    "coordinates": 2, "crypto_address": 2, "cloud_key": 2, "vendor_token": 3.5, "private_key": 1.2, "jwt": 1.6, "password": 3.5,
}  # fmt: skip
_SECRET = ("url_credentials", "crypto_address", "cloud_key", "vendor_token", "private_key", "jwt")
_TEMPLATE = re.compile(r"\{(\w+)\}")
_HUMAN = (
    "Sunshine", "Dragon", "Tr0ub4dor", "Summer", "Winter", "Passw0rd", "Monkey",
    "Chelsea", "Kitten", "Mustang", "Qwerty", "Letmein", "Sommer", "Soleil",
)  # fmt: skip
_ITALIAN = ("Torino", "Bologna", "Lecce", "Reggio Emilia", "Sesto San Giovanni", "L’Aquila", "Porto Mantovano", "Bari")
_SLUGS = ("how-to-rank", "summer-sale", "top-ten-lakes", "release-notes", "vector-search", "winter-tyres", "user-guide")
_LATIN = (
    "anna", "lukas", "maria", "tom", "sofia", "jonas", "emma", "pedro",
    "katarzyna", "yuki", "minjun", "wei", "priya", "olli", "ingrid", "chiara",
)  # fmt: skip
_FAMILY = (
    "berg", "novak", "garcia", "rossi", "tanaka", "kim", "zhang", "sharma",
    "virtanen", "hansen", "dekker", "silva", "martin", "keller", "lind", "obrien",
)  # fmt: skip


@dataclass(slots=True)
class _Scribe:
    """Writes documents in one locale."""

    rng: random.Random
    fake: Faker
    locale: str
    language: Language = field(init=False)

    def __post_init__(self) -> None:
        self.language = LANGUAGES[self.locale]

    # -- small things

    def pick[T](self, options: Sequence[T]) -> T:
        return options[int(self.rng.random() * len(options))]

    def often(self, chance: float) -> bool:
        return self.rng.random() < chance

    def chars(self, alphabet: str, length: int) -> str:
        return "".join(self.rng.choices(alphabet, k=length))

    def digits(self, length: int) -> str:
        return self.chars(string.digits, length)

    def shape(self, pattern: str) -> str:
        """Fill a pattern: '#' a digit, '%' 1 to 9, '!' 2 to 9, '@' a capital, '*' either; '＃' full width."""
        alphabets = {"#": string.digits, "%": "123456789", "!": "23456789", "@": string.ascii_uppercase,
                     "*": string.ascii_uppercase + string.digits, "＃": "０１２３４５６７８９"}  # fmt: skip
        return "".join(self.pick(alphabets[char]) if char in alphabets else char for char in pattern)

    def day(self, first: int, last: int) -> tuple[int, int, int]:
        return self.rng.randint(first, last), self.rng.randint(1, 12), self.rng.randint(1, 28)

    def date(self, day: tuple[int, int, int]) -> str:
        year, month, of_month = day
        pattern = self.pick(self.language.dates)
        if pattern == "ERA":
            era, start = ("令和", 2018) if year >= 2020 else ("平成", 1988) if year > 1989 else ("昭和", 1925)
            return f"{era}{year - start}年{month}月{of_month}日"
        parts = {"YYYY": f"{year}", "YY": f"{year % 100:02d}", "MM": f"{month:02d}", "DD": f"{of_month:02d}",
                 "MON": self.language.months.split()[month - 1], "M": f"{month}", "D": f"{of_month}"}  # fmt: skip
        return re.sub(r"YYYY|YY|MON|MM|DD|M|D", lambda found: parts[found.group()], pattern)

    def name(self) -> str:
        return str(self.fake.name())

    def city(self) -> str:
        """Faker draws Italian numbers from a set, in another order in each process."""
        return self.pick(_ITALIAN) if self.locale == "it_IT" else str(self.fake.city())

    def fill(self, template: str, /, **given: str) -> str:
        def one(found: re.Match[str]) -> str:
            name = found.group(1)
            if name in given:
                return given[name]
            if name in _PLAIN:
                return _PLAIN[name](self)
            return self.show(name, self.telling(name)) if name in _KIND_AT else found.group()

        return _TEMPLATE.sub(one, template)

    # -- values

    def make(self, kind: str) -> _Made:
        return _MAKERS[kind](self)

    def telling(self, kind: str) -> _Made:
        while not (made := self.make(kind)).telling:
            pass
        return made

    def like(self, kind: str, variant: str) -> str:
        """Return another value with the same words."""
        while (made := self.make(kind)).variant != variant:
            pass
        return self.show(kind, made)

    def show(self, kind: str, made: _Made) -> str:
        return f"{made.before}{_mark(kind, made.text)}{made.after}"

    def label(self, kind: str, made: _Made) -> str:
        if kind in IDS:
            words = IDS[kind]
            return self.pick(words.local if self.locale in words.homes else words.abroad)
        if kind in self.language.words:
            return self.pick(self.language.words[kind])
        return self.pick(WORDS.get(f"{kind}:{made.variant}") or WORDS[kind])

    def key(self, kind: str, made: _Made) -> str:
        if kind in IDS:
            return self.pick(IDS[kind].keys)
        local = self.language.keys.get(kind)
        if local and self.often(0.35):
            return self.pick(local)
        return self.pick(KEYS.get(f"{kind}:{made.variant}") or KEYS[kind])

    # -- sentences and lines

    def sentence(self, kind: str) -> str:
        """Return one value in words of the locale, or as machines and developers write it."""
        made = self.make(kind)
        shown = self.show(kind, made)
        uses = USES.get(f"{kind}:{made.variant}") or USES.get(kind)
        if kind in _SECRET:
            return (
                self.fill(self.pick(uses), V=shown)
                if uses and self.often(0.8)
                else f"{self.label(kind, made)}: {shown}"
            )
        if made.telling and kind not in ("date_of_birth", "password") and self.often(0.25):
            return self.fill(self.pick(self.language.plain), V=self.wrap(kind, shown))
        if uses and self.often(0.6 if kind == "mac" else 0.25):
            return self.fill(self.pick(uses), V=shown)
        about = self.language.about.get(kind)
        if about and self.often(0.6):
            return self.fill(self.pick(about), V=shown)
        label = self.label(kind, made)
        template = self.pick(self.language.labelled)
        return self.fill(template.replace("{L}{V}", "{L} {V}") if label.isascii() else template, V=shown, L=label)

    def wrap(self, kind: str, shown: str) -> str:
        if kind == "private_key" or self.often(0.75):
            return shown
        return self.pick(("({})", "[{}]", '"{}"', "'{}'", "`{}`", "**{}**", "<{}>", "«{}»")).format(shown)

    def line(self, kind: str) -> tuple[str, str]:
        """Return a label and its value."""
        made = self.make(kind)
        return self.label(kind, made), self.show(kind, made)

    def negative(self) -> str:
        return self.fill(self.pick(self.language.negative if self.often(0.5) else NEGATIVE_LINES))

    def filler(self) -> str:
        return self.fill(self.pick(self.language.filler))

    def passage(self, kinds: list[str], extra: int | None = None) -> str:
        """Return sentences with the values, among others without values."""
        sentences = [self.sentence(kind) for kind in kinds]
        more = extra if extra is not None else self.rng.randint(1, 3) if kinds else self.rng.randint(2, 4)
        sentences += [self.negative() if not kinds or self.often(0.5) else self.filler() for _ in range(more)]
        self.rng.shuffle(sentences)
        lines = self.often(0.15)
        text = sentences[0] if sentences else ""
        for sentence in sentences[1:]:  # what does not end like a sentence stands on a line of its own
            text += self.language.joint if not lines and text.endswith((".", "!", "?", "。", "！", "？", "।")) else "\n"
            text += sentence
        return text

    # -- JSON fields

    def fields(self, kind: str) -> dict[str, Any]:
        made = self.make(kind)
        if kind == "coordinates":
            return self.place()
        neutral = made.telling and self.often(0.2)
        key = self.pick(NEUTRAL_KEYS) if neutral else self.key(kind, made)
        numeric = kind in ("credit_card", "phone") or kind in IDS
        if (
            numeric
            and made.text.isascii()
            and made.text.isdigit()
            and made.text[0] != "0"
            and not made.before
            and self.often(0.35)
        ):
            return {key: _Number(kind, int(made.text))}
        shown = self.show(kind, made)
        if kind in ("email", "phone", "ip") and not neutral and self.often(0.12):
            again = self.telling(kind) if self.often(0.5) else self.make(kind)
            return {f"{key}s" if key.isascii() else key: [shown, self.show(kind, again)]}
        if kind in ("email", "phone") and made.telling and self.often(0.08):
            return {"contact_points": [{"type": kind, "value": shown, "primary": True}]}
        return {key: shown}

    def place(self) -> dict[str, Any]:
        lat, lon = (round(base + self.rng.uniform(-1, 1), self.rng.randint(4, 7)) for base in self.language.place)
        spelled = self.often(0.15)
        north, east = (_mark("coordinates", str(n)) if spelled else _Number("coordinates", n) for n in (lat, lon))
        keys = self.pick((("lat", "lon"), ("lat", "lng"), ("latitude", "longitude"), ("Latitude", "Longitude")))
        pair = {keys[0]: north, keys[1]: east}
        return pair if self.often(0.3) else {self.pick(("location", "geo", "position", "coordinates", "gps")): pair}

    def harmless(self) -> dict[str, Any]:
        key, make = self.pick(_NEGATIVE_FIELDS)
        return {key: make(self)}

    def record(self, kinds: list[str], extra: int = 3) -> dict[str, Any]:
        """Return a flat record of the values, among harmless fields."""
        parts: list[dict[str, Any]] = [self.fields(kind) for kind in kinds]
        parts += [self.harmless() for _ in range(self.rng.randint(1, extra))]
        self.rng.shuffle(parts)
        merged: dict[str, Any] = {"name": self.name()} if self.often(0.5) else {}
        for part in parts:
            for key, value in part.items():
                name, number = key, 1
                while name in merged:
                    number += 1
                    name = f"{key}_{number}"
                merged[name] = value
        return merged


def _email(s: _Scribe) -> _Made:
    first, last = s.pick(_LATIN), s.pick(_FAMILY)
    local = s.pick((
        f"{first}.{last}", f"{first[0]}{last}", f"{first}{s.digits(2)}", f"{first}_{last}", f"{last}.{first}+{s.pick(('shop', 'news', 'x1'))}",
        f"{first}-{last}", f"{first[0]}.{last}", s.fake.user_name(), f"{first}.{last}{s.digits(4)}", s.digits(9) if s.locale == "zh_CN" else first,
        f"{first.title()}.{last.title()}", f"o'{last}" if s.often(0.1) else f"{first}{last}", "info", "office",
    ))  # fmt: skip
    address = f"{local}@{s.pick(s.language.domains)}"
    if s.often(0.04):
        address = address.upper()
    elif s.often(0.05):
        address = f"{local}@{s.pick(('mx', 'mail', 'it.corp'))}.{s.pick(_FAMILY)}-{s.pick(('group', 'labs', 'consulting'))}.{s.pick(('com', 'io', 'eu', 'org', 'museum', 'co.za'))}"
    return _Made(address, before="mailto:" if s.often(0.03) else "")


def _phone(s: _Scribe) -> _Made:
    telling, near_words = PHONES[s.locale]
    chance = s.rng.random()
    if chance < 0.4:
        pattern = s.pick(telling.split("|"))
        return _Made(
            s.shape(pattern), before="tel:" if pattern[0] == "+" and " " not in pattern and s.often(0.15) else ""
        )
    if chance < 0.75:
        return _Made(
            s.shape(s.pick(near_words.split("|"))).translate(
                _FULL_WIDTH if "０" in near_words and s.often(0.03) else {}
            ),
            telling=False,
        )
    if chance < 0.92:
        return _Made(str(s.fake.phone_number()), telling=False)
    if chance < 0.96:
        return _Made(s.shape(s.pick(PHONES[s.pick(LOCALES)][0].split("|"))), telling=False)
    return _Made(s.shape(s.pick(UNPLANNED_PHONES.split("|"))), telling=False)


_FULL_WIDTH = str.maketrans("0123456789-()", "０１２３４５６７８９－（）")


def _credit_card(s: _Scribe) -> _Made:
    issuer, prefixes, length, groups = s.pick(CARDS)
    prefix = s.pick(prefixes)
    body = prefix + s.digits(length - 1 - len(prefix))
    number = body + luhn_digit(body)
    telling = issuer != "maestro" and length != 19
    if s.often(0.4):
        return _Made(number, telling)
    parts, at = [], 0
    for group in groups:
        parts.append(number[at : at + group])
        at += group
    return _Made(s.pick((" ", " ", "-")).join(parts), telling)


_IBAN_COUNTRIES = tuple(IBANS)


def _bban(s: _Scribe) -> tuple[str, str]:
    country = "FR" if s.often(0.05) else s.pick(_IBAN_COUNTRIES)  # French ones may be digits throughout
    parts = IBANS[country][1].split()
    bban = "".join(s.shape(part[-1] * int(part[:-1])) if part[:-1] else part for part in parts)
    return country, re.sub(r"[A-Z]", "0", bban) if country == "FR" and s.often(0.5) else bban


def _iban(s: _Scribe) -> _Made:
    country, bban = _bban(s)
    text = f"{country}{iban_digits(country, bban)}{bban}"
    if s.often(0.5):
        text = " ".join(text[at : at + 4] for at in range(0, len(text), 4))
    return _Made(text.lower() if s.often(0.06) else text)


def _ip(s: _Scribe) -> _Made:
    if s.often(0.65):
        number = s.rng.randint
        first = s.pick(
            (
                "10",
                "192.168",
                f"172.{number(16, 31)}",
                *(f"{number(11, 99)}.{number(1, 254)}" for _ in range(5)),
                f"{number(193, 222)}.{number(1, 254)}",
            )
        )
        text = first
        while text.count(".") < 3:
            text += f".{number(1, 254)}"
        return _Made(text, after=s.pick(("", "", "", "", f":{number(1024, 65000)}", "/24", "/32", ":443")))

    def group() -> str:
        return f"{s.rng.randint(1, 0xFFFF):x}"

    chance = s.rng.random()
    if chance < 0.35:
        text = ":".join((s.pick(("2001", "2a00", "2600", "2003", "fd12")), *(group() for _ in range(7))))
    elif chance < 0.75:
        head = [s.pick(("2001", "2a02", "2606", "2404")), *(group() for _ in range(s.rng.randint(1, 3)))]
        tail = ":".join(group() for _ in range(s.rng.randint(1, 3)))
        text = (
            f"fe80::{group()}:{s.chars(_HEX, 2)}ff:fe{s.chars(_HEX, 2)}:{group()}"
            if s.often(0.2)
            else f"{':'.join(head)}::{tail}"
        )
    elif chance < 0.88:
        text = f"::ffff:{s.rng.randint(11, 99)}.{s.rng.randint(1, 254)}.{s.rng.randint(1, 254)}.{s.rng.randint(1, 254)}"
    else:
        text = ":".join((s.pick(("2001", "2A00")), "0DB8", *(f"{s.rng.randint(0, 0xFFFF):04X}" for _ in range(6))))
    if s.often(0.2):
        return _Made(text, before="[", after=f"]:{s.rng.randint(1024, 65000)}")
    return _Made(text, after="/64" if s.often(0.1) and "ffff:" not in text else "")


def _mac(s: _Scribe) -> _Made:
    octets = [s.chars(_HEX, 2) for _ in range(6)]
    if s.often(0.15):
        whole = "".join(octets)
        return _Made(f"{whole[:4]}.{whole[4:8]}.{whole[8:]}")
    text = s.pick((":", ":", "-")).join(octets)
    return _Made(text.upper() if s.often(0.4) else text)


def _random_password(s: _Scribe) -> str:
    return s.pick((
        s.chars(_HEX, 32), s.chars(_ALNUM, 40), s.chars(_ALNUM, s.rng.randint(16, 32)), base64.b64encode(s.rng.randbytes(32)).decode(),
        s.chars(_URL, 43).replace("--", "x-") + "q", s.chars(_ALNUM + "!#$%^*+=?", 15) + s.pick(_ALNUM),
    ))  # fmt: skip


def _human_password(s: _Scribe) -> str:
    word, other = s.pick(_HUMAN), s.pick(_SLUGS).split("-")[0]
    return s.pick((
        f"{word}&{s.digits(1)}", f"{word}{s.rng.randint(1960, 2024)}", f"{word}{s.digits(2)}!", f"{word.lower()}_{s.digits(3)}", f"{s.digits(2)}{word}#{s.digits(2)}",
        f"correct-horse-{other}-{s.digits(2)}", f"{word}@{s.digits(3)}", f"{other.title()}{word}{s.digits(1)}$", f"!{word}{other}{s.digits(2)}", f"P@{word}{s.digits(2)}",
    ))  # fmt: skip


def _password(s: _Scribe) -> _Made:
    if s.often(0.5):
        return _Made(_human_password(s), False, "human")
    return _Made(_random_password(s), False, "random")


def _url_credentials(s: _Scribe) -> _Made:
    user = s.pick(("app", "admin", "svc_search", "deploy", "root", s.pick(_LATIN), "reader", "postgres"))
    secret = s.pick(
        (
            s.chars(_ALNUM, s.rng.randint(10, 24)),
            f"{s.pick(_HUMAN)}{s.digits(3)}",
            f"{s.pick(_HUMAN)}%40{s.digits(2)}",
            f"{s.pick(_HUMAN)}!{s.digits(2)}",
        )
    )
    scheme, tail = s.pick((
        ("postgres://", ":5432/app"), ("postgresql://", "/main?sslmode=require"), ("mysql://", ":3306/shop"), ("mongodb+srv://", "/test?retryWrites=true"),
        ("redis://", ":6379/0"), ("amqp://", ":5672/vhost"), ("https://", "/org/repo.git"), ("ftp://", "/incoming/"), ("http://", ":3128"),
        ("sftp://", ":22/home"), ("smtp://", ":587"), ("postgresql+asyncpg://", ":5432/app"), ("https://", "/api/v1"), ("clickhouse://", ":9000/logs"),
    ))  # fmt: skip
    return _Made(
        f"{user}:{secret}",
        before=scheme,
        after=f"@{s.pick(('db', 'cache', 'git', 'proxy', 'mq'))}.{_PLAIN['host'](s)}{tail}",
    )


def _date_of_birth(s: _Scribe) -> _Made:
    return _Made(s.date(s.day(1930, 2012)), telling=False)


def _coordinates(s: _Scribe) -> _Made:
    lat, lon = (base + s.rng.uniform(-1, 1) for base in s.language.place)
    if s.often(0.25):
        parts = []
        for value, sides in ((lat, "NS"), (lon, "EW")):
            degrees, minutes = divmod(abs(value) * 60, 60)
            whole, seconds = divmod(minutes * 60, 60)
            parts.append((int(degrees), int(whole), seconds, sides[value < 0]))
        spell = s.pick(("{0}°{1:02d}'{2:04.1f}\"{3}", "{0}° {1:02d}′ {2:.0f}″ {3}", "{0}°{1:02d}′{2:04.1f}″{3}"))
        return _Made(s.pick((" ", ", ")).join(spell.format(d, m, min(sec, 59.4), side) for d, m, sec, side in parts))
    places = s.rng.randint(4, 7)
    spell = s.pick(("{0:.{p}f}, {1:.{p}f}", "{0:.{p}f},{1:.{p}f}", "{0:.{p}f} {1:.{p}f}"))
    if lat > 0 and lon > 0 and s.often(0.15):
        spell = "{0:.{p}f}° N, {1:.{p}f}° E"
    return _Made(spell.format(lat, lon, p=places), telling=False)


def _crypto_address(s: _Scribe) -> _Made:
    chance = s.rng.random()
    if chance < 0.25:
        return _Made(base58check(b"\x00" + s.rng.randbytes(20)), variant="btc")
    if chance < 0.35:
        return _Made(base58check(b"\x05" + s.rng.randbytes(20)), variant="btc")
    if chance < 0.6:
        version, size = s.pick(((0, 20), (0, 20), (0, 32), (1, 32)))
        return _Made(segwit(version, s.rng.randbytes(size)), variant="btc")
    digits = s.chars(_HEX, 40)
    return _Made(eip55(digits) if s.often(0.5) else f"0x{digits}", variant="eth")


def _cloud_key(s: _Scribe) -> _Made:
    chance = s.rng.random()
    if chance < 0.3:
        return _Made(
            s.pick(("AKIA", "AKIA", "ASIA")) + s.chars(string.ascii_uppercase + "234567", 16), variant="aws_id"
        )
    if chance < 0.55:
        return _Made(s.chars(_ALNUM + "+/", 39) + s.pick(_ALNUM), False, "aws_secret")
    if chance < 0.8:
        return _Made("AIza" + s.chars(_URL, 34) + s.pick(_ALNUM), variant="gcp")
    key = base64.b64encode(s.rng.randbytes(64)).decode()
    before = f"DefaultEndpointsProtocol=https;AccountName={s.pick(_FAMILY)}data;AccountKey="
    return _Made(key, True, "azure", before, ";EndpointSuffix=core.windows.net" if s.often(0.8) else "")


def _vendor_token(s: _Scribe) -> _Made:
    prefix, parts = s.pick(TOKENS)
    body = "".join(part if isinstance(part, str) else s.chars(*part) for part in parts)
    return _Made(prefix + (body[:-1] + "k" if body[-1] in "-_" else body))


def _private_key(s: _Scribe) -> _Made:
    label, head, size = s.pick((
        ("RSA ", "MIIEpAIBAAKCAQEA", 1190), ("EC ", "MHcCAQEEI", 121), ("OPENSSH ", "b3BlbnNzaC1rZXktdjEAAAAABG5vbmU", 400), ("", "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC", 1218),
        ("", "MC4CAQAwBQYDK2VwBCIEI", 48), ("ENCRYPTED ", "MIIFHDBOBgkqhkiG9w0BBQ0wQTApBgkq", 600), ("DSA ", "MIIBugIBAAKBgQD", 450),
    ))  # fmt: skip
    body = head + base64.b64encode(s.rng.randbytes(size)).decode()[len(head) :]
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    title = f"{label}PRIVATE KEY"
    return _Made("\n".join((f"-----BEGIN {title}-----", *lines, f"-----END {title}-----")), variant="pem")


def _b64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _jwt(s: _Scribe) -> _Made:
    algorithm, size = s.pick((("HS256", 32), ("RS256", 256), ("ES256", 64), ("EdDSA", 64), ("HS512", 64)))
    header: dict[str, Any] = {"alg": algorithm, "typ": "JWT"}
    if s.often(0.3):
        header["kid"] = s.chars(_HEX, 8)
    if s.often(0.2):
        header = {"typ": header.pop("typ"), **header}
    now = s.rng.randint(1_600_000_000, 1_760_000_000)
    claims = {
        "sub": s.digits(10),
        "iss": f"https://{_PLAIN['host'](s)}/",
        "iat": now,
        "exp": now + 3600,
        "scope": "read write",
    }
    parts = (json.dumps(part, separators=(",", ":")).encode() for part in (header, claims))
    return _Made(".".join((*(_b64url(part) for part in parts), _b64url(s.rng.randbytes(size)))))


def _issued(make: Callable[[], str | None]) -> str:
    while (made := make()) is None:
        pass
    return made


def _us_ssn(s: _Scribe) -> _Made:
    area = s.pick((s.rng.randint(1, 665), s.rng.randint(667, 899)))
    parts = f"{area:03d}", f"{s.rng.randint(1, 99):02d}", f"{s.rng.randint(1, 9999):04d}"
    separator = s.pick(("-", "-", "-", " ", ""))
    return _Made(separator.join(parts), separator == "-")


def _ca_sin(s: _Scribe) -> _Made:
    body = s.pick("12345679") + s.digits(7)
    whole = body + luhn_digit(body)
    return _Made(s.pick((" ", " ", "-", "")).join((whole[:3], whole[3:6], whole[6:])), False)


def _gb_nhs(s: _Scribe) -> _Made:
    def one() -> str | None:
        body = s.pick("4679") + s.digits(8)
        digit = nhs_digit(body)
        return None if digit is None else body + digit

    whole = _issued(one)
    return _Made(s.pick((" ", " ", "-", "")).join((whole[:3], whole[3:6], whole[6:])), False)


def _za_id(s: _Scribe) -> _Made:
    year, month, day = s.day(1940, 2005)
    body = f"{year % 100:02d}{month:02d}{day:02d}{s.digits(4)}{s.pick('0001')}8"
    whole = body + luhn_digit(body)
    return _Made(f"{whole[:6]} {whole[6:10]} {whole[10:]}" if s.often(0.25) else whole, False)


def _de_steuer_id(s: _Scribe) -> _Made:
    def one() -> str | None:
        drawn = s.rng.sample(string.digits, 9)
        drawn.append(s.pick(drawn))
        s.rng.shuffle(drawn)
        return None if drawn[0] == "0" else "".join(drawn)

    body = _issued(one)
    whole = body + steuer_id_digit(body)
    return _Made(f"{whole[:2]} {whole[2:5]} {whole[5:8]} {whole[8:]}" if s.often(0.45) else whole, False)


def _fr_nir(s: _Scribe) -> _Made:
    year, month, _ = s.day(1930, 2008)
    department = s.pick(("2A", "2B")) if s.often(0.08) else f"{s.pick([n for n in range(1, 96) if n != 20]):02d}"
    parts = [
        s.pick("12"),
        f"{year % 100:02d}",
        f"{month:02d}",
        department,
        f"{s.rng.randint(1, 700):03d}",
        f"{s.rng.randint(1, 900):03d}",
    ]
    parts.append(nir_key("".join(parts)))
    if s.often(0.2):
        return _Made("".join(parts[:-1]) + " " + parts[-1], False)
    return _Made(" ".join(parts)) if s.often(0.55) else _Made("".join(parts), False)


def _es_dni(s: _Scribe) -> _Made:
    if s.often(0.3):
        first = s.rng.randint(0, 2)
        serial = s.digits(7)
        parts = "XYZ"[first], serial, dni_letter(int(f"{first}{serial}"))
        return _Made(s.pick(("", "", "-")).join(parts))
    number = s.rng.randint(1_000_000, 79_999_999)
    letter = dni_letter(number)
    dotted = f"{number:010,}".replace(",", ".")
    return _Made(
        s.pick(
            (
                f"{number:08d}{letter}",
                f"{number:08d}{letter}",
                f"{number:08d}-{letter}",
                f"{dotted}-{letter}",
                f"{number:08d} {letter}",
            )
        )
    )


def _it_codice_fiscale(s: _Scribe) -> _Made:
    year, month, day = s.day(1930, 2012)
    consonants = "BCDFGLMNPRSTVZ"
    born = day + (40 if s.often(0.5) else 0)
    body = (
        s.chars(consonants, 3) + s.chars(consonants, 2) + s.pick("AEIOBCDFG") + f"{year % 100:02d}" + "ABCDEHLMPRST"[month - 1] + f"{born:02d}"
        + s.pick("ABCDEFGHILMZ") + f"{s.rng.randint(1, 999):03d}"
    )  # fmt: skip
    whole = body + fiscal_letter(body)
    if s.often(0.1):
        return _Made(whole.lower())
    return _Made(f"{whole[:3]} {whole[3:6]} {whole[6:11]} {whole[11:]}" if s.often(0.12) else whole)


def _nl_bsn(s: _Scribe) -> _Made:
    def one() -> str | None:
        body = s.pick("123456789") + s.digits(7) if s.often(0.9) else "0" + s.pick("123456789") + s.digits(6)
        digit = bsn_digit(body)
        return None if digit is None else body + digit

    whole = _issued(one)
    return _Made(
        s.pick(
            (
                whole,
                whole,
                whole,
                f"{whole[:4]}.{whole[4:6]}.{whole[6:]}",
                f"{whole[:3]} {whole[3:6]} {whole[6:]}",
                f"{whole[:4]} {whole[4:6]} {whole[6:]}",
            )
        ),
        False,
    )


def _pl_pesel(s: _Scribe) -> _Made:
    year, month, day = s.day(1930, 2012)
    body = f"{year % 100:02d}{month + (20 if year >= 2000 else 0):02d}{day:02d}{s.digits(4)}"
    return _Made(body + pesel_digit(body), False)


def _br_cpf(s: _Scribe) -> _Made:
    body = s.digits(9)
    whole = body + cpf_digits(body)
    if s.often(0.6):
        return _Made(f"{whole[:3]}.{whole[3:6]}.{whole[6:9]}-{whole[9:]}")
    return _Made(whole if s.often(0.8) else f"{whole[:9]}-{whole[9:]}", False)


def _se_personnummer(s: _Scribe) -> _Made:
    year, month, day = s.day(1932, 2012)
    body = f"{year % 100:02d}{month:02d}{day:02d}{s.rng.randint(1, 999):03d}"
    serial = body[6:] + luhn_digit(body)
    born = body[:6] if s.often(0.5) else f"{year}{body[2:6]}"
    return _Made(f"{born}-{serial}") if s.often(0.7) else _Made(born + serial, False)


def _fi_hetu(s: _Scribe) -> _Made:
    year, month, day = s.day(1930, 2012)
    body = f"{day:02d}{month:02d}{year % 100:02d}"
    serial = f"{s.rng.randint(2, 899):03d}"
    sign = "-" if year < 2000 else "A"
    if s.often(0.08):
        sign = s.pick("YXWVU" if year < 2000 else "BCDEF")
    return _Made(f"{body}{sign}{serial}{hetu_char(body + serial)}")


def _no_fodselsnummer(s: _Scribe) -> _Made:
    def one() -> str | None:
        year, month, day = s.day(1930, 2012)
        serial = s.rng.randint(0, 499) if year < 2000 else s.rng.randint(500, 999)
        body = f"{day:02d}{month:02d}{year % 100:02d}{serial:03d}"
        digits = fodselsnummer_digits(body)
        return None if digits is None else body + digits

    whole = _issued(one)
    return _Made(f"{whole[:6]} {whole[6:]}" if s.often(0.5) else whole, False)


def _kr_rrn(s: _Scribe) -> _Made:
    year, month, day = s.day(1930, 2012)
    body = f"{year % 100:02d}{month:02d}{day:02d}{s.pick('12' if year < 2000 else '34')}{s.digits(5)}"
    whole = body + rrn_digit(body)
    return _Made(f"{whole[:6]}-{whole[6:]}") if s.often(0.75) else _Made(whole, False)


def _cn_resident_id(s: _Scribe) -> _Made:
    year, month, day = s.day(1940, 2012)
    region = s.pick(
        ("110101", "310104", "440305", "320102", "510107", "330106", "420111", "610113", "210202", "350203")
    )
    body = f"{region}{year}{month:02d}{day:02d}{s.rng.randint(1, 999):03d}"
    whole = body + resident_id_char(body)
    if s.often(0.1):
        return _Made(f"{whole[:6]} {whole[6:14]} {whole[14:]}")
    return _Made(whole.lower() if s.often(0.2) else whole)


def _in_aadhaar(s: _Scribe) -> _Made:
    body = s.pick("23456789") + s.digits(10)
    whole = body + verhoeff_digit(body)
    parts = whole[:4], whole[4:8], whole[8:]
    chance = s.rng.random()
    if chance < 0.5:
        return _Made(" ".join(parts))
    return _Made("-".join(parts)) if chance < 0.6 else _Made(whole, False)


_MAKERS: dict[str, Callable[[_Scribe], _Made]] = {
    "email": _email, "phone": _phone, "credit_card": _credit_card, "iban": _iban, "us_ssn": _us_ssn, "ip": _ip, "mac": _mac,
    "url_credentials": _url_credentials, "date_of_birth": _date_of_birth, "coordinates": _coordinates, "crypto_address": _crypto_address,
    "cloud_key": _cloud_key, "vendor_token": _vendor_token, "private_key": _private_key, "jwt": _jwt, "password": _password, "br_cpf": _br_cpf,
    "ca_sin": _ca_sin, "cn_resident_id": _cn_resident_id, "de_steuer_id": _de_steuer_id, "es_dni": _es_dni, "fi_hetu": _fi_hetu,
    "fr_nir": _fr_nir, "gb_nhs": _gb_nhs, "in_aadhaar": _in_aadhaar, "it_codice_fiscale": _it_codice_fiscale, "kr_rrn": _kr_rrn,
    "nl_bsn": _nl_bsn, "no_fodselsnummer": _no_fodselsnummer, "pl_pesel": _pl_pesel, "se_personnummer": _se_personnummer, "za_id": _za_id,
}  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# What must be left alone


def _between(low: int, high: int) -> Callable[[_Scribe], str]:
    return lambda s: str(s.rng.randint(low, high))


def _hex(length: int) -> Callable[[_Scribe], str]:
    return lambda s: s.chars(_HEX, length)


def _isbn13(s: _Scribe) -> str:
    body = "978" + s.digits(9)
    whole = body + _ean_digit(body)
    return f"{whole[:3]}-{whole[3]}-{whole[4:8]}-{whole[8:12]}-{whole[12]}" if s.often(0.5) else whole


def _isbn10(s: _Scribe) -> str:
    body = s.digits(9)
    check = -weighted(body, (10, 9, 8, 7, 6, 5, 4, 3, 2)) % 11
    return body + ("X" if check == 10 else str(check))


def _ean_digit(body: str) -> str:
    return str(-weighted(body, (1, 3) * 6) % 10)


def _ean(s: _Scribe) -> str:
    body = s.pick(("400", "590", "731", "871", "880", "490")) + s.digits(9)
    return body + _ean_digit(body)


def _price(s: _Scribe) -> str:
    return s.shape(s.language.price.replace("#", "%", 1))


def _bad_luhn(s: _Scribe) -> str:
    digits = s.pick("23456789") + s.digits(15)
    if _passes_luhn(digits):
        digits = digits[:-1] + str((int(digits[-1]) + s.rng.randint(1, 9)) % 10)
    return " ".join(digits[at : at + 4] for at in range(0, 16, 4)) if s.often(0.4) else digits


def _bad_iban(s: _Scribe) -> str:
    country, bban = _bban(s)
    right = int(iban_digits(country, bban))
    text = f"{country}{(right + s.rng.randint(1, 90)) % 97 + 2:02d}{bban}"
    if text[2:4] == f"{right:02d}":
        text = f"{country}{(right - 1) % 97 + 2:02d}{bban}"
    return text


def _bad_ssn(s: _Scribe) -> str:
    return s.pick((f"000-{s.shape('%#')}-{s.shape('%###')}", f"666-{s.shape('%#')}-{s.shape('%###')}", f"900-{s.shape('0%')}-{s.shape('%###')}",
                   f"{s.shape('!##')}-00-{s.shape('%###')}", f"{s.shape('!##')}-{s.shape('%#')}-0000"))  # fmt: skip


def _float16(s: _Scribe) -> str:
    return f"0.{s.digits(15)}{s.pick('123456789')}"


def _moment(s: _Scribe) -> str:
    year, month, day = s.day(2015, 2025)
    return f"{year}-{month:02d}-{day:02d}T{_clock(s)}{s.pick(('Z', '+00:00', '.' + s.digits(3) + 'Z', '+02:00'))}"


def _clock(s: _Scribe) -> str:
    return f"{s.rng.randint(0, 23):02d}:{s.rng.randint(0, 59):02d}:{s.rng.randint(0, 59):02d}"


def _day(s: _Scribe, template: str = "{}{:02d}{:02d}") -> str:
    return template.format(*s.day(2015, 2025))


def _imei(s: _Scribe) -> str:
    body = "35" + s.digits(12)
    return body + luhn_digit(body)


def _pages(s: _Scribe) -> str:
    first = s.rng.randint(1, 1800)
    return f"{first}-{first + s.rng.randint(1, 60)}"


def _years(s: _Scribe) -> str:
    first = s.rng.randint(1890, 2018)
    return f"{first}{s.pick(('-', '–'))}{first + s.rng.randint(1, 12)}"


_PLAIN: dict[str, Callable[[_Scribe], str]] = {
    "name": lambda s: s.name(),
    "latin": lambda s: f"{s.pick(_LATIN).title()} {s.pick(_FAMILY).title()}",
    "handle": lambda s: f"{s.pick(_LATIN)}_{s.pick(_FAMILY)}",
    "company": lambda s: str(s.fake.company()),
    "city": lambda s: s.city(),
    "address": lambda s: f"{s.fake.street_address()}, {s.city()}" if s.locale == "it_IT" else str(s.fake.address()).replace("\n", ", "),
    "host": lambda s: f"{s.pick(_FAMILY)}-{s.pick(('search', 'cloud', 'data', 'apps'))}.{s.pick(('com', 'io', 'net', 'dev', 'internal'))}",
    "path": lambda s: s.pick(("/v1/rerank", "/v2/search?q=lamp", "/index.html", "/api/items/42", "/healthz", "/v1/chat/completions")),
    "clf": lambda s: f"{s.rng.randint(1, 28):02d}/{s.pick(('Jan', 'Mar', 'Jul', 'Oct'))}/2024:{_clock(s)} +0000",
    "order": lambda s: s.pick((s.shape("%#########"), s.shape("ORD-%#####"), s.shape("A%######"), "#" + s.shape("%####-%###"), s.shape("PO%#######"), s.shape("%#######"))),
    "invoice": lambda s: s.pick((f"{s.rng.randint(2018, 2025)}-{s.digits(5)}", s.shape("INV-%######"), s.shape("RE%########"), f"{s.rng.randint(2018, 2025)}/{s.digits(4)}")),
    "ticket": lambda s: s.pick(("#" + s.shape("%#####"), s.shape("CASE-%####"), s.shape("SUP-%#####"), s.shape("INC00%######"))),
    "tracking": lambda s: s.pick((s.shape("JJD0003%###############"), s.shape("003404%#############"), s.shape("1Z@@@##%########"), s.shape("RR%########") + "SE")),
    "amazon": lambda s: s.shape("30%-%######-%######"),
    "ups": lambda s: s.shape("@@@%###0%#######"),
    "date": lambda s: s.date(s.day(2005, 2026)),
    "date_path": lambda s: _day(s, "{}/{:02d}/{:02d}"),
    "date_compact": _day,
    "time": _clock,
    "time_compact": lambda s: _clock(s).replace(":", ""),
    "iso": _moment,
    "epoch": _between(1_500_000_000, 1_790_000_000),
    "epoch_ms": _between(1_500_000_000_000, 1_790_000_000_000),
    "price": _price,
    "version": lambda s: s.pick((s.shape("%.#.%"), s.shape("%#.%.#-rc%"), s.shape("%.#.#.%###"), s.shape("2024.%.#"), "10.0.19041.1", s.shape("%.%.%.%"))),
    "version4": lambda s: s.shape("%.%.%.%"),
    "semver": lambda s: s.shape("%#.%.%#"),
    "buildno": lambda s: s.shape("%.%.0%##.%##"),
    "chrome": lambda s: f"{s.rng.randint(100, 130)}.0.{s.rng.randint(4000, 6900)}.{s.rng.randint(20, 240)}",
    "pages": _pages,
    "years": _years,
    "decade": lambda s: s.pick(("1950", "1960", "1970", "1980", "1990")),
    "isbn": _isbn13,
    "isbn10": _isbn10,
    "ean": _ean,
    "imei": _imei,
    "serial": lambda s: s.shape("@@%####@##%"),
    "meter": lambda s: s.shape("1@@@00%#######"),
    "part": lambda s: s.pick((s.shape("@@-%###-##"), s.shape("%###.%##.##"), s.shape("###-%#-%####"), s.shape("%#-%###-@"), s.shape("@%####@@/#"))),
    "count": _between(2, 9800),
    "int": _between(2, 990),
    "float": lambda s: f"{s.rng.random():.4f}",
    "smallfloat": lambda s: f"{s.rng.uniform(1, 99):.{s.rng.randint(1, 2)}f}",
    "float16": _float16,
    "vector": lambda s: ", ".join(s.pick(("", "-")) + _float16(s)[: s.rng.randint(9, 18)] for _ in range(5)),
    "percent": lambda s: s.shape("%#.# %"),
    "sport": lambda s: f"{s.rng.randint(0, 6)}:{s.rng.randint(0, 6)}",
    "section": lambda s: s.shape("%.%"),
    "uuid": lambda s: str(uuid.UUID(bytes=s.rng.randbytes(16), version=4)),
    "md5": _hex(32),
    "hex32": _hex(32),
    "hex16": _hex(16),
    "hex12": _hex(12),
    "hex6": _hex(6),
    "hex3": _hex(3),
    "sha1": _hex(40),
    "sha256": _hex(64),
    "fingerprint": lambda s: ":".join(s.chars("0123456789ABCDEF", 2) for _ in range(20)),
    "base64blob": lambda s: base64.b64encode(b"\x89PNG\r\n\x1a\n" + s.rng.randbytes(s.rng.randint(40, 120))).decode(),
    "base58_44": lambda s: s.chars(_BASE58, 44),
    "alnum29": lambda s: s.chars(_ALNUM, 29),
    "alnum24": lambda s: s.chars(_ALNUM, 24),
    "reqid": lambda s: f"req_{s.chars(_HEX, 24)}",
    "pod": lambda s: f"{s.pick(('search', 'rerank', 'gateway', 'coredns'))}-{s.chars('bcdfghjklmnpqrstvwxz2456789', 9)}-{s.chars('bcdfghjklmnpqrstvwxz2456789', 5)}",
    "bucket": lambda s: f"{s.pick(_FAMILY)}-logs-{s.pick(('prod', 'eu-west-1', 'dev'))}",
    "slug": lambda s: s.pick(_SLUGS),
    "doi": lambda s: s.pick((s.shape("1038/s41586-02%-%####-#"), s.shape("1145/%######.%######"), s.shape("1016/j.cell.202%.##.0##"))),
    "arxiv": lambda s: s.shape("2%0%.1####") + s.pick(("", "v1", "v2")),
    "last4": lambda s: s.digits(4),
    "xs": lambda s: "x" * 36,
    "badluhn": _bad_luhn,
    "badiban": _bad_iban,
    "badssn": _bad_ssn,
}  # fmt: skip


def _text(template: str) -> Callable[[_Scribe], Any]:
    return lambda s: s.fill(template)


_NEGATIVE_FIELDS: tuple[tuple[str, Callable[[_Scribe], Any]], ...] = (
    ("id", _text("{uuid}")), ("request_id", _text("{reqid}")), ("order_id", _text("{order}")), ("order_number", lambda s: s.rng.randint(10**7, 10**10)),
    ("created_at", _text("{iso}")), ("updated", lambda s: s.rng.randint(1_500_000_000, 1_790_000_000)), ("timestamp", lambda s: s.rng.randint(15 * 10**11, 17 * 10**11)),
    ("score", lambda s: s.rng.random()), ("relevance_score", lambda s: round(s.rng.random(), 16)), ("price", lambda s: round(s.rng.uniform(1, 999), 2)),
    ("version", _text("{version}")), ("sha256", _text("{sha256}")), ("etag", _text("{md5}")), ("commit", _text("{sha1}")), ("isbn", _text("{isbn}")), ("ean", _text("{ean}")),
    ("sku", _text("{part}")), ("serial_number", _text("{serial}")), ("invoice", _text("{invoice}")), ("tracking_number", _text("{tracking}")), ("ticket", _text("{ticket}")),
    ("embedding", lambda s: [s.rng.uniform(-1, 1) for _ in range(s.rng.randint(3, 8))]), ("sizes", lambda s: [s.rng.randint(1, 5000) for _ in range(4)]),
    ("image", _text("registry.{host}/app@sha256:{sha256}")), ("pod", _text("{pod}")), ("path", _text("s3://{bucket}/{date_path}/part-000.parquet")),
    ("url", _text("https://{host}/{slug}-{hex12}?page=2")), ("doi", _text("10.{doi}")), ("arxiv_id", _text("{arxiv}")), ("color", _text("#{hex6}")),
    ("thumbnail", _text("{base64blob}")), ("file", _text("IMG_{date_compact}_{time_compact}.jpg")), ("shipped", _text("{date}")), ("due_date", _text("{date}")),
    ("founded", _text("{date}")), ("password", lambda s: s.pick(("********", "<password>", "[REDACTED]", "", None))), ("phone", lambda s: s.pick((None, "", "n/a", "[PHONE]"))),
    ("email", lambda s: s.pick((None, "", "unknown", "<email>"))), ("email_verified", lambda s: s.often(0.5)), ("api_key", lambda s: s.pick(("YOUR_API_KEY", "${API_KEY}", "sk-...", None))),
    ("card_last4", _text("{last4}")), ("card_number", _text("**** **** **** {last4}")), ("max_tokens", lambda s: s.rng.choice([256, 1024, 4096])),
    ("total_tokens", lambda s: s.rng.randint(10, 9000)), ("tokenizer", lambda s: "cl100k_base"), ("lat_ms", lambda s: round(s.rng.uniform(1, 99), 4)),
    ("bbox", lambda s: [round(s.rng.uniform(0, 900), 2) for _ in range(4)]), ("x", lambda s: round(s.rng.uniform(0, 99), 4)), ("trace_id", _text("{hex32}")),
    ("user_agent", _text("Mozilla/5.0 (X11; Linux x86_64) Chrome/{chrome} Safari/537.36")), ("parent", lambda s: s.rng.randint(10**8, 10**9)), ("zip_file", _text("{slug}.zip")),
    ("next_page", _text("/v1/items?offset={int}&limit=50")), ("duration", _text("{time}")), ("years", _text("{years}")), ("pages", _text("{pages}")), ("isin", lambda s: "US0378331005"),
    ("password_policy", lambda s: "min12"), ("handle", _text("@{handle}")), ("snowflake", lambda s: s.rng.randint(10**17, 10**18)), ("reference", _text("{badluhn}")),
    ("count", lambda s: s.rng.randint(0, 99999)), ("ratio", lambda s: s.rng.uniform(0, 1e-5)), ("package", _text("@types/node@{semver}")), ("job", _text("job_{alnum24}")),
    ("birthday_card_sku", _text("{part}")), ("microphone", lambda s: "USB, 48000 Hz"), ("ip_rating", lambda s: "IP67"), ("mac_os", lambda s: "14.2.1"), ("dna", _text("sequence {int}-{int}")),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# Text


def _prose(s: _Scribe, kinds: list[str]) -> str:
    return s.passage(kinds)


def _ticket(s: _Scribe, kinds: list[str]) -> str:
    body = s.passage(kinds)
    return "\n".join(
        (
            s.fill(s.pick(s.language.hello)),
            "",
            body,
            "",
            s.fill(s.pick(s.language.bye)),
            s.name(),
            s.fill("{address}") if s.often(0.5) else "",
        )
    )


def _mail(s: _Scribe, kinds: list[str]) -> str:
    header = s.fill("Subject: {ticket}\nDate: {iso}\nMessage-Id: {hex16}")
    if "email" in kinds:
        header = s.fill("From: {latin} <{email}>\n") + header
        kinds = [kind for kind in kinds if kind != "email"]
    quoted = "\n".join(f"> {line}" for line in (s.filler(), s.negative()))
    return f"{header}\n\n{_ticket(s, kinds)}\n\n{quoted}"


def _chat(s: _Scribe, kinds: list[str]) -> str:
    speakers = s.name(), s.pick(("Support", "Bot", "Agent 7"))
    turns = [s.sentence(kind) for kind in kinds] + [s.filler(), s.negative()]
    s.rng.shuffle(turns)
    return "\n".join(f"[{_clock(s)[:5]}] {speakers[at % 2]}: {turn}" for at, turn in enumerate(turns))


def _log(s: _Scribe, kinds: list[str]) -> str:
    lines = [s.fill(s.pick(NEGATIVE_LINES)) for _ in range(s.rng.randint(1, 4))]
    for kind in kinds:
        made = s.make(kind)
        uses = USES.get(f"{kind}:{made.variant}") or USES.get(kind)
        shown = s.show(kind, made)
        line = s.fill(s.pick(uses), V=shown) if uses else f"validation failed: {s.key(kind, made)}={shown}"
        lines.append(
            line
            if "\n" in line or line.startswith(("{", _OPEN))
            else s.fill(s.pick(("{iso} WARN ", "{iso} [main] ERROR ", "", "level=info ts={iso} ")) + line)
        )
    s.rng.shuffle(lines)
    return "\n".join(lines)


def _cell(cell: str, separator: str) -> str:
    bare = _strip(cell, ())[0]
    return f'"{cell}"' if separator in bare and '"' not in bare else cell


def _csv(s: _Scribe, kinds: list[str]) -> str:
    separator = s.pick((";", ",", "\t"))
    columns = [(kind, s.make(kind)) for kind in kinds if kind != "private_key"]
    words = s.often(0.5)
    titles = [s.label(kind, made) if words or kind == "coordinates" else s.key(kind, made) for kind, made in columns]
    name, order, date, amount = s.language.table
    rows = [[name, *titles, order, date, amount]]
    for _ in range(s.rng.randint(1, 3)):
        values = [s.like(kind, made.variant) for kind, made in columns]
        rows.append([s.name(), *values, s.fill("{order}"), s.fill("{date}"), _price(s)])
    return "\n".join(separator.join(_cell(cell, separator) for cell in row) for row in rows)


def _list(s: _Scribe, kinds: list[str]) -> str:
    bullet, colon = s.pick(
        (
            ("- **{}**", ": "),
            ("* {}", ": "),
            ("{}", ": "),
            ("{}", ":"),
            ("{}", " = "),
            ("{}", "\t"),
            ("• {}", " – "),
            ("| {}", " | "),
        )
    )
    name, order, date, amount = s.language.table
    pairs = [s.line(kind) for kind in kinds]
    others = [
        (name, s.name()),
        (order, s.fill("{order}")),
        (date, s.fill("{date}")),
        (amount, _price(s)),
        ("ID", s.fill("{uuid}")),
        ("Version", s.fill("{version}")),
    ]
    pairs += s.rng.sample(others, s.rng.randint(1, 4))
    s.rng.shuffle(pairs)
    title = s.pick(("", "", f"## {s.name()}\n\n", f"{s.filler()}\n"))
    return title + "\n".join(f"{bullet.format(label)}{colon}{value}" for label, value in pairs)


def _table(s: _Scribe, kinds: list[str]) -> str:
    kinds = [kind for kind in kinds if kind != "private_key"][:3]
    name, order, date, _ = s.language.table
    pairs = [s.line(kind) for kind in kinds]
    header = [name, *(label for label, _ in pairs), order, date]
    row = [s.name(), *(value for _, value in pairs), s.fill("{order}"), s.fill("{date}")]
    return f"| {' | '.join(header)} |\n|{'---|' * len(header)}\n| {' | '.join(row)} |"


def _settings(s: _Scribe, kinds: list[str]) -> str:
    lines = [
        s.fill(line)
        for line in s.rng.sample(
            (
                "DEBUG=false",
                "PORT=8080",
                "IMAGE_TAG={sha1}",
                "MODEL=rerank-v3.5",
                "RELEASE={semver}",
                "API_KEY=${API_KEY}",
            ),
            2,
        )
    ]
    for kind in kinds:
        made = s.make(kind)
        shown = s.show(kind, made)
        lines.append(
            f"{s.key(kind, made)}{s.pick((': ', '=', ' = '))}{shown}"
            if kind not in ("coordinates", "private_key")
            else f"{s.label(kind, made)}: {shown}"
        )
    s.rng.shuffle(lines)
    return "\n".join(lines)


def _beside(s: _Scribe, kinds: list[str]) -> str:
    """Values one next to the other, each with its label or plain enough."""
    joint = s.pick((", ", " / ", "; ", " | ", " · ", " - "))
    return joint.join(f"{label}: {value}" for label, value in (s.line(kind) for kind in kinds)) or s.negative()


def _snippet(s: _Scribe, kinds: list[str]) -> str:
    document = s.record(kinds)
    return s.pick(("{0}\n```json\n{1}\n```", "{0} {1}", "curl -X POST https://api/v1 -d '{1}'", "{1}")).format(
        s.filler(), _dumps(document, s.pick((None, 2)))
    )


def _html(s: _Scribe, kinds: list[str]) -> str:
    items = [s.sentence(kind) for kind in kinds] + [s.negative(), s.filler()]
    s.rng.shuffle(items)
    return (
        f'<div class="card" style="color:#{s.chars(_HEX, 6)}">' + "".join(f"<p>{item}</p>" for item in items) + "</div>"
    )


_TEXTS: tuple[tuple[Callable[[_Scribe, list[str]], str], float], ...] = (
    (_prose, 8), (_ticket, 4), (_mail, 2), (_chat, 3), (_log, 4), (_csv, 1.5), (_list, 3), (_table, 1), (_settings, 1.5), (_beside, 1.5),
    (_snippet, 1.5), (_html, 1),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------
# JSON


def _parts(s: _Scribe, kinds: list[str], count: int) -> list[list[str]]:
    """The kinds dealt out over so many documents."""
    dealt: list[list[str]] = [[] for _ in range(count)]
    for kind in kinds:
        s.pick(dealt).append(kind)
    return dealt


def _rerank_response(s: _Scribe, kinds: list[str]) -> Any:
    results = [
        {
            "index": at,
            "relevance_score": s.rng.random(),
            "document": {"text": s.passage(part, 1)} if s.often(0.7) else s.record(part),
        }
        for at, part in enumerate(_parts(s, kinds, s.rng.randint(1, 4)))
    ]
    return {
        "id": s.fill("{uuid}"),
        "results": results,
        "meta": {"api_version": {"version": "2"}, "billed_units": {"search_units": 1}},
    }


def _rerank_request(s: _Scribe, kinds: list[str]) -> Any:
    documents: list[Any] = [s.passage(part, 1) for part in _parts(s, kinds, s.rng.randint(2, 4))]
    if s.often(0.3):
        documents = [{"id": s.fill("{order}"), "text": text} for text in documents]
    return {"model": "rerank-v3.5", "query": s.filler(), "documents": documents, "top_n": 3}


def _hits(s: _Scribe, kinds: list[str]) -> Any:
    hits = [
        {
            "_index": s.fill("customers-{date_compact}"),
            "_id": s.chars(_URL, 20),
            "_score": s.rng.uniform(0, 20),
            "_source": s.record(part),
        }
        for part in _parts(s, kinds, s.rng.randint(1, 3))
    ]
    return {"took": s.rng.randint(1, 90), "timed_out": False, "_shards": {"total": 5, "failed": 0},
            "hits": {"total": {"value": len(hits), "relation": "eq"}, "max_score": s.rng.uniform(0, 20), "hits": hits}}  # fmt: skip


def _completion(s: _Scribe, kinds: list[str]) -> Any:
    return {
        "id": s.fill("chatcmpl-{alnum29}"), "object": "chat.completion", "created": s.rng.randint(1_690_000_000, 1_790_000_000), "model": "gpt-4o-2024-08-06",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": s.passage(kinds)}, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": s.rng.randint(9, 900), "completion_tokens": s.rng.randint(9, 900)}, "system_fingerprint": s.fill("fp_{hex12}"),
    }  # fmt: skip


def _messages(s: _Scribe, kinds: list[str]) -> Any:
    first, second = _parts(s, kinds, 2)
    content: Any = s.passage(second, 1)
    if s.often(0.4):
        content = [{"type": "text", "text": content}]
    return {
        "model": "claude-sonnet-4-20250514", "max_tokens": 1024, "temperature": 0.2,
        "messages": [{"role": "user", "content": s.passage(first, 1)}, {"role": "assistant", "content": s.filler()}, {"role": "user", "content": content}],
    }  # fmt: skip


def _customer(s: _Scribe, kinds: list[str]) -> Any:
    contact, money = _parts(s, kinds, 2)
    return {
        "customer": {
            "name": s.name(), "company": str(s.fake.company()), "address": {"street": str(s.fake.street_address()), "city": s.city()},
            "contact": s.record(contact, 2), "details": s.record(money, 2),
        },
        "orders": [{"id": s.fill("{order}"), "date": s.fill("{date}"), "total": s.fill("{price}")}],
    }  # fmt: skip


def _tool_call(s: _Scribe, kinds: list[str]) -> Any:
    call = {
        "id": f"call_{s.chars(_ALNUM, 24)}",
        "type": "function",
        "function": {
            "name": s.pick(("update_customer", "search_orders", "send_mail")),
            "arguments": _dumps(s.record(kinds)),
        },
    }
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _tool_use(s: _Scribe, kinds: list[str]) -> Any:
    return {
        "id": f"msg_{s.chars(_ALNUM, 24)}", "type": "message", "stop_reason": "tool_use",
        "content": [{"type": "text", "text": s.filler()}, {"type": "tool_use", "id": f"toolu_{s.chars(_ALNUM, 24)}", "name": "lookup", "input": s.record(kinds)}],
    }  # fmt: skip


def _event(s: _Scribe, kinds: list[str]) -> Any:
    message, context = _parts(s, kinds, 2)
    return {
        "@timestamp": _moment(s), "level": s.pick(("INFO", "WARN", "ERROR")), "logger": "com.shop.checkout.PaymentService", "message": _log(s, message),
        "context": s.record(context), "trace": {"id": s.chars(_HEX, 32), "span": s.chars(_HEX, 16)}, "kubernetes": {"pod": s.fill("{pod}")},
    }  # fmt: skip


def _matches(s: _Scribe, kinds: list[str]) -> Any:
    matches = [
        {
            "id": s.fill("{slug}-{hex12}"),
            "score": s.rng.random(),
            "values": [s.rng.uniform(-1, 1) for _ in range(5)],
            "metadata": {"text": s.passage(part, 1), **s.record([])},
        }
        for part in _parts(s, kinds, s.rng.randint(1, 3))
    ]
    return {"matches": matches, "namespace": "docs"}


def _results(s: _Scribe, kinds: list[str]) -> Any:
    results = [
        {
            "title": s.filler(),
            "url": s.fill("https://{host}/{slug}-{hex12}"),
            "snippet": s.passage(part, 1),
            "published": _moment(s),
            "rank": at,
        }
        for at, part in enumerate(_parts(s, kinds, s.rng.randint(1, 3)))
    ]
    return {"query": s.filler(), "total": s.rng.randint(1, 10**6), "results": results}


def _rows(s: _Scribe, kinds: list[str]) -> Any:
    return [s.record(part) for part in _parts(s, kinds, s.rng.randint(1, 3))]


def _environment(s: _Scribe, kinds: list[str]) -> Any:
    return {
        "service": s.fill("{pod}"),
        "image": s.fill("registry.{host}/app@sha256:{sha256}"),
        "env": s.record(kinds, 4),
    }


def _embeddings(s: _Scribe, kinds: list[str]) -> Any:
    if s.often(0.5):
        return {
            "model": "embed-v4.0",
            "input_type": "search_document",
            "texts": [s.passage(part, 1) for part in _parts(s, kinds, 2)],
        }
    return {
        "object": "list",
        "data": [{"index": 0, "embedding": [s.rng.uniform(-1, 1) for _ in range(12)], "text": s.passage(kinds)}],
        "usage": {"total_tokens": s.rng.randint(1, 999)},
    }


_DOCUMENTS: tuple[tuple[Callable[[_Scribe, list[str]], Any], float], ...] = (
    (_rerank_response, 5), (_rerank_request, 4), (_hits, 4), (_completion, 3), (_messages, 3), (_customer, 3), (_tool_call, 2), (_tool_use, 1.5), (_event, 2),
    (_matches, 2), (_results, 2), (_rows, 2), (_environment, 1), (_embeddings, 1),
)  # fmt: skip


# ---------------------------------------------------------------------------------------------------------------------


def _choose[T](rng: random.Random, options: tuple[tuple[T, float], ...]) -> T:
    return rng.choices([option for option, _ in options], weights=[weight for _, weight in options])[0]


def _kinds_of(locale: str) -> tuple[tuple[str, float], ...]:
    """Identifiers are met at home for the most part, and now and then abroad."""
    return (*_COMMON.items(), *((kind, 12.0 if locale in words.homes else 0.25) for kind, words in IDS.items()))


def samples(seed: int = 1, count: int = 3600) -> list[Sample]:
    """The corpus of a seed: the same for the same seed, count and release of Faker."""
    rng = random.Random(seed)
    scribes: dict[str, _Scribe] = {}
    kinds: dict[str, tuple[tuple[str, float], ...]] = {}
    for at, locale in enumerate(LOCALES):
        fake = Faker(locale)
        fake.seed_instance(seed * 1000 + at)
        scribes[locale] = _Scribe(rng, fake, locale)
        kinds[locale] = _kinds_of(locale)
    plan = [
        (LOCALES[at % len(LOCALES)], "text" if at // len(LOCALES) % 2 == 0 else "json", rng.random() < 0.35)
        for at in range(count)
    ]
    rng.shuffle(plan)
    made: list[Sample] = []
    for locale, form, negative in plan:
        chosen: list[str] = []
        if not negative:
            for _ in range(rng.choices((1, 2, 3, 4), weights=(4, 4, 2, 1))[0]):
                kind = _choose(rng, kinds[locale])
                if kind not in chosen:
                    chosen.append(kind)
        if form == "text":
            made.append(_sample("text", locale, _choose(rng, _TEXTS)(scribes[locale], chosen)))
        else:
            made.append(_sample("json", locale, _choose(rng, _DOCUMENTS)(scribes[locale], chosen)))
    return made


def _sample(form: Literal["text", "json"], locale: str, marked: Any) -> Sample:
    values: list[Value] = []
    document = _finish(marked, (), values)
    return Sample(form, locale, document, tuple(values))
