"""A training worker: epochs of `Trainer`, each validated, stored and reported to the driver.

It is the same in the job's own process and on Ray Train, which joins several into one process group and
starts them again when one dies. Each epoch is stored by `epochs.py`, so that whatever begins again begins
after the last one.
"""

import hashlib
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import torch.distributed as dist

from jobs.finetune import epochs
from jobs.finetune.event_reporter import EventReporter
from jobs.finetune.split_plan import TRAIN, VALIDATION
from reid import schema, store
from reid.config import Images
from reid.errors import InputError, StorageError
from reid.training import ClassTable, TrainSettings
from reid.training.pixels import Pixels, open_pixels
from reid.training.trainer import StepInfo, Trainer
from reid.training.validate import closed_set_scores, held_out_scores

LOSSES_KEPT = 50  # of an epoch's steps, for the curve

FINISHED, OUT_OF_TIME, NO_BETTER = "finished", "time limit", "no better epoch"


@dataclass(frozen=True)
class TrainTask:
    """What a worker needs to know; travels once to each.

    Attributes:
        folder: where epochs are stored; local paths are absolute.
        rows: file of the annotations, and of the part that each is in.
        settings: of the `Trainer`.
        closed: see `Plan`.
        images: how a file becomes a crop.
        cache, cache_gb: local folder for decoded images, and the bound of this run's; None: a folder
            of this run among the temporary files, which goes when training has ended.
        threads: CPU cores of this worker.
        session: the attempt that these workers belong to.
        keep, patience, validate_every, time_limit_minutes: see `reid.config.Finetune`.
        about: kept in every checkpoint.
    """

    folder: str
    rows: str
    settings: TrainSettings
    closed: bool
    images: Images
    cache: str | None
    cache_gb: float
    threads: int
    session: str
    keep: int
    patience: int | None
    validate_every: int
    time_limit_minutes: float | None
    about: dict[str, Any]


@dataclass(frozen=True)
class Member:
    """A worker's place among the workers of a run.

    Attributes:
        device: that it trains on.
        rank, world: its number, and how many there are; with more than one, torch.distributed joins them.
        local_rank: its number on its machine.
    """

    device: str
    rank: int = 0
    world: int = 1
    local_rank: int = 0


def train_epochs(task: TrainTask, member: Member, tell: EventReporter) -> None:
    """Train, after the last stored epoch, until there is a reason to stop.

    Raises:
        ReidError: what would come back if it were tried again.
    """
    _Run(task, member, tell).epochs()


class _Run:
    """The state of one worker."""

    def __init__(self, task: TrainTask, member: Member, tell: EventReporter) -> None:
        self.task, self.tell = task, tell
        self.began = time.perf_counter()
        self.rank, self.world, self.local_rank = member.rank, member.world, member.local_rank
        own = hashlib.sha256(task.folder.encode()).hexdigest()[:16]
        self.cache = task.cache or f"{tempfile.gettempdir()}/reid-pixels/{own}"
        torch.set_num_threads(task.threads)
        try:
            table = store.read_table(task.rows)
        except FileNotFoundError:
            raise InputError(
                f"{task.rows} is not seen from the machine of worker {self.rank}: give --out a place "
                "that all machines share, for example s3://…"
            ) from None
        self.parts = np.asarray(table["part"].to_pylist())
        self.species = table["species"].to_pylist()
        self.identities = table["identity"].to_pylist()
        self.encounters = table["encounter_id"].to_pylist()
        train = np.flatnonzero(self.parts == TRAIN)
        classes = ClassTable.of(*self._labels(train))
        self.trainer = Trainer(
            task.settings, classes, device=member.device, rank=self.rank, world=self.world
        )
        if self.trainer.precision_note:
            self.tell.event("note", text=self.trainer.precision_note)
        self.pixels = self._open_pixels(table)
        self.train_rows = train[self._good_everywhere()[train]]
        if not len(self.train_rows):
            reports = self._gather(self.pixels.failures()["error"].to_pylist())
            first = next(errors[0] for errors in reports if errors)
            raise InputError(f"none of the {len(train):,} training images can be read: {first}")
        self.codes = classes.encode(*self._labels(self.train_rows))
        self.history: list[dict[str, Any]] = []
        stored = epochs.latest(task.folder)
        if stored is not None:
            self.trainer.load_state_dict(epochs.read_state(task.folder, stored))
            self.history = epochs.read_history(task.folder, stored)
        self.done_before = len(self.history)
        self.tell.event(
            "start",
            device=member.device,
            workers=self.world,
            images=len(self.train_rows),
            history=self.history,
        )

    def epochs(self) -> None:
        """Train until there is a reason to stop."""
        while True:
            # Rank 0 has the clock; the others must not disagree and wait for it for ever.
            reason = self._gather(self._reason_to_stop())[0]
            if reason:
                break
            record = self._epoch(len(self.history))
            self.history.append(record)
            self._store()
            self.tell.event("epoch", record=record)
        ranks = self._gather(self._weights_digest())
        if self.task.cache is None and self.local_rank == 0 and reason != OUT_OF_TIME:
            store.remove(self.cache)
        self.tell.event("stop", reason=reason, ranks=ranks)

    def _epoch(self, epoch: int) -> dict[str, Any]:
        began = time.perf_counter()
        losses: list[tuple[int, float]] = []

        def on_step(info: StepInfo) -> None:
            losses.append((info.step, round(info.loss, 5)))
            self.tell.step(images=info.images * self.world, loss=info.loss)
            if info.note:
                self.tell.event(
                    "note", text=f"epoch {epoch + 1}, step {info.step + 1}: {info.note}"
                )

        stats = self.trainer.train_epoch(
            epoch, self.pixels, self.train_rows, self.codes, on_step=on_step
        )
        trained = sum(self._gather(stats.images))
        record: dict[str, Any] = {
            "epoch": epoch,
            "steps": stats.steps,
            "loss": round(float(np.mean(self._gather(stats.loss))), 6),
            "lr": stats.lr,
            "grad_norm": round(stats.grad_norm, 6),
            "images": trained,
            "images_per_rank": self._gather(stats.images),
            "train_seconds": round(stats.seconds, 3),
            "images_per_second": round(trained / max(stats.seconds, 1e-9), 2),
            "notes": list(stats.notes),
            "losses": losses[:: -(-len(losses) // LOSSES_KEPT)],
            "validation": {},
            "score": None,
        }
        self.tell.event("validating")
        last = epoch + 1 == self.task.settings.epochs
        if (self.parts == VALIDATION).any() and (
            last or (epoch + 1) % self.task.validate_every == 0
        ):
            record["validation"], record["score"] = self._validate()
        self._tell_failures()
        record["finished_at"] = round(time.time(), 3)
        record["seconds"] = round(time.perf_counter() - began, 3)
        return record

    def _validate(self) -> tuple[dict[str, float], float | None]:
        """Scores of the validation rows, and the one that chooses; the ranks share the embedding."""
        rows = np.flatnonzero(
            np.isin(self.parts, (TRAIN, VALIDATION))
            if self.task.closed
            else self.parts == VALIDATION
        )
        parts = self._gather(self.trainer.embed(self.pixels, rows[self.rank :: self.world]))
        vectors = np.empty((len(rows), self.trainer.dimension), np.float32)
        for rank, part in enumerate(parts):
            vectors[rank :: self.world] = part
        species, identities = self._labels(rows)
        if self.task.closed:
            queries = self.parts[rows] == VALIDATION
            scores = closed_set_scores(vectors, species, identities, queries)
        else:
            encounters = [self.encounters[row] for row in rows]
            scores = held_out_scores(vectors, species, identities, encounters)
        scores = {name: float(value) for name, value in scores.items() if np.isfinite(value)}
        return scores, scores.get(epochs.chooses(self.task.closed))

    def _store(self) -> None:
        """Rank 0 stores the epoch, unless another attempt has taken the folder over."""
        if self.rank:
            return
        if epochs.session(self.task.folder) != self.task.session:
            raise StorageError(
                f"{self.task.folder}: another attempt at this training has begun; this one stops"
            )
        epochs.write(self.task.folder, self.trainer, self.history, self.task.about)
        epochs.prune(self.task.folder, self.history, self.task.keep)

    def _reason_to_stop(self) -> str | None:
        done = len(self.history)
        if done >= self.task.settings.epochs:
            return FINISHED
        if self.task.patience is not None:
            scores = [r["score"] for r in self.history if r["score"] is not None]
            if scores and len(scores) - 1 - int(np.argmax(scores)) >= self.task.patience:
                return NO_BETTER
        if self.task.time_limit_minutes is not None and done:
            # Epochs of earlier attempts count with their own time, this attempt from its start.
            earlier = sum(record["seconds"] for record in self.history[: self.done_before])
            spent = earlier + time.perf_counter() - self.began
            longest = max(r["seconds"] for r in self.history[-2:])
            if spent + longest > 60 * self.task.time_limit_minutes:
                return OUT_OF_TIME
        return None

    def _open_pixels(self, table: pa.Table) -> Pixels:
        images = self.task.images
        done = 0

        def on_progress(now: int, total: int) -> None:
            nonlocal done
            self.tell.decoded(now - done, total)
            done = now

        return open_pixels(
            table,
            size=self.trainer.stored_size,
            folder=self.cache,
            cache_gb=self.task.cache_gb,
            threads=self.task.threads,
            interpolation=self.trainer.interpolation,
            # Decoded as for `reid embed`, though resized twice: to what is stored, and to the input.
            # nvJPEG has no place in a training loop.
            decode="full" if images.decode == "nvjpeg" else images.decode,
            bbox_margin=images.bbox_margin,
            max_megapixels=images.max_megapixels,
            window_of=images.window_of if images.window or images.per_species_window else None,
            min_crop_pixels=images.min_crop_pixels,
            on_progress=on_progress,
        )

    def _tell_failures(self) -> None:
        """All that this rank knows of; the driver keeps one row an annotation."""
        failures = pa.concat_tables([schema.FAILURES.empty_table(), self.pixels.failures()])
        if len(failures):
            self.tell.event("failures", rows=failures.to_pylist(), everyone=True)

    def _labels(self, rows: np.ndarray) -> tuple[list[str], list[str | None]]:
        return [self.species[row] for row in rows], [self.identities[row] for row in rows]

    def _good_everywhere(self) -> np.ndarray:
        """(n,) bool: rows that every rank has an image of.

        Each machine reads for itself, and may fail to read what another one can. Ranks that did not
        train on the same rows would plan other batches, and wait for each other for ever.
        """
        good: np.ndarray = np.logical_and.reduce(self._gather(self.pixels.good))
        return good

    def _gather(self, value: Any) -> list[Any]:
        """The values of all ranks, on all ranks."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values

    def _weights_digest(self) -> str:
        """Equal on all ranks, or their gradients were not averaged."""
        digest = hashlib.sha256()
        for name, tensor in sorted(_tensors(self.trainer.state_dict())):
            digest.update(name.encode())
            plain = tensor.detach().cpu().contiguous().reshape(-1)
            digest.update(plain.view(torch.uint8).numpy().data)
        return digest.hexdigest()[:16]


def _tensors(state: Any, prefix: str = "") -> list[tuple[str, torch.Tensor]]:
    """The network's and the heads' weights in a state, by name."""
    if isinstance(state, torch.Tensor):
        return [(prefix, state)]
    if isinstance(state, dict):
        return [pair for key, value in state.items() for pair in _tensors(value, f"{prefix}.{key}")]
    return []
