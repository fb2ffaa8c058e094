"""Who is near whom: the exact radius graph and the exact k nearest rows.

Distance is cosine distance, 1 − cos, in [0, 2]. Rows are unit length: `check_unit_rows` says so or
raises, nothing here normalises. The pieces, in the order the data meets them:

    unit_rows.py      is this a matrix of unit rows?
    screen.py         backends; low-precision scores with a proven error bound
    quantised.py      the same by whole numbers of 8 bits
    prefix.py         the same by a few coordinates, where a sample says that it is faster
    hits.py           which scores reach a threshold
    measure.py        float32 distances of what passed the screen, and what is kept
    edge_arrays.py    edges as arrays, Graph
    stored_edges.py   edges that are wanted more than once, on disk where they are many
    graph.py          radius_graph, whole, in parts, or between two blocks
    strips.py         the radius graph on a GPU: rows that stay there, a block against all behind it
    knn.py            knn, nearest
    search.py         the two functions that whoever needs neighbours is given
    regions.py        the same for rows of one region alone, where an animal never leaves it
    cells.py          the same past exact: only where cells meet, and what that misses
    fused_triton.py   matmul and threshold in one CUDA kernel, which lists its hits
    marked_triton.py  the same with a bit for each pair, for whole numbers (chosen by name)
"""

from reid.neighbors.cells import cell_search
from reid.neighbors.edge_arrays import Graph, Refine
from reid.neighbors.graph import block_strips, edges_of_block, radius_graph, stream_edges
from reid.neighbors.knn import knn, nearest
from reid.neighbors.prefix import choose_basis
from reid.neighbors.regions import ANYWHERE, compared_share, search_in_regions
from reid.neighbors.screen import choose_backend, choose_graph_backend
from reid.neighbors.search import Search, local_search, nearest_backend
from reid.neighbors.unit_rows import check_unit_rows

__all__ = [
    "ANYWHERE",
    "Graph",
    "Refine",
    "Search",
    "block_strips",
    "cell_search",
    "check_unit_rows",
    "choose_backend",
    "choose_basis",
    "choose_graph_backend",
    "compared_share",
    "edges_of_block",
    "knn",
    "local_search",
    "nearest",
    "nearest_backend",
    "radius_graph",
    "search_in_regions",
    "stream_edges",
]
