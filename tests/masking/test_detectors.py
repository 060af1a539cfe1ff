"""Each kind is recognised in its formats, lookalikes are kept, and the quality equals the figures in the README."""

import re
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.masking.corpus import KINDS as CORPUS_KINDS
from tests.masking.corpus import samples
from tests.masking.quality import DETECTORS, measure, report

from weir.base.mistakes import SettingError
from weir.config.model import DetectorSettings
from weir.masking.detectors import checksums
from weir.masking.detectors.custom import compile_detector
from weir.masking.detectors.engine import BUILT_IN, KINDS, DetectorError, Detectors, Prefilter
from weir.masking.detectors.model import Span


def found(text: str, key: str = "", detectors: Detectors = DETECTORS) -> list[tuple[str, str]]:
    return [(span.kind, text[span.start : span.end]) for span in detectors.find(text, key)]


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("mail first.last+tag@mail.example.co.uk!", "first.last+tag@mail.example.co.uk", "email"),
        ("<jürgen@müller.de>", "jürgen@müller.de", "email"),
        ("call +1 (555) 010-9999 now", "+1 (555) 010-9999", "phone"),
        ("(555) 123-4567", "(555) 123-4567", "phone"),
        ("Tel. 030 / 1234567", "030 / 1234567", "phone"),
        ("電話は03-1234-5678です", "03-1234-5678", "phone"),
        ("4111-1111-1111-1111", "4111-1111-1111-1111", "credit_card"),
        ("amex 3782 822463 10005", "3782 822463 10005", "credit_card"),
        ("GB82 WEST 1234 5698 7654 32 und", "GB82 WEST 1234 5698 7654 32", "iban"),
        ("SSN: 536226726", "536226726", "us_ssn"),
        ("host 10.1.2.3:8080", "10.1.2.3", "ip"),
        ("[2001:db8::1]", "2001:db8::1", "ip"),
        ("0011.2233.4455", "0011.2233.4455", "mac"),
        ("postgres://app:s3cret@db/x", "app:s3cret", "url_credentials"),
        ("born on 12 May 1990", "12 May 1990", "date_of_birth"),
        ("生年月日: 1990年5月12日", "1990年5月12日", "date_of_birth"),
        ("52°31′12″N 13°24′18″E", "52°31′12″N 13°24′18″E", "coordinates"),
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "crypto_address"),
        ("password: Tr0ub4dor&3.", "Tr0ub4dor&3", "password"),
        ("CPF 529.982.247-25", "529.982.247-25", "br_cpf"),
        ("DNI 12345678Z", "12345678Z", "es_dni"),
        ("PESEL 44051401359", "44051401359", "pl_pesel"),
        ("HETU 131052-308T", "131052-308T", "fi_hetu"),
    ],
)
def test_forms(text: str, value: str, kind: str) -> None:
    assert found(text) == [(kind, value)]


@pytest.mark.parametrize(
    "text",
    [
        "1.2.3.4-beta", "upgrade to 1.2.3.4-rc1", "10.0.0.1+build5", "rows[::2]", "characters[-2::-1]", "zip(sparse[::2], sparse[1::2])",
        "550e8400-e29b-41d4-a716-446655440000", "d41d8cd98f00b204e9800998ecf8427e", "2025-03-04T10:20:30.123456Z",
        "0.8444218515250481, -0.7579544029403025", "version 10.0.19041.1", "order 303-4809599-2077102", "ISBN 978-3-16-148410-0",
        "1700000000000", "4111111111111112", "DE89370400440532013001", "12:34:56", "@pytest.mark.skip", "a@b", "logo@2x.png",
        "the token is expired", "password: ********", "api_key=YOUR_API_KEY", "[EMAIL] [PHONE] [REDACTED]", "std::vector::iterator",
        "max_tokens: 4096", "chatcmpl-9sKq2", "2019-2020", "born in the USA", "location: unknown", "sha256:" + "ab" * 32,
    ],
)  # fmt: skip
def test_what_only_looks_like_a_value_stays(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("key", "text", "kind"),
    [
        ("social Security Number", "536226726", "us_ssn"),
        ("mobile", "5551234567", "phone"),
        ("client secret", "9f8Kq2LmZx7Tb4Vw", "password"),
        ("date of birth", "1990-05-12", "date_of_birth"),
        ("latitude", "52.5200", "coordinates"),
    ],
)
def test_names_of_members_count_as_words(key: str, text: str, kind: str) -> None:
    assert found(text, key) == [(kind, text)]
    assert found(text) == []


def test_columns_of_a_table_count_as_names() -> None:
    assert found("name;ssn;city\nAl;536226726;Rome\nBo;219099999;Oslo") == [
        ("us_ssn", "536226726"),
        ("us_ssn", "219099999"),
    ]
    assert found("| id | phone |\n|---|---|---|\n| 7 | 5551234567 | x |") == [("phone", "5551234567")]


def test_other_spellings_are_recognised() -> None:
    assert found('{"mail": "bob\\u0040example.com"}') == [("email", "bob\\u0040example.com")]
    assert found('{\\"mail\\": \\"bob\\\\u0040example.com\\"}') == [("email", "bob\\\\u0040example.com")]
    assert found("٤١١١ ١١١١ ١١١١ ١١١١") == [("credit_card", "٤١١١ ١١١١ ١١١١ ١١١١")]
    assert found("bob＠example.com") == [("email", "bob＠example.com")]


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_a_corpus(kind: str) -> None:
    assert kind in CORPUS_KINDS


def test_quality() -> None:
    quality = measure(samples())
    worst = {kind: (quality.recall(kind), quality.precision(kind)) for kind in CORPUS_KINDS}
    assert all(recall >= 0.97 and precision >= 0.97 for recall, precision in worst.values()), report(quality)
    assert quality.recall() >= 0.97 and quality.precision() >= 0.97
    assert quality.false_per_megabyte() < 10


def test_a_prefilter_never_hides_what_its_detector_finds() -> None:
    for sample in samples(seed=5, count=400):
        if sample.form == "text":
            with_prefilters = DETECTORS.find(sample.document)
            assert with_prefilters == DETECTORS.find(sample.document, "", BUILT_IN)


def test_a_prefilter_that_gives_up_is_an_error() -> None:
    prefilter = Prefilter(["a"])
    prefilter._last = 7
    with pytest.raises(DetectorError):
        prefilter.found("abc")


@pytest.mark.parametrize(
    "hostile",
    [
        "a" * 200_000,
        "1 " * 100_000,
        "@" * 100_000,
        "a.b@" * 50_000,
        "password " * 20_000,
        "eyJ" + "A" * 200_000 + ".",
        "\\u0031" * 30_000,
        "1;2,3|4\t\n" * 20_000,
        "4111\n" * 60_000,
        "4111 - " * 40_000,
        "4111 1111\n1111 111x\n" * 8_000,
        "4\u20091\u200b" * 40_000,
        "token: " + "a" * 500 + "!1 " + "secret = " + "ab" * 250 + "! ",
        "token" + " " * 80 + ", a: b," + " " * 80 + "value" * 20_000,
        "token,\n" * 20_000,
        "<token>\n" * 20_000,
        "token[] = x_token: string " * 8_000,
        "curl -u a:" * 20_000,
        "call me at home on 5403926876 or at 9747 6578 " * 4_000,
        "ghp_" + "aB" * 100_000,
        "ZXlK" + "A" * 200_000,
    ],
)
def test_hostile_texts_take_linear_time(hostile: str) -> None:
    """The assertion is that it ends: a non-linear search would take hours."""
    assert isinstance(DETECTORS.find(hostile), list)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet='0123456789abcdefXYZ -.:/@+()\n\\"u,;|é電', max_size=80))
def test_spans_are_in_order_and_apart(text: str) -> None:
    spans: list[Span] = DETECTORS.find(text)
    assert all(0 <= s.start < s.end <= len(text) for s in spans)
    assert all(a.end <= b.start for a, b in pairwise(spans))


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        ("luhn", "4111111111111111", "4111111111111112"),
        ("mod97", "GB82WEST12345698765432", "GB82WEST12345698765433"),
        ("verhoeff", "2363", "2364"),
        ("br_cpf", "52998224725", "52998224726"),
        ("ca_sin", "130692544", "130692545"),
        ("cn_resident_id", "11010519491231002X", "110105194912310021"),
        ("de_steuer_id", "86095742719", "86095742718"),
        ("es_dni", "12345678Z", "12345678A"),
        ("fi_hetu", "131052-308T", "131052-308U"),
        ("fr_nir", "255081416802538", "255081416802539"),
        ("gb_nhs", "9434765919", "9434765918"),
        ("it_codice_fiscale", "RSSMRA85T10A562S", "RSSMRA85T10A562T"),
        ("nl_bsn", "111222333", "111222334"),
        ("no_fodselsnummer", "13097248022", "13097248023"),
        ("pl_pesel", "44051401359", "44051401358"),
        ("se_personnummer", "811218-9876", "811218-9877"),
        ("za_id", "8001015009087", "8001015009088"),
        ("base58check", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb"),
        ("bech32", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5"),
    ],
)
def test_checksums_agree_with_published_examples(check: str, right: str, wrong: str) -> None:
    assert checksums.BY_NAME[check](right) and not checksums.BY_NAME[check](wrong)


# Custom detectors.


def own(tmp_path: object, **settings: object) -> Detectors:
    return Detectors(compile_detector("employee", DetectorSettings.model_validate(settings), tmp_path))  # type: ignore[arg-type]


def test_own_detectors(tmp_path: object) -> None:
    assert found("badge EMP-123456.", "", own(tmp_path, pattern=r"EMP-\d{6}")) == [("employee", "EMP-123456")]
    assert found("Project Bluebird, bluebirds", "", own(tmp_path, terms=["bluebird"])) == [("employee", "Bluebird")]
    near = own(tmp_path, pattern=r"\d{6}", context=["badge"])
    assert found("badge 123456", "", near) == [("employee", "123456")] and found("order 123456", "", near) == []
    checked = own(tmp_path, pattern=r"\d{16}", checksum="luhn")
    assert found("4111111111111111 4111111111111112", "", checked) == [("employee", "4111111111111111")]
    assert found("X1", "", own(tmp_path, pattern=r"^X\d$")) == [("employee", "X1")]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"pattern": "(a"}, "RE2"),
        ({"pattern": "a*"}, "matches the empty text"),
        ({}, "name a pattern"),
        ({"pattern": "a", "terms": ["b"]}, "name a pattern"),
        ({"pattern": "a", "checksum": "lun"}, "Did you mean 'luhn'"),
        ({"file": "none.txt"}, "none.txt"),
    ],
)
def test_mistakes_in_own_detectors(settings: dict[str, object], message: str, tmp_path: object) -> None:
    with pytest.raises(SettingError, match=re.escape(message)):
        own(tmp_path, **settings)
