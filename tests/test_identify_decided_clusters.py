"""Clusters as people decided: every match and nomatch holds, and nothing else moves."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid import schema
from reid.identify import ContradictionError
from reid.identify.decided_clusters import decided_clusters
from tests.test_identify import annotations, decisions_table


def at(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def decided(
    labels: Sequence[int], degrees: Sequence[float], *said: tuple[str, str, str]
) -> list[int]:
    rows = annotations(annotation_id=[chr(97 + k) for k in range(len(labels))])
    told = decisions_table([(a, b, what, 1) for a, b, what in said])
    found = decided_clusters(rows, np.asarray(labels, np.int64), at(*degrees), told)
    return [int(one) for one in found]


def test_by_hand() -> None:
    found, where = [0, 0, 0, 1, 1, -1], [0, 5, 20, 90, 95, 180]
    assert decided(found, where) == found
    assert decided(found, where, ("c", "d", "match")) == [0, 0, 0, 0, 0, -1]
    # b stays with a, which is nearer to it than c is; the number stays with most.
    assert decided(found, where, ("a", "c", "nomatch")) == [0, 0, -1, 1, 1, -1]
    assert decided(found, where, ("b", "c", "nomatch")) == [0, 0, -1, 1, 1, -1]
    assert decided(found, where, ("a", "b", "nomatch")) == [-1, 0, 0, 1, 1, -1]
    assert decided(found, where, ("f", "d", "match"), ("a", "b", "nomatch")) == [-1, 0, 0, 1, 1, 1]
    # Two strangers that were nobody's become somebody.
    assert decided([-1, -1, 0, 0], [0, 90, 180, 181], ("a", "b", "match")) == [1, 1, 0, 0]
    assert decided(found, where, ("a", "b", "unknown")) == found


def test_an_unusable_picture_is_nobodys_unless_somebody_says_whose() -> None:
    found, where = [0, 0, 0], [0, 5, 10]
    assert decided(found, where, ("b", "b", "unusable")) == found, "what is said is its note"
    rows = annotations(annotation_id=["a", "b", "c"])
    told = decisions_table([("b", "b", "unusable", 1)])
    told = told.set_column(5, schema.DECISIONS.field("note"), pa.array(["dark"]))
    labels = np.zeros(3, np.int64)
    assert decided_clusters(rows, labels, at(*where), told).tolist() == [0, -1, 0]
    told = pa.concat_tables([told, decisions_table([("a", "b", "match", 2)])])
    assert decided_clusters(rows, labels, at(*where), told).tolist() == [0, 0, 0]


def test_what_cannot_hold_is_told_with_its_chain() -> None:
    said = [("a", "b", "match"), ("b", "c", "match"), ("a", "c", "nomatch")]
    with pytest.raises(ContradictionError, match=r"a ≠ c \(nomatch by Ann.*a = b.*b = c"):
        decided([0, 0, 1], [0, 1, 90], *said)


@settings(max_examples=80)
@given(data=st.data())
def test_every_decision_holds_and_the_rest_stays_whatever_the_order(data: st.DataObject) -> None:
    n = data.draw(st.integers(2, 12))
    labels = np.asarray(data.draw(st.lists(st.integers(-1, 3), min_size=n, max_size=n)), np.int64)
    vectors = at(*data.draw(st.lists(st.integers(0, 359), min_size=n, max_size=n)))
    rows = annotations(annotation_id=[f"p{k:02}" for k in range(n)])
    ids = rows["annotation_id"].to_pylist()
    pairs = st.tuples(
        st.integers(0, n - 1), st.integers(0, n - 1), st.sampled_from(["match", "nomatch"])
    )
    said = [
        (ids[a], ids[b], what, 1 + k)
        for k, (a, b, what) in enumerate(data.draw(st.lists(pairs, max_size=6)))
        if a != b
    ]
    told = decisions_table(said)
    try:
        found = decided_clusters(rows, labels, vectors, told)
    except ContradictionError:
        return
    who = np.where(found < 0, -1 - np.arange(n), found)
    latest = {tuple(sorted((a, b))): what for a, b, what, _ in said}
    for (a, b), what in latest.items():
        assert (who[ids.index(a)] == who[ids.index(b)]) == (what == "match")
    touched = {labels[ids.index(one)] for pair in latest for one in pair}
    for label in set(labels.tolist()) - touched - {-1}:
        assert len(set(found[labels == label].tolist())) == 1, (
            "a cluster nobody spoke of stays whole"
        )
    order = np.asarray(data.draw(st.permutations(range(n))))
    again = decided_clusters(rows.take(pa.array(order)), labels[order], vectors[order], told)
    now = np.where(again < 0, -1 - order, again)
    same = who[order][:, None] == who[order][None, :]
    assert ((now[:, None] == now[None, :]) == same).all()
