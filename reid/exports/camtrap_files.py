"""The files of a Camtrap DP package: a folder, or a .zip with the same in it."""

import io
import os
import posixpath
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reid import store
from reid.errors import InputError, StorageError

DESCRIPTOR = "datapackage.json"
MOST_BYTES = 2 * 2**30  # of a table, unpacked
_UNREADABLE = (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError)


def is_archive(path: str) -> bool:
    """Whether a package is, or is to be, a .zip."""
    return path.lower().endswith(".zip")


def is_inside(name: str) -> bool:
    """Whether a path of a package stays in it: no web address, no drive, no way up."""
    plain = posixpath.normpath(name.replace("\\", "/"))
    outside = plain == "." or plain.startswith(("/", "~")) or plain.split("/")[0] == ".."
    return not outside and "://" not in name and not re.match(r"[A-Za-z]:", name)


class PackageFiles:
    """What lies in a package, by its path below datapackage.json.

    Attributes:
        place: the folder or the .zip, a path or URI.
        archive: whether it is a .zip.
    """

    def __init__(self, path: str) -> None:
        """Open it.

        Args:
            path: folder, datapackage.json, or .zip.

        Raises:
            InputError: a .zip that cannot be read, or that holds no datapackage.json.
        """
        self.archive = is_archive(path)
        folder = posixpath.dirname(path) or "." if path.endswith(DESCRIPTOR) else path
        self.place = path if self.archive else folder
        if not self.archive:
            return
        try:
            source = io.BytesIO(store.read_bytes(path)) if store.is_remote(path) else path
            self._zip = zipfile.ZipFile(source)
        except FileNotFoundError:
            raise InputError(f"--package {path}: there is no such file") from None
        except (*_UNREADABLE, OSError) as error:
            raise InputError(
                f"--package {path}: this is no .zip, or a damaged one: {error}"
            ) from error
        found = [one for one in self._zip.namelist() if posixpath.basename(one) == DESCRIPTOR]
        if not found:
            raise InputError(f"--package {path}: no {DESCRIPTOR} in it")
        # Some programs pack the folder, others what lies in it.
        self._above = posixpath.dirname(min(found, key=lambda one: (one.count("/"), one)))

    def path_of(self, name: str) -> str:
        """Where a file of a folder lies."""
        return store.join(self.place, name)

    def read(self, name: str) -> bytes:
        """The bytes of a file.

        Raises:
            FileNotFoundError: there is none of that name.
            InputError: the .zip is damaged there.
        """
        if not self.archive:
            return store.read_bytes(self.path_of(name))
        try:
            return self._zip.read(self._entry(name))
        except _UNREADABLE as error:
            raise InputError(f"--package {self.place}: {name} is damaged: {error}") from error

    @contextmanager
    def on_disk(self, names: Iterable[str]) -> Iterator[Callable[[str], str]]:
        """Tables as files: gives name → path, or URI, for as long as it is open.

        Raises:
            InputError: one of a .zip is damaged or larger than MOST_BYTES.
        """
        if not self.archive:
            yield self.path_of
            return
        with tempfile.TemporaryDirectory() as folder:
            local = {name: str(Path(folder, f"{number}-{posixpath.basename(name)}"))
                     for number, name in enumerate(names)}  # fmt: skip
            for name, path in local.items():
                try:
                    size = self._entry(name).file_size
                    if size > MOST_BYTES:
                        raise InputError(
                            f"--package {self.place}: {name} unpacks to {size / 2**30:.1f} GiB"
                        )
                    Path(path).write_bytes(self.read(name))
                except FileNotFoundError:
                    raise InputError(
                        f"--package {self.place}: there is no such file in it: {name}"
                    ) from None
            yield lambda name: local[name]

    def _entry(self, name: str) -> zipfile.ZipInfo:
        try:
            return self._zip.getinfo(posixpath.join(self._above, posixpath.normpath(name)))
        except KeyError:
            raise FileNotFoundError(name) from None


@contextmanager
def packing(out: str) -> Iterator[Callable[[str, bytes], None]]:
    """Write a .zip, complete or not at all: gives a function of name and bytes.

    Pictures are compressed already and stored as they are.

    Raises:
        StorageError: it cannot be written.
    """
    remote = store.is_remote(out)
    folder = None if remote else Path(out).expanduser().absolute().parent
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(suffix=".zip", dir=folder)
    except OSError as error:
        raise StorageError(f"{out}: cannot be written: {error}") from error
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w") as archive:

            def put(name: str, data: bytes) -> None:
                how = (
                    zipfile.ZIP_DEFLATED if name.endswith((".csv", ".json")) else zipfile.ZIP_STORED
                )
                archive.writestr(zipfile.ZipInfo(name), data, how)

            yield put
        if remote:
            store.write_bytes(out, Path(aside).read_bytes())
        else:
            Path(aside).chmod(0o644)
            Path(aside).replace(Path(out).expanduser())
    finally:
        Path(aside).unlink(missing_ok=True)
