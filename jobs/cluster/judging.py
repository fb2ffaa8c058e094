"""The verdict on the individuals of a species, from what the clustering stage holds."""

import numpy as np
from numpy.typing import NDArray

from jobs.cluster.groups import Group
from jobs.cluster.labels import encounters
from jobs.common.verdicts import general_of
from reid.signs import read_signs
from reid.tune import Individuals, encode_labels
from reid.verdict import Learned, Verdict, judge


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
        # Where labels decide nobody asks, and of groups by pairs the vectors say nothing, nor does their model.
        halves=learned is None and not found.by_pairs,
        seed=seed,
    )
    return judge(signs, learned, general=None if found.by_pairs else general_of(group.folder))


def _codes(group: Group, column: str) -> NDArray[np.int64]:
    return encode_labels(np.asarray(group.rows[column].to_pylist(), dtype=object))
