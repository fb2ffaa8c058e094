"""What a report is made of: plain tables, arrays and text, handed over by the job."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from PIL import Image

from reid.errors import InputError
from reid.metrics import Evaluation
from reid.report.pair_evidence import PairEvidence

ANNOTATION_COLUMNS = (
    "annotation_id",
    "image_path",
    "species",
    "identity",
    "cluster",
    "cluster_label",
    "nearest_id",
    "nearest_distance",
)
OPTIONAL_COLUMNS = ("viewpoint", "timestamp")
FAILURE_COLUMNS = ("image_path", "stage", "error")

Thumbnail = Image.Image | bytes | None


@dataclass(frozen=True)
class TuningCurve:
    """How the threshold of one species was chosen.

    Attributes:
        species: the species it is used for.
        eps: chosen threshold, cosine distance in [0, 2].
        criterion: the score of the curve ("ari", "ami", "pairwise_f1"); None where there is no
            curve because `eps` was given.
        thresholds: (t,) rising cosine distances that were tried.
        scores: (t,) score at each threshold.
        note: a sentence on where `eps` comes from; shown after the figures.
    """

    species: str
    eps: float
    criterion: str | None = None
    thresholds: Sequence[float] | np.ndarray = ()
    scores: Sequence[float] | np.ndarray = ()
    note: str = ""


@dataclass(frozen=True)
class ShownPair:
    """Two annotations that somebody looked at closely.

    Attributes:
        a_id, b_id: of the two.
        probability: that they show one individual.
        evidence: what is drawn, and said for and against.
    """

    a_id: str
    b_id: str
    probability: float
    evidence: PairEvidence


@dataclass(frozen=True)
class ReportData:
    """Everything the page shows. All text is untrusted and escaped when it is written.

    Attributes:
        title: heading of the page.
        annotations: one row an annotation that was clustered; ANNOTATION_COLUMNS, and
            OPTIONAL_COLUMNS where known. `image_path` is shown as it is; `cluster` is −1 for noise;
            `identity`, `nearest_id` and `nearest_distance` may be null.
        embeddings: (n, d) float32 in the order of `annotations`; or, where species have models of
            their own, {species: (n_species, d_species)} in the order of that species' rows; None
            leaves the map out.
        thumbnail: called with a row number of `annotations`, gives a PIL image, the bytes of an
            image file, or None. It is called from several threads, and what it raises for a bad
            image is counted, not passed on.
        counts: figures for the head of the page, in order.
        stage_seconds: wall-clock seconds of each stage, in order.
        tuning: one curve a species.
        scores: {species: {score name: value}} against known identities; empty where none are known.
        evaluation: one a species, as `reid.metrics.evaluate` gives it; empty where none was made.
        pairs: to be shown with the points that they share, most worth a look first.
        failures: FAILURE_COLUMNS, one row an annotation that could not be used.
        verdicts: {species: (level, sentence)}: what the model can tell apart; at the head of the page.
        warnings: sentences for the reader, most important first.
        config_yaml: the resolved configuration.
        versions: {package: version}.
        seed: of t-SNE's start, and of the run.
    """

    title: str
    annotations: pd.DataFrame
    embeddings: np.ndarray | Mapping[str, np.ndarray] | None = None
    thumbnail: Callable[[int], Thumbnail] | None = None
    counts: Mapping[str, int | float | str] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    tuning: Sequence[TuningCurve] = ()
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    evaluation: Mapping[str, Evaluation] = field(default_factory=dict)
    pairs: Sequence[ShownPair] = ()
    failures: pd.DataFrame | None = None
    verdicts: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    config_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    seed: int = 0


def check(data: ReportData) -> None:
    """Raise InputError where columns are missing or embeddings and annotations disagree."""
    _need_columns("annotations", data.annotations, ANNOTATION_COLUMNS)
    if data.failures is not None:
        _need_columns("failures", data.failures, FAILURE_COLUMNS)
    for curve in data.tuning:
        if len(curve.thresholds) != len(curve.scores):
            raise InputError(
                f"report: tuning of {curve.species!r} has {len(curve.thresholds)} thresholds and "
                f"{len(curve.scores)} scores; give one score a threshold"
            )
    if data.embeddings is None:
        return
    if isinstance(data.embeddings, Mapping):
        expected = data.annotations["species"].value_counts()
        for species, rows in expected.items():
            _need_rows(f"of {species!r}", data.embeddings.get(str(species)), int(rows))
    else:
        _need_rows("of all species", data.embeddings, len(data.annotations))


def _need_columns(name: str, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise InputError(
            f"report: {name} lacks the columns {', '.join(missing)}; it needs {', '.join(columns)}"
        )


def _need_rows(what: str, embeddings: np.ndarray | None, rows: int) -> None:
    shape = None if embeddings is None else embeddings.shape
    if shape is None or len(shape) != 2 or shape[0] != rows:
        raise InputError(
            f"report: embeddings {what} have shape {shape}, annotations have {rows} rows; "
            "give one embedding a row, in the same order"
        )
