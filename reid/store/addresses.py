"""Paths and URIs as text: which they are, how they are joined, what may not be in them."""

import re
from pathlib import Path

from reid.errors import InputError

_URI_KEYS = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*://)[^/]*@")


def is_remote(path: str) -> bool:
    """True for a URI such as `s3://…`; a Windows drive letter is not a scheme."""
    return "://" in path


def refuse_keys(text: str, what: str = "") -> None:
    """Refuse a URI that carries a name or a key, as `s3://KEY:SECRET@bucket` does.

    It would be written down in configurations, tables and logs. The message leaves it out.

    Raises:
        InputError: it does.
    """
    if _URI_KEYS.match(text):
        shown = _URI_KEYS.sub(r"\1…@", text)
        raise InputError(
            f"{what}{': ' if what else ''}{shown}: keys do not belong into a path, which is written down in "
            "many places; leave them out and set the environment instead (AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY, GOOGLE_APPLICATION_CREDENTIALS, …)"
        )


def join(base: str, *parts: str) -> str:
    """`base/part/…` for paths and URIs alike; an absolute or remote part replaces the base."""
    for part in parts:
        if is_remote(part) or part.startswith("/"):
            base = part
        else:
            base = f"{base.rstrip('/')}/{part}" if base not in ("", "/") else base + part
    return base


def absolute(path: str) -> str:
    """A local path from the root on, `~` spelled out; a URI as it is."""
    return path if is_remote(path) else str(Path(path).expanduser().absolute())
