"""Few individuals, many images (cats): a folder a cat; k-means, DBSCAN and SCAN side by side; figures.

Its steps: embed, cluster into a known number of cats by k-means, DBSCAN and a learned head (SCAN, self-labelled), compare
them by Hungarian accuracy, ARI and NMI, and draw t-SNE, similarities and the right ones among the n nearest.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jobs.cluster.trials import read_trials
from jobs.common import outputs
from tests.jobs import made_up

CATS, IMAGES = 4, 12
METHODS = {
    "kmeans": ("cluster.method=kmeans", f"cluster.n_clusters={CATS}"),
    "dbscan": ("cluster.method=dbscan",),
    "scan": ("cluster.method=scan", f"cluster.n_clusters={CATS}", "cluster.self_label=true"),
}


@pytest.mark.usefixtures("photographs")
def test_three_clusterings_of_cats(
    reid: Callable[..., int], said: Callable[[], str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for cat in range(CATS):
        drawn = np.eye(64)[cat] + 0.06 * rng.normal(size=(IMAGES, 64))
        rows = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
        made_up.photograph(
            tmp_path / "cats" / f"cat {cat}", {f"{cat}-{i:02}": row for i, row in enumerate(rows)}
        )
    out = tmp_path / "out"
    source = ("-i", tmp_path / "cats", "--identity-from-parent", "--species", "cat")
    shared = ("--store", tmp_path / "embeddings", "report.enabled=false")
    assert reid("run", *source, "-o", out, *shared, *METHODS["kmeans"]) == 0
    for method in ("dbscan", "scan"):
        assert reid("cluster", "-o", out, *METHODS[method]) == 0
    trials = read_trials(str(out))
    assert [row["method"] for row in trials] == list(METHODS)
    assert all(float(row["ari"]) == 1 for row in trials)
    said()
    assert reid("compare", out, "--to", tmp_path / "compare.png") == 0
    assert "cluster.self_label=true" in said()
    assert reid("evaluate", "-o", out) == 0
    scored = outputs.read_summary(str(out))["evaluate"]["species"]["cat"]["parts"]
    assert {"ari", "nmi", "pairwise_f1"} <= {*scored["clusters"]["figures"]}
    for number, path in enumerate(sorted((tmp_path / "cats").rglob("*.jpg"))):
        Image.new("RGB", (32, 24), (number * 5, 90, 0)).save(path)
    assert reid("figures", "-o", out, "--to", tmp_path / "figures") == 0
    drawn = {path.stem for path in (tmp_path / "figures").iterdir()}
    assert {"cat-tsne-individuals", "cat-similarities", "cat-neighbours"} <= drawn
