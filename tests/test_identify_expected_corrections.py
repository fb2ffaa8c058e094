"""Bridges by brute force, and the pairs that a person is asked about."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.identify import CANDIDATES, review_candidates
from reid.identify.constrained_partition import components
from reid.identify.joining_edges import joining_edges
from tests.identified import identified, row_ids

KNOWN, NEW = 0.2, 0.4


@settings(max_examples=200)
@given(
    st.integers(2, 12),
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=24),
    st.integers(0, 99),
)
def test_a_bridge_is_a_link_without_which_there_are_more_parts(
    n: int, links: list[tuple[int, int]], seed: int
) -> None:
    pairs = np.asarray([(a % n, b % n) for a, b in links if a % n != b % n], np.int64).reshape(
        -1, 2
    )
    sizes = np.random.default_rng(seed).integers(1, 4, n)
    whole = components(n, pairs).max()
    expected = []
    for place, (a, b) in enumerate(pairs.tolist()):
        without = components(n, np.delete(pairs, place, axis=0))
        if without.max() > whole:
            sides = [int(sizes[without == without[end]].sum()) for end in (a, b)]
            expected.append((place, sides))
    places, parts = joining_edges(n, pairs, sizes)
    assert list(zip(places.tolist(), parts.tolist(), strict=True)) == expected


def test_a_long_chain_needs_no_recursion() -> None:
    n = 20_000
    chain = np.stack([np.arange(n - 1), np.arange(1, n)], axis=1)
    places, parts = joining_edges(n, chain, np.ones(n, np.int64))
    assert len(places) == n - 1
    np.testing.assert_array_equal(parts[:, 0], np.arange(1, n))
    np.testing.assert_array_equal(parts.sum(axis=1), np.full(n - 1, n))


def catalogue(
    n: int,
    links: dict[tuple[int, int], float],
    said: Sequence[tuple[int, int, str]] = (),
    **columns: list[str],
) -> tuple[pa.Table, pa.Table, pa.Table]:
    columns = {"image_path": row_ids(n), **columns}
    return identified("s", columns, links, said, known=KNOWN, new=NEW)


def asked(tables: tuple[pa.Table, pa.Table, pa.Table], **options: int) -> list[dict]:
    found = review_candidates("s", *tables, known_distance=KNOWN, new_distance=NEW, **options)
    assert found.schema.equals(CANDIDATES)
    worth = found["expected_corrections"].to_pylist()
    assert worth == sorted(worth, reverse=True)
    return found.to_pylist()


# Two triangles on a bridge (2, 3), a single row 6 near to one of them, and 7 far from all.
TRIANGLES = {
    (0, 1): 0.05, (0, 2): 0.05, (1, 2): 0.05, (3, 4): 0.05, (3, 5): 0.05, (4, 5): 0.05,
    (2, 3): 0.19, (5, 6): 0.3,
}  # fmt: skip


def test_the_bridge_of_two_triangles_comes_first_of_the_equals() -> None:
    found = asked(catalogue(8, TRIANGLES))
    kinds = {(row["a_id"], row["b_id"]): row for row in found}
    bridge, single = kinds["a02", "a03"], kinds["a05", "a06"]
    assert (bridge["kind"], bridge["rows"]) == ("bridge", 3)
    assert bridge["a_identity_id"] == bridge["b_identity_id"] == "s-0001"
    assert bridge["expected_corrections"] == pytest.approx(3 * (1 - bridge["probability"]))
    assert (single["kind"], single["rows"]) == ("new", 1)
    assert single["probability"] == pytest.approx(0.5)
    assert single["expected_corrections"] == pytest.approx(0.5)
    assert {single["a_identity_id"], single["b_identity_id"]} == {"s-0001", "s-0002"}
    # Row 5's own link would be wrong if row 6 were its animal: a margin.
    assert {row["kind"] for row in found} == {"bridge", "new", "margin"}
    assert len(asked(catalogue(8, TRIANGLES), limit=1)) == 1


@pytest.mark.parametrize("said", ["unknown", "match", "nomatch"])
def test_nobody_is_asked_twice(said: str) -> None:
    tables = catalogue(8, TRIANGLES, [(2, 3, said), (5, 6, said)])
    pairs = {(row["a_id"], row["b_id"]) for row in asked(tables)}
    assert not pairs & {("a02", "a03"), ("a05", "a06")}


def test_what_people_joined_hangs_on_no_edge() -> None:
    tables = catalogue(8, TRIANGLES, [(1, 4, "match")])
    assert "bridge" not in {row["kind"] for row in asked(tables)}


def test_boxes_of_one_image_are_not_asked_about() -> None:
    links = {(0, 1): 0.05, (0, 2): 0.3}
    found = asked(catalogue(3, links, image_path=["i", "i", "j"]))
    assert {(row["a_id"], row["b_id"]) for row in found} == {("a00", "a02")}


def test_an_empty_catalogue_asks_nothing() -> None:
    assert asked(catalogue(1, {})) == []
