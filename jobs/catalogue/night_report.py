"""What a night says when it ends: a table, what happened to individuals in words, the verdict, seconds."""

import dataclasses
from typing import Any

import pyarrow as pa
from rich.table import Table

from jobs.catalogue.admin import remarkable
from jobs.catalogue.night_outcome import Outcome
from jobs.catalogue.sentences import in_words
from jobs.common.console import console, print_result, say
from jobs.common.embedded import EmbedSummary
from jobs.common.verdicts import say_verdicts, stored_verdicts
from reid.catalogue import Catalogue

EVENTS_SHOWN = 20


def species_outcomes(outcome: Outcome) -> dict[str, Any]:
    """What a run did to each species, as written to summary.json."""
    return {
        name: dataclasses.asdict(one) | {"verdict": dataclasses.asdict(outcome.verdicts[name])}
        for name, one in outcome.species.items()
    }


def embedded_in_words(summary: EmbedSummary) -> str:
    """The embedding stage's line in the log."""
    return (
        f"embed: {summary.annotations:,} images read, {summary.embedded:,} embedded and written, "
        f"{summary.reused:,} skipped as they were embedded already, {summary.failed:,} failed "
        f"({summary.seconds:.1f} s)"
    )


def close(catalogue: Catalogue, outcome: Outcome, run_id: str, *, failed: int) -> None:
    """Say what came out: a table, a row a species, and what happened to individuals, in words."""
    warn_left_out(outcome.failures)
    for name, labels in outcome.cleared.items():
        say(
            f"note: {labels:,} images had a label in `{name}` that the upload says is none; it was taken away"
        )
    if catalogue.record.run_id != run_id:
        say(
            f"nothing new: {catalogue.path} has these {outcome.known_already:,} images and all "
            "decisions already"
        )
        say_verdicts(stored_verdicts(catalogue))
        return
    console.print(closing_table(outcome, failed))
    sentences = [
        in_words(event, outcome.pictures, outcome.names)
        for event in remarkable(outcome.events.to_pylist())
    ]
    for sentence in sentences[:EVENTS_SHOWN]:
        say(f"  {sentence}")
    if len(sentences) > EVENTS_SHOWN:
        say(
            f"  … and {len(sentences) - EVENTS_SHOWN} more: reid history --catalogue {catalogue.path}"
        )
    say_verdicts(outcome.verdicts)
    say(
        f"commit: version {catalogue.version} of {catalogue.path}; to take it back: "
        f"reid undo {run_id} --catalogue {catalogue.path}"
    )
    print_result(run_id)


def stage_seconds(outcome: Outcome, updating: float) -> dict[str, float]:
    """Seconds of the stages behind the embedding, as written to summary.json.

    Args:
        outcome: of the last round.
        updating: seconds that all rounds took; what was not search and decision was the commit.
    """
    search = sum(one.search_seconds for one in outcome.species.values())
    decide = sum(one.decide_seconds for one in outcome.species.values())
    stages = {"search": search, "decide": decide, "commit": updating - search - decide}
    return {stage: round(seconds, 2) for stage, seconds in stages.items()}


def warn_left_out(failures: pa.Table) -> None:
    """Say that images were left out, and why the first was."""
    if len(failures):
        say(
            f"warning: {len(failures)} images were left out; the first: "
            f"{failures['image_path'][0]}: {failures['error'][0]}"
        )


def closing_table(outcome: Outcome, failed: int) -> Table:
    """What a run found, a row a species."""
    table = Table(
        title="New images",
        caption=f"{outcome.known_already:,} images were known already, {failed:,} failed",
    )
    columns = (
        "species", "known", "new", "unsure", "images in all",
        "individuals", "seen once", "merged", "split", "verdict",
    )  # fmt: skip
    for name in columns:
        table.add_column(name, justify="left" if name in ("species", "verdict") else "right")
    for species, one in outcome.species.items():
        table.add_row(
            species,
            f"{one.known:,}",
            f"{one.new:,}",
            f"{one.unsure:,}",
            f"{one.images:,}",
            f"{one.individuals_before:,} → {one.individuals:,}",
            f"{one.seen_once:,}",
            f"{one.merges:,}",
            f"{one.splits:,}",
            outcome.verdicts[species].level,
        )
    return table
