import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import ray

from jobs.neighbours.block_pairs import distributed_radius_graph, stream_distributed_edges
from reid import cluster, neighbors, store
from reid.errors import InputError

pytestmark = pytest.mark.usefixtures("local_ray")

Edges = tuple[np.ndarray, np.ndarray]


def bursts(n: int, d: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((n // 4 + 1, d)), 4, axis=0)[:n]
    rows = rng.permutation(rows + rng.choice([0.0, 0.1, 0.5], (n, 1)) * rng.standard_normal((n, d)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def assert_same(found: neighbors.Graph, wanted: neighbors.Graph) -> None:
    assert found.n == wanted.n
    assert len(wanted.edges) > 0
    np.testing.assert_array_equal(found.edges, wanted.edges)
    np.testing.assert_array_equal(found.distances, wanted.distances)


@pytest.mark.parametrize(("block_rows", "in_flight"), [(64, None), (100, 1), (1000, 3)])
def test_it_is_the_graph_of_one_process(block_rows: int, in_flight: int | None) -> None:
    rows = bursts(330)
    found = distributed_radius_graph(rows, 0.4, block_rows=block_rows, max_in_flight=in_flight)
    assert_same(found, neighbors.radius_graph(rows, 0.4))


def test_blocks_of_any_size_that_were_made_elsewhere() -> None:
    rows = bursts(200)

    @ray.remote
    def embed(block: np.ndarray) -> np.ndarray:
        return block

    cuts = [slice(0, 90), slice(90, 90), slice(90, 97), slice(97, 200)]
    blocks = [embed.remote(rows[cut]) for cut in cuts]
    assert_same(distributed_radius_graph(blocks, 0.4), neighbors.radius_graph(rows, 0.4))


def dies_once(marker: Path) -> Callable[[np.ndarray, np.ndarray], Edges]:
    def reduce(edges: np.ndarray, distances: np.ndarray) -> Edges:
        # Block pairs with row 150 in them: in the middle of the work, not its start.
        if (edges[:, 0] >= 150).any():
            try:
                marker.touch(exist_ok=False)
            except FileExistsError:
                return edges, distances
            os._exit(1)
        return edges, distances

    return reduce


def test_a_worker_that_dies_changes_nothing(tmp_path: Path) -> None:
    rows = bursts(300)
    marker = tmp_path / "died"
    found = distributed_radius_graph(rows, 0.4, block_rows=60, reduce=dies_once(marker))
    assert marker.exists(), "the worker did die"
    assert_same(found, neighbors.radius_graph(rows, 0.4))


def test_a_worker_that_always_dies_is_an_error() -> None:
    def reduce(edges: np.ndarray, distances: np.ndarray) -> Edges:
        os._exit(1)

    with pytest.raises(ray.exceptions.WorkerCrashedError):
        distributed_radius_graph(bursts(20), 0.4, reduce=reduce, max_retries=0)


def test_edges_past_the_budget_wait_in_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = bursts(300)
    written: list[int] = []
    write = store.write_table

    def counted(path: str, table: pa.Table) -> None:
        write(path, table)
        written.append(table.num_rows)

    monkeypatch.setattr(store, "write_table", counted)
    found = distributed_radius_graph(
        rows, 0.4, block_rows=50, spill_bytes=1000, spill_dir=str(tmp_path / "spill")
    )
    assert len(written) > 1
    assert all(rows_in_file * 12 > 1000 for rows_in_file in written), "only past the budget"
    assert list((tmp_path / "spill").iterdir()) == [], "removed at the end"
    assert_same(found, neighbors.radius_graph(rows, 0.4))


def test_no_more_is_in_flight_than_allowed(tmp_path: Path) -> None:
    def reduce(edges: np.ndarray, distances: np.ndarray) -> Edges:
        mine = tmp_path / f"{os.getpid()}.running"
        mine.touch()
        together = len(list(tmp_path.glob("*.running")))
        mine.unlink()
        return edges[:together], distances[:together]

    parts = stream_distributed_edges(
        bursts(300), 1.0, block_rows=75, max_in_flight=1, reduce=reduce
    )
    assert sum(len(edges) for edges, _ in parts) == 10, "ten block pairs, each alone"


def test_a_cluster_that_grows_gets_more_to_do(growing_cluster: Callable[[str], list[int]]) -> None:
    waited = growing_cluster("jobs.neighbours.block_pairs")
    rows = bursts(300)
    assert_same(
        distributed_radius_graph(rows, 0.4, block_rows=50), neighbors.radius_graph(rows, 0.4)
    )
    assert waited[:2] == [2, 2], "twice what there is room for"
    assert max(waited) == 8


def test_progress_counts_every_block_pair_once() -> None:
    seen: list[tuple[int, int]] = []
    distributed_radius_graph(
        bursts(200), 0.4, block_rows=50, progress=lambda *state: seen.append(state)
    )
    assert [done for done, _ in seen] == list(range(1, 11))
    assert {total for _, total in seen} == {10}


def test_blocks_reduced_to_their_forests_give_the_same_clusters() -> None:
    rows = bursts(400)
    whole = neighbors.radius_graph(rows, 0.6)

    def forest_of(edges: np.ndarray, distances: np.ndarray) -> Edges:
        return cluster.minimum_forest(400, edges, distances)

    less = distributed_radius_graph(rows, 0.6, block_rows=100, reduce=forest_of)
    assert len(less.edges) < len(whole.edges)
    for eps in (0.05, 0.2, 0.45, 0.6):
        np.testing.assert_array_equal(cluster.dbscan(less, eps, 2), cluster.dbscan(whole, eps, 2))


@pytest.mark.parametrize("n", [0, 1])
def test_no_row_and_one_row(n: int) -> None:
    found = distributed_radius_graph(bursts(4)[:n], 0.4)
    assert (found.n, found.edges.shape, found.distances.shape) == (n, (0, 2), (0,))


def test_bad_input_is_refused_with_the_reason() -> None:
    rows = bursts(20)
    broken = rows.copy()
    broken[[3, 7]] = np.nan
    with pytest.raises(InputError, match="2 of 20 rows are NaN or infinite: rows 3, 7"):
        distributed_radius_graph(broken, 0.4)
    with pytest.raises(
        InputError, match=r"^embeddings: 2 of 13 rows are NaN or infinite: rows 8, 12;"
    ):
        distributed_radius_graph([ray.put(rows[:7]), ray.put(np.roll(broken, 5, 0)[7:])], 0.4)
    with pytest.raises(InputError, match="24 dimensions from row 0 and 9 from row 20"):
        distributed_radius_graph([ray.put(rows), ray.put(bursts(8, 9))], 0.4)
    with pytest.raises(InputError, match=r"radius: 2\.5"):
        distributed_radius_graph(rows, 2.5)
    with pytest.raises(InputError, match="block_rows: -3"):
        distributed_radius_graph(rows, 0.4, block_rows=-3)
    with pytest.raises(InputError, match="max_in_flight: 0"):
        distributed_radius_graph(rows, 0.4, max_in_flight=0)
    with pytest.raises(InputError, match="spill_bytes: 9 needs a spill_dir"):
        distributed_radius_graph(rows, 0.4, spill_bytes=9)
