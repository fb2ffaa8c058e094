"""A catalogue's state as gauges for Prometheus: `reid history --prometheus`, into a file that its node exporter reads.

The counters of a job end with the job. What outlives the night is in the catalogue, so that is where the time of the
last night that went through, and who is how unsure, are read from; also after the machine that ran it is gone.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from jobs.common import outputs
from jobs.common.verdicts import stored_verdicts
from reid import store
from reid.catalogue import Catalogue, open_catalogue

HELP = {
    "last_night_timestamp_seconds": "When the latest reid identify that went through had begun.",
    "images": "Images of the catalogue, by what was decided.",
    "individuals": "Individuals of the catalogue.",
    "not_usable": "1 where the verdict on a species is not usable, else 0.",
}
NIGHTS_TRIED = (
    60  # folders of runs that are looked into; those of nights that failed have no summary
)


def show_gauges(path: str) -> None:
    """Print them, in Prometheus' text format.

    Raises:
        InputError: there is no such catalogue.
        StorageError: storage cannot be read.
    """
    print(gauges(open_catalogue(path)), end="")  # noqa: T201  to stdout: this is the result


def gauges(catalogue: Catalogue) -> str:
    """Every gauge with its help, type and values."""
    lines: list[str] = []
    found: dict[str, list[str]] = {name: [] for name in HELP}
    for name, labels, value in _values(catalogue):
        words = ",".join(f'{key}="{_escaped(word)}"' for key, word in labels.items())
        found[name].append(f"reid_catalogue_{name}{{{words}}} {value:.15g}")
    for name, values in found.items():
        if values:
            lines += [
                f"# HELP reid_catalogue_{name} {HELP[name]}",
                f"# TYPE reid_catalogue_{name} gauge",
            ]
            lines += values
    return "\n".join(lines) + "\n"


def _values(catalogue: Catalogue) -> Iterator[tuple[str, Mapping[str, str], float]]:
    own = {"catalogue": catalogue.path}
    begun = last_night(catalogue.path)
    if begun is not None:
        yield "last_night_timestamp_seconds", own, begun.timestamp()
    rows = catalogue.rows(["species", "identity_id", "decision"])
    decided = rows.group_by(["species", "decision"]).aggregate([([], "count_all")])
    for one in decided.sort_by([("species", "ascending"), ("decision", "ascending")]).to_pylist():
        labels = {**own, "species": one["species"], "decision": one["decision"] or "none"}
        yield "images", labels, one["count_all"]
    people = rows.group_by("species").aggregate([("identity_id", "count_distinct")])
    for one in people.sort_by("species").to_pylist():
        yield "individuals", {**own, "species": one["species"]}, one["identity_id_count_distinct"]
    for species, verdict in stored_verdicts(catalogue).items():
        yield "not_usable", {**own, "species": species}, float(verdict.level == "not usable")


def last_night(path: str) -> datetime | None:
    """When the latest `reid identify` that went through had begun; None: none has written itself down in C/runs."""
    runs = store.join(path, "runs")
    for run in sorted(store.list_folders(runs), reverse=True)[:NIGHTS_TRIED]:
        if "identify" in outputs.read_summary(run):
            # Ids of runs begin with their time in milliseconds.
            stamp = run.rstrip("/").rpartition("/")[2].partition("-")[0]
            return datetime.strptime(f"{stamp}000", "%Y%m%dT%H%M%S%f").replace(tzinfo=UTC)
    return None


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
