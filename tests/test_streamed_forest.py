"""The streamed forest is the forest of the whole graph."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.cluster import dbscan, labels_at, streamed
from reid.neighbors import radius_graph, stream_edges


@settings(max_examples=25)
@given(
    n=st.integers(2, 60),
    block=st.integers(1, 20),
    min_samples=st.integers(1, 4),
    at_once=st.integers(1, 50),
    seed=st.integers(0, 9999),
)
def test_labels_are_those_of_dbscan_at_every_threshold(
    n: int, block: int, min_samples: int, at_once: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(max(2, n // 4), 6))[random.integers(0, max(2, n // 4), n)]
    rows = (rows + 0.3 * random.normal(size=rows.shape)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    graph = radius_graph(rows, 0.8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(streamed, "EDGES_AT_ONCE", at_once)
        forest = streamed.streamed_forest(stream_edges(rows, 0.8, block_rows=block), n, min_samples)
    for eps in (0.01, 0.1, 0.25, 0.5, 0.8):
        np.testing.assert_array_equal(labels_at(forest, eps), dbscan(graph, eps, min_samples))
