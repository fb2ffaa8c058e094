"""A folder an individual, with links to its pictures or copies of them."""

import posixpath
import shutil
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

from reid import store
from reid.errors import InputError, StorageError
from reid.exports.identifiers import cleaned
from reid.exports.sightings import in_doubt, left_out

HOW = ("link", "copy")
CLUSTERS, UNMATCHED = "clusters", "unmatched"
_READERS = 16


def picture_folders(
    frame: pd.DataFrame,
    out: str,
    *,
    how: str = "link",
    advance: Callable[[int], None] | None = None,
) -> tuple[int, pd.DataFrame]:
    """`out/clusters/<individual>/001_<name>`, the best picture first; `out/unmatched/` holds the rest.

    Best is what a person has confirmed, then a large box near to another picture of the individual.
    Unmatched are images that nobody is sure of, and individuals of one image.

    Args:
        frame: of `reid.exports.sightings.sightings`.
        out: folder or URI, in which `clusters` and `unmatched` must not exist yet.
        how: link (symbolic links; local disks only) or copy.
        advance: called with 1 for each picture.

    Returns:
        pictures written, and lines of left_out.csv: pictures that cannot be read.

    Raises:
        InputError: an unknown `how`, folders that are there, or links that cannot be made.
    """
    if how not in HOW:
        raise InputError(f"--images {how}: known: {', '.join(HOW)}")
    for name in (CLUSTERS, UNMATCHED):
        if store.exists(store.join(out, name)):
            raise InputError(
                f"{store.join(out, name)} is there already: remove it, or give another --out"
            )
    targets = [store.join(out, name) for name in target_names(frame)]
    sources = [
        store.join(root, path)
        for root, path in zip(frame["root"], frame["image_path"], strict=True)
    ]
    wrong = place_pictures(zip(sources, targets, strict=True), how=how, advance=advance)
    lost = np.array([source in wrong for source in sources], np.bool_)
    reasons = [wrong[source] for source, one in zip(sources, lost, strict=True) if one]
    return int((~lost).sum()), left_out(frame[lost], reasons)


def target_names(frame: pd.DataFrame) -> list[str]:
    """Where each row's picture goes, below the output folder."""
    names = cleaned(frame["identity_id"])
    unsure = in_doubt(frame)
    pictures = frame.assign(row=np.arange(len(frame)))[~unsure]
    count = pictures.groupby("identity_id")["image_path"].nunique()
    alone = frame["identity_id"].map(count).fillna(0).to_numpy() < 2
    best = _best_first(frame)
    placed = [""] * len(frame)
    number: dict[str, int] = {}
    for row in best.tolist():
        folder = UNMATCHED
        if not (unsure[row] or alone[row]):
            folder = posixpath.join(CLUSTERS, names[frame["identity_id"].iloc[row]])
        number[folder] = number.get(folder, 0) + 1
        base = posixpath.basename(frame["image_path"].iloc[row])
        placed[row] = posixpath.join(folder, f"{number[folder]:03}_{base}")
    return placed


def place_pictures(
    pairs: Iterable[tuple[str, str]], *, how: str, advance: Callable[[int], None] | None = None
) -> dict[str, str]:
    """Link or copy files; source → why not, of those that could not be read.

    Raises:
        InputError: links to or from object storage.
        StorageError: the target cannot be written.
    """
    wrong: dict[str, str] = {}

    def place(pair: tuple[str, str]) -> None:
        source, target = pair
        reason = _place(source, target, how)
        if reason is not None:
            wrong[source] = reason
        if advance is not None:
            advance(1)

    with ThreadPoolExecutor(_READERS) as pool:
        for _ in pool.map(place, pairs):
            pass
    return wrong


def _place(source: str, target: str, how: str) -> str | None:
    remote = store.is_remote(source) or store.is_remote(target)
    if how == "link" and remote:
        raise InputError(f"{target}: links are for local disks; say --images copy")
    if not remote:
        origin, goal = Path(source).expanduser().absolute(), Path(target).expanduser()
        if not origin.is_file():
            return "the file is not there"
        try:
            goal.parent.mkdir(parents=True, exist_ok=True)
            if how == "link":
                goal.symlink_to(origin)
            else:
                shutil.copyfile(origin, goal)
        except OSError as error:
            raise StorageError(f"{target}: cannot be written: {error}") from error
        return None
    try:
        data = store.read_bytes(source)
    except FileNotFoundError:
        return "the file is not there"
    store.write_bytes(target, data)
    return None


def _best_first(frame: pd.DataFrame) -> np.ndarray:
    """Row numbers: confirmed ones first, then by size of the box and nearness to another picture."""
    boxes = frame["bbox"] if "bbox" in frame else pd.Series([None] * len(frame))
    # Boxes of one source have one unit; a whole picture is the largest there is.
    area = np.array([np.inf if box is None else float(box[2]) * float(box[3]) for box in boxes])
    near = (
        frame["nearest_distance"].astype(float).fillna(np.inf).to_numpy()
        if "nearest_distance" in frame
        else np.zeros(len(frame))
    )
    rank = pd.Series(-area).rank().to_numpy() + pd.Series(near).rank().to_numpy()
    confirmed = frame["confirmed_by"].notna().to_numpy()
    return np.lexsort((frame["image_path"].to_numpy(str), rank, ~confirmed))
