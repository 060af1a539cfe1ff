"""Text that somebody else wrote, for people to read."""


def inert(text: str) -> str:
    """*text* with control characters made visible: what callers sent must not move a reader's cursor."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
