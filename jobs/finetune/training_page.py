"""The report of a fine-tuning, from what the job knows."""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.common import outputs
from jobs.common.pictures import crops
from jobs.finetune import outcome
from jobs.finetune.score import nearest
from jobs.finetune.split_plan import HELD_OUT, TRAIN, VALIDATION, Plan
from reid import store
from reid.config import Config, dump_config
from reid.metrics import QueryScores
from reid.report.curves import line_chart
from reid.report.training_report import (
    BeforeAfter,
    Example,
    FoundPicture,
    TrainingReport,
    render_training_report,
)

EXAMPLES_EACH = 4  # of the most improved, of the most worsened, and of a draw
THUMBNAIL_PIXELS = 192

Vectors = tuple[np.ndarray, np.ndarray]


def write_page(
    config: Config,
    plan: Plan,
    metrics: dict[str, Any],
    history: list[dict[str, Any]],
    vectors: Vectors,
    queries: Sequence[QueryScores],
    failures: pa.Table,
) -> None:
    """Write a run's report.html.

    Args:
        config: the resolved configuration.
        plan: the run's.
        metrics: as in metrics.json.
        history: a record of each epoch.
        vectors: of all rows, before and after, NaN where there is none.
        queries: held-out queries, before and after.
        failures: schema.FAILURES.
    """
    examples = _examples(plan, vectors, queries, config.seed)
    shown = {
        row
        for example in examples
        for row in (example.row, *(f.row for f in (*example.before, *example.after)))
    }
    data = TrainingReport(
        title="Fine-tuning" if plan.fold is None else f"Fine-tuning, fold {plan.fold}",
        verdict=f"{outcome.verdict(metrics)}; {outcome.whereabouts(metrics)}.",
        better=outcome.is_better(metrics),
        facts=_facts(metrics),
        figures=_figures(metrics),
        charts=_charts(history, metrics["best_epoch"]),
        examples=examples,
        captions={row: _caption(plan, row) for row in shown},
        thumbnail=crops(config.images, plan.rows.to_pandas(), THUMBNAIL_PIXELS // 2),
        notes=[*dict.fromkeys(note for record in history for note in record["notes"])],
        failures=failures.to_pandas(),
        config_yaml=dump_config(config),
        versions=outputs.versions(),
    )
    store.write_bytes(store.join(plan.out, outputs.REPORT), render_training_report(data))


def write_overview(
    config: Config,
    plans: Sequence[Plan],
    found: Sequence[dict[str, Any]],
    overall: dict[str, Any],
) -> None:
    """Write the report.html over all folds, with a link to each."""
    better = [outcome.is_better(metrics) for metrics in found]
    label = outcome.FIGURES[overall["decides"]]
    runs = []
    for plan, metrics in zip(plans, found, strict=True):
        folder = PurePosixPath(plan.out).name
        before, after = outcome.deciding(metrics)
        figures = ["–" if value is None else f"{value:.3f}" for value in (before, after)]
        epoch = f"{metrics['best_epoch']} of {metrics['epochs']}"
        runs.append([folder, f"{folder}/{outputs.REPORT}", *figures, epoch, metrics["model"]])
    data = TrainingReport(
        title=f"Fine-tuning in {len(plans)} folds",
        verdict=f"{outcome.verdict(overall)}, the mean of {len(plans)} folds; "
        f"{sum(better)} of {len(plans)} are better.",
        better=all(better),
        figures=_figures(overall),
        runs=runs,
        run_columns=["fold", f"{label} before", f"{label} after", "epoch taken", "model"],
        failures=outputs.read_failures(config.out).to_pandas(),
        config_yaml=dump_config(config),
        versions=outputs.versions(),
    )
    store.write_bytes(store.join(config.out, outputs.REPORT), render_training_report(data))


def _facts(metrics: dict[str, Any]) -> dict[str, int | float | str]:
    images, individuals = metrics["images"], metrics["individuals"]
    facts: dict[str, int | float | str] = {
        "images trained on": images.get(TRAIN, 0),
        "individuals trained on": individuals.get(TRAIN, 0),
        "individuals that chose the epoch": individuals.get(VALIDATION, 0),
        "images held out": images.get(HELD_OUT, 0),
        "individuals held out": individuals.get(HELD_OUT, 0),
        "epoch taken": f"{metrics['best_epoch']} of {metrics['epochs']}",
    }
    return {name: value for name, value in facts.items() if value}


def _figures(metrics: dict[str, Any]) -> list[BeforeAfter]:
    before, after = metrics["before"], metrics["after"]
    return [
        BeforeAfter(
            outcome.FIGURES[name],
            before[name],
            after[name],
            outcome.figure_range(before, name),
            outcome.figure_range(after, name),
            decides=name == metrics["decides"],
        )
        for name in outcome.known_figures(metrics)
    ]


def _charts(history: list[dict[str, Any]], best: int) -> list[tuple[str, str, Any]]:
    epochs = [record["epoch"] + 1 for record in history]
    names = [name for name in history[-1]["validation"] if not name.endswith("queries")]
    shown = [name for name in ("mAP", "top_1", "top_5") if name in names]
    charts = [
        (
            "Loss",
            "Mean over the steps of each epoch; the upright line is the epoch that was taken.",
            {"loss": [record["loss"] for record in history]},
        ),
        (
            "Validation: " + ", ".join(name.replace("_", " ") for name in shown),
            "On rows set aside from the training rows; they choose the epoch, and are not the test set.",
            {name: [r["validation"].get(name) for r in history] for name in shown},
        ),
        (
            "Learning rate",
            "Of what starts at random; the backbone's is in the same ratio throughout.",
            {"learning rate": [record["lr"] for record in history]},
        ),
    ]
    return [
        (heading, explanation, line_chart(epochs, lines, label=heading, x_label="epoch", mark=best))
        for heading, explanation, lines in charts
        if lines
    ]


def _examples(
    plan: Plan, vectors: Vectors, queries: Sequence[QueryScores], seed: int
) -> list[Example]:
    """The most improved, the most worsened, and a draw of the others, by average precision."""
    before, after = (dict(zip(q.rows.tolist(), q.average_precision, strict=True)) for q in queries)
    rows = [row for row in before if row in after]
    change = {row: after[row] - before[row] for row in rows}
    ranked = sorted(rows, key=lambda row: (-change[row], row))
    improved = [row for row in ranked[:EXAMPLES_EACH] if change[row] > 0]
    worsened = [row for row in ranked[::-1][:EXAMPLES_EACH] if change[row] < 0]
    others = [row for row in rows if row not in {*improved, *worsened}]
    drawn = np.random.default_rng([seed, 7]).permutation(others)[:EXAMPLES_EACH]
    found = []
    for why, chosen in (
        ("Improved", improved),
        ("Worse", worsened),
        ("Drawn", [int(row) for row in drawn]),
    ):
        for row in chosen:
            text = f"{why}: average precision {before[row]:.2f} → {after[row]:.2f}"
            sides = [_found(plan, side, row) for side in vectors]
            found.append(Example(row, text, *sides))
    return found


def _found(plan: Plan, vectors: np.ndarray, query: int) -> list[FoundPicture]:
    identity = plan.rows["identity"]
    return [
        FoundPicture(
            int(row),
            identity[int(row)].as_py() == identity[query].as_py(),
            float(1 - vectors[row] @ vectors[query]),
        )
        for row in nearest(vectors, plan, query)
    ]


def _caption(plan: Plan, row: int) -> str:
    viewpoint = plan.rows["viewpoint"][row].as_py()
    return " · ".join(filter(None, [plan.rows["identity"][row].as_py(), viewpoint]))
