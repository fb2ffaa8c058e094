"""Delta tables on local disks and object storage, and what can go wrong with them."""

import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.fs as pafs

from reid import optional, store
from reid.errors import DamagedError, InputError, PlaceError, ReidError, StorageError
from reid.parquet import damaged
from reid.schema import conform

T = TypeVar("T")

# The history is the catalogue's memory: by default Delta writers delete its log after 30 days.
KEEP_LOG = {
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.enableExpiredLogCleanup": "false",
}


_UNSAFE_REMOTE = re.compile(r"[^A-Za-z0-9._~:/@=+-]")
_UNSAFE_LOCAL = re.compile("%")
# What says that bytes were read and are not what was written, by Arrow, deltalake and its parts.
_DAMAGE = re.compile(
    r"parquet|thrift|corrupt|checksum|magic|deserializ|expected value|EOF while|invalid (type|utf-?8|log)"
    r"|json|snappy|zstd|decod|missing field|unknown variant|Kernel error|trailing characters",
    re.IGNORECASE,
)
# What may pass by itself, in the words of deltalake's own client of object storage.
_PASSING = re.compile(
    r"after \d+ retries|error sending request|connection (closed|refused|reset)"
    r"|status code: (408|429|5\d\d)|server error|operation timed out|<Code>SlowDown</Code>",
    re.IGNORECASE,
)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def options(path: str) -> dict[str, str]:
    """Storage options for deltalake, which reads the rest from the environment as `reid.store` does."""
    if not path.startswith("s3://"):
        return {}
    # A commit is an object that must not exist yet; without this condition writers overwrite.
    chosen = {"aws_conditional_put": os.environ.get("AWS_CONDITIONAL_PUT", "etag")}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    if endpoint.startswith("http://"):
        chosen["aws_allow_http"] = "true"
    return chosen


def check_place(path: str) -> None:
    """Refuse names that deltalake 1.6 garbles: it decodes %20, and encodes a space twice.

    Raises:
        InputError: with the characters that cannot be used.
    """
    pattern = _UNSAFE_REMOTE if store.is_remote(path) else _UNSAFE_LOCAL
    wrong = sorted(set(pattern.findall(store.absolute(path))))
    if wrong:
        raise InputError(
            f"{path}: a catalogue cannot lie in a folder with {' '.join(map(repr, wrong))} in its "
            "name; choose another name"
        )


def plain(error: BaseException) -> str:
    """What an error says, in one line and without the colours that deltalake draws with."""
    return " ".join(_COLOURS.sub("", str(error)).split())


def passes(error: Exception) -> bool:
    """May it pass by itself, so that whoever may ask twice should?"""
    return not isinstance(error, ReidError) and _PASSING.search(plain(error)) is not None


def guarded(path: str, action: str, run: Callable[[], T]) -> T:
    """Do what may be done twice; what deltalake and Arrow throw becomes an error that names the table.

    Raises:
        FileNotFoundError: as it comes.
        DamagedError: what lies there cannot be understood, or a file of it is gone.
        StorageError: storage failed.
    """
    delta = optional.deltalake()
    try:
        return store.ask_again(path, action, run, passes)
    except FileNotFoundError as error:
        if error.errno is not None:
            raise
        raise gone(path, error) from error
    except (delta.exceptions.DeltaError, OSError, pa.ArrowException, ValueError) as error:
        if isinstance(error, ReidError):
            raise
        if store.is_remote(path) and store.WRONG_PLACE.search(plain(error)):
            raise PlaceError(f"{path}: cannot {action}: {plain(error)}") from error
        if _DAMAGE.search(plain(error)) or isinstance(error, ValueError):
            raise damaged(path, f"cannot {action}: {plain(error)}") from error
        raise StorageError(f"{path}: cannot {action}: {plain(error)}") from error
    except BaseException as error:
        # deltalake's Rust gives up on some damaged files by a panic, which is no Exception.
        if type(error).__name__ == "PanicException":
            raise damaged(path, f"cannot {action}: {plain(error)}") from error
        raise


def gone(path: str, error: BaseException) -> DamagedError:
    """The error for a table of which a file is missing."""
    return DamagedError(
        f"{path}: a file of this table is gone ({plain(error)[:300]}); restore it from a copy"
    )


def open_table(path: str, version: int | None = None) -> Any | None:
    """The DeltaTable at `path`, at a version or as it is now; None where there is none.

    Raises:
        StorageError: storage cannot be read, or the version is not there.
    """
    delta = optional.deltalake()

    def load() -> Any | None:
        try:
            return delta.DeltaTable(
                store.absolute(path), version=version, storage_options=options(path)
            )
        except delta.exceptions.TableNotFoundError:
            return None

    return guarded(path, "open the Delta table", load)


def create_table(
    path: str,
    schema: pa.Schema,
    *,
    partition_by: list[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Any:
    """The DeltaTable at `path`, made if it is not there; who comes second opens the first's.

    Raises:
        StorageError: it can neither be made nor opened.
    """
    delta = optional.deltalake()

    def create() -> Any:
        return delta.DeltaTable.create(
            store.absolute(path),
            schema=schema,
            partition_by=partition_by,
            configuration=KEEP_LOG,
            storage_options=options(path),
            commit_properties=properties(metadata),
        )

    try:
        return guarded(path, "create the Delta table", create)
    except (DamagedError, StorageError):  # or it is there: the message names a file of its log
        table = open_table(path)
        if table is None:
            raise
        return table


def properties(
    metadata: Mapping[str, Any] | None = None, transaction: tuple[str, int] | None = None
) -> Any:
    """Commit properties under which a commit on an outdated version always fails.

    Delta would otherwise try again on top of commits that do not touch the same rows; here a run
    depends on every row that it has read.
    """
    delta = optional.deltalake()
    return delta.CommitProperties(
        custom_metadata=dict(metadata or {}),
        max_commit_retries=0,
        app_transactions=[delta.Transaction(*transaction)] if transaction else None,
    )


def read(path: str, table: Any, schema: pa.Schema, **selection: Any) -> pa.Table:
    """The rows of a DeltaTable with the types of `schema`.

    Args:
        path: for messages.
        table: a DeltaTable; columns that came after it was made are null.
        schema: of the columns wanted, all or some of the table's.
        selection: `filters` of DeltaTable.to_pyarrow_table.
    """
    has = column_names(table)

    def run() -> pa.Table:
        # Arrow's own file system: with deltalake's, which is Python, Arrow's threads may let go of a
        # file after Python has ended, and the process aborts (apache/arrow#34314, #45017).
        fs, inner = store.filesystem(path)
        rooted = pafs.SubTreeFileSystem(inner, fs)
        names = [name for name in schema.names if name in has]
        return table.to_pyarrow_table(columns=names, filesystem=rooted, **selection)

    try:
        rows = guarded(path, "read", lambda: _asking_again(path, run))
    except FileNotFoundError as error:
        raise gone(path, error) from error
    return conform(rows, schema)  # casts too: Delta has no lists of fixed length


def check_files(path: str, table: Any) -> None:
    """Are the files of a DeltaTable there, each as long as its log says? What is in them is not read.

    Raises:
        DamagedError: one is gone, or has another length.
        StorageError: storage cannot be read.
    """
    added = pa.table(table.get_add_actions(flatten=True))
    states = store.list_states(path, recursive=True)
    sizes = {file[len(path) :].lstrip("/"): size for file, (size, _) in states.items()}
    for name, size in zip(added["path"].to_pylist(), added["size_bytes"].to_pylist(), strict=True):
        file = unquote(name)  # as in a URL
        if sizes.get(file, sizes.get(name)) != size:
            raise damaged(
                store.join(path, file), f"gone, or not of {size:,} bytes as was committed"
            )


def _asking_again(path: str, run: Callable[[], T]) -> T:
    """Object storage that is out of reach for a while is asked again; what is damaged is not."""
    if not store.is_remote(path):
        return run()
    return store.guarded(path, "read", run)


def column_names(table: Any) -> set[str]:
    """The columns of a DeltaTable."""
    return {field.name for field in table.schema().fields}
