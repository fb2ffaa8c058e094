"""Files and folders on local disks and object storage, under one set of functions.

A path is a plain path or a URI (`s3://bucket/folder`, `gs://bucket/folder`), taken literally: a space
is a space and `%20` is three characters, so that a listed name can be opened. Where object storage is
and who may use it is read from the environment (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, …),
which workers on other machines need as well. A write is complete or absent: locally a file is written
aside and renamed; on object storage an object appears when its upload is closed. Readers never see
half a file, so a killed job leaves nothing to clean up.

Object storage that is busy or out of reach for a moment is asked again, with pauses that grow, for
`RETRY_SECONDS`. What will not pass by itself (no such bucket, no access) is an error at once.
"""

import json
import logging
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs

from reid import parquet
from reid.errors import InputError, PlaceError, StorageDownError, StorageError
from reid.value_digests import value_digest

T = TypeVar("T")

RETRY_SECONDS = 120.0  # in which a request may fail again and again before it counts as failed
# On S3 Arrow asks every 0.2 s for 6 s before it reports an error. These pauses come on top of that.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 20.0

# What passes by itself, in the words of S3's client and of Google's. Unknown errors are taken to last:
# to ask again for an error that stays would hide it for RETRY_SECONDS.
_PASSING = re.compile(
    r"AWS Error (NETWORK_CONNECTION|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING"
    r"|REQUEST_TIMEOUT|UNKNOWN \(HTTP status (408|429|5\d\d)\))"
    r"|google::cloud::Status\((UNAVAILABLE|DEADLINE_EXCEEDED|INTERNAL|RESOURCE_EXHAUSTED|ABORTED)"
)
# A bucket that is not there, or is somebody else's; keys that are wrong.
WRONG_PLACE = re.compile(
    r"NO_SUCH_BUCKET|NoSuchBucket|Bucket '[^']*' not found|ACCESS_DENIED|AccessDenied"
    r"|INVALID_ACCESS_KEY_ID|InvalidAccessKeyId|SIGNATURE_DOES_NOT_MATCH|SignatureDoesNotMatch"
    r"|INVALID_CLIENT_TOKEN_ID|HTTP status 403|PERMISSION_DENIED"
)
_log = logging.getLogger(__name__)

SEAL = "digest"  # key of a JSON object's digest of itself

_URI_OPTIONS = re.compile(r"\?[a-z_]+=")
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


def filesystem(path: str) -> tuple[pafs.FileSystem, str]:
    """The Arrow filesystem that holds `path`, and the path inside it.

    Raises:
        InputError: the URI's scheme is unknown, or the URI carries options or keys.
        StorageError: the storage has to be asked where the bucket is, and cannot be.
    """
    if not is_remote(path):
        return pafs.LocalFileSystem(), str(Path(path).expanduser().absolute())
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


def guarded(path: str, action: str, run: Callable[[], T]) -> T:
    """Do what may be done twice, until it works; errors name the path, a missing file stays one.

    Raises:
        StorageDownError: it failed for RETRY_SECONDS, each time with an error that may pass.
        PlaceError: the bucket is not there, or closed to us.
        StorageError: any other error, at once.
    """
    started = time.monotonic()
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return run()
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException) as error:
            if is_remote(path) and WRONG_PLACE.search(str(error)):
                raise PlaceError(
                    f"{path}: cannot {action}: {error}. Check the bucket's name, and the keys and the region "
                    "in the environment"
                ) from error
            if not (is_remote(path) and _PASSING.search(str(error))):
                raise StorageError(f"{path}: cannot {action}: {error}") from error
            spent = time.monotonic() - started
            if spent + pause > RETRY_SECONDS:
                raise StorageDownError(
                    f"{path}: cannot {action}, for {spent:.0f} s now: {error}. The storage is out of "
                    "reach or overloaded; run the same command again later, it goes on from here"
                ) from error
            # Workers that failed together must not come back together.
            wait = pause * random.uniform(0.5, 1)  # noqa: S311  no secret
            _log.warning("%s: cannot %s: %s; again in %.1f s", path, action, error, wait)
            time.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


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
    """Path → size and time of change, as of `list_states`, of files that are asked for one by one.

    Args:
        folder: path or URI.
        names: paths below it; what is no file is not in the answer.
    """
    if not names:
        return {}
    fs, inner = filesystem(folder)
    asked = [join(inner, name) for name in names]
    infos = guarded(folder, "look", lambda: fs.get_file_info(asked))
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

    guarded(path, "write", write)


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
    """The value of a JSON file.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not JSON.
    """
    raw = read_bytes(path)
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise parquet.damaged(path, f"not JSON: {error}") from error


def write_sealed(path: str, value: Mapping[str, Any]) -> None:
    """Write a JSON object with a digest of itself, by which `read_sealed` notices any change."""
    plain = json.loads(json.dumps(value, allow_nan=False))
    plain.pop(SEAL, None)
    write_json(path, {**plain, SEAL: value_digest(plain)})


def read_sealed(path: str) -> dict[str, Any]:
    """The JSON object of `write_sealed`; one without a digest, of an earlier version, as it is.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is no JSON object, or was changed after it was written.
    """
    value = read_json(path)
    if not isinstance(value, dict):
        raise parquet.damaged(path, f"a JSON object is needed, and this is {type(value).__name__}")
    seal = value.pop(SEAL, None)
    if seal is not None and seal != value_digest(value):
        raise parquet.damaged(path, "it was changed after it was written")
    return value


def write_table(
    path: str,
    table: pa.Table,
    *,
    row_group_rows: int | None = None,
    about: Mapping[str, str] | None = None,
) -> None:
    """Write one Parquet file, atomically, with digests of what it holds (`reid.parquet`).

    Args:
        path: file or URI.
        table: what to write.
        row_group_rows: rows of each row group.
        about: what it belongs to; `read_table` compares it.
    """
    encoded = parquet.encode(table, row_group_rows=row_group_rows, about=about)
    write_bytes(path, encoded.to_pybytes())


def read_table(
    path: str, columns: Sequence[str] | None = None, *, about: Mapping[str, str] | None = None
) -> pa.Table:
    """Read one Parquet file, and check it against the digests in it, where it has some.

    Args:
        path: file or URI.
        columns: all by default.
        about: what it must belong to, where it says so.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not Parquet, was damaged, or lacks a column.
        StorageError: it cannot be read.
    """
    return _read_parquet(path, columns=columns, about=about)


def read_schema(path: str) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    fs, inner = filesystem(path)

    def read() -> pa.Schema:
        with fs.open_input_file(inner) as stream:
            return parquet.schema_of(stream, path)

    return guarded(path, "read", read)


def read_row_group(path: str, group: int) -> pa.Table:
    """Read one row group of a Parquet file, by its number.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedError: it was damaged.
        StorageError: it cannot be read.
    """
    return _read_parquet(path, group=group)


def _read_parquet(path: str, **selection: Any) -> pa.Table:
    fs, inner = filesystem(path)

    def read() -> pa.Table:
        with fs.open_input_file(inner) as stream:
            return parquet.decode(stream, path, **selection)

    return guarded(path, "read", read)


def iter_tables(paths: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The tables of several Parquet files, one at a time."""
    for path in paths:
        yield read_table(path, columns)


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
