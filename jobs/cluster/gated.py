"""`cluster.method=threshold`: what hangs together by pairs within one distance, gated by time and place."""

import numpy as np

from jobs.cluster.groups import Group
from reid.cluster import RunningForest, labels_at
from reid.cluster.gates import Gate, passing
from reid.config import Cluster
from reid.errors import InputError
from reid.neighbors import Search
from reid.tune import Individuals, Threshold, encode_labels, warnings

EPS = 0.1  # cosine 0.9, where none is given


def by_threshold(settings: Cluster, group: Group, eps: float | None, search: Search) -> Individuals:
    """The transitive closure of all pairs of one species within `eps` that the gate lets pass; exact.

    Args:
        settings: the gate.
        group: the rows.
        eps: cosine distance; None: EPS.
        search: how pairs are compared.

    Raises:
        InputError: the gate needs times, or boxes in pixels, that these images do not have.
    """
    used = EPS if eps is None else eps
    gate = Gate(settings.gate_seconds, settings.gate_pixels, settings.gate_pixels_seconds)
    note = (
        "given in the configuration" if eps is not None else f"{EPS:g} is taken where none is given"
    )
    notes = []
    running = RunningForest(len(group.vectors))
    if gate.is_open:
        for part in search.edges(group.vectors, used):
            running.add(part)
    else:
        moments = group.rows["timestamp"].to_numpy().astype("datetime64[us]")
        if np.isnat(moments).all():
            raise InputError(
                f"species {group.species}: cluster.gate_seconds and gate_pixels need times, and no image has one; "
                "--time-format reads them from file names"
            )
        places = encode_labels(np.asarray(group.rows["location_id"].to_pylist(), object))
        centres = _centres(group)
        found = apart = 0
        for edges, distances in search.edges(group.vectors, used):
            kept = passing(edges, gate, moments=moments, centres=centres, places=places)
            running.add((edges[kept], distances[kept]))
            found += len(edges)
            apart += len(edges) - int(kept.sum())
        notes.append(f"{apart:,} of {found:,} pairs are too far apart in time and place")
        unknown = int(np.isnat(moments).sum())
        if unknown:
            notes.append(f"{unknown:,} images without a time are joined with nothing")
        note += "; " + "; ".join(notes)
    labels = labels_at(running.forest(), used)
    near, far = search.nearest(group.vectors, 1)
    threshold = Threshold(used, "given", "threshold", note)
    return Individuals(
        labels,
        threshold,
        near[:, 0],
        far[:, 0],
        warnings(labels, eps=used, ceiling=None, at_edge=None),
        notes,
    )


def _centres(group: Group) -> np.ndarray | None:
    """(n, 2) centres of boxes in pixels, NaN for whole pictures; None where no box is in pixels."""
    boxes, units = group.rows["bbox"].to_pylist(), group.rows["bbox_unit"].to_pylist()
    found = np.full((len(boxes), 2), np.nan)
    for row, (box, unit) in enumerate(zip(boxes, units, strict=True)):
        if box is not None and unit != "relative":
            found[row] = box[0] + box[2] / 2, box[1] + box[3] / 2
    return None if np.isnan(found).all() else found
