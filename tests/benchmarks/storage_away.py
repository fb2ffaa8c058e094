"""Storage that is really away for a minute, under every command that touches it.

    python tests/benchmarks/storage_away.py --out storage_away.json

An S3 stand-in on this machine serves the first third of a command's requests; then, for --seconds, it refuses
connections (`shut`) or answers each request with an error (`errors`). Clients ask again at their own pace, no pause
is shortened. A command is a process of its own on a copy of the bucket as the commands before it left it. It passes
if it ends with 0, and the bucket then holds what it holds after the same command on storage that stays: files by
name, rows of catalogue and clusters by value. Mostly it waits; --at-once commands do. What --out says of commands
that are not asked for stays.
"""

import argparse
import json
import logging
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from jobs.cli import run_command
from jobs.common import outputs
from reid import store
from reid.catalogue import open_catalogue, read_events
from tests.benchmarks.machine import instruction_set
from tests.flaky_bucket import FlakyBucket
from tests.jobs.storage_commands import APART, COMMANDS, furnish, in_bucket

ROOT = Path(__file__).parents[2]
KINDS = ("shut", "errors")
LONGEST_SECONDS = 400
# Of files that are named by their run, their moment or by chance.
_NAMED = re.compile(
    r"\d{8}T\d{9}-[0-9a-f]{6}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{8,}"
    r"|(?<=/)[0-9a-f]{2}(?=/)|herd-[0-9]{4}"
)


class Storage:
    """The stand-in, in this process, and its buckets."""

    def __init__(self) -> None:
        import boto3
        from moto.server import ThreadedMotoServer

        logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        os.environ |= {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "tests",
        }  # fmt: skip
        self._client = boto3.client("s3", endpoint_url=os.environ["AWS_ENDPOINT_URL"])
        self._made, self._lock = 0, threading.Lock()

    def bucket(self) -> str:
        with self._lock:
            self._made += 1
            name = f"herd-{self._made:04d}"
        self._client.create_bucket(Bucket=name)
        return f"s3://{name}"

    def copy(self, uri: str) -> str:
        """A bucket that holds the same."""
        other, name = self.bucket(), uri.removeprefix("s3://")
        for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=name):
            for one in page.get("Contents", ()):
                self._client.copy_object(
                    Bucket=other.removeprefix("s3://"),
                    Key=one["Key"],
                    CopySource={"Bucket": name, "Key": one["Key"]},
                )
        return other


def held(bucket: str) -> dict[str, Any]:
    """What a bucket holds, as far as two runs of one command must agree."""
    names = [path[len(bucket) :] for path in store.list_files(bucket, recursive=True)]
    found: dict[str, Any] = {"files": Counter(_NAMED.sub("…", name) for name in names)}
    if f"/results/{outputs.CLUSTERS}" in names:
        clusters = store.read_table(f"{bucket}/results/{outputs.CLUSTERS}")
        found["clusters"] = clusters.sort_by("annotation_id").to_pylist()
    if any(name.startswith("/catalogue/") for name in names):
        catalogue = open_catalogue(f"{bucket}/catalogue")
        own = ["run_id", "root", "source_key"]  # the bucket is another one
        rows = catalogue.rows().drop_columns(own).sort_by("annotation_id")
        events = read_events(catalogue).drop_columns(["run_id", "time", "version"])
        found["catalogue"] = [rows.to_pylist(), events.to_pylist(), dict(catalogue.counters)]
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """In words, what the first lacks or holds otherwise; a file that was written twice is no loss."""
    missing = other["files"] - one["files"]
    return [f"lost: {count} of {name}" for name, count in sorted(missing.items())] + [
        f"another {key}" for key in ("clusters", "catalogue") if one.get(key) != other.get(key)
    ]


def visit(base: str) -> None:
    """What somebody does on the pages of `reid serve`: look, and give an individual a name."""

    def page(name: str, form: dict[str, str] | None = None, **headers: str) -> str:
        data = None if form is None else urllib.parse.urlencode(form).encode()
        request = urllib.request.Request(base + name, data, headers)
        with urllib.request.urlopen(request, timeout=LONGEST_SECONDS) as answer:
            return str(answer.read().decode(errors="replace"))

    index = page("")
    (csrf,) = re.findall(r'data-token="([^"]*)"', index)
    one = re.findall(r"picture=([0-9a-f]+)", index)[0]
    for name in (f"animal?picture={one}", f"picture?id={one}&px=320", "review"):
        page(name)
    page(
        "act/describe",
        {"reviewer": "Anna", "picture": one, "name": "Luna"},
        **{"X-Reid-Token": csrf},
    )
    if "Luna" not in page(""):
        raise ValueError("the name is not on the page")


def ran(line: list[str], endpoint: str) -> tuple[int, str, float]:
    """Exit code, what was said, and seconds of a command as a process of its own."""
    environment = os.environ | {
        "AWS_ENDPOINT_URL": endpoint, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(
        [sys.executable, "-m", "jobs", *line],
        stdout=subprocess.PIPE, stderr=said, env=environment, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        killer = threading.Timer(LONGEST_SECONDS, process.kill)
        killer.start()
        trouble = ""
        if line[0] == "serve":
            try:
                visit(process.stdout.readline().strip())
            except (OSError, ValueError, IndexError) as error:
                trouble = f"\nthe visitor: {type(error).__name__}: {error}"
            process.send_signal(signal.SIGTERM)
        process.stdout.read()
        code = process.wait()
        killer.cancel()
        said.seek(0)
        return (code if not trouble else 99), said.read() + trouble, time.perf_counter() - started


def tried(
    storage: Storage, name: str, before: str, after: dict[str, Any], requests: int, model: str, kind: str, seconds: float
) -> dict[str, Any]:  # fmt: skip
    """A command while storage is away."""
    door = FlakyBucket(storage.copy(before), seed=0)
    door.go_away(seconds, after=requests // 3, shut=kind == "shut")
    code, said, spent = ran(in_bucket(name, door.uri, model), door.endpoint)
    wrong = differences(held(door.uri), after) if not code else []
    lines = [
        one.replace(door.uri, "s3://bucket").replace(model, "model")
        for one in said.strip().splitlines()
    ]
    asking = [one for one in lines if "; again in " in one]
    door.close()
    return {
        "command": name, "kind": kind, "code": code, "right": not code and not wrong and door.failed > 0,
        "seconds": round(spent, 1), "requests": requests, "failed": door.failed, "asked_again": len(asking),
        "said_first": asking[0][:300] if asking else "", "said_last": lines[-1][:500] if lines else "",
        "wrong": wrong[:10],
    }  # fmt: skip


def undisturbed(storage: Storage, names: list[str], folder: Path) -> tuple[str, dict[str, Any]]:
    """The model, and of each command the bucket before it, what is held after it, and its requests.

    In this process, where all is imported already, but for what cannot be run here.
    """
    whole = FlakyBucket(storage.bucket(), seed=0)
    model = furnish(whole.uri, folder)
    last = max(map([*COMMANDS].index, names))
    found = {}
    for name in [*COMMANDS][: last + 1]:
        before, asked = storage.copy(whole.uri) if name in names else "", whole.asked
        line = in_bucket(name, whole.uri, model)
        if line[0] in (*APART, "serve"):  # which waits for Ctrl-C
            code, said, _ = ran(line, whole.endpoint)
        else:
            direct, os.environ["AWS_ENDPOINT_URL"] = os.environ["AWS_ENDPOINT_URL"], whole.endpoint
            code, said = 0, ""
            try:
                run_command(None, line)
            except SystemExit as ended:
                code = int(ended.code or 0)
            os.environ["AWS_ENDPOINT_URL"] = direct
        if code:
            print(f"{name} does not work on storage that stays: {code}: {said}", flush=True)
            continue
        found[name] = (before, held(whole.uri), whole.asked - asked)
    whole.close()
    return model, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS])
    parser.add_argument("--commands", nargs="+", choices=[*COMMANDS], default=[*COMMANDS])
    args = parser.parse_args()
    storage = Storage()
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(args.at_once) as pool:
        model, found = undisturbed(storage, args.commands, Path(folder))

        def trial(one: tuple[str, str]) -> dict[str, Any]:
            name, kind = one
            row: dict[str, Any] = {"command": name, "kind": kind, "right": False}
            if name in found:
                row = tried(storage, name, *found[name], model, kind, args.seconds)
            print(json.dumps(row), flush=True)
            return row

        rows = list(
            pool.map(trial, [(name, kind) for kind in args.kinds for name in args.commands])
        )
    if args.out and args.out.exists():  # of other commands
        new = {(row["command"], row["kind"]) for row in rows}
        before = json.loads(args.out.read_text())["commands"]
        rows += [row for row in before if (row["command"], row["kind"]) not in new]
        rows.sort(key=lambda row: (KINDS.index(row["kind"]), [*COMMANDS].index(row["command"])))
    right = sum(row["right"] for row in rows)
    summary = {"seconds_away": args.seconds, "right": f"{right} of {len(rows)}"}
    print(json.dumps(summary))
    if args.out:
        written = {"machine": instruction_set(), **summary, "commands": rows}
        args.out.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
