"""A picture that lies there twice finds itself, which proves nothing."""

import numpy as np
import pytest

from reid.errors import InputError
from reid.metrics import evaluate, retrieval, without_copies


def scattered(n: int, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_first_copy_stays_and_one_that_is_named_before_others() -> None:
    copies = np.array(["x", "y", "x", None, None, "y"], dtype=object)
    names = np.array([None, "a", "b", None, "c", None], dtype=object)
    assert without_copies(copies, names).tolist() == [False, True, True, True, True, False]
    assert without_copies(None, names).all()
    with pytest.raises(InputError, match="content hashes: 2 values for 6 rows"):
        without_copies(copies[:2], names)


def test_a_card_copied_twice_scores_as_the_card() -> None:
    vectors = scattered(40)
    names = np.repeat(np.arange(10), 4).astype(str)
    content = np.array([f"h{k}" for k in range(40)], dtype=object)
    once = evaluate(vectors, names, copies=content, resamples=10)
    twice = evaluate(
        np.concatenate([vectors, vectors]),
        np.concatenate([names, names]),
        copies=np.concatenate([content, content]),
        resamples=10,
    )
    assert twice.parts == once.parts
    assert (twice.images, twice.labelled, twice.individuals) == (80, 80, 10)
    assert twice.notes[0].startswith("40 images are copies of others here")
    careless = retrieval(np.concatenate([vectors, vectors]), np.concatenate([names, names]))
    assert careless.top_1 == 1 > once.parts["retrieval"].figures["top_1"].value


def test_an_individual_of_copies_alone_has_nothing_to_find() -> None:
    content = np.array(["h0", "h0", "h1"], dtype=object)
    with pytest.raises(InputError, match="no individual has two different images"):
        evaluate(scattered(3), np.array(["a", "a", "b"]), copies=content)


def test_one_labelled_individual_with_encounters_is_scored_as_far_as_it_goes() -> None:
    names = np.array(["a"] * 4 + [None] * 6, dtype=object)
    found = evaluate(scattered(10), names, encounters=np.array(list("xxyyzzuuvv")), resamples=10)
    assert set(found.parts) == {"retrieval"}
    assert any("no closed-set score" in note for note in found.notes)


def test_copies_under_two_names_and_a_split_are_scored_too() -> None:
    vectors = scattered(40)
    names = np.repeat(np.arange(10), 4).astype(str)
    content = np.array([f"h{k}" for k in range(40)], dtype=object)
    content[36:] = content[:4]  # the last individual's images are the first one's, too
    query = np.arange(40) % 2 == 0
    found = evaluate(
        vectors, names, copies=content, split=(query, ~query), photographs=content, resamples=10
    )
    assert (found.images, found.individuals) == (40, 10)
    assert found.parts["split"].how.startswith("18 of 18 queries")
    assert "open_set" in found.parts
