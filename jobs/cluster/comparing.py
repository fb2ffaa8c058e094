"""`reid compare`: the trials of output folders side by side, as a table and a figure."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from jobs.cluster.trials import Row, read_trials
from jobs.common import outputs
from jobs.common.console import PlainConsole, print_result, printable, say
from reid import drawings, store
from reid.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Drawing

SHOWN = ("method", "threshold", "held out", "ARI", "individuals", "seconds")


def compare(folders: Sequence[str], to: str | None = None) -> None:
    """Print the trials of output folders, a row a trial and species, and draw them.

    Args:
        folders: of `reid run` or `reid cluster`; or folders of such folders, as `--grid` makes them.
        to: figure to write, of `reid.drawings.FORMATS` by its ending; None: none.

    Raises:
        InputError: a folder without trials, or an unknown ending.
    """
    kind = "" if to is None else to.rpartition(".")[2].lower()
    if to is not None and kind not in drawings.FORMATS:
        raise InputError(f"--to {to}: known endings: {', '.join(drawings.FORMATS)}")
    trials = _named([trial for folder in folders for trial in _of_folder(folder)])
    console = PlainConsole()
    settings = {name: row["settings"] for name, row in trials}
    for number, (name, own) in enumerate(settings.items(), 1):
        console.print(printable(f"{number:>3}  {name}: {own or 'all defaults'}"))
    numbers = {name: number for number, name in enumerate(settings, 1)}
    for species in dict.fromkeys(row["species"] for _, row in trials):
        here = [(numbers[name], row) for name, row in trials if row["species"] == species]
        console.print(_table(species, here))
    _say_best(trials)
    if to is not None:
        store.write_bytes(to, drawings.encode(_drawn(trials), kind))
        print_result(to)


def _of_folder(folder: str) -> list[tuple[str, Row]]:
    """Folder and row of each trial."""
    rows = read_trials(folder)
    if not rows:
        inner = [(one, read_trials(one)) for one in sorted(store.list_folders(folder))]
        found = [trial for one, own in inner if own for trial in _of_folder(one)]
        if not found:
            raise InputError(
                f"{folder}: no {outputs.TRIALS} here, or in a folder of it: `reid run` and `reid cluster` write it"
            )
        return found
    return [(folder.rstrip("/"), row) for row in rows]


def _named(trials: Sequence[tuple[str, Row]]) -> list[tuple[str, Row]]:
    """Folder → a name: its last part, where that says which; and the trial, where it has several."""
    last = {folder: folder.rpartition("/")[2] for folder, _ in trials}
    short = len(set(last.values())) == len(last)
    several = {
        folder for folder in last if len({row["trial"] for own, row in trials if own == folder}) > 1
    }
    return [
        (
            (last[folder] if short else folder) + (f" {row['trial']}" if folder in several else ""),
            row,
        )
        for folder, row in trials
    ]


def _table(species: str, trials: Sequence[tuple[int, Row]]) -> Table:
    table = Table(title=printable(species), box=None, pad_edge=False)
    table.add_column("trial", justify="right")
    for column in SHOWN:
        table.add_column(column, justify="left" if column == "method" else "right")
    for number, row in trials:
        held = (
            row["held_out"]
            and f"{float(row['held_out']):.3f} ± {float(row['held_out_spread']):.3f}"
        )
        cells = (
            str(number),
            row["method"],
            (row["threshold"] and f"{float(row['threshold']):.3f}") or "–",
            held or "–",
            (row["ari"] and f"{float(row['ari']):.3f}") or "–",
            f"{int(row['individuals']):,}",
            row["seconds"],
        )
        table.add_row(*map(printable, cells))
    return table


def _say_best(trials: Sequence[tuple[str, Row]]) -> None:
    """The trial of the highest mean over species, where all were judged alike."""
    scores: dict[str, list[tuple[float, float]]] = {}
    for name, row in trials:
        if row["held_out"]:
            scores.setdefault(name, []).append(
                (float(row["held_out"]), float(row["held_out_spread"]))
            )
    species = {row["species"] for _, row in trials}
    whole = {name: np.mean(one, axis=0) for name, one in scores.items() if len(one) == len(species)}
    criteria = {row["criterion"] for _, row in trials if row["held_out"]}
    if len(whole) < 2 or len(criteria) != 1:
        return
    order = sorted(whole, key=lambda name: -whole[name][0])
    (first, spread), (second, _) = whole[order[0]], whole[order[1]]
    doubt = (
        ""
        if first - second > spread
        else ", which is less than the spread: they are as good as equal"
    )
    say(
        f"best on held-out individuals: {order[0]}, {criteria.pop()} {first:.3f} ± {spread:.3f}; next {order[1]}, "
        f"{second:.3f}{doubt}"
    )


def _drawn(trials: Sequence[tuple[str, Row]]) -> "Drawing":
    def number(text: str) -> float:
        return float(text) if text else float("nan")

    panels: dict[str, list[drawings.TrialScore]] = {}
    for name, row in trials:
        score = drawings.TrialScore(
            name, number(row["held_out"]), number(row["held_out_spread"]), number(row["ari"])
        )
        panels.setdefault(f"{row['species']}, n = {int(row['images']):,} images", []).append(score)
    return drawings.compared_trials(panels)
