"""From a neighbour graph to clusters: DBSCAN, linkage, k-means, HDBSCAN, SCAN, and their thresholds.

Leiden is left out: the libraries that bring it (leidenalg, igraph) are under the GPL.
"""

from reid.cluster.compared import Compared, compare_all
from reid.cluster.dbscan import check_eps, dbscan, noise_to_singletons
from reid.cluster.duplicates import Collapsed, collapse, expand, expand_forest
from reid.cluster.encounter_joins import (
    encounter_links,
    encounters_of_one_animal,
    encounters_of_one_name,
    forest_with_encounters,
    join_encounters,
    seen_once,
)
from reid.cluster.forest import Forest, labels_at, minimum_forest
from reid.cluster.linkage import linkage_forest, linkage_labels
from reid.cluster.naming import species_words
from reid.cluster.other_methods import cuml_dbscan, hdbscan, kmeans
from reid.cluster.running_forest import RunningForest, spanning_forest, streamed_forest
from reid.cluster.scan import NEIGHBOURS, scan

__all__ = [
    "NEIGHBOURS",
    "Collapsed",
    "Compared",
    "Forest",
    "RunningForest",
    "check_eps",
    "collapse",
    "compare_all",
    "cuml_dbscan",
    "dbscan",
    "encounter_links",
    "encounters_of_one_animal",
    "encounters_of_one_name",
    "expand",
    "expand_forest",
    "forest_with_encounters",
    "hdbscan",
    "join_encounters",
    "kmeans",
    "labels_at",
    "linkage_forest",
    "linkage_labels",
    "minimum_forest",
    "noise_to_singletons",
    "scan",
    "seen_once",
    "spanning_forest",
    "species_words",
    "streamed_forest",
]
