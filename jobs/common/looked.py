"""What a closer look at pairs gives to the pipelines that do not look themselves."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from reid.config import Config
from reid.pairs import PairModel
from reid.pairs.classifier import MOST_LOG_ODDS


@dataclass(frozen=True)
class LookedAt:
    """The shortlisted pairs of n annotations of one species.

    Attributes:
        ids: (n,) annotation ids, of those that have keypoints.
        pairs: (m, 2) rows of `ids`.
        features: (m, f) of `reid.pairs.pair_features`.
        people: (m, 2) individual of both, −1 where it is not known or the pair teaches nothing.
        has_mate: (n,) another picture of the individual exists that it may be compared with.
        cut: place of a pair → why it cannot be one animal.
        without_pixels: annotations that could not be looked at.
    """

    ids: list[str]
    pairs: np.ndarray
    features: np.ndarray
    people: np.ndarray
    has_mate: np.ndarray
    cut: Mapping[int, str]
    without_pixels: int

    def log_odds(self, model: PairModel) -> np.ndarray:
        """(m,) by a model that was learned before."""
        return self.with_cuts(model.log_odds(self.features))

    def with_cuts(self, log_odds: np.ndarray) -> np.ndarray:
        """(m,) log-odds, least of all where a pair is impossible."""
        return np.where(np.isin(np.arange(len(log_odds)), list(self.cut)), -MOST_LOG_ODDS, log_odds)


# config, species, annotations (schema.ANNOTATIONS) and their (n, d) unit rows → the look.
LookStage = Callable[[Config, str, pa.Table, np.ndarray], LookedAt]
