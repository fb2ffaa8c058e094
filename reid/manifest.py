"""Sources to annotations: folders, globs, lists, CSV and Parquet become one table.

Images are not opened here: a file that cannot be read is a row in `failures` when it is embedded.
"""

import hashlib
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import pyarrow as pa

from reid import schema, store
from reid.errors import InputError

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})

# Columns as other people call them. The right-hand names are those of DESIGN's annotations table.
ALIASES = {
    "path": "image_path",
    "file_path": "image_path",
    "filepath": "image_path",
    "file_name": "image_path",
    "orientation": "viewpoint",
    "date": "timestamp",
    "datetime": "timestamp",
    "individual": "identity",
    "name": "identity",
    "encounter": "encounter_id",
    "location": "location_id",
}
NULL_WORDS = frozenset({"", "nan", "none", "null", "<na>"})
UNKNOWN_IDENTITY = "unknown"  # wildlife-datasets' word for an animal that nobody has named

_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def annotation_id(image_path: str, bbox: Sequence[float] | None) -> str:
    """A stable id: 24 hex digits from the image's path in its collection and the box."""
    box = "" if bbox is None else ",".join(f"{float(value):.3f}" for value in bbox)
    return hashlib.blake2b(f"{image_path}\n{box}".encode(), digest_size=12).hexdigest()


def source_key(root: str, image_path: str, bbox: Sequence[float] | None) -> str:
    """16 hex digits that change when another picture takes an annotation's id.

    On local disks over the box and the file's size and time of change, so that a collection may be
    moved; on object storage, which would have to be asked for each of them, over the file's place.
    """
    path = store.join(root, image_path)
    written = path
    if not store.is_remote(path):
        try:
            status = Path(path).stat()
            written = f"{status.st_size} {status.st_mtime_ns}"
        except OSError:  # found out, and reported, when it is embedded
            written = "absent"
    box = None if bbox is None else [float(value) for value in bbox]
    return hashlib.blake2b(f"{box}\n{written}".encode(), digest_size=8).hexdigest()


def known_identity(name: str | None) -> str | None:
    """The identity that a label stands for: None where it is empty or says "unknown"."""
    if name is None or name.strip().lower() in NULL_WORDS | {UNKNOWN_IDENTITY}:
        return None
    return name.strip()


def read_annotations(
    inputs: Sequence[str],
    *,
    root: str | None = None,
    species: str | None = None,
    identity_from_parent: bool = False,
) -> tuple[pa.Table, list[str]]:
    """Read every source into one annotations table.

    Args:
        inputs: folders (searched recursively), globs, single images, `.txt` files that list any of
            these, and `.csv` or `.parquet` tables with an image path in each row.
        root: folder that image paths are relative to. Default: the folder given, the part of a glob
            before its first wildcard, or the folder of the table.
        species: species of rows that name none; "unknown" if not given.
        identity_from_parent: take an image's identity from the name of the folder it lies in.

    Returns:
        The table (schema.ANNOTATIONS, one row an animal box, in the order of the inputs), and notes
        in plain words about rows that were merged or values that were not understood.

    Raises:
        InputError: a source does not exist, holds no image, or a row cannot be read.
    """
    if not inputs:
        raise InputError(
            "no input: give --input a folder, a glob, a .txt list, a .csv or a .parquet"
        )
    notes: list[str] = []
    frames = [frame for source in inputs for frame in _read_source(source, root, notes, seen=())]
    frame = pd.concat(frames, ignore_index=True)
    if identity_from_parent:
        parents = [PurePosixPath(path).parent.name or None for path in frame["image_path"]]
        frame["identity"] = pd.Series(parents, dtype=object)
        if frame["identity"].isna().all():
            raise InputError(
                "--identity-from-parent: no image lies in a folder of its own below the root; "
                "give the folder above the individuals' folders as --input or --root"
            )
    _clean_labels(frame, species)
    return _to_table(_merge_repeats(frame, notes)), notes


def _read_source(
    source: str, root: str | None, notes: list[str], seen: tuple[str, ...]
) -> Iterator[pd.DataFrame]:
    suffix = PurePosixPath(source).suffix.lower()
    if any(character in source for character in "*?[") and not store.exists(source):
        base, matches = _expand_glob(source)
        yield _image_frame(source, matches, root or base)
    elif not store.exists(source):
        raise InputError(f"--input {source}: there is no such file or folder")
    elif store.is_folder(source):
        files = [path for path in store.list_files(source, recursive=True) if _is_image(path)]
        yield _image_frame(source, files, root or source)
    elif suffix in EXTENSIONS:
        yield _image_frame(source, [source], root or _parent(source))
    elif suffix in (".csv", ".parquet"):
        yield _table_frame(source, root, notes)
    elif suffix == ".txt":
        if source in seen:
            raise InputError(
                f"--input {source}: the list includes itself: {' → '.join((*seen, source))}"
            )
        yield from _read_list(source, root, notes, (*seen, source))
    else:
        raise InputError(
            f"--input {source}: unknown kind of source {suffix or 'without an ending'!r}; "
            f"known: folder, glob, .txt, .csv, .parquet, {', '.join(sorted(EXTENSIONS))}"
        )


def _read_list(
    source: str, root: str | None, notes: list[str], seen: tuple[str, ...]
) -> Iterator[pd.DataFrame]:
    """A text file's lines; images among them become one frame, other sources one each."""
    images: list[str] = []
    base = root or _parent(source)
    for raw in store.read_bytes(source).decode("utf-8-sig").splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        entry = store.join(base, line)
        if _is_image(entry) and not any(character in entry for character in "*?["):
            images.append(entry)  # a missing one is found, and reported, when it is embedded
        else:
            yield from _read_source(entry, root, notes, seen)
    if images:
        yield _image_frame(source, images, base)


def _parent(path: str) -> str:
    head, _, _ = path.rstrip("/").rpartition("/")
    return head or ("/" if path.startswith("/") else ".")


def _is_image(path: str) -> bool:
    name = PurePosixPath(path)
    return name.suffix.lower() in EXTENSIONS and not name.name.startswith(".")


def _expand_glob(pattern: str) -> tuple[str, list[str]]:
    """The folder before the first wildcard, and the images under it that match."""
    parts = pattern.split("/")
    first = next(i for i, part in enumerate(parts) if any(character in part for character in "*?["))
    base = "/".join(parts[:first]) or ("/" if pattern.startswith("/") else ".")
    prefix = "" if base == "." and not pattern.startswith("./") else base.rstrip("/") + "/"
    expression = re.compile(_glob_expression("/".join(parts[first:])))
    found = store.list_files(base, recursive=True)
    skip = len(base.rstrip("/")) + 1
    return base, [
        prefix + path[skip:]
        for path in found
        if _is_image(path) and expression.fullmatch(path[skip:])
    ]


def _glob_expression(pattern: str) -> str:
    """A regular expression for a glob: `**/` any folders, `*` and `?` within a name, `[…]` a set."""
    out, i = "", 0
    while i < len(pattern):
        if pattern.startswith("**/", i):
            out, i = out + "(?:.*/)?", i + 3
        elif pattern.startswith("**", i):
            out, i = out + ".*", i + 2
        elif pattern[i] == "*":
            out, i = out + "[^/]*", i + 1
        elif pattern[i] == "?":
            out, i = out + "[^/]", i + 1
        elif pattern[i] == "[" and "]" in pattern[i + 2 :]:
            end = pattern.index("]", i + 2)
            inner = pattern[i + 1 : end].replace("\\", "\\\\")
            out, i = out + "[" + ("^" + inner[1:] if inner[0] == "!" else inner) + "]", end + 1
        else:
            out, i = out + re.escape(pattern[i]), i + 1
    return out


def _image_frame(source: str, paths: Sequence[str], root: str) -> pd.DataFrame:
    if not paths:
        raise InputError(
            f"--input {source}: no image found (looked for {', '.join(sorted(EXTENSIONS))})"
        )
    root = root.rstrip("/") or "/"
    frame = pd.DataFrame({"image_path": [_relative(path, root) for path in paths]})
    frame["root"] = _absolute(root)
    return frame


def _relative(path: str, root: str) -> str:
    """`path` below `root`; outside of it the path stays whole, and `store.join` leaves it so."""
    if root == "." and not path.startswith(("/", "./")) and not store.is_remote(path):
        return path
    prefix = root.rstrip("/") + "/"
    if path.startswith(prefix):
        return path[len(prefix) :]
    whole, whole_root = _absolute(path), _absolute(root).rstrip("/") + "/"
    return whole.removeprefix(whole_root)


def _absolute(path: str) -> str:
    return path if store.is_remote(path) else store.filesystem(path)[1]


def _table_frame(source: str, root: str | None, notes: list[str]) -> pd.DataFrame:
    """Rows of a CSV or Parquet table, with columns as in DESIGN.md or as wildlife-datasets has them."""
    raw = store.read_bytes(source)
    try:
        if source.lower().endswith(".csv"):
            table = pd.read_csv(
                io.BytesIO(raw), dtype=str, keep_default_na=False, encoding="utf-8-sig"
            )
        else:
            table = pd.read_parquet(io.BytesIO(raw))
    except (ValueError, pa.ArrowException) as error:  # pandas' parser errors are ValueErrors
        raise InputError(f"--input {source}: cannot be read as a table: {error}") from error
    for given, known in ALIASES.items():
        if given in table.columns and known not in table.columns:
            table = table.rename(columns={given: known})
    if "image_path" not in table.columns:
        raise InputError(
            f"--input {source}: no column with the image's path; expected image_path or path, "
            f"found: {', '.join(map(str, table.columns)) or 'none'}"
        )
    if table.empty:
        raise InputError(f"--input {source}: the table has no rows")
    frame = pd.DataFrame(index=table.index)
    for name in ("image_path", "annotation_id", "species", "identity", "encounter_id", "viewpoint",
                 "location_id", "split", "image_id", "dataset"):  # fmt: skip
        if name in table.columns:
            frame[name] = _text(table[name])
    if "dataset" in frame.columns:
        # AnimalCLEF names the collection where it does not name the species.
        own = (
            frame["species"]
            if "species" in frame.columns
            else pd.Series(None, frame.index, dtype=object)
        )
        frame["species"] = own.where(own.notna(), frame.pop("dataset"))
    empty = np.flatnonzero(frame["image_path"].isna())
    if empty.size:
        raise InputError(
            f"--input {source}: row {empty[0] + 1} has no image path ({empty.size} such rows)"
        )
    if "bbox" in table.columns:
        boxes = [_parse_box(value, source, i + 1) for i, value in enumerate(table["bbox"])]
        frame["bbox"] = pd.Series(boxes, index=frame.index, dtype=object)
    if "timestamp" in table.columns:
        written = _text(table["timestamp"])
        times = pd.to_datetime(written, format="mixed", errors="coerce", utc=True).dt.tz_localize(
            None
        )
        frame["timestamp"] = times
        lost = written[times.isna() & written.notna()]
        if len(lost):
            notes.append(
                f"{source}: {len(lost)} timestamps not understood (for example {lost.iloc[0]!r}), left empty"
            )
    base = root or _parent(source)
    frame["root"] = _absolute(base)
    whole = frame["image_path"].str.startswith("/") | frame["image_path"].str.contains(
        "://", regex=False
    )
    frame.loc[whole, "image_path"] = [
        _relative(path, base) for path in frame.loc[whole, "image_path"]
    ]
    return frame


def _text(column: pd.Series) -> pd.Series:
    """Strings, with None for what is empty; numbers in a Parquet column keep their plain form."""
    # A Parquet column of whole numbers becomes floats where one is missing.
    plain = [int(v) if isinstance(v, float) and v.is_integer() else v for v in column]
    values = [None if value is None or value is pd.NA else str(value).strip() for value in plain]
    return pd.Series(
        [
            None if value is None or value.lower() in NULL_WORDS | {"nat"} else value
            for value in values
        ],
        index=column.index,
        dtype=object,
    )


def _parse_box(value: object, source: str, row: int) -> list[float] | None:
    """x, y, w, h in pixels, from a list or from text such as "[10, 20, 300, 200]"."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return None
    if isinstance(value, str):
        if value.strip().lower() in NULL_WORDS:
            return None
        numbers = [float(number) for number in _NUMBER.findall(value)]
    elif isinstance(value, list | tuple | np.ndarray):
        numbers = [float(number) for number in value]
    else:
        numbers = []
    if len(numbers) != 4 or not np.isfinite(numbers).all():
        raise InputError(
            f"--input {source}: row {row}: bbox {value!r} is not four numbers x, y, w, h"
        )
    return numbers


def _clean_labels(frame: pd.DataFrame, species: str | None) -> None:
    for name in schema.ANNOTATIONS.names:
        if name not in frame.columns:
            frame[name] = None
    frame["species"] = frame["species"].where(frame["species"].notna(), species or "unknown")
    names = [known_identity(name) if isinstance(name, str) else None for name in frame["identity"]]
    frame["identity"] = pd.Series(names, index=frame.index, dtype=object)
    boxes = [box if isinstance(box, list) else None for box in frame["bbox"]]
    frame["source_key"] = [
        source_key(root, path, box)
        for root, path, box in zip(frame["root"], frame["image_path"], boxes, strict=True)
    ]
    missing = frame["annotation_id"].isna()
    frame.loc[missing, "annotation_id"] = [
        annotation_id(path, box if isinstance(box, list) else None)
        for path, box in zip(
            frame.loc[missing, "image_path"], frame.loc[missing, "bbox"], strict=True
        )
    ]


def _merge_repeats(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Keep one row an annotation; rows that share an id must say the same thing."""
    repeated = frame["annotation_id"].duplicated(keep="first")
    if not repeated.any():
        return frame
    first = frame.drop_duplicates("annotation_id").set_index("annotation_id")
    again = frame[repeated]
    for name in ("root", "image_path", "species", "identity"):
        before = first.loc[again["annotation_id"], name].to_numpy(dtype=object)
        now = again[name].to_numpy(dtype=object)
        differs = [
            a != b and not (pd.isna(a) and pd.isna(b)) for a, b in zip(before, now, strict=True)
        ]
        if any(differs):
            at = differs.index(True)
            fix = (
                "give --root, a folder above both, so that their paths differ"
                if name == "root"
                else "correct one of the rows"
            )
            raise InputError(
                f"annotation {again['annotation_id'].iloc[at]} ({again['image_path'].iloc[at]}) is given "
                f"twice with different {name}: {before[at]!r} and {now[at]!r}; {fix}"
            )
    notes.append(
        f"{int(repeated.sum())} rows repeat an image and box already listed; kept once each"
    )
    return frame[~repeated].reset_index(drop=True)


def _to_table(frame: pd.DataFrame) -> pa.Table:
    columns = []
    for field in schema.ANNOTATIONS:
        values = frame[field.name]
        if pa.types.is_timestamp(field.type):
            columns.append(pa.array(pd.to_datetime(values), type=field.type, from_pandas=True))
        else:
            plain = [None if not isinstance(value, str | list) else value for value in values]
            columns.append(pa.array(plain, type=field.type))
    return pa.Table.from_arrays(columns, schema=schema.ANNOTATIONS)
