"""Where is the pattern? A window chosen on labelled individuals, none of them of those held out."""

import io
import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from jobs.common.console import progress, say
from jobs.common.pictures import crops
from jobs.pairs.look import Embedded, as_rows
from jobs.pairs.stored_pairs import plan
from reid import store
from reid.config import Config
from reid.errors import InputError
from reid.keypoints import descriptors_of, extract_annotations, load_extractor
from reid.layout import Window, window_box
from reid.pairs import area_under_curve, comparable, votes
from reid.splits import held_out_individuals

WINDOWS: tuple[Window | None, ...] = (
    None,
    (0.1, 0.1, 0.9, 0.9),
    (0.15, 0.12, 0.85, 0.68),
    (0.15, 0.32, 0.85, 0.88),
    (0.2, 0.2, 0.8, 0.8),
    (0.05, 0.25, 0.6, 0.75),
    (0.4, 0.25, 0.95, 0.75),
    (0.25, 0.3, 0.75, 0.7),
)
INDIVIDUALS = 30  # two pictures each
FEWEST = 8
HELD_OUT = 0.2
SHOWN, SIDE = 12, 240


def fit_window(config: Config, groups: Sequence[Embedded]) -> None:
    """Try windows, say how well votes tell mates from strangers in each, and draw the best.

    Individuals of a fifth held out by the seed, which figures may be asked of, take no part.

    Raises:
        InputError: no species has pictures enough of labelled individuals.
    """
    fitted = [_species(config, group) for group in groups]
    if not any(fitted):
        raise InputError(
            f"--fit-window: no species has {FEWEST} labelled individuals with two pictures that may be compared, "
            "of two encounters; label more images, or set images.window by eye"
        )


def _species(config: Config, group: Embedded) -> bool:
    rows = as_rows(config, group.rows, group.vectors)
    pairs = _mates(rows, config.seed)
    if len(pairs) < FEWEST:
        say(f"fit-window: {group.species}: {len(pairs)} individuals to try it on are too few")
        return False
    used = pairs.ravel()
    every = np.stack(np.triu_indices(len(used), 1), axis=1)
    every = every[comparable(used[every], rows.sides, [rows.photographs, rows.encounters])]
    same = rows.identities[used[every[:, 0]]] == rows.identities[used[every[:, 1]]]
    table = group.rows.take(used)
    scores = {}
    with progress("fit-window", len(WINDOWS) * len(used)) as advance:
        for window in WINDOWS:
            changed = {
                "images": {**config.images.model_dump(), "window": window, "per_species_window": {}}
            }
            task = plan(config.model_validate({**config.model_dump(), **changed}), group.species)
            extract = load_extractor(task.recipe.extractor, task.recipe.most)
            found, failed = extract_annotations(extract, task.recipe, table)
            if len(failed):
                raise InputError(
                    f"fit-window: {failed['image_path'][0]}: {failed['error'][0]}; run `reid embed` again"
                )
            unit = [
                descriptors_of(task.recipe.extractor, np.frombuffer(raw, np.uint8).reshape(-1, 128))
                for raw in found["descriptor"].to_pylist()
            ]
            scores[window] = area_under_curve(
                np.array([votes(unit[a], unit[b]) for a, b in every]), same
            )
            advance(len(used))
    best = max(WINDOWS, key=lambda window: scores[window])
    for window in WINDOWS:
        what = "whole picture" if window is None else json.dumps(window)
        say(f"fit-window: {group.species}: AUC {scores[window]:.3f} for {what}")
    path = _draw(config, group, used, best)
    say(
        f"fit-window: {group.species}: {len(pairs)} individuals, {len(every):,} pairs; see {path}. Take it: "
        f"'images.per_species_window.{group.species}={json.dumps(best)}'"
    )
    return True


def _mates(rows: Any, seed: int) -> np.ndarray:
    """(m, 2) two comparable pictures of each of some individuals, drawn."""
    rng = np.random.default_rng([seed, 17])
    try:
        held_out = held_out_individuals(
            rows.identities, HELD_OUT, encounters=rows.encounters, seed=seed
        )
    except InputError:  # so few individuals that none can be spared
        return np.zeros((0, 2), np.int64)
    found = []
    for individual in rng.permutation(np.unique(rows.identities[rows.identities >= 0])):
        own = rng.permutation(np.flatnonzero((rows.identities == individual) & ~held_out))
        pairs = np.stack([np.repeat(own, len(own)), np.tile(own, len(own))], axis=1)
        fine = comparable(pairs, rows.sides, [rows.photographs, rows.encounters])
        pairs = pairs[fine & (pairs[:, 0] != pairs[:, 1])]
        if len(pairs):
            found.append(pairs[0])
        if len(found) == INDIVIDUALS:
            break
    return np.array(found, np.int64).reshape(-1, 2)


def _draw(config: Config, group: Embedded, used: np.ndarray, window: Window | None) -> str:
    """A sheet of a dozen pictures with the window drawn on each; its path."""
    shown = used[:SHOWN]
    frame: pd.DataFrame = group.rows.take(shown).to_pandas()
    picture = crops(config.images, frame, SIDE)
    sheet = Image.new("RGB", (4 * SIDE, -(-len(shown) // 4) * SIDE), "white")
    for place in range(len(shown)):
        one = picture(place)
        one.thumbnail((SIDE - 4, SIDE - 4))
        if window is not None:
            box = window_box((0, 0, *one.size), window)
            ImageDraw.Draw(one).rectangle(box, outline=(255, 60, 0), width=3)
        sheet.paste(one, (place % 4 * SIDE, place // 4 * SIDE))
    name = re.sub(r"\W+", "-", group.species).strip("-") or "species"
    path = store.join(config.out, f"window-{name}.png")
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    store.write_bytes(path, stream.getvalue())
    return path
