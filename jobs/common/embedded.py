"""What the embedding stage tells those who asked for it.

Every pipeline begins with embedded images and none imports another, so the stage comes to them as an
argument (`EmbedStage`); `jobs/run.py` passes it on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import say
from reid.config import Config
from reid.errors import TooManyFailuresError
from reid.sources.built_rows import WEB

FAILURES_SAID = 3


@dataclass
class EmbedSummary:
    """Counts and seconds of the embedding stage, as written to summary.json."""

    annotations: int = 0  # rows that the sources hold, those included that cannot be read
    labelled: int = 0  # of the annotations: with a known identity
    notes: list[str] = field(
        default_factory=list
    )  # what the sources hold that was left out, and such
    sources: list[dict[str, Any]] = field(default_factory=list)  # each with its counts
    warnings: list[str] = field(default_factory=list)  # what makes the results worse than need be
    reading_seconds: float = 0.0  # for the annotations, before the stage's own seconds
    embedded: int = 0
    reused: int = 0
    failed: int = 0
    failed_before: int = 0  # of them: not tried again, as they have not changed
    seconds: float = 0.0
    images_per_second: float | None = None
    recipes: dict[str, str] = field(default_factory=dict)  # species → recipe
    folders: dict[str, str] = field(default_factory=dict)  # species → where its embeddings are
    token_folders: dict[str, str] = field(default_factory=dict)  # species → its patch tokens
    runtimes: list[str] = field(default_factory=list)


def without(annotations: pa.Table, failures: pa.Table) -> pa.Table:
    """The annotations that did not fail."""
    failed = pc.is_in(annotations["annotation_id"], failures["annotation_id"].combine_chunks())
    return annotations.filter(pc.invert(failed))


class EmbedStage(Protocol):
    """`jobs.embed.embed_driver.embed`, or what stands for it in a test."""

    def __call__(
        self, config: Config, annotations: pa.Table, expected: Mapping[str, str] | None = None
    ) -> tuple[EmbedSummary, pa.Table]:
        """Embed what the store lacks; the summary, and the failures (schema.FAILURES)."""


def say_failures(failures: pa.Table) -> None:
    """Name the first images that failed, each with its reason.

    Args:
        failures: schema.FAILURES.
    """
    for row in failures.slice(0, FAILURES_SAID).to_pylist():
        say(f"failed: {row['image_path']}: {row['error']}")
    if len(failures) > FAILURES_SAID:
        say(f"failed: and {len(failures) - FAILURES_SAID:,} more, in failures.csv")


def check_failures(failures: pa.Table, annotations: int, most: float) -> None:
    """Stop a run in which too many images failed, after everything else was written.

    Raises:
        TooManyFailuresError: more than the share `most` of the annotations failed.
    """
    # What lies behind a web address was never here to fail.
    failures = failures.filter(pc.not_equal(failures["stage"], WEB))
    if len(failures) > most * annotations:
        reasons = pc.value_counts(failures["stage"]).to_pylist()
        counts = ", ".join(f"{row['counts']} at {row['values']}" for row in reasons)
        raise TooManyFailuresError(
            f"{len(failures)} of {annotations} images failed ({counts}), over the limit of {most:.0%} "
            f"(--max-failures); first: {failures['image_path'][0]}: {failures['error'][0]}. "
            "Everything else is stored; failures.csv has every reason"
        )
