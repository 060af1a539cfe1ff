"""Show text from untrusted sources safely."""


def inert(text: str) -> str:
    """Make control characters in *text* visible, so that callers' text cannot move a reader's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
