"""Paths of images: what is there, below which root, and one spelling for each."""

import os
import posixpath
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from reid import store

Kind = Literal["folder", "file", "special", "closed", "absent"]

# Spellings that `posixpath.normpath` would change.
_ODD = r"//|(?:^|/)\.\.?(?:/|$)|/$"
_DRIVE = re.compile(r"^[A-Za-z]:[\\/]|^\\\\")


def look(path: str) -> Kind:
    """What lies at a path or URI. `special` is what must not be opened: pipes, sockets, devices.

    Raises:
        StorageError: object storage cannot be reached.
        InputError: it is a URI that nothing can be read from.
    """
    if store.is_remote(path):
        if store.is_folder(path):
            return "folder"
        return "file" if store.exists(path) else "absent"
    try:
        mode = Path(path).expanduser().stat().st_mode
    except PermissionError:
        return "closed"
    except (OSError, ValueError, RuntimeError):  # too long, a loop of links, a zero byte, no home
        return "absent"
    if stat.S_ISDIR(mode):
        return "folder"
    return "file" if stat.S_ISREG(mode) else "special"


def size_of(path: str) -> int:
    """Bytes of a file; 0 where there is none."""
    if store.is_remote(path):
        return store.states_of(parent(path), [path.rpartition("/")[2]]).get(path, (0, 0))[0]
    try:
        return Path(path).expanduser().stat().st_size
    except (OSError, ValueError, RuntimeError):  # as in `look`
        return 0


def parent(path: str) -> str:
    """The folder of a path or URI."""
    head, _, _ = path.rstrip("/").rpartition("/")
    return head or ("/" if path.startswith("/") else ".")


def absolute(path: str) -> str:
    """A path from the root of the disk, in one spelling; URIs stay."""
    if store.is_remote(path):
        return path.rstrip("/")
    return os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111  for a million names


def relative(path: str, root: str) -> str:
    """`path` below the absolute `root`; outside of it the path from the root of the disk."""
    if store.is_remote(path) != store.is_remote(root):
        return path if store.is_remote(path) else absolute(path)
    whole = absolute(path)
    prefix = root.rstrip("/") + "/"
    return whole.removeprefix(prefix)


def real(path: str) -> str:
    """The absolute path without links."""
    if store.is_remote(path):
        return path
    try:
        return os.path.realpath(Path(path).expanduser())
    except (OSError, ValueError, RuntimeError):  # as in `look`
        return path


def one_spelling(paths: pa.Array, root: str) -> pa.Array:
    r"""Image paths of a table: `./a//b.jpg` and `a/b.jpg` are one, and so are `a\b.jpg` and `a/b.jpg`.

    Args:
        paths: strings, relative to `root`, absolute, or URIs.
        root: absolute.

    Returns:
        As many, relative to root where they lie below it.
    """
    cut = pc.utf8_trim_whitespace(paths)
    backslashed = pc.fill_null(pc.match_substring(cut, pattern="\\"), False)
    if pc.any(backslashed).as_py():
        slashed = pc.replace_substring(cut, pattern="\\", replacement="/")
        # On this system a backslash may be part of a name.
        as_named = [
            bool(at) and look(store.join(root, name)) == "file"
            for at, name in zip(backslashed.to_pylist(), cut.to_pylist(), strict=True)
        ]
        cut = pc.if_else(pa.array(as_named), cut, slashed)
    remote = pc.match_substring(cut, pattern="://")
    odd = pc.and_not(pc.match_substring_regex(cut, pattern=_ODD), remote)
    whole = pc.or_(pc.starts_with(cut, pattern="/"), remote)
    changes = pc.fill_null(pc.or_(odd, whole), False)
    if not pc.any(changes).as_py():
        return cut
    rows = pc.indices_nonzero(changes)
    spelled = [_spelled(path, root) for path in cut.take(rows).to_pylist()]
    return pc.replace_with_mask(cut, changes, pa.array(spelled, pa.string()))


def _spelled(path: str, root: str) -> str:
    if store.is_remote(path):
        if path.startswith("file:///"):
            return _spelled(path[7:], root)
        return relative(path, root) if store.is_remote(root) else path
    if path.startswith("/"):
        return relative(path, root) if not store.is_remote(root) else path
    plain = posixpath.normpath(path)
    if plain.startswith("../") and not store.is_remote(root):
        return relative(f"{root}/{plain}", root)
    return plain


def is_windows_path(path: str) -> bool:
    r"""A path with a drive or a server of Windows: `E:\cam1\a.jpg`."""
    return _DRIVE.match(path) is not None


def common_root(roots: Sequence[str]) -> str | None:
    """The folder above all of these, if they lie on one storage."""
    if len({store.is_remote(root) for root in roots}) > 1 or store.is_remote(roots[0]):
        return None
    return os.path.commonpath(roots)
