"""What the model alone makes of the rows of a catalogue, before people and labels have their say.

A catalogue obeys its labels, so that they say nothing on how right it is. Set aside, they do.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.identify.constrained_partition import components
from reid.identify.constraints import Constraints, must_links
from reid.identify.extend import comparable
from reid.identify.species_nodes import Species, decided_pairs


@dataclass(frozen=True, slots=True)
class Unaided:
    """Individuals as they come out where nobody says a word: what a verdict on the model is about.

    Attributes:
        cluster: (n,) integers, parts that distances up to the known one and encounters join; −1: a picture
            that is not usable. Labels, decisions and boxes of one image change nothing in it.
        told: (n,) bool, whose individual people vouch for: labelled, or joined to another by a person.
        image: (n,) integers, of boxes that must be different animals, −1 = none, or the only one of its image.
    """

    cluster: NDArray[np.integer]
    told: NDArray[np.bool_]
    image: NDArray[np.integer]


def find_unaided(
    read: Species, links: NDArray[np.int32], shown: NDArray[np.int8] | None
) -> Unaided:
    """Who is who by the links alone, in time that is linear in their number.

    Args:
        read: rows and what is known of them.
        links: (m, 2) numbers of rows within the known distance.
        shown: of `sides`, where a left and a right are not compared.
    """
    n = len(read.rows)
    if shown is not None:
        links = links[comparable(*shown[links].T)]
    if read.unusable.any():
        links = links[~read.unusable[links].any(axis=1)]
    nobody = np.full(n, -1, np.int64)
    none = np.empty((0, 2), np.int64)
    encounters = Constraints(nobody, read.constraints.encounters, nobody, none, none)
    together, _ = must_links(encounters)
    cluster = components(n, np.concatenate([links, together]))
    told = read.constraints.labels >= 0
    told[decided_pairs(read.decisions, "match").ravel()] = True
    cluster = np.where(read.unusable, -1, cluster)
    images = read.constraints.images
    alone = np.bincount(images[images >= 0], minlength=1) == 1
    images = np.where((images >= 0) & ~alone[images], images, -1)
    back = np.empty(n, np.int64)  # to the input's order
    back[read.order] = np.arange(n)
    return Unaided(cluster[back], told[back], images[back])
