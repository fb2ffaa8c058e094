"""`reid demo`: the main job on the built-in herd, scored against the truth that the job never sees."""

import time
from pathlib import Path
from typing import Any

import pandas as pd

from jobs.common import outputs
from jobs.common.console import progress, say
from jobs.run import run
from reid import store
from reid.config import Config
from reid.errors import InputError
from reid.metrics import agreement
from reid.synthetic import make_herd


def demo(config: Config, *, individuals: int, images_per_individual: int, species: int) -> None:
    """Make the herd below OUT/herd, run every stage on it, and compare with its truth.

    Raises:
        InputError: OUT is no place on this disk; and what the stages raise.
    """
    if store.is_remote(config.out):
        raise InputError(
            f"--out {config.out}: the pictures are made on this disk; choose a folder of it"
        )
    started = time.perf_counter()
    folder = Path(config.out) / "herd"
    total = individuals * images_per_individual * species
    with progress("herd", total) as advance:
        seen = 0

        def step(done: int, _: int) -> None:
            nonlocal seen
            advance(done - seen)
            seen = done

        herd = make_herd(
            folder,
            individuals=individuals,
            images_per_individual=images_per_individual,
            species=species,
            seed=config.seed,
            progress=step,
        )
    say(
        f"herd: {herd.images:,} pictures of {individuals} individuals of each of {species} species, "
        f"a labelled train part and an unlabelled test part ({time.perf_counter() - started:.1f} s)"
    )

    def score(resolved: Config) -> dict[str, Any]:
        return score_against_truth(resolved, herd.truth)

    run(config.model_copy(update={"input": [str(herd.annotations)]}), score)


def score_against_truth(config: Config, truth: Path) -> dict[str, Any]:
    """ARI and AMI of the individuals found: all images, and the unlabelled ones alone."""
    annotations = outputs.read_stage(config.out, outputs.ANNOTATIONS, "embed").to_pandas()
    clusters = outputs.read_stage(config.out, outputs.CLUSTERS, "cluster").to_pandas()
    known = pd.read_csv(truth, dtype=str).rename(columns={"identity": "truth"})
    rows = annotations.merge(clusters.drop(columns="species"), on="annotation_id").merge(
        known, on="image_path", validate="one_to_one"
    )
    scores: dict[str, dict[str, float]] = {}
    for species, found in rows.groupby("species"):
        new = found[found["identity"].isna()]
        everyone, unlabelled = (
            agreement(part["cluster_label"].factorize()[0], part["truth"].to_numpy())
            for part in (found, new)
        )
        scores[str(species)] = {
            "ari": everyone.ari,
            "ari_unlabelled": unlabelled.ari,
            "ami": everyone.ami,
            "pairwise_f1": everyone.pairwise_f1,
        }
    return {"species": scores, "from": store.join(config.out, "herd/truth.csv")}
