"""`reid export --format deduplicated`: one picture a cluster, who is in which, and the vectors."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd

from jobs.common import outputs
from jobs.common.console import progress, say
from jobs.common.pictures import crops
from jobs.exports.holdings import Holdings
from jobs.exports.left_outs import with_left_out
from reid import embeddings, store
from reid.cluster.naming import species_words
from reid.config import Images
from reid.errors import InputError
from reid.exports.identifiers import cleaned
from reid.exports.picture_folders import place_pictures
from reid.exports.representatives import KEEP, SIDE_PX, nearness_to_own, representatives, sharpness
from reid.exports.sheets import people_sheet
from reid.exports.sightings import in_doubt, left_out
from reid.images import ImageError

PICTURES = "representatives"
_READERS = 8


def deduplicated(
    holdings: Holdings, frame: pd.DataFrame, out: str, *, keep: str, how: str
) -> dict[str, str]:
    """Write the pictures and the vectors; the tables, by name.

    Args:
        holdings: where the rows come from.
        frame: of `reid.exports.sightings.sightings`; images that nobody is sure of stand alone.
        out: folder or URI.
        keep: of `reid.exports.representatives.KEEP`.
        how: link or copy.

    Raises:
        InputError: an unknown `keep` or `how`; pictures that are there already.
    """
    if keep not in KEEP:
        raise InputError(f"--keep {keep}: known: {', '.join(KEEP)}")
    if store.exists(store.join(out, PICTURES)):
        raise InputError(
            f"{store.join(out, PICTURES)} is there already: remove it, or give another --out"
        )
    frame = frame.sort_values(["image_path", "annotation_id"], kind="stable", ignore_index=True)
    names = frame["identity_id"].to_numpy(object).copy()
    doubtful = np.flatnonzero(in_doubt(frame))
    names[doubtful] = [f"unsure_{number}" for number in range(len(doubtful))]
    words, clusters = np.unique(names.astype(str), return_inverse=True)
    vectors = _vectors(holdings, frame)
    chosen = representatives(clusters, _scores(frame, clusters, keep, vectors))
    wrong = _place(frame, chosen, words[clusters[chosen]], out, how)
    _write_vectors(out, frame, names, vectors)
    sizes = np.bincount(clusters)
    say(
        f"export: {len(words):,} pictures stand for {len(frame):,}: the {keep} of each cluster; "
        f"{int((sizes > 1).sum()):,} clusters have several"
    )
    paths = frame["image_path"].to_numpy(object)
    lines = zip(
        words[clusters[chosen]], paths[chosen], sizes[clusters[chosen]].tolist(), strict=True
    )
    return with_left_out(
        {
            "clusters.csv": people_sheet(["filename", "cluster"], zip(paths, names, strict=True)),
            "representatives.csv": people_sheet(["cluster", "filename", "images"], lines),
        },
        wrong,
    )


def _place(
    frame: pd.DataFrame, chosen: np.ndarray, words: np.ndarray, out: str, how: str
) -> pd.DataFrame:
    """Link or copy the pictures; lines of left_out.csv for those that are not there."""
    safe = cleaned(words.tolist())
    rows = frame.iloc[chosen]
    pairs = [
        (
            store.join(root, path),
            store.join(out, PICTURES, f"{safe[word]}_{path.rpartition('/')[2]}"),
        )
        for root, path, word in zip(rows["root"], rows["image_path"], words, strict=True)
    ]
    with progress("pictures", len(pairs), "pictures") as advance:
        wrong = place_pictures(pairs, how=how, advance=advance)
    lost = [source in wrong for source, _ in pairs]
    return left_out(rows[lost], [wrong[source] for source, _ in pairs if source in wrong])


def _scores(
    frame: pd.DataFrame, clusters: np.ndarray, keep: str, vectors: dict[str, np.ndarray]
) -> np.ndarray:
    """(n,) the higher, the rather a row stands for its cluster."""
    score = np.zeros(len(frame))
    if keep == "first":
        return score
    several = np.flatnonzero(np.bincount(clusters)[clusters] > 1)
    if keep == "medoid":
        for species, own in frame.groupby("species").indices.items():
            score[own] = nearness_to_own(
                vectors[str(species)], np.unique(clusters[own], return_inverse=True)[1]
            )
        return score
    picture = crops(Images(), frame, SIDE_PX)

    def measured(row: int) -> float:
        try:
            return sharpness(picture(row))
        except (OSError, ImageError):
            return -np.inf

    with progress("sharpness", len(several)) as advance, ThreadPoolExecutor(_READERS) as pool:
        for row, value in zip(several, pool.map(measured, several.tolist()), strict=True):
            score[row] = value
            advance(1)
    unread = int(np.isneginf(score).sum())
    if unread:
        say(
            f"note: {unread:,} pictures could not be read again, and stand for nobody but themselves"
        )
    return score


def _folders(holdings: Holdings) -> dict[str, str]:
    """Species → folder of its embeddings."""
    if holdings.is_catalogue:
        return {
            name: store.join(holdings.place, "embeddings", recipe)
            for name, recipe in holdings.recipes.items()
        }
    folders = outputs.read_summary(holdings.place).get("embed", {}).get("folders", {})
    return dict(folders)


def _vectors(holdings: Holdings, frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Species → (n, d) float32 of its rows, in their order; NaN where a row has no vector."""
    folders = _folders(holdings)
    found = {}
    for species, own in frame.groupby("species").indices.items():
        ids = frame["annotation_id"].to_numpy(object)[own].tolist()
        stored = embeddings.read_embeddings(folders[str(species)], ids)
        rows = np.full((len(ids), stored.vectors.shape[1]), np.nan, np.float32)
        rows[stored.found] = stored.vectors
        found[str(species)] = rows
    return found


def _write_vectors(
    out: str, frame: pd.DataFrame, names: np.ndarray, vectors: dict[str, np.ndarray]
) -> None:
    """A .npz a species (`embeddings.npz` where there is one): filenames, clusters, embeddings."""
    words = species_words(vectors)
    for species, rows in vectors.items():
        own = np.flatnonzero(frame["species"].to_numpy(object) == species)
        stream = io.BytesIO()
        np.savez(
            stream,
            filenames=frame["image_path"].to_numpy(object)[own].astype(str),
            clusters=names[own].astype(str),
            embeddings=rows,
        )
        name = "embeddings.npz" if len(vectors) == 1 else f"embeddings_{words[species]}.npz"
        store.write_bytes(store.join(out, name), stream.getvalue())
