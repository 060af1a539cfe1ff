"""A detector: badge numbers of Acme, like ``AC-204817-3``, whose last digit is the sum of the others modulo 10."""

import re

from weir.masking.detectors.model import Detector, checked


def is_badge(value: str) -> bool:
    """True if the check digit of *value* is right."""
    digits = [int(c) for c in value if c.isdigit()]
    return sum(digits[:-1]) % 10 == digits[-1]


def detector() -> Detector:
    """Return the detector. Its kind is the name of its entry point."""
    return Detector(
        kind="acme_badge",
        prefilter=r"AC-[0-9]",  # RE2; it may match more than the value, never less
        pattern=re.compile(r"\bAC-[0-9]{6}-[0-9]\b", re.ASCII),
        check=checked(is_badge),
    )
