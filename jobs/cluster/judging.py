"""The verdict on the individuals of a species, from what the clustering stage holds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.groups import Group
from jobs.cluster.labels import encounters
from reid import store
from reid.errors import InputError
from reid.models import general_purpose
from reid.tune import Individuals, encode_labels
from reid.verdict import LEVELS, Learned, Verdict, judge, read_signs


def judge_group(group: Group, found: Individuals, top_1: float | None, *, seed: int) -> Verdict:
    """What can this model tell apart among these images?

    Args:
        group: the embedded images of the species.
        found: its individuals.
        top_1: of labelled images, the share whose nearest is the same individual; None: not known.
        seed: of what is sampled.
    """
    expected = found.threshold.expected
    learned = None
    if expected is not None and np.isfinite(expected[0]):
        codes = encode_labels(group.identities)
        several = int((np.bincount(codes[codes >= 0]) > 1).sum())
        learned = Learned(expected, several, top_1)
    signs = read_signs(
        group.vectors,
        found.labels,
        nearest=found.nearest,
        encounters=encode_labels(encounters(group)),
        sides=_codes(group, "viewpoint"),
        images=_codes(group, "image_path"),
        halves=learned is None,  # where labels decide nobody asks
        seed=seed,
    )
    return judge(signs, learned, general=_general(group))


def _codes(group: Group, column: str) -> NDArray[np.int64]:
    return encode_labels(np.asarray(group.rows[column].to_pylist(), dtype=object))


def _general(group: Group) -> str | None:
    """What to know of the model that embedded these, where it was not made for individuals."""
    try:
        recipe = store.read_json(store.join(group.folder, "recipe.json"))
        return general_purpose([model["name"] for model in recipe["models"]])
    except (FileNotFoundError, NotADirectoryError, KeyError, TypeError, InputError):
        return None  # anybody's embeddings, or of a model that has no such name here


def verdict_of_run(species: Mapping[str, Verdict]) -> dict[str, Any]:
    """The worst level of its species, and a sentence each, with its name where there are several."""
    worst = max(species.values(), key=lambda one: LEVELS.index(one.level))
    several = len(species) > 1
    return {
        "level": worst.level,
        "sentences": [
            f"{name}: {one.sentence}" if several else one.sentence for name, one in species.items()
        ],
    }
