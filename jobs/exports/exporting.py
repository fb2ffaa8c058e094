"""`reid export`: what is known, in the form that another program reads."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd
import pyarrow.csv

from jobs.common.console import print_result, progress, say
from jobs.exports.camtrap import write_camtrap_dp
from jobs.exports.deduplicating import deduplicated
from jobs.exports.history_exports import HISTORY_FORMATS, history_files
from jobs.exports.holdings import Holdings, only_confirmed, read_holdings, warn_of_doubt
from jobs.exports.left_outs import with_left_out
from jobs.exports.wishes import Survey, Wish, scientific_names
from reid import store
from reid.errors import InputError
from reid.exports.deployments import read_stations
from reid.exports.insights_ids import insights_files
from reid.exports.picture_folders import CLUSTERS, UNMATCHED, picture_folders, place_pictures
from reid.exports.who_is_who import who_is_who
from reid.exports.wildbook import wildbook_files
from reid.spreadsheet import encode, guard_note, guard_table

TABLES = ("csv", "parquet")
FORMATS = (
    *TABLES, "camtrap-dp", *HISTORY_FORMATS, "wildbook", "wildlife-insights", "folders",
    "deduplicated",
)  # fmt: skip


def export(catalogue: str | None, results: str | None, wish: Wish, survey: Survey) -> None:
    """Write one format; what is said goes to stderr, where it lies to stdout.

    Raises:
        InputError: there is nothing to export, or it cannot be exported so.
    """
    kind = wish.format
    if kind is not None and kind not in FORMATS:
        raise InputError(f"--format {kind}: known: {', '.join(FORMATS)}")
    if wish.detector not in ("proximity", "count"):
        raise InputError(f"--detector {wish.detector}: known: proximity, count")
    targets = _tables(wish, kind)
    holdings = read_holdings(catalogue, results)
    if holdings.embedding_failures:
        say(
            f"left out: {holdings.embedding_failures:,} images without a vector; failures.parquet says why"
        )
    if holdings.unusable:
        say(f"left out: {holdings.unusable:,} images that people marked as unusable")
    if wish.confirmed:
        whole = len(holdings.frame)
        holdings = only_confirmed(holdings)
        say(f"left out: {whole - len(holdings.frame):,} images that no person has confirmed")
    else:  # what people have confirmed is theirs
        warn_of_doubt(holdings)
    if targets is not None:
        _write_tables(holdings, targets, wish)
        return
    assert kind is not None
    out = wish.out or store.join(holdings.place, "export", kind)
    if kind in HISTORY_FORMATS:
        files = history_files(holdings, kind, survey, detector=wish.detector)
    elif kind == "wildbook":
        files = _wildbook(holdings, out, wish, survey)
    elif kind == "wildlife-insights":
        files, left = insights_files(_of_species(holdings.frame, survey))
        files = with_left_out(files, left)
        say(f"export: {files['individuals.csv'].count(chr(10)) - 1:,} lines for Wildlife Insights")
    elif kind == "camtrap-dp":
        frame = _of_species(holdings.frame, survey)
        write_camtrap_dp(replace(holdings, frame=frame), out, wish, survey)
        files = {}
    elif kind == "deduplicated":
        frame = _of_species(holdings.frame, survey)
        files = deduplicated(holdings, frame, out, keep=wish.keep, how=wish.images or "link")
    else:
        files = _folders(holdings, out, wish, survey)
    write_files(out, files)
    print_result(out)


def write_files(out: str, files: Mapping[str, str]) -> None:
    """Write text files into a folder, README.txt last: where it is, the others are whole."""
    for name in sorted(files, key=lambda one: (one == "README.txt", one)):
        store.write_text(store.join(out, name), files[name])


def _tables(wish: Wish, kind: str | None) -> list[str] | None:
    """Names of the plain tables that are wanted; None: another format is."""
    if kind is not None and kind not in TABLES:
        return None
    if wish.out is None:
        return [f"identities.{one}" for one in ([kind] if kind else TABLES)]
    ending = wish.out.rpartition(".")[2].lower()
    if kind is None and ending in ("xls", "xlsx"):
        raise InputError(
            f"--out {wish.out}: no workbook is written; --out {wish.out.rpartition('.')[0]}.csv --excel gives a table "
            "that Excel opens, umlauts and all"
        )
    if kind is None and ending not in TABLES:
        raise InputError(
            f"--out {wish.out}: unknown ending .{ending}; known: .csv, .parquet. For a folder of another "
            f"program's files say --format: {', '.join(FORMATS)}"
        )
    return [wish.out]


def _write_tables(holdings: Holdings, targets: Sequence[str], wish: Wish) -> None:
    rows = who_is_who(holdings.frame)
    places = targets
    if wish.out is None:
        places = [store.join(holdings.place, "export", name) for name in targets]
    for place in places:
        kind = wish.format or place.rpartition(".")[2].lower()
        if kind == "csv":
            guarded, cells = (rows, 0) if wish.raw else guard_table(rows)
            sink = io.BytesIO()
            pyarrow.csv.write_csv(guarded, sink, pyarrow.csv.WriteOptions(quoting_style="needed"))
            store.write_bytes(place, encode(sink.getvalue().decode(), excel=wish.excel))
            if cells:
                say(f"note: {place}: {guard_note(cells, '--raw')}")
        else:
            store.write_table(place, rows)
    people = holdings.frame["identity_id"].nunique()
    named = holdings.frame.loc[holdings.frame["identity"].notna(), "identity_id"].nunique()
    say(
        f"export: {len(rows):,} images of {people:,} individuals, {named:,} of them with a name, as of "
        f"{holdings.described}"
    )
    for place in places:
        print_result(place)


def _wildbook(holdings: Holdings, out: str, wish: Wish, survey: Survey) -> dict[str, str]:
    frame = _of_species(holdings.frame, survey)
    names = scientific_names(wish.scientific_name, sorted(frame["species"].unique()))
    places: dict[str, tuple[float, float]] = {}
    if survey.deployments is not None:
        stations = read_stations(survey.deployments, date_order=survey.date_order)
        for one in stations.deployments:
            if one.latitude == one.latitude and one.longitude == one.longitude:
                places.setdefault(one.location_id, (one.latitude, one.longitude))
    found = wildbook_files(frame, names, places)
    out_of = [found.left_out]
    if wish.images is not None:
        pairs = [
            (store.join(root, path), store.join(out, "images", name))
            for (root, path), name in found.images.items()
        ]
        with progress("pictures", len(pairs), "pictures") as advance:
            wrong = place_pictures(pairs, how=wish.images, advance=advance)
        for path, reason in wrong.items():
            say(f"left out: {path}: {reason}")
    say(
        f"export: {found.encounters:,} encounters in {len(found.files) - 1} files for Wildbook, pictures named "
        "as images.csv says; add a column Encounter.submitterID with your user name there, so that they are yours"
    )
    return with_left_out(found.files, pd.concat(out_of, ignore_index=True))


def _folders(holdings: Holdings, out: str, wish: Wish, survey: Survey) -> dict[str, str]:
    frame = _of_species(holdings.frame, survey)
    with progress("pictures", len(frame), "pictures") as advance:
        written, left = picture_folders(frame, out, how=wish.images or "link", advance=advance)
    say(f"export: {written:,} pictures in {CLUSTERS}/ and {UNMATCHED}/, the best one first")
    return with_left_out({}, left)


def _of_species(frame: pd.DataFrame, survey: Survey) -> pd.DataFrame:
    """Rows of the species that was asked for; all where none was."""
    if survey.species is None:
        return frame
    known = sorted(frame["species"].unique())
    if survey.species not in known:
        raise InputError(
            f"--species {survey.species}: there is no such species; known: {', '.join(known)}"
        )
    return frame[frame["species"] == survey.species].reset_index(drop=True)
