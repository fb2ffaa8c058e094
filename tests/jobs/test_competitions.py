"""`reid submission` and `reid score`, on photographs whose vectors are made up; no Ray is needed."""

import csv
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import jobs.run
from tests.jobs import made_up

Reid = Callable[..., int]
Say = Callable[[], str]

# name → (degrees, species, data set, identity): lynx-a 0–4°, lynx-b 90°, and a newt; images of each lie close.
ANIMALS = {
    "a1": (0, "lynx", "LynxID2025", "Anna"),
    "a2": (3, "lynx", "LynxID2025", ""),
    "a3": (4, "lynx", "LynxID2025", ""),
    "b1": (90, "lynx", "LynxID2025", ""),
    "b2": (92, "lynx", "LynxID2025", ""),
    "n1": (10, "newt", "Newts", ""),
    "n2": (11, "newt", "Newts", ""),
    "n3": (120, "newt", "Newts", ""),
}
TRUTH = {"a2": "Anna", "a3": "Anna", "b1": "Bo", "b2": "Bo", "n1": "N", "n2": "N", "n3": "M"}
ASKED = ("n3", "b2", "a3", "n1", "b1", "n2", "a2")  # in no order; a1 is of the training part

MODELS = {"one": 1.0, "two": 0.5}  # the second sees half of each angle


def vector(name: str, model: str = "one") -> np.ndarray:
    return made_up.at(ANIMALS[name][0] * MODELS[model])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, reid: Reid) -> Iterator[Path]:
    """A folder with metadata.csv, its images, and the output folders `one` and `two` of two models."""
    place = tmp_path_factory.mktemp("competition")
    with pytest.MonkeyPatch.context() as patch:
        made_up.stand_in(patch.setattr)
        patch.setattr(jobs.run, "ray_session", lambda _: nullcontext())
        for out in MODELS:
            vectors = {name: vector(name, out) for name in ANIMALS}
            made_up.photograph(place / "images", vectors)
            with (place / "metadata.csv").open("w", newline="") as file:
                sheet = csv.writer(file)
                sheet.writerow(["image_id", "path", "species", "dataset", "identity"])
                for i, (name, (_, species, dataset, identity)) in enumerate(ANIMALS.items()):
                    sheet.writerow([f"{i:05}", f"images/{name}.jpg", species, dataset, identity])
            store = place / out / "embeddings"
            options = ("cluster.eps=0.05", "report.enabled=false", "--store", store)
            assert reid("run", *options, "-i", place / "metadata.csv", "-o", place / out) == 0
        yield place


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    def text() -> str:
        told = capsys.readouterr()
        return " ".join((told.err + told.out).split())

    return text


def id_of(name: str) -> str:
    return f"{list(ANIMALS).index(name):05}"


def sample(place: Path, ids: list[str]) -> Path:
    place.write_text("image_id,cluster\n" + "".join(f"{one},cluster_X_0\n" for one in ids))
    return place


def lines(file: Path) -> list[list[str]]:
    with file.open(newline="") as stream:
        return list(csv.reader(stream))


def test_a_submission_has_the_ids_of_the_sample_and_labels_by_data_set(
    runs: Path, reid: Reid, tmp_path: Path, said: Say
) -> None:
    to = tmp_path / "submission.csv"
    asked = sample(tmp_path / "sample.csv", [id_of(name) for name in ASKED])
    truth = tmp_path / "truth.csv"
    truth.write_text("image_id,identity\n" + "".join(f"{id_of(k)},{v}\n" for k, v in TRUTH.items()))
    assert (
        reid("submission", "-o", runs / "one", "--sample", asked, "--to", to, "--truth", truth) == 0
    )
    assert lines(to) == [
        ["image_id", "cluster"],
        [id_of("n3"), "cluster_Newts_0"],
        [id_of("b2"), "cluster_LynxID2025_0"],
        [id_of("a3"), "cluster_LynxID2025_1"],
        [id_of("n1"), "cluster_Newts_1"],
        [id_of("b1"), "cluster_LynxID2025_0"],
        [id_of("n2"), "cluster_Newts_1"],
        [id_of("a2"), "cluster_LynxID2025_1"],
    ]
    told = said()
    assert "7 images of 2 data sets in 4 clusters" in told
    assert "1 labelled images are not in the sample" in told
    assert "mean of 2 ARIs: 1.000" in told


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([*ASKED, "b2"], "1 ids are there twice: 00004"),
        ([*ASKED, "none"], "1 of its 8 ids have no cluster here: none"),
        (ASKED[1:], "1 images without a known identity are not in the sample: images/n3.jpg"),
    ],
)
def test_ids_that_are_doubled_missing_or_additional_are_refused(
    runs: Path, reid: Reid, tmp_path: Path, said: Say, ids: list[str], expected: str
) -> None:
    asked = sample(
        tmp_path / "sample.csv", [id_of(name) if name in ANIMALS else name for name in ids]
    )
    to = tmp_path / "submission.csv"
    assert reid("submission", "-o", runs / "one", "--sample", asked, "--to", to) == 1
    assert expected in said()
    assert not to.exists()


def test_additional_images_are_left_out_where_that_is_said(
    runs: Path, reid: Reid, tmp_path: Path
) -> None:
    asked = sample(tmp_path / "sample.csv", [id_of("b2")])
    to = tmp_path / "submission.csv"
    options = ("--to", to, "--allow-additional")
    assert reid("submission", "-o", runs / "one", "--sample", asked, *options) == 0
    assert lines(to)[1:] == [[id_of("b2"), "cluster_LynxID2025_0"]]


def pair_list(place: Path) -> tuple[Path, list[tuple[str, str]]]:
    """Each lynx against all others, by file name."""
    names = [name for name, (_, species, *_) in ANIMALS.items() if species == "lynx"]
    pairs = [(a, b) for a in names for b in names if a != b]
    rows = "".join(f"{i},{a}.jpg,{b}.jpg\n" for i, (a, b) in enumerate(pairs))
    place.write_text("row_id,query_image,gallery_image\n" + rows)
    return place, pairs


def cosine(a: str, b: str, model: str = "one") -> float:
    return float(vector(a, model) @ vector(b, model))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        ("clip", lambda c: max(c, 0.0)),
        ("affine", lambda c: (c + 1) / 2),
    ],
)
def test_a_pair_gets_its_similarity(
    runs: Path, reid: Reid, tmp_path: Path, scale: str, expected: Callable[[float], float]
) -> None:
    wanted, pairs = pair_list(tmp_path / "test.csv")
    to = tmp_path / "scores.csv"
    assert reid("score", "-o", runs / "one", "--pairs", wanted, "--to", to, "--scale", scale) == 0
    header, *rows = lines(to)
    assert header == ["row_id", "similarity"]
    assert [row[0] for row in rows] == [str(i) for i in range(len(pairs))]
    found = [float(row[1]) for row in rows]
    np.testing.assert_allclose(found, [expected(cosine(*pair)) for pair in pairs], atol=1e-6)


@pytest.mark.parametrize(
    ("join", "expected"),
    [
        ("scores", lambda one, two: (max(one, 0) + max(two, 0)) / 2),
        ("vectors", lambda one, two: max((one + two) / 2, 0)),
    ],
)
def test_an_ensemble_averages_what_its_models_say(
    runs: Path, reid: Reid, tmp_path: Path, join: str, expected: Callable[[float, float], float]
) -> None:
    wanted, pairs = pair_list(tmp_path / "test.csv")
    to = tmp_path / "scores.csv"
    both = ("-o", runs / "one", "-o", runs / "two", "--scale", "clip")
    assert reid("score", *both, "--pairs", wanted, "--to", to, "--join", join) == 0
    found = [float(row[1]) for row in lines(to)[1:]]
    both_cosines = [[cosine(*pair, model) for model in MODELS] for pair in pairs]
    assert min(one for one, _ in both_cosines) < 0, "else both ways would give the same"
    np.testing.assert_allclose(found, [expected(*two) for two in both_cosines], atol=1e-6)


def test_reranked_pairs_of_one_animal_come_before_all_others(
    runs: Path, reid: Reid, tmp_path: Path
) -> None:
    wanted, pairs = pair_list(tmp_path / "test.csv")
    to = tmp_path / "scores.csv"
    assert reid("score", "-o", runs / "one", "--pairs", wanted, "--to", to, "--rerank") == 0
    found = np.asarray([float(row[1]) for row in lines(to)[1:]])
    same = np.asarray([a[0] == b[0] for a, b in pairs])
    assert average_precision_score(same, found) == 1
    assert found.min() >= 0
    assert found.max() <= 1


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (
            "0,a1.jpg,nobody.jpg",
            "1 images of gallery_image have no vector here, for example nobody.jpg",
        ),
        ("0,a1.jpg,", "have no vector here"),
    ],
)
def test_an_image_without_a_vector_is_refused(
    runs: Path, reid: Reid, tmp_path: Path, said: Say, row: str, expected: str
) -> None:
    wanted = tmp_path / "test.csv"
    wanted.write_text(f"row_id,query_image,gallery_image\n{row}\n")
    assert reid("score", "-o", runs / "one", "--pairs", wanted, "--to", tmp_path / "s.csv") == 1
    assert expected in said()
