"""`reid evaluate` on a run and on anybody's embeddings."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cluster.groups import read_embedding_file
from jobs.cluster.labels import encounters, relabel, timestamps
from jobs.common import outputs
from reid.errors import InputError
from reid.metrics import Evaluation, agreement, retrieval
from reid.synthetic import make_herd

Reid = Callable[..., int]


def animals(individuals: int = 12, images: int = 6, spread: float = 0.3) -> tuple[np.ndarray, list]:
    rng = np.random.default_rng(0)
    identity = np.repeat(np.arange(individuals), images)
    rows = rng.normal(size=(individuals, 16))[identity]
    rows = rows + spread * rng.normal(size=rows.shape)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), [f"lynx {i}" for i in identity]


def write_parquet(path: Path, vectors: np.ndarray, **columns: object) -> Path:
    pq.write_table(pa.table({"embedding": vectors.tolist(), **columns}), path)
    return path


def read(out: Path) -> dict:
    return json.loads((out / outputs.EVALUATION).read_text("utf-8"))


@pytest.fixture(scope="module")
def run_of_a_herd(
    tmp_path_factory: pytest.TempPathFactory, local_ray: None, reid: Reid
) -> tuple[Path, Path]:
    """An output folder, and the truth about its images."""
    folder = tmp_path_factory.mktemp("herd")
    herd = make_herd(folder / "herd", individuals=8, images_per_individual=4, species=1)
    settings = ("embed.cpus_per_worker=1", "embed.workers=1")
    assert reid("run", *settings, "--input", herd.annotations, "--out", folder / "out") == 0
    return folder / "out", Path(herd.truth)


def test_a_run_is_scored_and_its_report_says_so(
    run_of_a_herd: tuple[Path, Path], reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    out, truth = run_of_a_herd
    assert reid("evaluate", "--out", out, "--labels", truth) == 0
    shown = capsys.readouterr().out
    written = read(out)
    ((species, values),) = written["species"].items()
    found = Evaluation.from_dict(values)
    assert found.as_dict() == values
    # The truth names every image, and the clusters are those of the run.
    clusters = pd.read_parquet(out / outputs.CLUSTERS)
    rows = pd.read_parquet(out / outputs.ANNOTATIONS).merge(clusters, on="annotation_id")
    rows = rows.merge(pd.read_csv(truth), on="image_path", suffixes=("", "_true"))
    expected = agreement(rows["cluster"].to_numpy(), rows["identity_true"].to_numpy())
    scores = found.parts["clusters"].figures
    assert scores["ari"].value == pytest.approx(expected.ari)
    assert scores["b_cubed_f1"].value == pytest.approx(expected.b_cubed_f1)
    assert found.labelled == found.images == len(rows)
    for part in found.parts.values():
        assert part.title in shown
        for figure in part.figures.values():
            assert f"{figure.value:.3f}" in shown
    page = (out / outputs.REPORT).read_text("utf-8")
    assert 'id="evaluation"' in page
    assert f"{scores['ari'].value:.3f}" in page
    assert species in outputs.read_summary(str(out))["evaluate"]["species"]


def test_clusters_made_again_are_not_scored_by_old_figures(
    run_of_a_herd: tuple[Path, Path], reid: Reid
) -> None:
    out, truth = run_of_a_herd
    assert reid("evaluate", "--out", out, "--labels", truth, "report.enabled=false") == 0
    assert reid("cluster", "--out", out, "cluster.eps=0.2") == 0
    assert "evaluate" not in outputs.read_summary(str(out))
    assert reid("report", "--out", out) == 0
    assert 'id="evaluation"' not in (out / outputs.REPORT).read_text("utf-8")


def test_anybodys_embeddings(tmp_path: Path, reid: Reid) -> None:
    vectors, names = animals()
    file = write_parquet(tmp_path / "e.parquet", vectors, identity=names)
    assert reid("evaluate", "--embeddings", file, "--out", tmp_path / "out") == 0
    parts = read(tmp_path / "out")["species"]["unknown"]["parts"]
    assert set(parts) == {"retrieval", "closed_set", "open_set", "clusters"}
    expected = retrieval(vectors, np.array(names))
    figures = parts["retrieval"]["figures"]
    assert figures["mean_average_precision"]["value"] == expected.mean_average_precision
    assert figures["top_1"]["low"] <= figures["top_1"]["value"] <= figures["top_1"]["high"]
    assert parts["clusters"]["figures"]["ami"]["low"] is None
    assert not (tmp_path / "out" / outputs.SUMMARY).exists()  # no run, and so no stage of one


def test_encounters_and_timestamps_make_it_harder(tmp_path: Path, reid: Reid) -> None:
    vectors, names = animals(spread=1.0)
    pairs = [str(i // 2) for i in range(len(names))]
    vectors[1::2] = vectors[::2]  # the second frame of a burst
    np.save(tmp_path / "e.npy", vectors)
    days = pd.Timestamp("2024-03-01") + pd.to_timedelta(np.arange(len(names)) // 2 % 3, "D")
    table = pd.DataFrame({"identity": names, "encounter_id": pairs, "timestamp": days})
    scores = {}
    for kind in ("plain", "bursts"):
        columns = ["identity"] if kind == "plain" else list(table)
        table[columns].to_csv(tmp_path / f"{kind}.csv", index=False)
        arguments = ("--embeddings", tmp_path / "e.npy", "--labels", tmp_path / f"{kind}.csv")
        assert reid("evaluate", *arguments, "--out", tmp_path / kind) == 0
        scores[kind] = read(tmp_path / kind)["species"]["unknown"]
    plain, bursts = (one["parts"]["retrieval"]["figures"]["top_1"] for one in scores.values())
    assert plain["value"] == 1
    assert bursts["value"] < 0.9
    assert "top-1 1.000" in scores["bursts"]["notes"][0]  # what a careless evaluation would say
    assert "time_aware" in scores["bursts"]["parts"]
    assert "time_aware" not in scores["plain"]["parts"]


def test_a_species_without_labels_is_left_out_and_said(
    tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, names = animals()
    species = ["lynx"] * 36 + ["tiger"] * 36
    identity = [name if kind == "lynx" else None for name, kind in zip(names, species, strict=True)]
    file = write_parquet(tmp_path / "e.parquet", vectors, identity=identity, species=species)
    assert reid("evaluate", "--embeddings", file, "--out", tmp_path / "out") == 0
    assert "tiger is left out: 0 of 36 images have an identity" in capsys.readouterr().err
    written = read(tmp_path / "out")
    assert list(written["species"]) == ["lynx"]
    assert list(written["left_out"]) == ["tiger"]


def test_labels_too_few_for_a_part_leave_it_out_with_a_note(tmp_path: Path, reid: Reid) -> None:
    vectors, names = animals(individuals=3)
    file = write_parquet(tmp_path / "e.parquet", vectors, identity=names)
    arguments = ("--embeddings", file, "--out", tmp_path / "out", "cluster.eps=0.2")
    assert reid("evaluate", *arguments) == 0
    found = read(tmp_path / "out")["species"]["unknown"]
    assert set(found["parts"]) == {"retrieval", "closed_set", "clusters"}
    assert found["notes"] == [
        "figures and intervals are from only 3 individuals, and may be far off",
        "no open-set score: 3 labelled individuals, and this split needs 4: label more images",
    ]


def test_nothing_to_score_is_an_error(
    tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, _ = animals()
    np.save(tmp_path / "e.npy", vectors)
    assert reid("evaluate", "--embeddings", tmp_path / "e.npy", "--out", tmp_path / "out") == 1
    error = capsys.readouterr().err
    assert "0 of 72 images have an identity" in error
    assert "--labels" in error
    assert reid("evaluate", "--out", tmp_path / "nothing") == 1
    assert "there is no such folder; `reid run --input" in capsys.readouterr().err


def test_labels_find_their_images(tmp_path: Path) -> None:
    vectors, names = animals(individuals=2, images=2)
    file = write_parquet(
        tmp_path / "e.parquet", vectors, identity=names, annotation_id=list("abcd"),
        image_path=["p/a.jpg", "p/b.jpg", "p/c.jpg", "p/d.jpg"], species=["x", "y", "x", "y"],
    )  # fmt: skip
    groups = read_embedding_file(str(file))
    labels = tmp_path / "labels.csv"
    # The rows in another order, under other people's names for the columns.
    labels.write_text(
        "path,individual,encounter,date\n"
        "p/d.jpg,7,e1,2024-05-01 10:00\np/a.jpg,unknown,e2,\np/b.jpg,8,,soon\nelse.jpg,9,,\n"
    )
    found, notes = relabel(groups, str(labels))
    assert [group.identities.tolist() for group in found] == [[None, None], ["8", "7"]]
    assert [encounters(group).tolist() for group in found] == [["e2", None], [None, "e1"]]
    assert timestamps(found[1])[1] == np.datetime64("2024-05-01T10:00")
    assert np.isnat(timestamps(found[1])[0])
    assert [note.removeprefix(f"{labels}: ") for note in notes] == [
        "1 of 4 rows name no image that is here",
        "1 of 4 images are not in it, and so unlabelled",
    ]


def test_a_label_by_image_is_that_of_all_its_boxes_and_says_so(tmp_path: Path) -> None:
    vectors, names = animals(individuals=2, images=2)
    file = write_parquet(
        tmp_path / "e.parquet", vectors, identity=names, annotation_id=list("abcd"),
        image_path=["two.jpg", "two.jpg", "c.jpg", "d.jpg"],
    )  # fmt: skip
    groups, labels = read_embedding_file(str(file)), tmp_path / "labels.csv"
    labels.write_text("path,identity\ntwo.jpg,7\nc.jpg,8\nd.jpg,9\n")
    ((group,), notes) = relabel(groups, str(labels))
    assert group.identities.tolist() == ["7", "7", "8", "9"]
    assert len(notes) == 1
    assert "1 images have several boxes, which all get the label of their image" in notes[0]
    labels.write_text("annotation_id,identity\na,7\nb,6\nc,8\nd,9\n")
    ((group,), notes) = relabel(groups, str(labels))
    assert (group.identities.tolist(), notes) == (["7", "6", "8", "9"], [])


def test_labels_follow_the_rules_of_every_reader(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors, _ = animals(individuals=2, images=2)
    file = write_parquet(
        tmp_path / "e.parquet",
        vectors,
        annotation_id=list("abcd"),
        identity=["NA", "?", "luna", "12"],
    )
    groups, labels = read_embedding_file(str(file)), tmp_path / "labels.csv"
    assert groups[0].identities.tolist() == [None, None, "luna", "12"]
    assert "1 NA, 1 ?" in capsys.readouterr().err
    labels.write_text("annotation_id;Identity;remarks\na;Luna;\nb;luna ;\nc;NA;\nd;#REF!;\n")
    ((group,), _) = relabel(groups, str(labels))
    assert group.identities.tolist() == ["Luna", "Luna", None, None]
    told = capsys.readouterr().err
    assert "Identity as identity; columns not used: remarks" in told
    assert "2 cells say that nothing is known" in told
    labels.write_text('annotation_id,identity\na,"Luna\nb,Leo\nc,x\nd,y\n')
    with pytest.raises(InputError, match="line 2: a quotation mark is opened"):
        relabel(groups, str(labels))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("annotation_id,name2\na,1\n", "no column `identity`; found: annotation_id, name2"),
        ("annotation_id,identity\n", "no rows"),
        ("identity\n1\n2\n", "2 rows for 4 images of 1 species, and no column that says"),
        ("annotation_id,identity\na,1\na,2\n", "1 rows name an image again, for example annotation_id 'a'"),
        ("path,identity\nq.jpg,1\n", "none of its 1 rows .* image_path is 'q.jpg' there and 'a' here"),
    ],
)  # fmt: skip
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, text: str, match: str) -> None:
    vectors, _ = animals(individuals=2, images=2)
    file = write_parquet(tmp_path / "e.parquet", vectors, annotation_id=list("abcd"))
    labels = tmp_path / "labels.csv"
    labels.write_text(text)
    with pytest.raises(InputError, match=match):
        relabel(read_embedding_file(str(file)), str(labels))


def test_labels_that_are_not_there_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        relabel([], str(tmp_path / "gone.csv"))
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(InputError, match="cannot be read as a table"):
        relabel([], str(tmp_path / "broken.parquet"))
