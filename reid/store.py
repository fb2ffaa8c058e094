"""Files and folders on local disks and object storage, under one set of functions.

A path is a plain path or a URI (`s3://bucket/folder`, `gs://bucket/folder`), taken literally: a space
is a space and `%20` is three characters, so that a listed name can be opened. Where object storage is
and who may use it is read from the environment (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, …),
which workers on other machines need as well. A write is complete or absent: locally a file is written aside and renamed; on object storage an object appears when its
upload is closed. Readers never see half a file, so a killed job leaves nothing to clean up.
"""

import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from reid.errors import InputError, StorageError

T = TypeVar("T")

_URI_OPTIONS = re.compile(r"\?[a-z_]+=")


def is_remote(path: str) -> bool:
    """True for a URI such as `s3://…`; a Windows drive letter is not a scheme."""
    return "://" in path


def join(base: str, *parts: str) -> str:
    """`base/part/…` for paths and URIs alike; an absolute or remote part replaces the base."""
    for part in parts:
        if is_remote(part) or part.startswith("/"):
            base = part
        else:
            base = f"{base.rstrip('/')}/{part}" if base not in ("", "/") else base + part
    return base


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The Arrow filesystem that holds `path`, and the path inside it.

    Raises:
        InputError: the URI's scheme is unknown, or the URI carries options.
    """
    if not is_remote(path):
        return pafs.LocalFileSystem(), str(Path(path).expanduser().absolute())
    if _URI_OPTIONS.search(path):
        raise InputError(
            f"{path}: options behind `?` are not understood, as names are joined to this path; "
            "set the environment instead, for example AWS_ENDPOINT_URL and AWS_REGION"
        )
    scheme, _, rest = path.partition("://")
    authority, slash, key = rest.partition("/")
    try:
        # Arrow wants a well-formed URI, and undoes the quoting.
        fs, inner = pafs.FileSystem.from_uri(f"{scheme}://{authority}{slash}{quote(key)}")
    except (pa.ArrowInvalid, ValueError) as error:
        raise InputError(f"{path}: cannot be used as storage: {error}") from error
    return fs, inner


def _guarded(path: str, action: str, run: Callable[[], T]) -> T:
    """Turn what storage throws into a StorageError that names the path; a missing file stays one."""
    try:
        return run()
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{path}: cannot {action}: {error}") from error


def exists(path: str) -> bool:
    """True if there is a file or a folder at `path`."""
    fs, inner = filesystem(path)
    info = _guarded(path, "look", lambda: fs.get_file_info(inner))
    return bool(info.type != pafs.FileType.NotFound)


def is_folder(path: str) -> bool:
    """True if `path` is a folder (on object storage: something lies under it)."""
    fs, inner = filesystem(path)
    info = _guarded(path, "look", lambda: fs.get_file_info(inner))
    return bool(info.type == pafs.FileType.Directory)


def list_files(folder: str, *, recursive: bool = False) -> list[str]:
    """Paths of the files under `folder`, sorted; empty where the folder does not exist."""
    fs, inner = filesystem(folder)
    selector = pafs.FileSelector(inner, allow_not_found=True, recursive=recursive)
    infos = _guarded(folder, "list", lambda: fs.get_file_info(selector))
    inner = inner.rstrip("/")
    return sorted(
        join(folder, info.path[len(inner) :].lstrip("/"))
        for info in infos
        if info.type == pafs.FileType.File
    )


def read_bytes(path: str) -> bytes:
    """The whole file.

    Raises:
        FileNotFoundError: there is none.
        OSError: it cannot be read.
    """
    if not is_remote(path):
        return Path(path).expanduser().read_bytes()
    fs, inner = filesystem(path)
    with fs.open_input_stream(inner) as stream:
        return bytes(stream.read())


def write_bytes(path: str, data: bytes) -> None:
    """Write the whole file in one atomic step; folders are made as needed."""

    def write() -> None:
        fs, inner = filesystem(path)
        if is_remote(path):
            with fs.open_output_stream(inner) as stream:
                stream.write(data)
            return
        target = Path(inner)
        target.parent.mkdir(parents=True, exist_ok=True)
        # The leading dot hides a file that a kill left behind from every reader of the folder.
        descriptor, aside = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            # mkstemp makes private files; results are shared like any other file.
            Path(aside).chmod(0o666 & ~_umask())
            Path(aside).replace(target)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise

    _guarded(path, "write", write)


def _umask() -> int:
    current = os.umask(0)
    os.umask(current)
    return current


def write_text(path: str, text: str) -> None:
    """Write a text file, UTF-8, atomically."""
    write_bytes(path, text.encode())


def write_json(path: str, value: Any) -> None:
    """Write `value` as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: str) -> Any:
    """The value of a JSON file."""
    return json.loads(read_bytes(path))


def write_table(path: str, table: pa.Table, *, row_group_rows: int | None = None) -> None:
    """Write one Parquet file, atomically."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", row_group_size=row_group_rows)
    write_bytes(path, sink.getvalue().to_pybytes())


def read_table(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one Parquet file.

    Raises:
        FileNotFoundError: there is none.
        StorageError: it is not Parquet, or cannot be read.
    """
    fs, inner = filesystem(path)
    # ParquetFile, not read_table: the latter guesses partition columns from folder names.
    return _guarded(
        path,
        "read",
        lambda: pq.ParquetFile(inner, filesystem=fs).read(
            columns=list(columns) if columns else None
        ),
    )


def iter_tables(paths: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The tables of several Parquet files, one at a time."""
    for path in paths:
        yield read_table(path, columns)


def remove(path: str) -> None:
    """Remove a file or a folder with all it holds; nothing happens where there is none."""
    fs, inner = filesystem(path)
    info = _guarded(path, "look", lambda: fs.get_file_info(inner))
    if info.type == pafs.FileType.Directory:
        _guarded(path, "remove", lambda: fs.delete_dir(inner))
    elif info.type == pafs.FileType.File:
        _guarded(path, "remove", lambda: fs.delete_file(inner))
