"""Numbers, days and verdicts, as a page says them."""

from datetime import UTC, datetime

SYMBOLS = {
    "safe": "✓",
    "accepted risks": "!",
    "not safe": "✗",
    "valid": "✓",
    "invalid": "✗",
    "skipped": "–",
    "clean": "✓",
    "reproduced": "✗",
    "unconfirmed": "?",
    "not applicable": "–",
    "pass": "✓",
    "passed": "✓",
    "fail": "✗",
    "failed": "✗",
    "accepted": "!",
}


def symbol(standing: str) -> str:
    """Give a standing, verdict or status a sign, so that colour is never alone."""
    return SYMBOLS.get(standing, "?")


def number(value: int) -> str:
    """Write a number with its thousands apart."""
    return f"{value:,}"


def count(value: int, noun: str) -> str:
    """Write a number of things."""
    return f"{value:,} {noun}{'' if value == 1 else 's'}"


def size(value: int) -> str:
    """Write a number of bytes."""
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:,.0f} {unit}"
        value //= 1000
    return f"{value:,.0f} GB"


def day(moment: datetime | str) -> str:
    """Write a moment in UTC; text that is none stays as it is."""
    try:
        when = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    except ValueError:
        return str(moment)
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return f"{when.astimezone(UTC):%-d %b %Y, %H:%M} UTC"
