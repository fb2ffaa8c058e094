"""What the pages of individuals show, read from a catalogue or from the output folder of a run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
from PIL import Image

from jobs.catalogue.admin import picture_names
from jobs.catalogue.sentences import in_words
from jobs.common.pictures import crops
from jobs.common.verdicts import sentences_of, stored_verdicts
from jobs.exports.holdings import read_holdings
from reid.book import Near, Origin
from reid.catalogue import (
    Catalogue,
    history,
    names_of_individuals,
    open_catalogue,
    read_events,
    read_graph,
    read_rules,
)
from reid.config import Images
from reid.exports.deployments import read_stations
from reid.exports.sightings import sightings
from reid.identify.remarks import Remark, remarks
from reid.identify.species_nodes import read_species, row_edges
from reid.sources.places import absolute

NEIGHBOURS = 30  # of each image of a run: others are looked for among them
QUIET = ("decide", "calibrate", "undo")  # what happened to nobody in particular


@dataclass(frozen=True, slots=True)
class Known:
    """All that there is to show.

    Attributes:
        frame: of `reid.exports.sightings.sightings`.
        said: annotation_id → kind → remark.
        near: identity_id → the nearest others.
        history: identity_id → time and sentence, the latest first.
        origin: where it comes from.
        version: of the catalogue; 0 of a run.
        decisions: schema.DECISIONS.
    """

    frame: pd.DataFrame
    said: Mapping[str, Mapping[str, Remark]]
    near: Mapping[str, Sequence[Near]]
    history: Mapping[str, Sequence[tuple[datetime, str]]]
    origin: Origin
    version: int = 0
    decisions: pa.Table | None = None


def read_known(
    catalogue: str | None,
    results: str | None,
    *,
    deployments: str | None = None,
    date_order: str | None = None,
) -> Known:
    """Read one of the two.

    Args:
        catalogue: of `reid identify`.
        results: output folder of `reid run`.
        deployments: a table of places, for the maps.
        date_order: of its dates.

    Raises:
        InputError: both or none are given, or there is nothing in it.
    """
    if catalogue is None or results is not None:
        holdings = read_holdings(catalogue, results)  # says what is wrong with that
        assert holdings.whole is not None
        return _of_run(holdings.place, holdings.whole, deployments, date_order)
    return of_catalogue(open_catalogue(absolute(catalogue)), locations(deployments, date_order))


def of_catalogue(found: Catalogue, where: tuple[dict[str, tuple[float, float]], bool]) -> Known:
    """What an open catalogue holds."""
    rows, decisions = found.rows(), found.decisions()
    names = names_of_individuals(rows, decisions)
    origin = Origin(
        title=found.path.rstrip("/").rpartition("/")[2],
        described=f"Version {found.version} of the catalogue {found.path}, {found.record.time[:16].replace('T', ' ')} UTC",
        locations=where[0],
        geographic=where[1],
        notes=sentences_of(stored_verdicts(found)),
    )
    return Known(
        frame=sightings(rows, decisions),
        said=remarks(decisions),
        near=_near_in_catalogue(found, decisions),
        history=_history(found, names),
        origin=origin,
        version=found.version,
        decisions=decisions,
    )


def locations(
    deployments: str | None, date_order: str | None
) -> tuple[dict[str, tuple[float, float]], bool]:
    """Place → longitude and latitude, or x and y in metres; and whether it is the former."""
    if deployments is None:
        return {}, True
    stations = read_stations(deployments, date_order=date_order)
    found: dict[str, tuple[float, float]] = {}
    for one in stations.deployments:
        point = (one.x, one.y) if stations.projected else (one.longitude, one.latitude)
        if point[0] == point[0] and point[1] == point[1]:
            for name in (one.location_id, *one.names):
                found.setdefault(name, point)
    return found, not stations.projected


def _near_in_catalogue(found: Catalogue, decisions: pa.Table) -> dict[str, list[Near]]:
    near: dict[str, list[Near]] = {}
    for name in read_rules(found):
        graph = read_graph(found, name)
        if not len(graph.rows):
            continue
        read = read_species(graph.rows, decisions, encounters=graph.rules.encounters)
        pairs, distances = row_edges(read, graph.edges)
        near |= nearest_others(
            read.rows["annotation_id"].to_numpy(zero_copy_only=False),
            read.rows["identity_id"].to_numpy(zero_copy_only=False),
            pairs,
            distances,
        )
    return near


def nearest_others(
    ids: np.ndarray, who: np.ndarray, pairs: np.ndarray, distances: np.ndarray
) -> dict[str, list[Near]]:
    """identity_id → the nearest other individuals, by the two pictures that are most alike.

    Args:
        ids, who: (n,) annotation and identity of each row.
        pairs: (m, 2) rows.
        distances: (m,).
    """
    code, names = pd.factorize(who)
    ends = code[pairs]
    crossing = ends[:, 0] != ends[:, 1]
    pairs, distances, ends = pairs[crossing], distances[crossing], ends[crossing]
    own = np.concatenate([pairs, pairs[:, ::-1]])
    keys = np.concatenate([ends, ends[:, ::-1]])
    twice = np.concatenate([distances, distances])
    order = np.lexsort((own[:, 1], own[:, 0], twice))
    keys, own, twice = keys[order], own[order], twice[order]
    _, first = np.unique(keys[:, 0] * (len(names) + 1) + keys[:, 1], return_index=True)
    found: dict[str, list[Near]] = {}
    for place in np.sort(first).tolist():
        a, b = own[place]
        found.setdefault(names[keys[place, 0]], []).append(
            Near(names[keys[place, 1]], float(twice[place]), ids[a], ids[b])
        )
    return found


def _history(found: Catalogue, names: Mapping[str, str]) -> dict[str, list[tuple[datetime, str]]]:
    events = read_events(found)
    holding = {run.run_id for run in history(found) if run.undone_by is None}
    pictures = picture_names(found, events)
    told: dict[str, list[tuple[datetime, str]]] = {}
    for event in reversed(events.to_pylist()):
        if event["event"] in QUIET or event["run_id"] not in holding:
            continue
        sentence = in_words(event, pictures, names)
        for who in dict.fromkeys([event["identity_id"], *(event["other_ids"] or [])]):
            told.setdefault(who, []).append((event["time"], sentence))
    return told


def _of_run(
    out: str, frame: pd.DataFrame, deployments: str | None, date_order: str | None
) -> Known:
    from jobs.cluster.groups import read_groups
    from jobs.common import outputs
    from reid.neighbors import knn

    near: dict[str, list[Near]] = {}
    who = dict(zip(frame["annotation_id"], frame["identity_id"], strict=True))
    for group in read_groups(out):
        ids = np.asarray(group.rows["annotation_id"].to_pylist(), object)
        held = np.flatnonzero([one in who for one in ids])
        if len(held) < 2:
            continue
        ids, vectors = ids[held], group.vectors[held]
        index, distances = knn(vectors, min(NEIGHBOURS, len(held) - 1))
        pairs = np.stack([np.repeat(np.arange(len(held)), index.shape[1]), index.ravel()], axis=1)
        there = pairs[:, 1] >= 0
        near |= nearest_others(
            ids,
            np.asarray([who[one] for one in ids], object),
            pairs[there],
            distances.ravel()[there],
        )
    where = locations(deployments, date_order)
    summary = outputs.read_summary(out).get("cluster", {})
    notes = summary.get("verdict", {}).get("sentences", [])
    origin = Origin(
        title=out.rstrip("/").rpartition("/")[2],
        described=f"The clusters of {out}: an individual is what the run took for one",
        locations=where[0],
        geographic=where[1],
        notes=notes,
    )
    decisions = outputs.read_run_decisions(out)
    return Known(frame, remarks(decisions), near, {}, origin, decisions=decisions)


def picture_of(images: Images, frame: pd.DataFrame, least_px: int) -> Callable[[str], Image.Image]:
    """A function from an annotation_id to its picture, cropped, at least `least_px` large where it can."""
    read = crops(images, frame, least_px)
    places = {one: place for place, one in enumerate(frame["annotation_id"])}
    return lambda one: read(places[one])
