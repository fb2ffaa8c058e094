"""What the person sees while a run trains: a bar, and a line of figures for each epoch."""

import io
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow as pa

from jobs.common.console import Advance, progress, say
from reid import schema, store

TENSORBOARD_FILE = "events.out.tfevents.0000000000.reid"


class Watch:
    """Turns events into a bar, lines and the TensorBoard file; keeps what the driver needs later.

    Attributes:
        history: records of all epochs so far.
        failures: by annotation.
        stopped: why training ended; None while it has not.
        ranks: digest of each rank's weights at the end.
        device: that the first worker trains on.
    """

    def __init__(self, name: str, *, epochs: int, closed: bool, tensorboard: str) -> None:
        """Watch a run.

        Args:
            name: of the run, before its lines.
            epochs: to be trained at most.
            closed: see `Plan`.
            tensorboard: folder for its file.
        """
        self.name, self.epochs, self.closed, self.tensorboard = name, epochs, closed, tensorboard
        self.history: list[dict[str, Any]] = []
        self.failures: dict[str, dict[str, str]] = {}
        self.stopped: str | None = None
        self.ranks: list[str] = []
        self.device = ""
        self._bars = ExitStack()
        self._advance: Advance | None = None
        self._bar = ""
        self._left = 0  # images of the open bar
        self._images = 0  # of an epoch
        self._head_printed = self._started = False

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.close()

    def see(self, event: Mapping[str, Any]) -> None:
        """Take in one event."""
        handler: Callable[[Mapping[str, Any]], None] = getattr(self, f"_{event['kind']}")
        handler(event)

    def failure_table(self) -> pa.Table:
        """schema.FAILURES."""
        return pa.Table.from_pylist(list(self.failures.values()), schema=schema.FAILURES)

    def _decode(self, event: Mapping[str, Any]) -> None:
        self._show("decode", event["total"])
        self._move(event["images"])

    def _start(self, event: Mapping[str, Any]) -> None:
        self.history = list(event["history"])
        self.device = event["device"]
        self._images = event["images"]
        done = len(self.history)
        again = f", going on after epoch {done}" if done else ""
        if self._started:
            again = f", begun again after epoch {done}: a worker died or failed"
        self._started = True
        self._close_bar()
        say(
            f"{self.name}: {event['images']:,} images, {event['workers']} worker"
            f"{'s' if event['workers'] > 1 else ''} on {event['device']}{again}"
        )
        self._show(self.name, self._images * (self.epochs - done))

    def _step(self, event: Mapping[str, Any]) -> None:
        self._show(self.name, self._images * (self.epochs - len(self.history)))
        note = f"epoch {len(self.history) + 1} of {self.epochs}, loss {event['loss']:.3f}"
        self._move(event["images"], note)

    def _validating(self, _: Mapping[str, Any]) -> None:
        self._move(0, f"epoch {len(self.history) + 1} of {self.epochs}, validating")

    def _epoch(self, event: Mapping[str, Any]) -> None:
        record = event["record"]
        scores = [r["score"] for r in self.history if r["score"] is not None]
        self.history.append(record)
        if not self._head_printed:
            self._head_printed = True
            say(head_line(self.closed))
        better = record["score"] is not None and record["score"] > max(scores, default=-1.0)
        say(epoch_line(record, self.closed) + ("  best" if better else ""))
        write_tensorboard(self.tensorboard, self.history)

    def _trouble(self, event: Mapping[str, Any]) -> None:
        say(f"{self.name}: a worker failed: {event['text']}")

    def _note(self, event: Mapping[str, Any]) -> None:
        say(f"note: {event['text']}")

    def _failures(self, event: Mapping[str, Any]) -> None:
        for row in event["rows"]:
            self.failures.setdefault(row["annotation_id"], row)

    def _stop(self, event: Mapping[str, Any]) -> None:
        self.stopped, self.ranks = event["reason"], event["ranks"]
        self._close_bar()

    def _show(self, name: str, total: int) -> None:
        if self._bar == name:
            return
        self._close_bar()
        self._bar, self._left = name, total
        self._advance = self._bars.enter_context(progress(name, total))

    def _close_bar(self) -> None:
        self._bars.close()
        self._bar, self._advance = "", None

    def _move(self, images: int, note: str = "") -> None:
        images = min(images, self._left)  # some images are trained on twice to fill the batches
        self._left -= images
        if self._advance is not None:
            self._advance(images, note)


def head_line(closed: bool) -> str:
    """Names above the lines of epochs."""
    score = "top-1" if closed else "mAP"
    return f"  epoch      loss        lr  images/s  {'validation ' + score:>17}  {'top-5' if closed else 'top-1':>6}"


def epoch_line(record: Mapping[str, Any], closed: bool) -> str:
    """An epoch's figures."""
    second = "top_5" if closed else "top_1"
    figures = [record["score"], record["validation"].get(second)]
    score, other = ("–" if value is None else f"{value:.3f}" for value in figures)
    return (
        f"{record['epoch'] + 1:>7}  {record['loss']:>8.4f}  {record['lr']:>8.2e}"
        f"  {record['images_per_second']:>8.1f}  {score:>17}  {other:>6}"
    )


def write_tensorboard(folder: str, history: list[dict[str, Any]]) -> None:
    """Write the curves so far as one TensorBoard file, which has no epoch twice.

    The file of a longer history begins with that of a shorter one, byte by byte. On a local disk the
    rest is added to it, and a TensorBoard that reads along shows each epoch; a kill leaves a part, which
    the next call completes. On object storage, or where the file is of another history, it is replaced:
    a TensorBoard that read the old one has to be started again.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.summary.writer.record_writer import RecordWriter

    content = io.BytesIO()
    records = RecordWriter(content)

    def scalar(moment: float, step: int, tag: str, value: float) -> None:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
        records.write(Event(wall_time=moment, step=step, summary=summary).SerializeToString())

    records.write(Event(wall_time=0.0, file_version="brain.Event:2").SerializeToString())
    step = 0
    for record in history:
        for within, loss in record["losses"]:
            scalar(record["finished_at"], step + within, "step/loss", loss)
        step += record["steps"]
        epoch = record["epoch"] + 1
        figures = {
            f"epoch/{name}": record[name]
            for name in ("loss", "lr", "grad_norm", "images_per_second", "seconds")
        }
        figures |= {f"validation/{name}": value for name, value in record["validation"].items()}
        for tag, value in figures.items():
            scalar(record["finished_at"], epoch, tag, value)
    data = content.getvalue()
    path = store.join(folder, TENSORBOARD_FILE)
    if not store.is_remote(path) and store.exists(path):
        there = store.read_bytes(path)
        if data.startswith(there):
            with Path(path).expanduser().open("ab") as file:
                file.write(data[len(there) :])
            return
    store.write_bytes(path, data)
