"""Days as people type them."""

from datetime import date

from reid.errors import InputError


def parse_day(text: str | None, option: str) -> date | None:
    """A day such as 2026-05-31.

    Raises:
        InputError: it is none.
    """
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text}: write a day like 2026-05-31") from None
