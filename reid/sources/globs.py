"""Globs: `**/` is any folders, `*` and `?` are within a name, `[…]` is a set; `[!…]` its opposite.

Each pattern takes time in proportion to the name, whatever its stars: between two stars the first
place that fits is right, so that nothing is ever tried twice.
"""

import re
from collections.abc import Callable

from reid.errors import InputError

WILDCARDS = "*?["
LONGEST = 4096  # characters of a pattern; longer than any path


def has_wildcards(path: str) -> bool:
    """Is this a glob, and no plain path?"""
    return any(character in path for character in WILDCARDS)


def split_glob(pattern: str) -> tuple[str, str]:
    """The folder before the first wildcard, and the pattern below it."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if has_wildcards(part))
    base = "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")
    return base, "/".join(parts[first:])


def matcher(pattern: str) -> tuple[Callable[[str], bool], int | None]:
    """A function that says whether a path below the base matches, and how many folders it goes down.

    Raises:
        InputError: the pattern is no glob.
    """
    if len(pattern) > LONGEST:
        raise InputError(
            f"--input {pattern[:60]}…: a glob of {len(pattern):,} characters; at most {LONGEST:,}"
        )
    segments: list[re.Pattern[str] | None] = []  # None: any folders
    for part in pattern.split("/"):
        if part == "**":
            if not segments or segments[-1] is not None:
                segments.append(None)
            continue
        if part.startswith("**"):  # `**.jpg`: at any depth
            segments.append(None)
        segments.append(_segment(part, pattern))
    if segments[-1] is None:
        segments.append(re.compile(r"[^/]+"))
    deep = None if None in segments else len(segments) - 1
    return lambda path: _matches(segments, path.split("/")), deep


def _matches(segments: list[re.Pattern[str] | None], names: list[str]) -> bool:
    at, name = 0, 0
    back: tuple[int, int] | None = None  # behind the latest `**`, and the first name it leaves
    while name < len(names):
        more = at < len(segments)
        segment = segments[at] if more else None
        if more and segment is None:
            at += 1
            back = (at, name)
        elif segment is not None and segment.fullmatch(names[name]):
            at, name = at + 1, name + 1
        elif back is not None:  # the latest `**` takes one folder more
            back = (back[0], back[1] + 1)
            at, name = back
        else:
            return False
    return all(segment is None for segment in segments[at:])


def _segment(part: str, pattern: str) -> re.Pattern[str]:
    """A regular expression for one name."""
    pieces, i = [""], 0
    while i < len(part):
        if part[i] == "*":
            pieces.append("")
            while i < len(part) and part[i] == "*":
                i += 1
        elif part[i] == "?":
            pieces[-1] += "."
            i += 1
        elif part[i] == "[" and "]" in part[i + 2 :]:
            end = part.index("]", i + 2)
            pieces[-1] += _set(part[i + 1 : end], pattern)
            i = end + 1
        else:
            pieces[-1] += re.escape(part[i])
            i += 1
    if len(pieces) == 1:
        return re.compile(pieces[0], re.DOTALL)
    middle = "".join(f"(?>.*?{piece})" for piece in pieces[1:-1])
    return re.compile(f"{pieces[0]}{middle}.*{pieces[-1]}", re.DOTALL)


def _set(inner: str, pattern: str) -> str:
    negated = inner[0] in "!^" and len(inner) > 1
    inner = inner[1:] if negated else inner
    parts, i = "", 0
    while i < len(inner):
        if inner[i + 1 : i + 2] == "-" and i + 2 < len(inner):
            first, last = inner[i], inner[i + 2]
            if first > last:
                raise InputError(f"--input {pattern}: [{inner}] is no set of characters")
            parts += f"{re.escape(first)}-{re.escape(last)}"
            i += 3
        else:
            parts += re.escape(inner[i])
            i += 1
    return f"[{'^' if negated else ''}{parts}]"
