"""Say numbers and names as people read them: one call, two calls, $0.0165."""

SMALLEST_PRICE = 0.0001
"""US dollars: what one image costs. Less is not told by a number."""


def count(number: int, what: str, many: str | None = None) -> str:
    """Return a number and what it counts: `1 call`, `1,200 calls`, `0 batches`.

    Args:
        number: how many there are.
        what: one of them, as in `call`.
        many: several of them, where that is not `what` with an s.
    """
    return f"{number:,} {what if number == 1 else many or what + 's'}"


def dollars(amount: float) -> str:
    """Return US dollars with cents, and with up to four digits where there are parts of a cent."""
    if 0 < amount < SMALLEST_PRICE:
        return f"less than ${SMALLEST_PRICE}"
    whole, _, parts = f"{amount:,.4f}".partition(".")
    return f"${whole}.{parts.rstrip('0'):0<2}"


def printable(text: str, instead: str = "?") -> str:
    """Return a text with a sign in place of what has no glyph: line ends, escapes, directions."""
    return "".join(character if character.isprintable() else instead for character in text)
