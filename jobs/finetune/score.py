"""Is the trained model better than its start? Both embed the same held-out rows, as `reid embed` does."""

from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import say
from jobs.common.embedded import EmbedStage
from jobs.finetune.split_plan import HELD_OUT, Plan
from reid import embeddings, store
from reid.config import Config
from reid.metrics import QueryScores, retrieval_intervals, summarise, without_copies
from reid.training.validate import species_queries


def embed_rows(
    config: Config, embed: EmbedStage, model: str, plan: Plan
) -> tuple[np.ndarray, pa.Table]:
    """Embed what a plan's figures need, with one model and its own pooling, as the picture is.

    Args:
        config: the resolved configuration; its `embed` section counts but for the model and views.
        embed: the embedding stage.
        model: name, or folder of a checkpoint.
        plan: the held-out rows are embedded; for a closed set all others too, which are searched.

    Returns:
        (n, d) float32 for all rows of the plan, NaN where there is no embedding, and for a second copy of
        a picture, which proves nothing by finding the first; and the failures.
    """
    wanted = plan.where(HELD_OUT) if not plan.closed else np.arange(len(plan.rows))
    section = config.embed.model_copy(
        update={
            "model": [model], "model_weights": None, "tta": ["identity"], "per_species": {},
            "device": config.finetune.device,
        }
    )  # fmt: skip
    place = store.join(config.out, "training", "embeddings")
    own = config.model_copy(update={"embed": section, "store": place})
    rows = plan.rows.take(pa.array(wanted))
    summary, failures = embed(own, rows)
    (folder,) = set(summary.folders.values())
    found = embeddings.read_embeddings(folder, rows["annotation_id"].combine_chunks())
    embeddings.check_accounted(
        rows["annotation_id"], found.found, failures["annotation_id"], folder
    )
    vectors = np.full((len(plan.rows), found.vectors.shape[1]), np.nan, np.float32)
    here = wanted[found.found]
    names = rows["identity"].take(pa.array(found.found)).to_numpy(zero_copy_only=False)
    kept = without_copies(found.content_hashes, names)
    if not kept.all():
        say(
            f"note: {int((~kept).sum()):,} images are copies of others, and take no part in the figures"
        )
    vectors[here[kept]] = found.vectors[kept]
    return vectors, failures


def held_out_queries(vectors: np.ndarray, plan: Plan) -> QueryScores:
    """Each held-out row asks for its individual, within its species; `rows` are those of the plan.

    Individuals that are held out are looked for among held-out rows, each row of the query's own
    encounter aside. In a closed set the rows that were trained on are searched.
    """
    held = plan.parts == HELD_OUT
    species, identities, encounters = (
        plan.rows[name].to_pylist() for name in ("species", "identity", "encounter_id")
    )
    searched = ~held if plan.closed else held
    return species_queries(vectors, species, identities, encounters, held, searched)


def figures(queries: QueryScores, seed: int) -> dict[str, Any]:
    """Means over the queries with their 95 % intervals, ready for JSON; null where none asked."""
    means = {
        name: round(value, 5) if np.isfinite(value) else None
        for name, value in asdict(summarise(queries)).items()
    }
    intervals = {
        name: [round(low, 5), round(high, 5)]
        for name, (low, high) in retrieval_intervals(queries, seed=seed).items()
        if np.isfinite(low)
    }
    return {**means, "intervals": intervals}


def change_interval(
    before: QueryScores, after: QueryScores, closed: bool, seed: int
) -> list[float] | None:
    """95 % interval of the change of the deciding figure; None where too few individuals asked.

    The same individuals are drawn for both sides: whether a query is easy moves both alike, so that
    the change is surer than the two figures look.
    """
    rows, left, right = np.intersect1d(before.rows, after.rows, return_indices=True)
    if closed:
        found = after.first_hit[right] <= 1, before.first_hit[left] <= 1
        change = np.subtract(*found, dtype=np.float64)
    else:
        change = after.average_precision[right] - before.average_precision[left]
    # A mean of the queries' changes: what the intervals do with a mean of precisions.
    paired = QueryScores(
        rows=rows,
        individuals=before.individuals[left],
        average_precision=change.astype(np.float64),
        first_hit=after.first_hit[right],
        inverse_negative_penalty=change.astype(np.float64),
        skipped=0,
    )
    low, high = retrieval_intervals(paired, seed=seed)["mean_average_precision"]
    return [round(low, 5), round(high, 5)] if np.isfinite(low) else None


def primary(closed: bool) -> str:
    """The figure that decides whether a model is better."""
    return "top_1" if closed else "mean_average_precision"


def nearest(vectors: np.ndarray, plan: Plan, query: int, k: int = 5) -> np.ndarray:
    """The rows that a held-out query finds first, (≤ k,) int64."""
    species = plan.rows["species"]
    among = (plan.parts != HELD_OUT) if plan.closed else (plan.parts == HELD_OUT)
    among &= np.isfinite(vectors).all(axis=1)
    among &= pc.equal(species, species[query]).to_numpy(zero_copy_only=False)
    encounter = plan.rows["encounter_id"][query]
    if encounter.is_valid:
        own = pc.fill_null(pc.equal(plan.rows["encounter_id"], encounter), False)
        among &= ~own.to_numpy(zero_copy_only=False)
    among[query] = False
    rows = np.flatnonzero(among)
    order = np.argsort(-(vectors[rows] @ vectors[query]), kind="stable")
    return rows[order[:k]]
