"""Every `reid` command that reads or writes storage, with all that it touches in a bucket, in an order that works.

`tests/jobs/test_storage_away.py` runs them one after the other, `tests/benchmarks/storage_away.py` each for itself.
"""

import csv
from pathlib import Path

import typer

from jobs.cli import app
from reid import store
from reid.catalogue import history, open_catalogue
from reid.synthetic import make_herd
from tests.training_toy import write_model

WITHOUT_STORAGE = {
    "models": "a list",
    "settings": "a list",
    "doctor": "asks about this machine",
    "submit": "sends another command of these",
    "demo": "makes its pictures on this disk",
}
_TABLE = ("-i", "{bucket}/herd/annotations.csv")
_LABELLED = ("-i", "{bucket}/herd/labelled.csv")
_OUT = ("-o", "{bucket}/results")
_FROM = ("-r", "{bucket}/results")
_CATALOGUE = ("-C", "{bucket}/catalogue")
_EMBED = (
    "embed.runtime=torch",
    "embed.tta=identity",
    "embed.device=cpu",
    "embed.cpus_per_worker=1",
)
_MODEL = ("-m", "{model}", *_EMBED)
_RULES = ("identify.known_distance=0.02", "identify.new_distance=0.2")
# Of these deltalake's part, `restore`, holds Python's lock while it waits for an answer: a storage in the same process
# could never give it.
APART = ("undo",)
# Command lines by what they are called: the first word, and what else tells two of a command apart.
# `{model}`: see write_models; `{run}`: the catalogue's latest run.
COMMANDS: dict[str, tuple[str, ...]] = {
    "browse": (*_TABLE, "--to", "{bucket}/browse"),
    "finetune": (
        *_LABELLED, "-o", "{bucket}/tuned", *_MODEL, "finetune.epochs=1", "finetune.input_size=64",
        "finetune.identities=2", "finetune.precision=fp32", "finetune.cpus_per_worker=1", "finetune.hold_out=0.3",
        "finetune.validation_share=0.3", "finetune.promote=always",
    ),
    "embed by a model of the bucket": (*_TABLE, "-o", "{bucket}/tuned-results", "-m", "{bucket}/tuned/checkpoint", *_EMBED),
    "classify": (*_TABLE, "-o", "{bucket}/taxa", "--taxonomy", "{bucket}/tree.csv", *_MODEL),
    "embed tokens": (*_TABLE, "-o", "{bucket}/tokens", "-m", "{model}-vit", "embed.tokens=true", *_EMBED),
    "foreground": ("-o", "{bucket}/tokens"),
    "run": (*_TABLE, *_OUT, *_MODEL),
    "match": (*_OUT, "pairs.matcher=patches", "pairs.wide=4", "pairs.k=2", "pairs.nearest=1"),
    "cluster": (*_OUT,),
    "report": (*_OUT,),
    "evaluate": (*_OUT,),
    "figures": (*_OUT, "--to", "{bucket}/figures"),
    "compare": ("{bucket}/results", "--to", "{bucket}/trials.png"),
    "submission": (
        *_OUT, "--sample", "{bucket}/sample.csv", "--to", "{bucket}/submission.csv", "--allow-additional",
    ),
    "score": (*_OUT, "--pairs", "{bucket}/pairs.csv", "--to", "{bucket}/scores.csv"),
    "review a run": (*_FROM, "-o", "{bucket}/review.html"),
    "export a run": (*_FROM, "-f", "csv", "-o", "{bucket}/who.csv"),
    "book a run": (*_FROM, "--to", "{bucket}/book"),
    "serve a run": (*_FROM, "--port", "0"),
    "identify": (*_TABLE, *_CATALOGUE, *_MODEL, *_RULES),
    "calibrate": (*_LABELLED, *_CATALOGUE, *_MODEL, *_RULES),
    "history": (*_CATALOGUE,),
    "review": (*_CATALOGUE, "-o", "{bucket}/review-catalogue.html"),
    "serve": (*_CATALOGUE, "--port", "0"),
    "book": (*_CATALOGUE, "--to", "{bucket}/book-catalogue"),
    "export": (*_CATALOGUE, "-f", "folders", "--images", "copy", "-o", "{bucket}/folders"),
    "export camtrap-dp": (
        *_CATALOGUE, "-f", "camtrap-dp", "--timezone", "+00:00", "-d", "{bucket}/cameras.csv",
        "--scientific-name", "leopard=Panthera pardus", "--images", "copy", "-o", "{bucket}/package",
    ),
    "export secr": (*_CATALOGUE, "-f", "secr", "-d", "{bucket}/cameras.csv", "-o", "{bucket}/secr"),
    "population": (*_CATALOGUE,),
    "tidy": (*_CATALOGUE,),
    "undo": ("{run}", *_CATALOGUE),
}  # fmt: skip


def all_commands() -> set[str]:
    """The commands of `reid`."""
    return set(typer.main.get_group(app).commands)


def furnish(bucket: str, folder: Path) -> str:
    """Put into a bucket what the first commands read, a small herd and lists; the model, which lies in the folder."""
    herd = make_herd(folder / "herd", individuals=8, images_per_individual=4, species=1, workers=1)
    with herd.annotations.open(newline="") as stream:
        pictures = list(csv.DictReader(stream))
    with herd.truth.open(newline="") as stream:
        truth = {row["image_path"]: row["identity"] for row in csv.DictReader(stream)}
    for picture in pictures:
        name = picture["image_path"]
        store.write_bytes(f"{bucket}/herd/{name}", (folder / "herd" / name).read_bytes())
    store.write_bytes(f"{bucket}/herd/annotations.csv", herd.annotations.read_bytes())

    def sheet(name: str, header: str, rows: list[str]) -> None:
        store.write_text(f"{bucket}/{name}", "\n".join([header, *rows, ""]))

    names = [row["image_path"] for row in pictures]
    known = [
        f"{row['image_path']},{row['species']},{truth[row['image_path']]},{row['encounter_id']}"
        for row in pictures
    ]
    sheet("herd/labelled.csv", "image_path,species,identity,encounter_id", known)
    cameras = sorted({row["location_id"] for row in pictures})
    stood = [f"{name},2020-01-01,2030-01-01,-2.0,37.0" for name in cameras]
    sheet("cameras.csv", "detector,start,end,lat,lon", stood)
    sheet("sample.csv", "image_path,cluster", [f"{name},cluster_X_0" for name in names])
    pairs = [f"{i},{names[0]},{name}" for i, name in enumerate(names[1:])]
    sheet("pairs.csv", "row_id,query_image,gallery_image", pairs)
    sheet("tree.csv", "class_index,order,genus", [f"{i},Carnivora,{'ABC'[i]}" for i in range(3)])
    return write_models(folder)


def write_models(folder: Path) -> str:
    """Models with random weights: the folder of one, and beside it, `-vit`, one that has tokens."""
    write_model(folder / "model-vit", "test_vit")
    return write_model(folder / "model")


def in_bucket(name: str, bucket: str, model: str, run: str = "") -> list[str]:
    """The command line of that name; `run`: what is undone, the catalogue's latest where it is empty."""
    line = COMMANDS[name]
    if "{run}" in line and not run:
        runs = history(open_catalogue(f"{bucket}/catalogue"))
        run = next(one.run_id for one in runs if one.undone_by is None and one.undoes is None)
    return [name.split()[0], *(part.format(bucket=bucket, model=model, run=run) for part in line)]
