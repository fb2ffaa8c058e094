"""Names that other programs can read: no blanks, no signs that mean something to them."""

import re
import unicodedata
from collections.abc import Iterable

from reid.errors import InputError

# A blank ends a field of secr and MARK, `/` and `*` mark comments of MARK, `#` those of secr; secr and
# camtrapR take detector_occasion apart at `_`.
_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_UNSAFE_WITH_DOTS = re.compile(r"[^A-Za-z0-9-]+")


def cleaned(names: Iterable[str], *, dots: bool = True) -> dict[str, str]:
    """Each name with one that is letters, digits, `.` and `-` only, and no other name's.

    Names that need no cleaning stay; without `dots`, a `.` is cleaned away too. Accents are taken off first, so that `Ré 3` becomes `Re-3`.

    Raises:
        InputError: a name is empty.
    """
    names = sorted(set(names))
    found: dict[str, str] = {}
    unsafe = _UNSAFE if dots else _UNSAFE_WITH_DOTS
    plain = [name for name in names if name and not unsafe.search(name) and name[0] not in "-."]
    taken = {name.lower() for name in plain}
    found.update({name: name for name in plain})
    for name in names:
        if name in found:
            continue
        if not name:
            raise InputError("an individual or a place has an empty name")
        ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
        stem = unsafe.sub("-", ascii_only).strip("-.") or "x"
        candidate, number = stem, 2
        while candidate.lower() in taken:
            candidate = f"{stem}-{number}"
            number += 1
        taken.add(candidate.lower())
        found[name] = candidate
    return found
