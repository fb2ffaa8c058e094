"""The verdict that a night ends with: on what the model alone would say, remembered, and cheap."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.catalogue import night_verdict
from jobs.common import outputs
from jobs.common.verdicts import stored_verdicts
from reid.catalogue import history, open_catalogue
from tests.jobs.made_up import photograph, stand_in

ANIMALS, EACH = 12, 4


class Nights:
    """Twelve animals that a model tells apart, photographed night after night."""

    def __init__(self, home: Path, reid: Callable[..., int]) -> None:
        self.home, self.reid, self.place = home, reid, home / "catalogue"
        random = np.random.default_rng(3)
        heart = random.normal(size=(ANIMALS, 64))
        rows = heart[:, None] + 0.15 * random.normal(size=(ANIMALS, EACH + 1, 64))
        rows /= np.linalg.norm(rows, axis=2, keepdims=True)
        self.vectors = {
            f"{animal:02}-{k}": rows[animal, k]
            for animal in range(ANIMALS)
            for k in range(EACH + 1)
        }

    def night(self, *pictures: str, labels: bool = False, known: float = 0.1) -> None:
        uploads = self.home / "uploads"
        photograph(uploads, {name: self.vectors[name] for name in pictures})
        source = uploads
        if labels:
            source = uploads / "labels.csv"
            with source.open("w", newline="") as file:
                rows = csv.writer(file)
                rows.writerow(("path", "identity"))
                rows.writerows((f"{name}.jpg", f"animal {name[:2]}") for name in pictures)
        rules = (f"identify.known_distance={known}", f"identify.new_distance={known + 0.05}")
        arguments = ("-i", source, "-C", self.place, "--species", "lynx", *rules)
        assert self.reid("identify", *arguments) == 0

    @property
    def verdict(self):
        return stored_verdicts(open_catalogue(str(self.place)))["lynx"]


@pytest.fixture
def nights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, reid: Callable[..., int]) -> Nights:
    stand_in(monkeypatch.setattr)
    return Nights(tmp_path, reid)


FIRST = [f"{animal:02}-{k}" for animal in range(ANIMALS) for k in range(EACH)]


def test_without_labels_halves_are_compared_once(
    nights: Nights, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    nights.night(*FIRST)
    first = nights.verdict
    assert (first.level, first.basis) == ("review everything", "no labels")
    assert first.figures["halves_ari"] > 0.9
    capsys.readouterr()

    def read_again(*_: object) -> None:
        raise AssertionError("vectors were read for the verdict")

    monkeypatch.setattr(night_verdict, "read_vectors", read_again)
    nights.night("00-4")
    assert nights.verdict.figures["halves_ari"] == first.figures["halves_ari"]
    said = " ".join(capsys.readouterr().err.split())
    assert "verdict: Review everything: nothing speaks against these clusters" in said
    run = history(open_catalogue(str(nights.place)))[0].run_id
    summary = outputs.read_summary(str(nights.place / "runs" / run))["identify"]
    assert summary["verdict"]["level"] == "review everything"
    assert summary["species"]["lynx"]["verdict"]["sentence"] == nights.verdict.sentence

    nights.night()
    said = " ".join(capsys.readouterr().err.split())
    assert "nothing new" in said
    assert "verdict: Review everything" in said, "a night without anything new ends with one too"
    assert nights.reid("history", "-C", nights.place) == 0
    assert "verdict: Review everything" in capsys.readouterr().out


def test_halves_are_compared_again_when_the_images_have_doubled(
    nights: Nights, monkeypatch: pytest.MonkeyPatch
) -> None:
    *more, last = (*FIRST[30:], *(f"{animal:02}-{EACH}" for animal in range(ANIMALS)))
    nights.night(*FIRST[:30])
    assert nights.verdict.figures["halves_images"] == 30
    read: list[int] = []

    def counting(*asked: Any) -> Any:
        read.append(len(asked[2]))
        return read_vectors(*asked)

    read_vectors = night_verdict.read_vectors
    monkeypatch.setattr(night_verdict, "read_vectors", counting)
    nights.night(*more)
    assert (nights.verdict.figures["halves_images"], read) == (30, [])
    nights.night(last)
    assert (nights.verdict.figures["halves_images"], read) == (60, [60])


def test_labels_that_come_later_say_how_right_the_model_is(nights: Nights) -> None:
    nights.night(*FIRST)
    nights.night(*FIRST[: 11 * EACH], labels=True)
    assert (nights.verdict.level, nights.verdict.basis) == ("usable", "labels")
    assert nights.verdict.figures["individuals"] == 11
    assert (
        "labelled and confirmed images, grouped as if nobody had named" in nights.verdict.sentence
    )

    run = history(open_catalogue(str(nights.place)))[0].run_id
    assert nights.reid("undo", run, "-C", nights.place) == 0
    assert (nights.verdict.level, nights.verdict.basis) == ("review everything", "no labels")


def test_a_catalogue_that_obeys_its_labels_does_not_flatter_its_model(nights: Nights) -> None:
    """Everything is within the known distance: labels alone tell these animals apart."""
    nights.night(*FIRST, labels=True, known=1.4)
    catalogue = open_catalogue(str(nights.place))
    identities = catalogue.rows(["annotation_id", "identity_id"])["identity_id"]
    assert len(set(identities.to_pylist())) == ANIMALS
    assert nights.verdict.level == "not usable"
    assert nights.verdict.figures["expected_ari"] < 0.1
