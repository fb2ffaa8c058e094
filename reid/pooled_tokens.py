"""From stored patch tokens to foregrounds, embeddings and windows: no picture is opened, no network runs.

    STORE/<recipe of tokens>/part-<digest>.parquet     schema.patch_tokens
    STORE/<recipe of tokens>/foreground-<species>.json the axis of one species, with what it was found of

An axis is found once, in all images of a species that there are then, and kept: later images are measured
along the same axis, so that their embeddings can be compared with the earlier ones. Remove the file to have
it found anew; embeddings pooled by another axis are another recipe.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reid import embeddings, foreground, schema, store
from reid.errors import DamagedError, InputError
from reid.foreground import Foreground
from reid.parquet import damaged
from reid.value_digests import text_digest

STAGE = "foreground"  # of failures
BLOCK_BYTES = 32 * 2**20  # of float32 tokens that are looked at at once
_KEPT = ("content_hash", "source_key", "width", "height", "timestamp", "utc_offset_minutes")


@dataclass(frozen=True)
class SpeciesForeground:
    """The foreground of a species, and what it was found of.

    Attributes:
        axes: the components.
        key: 16 hex digits: of the images, their pictures, the tokens' recipe and the rule.
        is_new: it was found just now.
    """

    axes: Foreground
    key: str
    is_new: bool


def read_grid(folder: str) -> tuple[int, int]:
    """Side of the grid of patches, and numbers a token, of a folder of patch tokens.

    Raises:
        DamagedError: its recipe.json is gone, or of something else.
    """
    path = store.join(folder, "recipe.json")
    try:
        grid = store.read_json(path)["patch_tokens"]
        return int(grid["side"]), int(grid["width"])
    except FileNotFoundError as error:
        raise DamagedError(f"{path} is gone; run `reid embed` again") from error
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, "it does not say how many patch tokens there are") from error


def foreground_path(folder: str, species: str) -> str:
    """Where the axis of a species is kept."""
    word = re.sub(r"\W+", "-", species).strip("-")[:40] or "species"
    return store.join(folder, f"foreground-{word}-{text_digest(species)[:8]}.json")


def foreground_of(
    folder: str, species: str, annotation_ids: Sequence[str] | pa.Array
) -> SpeciesForeground:
    """The foreground of a species, as it was found before, or else from the tokens of these images.

    Memory: one part, and two matrices of width × width.

    Args:
        folder: of patch tokens.
        species: its name.
        annotation_ids: unique ids of all its images.

    Raises:
        InputError: no tokens are stored, or they are all the same.
        DamagedError: the file or a part was damaged.
    """
    path = foreground_path(folder, species)
    try:
        held = store.read_sealed(path)
        return SpeciesForeground(
            foreground.from_json(held["foreground"]), str(held["key"]), is_new=False
        )
    except FileNotFoundError:
        pass
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(path, f"it is no foreground: {error}") from error
    side, width = read_grid(folder)
    moments = foreground.no_moments(width)
    seen: list[str] = []
    wanted = pa.array(annotation_ids, pa.string())
    for part in embeddings.iter_embeddings(folder, wanted, ["content_hash"], values="tokens"):
        ids = wanted.take(pa.array(part.places)).to_pylist()
        seen += [
            f"{one} {h}" for one, h in zip(ids, part.table["content_hash"].to_pylist(), strict=True)
        ]
        for block in _blocks(part.vectors, side, width):
            moments = foreground.add_tokens(moments, block)
    if not seen:
        raise InputError(
            f"{folder}: no patch tokens of {species} are stored; give embed.tokens=true to `reid embed`"
        )
    axes = foreground.find_foreground(moments)
    # Of what went in, not of the digits that came out: those depend on the order of the parts, at their end.
    digest = hashlib.blake2b(
        f"{foreground.RULE} {folder.rpartition('/')[2]}".encode(), digest_size=8
    )
    for line in sorted(seen):
        digest.update(line.encode() + b"\n")
    key = digest.hexdigest()
    store.write_sealed(
        path, {"species": species, "key": key, "foreground": foreground.to_json(axes)}
    )
    return SpeciesForeground(axes, key, is_new=True)


def pool_stored(
    folder: str,
    pooled: str,
    pending: pa.Table,
    axes: Foreground,
    *,
    weights: str,
    threshold: float,
) -> tuple[int, pa.Table]:
    """Write the foreground-pooled embeddings of some annotations, part by part.

    Args:
        folder: of patch tokens.
        pooled: the recipe's folder to write to.
        pending: schema.ANNOTATIONS of one species; all of them have tokens.
        axes: of the species.
        weights, threshold: see `reid.foreground.patch_weights`.

    Returns:
        Embeddings written, and schema.FAILURES of the images without foreground.
    """
    side, width = read_grid(folder)
    ids = pending["annotation_id"].combine_chunks()
    done, failed = 0, [schema.FAILURES.empty_table()]
    for part in embeddings.iter_embeddings(folder, ids, _KEPT, values="tokens"):
        rows = np.concatenate(
            [
                foreground.pool_tokens(
                    block.reshape(len(block), side**2, width),
                    axes,
                    weights=weights,
                    threshold=threshold,
                )
                for block in _blocks(part.vectors, side, width)
            ]
        )
        good = np.isfinite(rows).all(axis=1)
        own = pending.take(pa.array(part.places))
        failed.append(_without_foreground(own.filter(pa.array(~good)), threshold))
        if not good.any():
            continue
        kept = own.filter(pa.array(good))
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(rows[good].ravel()), width)
        columns = [kept["annotation_id"], kept["species"], vectors]
        columns += part.table.filter(pa.array(good)).columns
        table = pa.Table.from_arrays(columns, schema=schema.embeddings(width))
        digest = embeddings.part_digest(kept["annotation_id"].to_pylist())
        embeddings.write_part(embeddings.part_path(pooled, digest), table)
        done += len(kept)
    return done, pa.concat_tables(failed)


def _without_foreground(rows: pa.Table, threshold: float) -> pa.Table:
    error = (
        f"no patch is foreground (above {threshold:g}): there may be no animal in it. "
        "embed.foreground_threshold lower, or embed.foreground_weights=soft, takes it all the same"
    )
    return pa.Table.from_arrays(
        [
            rows["annotation_id"].combine_chunks(),
            rows["image_path"].combine_chunks(),
            pa.array([STAGE] * len(rows), pa.string()),
            pa.array([error] * len(rows), pa.string()),
        ],
        schema=schema.FAILURES,
    )


def token_scores(
    folder: str, annotation_ids: Sequence[str] | pa.Array, axes: Foreground
) -> Iterator[tuple[int, np.ndarray]]:
    """For each image that has tokens, its number and (side, side, 3): how far its patches are along the components."""
    side, width = read_grid(folder)
    for part in embeddings.iter_embeddings(folder, annotation_ids, values="tokens"):
        start = 0
        for block in _blocks(part.vectors, side, width):
            measured = foreground.scores(block, axes)
            yield from zip(part.places[start : start + len(block)].tolist(), measured, strict=True)
            start += len(block)


def _blocks(vectors: np.ndarray, side: int, width: int) -> Iterator[np.ndarray]:
    """(k, side² · width) as blocks of (few, side, side, width)."""
    few = max(1, BLOCK_BYTES // (4 * side**2 * width))
    grids = vectors.reshape(len(vectors), side, side, width)
    for start in range(0, len(grids), few):
        yield grids[start : start + few]
