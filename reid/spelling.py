"""Names that were misspelt: the one that was meant, a few of those there are, an error that says both."""

import difflib
from collections.abc import Collection, Sequence

from reid.errors import InputError

NAMED = 10  # names listed in an error


def list_a_few(names: Collection[str]) -> str:
    """`a, b and 3 more`."""
    shown = [str(name) for name in list(names)[:NAMED]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more:,} more" if more > 0 else "")


def did_you_mean(name: str, known: Collection[str]) -> str | None:
    """The known name that comes nearest to a misspelt one, in whatever letters; None: none is near."""
    folded = {other.strip().casefold().replace("_", " "): other for other in known}
    close = difflib.get_close_matches(name.strip().casefold().replace("_", " "), folded, n=1)
    return folded[close[0]] if close else None


def refuse_unknown_species(setting: str, named: Sequence[str], known: Collection[str]) -> None:
    """Refuse settings for species that are not there.

    Args:
        setting: its name, for the error.
        named: the species that it names.
        known: the species that there are.

    Raises:
        InputError: one of `named` is not `known`; the message names the nearest that is.
    """
    for name in named:
        if name not in known:
            near = did_you_mean(name, known)
            hint = f"; did you mean {near!r}?" if near else "."
            raise InputError(
                f"{setting}: no image is of the species {name!r}{hint} Species here: "
                f"{list_a_few(sorted(known))}"
            )
