"""The AnimalCLEF notebook: a model and views a species, a threshold tuned on train, a submission for test.

Its steps: read metadata.csv, embed with test-time augmentation, tune DBSCAN's ε on train, cluster test, write
submission.csv. It runs the recipe `configs/animalclef.yaml`, with small networks in the places of its models.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from reid import store
from reid.synthetic import make_herd
from tests.training_toy import write_model

RECIPE = Path(__file__).parents[2] / "configs" / "animalclef.yaml"
SPECIES = ("lynx", "salamander", "loggerhead turtle")


def test_from_metadata_to_submission(
    reid: Callable[..., int], said: Callable[[], str], tmp_path: Path
) -> None:
    herd = make_herd(tmp_path / "herd", individuals=5, images_per_individual=4, species=3, seed=2)
    table = pd.read_csv(herd.annotations, dtype=str)
    table["species"] = table["species"].map(dict(zip(herd.species, SPECIES, strict=True)))
    table["image_id"] = [f"{i:04}" for i in range(len(table))]
    table["dataset"] = table["species"].map(
        dict(zip(SPECIES, ("LynxID2025", "SalamanderID2025", "SeaTurtleID2022"), strict=True))
    )
    table.to_csv(herd.folder / "metadata.csv", index=False)
    test = table[table["split"] == "test"]
    sample = herd.folder / "sample_submission.csv"
    test[["image_id"]].assign(identity="new").to_csv(sample, index=False)
    truth = pd.read_csv(herd.truth, dtype=str).merge(table[["image_path", "image_id"]])
    truth[["image_id", "identity"]].to_csv(herd.folder / "truth.csv", index=False)

    one, two = (write_model(tmp_path / name, seed=seed) for seed, name in enumerate("ab"))
    models = {"lynx": f"[{one},{two}]", "salamander": f"[{one},{two}]", "loggerhead turtle": one}
    small = [f"embed.per_species.{name}.model={model}" for name, model in models.items()]
    out = tmp_path / "results"
    quick = ("embed.ray=never", "embed.runtime=torch", "report.map=false")
    source = ("-c", RECIPE, "-i", herd.folder / "metadata.csv", "-o", out, f"embed.model={one}")
    assert reid("run", *source, *small, *quick) == 0
    recipes = list((out / "embeddings").iterdir())
    views = {tuple(store.read_json(str(folder / "recipe.json"))["views"]) for folder in recipes}
    assert views == {
        ("identity",), ("identity", "rot90", "rot180", "rot270"), ("identity", "scale:1.15")
    }  # fmt: skip
    tuning = store.read_json(str(out / "tuning.json"))
    assert {name: found["source"] for name, found in tuning.items()} == dict.fromkeys(
        SPECIES, "tuned"
    )
    assert (out / "report.html").exists()

    said()
    to = tmp_path / "submission.csv"
    options = ("--sample", sample, "--to", to, "--truth", herd.folder / "truth.csv")
    assert reid("submission", "-o", out, *options) == 0
    told = said()
    assert "mean of 3 ARIs: " in told
    assert "SalamanderID2025" in told
    with to.open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["image_id"] for row in rows] == test["image_id"].tolist()
    prefixes = {row["identity"].rpartition("_")[0] for row in rows}
    assert prefixes == {
        "cluster_LynxID2025", "cluster_SalamanderID2025", "cluster_SeaTurtleID2022"
    }  # fmt: skip
