"""Figures for papers: plain arrays in, a matplotlib figure out, at the width of a column.

style.py       sizes, letters, colours, and how a figure is written to a file
pair_scores.py similarities of pairs of one and of two individuals; heatmaps ordered by cluster
planes.py      embeddings on a plane, by individual, by cluster, right or wrong
line_plots.py  tuning, right ones among the nearest, cluster sizes, training
trial_scores.py   trials side by side
picture_sheets.py  pictures side by side: individuals, the most similar pairs, the worst mistakes,
                   patch tokens
"""

from reid.drawings.line_plots import (
    cluster_sizes,
    neighbour_correctness,
    training_curves,
    tuning_curve,
)
from reid.drawings.pair_scores import score_distribution, similarity_heatmap
from reid.drawings.picture_sheets import (
    TokenPicture,
    contact_sheet,
    pair_sheet,
    token_sheet,
)
from reid.drawings.planes import plane_by_cluster, plane_by_name
from reid.drawings.style import FORMATS, encode
from reid.drawings.trial_scores import TrialScore, compared_trials

__all__ = [
    "FORMATS",
    "TokenPicture",
    "TrialScore",
    "cluster_sizes",
    "compared_trials",
    "contact_sheet",
    "encode",
    "neighbour_correctness",
    "pair_sheet",
    "plane_by_cluster",
    "plane_by_name",
    "score_distribution",
    "similarity_heatmap",
    "token_sheet",
    "training_curves",
    "tuning_curve",
]
