"""What is known of who is where: a catalogue, or a run's output folder, as one table of sightings."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.console import say
from jobs.common.verdicts import run_verdicts, stored_verdicts
from reid import schema, store
from reid.catalogue import open_catalogue, read_rules
from reid.errors import InputError
from reid.exports.sightings import sightings
from reid.identify.remarks import with_said_viewpoints
from reid.sources.places import absolute
from reid.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Holdings:
    """Sightings and where they come from.

    Attributes:
        frame: of `reid.exports.sightings.sightings`.
        place: folder or URI of the catalogue or the run.
        described: what it is, for messages.
        recipes: species → recipe of the embeddings behind it.
        is_catalogue: whether people's decisions and unsure images are known.
        embedding_failures: images that have no vector, and so are nobody's.
        unusable: images that nobody can be told by, as people said; they are not in the frame.
        whole: the frame with them.
        verdicts: species → what the model can tell apart there; not of what an earlier version made.
    """

    frame: pd.DataFrame
    place: str
    described: str
    recipes: Mapping[str, str]
    is_catalogue: bool
    embedding_failures: int = 0
    unusable: int = 0
    whole: pd.DataFrame | None = None
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)


def read_holdings(catalogue: str | None, results: str | None) -> Holdings:
    """Read one of the two.

    Args:
        catalogue: of `reid identify`.
        results: output folder of `reid run`.

    Raises:
        InputError: both or none are given, or there is nothing in it.
    """
    if (catalogue is None) == (results is None):
        raise InputError(
            "give either --catalogue (of `reid identify`) or --results (output folder of `reid run`)"
        )
    return _catalogue(absolute(catalogue)) if catalogue else _results(absolute(str(results)))


def _catalogue(path: str) -> Holdings:
    found = open_catalogue(path)
    frame = sightings(found.rows(), found.decisions())
    recipes = {name: rules.recipe for name, rules in read_rules(found).items()}
    usable = frame[~frame["unusable"]].reset_index(drop=True)
    lost = len(frame) - len(usable)
    return Holdings(
        usable,
        path,
        f"version {found.version} of {path}",
        recipes,
        True,
        unusable=lost,
        verdicts=stored_verdicts(found),
    )


def _results(out: str) -> Holdings:
    annotations = schema.conform(
        outputs.read_stage(out, outputs.ANNOTATIONS, "embed"), schema.ANNOTATIONS
    )
    clusters = outputs.read_stage(out, outputs.CLUSTERS, "cluster")
    place = pc.index_in(annotations["annotation_id"], value_set=clusters["annotation_id"])
    rows = annotations.filter(pc.is_valid(place))
    if not len(rows):
        raise InputError(f"{out}: no image was clustered; see {outputs.FAILURES} there")
    clusters = clusters.take(place.drop_null())
    labels = {
        "identity_id": clusters["cluster_label"],
        # An image that stands alone is an individual of its own, met once.
        "decision": pc.if_else(pc.greater_equal(clusters["cluster"], 0), "known", "new"),
        "confidence": pa.nulls(len(rows), schema.CATALOGUE.field("confidence").type),
        "nearest_id": clusters["nearest_id"],
        "nearest_distance": clusters["nearest_distance"],
    }
    for name, column in labels.items():
        rows = rows.append_column(name, column)
    summary = outputs.read_summary(out)
    embed = summary.get("embed", {})
    decisions = outputs.read_run_decisions(out)
    rows = with_said_viewpoints(rows.sort_by("annotation_id"), decisions)
    frame = sightings(rows, decisions)
    usable = frame[~frame["unusable"]].reset_index(drop=True)
    return Holdings(
        usable,
        out,
        store.join(out, outputs.CLUSTERS),
        dict(embed.get("recipes", {})),
        False,
        len(annotations) - len(rows),
        len(frame) - len(usable),
        frame,
        run_verdicts(summary),
    )


def only_confirmed(holdings: Holdings) -> Holdings:
    """Without images that no person has confirmed.

    Raises:
        InputError: nobody has confirmed any.
    """
    frame = holdings.frame[holdings.frame["confirmed_by"].notna()].reset_index(drop=True)
    if not len(frame):
        raise InputError(
            f"--confirmed: no person has confirmed any of the {len(holdings.frame):,} images of {holdings.place} yet; "
            "`reid review` and `reid serve` ask"
        )
    return replace(holdings, frame=frame)


def doubt(holdings: Holdings, species: Iterable[str]) -> list[str]:
    """A sentence for each species of which the verdict is `not usable`: what is handed on is not better."""
    return [
        f"{name}: the verdict on these individuals is {verdict.level.upper()}: numbers and files that are made of "
        f"them are no better. {verdict.sentence}"
        for name in species
        if (verdict := holdings.verdicts.get(name)) is not None and verdict.level == "not usable"
    ]


def warn_of_doubt(holdings: Holdings) -> None:
    """Say so, of the species that are left in `holdings.frame`."""
    for sentence in doubt(holdings, sorted(holdings.frame["species"].unique())):
        say(f"warning: {sentence}")
