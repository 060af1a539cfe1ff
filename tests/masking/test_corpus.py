"""The corpus is repeatable, values are at the labelled places, each kind has enough, and checksums are valid."""

import base64
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.masking import corpus
from tests.masking.corpus import KINDS, LOCALES, Sample, samples

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def whole() -> list[Sample]:
    return samples()


def test_same_for_the_same_seed(whole: list[Sample]) -> None:
    assert samples() == whole
    assert samples(2, 200) == samples(2, 200)
    assert samples(2, 200) != samples(3, 200)


def test_same_in_another_process() -> None:
    """The result does not depend on the order of sets."""
    told = "from tests.masking.corpus import samples; print(ascii(samples(5, 800)))"
    run = subprocess.run(
        [sys.executable, "-c", told],
        env={**os.environ, "PYTHONHASHSEED": "4711"},
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == ascii(samples(5, 800))


def test_every_value_stands_at_its_place(whole: list[Sample]) -> None:
    for sample in whole:
        assert (sample.form == "text") == isinstance(sample.document, str)
        taken: Counter[tuple[tuple[str | int, ...], int]] = Counter()
        for value in sample.values:
            leaf: Any = sample.document
            for step in value.path:
                leaf = leaf[step]
            assert not isinstance(leaf, (dict, list, bool))
            assert str(leaf)[value.start : value.end] == value.text != ""
            taken.update((value.path, at) for at in range(value.start, value.end))
        assert all(times == 1 for times in taken.values())


def test_no_mark_and_no_name_of_a_part_is_left(whole: list[Sample]) -> None:
    for sample in whole:
        text = repr(sample.document)
        assert not any("\ue000" <= char <= "\uf8ff" for char in text)
        assert not any(f"{{{name}}}" in text for name in ("V", "L", *corpus.KINDS, *corpus._PLAIN))


def test_enough_of_everything(whole: list[Sample]) -> None:
    assert len(whole) == 3600
    kinds = Counter(value.kind for sample in whole for value in sample.values)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 40, kinds.most_common()[::-1]
    locales = Counter(sample.locale for sample in whole)
    assert set(locales) == set(LOCALES) and min(locales.values()) >= 200
    forms = Counter(sample.form for sample in whole)
    assert min(forms.values()) >= 1700
    negatives = sum(not sample.values for sample in whole) / len(whole)
    assert 0.3 < negatives < 0.4
    assert Counter(type(_leaf(sample, value.path)) for sample in whole for value in sample.values)[int] >= 10


def _leaf(sample: Sample, path: tuple[str | int, ...]) -> Any:
    leaf = sample.document
    for step in path:
        leaf = leaf[step]
    return leaf


def test_ibans_are_as_long_as_their_countries_have_them(whole: list[Sample]) -> None:
    for value in (value for sample in whole for value in sample.values if value.kind == "iban"):
        bare = value.text.replace(" ", "").upper()
        assert len(bare) == corpus.IBANS[bare[:2]][0]
        assert int("".join(str(int(char, 36)) for char in bare[4:] + bare[:4])) % 97 == 1


def test_keys_are_base64_throughout(whole: list[Sample]) -> None:
    for value in (value for sample in whole for value in sample.values if value.kind == "private_key"):
        base64.b64decode("".join(value.text.replace("\\n", "\n").splitlines()[1:-1]), validate=True)


@pytest.mark.parametrize(
    ("check", "body", "expected"),
    [
        (corpus.luhn_digit, "411111111111111", "1"),  # card
        (corpus.luhn_digit, "04645428", "6"),  # SIN
        (corpus.luhn_digit, "750330504408", "9"),  # South African ID
        (corpus.luhn_digit, "811218987", "6"),  # personnummer
        (corpus.cpf_digits, "529982247", "25"),
        (corpus.bsn_digit, "12345678", "2"),
        (corpus.nhs_digit, "943476591", "9"),
        (corpus.pesel_digit, "4405140135", "9"),
        (corpus.fodselsnummer_digits, "151086950", "88"),
        (corpus.rrn_digit, "971013901990", "2"),
        (corpus.resident_id_char, "11010519491231002", "X"),
        (corpus.steuer_id_digit, "8609574271", "9"),
        (corpus.dni_letter, 12345678, "Z"),
        (corpus.hetu_char, "131052308", "T"),
        (corpus.nir_key, "2550814168025", "38"),
        (corpus.verhoeff_digit, "23412341234", "6"),
        (corpus.fiscal_letter, "RSSMRA85T10A562", "S"),
        (corpus.eip55, "5aaeb6053f3e94c9b9a09f33669435e7ef1beaed", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed"),
        (corpus.base58check, bytes.fromhex("00010966776006953d5567439e5e39f86a0d273bee"), "16UwLL9Risc3QfPqBUvKofHmBQ7wMtjvM"),
    ],
)  # fmt: skip
def test_checksums_agree_with_published_examples(check: Callable[[Any], str], body: Any, expected: str) -> None:
    assert check(body) == expected


def test_checks_of_two_arguments_agree_with_published_examples() -> None:
    assert corpus.iban_digits("GB", "WEST12345698765432") == "82"
    program = bytes.fromhex("751e76e8199196d454941c45d1b3a323f1433bd6")
    assert corpus.segwit(0, program) == "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
    taproot = bytes.fromhex("79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798")
    assert corpus.segwit(1, taproot) == "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0"
