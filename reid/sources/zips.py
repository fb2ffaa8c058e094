"""Tables in .zip files, as other programs export them."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from reid import store
from reid.errors import InputError, StorageError

MOST_BYTES = 2 << 30  # of what the tables unpack to
ENDINGS = (".csv", ".csv.gz", ".json")


@contextmanager
def _opened(source: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(io.BytesIO(store.read_bytes(source))) as archive:
            yield archive
    except (InputError, StorageError):
        raise
    except (zipfile.BadZipFile, zlib.error, OSError, NotImplementedError, RuntimeError, ValueError,
            EOFError) as error:  # fmt: skip
        raise InputError(f"--input {source}: this is no .zip, or a damaged one: {error}") from error


def zipped_names(source: str) -> list[str]:
    """Names of the files in a .zip.

    Raises:
        InputError: it is none, or a damaged one.
    """
    with _opened(source) as archive:
        return [name for name in archive.namelist() if not name.startswith("__MACOSX/")]


def zipped_tables(source: str) -> dict[str, bytes]:
    """Name within the .zip → contents, of its tables and descriptors.

    Raises:
        InputError: it is no .zip, a damaged or a locked one, or unpacks to too much.
    """
    with _opened(source) as archive:
        entries = [
            one
            for one in archive.infolist()
            if one.filename.lower().endswith(ENDINGS) and not one.filename.startswith("__MACOSX/")
        ]
        size = sum(entry.file_size for entry in entries)
        if size > MOST_BYTES:
            raise InputError(f"--input {source}: its tables unpack to {size / 2**30:.1f} GiB")
        return {entry.filename: archive.read(entry) for entry in entries}


def gunzipped(data: bytes) -> bytes:
    """What a .gz file holds.

    Raises:
        InputError: it is none, or unpacks to too much. The message has no file name.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(data, MOST_BYTES)
    except zlib.error as error:
        raise InputError(f"it is no .gz file, or a damaged one: {error}") from error
    if not unpacker.eof:
        raise InputError("it is cut off, or unpacks to more than 2 GiB")
    return found
