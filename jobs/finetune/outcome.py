"""What came of a training: is it better, where does its model go, and how is that said?"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.table import Table

from jobs.finetune.split_plan import Plan
from reid import store
from reid.few_individuals import FEW_INDIVIDUALS, few_individuals

METRICS = "metrics.json"
CHECKPOINT, REJECTED = "checkpoint", "rejected"

FIGURES = {
    "mean_average_precision": "mAP",
    "balanced_average_precision": "mAP, each individual alike",
    "mean_inverse_negative_penalty": "mINP",
    "top_1": "top-1",
    "top_5": "top-5",
    "top_10": "top-10",
}


def deciding(metrics: dict[str, Any]) -> tuple[float | None, float | None]:
    """Before and after, of the figure that decides."""
    before, after = (metrics[side].get(metrics["decides"]) for side in ("before", "after"))
    return before, after


def is_better(metrics: dict[str, Any]) -> bool:
    """True where the model beats its start in the figure that decides."""
    before, after = deciding(metrics)
    return before is not None and after is not None and after > before


def is_promoted(metrics: dict[str, Any], promote: str) -> bool:
    """True where the model becomes OUT/checkpoint: it is better, or `promote` is `always`."""
    return promote == "always" or is_better(metrics)


def place_model(plan: Plan, model: str, metrics: dict[str, Any]) -> str:
    """Copy the best epoch's model to where it belongs, over what an earlier attempt put there.

    A checkpoint of an earlier attempt stays where this model is rejected. Each file is replaced in one
    step, and both attempts have the same network: whenever it is killed, there is a model that loads.
    """
    place = store.join(plan.out, CHECKPOINT if metrics["promoted"] else REJECTED)
    weights = store.read_bytes(store.join(model, "model.safetensors"))
    store.write_bytes(store.join(place, "model.safetensors"), weights)
    settings = store.read_json(store.join(model, "model.json"))
    figures = {side: metrics[side] for side in ("before", "after")}
    settings["training"] = {**(settings.get("training") or {}), "metrics": figures}
    store.write_json(store.join(place, "model.json"), settings)  # last: now it is a checkpoint
    if metrics["promoted"]:
        store.remove(store.join(plan.out, REJECTED))
    return place


def over_folds(found: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean of each figure over the folds, and its standard deviation as `…_spread`."""
    overall: dict[str, Any] = {
        "split": "folds",
        "decides": found[0]["decides"],
        "folds": len(found),
    }
    for side in ("before", "after"):
        overall[side] = {}
        for name in FIGURES:
            values = [one[side][name] for one in found if one[side].get(name) is not None]
            if values:
                spread = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
                overall[side][name] = round(float(np.mean(values)), 5)
                overall[side][f"{name}_spread"] = round(spread, 5)
    return overall


def figure_range(figures: dict[str, Any], name: str) -> str:
    """What is written behind a figure: its spread over folds, or its interval."""
    if f"{name}_spread" in figures:
        return f"± {figures[f'{name}_spread']:.3f}"
    low_high = figures.get("intervals", {}).get(name)
    return f"({low_high[0]:.3f}–{low_high[1]:.3f})" if low_high else ""


def known_figures(metrics: dict[str, Any]) -> list[str]:
    """Names of the figures that there are before and after."""
    return [
        name
        for name in FIGURES
        if metrics["before"].get(name) is not None and metrics["after"].get(name) is not None
    ]


def closing_table(metrics: dict[str, Any]) -> Table:
    """Before and after, a row a figure."""
    table = Table(title="On held-out images", caption="in brackets: 95 % interval; ±: over folds")
    for name in ("", "before", "after", "change"):
        table.add_column(name, justify="right" if name else "left")
    for name in known_figures(metrics):
        sides = [metrics[side] for side in ("before", "after")]
        cells = [f"{side[name]:.3f} {figure_range(side, name)}".strip() for side in sides]
        mark = " ←" if name == metrics["decides"] else ""
        table.add_row(FIGURES[name], *cells, f"{sides[1][name] - sides[0][name]:+.3f}{mark}")
    return table


def verdict(metrics: dict[str, Any]) -> str:
    """One sentence, plainly."""
    label = FIGURES[metrics["decides"]]
    before, after = deciding(metrics)
    if before is None or after is None:
        return "Nothing was proved: no held-out image has another of its individual to find"
    change, chance = f"{label} {before:.3f} → {after:.3f}", ""
    if metrics.get("change_interval"):
        low, high = metrics["change_interval"]
        change += f" (change, 95 %: {low:+.3f} to {high:+.3f})"
        chance = (
            "; the gain may be chance, more held-out individuals would tell" if low <= 0 else ""
        )
        few = few_individuals(metrics.get("individuals", {}).get("held_out", FEW_INDIVIDUALS))
        change += f"; that is {few}" if few else ""
    if is_better(metrics):
        return f"Better than its start on held-out images: {change}{chance}"
    return f"NOT better than its start on held-out images: {change}"


def whereabouts(metrics: dict[str, Any]) -> str:
    """Where the model is, and whether it is to be used."""
    if metrics["promoted"]:
        use = (
            "use it" if is_better(metrics) else "promoted all the same, as finetune.promote=always"
        )
        return f"{use}: --model {metrics['model']}"
    return f"not promoted, no checkpoint replaced; the trained model is in {metrics['model']}"
