"""Files and folders, whole, on local disks and object storage alike."""

import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs

from reid.errors import InputError, PlaceError
from reid.store.addresses import absolute, is_remote, join, refuse_keys
from reid.store.retries import guarded

_URI_OPTIONS = re.compile(r"\?[a-z_]+=")


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The Arrow filesystem that holds `path`, and the path inside it.

    Raises:
        InputError: the URI's scheme is unknown, or the URI carries options or keys.
        StorageError: the storage has to be asked where the bucket is, and cannot be.
    """
    if not is_remote(path):
        return pafs.LocalFileSystem(), absolute(path)
    refuse_keys(path)
    if _URI_OPTIONS.search(path):
        raise InputError(
            f"{path}: options behind `?` are not understood, as names are joined to this path; "
            "set the environment instead, for example AWS_ENDPOINT_URL and AWS_REGION"
        )
    scheme, _, rest = path.partition("://")
    authority, slash, key = rest.partition("/")
    # Arrow wants a well-formed URI, and undoes the quoting.
    uri = f"{scheme}://{authority}{slash}{quote(key)}"

    def connect() -> tuple[pafs.FileSystem, str]:
        try:
            fs, inner = pafs.FileSystem.from_uri(uri)
        except (pa.ArrowInvalid, ValueError) as error:
            raise InputError(f"{path}: cannot be used as storage: {error}") from error
        return fs, inner

    return guarded(path, "reach", connect)


def exists(path: str) -> bool:
    """True if there is a file or a folder at `path`."""
    fs, inner = filesystem(path)
    info = guarded(path, "look", lambda: fs.get_file_info(inner))
    return bool(info.type != pafs.FileType.NotFound)


def is_folder(path: str) -> bool:
    """True if `path` is a folder (on object storage: something lies under it)."""
    fs, inner = filesystem(path)
    info = guarded(path, "look", lambda: fs.get_file_info(inner))
    return bool(info.type == pafs.FileType.Directory)


def list_files(folder: str, *, recursive: bool = False) -> list[str]:
    """Paths of the files under `folder`, sorted; empty where the folder does not exist.

    Raises:
        PlaceError: there is no such bucket.
    """
    return sorted(list_states(folder, recursive=recursive))


def list_states(folder: str, *, recursive: bool = False) -> dict[str, tuple[int, int]]:
    """Path → size in bytes and time of change (ns since 1970) of the files under `folder`.

    Raises:
        PlaceError: there is no such bucket.
    """
    fs, inner = filesystem(folder)
    selector = pafs.FileSelector(inner, allow_not_found=True, recursive=recursive)
    infos = guarded(folder, "list", lambda: fs.get_file_info(selector))
    if not infos and is_remote(folder):
        # Arrow lists a bucket that is not there as an empty one.
        bucket = inner.partition("/")[0]
        info = guarded(folder, "look", lambda: fs.get_file_info(bucket))
        if info.type == pafs.FileType.NotFound:
            raise PlaceError(f"{folder}: there is no bucket {bucket}. Check the bucket's name")
    inner = inner.rstrip("/")
    return {
        join(folder, info.path[len(inner) :].lstrip("/")): (info.size or 0, info.mtime_ns or 0)
        for info in infos
        if info.type == pafs.FileType.File
    }


def states_of(folder: str, names: Sequence[str]) -> dict[str, tuple[int, int]]:
    """Path → size and time of change, as of `list_states`, of files that are places for one by one.

    Args:
        folder: path or URI.
        names: paths below it; what is no file is not in the answer.
    """
    if not names:
        return {}
    fs, inner = filesystem(folder)
    places = [join(inner, name) for name in names]
    infos = guarded(folder, "look", lambda: fs.get_file_info(places))
    return {
        join(folder, name): (info.size or 0, info.mtime_ns or 0)
        for name, info in zip(names, infos, strict=True)
        if info.type == pafs.FileType.File
    }


def list_folders(folder: str) -> list[str]:
    """Paths of the folders in `folder`, sorted; empty where it does not exist."""
    fs, inner = filesystem(folder)
    selector = pafs.FileSelector(inner, allow_not_found=True)
    infos = guarded(folder, "list", lambda: fs.get_file_info(selector))
    return sorted(
        join(folder, info.base_name) for info in infos if info.type == pafs.FileType.Directory
    )


def last_written(folder: str) -> float | None:
    """When something in `folder` was written last, in seconds since 1970; None: it holds no file."""
    fs, inner = filesystem(folder)
    selector = pafs.FileSelector(inner, allow_not_found=True, recursive=True)
    infos = guarded(folder, "list", lambda: fs.get_file_info(selector))
    files = [info for info in infos if info.type == pafs.FileType.File]
    return max((info.mtime.timestamp() for info in files), default=None)


def read_bytes(path: str) -> bytes:
    """The whole file.

    Raises:
        FileNotFoundError: there is none.
        OSError: it lies on a local disk and cannot be read.
        StorageError: it lies on object storage and cannot be read.
    """
    if not is_remote(path):
        return Path(path).expanduser().read_bytes()
    fs, inner = filesystem(path)

    def read() -> bytes:
        with fs.open_input_stream(inner) as stream:
            return bytes(stream.read())

    return guarded(path, "read", read)


def write_bytes(path: str, data: bytes) -> None:
    """Write the whole file in one atomic step; folders are made as needed."""
    if not is_remote(path):
        write_parts(path, lambda: [data])
        return

    def write() -> None:
        fs, inner = filesystem(path)
        with fs.open_output_stream(inner) as stream:
            stream.write(data)

    guarded(path, "write", write)


def write_parts(path: str, parts: Callable[[], Iterable[bytes | pa.Buffer]]) -> None:
    """Write a file on a local disk in one atomic step, of which not all parts need be in memory at once.

    Args:
        path: the file.
        parts: gives them, from the first on each time that it is called.
    """

    def write() -> None:
        _, inner = filesystem(path)
        target = Path(inner)
        target.parent.mkdir(parents=True, exist_ok=True)
        # The leading dot hides a file that a kill left behind from every reader of the folder.
        descriptor, aside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.writelines(parts())
                stream.flush()
                os.fsync(stream.fileno())
            # mkstemp makes private files; results are shared like any other file.
            Path(aside).chmod(0o666 & ~_umask())
            Path(aside).replace(target)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    guarded(path, "write", write)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_text(path: str, text: str) -> None:
    """Write a text file, UTF-8, atomically."""
    write_bytes(path, text.encode())


def remove(path: str) -> None:
    """Remove a file or a folder with all it holds; nothing happens where there is none."""
    fs, inner = filesystem(path)

    def look_and_remove() -> None:
        info = fs.get_file_info(inner)
        try:
            if info.type == pafs.FileType.Directory:
                fs.delete_dir(inner)
            elif info.type == pafs.FileType.File:
                fs.delete_file(inner)
        except FileNotFoundError:
            return  # somebody else was faster

    guarded(path, "remove", look_and_remove)
