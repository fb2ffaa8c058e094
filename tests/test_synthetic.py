import csv
import hashlib
import re
from collections import Counter, defaultdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from reid.errors import InputError
from reid.synthetic import COLUMNS, SPECIES, Herd, make_herd
from reid.synthetic.coat import TRAITS, draw_traits, grow_flanks, swift_hohenberg
from reid.synthetic.coat_kinds import AnimalKind
from reid.synthetic.plan import plan_species

LEOPARD, ZEBRA = SPECIES[0], SPECIES[1]


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digests(herd: Herd) -> dict[str, str]:
    """Content digest of every file of the herd, by its path."""
    return {
        path.relative_to(herd.folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(herd.folder.rglob("*"))
        if path.is_file()
    }


def small(folder: Path, **changes: int) -> Herd:
    arguments = {"individuals": 3, "images_per_individual": 2, "species": 1, "workers": 2} | changes
    return make_herd(folder, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def herd(tmp_path_factory: pytest.TempPathFactory) -> Herd:
    return make_herd(
        tmp_path_factory.mktemp("herd"), individuals=8, images_per_individual=6, species=2, seed=3
    )


def test_counts_and_columns(herd: Herd) -> None:
    rows, truth = rows_of(herd.annotations), rows_of(herd.truth)
    assert tuple(rows[0]) == COLUMNS
    assert tuple(truth[0]) == ("image_path", "identity")
    assert herd.images == len(rows) == len(truth) == 2 * 8 * 6
    assert herd.species == ("leopard", "zebra")
    assert [row["image_path"] for row in rows] == [row["image_path"] for row in truth]
    assert Counter(row["species"] for row in rows) == {"leopard": 48, "zebra": 48}
    assert set(Counter(row["identity"] for row in truth).values()) == {6}
    assert len({row["identity"] for row in truth}) == 16


def test_every_row_is_a_picture_of_the_promised_size(herd: Herd) -> None:
    rows = rows_of(herd.annotations)
    on_disk = {p.relative_to(herd.folder).as_posix() for p in herd.folder.rglob("*.jpg")}
    assert on_disk == {row["image_path"] for row in rows}
    for row in rows:
        with Image.open(herd.folder / row["image_path"]) as image:
            image.load()
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert 320 <= max(image.size) <= 480


def test_train_is_labelled_and_test_is_not(herd: Herd) -> None:
    truth = {row["image_path"]: row["identity"] for row in rows_of(herd.truth)}
    met: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows_of(herd.annotations):
        assert row["split"] in ("train", "test")
        assert row["identity"] == (truth[row["image_path"]] if row["split"] == "train" else "")
        met[truth[row["image_path"]]].add(row["split"])
    for species in herd.species:
        own = [splits for identity, splits in met.items() if identity.startswith(species)]
        # A quarter of eight individuals is new; the others are met in both seasons.
        assert sum(splits == {"test"} for splits in own) == 2
        assert sum(splits == {"train", "test"} for splits in own) == 6


def test_encounters_are_bursts_of_one_animal(herd: Herd) -> None:
    truth = {row["image_path"]: row["identity"] for row in rows_of(herd.truth)}
    encounters: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows_of(herd.annotations):
        encounters[row["encounter_id"]].append(row)
    assert max(len(rows) for rows in encounters.values()) > 1
    for rows in encounters.values():
        assert len(rows) <= 3
        assert len({truth[row["image_path"]] for row in rows}) == 1
        for column in ("viewpoint", "location_id", "split"):
            assert len({row[column] for row in rows}) == 1, column
        times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
        assert len(set(times)) == len(times)
        assert (max(times) - min(times)).total_seconds() < 60


def test_the_test_season_comes_after_the_train_season(herd: Herd) -> None:
    times: defaultdict[str, list[datetime]] = defaultdict(list)
    for row in rows_of(herd.annotations):
        times[row["split"]].append(datetime.fromisoformat(row["timestamp"]))
    assert max(times["train"]) < min(times["test"])


def test_both_flanks_are_seen(herd: Herd) -> None:
    assert {row["viewpoint"] for row in rows_of(herd.annotations)} == {"left", "right"}


def test_names_and_their_order_do_not_tell_who_it_is(herd: Herd) -> None:
    identity = {row["image_path"]: row["identity"] for row in rows_of(herd.truth)}
    for species in herd.species:
        paths = sorted(path for path in identity if Path(path).parent.name == species)
        assert all(re.fullmatch(rf"images/{species}/\d{{6}}\.jpg", path) for path in paths)
        same = sum(identity[a] == identity[b] for a, b in pairwise(paths))
        # Of 47 neighbouring pairs one in 9.4 shares an identity by chance: 5 expected, 40 if names were in order.
        assert same <= 15


def test_the_seed_alone_decides(tmp_path: Path) -> None:
    one = digests(small(tmp_path / "one", seed=7, workers=1))
    many = digests(small(tmp_path / "many", seed=7, workers=4))
    other = digests(small(tmp_path / "other", seed=8))
    assert len(one) == 3 * 2 + 2
    assert one == many
    assert not set(one.values()) & set(other.values())


def test_a_herd_replaces_itself_and_nothing_else(tmp_path: Path) -> None:
    first = digests(small(tmp_path))
    (tmp_path / "images/leopard/000001.jpg").write_bytes(b"cut off")
    assert digests(small(tmp_path)) == first
    (tmp_path / "images/mine.jpg").write_bytes(b"a photograph")
    with pytest.raises(InputError, match=r"holds 1 pictures .*mine\.jpg.*choose an empty folder"):
        small(tmp_path)


def test_tables_appear_only_when_all_pictures_are_there(tmp_path: Path) -> None:
    class StoppedError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        raise StoppedError

    small(tmp_path)
    with pytest.raises(StoppedError):
        make_herd(tmp_path, individuals=3, images_per_individual=2, species=1, progress=stop)
    assert not (tmp_path / "annotations.csv").exists()
    assert not (tmp_path / "truth.csv").exists()


def test_progress_counts_up_to_all_images(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    make_herd(
        tmp_path,
        individuals=3,
        images_per_individual=2,
        species=1,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(2, 6), (4, 6), (6, 6)]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"individuals": 1}, "individuals: 1; choose a value from 2 to"),
        ({"images_per_individual": 0}, "images_per_individual: 0; choose a value from 1 to"),
        ({"species": 0}, "species: 0; choose a value from 1 to 4"),
        ({"species": 5}, "species: 5; .*known species: leopard, zebra, chital, giraffe"),
        ({"seed": -1}, "seed: -1; choose a value from 0 to"),
        ({"workers": 0}, "workers: 0; choose a value from 1 to"),
    ],
)
def test_arguments_out_of_range(tmp_path: Path, changes: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        small(tmp_path / "herd", **changes)
    assert not (tmp_path / "herd").exists()


def test_thumbnails_do_not_solve_it(tmp_path: Path) -> None:
    """32 × 32 thumbnails, mean-centred cosine, DBSCAN, the best ε that the truth can choose."""
    herd = make_herd(tmp_path, individuals=20, images_per_individual=6, species=2, seed=1)
    identity = {row["image_path"]: row["identity"] for row in rows_of(herd.truth)}
    for species in herd.species:
        paths = sorted(path for path in identity if Path(path).parent.name == species)
        pixels = np.stack(
            [
                np.asarray(Image.open(herd.folder / path).resize((32, 32)), dtype=float).ravel()
                for path in paths
            ]
        )
        pixels -= pixels.mean(axis=1, keepdims=True)
        pixels /= np.linalg.norm(pixels, axis=1, keepdims=True)
        distances = np.clip(1 - pixels @ pixels.T, 0, 2)
        scores = []
        for eps in np.linspace(0.005, 1.2, 240):
            labels = DBSCAN(eps=eps, min_samples=2, metric="precomputed").fit_predict(distances)
            noise = labels == -1
            labels[noise] = labels.max() + 1 + np.arange(noise.sum())
            scores.append(adjusted_rand_score([identity[path] for path in paths], labels))
        assert max(scores) < 0.3, species


@settings(max_examples=40)
@given(
    kind=st.sampled_from(SPECIES),
    individuals=st.integers(2, 12),
    images=st.integers(1, 12),
    seed=st.integers(0, 2**32),
)
def test_plan_of_any_size(kind: AnimalKind, individuals: int, images: int, seed: int) -> None:
    plan = plan_species(kind, individuals, images, np.random.default_rng(seed))
    splits: defaultdict[str, set[str]] = defaultdict(set)
    for picture in plan:
        splits[picture.identity].add(picture.split)
    assert set(Counter(picture.identity for picture in plan).values()) == {images}
    assert len(splits) == individuals
    known = sum("train" in parts for parts in splits.values())
    assert 1 <= known < individuals
    if images > 1:
        assert sum(parts == {"train", "test"} for parts in splits.values()) == known


def test_stripes_stand_upright_and_keep_their_wavelength() -> None:
    start = np.random.default_rng(0).standard_normal((96, 192), dtype=np.float32)
    u = swift_hohenberg(start, 12.0, roundness=0.0, directed=1.0, growth=0.3)
    power = np.abs(np.fft.rfft2(u)) ** 2
    row, column = np.unravel_index(np.argmax(power), power.shape)
    assert abs(np.fft.fftfreq(96)[row]) < 0.02
    assert 1 / np.fft.rfftfreq(192)[column] == pytest.approx(12.0, rel=0.15)


def test_the_quadratic_term_makes_spots() -> None:
    start = np.random.default_rng(0).standard_normal((96, 192), dtype=np.float32)

    def skewness(roundness: float) -> float:
        return float((swift_hohenberg(start, 10.0, roundness=roundness, growth=0.15) ** 3).mean())

    # Stripes rise and fall alike; spots are high islands on low ground.
    assert abs(skewness(0.0)) < 0.1
    assert skewness(1.5) > 0.6


@pytest.mark.parametrize(("likeness", "low", "high"), [(1.0, 0.999, 1.0), (0.0, -0.3, 0.3)])
def test_flanks_are_as_alike_as_asked(likeness: float, low: float, high: float) -> None:
    rng = np.random.default_rng(5)
    traits = draw_traits(LEOPARD.style, 1, rng)[0]
    left, right = grow_flanks(LEOPARD.style, traits, rng, likeness=likeness)
    correlation = np.corrcoef(left.field.ravel(), right.field.ravel())[0, 1]
    assert low <= correlation <= high + 1e-6


def test_flanks_of_one_animal_are_related_but_not_mirror_images() -> None:
    rng = np.random.default_rng(5)
    left, right = grow_flanks(ZEBRA.style, draw_traits(ZEBRA.style, 1, rng)[0], rng)
    correlation = np.corrcoef(left.field.ravel(), right.field.ravel())[0, 1]
    assert 0.2 < correlation < 0.95
    assert np.array_equal(left.ground, right.ground)


def test_traits_are_spread_apart() -> None:
    weights = np.array(list(TRAITS.values())) * [
        name not in ("directed", "slant_rad") for name in TRAITS
    ]

    def closest(traits: np.ndarray) -> float:
        gaps = np.linalg.norm((traits[:, None] - traits[None]) * weights, axis=2)
        return float(gaps[~np.eye(len(traits), dtype=bool)].min())

    # A leopard's rosettes have no direction: those two traits must not count.
    spread = draw_traits(LEOPARD.style, 30, np.random.default_rng(0))
    assert spread.shape == (30, len(TRAITS))
    assert ((spread >= 0) & (spread <= 1)).all()
    plain = [np.random.default_rng(i).random(spread.shape) for i in range(20)]
    assert closest(spread) > 1.5 * max(closest(traits) for traits in plain)
