"""Words that stand for "nothing", and the one spelling of a label. Every reader uses these rules.

A label is kept in Unicode's composed form (NFC), without blanks around it and with single blanks
inside. In a column of whole numbers `12` and `12.0` are `12`.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

# What R, pandas, SQL, spreadsheets and the field's tools write where nothing is known; compared in
# lower case. Errors of spreadsheets (#REF!, #WERT!) and signs alone (-, ??, …) follow below.
EMPTY_WORDS = frozenset(
    {
        "", "na", "n/a", "n.a.", "n.a", "n/d", "n.d.", "nan", "-nan", "nat", "nil", "null", "(null)",
        "<null>", "\\n", "none", "<na>", "<n/a>", "#n/a", "#n/a n/a", "#na", "#nv", "#n/d", "1.#ind",
        "-1.#ind", "1.#qnan", "-1.#qnan", "undefined", "unk", "unk.", "unkn", "unkn.", "unknown",
        "<unknown>", "unidentified", "unidentifiable", "unid", "unid.", "undetermined",
        "indeterminate", "indet", "indet.", "not available", "not applicable", "not identified",
        "not known", "missing", "unnamed", "no name", "no id", "noid", "no_id", "blank", "(blank)",
        "empty", "(empty)", "<empty>", "[]", "{}",
    }
)  # fmt: skip
# `#REF!`, `#DIV/0!`, `#NAME?` and their names in other languages; `-`, `--`, `?`, `.` and such.
EMPTY_PATTERN = r"^(?:#[^\s]{2,14}[!?]|[-‐‑‒–—−_?.…]+)$"
_LISTED = 5  # words in a note
_EMPTY = re.compile(EMPTY_PATTERN)
_BLANKS = r"[\s\p{Z}\p{Cc}\x{FEFF}\x{200B}]+"
_WHOLE = r"^[+-]?[0-9]+(?:\.0*)?$"
_WHOLE_OR_SCIENTIFIC = r"^[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE]\+?[0-9]{1,2})?$"


@dataclass
class Words:
    """What was found in the labels: for the notes.

    Attributes:
        empty: column → word → rows in which it is taken as empty.
        zeros: rows whose encounter 0 is taken as empty.
        joined: column → spellings that became one name, in order of their use.
    """

    empty: dict[str, Counter[str]] = field(default_factory=dict)
    zeros: int = 0
    joined: dict[str, list[list[str]]] = field(default_factory=dict)


def is_empty(text: str | None) -> bool:
    """Does this cell say that nothing is known?"""
    if text is None:
        return True
    lowered = plain(text).lower()
    return lowered in EMPTY_WORDS or _EMPTY.match(lowered) is not None


def plain(text: str) -> str:
    """The one spelling of a label: NFC, no blanks around it, single blanks inside."""
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(
        " " if unicodedata.category(c) == "Cc" or c in "\ufeff\u200b" else c for c in composed
    )
    return " ".join(kept.split())


def known_identity(name: str | None) -> str | None:
    """The identity that a label stands for; None where it says that nobody knows."""
    return None if name is None or is_empty(name) else plain(name)


def name_key(name: str) -> str:
    """Equal for names that are one: `Luna`, `luna ` and `LUNA`."""
    return plain(name).casefold()


def plain_column(column: pa.Array) -> pa.Array:
    """`plain` for a column of strings."""
    composed = pc.utf8_normalize(column, form="NFC")
    single = pc.replace_substring_regex(composed, pattern=_BLANKS, replacement=" ")
    return pc.utf8_trim_whitespace(single)


def empty_cells(column: pa.Array) -> pa.Array:
    """Bool a row: null, or a word that says that nothing is known. Strings as of `plain_column`."""
    lowered = pc.utf8_lower(column)
    word = pc.is_in(lowered, value_set=pa.array(sorted(EMPTY_WORDS), pa.string()))
    sign = pc.match_substring_regex(lowered, pattern=EMPTY_PATTERN)
    return pc.or_(word, pc.fill_null(sign, True))


def clean_labels(
    name: str, column: pa.Array, found: Words, *, keep_words: Collection[str] = ()
) -> pa.Array:
    """A column of labels in their one spelling, null where nothing is known.

    Args:
        name: of the column, for the notes.
        column: strings as in the file.
        found: is told of words that were taken as empty.
        keep_words: words that are names here, in any case of letters.

    Returns:
        Strings, as many.
    """
    encoded = column.dictionary_encode()  # few labels, many rows
    labels = plain_column(encoded.dictionary)
    empty = empty_cells(labels)
    if keep_words:
        kept = pa.array([plain(word).lower() for word in keep_words], pa.string())
        empty = pc.and_not(empty, pc.is_in(pc.utf8_lower(labels), value_set=kept))
    rows = np.bincount(encoded.indices.drop_null().to_numpy(), minlength=len(labels))
    counted = found.empty.setdefault(name, Counter())
    for at in pc.indices_nonzero(empty).to_pylist():
        if word := labels[at].as_py():
            counted[word] += int(rows[at])
    return whole_numbers(pc.if_else(empty, None, labels)).take(encoded.indices)


def whole_numbers(column: pa.Array) -> pa.Array:
    """`12.0` and `1e+05` as `12` and `100000`, where a column holds nothing but whole numbers."""
    known = column.drop_null()
    if not len(known) or not _all_match(known[:1], _WHOLE_OR_SCIENTIFIC):
        return column
    if not _all_match(known, _WHOLE_OR_SCIENTIFIC):
        return column
    if _all_match(known, _WHOLE):
        return pc.replace_substring_regex(column, pattern=r"\.0*$", replacement="")
    unique = pc.unique(known)
    texts = unique.to_pylist()
    values = [float(text) for text in texts]
    if not all(value.is_integer() and abs(value) < 2**53 for value in values):
        return column
    whole = pa.array(
        [
            str(int(value)) if any(sign in text for sign in ".eE") else text
            for text, value in zip(texts, values, strict=True)
        ],
        pa.string(),
    )
    return whole.take(pc.index_in(column, value_set=unique))


def drop_filler_zeros(encounters: pa.Array, places: pa.Array | None) -> tuple[pa.Array, int]:
    """Take encounter `0` as empty where it is plainly no encounter but a filler.

    It is a filler if it is the only encounter of several rows; if more than half of the rows that
    have an encounter have this one, and more than twice as many as any other; or if its rows lie at
    several places.

    Args:
        encounters: strings, null = none.
        places: location of each row, where known.

    Returns:
        The column, and how many rows lost their encounter.
    """
    zero = pc.fill_null(pc.equal(encounters, "0"), False)
    rows = pc.sum(zero).as_py() or 0
    if rows < 2:
        return encounters, 0
    counts = pc.value_counts(encounters.drop_null()).to_pylist()
    total = sum(row["counts"] for row in counts)
    next_largest = max((row["counts"] for row in counts if row["values"] != "0"), default=0)
    spread = places is not None and len(pc.unique(places.filter(zero).drop_null())) > 1
    if not (2 * rows > total and rows > 2 * next_largest) and not spread:
        return encounters, 0
    return pc.if_else(zero, None, encounters), rows


def join_spellings(column: pa.Array) -> tuple[pa.Array, list[list[str]]]:
    """Names that differ only in capitals become one, spelled as most of its rows spell it.

    Returns:
        The column, and the spellings that became one, the kept one first.
    """
    counts = {
        row["values"]: row["counts"] for row in pc.value_counts(column.drop_null()).to_pylist()
    }
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(name.casefold(), []).append(name)
    joined = [
        sorted(names, key=lambda name: (-counts[name], name))
        for names in groups.values()
        if len(names) > 1
    ]
    if not joined:
        return column, []
    spelled = {name: names[0] for names in joined for name in names}
    unique = pa.array(list(counts), pa.string())
    kept = pa.array([spelled.get(name, name) for name in counts], pa.string())
    return kept.take(pc.index_in(column, value_set=unique)), sorted(joined)


def _all_match(column: pa.Array, pattern: str) -> bool:
    matches = pc.all(pc.match_substring_regex(column, pattern=pattern)).as_py()
    return bool(matches)


def alike(column: pa.Array) -> list[list[str]]:
    """Labels that differ in capitals, blanks, hyphens or `_` alone, sorted."""
    groups: dict[str, list[str]] = {}
    for name in pc.unique(column.drop_null()).to_pylist():
        groups.setdefault(re.sub(r"[\s_\-]+", "", name).casefold(), []).append(name)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def word_notes(source: str, found: Words) -> list[str]:
    """Which words of a source were taken as empty, in a sentence a column."""
    notes = []
    for name, counted in found.empty.items():
        if counted:
            listed = ", ".join(f"{n:,} {word}" for word, n in counted.most_common(_LISTED))
            more = f" and {len(counted) - _LISTED} other words" if len(counted) > _LISTED else ""
            notes.append(
                f"{source}: column {name}: {counted.total():,} cells say that nothing is known ({listed}{more}) "
                f"and are taken as empty; --keep-word '{counted.most_common(1)[0][0]}' makes a name of it"
            )
    if found.zeros:
        notes.append(
            f"{source}: {found.zeros:,} rows have the encounter 0, which is taken as none; --keep-word 0 "
            "keeps it"
        )
    return notes
