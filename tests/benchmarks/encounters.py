"""What encounters and viewpoints are worth: ARI and mAP with each, on images that have both.

    reid run --input nyala/annotations.csv --out results/nyala
    python tests/benchmarks/encounters.py --results results/nyala --out encounters.json
    python tests/benchmarks/encounters.py --results results/tuned --held-out runs/nyala/split.parquet
    reid demo && python tests/benchmarks/encounters.py --results demo --labels demo/herd/truth.csv

--results is an output folder of `reid run` over labelled images with `encounter_id` and `viewpoint`;
--held-out keeps the individuals that a fine-tuning job held out, so that a tuned model is judged on
animals it never saw. For each value of `identify.encounters` and `identify.viewpoints`:

- ARI of the catalogue's partition at the best of all thresholds, and whether it beats what encounters
  alone say (`nobody matched`: every encounter an individual), which is most of it with a weak model.
- mAP and top-1 with a query's own encounter aside. An image is as far from another as its encounter
  is: by the nearest pair (`best`) or the nearest means (`mean`) that may be compared.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score, average_precision_score

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from jobs.cluster.groups import Group, read_groups
from jobs.cluster.labels import relabel
from reid.identify import Nodes, comparable, make_nodes, pool, sides
from reid.identify.constrained_partition import partition
from reid.identify.constraints import Constraints

THRESHOLDS = 200
APART = np.float32(2.5)  # of nodes that are not compared: behind every distance there is


def labelled(group: Group, held_out: Path | None) -> tuple[pd.DataFrame, np.ndarray]:
    """The labelled rows in the order of their ids, and their embeddings."""
    rows = group.rows.to_pandas()
    keep = rows["identity"].notna()
    if held_out:
        split = pd.read_parquet(held_out)
        test = split.loc[split["part"] == "held_out", "annotation_id"]
        keep &= rows["annotation_id"].isin(test)
    order = rows[keep].sort_values("annotation_id").index.to_numpy()
    return rows.loc[order].reset_index(drop=True), group.vectors[order]


def words(column: pd.Series) -> list[str | None]:
    return [None if pd.isna(word) else word for word in column]


def node_distances(vectors: np.ndarray, nodes: Nodes, shown: np.ndarray | None) -> np.ndarray:
    """(k, k) float32; `APART` where a left and a right would be compared."""
    pooled = pool(vectors, nodes)
    distances = 1 - pooled @ pooled.T
    if shown is not None:
        distances[~comparable(shown[:, None], shown[None])] = APART
    return distances


def rank(distances: np.ndarray, nodes: Nodes, own: np.ndarray, mode: str) -> np.ndarray:
    """(n, n) distance of each row to each: that of its encounter, where encounters mean something."""
    if mode == "off":
        return distances
    of_node = own[nodes.first]
    by_encounter = pd.DataFrame(distances).groupby(of_node).min().T.groupby(of_node).min()
    return by_encounter.loc[own, own].to_numpy()


def score_ranking(
    distances: np.ndarray, identity: np.ndarray, own: np.ndarray
) -> tuple[float, float]:
    """mAP and top-1; rows of the query's own encounter are left out, ties count at their worst."""
    precision, first = [], []
    for row in range(len(identity)):
        others = own != own[row]
        right = identity[others] == identity[row]
        if not right.any():
            continue
        # Scikit-learn takes rows at one distance as one step; so are an encounter's views here.
        near = distances[row, others]
        precision.append(average_precision_score(right, -near))
        first.append(right[near == near.min()].all())
    return float(np.mean(precision)), float(np.mean(first))


def measure(rows: pd.DataFrame, vectors: np.ndarray, mode: str, rule: str) -> dict[str, Any]:
    n = len(rows)
    identity = pd.factorize(rows["identity"])[0]
    own = pd.factorize(rows["encounter_id"])[0].astype(np.int64)
    own = np.where(own < 0, len(own) + np.arange(n), own)
    alone, nothing = np.full(n, -1, np.int64), np.empty((0, 2), np.int64)
    nodes = make_nodes(
        rows["annotation_id"].tolist(), words(rows["encounter_id"]), words(rows["viewpoint"]),
        mode=mode, images=alone, labels=alone, nomatch=nothing,
    )  # fmt: skip
    shown = sides([rows["viewpoint"][k] for k in nodes.first], rule)
    distances = node_distances(vectors, nodes, shown)
    a, b = np.triu_indices(len(nodes.ids), 1)
    seen = distances[a, b] < APART
    edges = np.stack([nodes.first[a[seen]], nodes.first[b[seen]]], axis=1)
    lengths = distances[a[seen], b[seen]].astype(np.float32)
    constraints = Constraints(alone, nodes.encounter, alone, nothing, nothing)
    best = (-1.0, 0.0, 0)
    # Few pairs decide: by the time a tenth of them joins, a species is one individual.
    for near in np.unique(np.quantile(lengths, np.geomspace(1e-6, 0.1, THRESHOLDS))):
        kept = lengths <= near
        found = partition(n, edges[kept], lengths[kept], float(near), constraints).component
        best = max(best, (adjusted_rand_score(identity, found), float(near), int(found.max()) + 1))
    together = np.where(nodes.encounter < 0, n + np.arange(n), nodes.encounter)
    precision, top_1 = score_ranking(rank(distances, nodes, own, mode), identity, own)
    return {
        "encounters": mode,
        "viewpoints": rule,
        "ari": best[0],
        "ari_nobody_matched": adjusted_rand_score(identity, together),
        "eps": best[1],
        "individuals": best[2],
        "mAP": precision,
        "top_1": top_1,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--held-out", type=Path, help="split.parquet of a fine-tuning job")
    parser.add_argument("--labels", help="identities of all images, as `reid evaluate` takes them")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    found = []
    groups = read_groups(str(args.results))
    if args.labels:
        groups, _ = relabel(groups, args.labels)
    for group in groups:
        rows, vectors = labelled(group, args.held_out)
        print(
            f"{group.species}: {len(rows):,} images, {rows['identity'].nunique():,} individuals, "
            f"{rows['encounter_id'].nunique():,} encounters"
        )
        for mode in ("off", "best", "mean"):
            for rule in ("compare-all", "same-side"):
                one = {"species": group.species, "images": len(rows)}
                found.append(one | measure(rows, vectors, mode, rule))
                print(
                    f"  {mode:5}{rule:12}  ARI {found[-1]['ari']:.3f} (nobody matched "
                    f"{found[-1]['ari_nobody_matched']:.3f})  mAP {found[-1]['mAP']:.3f}  "
                    f"top-1 {found[-1]['top_1']:.3f}"
                )
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
