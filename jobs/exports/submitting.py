"""`reid submission`: the clusters of a run in the form that a competition's sample has."""

import numpy as np
import pandas as pd
import yaml
from rich.table import Table

from jobs.common import outputs
from jobs.common.console import PlainConsole, print_result, printable, say
from jobs.exports.holdings import read_holdings
from reid import store
from reid.errors import InputError
from reid.exports.sheets import find_column, frame_rows, program_sheet, read_sheet
from reid.exports.submission import Submission, fill_submission
from reid.sources.named_images import find_named

TABLES = (".csv", ".tsv", ".txt", ".parquet", ".xlsx")
NAMES = ("image_id", "image_path", "path", "filename", "file_name", "annotation_id", "image")


def submission(
    results: str,
    sample: str,
    to: str,
    *,
    prefix: str = "dataset",
    truth: str | None = None,
    allow_additional: bool = False,
) -> None:
    """Write the submission, and print the ARI of each data set where identities are known.

    Args:
        results: output folder of `reid run`.
        sample: the competition's sample submission; its order, columns and ids are kept.
        to: file to write.
        prefix: column of the input tables that names the data set of an image; images for which none
            does go by their species.
        truth: a table of an id and an `identity`; None: what the images' own labels say.
        allow_additional: as of `fill_submission`.

    Raises:
        InputError: see `fill_submission`; or a table cannot be read.
    """
    frame = read_holdings(None, results).frame
    rows = frame.assign(
        cluster_label=frame["identity_id"], dataset=_datasets(results, frame, prefix)
    )
    try:
        made = fill_submission(
            read_sheet(sample, "--sample"), rows, allow_additional=allow_additional
        )
    except InputError as error:
        raise InputError(f"--sample {sample}: {error}") from error
    store.write_text(to, program_sheet(list(made.table.columns), frame_rows(made.table)))
    fill = made.table.columns[-1]
    say(
        f"submission: {len(made.table):,} images of {len(set(made.dataset)):,} data sets in "
        f"{made.table[fill].nunique():,} clusters; its ids were taken as {made.key}"
        + (f"; {made.not_asked:,} labelled images are not in the sample" if made.not_asked else "")
    )
    _show_agreement(made, _truth(rows, made, truth))
    print_result(to)


def _datasets(results: str, frame: pd.DataFrame, prefix: str) -> pd.Series:
    """The data set of each image, by the tables that the run was made from, else its species."""
    found = pd.Series([None] * len(frame), dtype=object, index=frame.index)
    config = yaml.safe_load(store.read_bytes(store.join(results, outputs.CONFIG)))
    tables = [one for one in config["input"] if one.lower().endswith(TABLES) and store.exists(one)]
    named = False
    for path in tables:
        sheet = read_sheet(path, "--input")
        column = find_column(sheet, [prefix])
        who = find_column(sheet, [name for name in NAMES if name != prefix])
        if column is None or who is None:
            continue
        named = True
        means = find_named(sheet[who].tolist(), frame)
        found.iloc[means.row] = sheet[column].to_numpy(object)[means.name]
    if not named and prefix != "dataset":
        raise InputError(
            f"--prefix {prefix}: no table that {results} was made from has such a column: "
            + (", ".join(tables) or "it was made from folders")
        )
    found = found.where(found.notna() & (found != ""), frame["species"])
    if not named:
        say("note: no table names data sets; labels are made with the species")
    return found


def _truth(rows: pd.DataFrame, made: Submission, path: str | None) -> list[str | None]:
    """Identity of each line, None where unknown."""
    if path is None:
        known = rows["identity"].to_numpy(object)[made.row]
        return [None if pd.isna(one) else one for one in known]
    sheet = read_sheet(path, "--truth")
    who = find_column(sheet, [made.table.columns[0], *NAMES])
    identity = find_column(sheet, ("identity", "individual", "ground_truth", "individual_id"))
    if who is None or identity is None:
        raise InputError(
            f"--truth {path}: columns {', '.join(map(str, sheet.columns))}; needed are the sample's ids "
            f"({made.table.columns[0]}) and `identity`"
        )
    by_id = dict(zip(sheet[who], sheet[identity], strict=True))
    ids = made.table[made.table.columns[0]]
    return [by_id.get(one) or None for one in ids]


def _show_agreement(made: Submission, identities: list[str | None]) -> None:
    """ARI by data set and their mean, of the lines whose identity is known."""
    known = np.asarray([one is not None for one in identities])
    if not known.any():
        return
    from sklearn.metrics import adjusted_rand_score

    labels = made.table[made.table.columns[-1]].to_numpy(object)
    truth = np.asarray(identities, dtype=object)
    table = Table("data set", "images", "individuals", "ARI", box=None, pad_edge=False)
    scores = []
    for name in sorted(set(made.dataset[known])):
        own = known & (made.dataset == name)
        scores.append(float(adjusted_rand_score(truth[own].astype(str), labels[own].astype(str))))
        table.add_row(
            printable(str(name)), f"{own.sum():,}", f"{len(set(truth[own])):,}", f"{scores[-1]:.3f}"
        )
    console = PlainConsole()
    console.print(table)
    console.print(f"mean of {len(scores)} ARIs: {np.mean(scores):.3f}")
