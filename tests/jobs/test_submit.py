"""`reid submit` against a cluster that was started as people start one, with a token."""

import asyncio
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray._private.runtime_env.packaging import create_package
from ray.exceptions import AuthenticationError, RpcError
from ray.job_submission import JobDetails, JobStatus, JobType

from jobs import submit as module
from reid.errors import InputError, ReidError, StorageError, TooManyFailuresError
from tests.jobs.processes import needs_proc, processes_marked, wait_until

PROJECT = Path(__file__).parents[2]
COMMANDS = ["run", "embed", "identify"]
# A job's own process (not its actors) waits here until the test lets it go.
HELD = """
import pathlib, sys, time
while "jobs" in sys.orig_argv and not pathlib.Path({go!r}).exists():
    time.sleep(0.1)
"""
QUICK = ("embed.cpus_per_worker=1", "embed.workers=1", "embed.runtime=torch")


@dataclass(frozen=True)
class Head:
    """A cluster of one machine, and how to reach it."""

    address: str
    metrics: str
    environment: dict[str, str]

    def start(self, *arguments: object, **environment: str) -> subprocess.Popen[str]:
        """`reid submit …` from the checkout, as another process."""
        return subprocess.Popen(
            [sys.executable, "-m", "jobs", "submit", *map(str, arguments)],
            cwd=PROJECT,
            env=self.environment | {"RAY_API_SERVER_ADDRESS": self.address} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def submit(self, *arguments: object, **environment: str) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of `reid submit …`."""
        child = self.start(*arguments, **environment)
        out, err = child.communicate(timeout=500)
        return child.returncode, out, err


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def head() -> Iterator[Head]:
    folder = Path(tempfile.mkdtemp(prefix="reid-", dir="/tmp"))  # sockets need a short path
    token = folder / "token"
    token.write_text("0123456789abcdef" * 4)
    names = ("port", "dashboard-port", "metrics-export-port", "ray-client-server-port",
             "dashboard-agent-listen-port", "dashboard-agent-grpc-port")  # fmt: skip
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    # The job server runs the `python` that it finds.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["RAY_AUTH_TOKEN_PATH"] = str(token)
    log = (folder / "log").open("w")
    ray = subprocess.Popen(
        [
            sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block",
            "--node-ip-address=127.0.0.1", "--dashboard-host=127.0.0.1", "--num-cpus=2",
            "--min-worker-port=0", "--max-worker-port=0", f"--object-store-memory={100 << 20}",
            "--disable-usage-stats", f"--temp-dir={folder / 'ray'}",
            *(f"--{name}={port}" for name, port in ports.items()),
        ],
        env=environment | {"RAY_AUTH_MODE": "token", "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"},
        stdout=log,
        stderr=subprocess.STDOUT,
    )  # fmt: skip
    address = f"http://127.0.0.1:{ports['dashboard-port']}"
    try:
        ready = urllib.request.Request(
            f"{address}/api/jobs/", headers={"Authorization": f"Bearer {token.read_text()}"}
        )
        for _ in range(120):
            assert ray.poll() is None, (folder / "log").read_text()
            try:
                urllib.request.urlopen(ready, timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        else:
            pytest.fail((folder / "log").read_text())
        metrics = f"http://127.0.0.1:{ports['metrics-export-port']}/metrics"
        yield Head(address, metrics, environment)
    finally:
        ray.send_signal(signal.SIGTERM)
        ray.wait(60)
        log.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def photos(make_photos: Callable[..., list[Path]], tmp_path: Path) -> Path:
    """Four pictures and two files that are none."""
    made = make_photos(tmp_path / "photos", range(6))
    for path in made[:2]:
        path.write_bytes(b"no picture")
    return tmp_path / "photos"


def exported(head: Head) -> dict[tuple[str, str], float]:
    """Our counters by name and outcome, summed over all that export them."""
    with urllib.request.urlopen(head.metrics, timeout=10) as answer:
        text = answer.read().decode()
    found: dict[tuple[str, str], float] = {}
    for name, labels, value in re.findall(r"^ray_reid_(\w+){(.*)} (\S+)$", text, re.MULTILINE):
        tags = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        assert tags["stage"] == "embed"
        key = name, tags.get("outcome", "")
        found[key] = found.get(key, 0) + float(value)
    return found


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        (None, "reid-identify-2"),
        ("nightly", "reid-identify-nightly-2"),
        ("Süd / ../7", "reid-identify-S-d-7-2"),
        ("…", "reid-identify-2"),
        ("x" * 90, f"reid-identify-{'x' * 40}-2"),
    ],
)
def test_the_name_of_a_job_stands_in_its_id(name: str | None, begins: str) -> None:
    made = module.new_job_id("identify", name)
    assert made.startswith(begins)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", made)
    assert made != module.new_job_id("identify", name)


# ── On a cluster ──────────────────────────────────────────────────────────────────────────────────


def test_the_log_and_success_come_back(head: Head) -> None:
    code, out, err = head.submit("models")
    assert code == 0, err
    assert "efficientnet-lite0" in out
    assert "reid-models-" in err


def test_bad_input_comes_back_as_1(head: Head, tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("species: lynx\n")
    uploaded = ("--working-dir", tmp_path, "--config", tmp_path / "settings.yaml")
    absent = tmp_path / "absent"
    code, out, err = head.submit("run", "-i", absent, *uploaded, "--env", f"PYTHONPATH={PROJECT}")
    assert code == 1
    assert "--config settings.yaml" in out, "as the job sees it"
    assert str(absent) in out.partition("error:")[2], "the job's own words"
    assert "ended with exit code 1" in err


@pytest.mark.timeout(600)  # four processes and a job, on a machine that may be busy
def test_one_job_of_a_name_runs_and_is_followed(head: Head, photos: Path, tmp_path: Path) -> None:
    go, held = tmp_path / "go", tmp_path / "held"
    held.mkdir()
    (held / "sitecustomize.py").write_text(HELD.format(go=str(go)))  # on a fast machine too
    command = ("embed", "-i", photos, "-o", tmp_path / "out", "--metrics", "--name", "nightly",
        "--env", f"PYTHONPATH={held}:{PROJECT}", *QUICK)  # fmt: skip
    code, job, err = head.submit(*command, "--no-wait")
    assert code == 0, err
    assert re.fullmatch(r"reid-embed-nightly-\S+\n", job), "nothing but the id, for a pipe"
    assert f"ray job logs --follow --address {head.address} {job.strip()}" in err

    watching = head.start(*command)
    assert watching.stderr is not None
    assert "no second one is started" in watching.stderr.readline()
    time.sleep(0.5)
    watching.send_signal(signal.SIGINT)
    _, err = watching.communicate(timeout=120)
    assert watching.returncode == 130
    assert f"ray job stop --address {head.address} {job.strip()}" in err

    go.touch()
    code, out, err = head.submit(*command)
    assert code == 2, f"two of six images failed\n{out}{err}"
    assert f"job {job.strip()} of the name nightly" in err
    assert "2 of 6 images failed" in out
    counted = exported(head)
    assert counted["images_total", "embedded"] == 4
    assert counted["images_total", "failed"] == 2
    assert counted["seconds_total", ""] > 0


@needs_proc
@pytest.mark.timeout(600)  # three processes and two jobs, on a machine that may be busy
def test_a_job_that_is_asked_to_end_does_so_and_the_next_goes_on(
    head: Head, make_photos: Callable[..., list[Path]], tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", range(40))
    out, mark = tmp_path / "out", f"REID_TEST_RUN={tmp_path}"
    command = (
        "embed",
        "-i",
        tmp_path / "photos",
        "-o",
        out,
        *QUICK,
        "embed.ray=always",
        "embed.shard_rows=2",
    )
    watching = head.start(*command, "--env", mark)
    wait_until(lambda: any(out.glob("embeddings/*/part-*.parquet")) or watching.poll() is not None)
    words = {
        pid: Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        for pid in processes_marked(mark)
    }
    (job,) = [pid for pid, line in words.items() if line[1:4] == [b"-m", b"jobs", b"embed"]]
    os.kill(job, signal.SIGTERM)
    said, err = watching.communicate(timeout=300)
    assert watching.returncode == 3, said + err
    assert "was killed by signal 15; submit it again to go on from there" in err
    assert "stopped; run the same command again to go on from here" in said
    assert not [
        one for one in ("Traceback", "terminate called", "*** SIG", "core dumped") if one in said
    ]

    code, said, err = head.submit(*command)
    assert code == 0, said + err
    assert re.search(r"[1-9]\d* of 40 are in efficientnet-lite0", said), "what was embedded stays"


def test_the_token_is_asked_for(head: Head, tmp_path: Path) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("f" * 64)
    code, _, err = head.submit("models", "--no-upload", RAY_AUTH_TOKEN_PATH=str(wrong))
    assert code == 1
    assert "RAY_AUTH_TOKEN" in err
    assert "Traceback" not in err


def test_no_cluster_is_3(head: Head) -> None:
    nobody = f"http://127.0.0.1:{free_ports(1)[0]}"
    # The flag wins over the environment, which names a cluster that is there.
    code, _, err = head.submit("models", "--no-upload", "--address", nobody)
    assert code == 3
    assert nobody in err


# ── Without one ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"command": "embd"}, "did you mean embed?"),
        ({"env": ["KEY"]}, "--env KEY: write KEY=VALUE"),
        ({"working_dir": "absent"}, "--working-dir: absent is not a folder"),
        ({"config": "outside"}, "is not uploaded"),
        ({"config": "results"}, "is not uploaded"),
        ({"config": "broken"}, "max_failure"),
        ({"config": "inside", "working_dir": None}, "is not uploaded"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_sent(
    arguments: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {
        "outside.yaml": "", "work/broken.yaml": "max_failure: 1", "work/inside.yaml": "", "work/results/a.yaml": "",
    }.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_text(text)
    files = {
        "outside": "../outside.yaml",
        "results": "results/a.yaml",
        "broken": "broken.yaml",
        "inside": "inside.yaml",
    }
    if "config" in arguments:
        arguments = arguments | {"config": files[arguments["config"]]}
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(InputError, match=re.escape(message)):
        module.submit(arguments.pop("command", "run"), [], commands=COMMANDS, **arguments)


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (AuthenticationError("no token"), InputError),
        (ValueError("the folder is too large"), InputError),
        (ConnectionError("refused"), StorageError),
        (RuntimeError("no agent is there"), StorageError),
        (RpcError("timed out", 1), StorageError),
    ],
)
def test_what_ray_raises_has_an_exit_code(
    raised: Exception, expected: type[ReidError], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(address: str | None) -> None:
        raise raised

    monkeypatch.setattr(module, "_connect", refuse)
    with pytest.raises(expected, match=str(raised.args[0])):
        module.submit("run", [], commands=COMMANDS, working_dir=None)


def details(status: JobStatus, code: int | None = None) -> JobDetails:
    return JobDetails(
        type=JobType.SUBMISSION, status=status, entrypoint="", driver_exit_code=code, message="why"
    )


@pytest.mark.parametrize(
    ("status", "code", "error", "exit_code"),
    [
        (JobStatus.FAILED, 1, InputError, 1),
        (JobStatus.FAILED, 2, TooManyFailuresError, 2),
        (JobStatus.FAILED, 3, StorageError, 3),
        (JobStatus.FAILED, -9, StorageError, 3),
        (JobStatus.FAILED, 137, StorageError, 3),
        (JobStatus.FAILED, 127, ReidError, 1),
        (JobStatus.FAILED, None, StorageError, 3),
        (JobStatus.STOPPED, None, ReidError, 1),
    ],
)
def test_every_end_has_its_exit_code(
    status: JobStatus, code: int | None, error: type[ReidError], exit_code: int
) -> None:
    with pytest.raises(ReidError) as raised:
        module._end_as("job", details(status, code))
    assert type(raised.value) is error
    assert raised.value.exit_code == exit_code


class Flaky:
    """A job server whose connections break at the given places of the log."""

    def __init__(self, log: list[str], breaks: list[int]) -> None:
        self.log, self.breaks = log, breaks

    def get_address(self) -> str:
        return "http://head"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        until = self.breaks.pop(0) if self.breaks else len(self.log)
        for text in self.log[:until]:
            yield text
        if until < len(self.log):
            raise RuntimeError("closed")

    def get_job_info(self, job: str) -> JobDetails:
        return details(JobStatus.SUCCEEDED, 0)


def test_a_broken_connection_repeats_nothing(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_TRIES", 0)
    log = ["embed: 1\n", "embed: 2\n", "clus", "ter: 3\n"]
    ended = asyncio.run(module._follow(Flaky(log, [2, 1, 0, 3]), "job"))  # type: ignore[arg-type]
    assert ended.status == JobStatus.SUCCEEDED
    assert capsys.readouterr().out == "".join(log)


def test_a_cluster_that_is_lost_is_3(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECONDS_BETWEEN_TRIES", 0)
    with pytest.raises(StorageError, match="lost the cluster at http://head while job j ran"):
        asyncio.run(module._follow(Flaky(["a"], [0] * module.TRIES), "j"))  # type: ignore[arg-type]


def test_keys_results_and_repositories_are_not_uploaded(tmp_path: Path) -> None:
    kept = [
        "jobs/x.py",
        "config.yaml",
        "deep/er/data.csv",
        "keys.py",
        "environment.yml",
        "pictures/a.jpg",
    ]
    left = [
        ".env", "deep/.env", ".env.local", "prod.env", "server.pem", "deep/er/my.key", "id_rsa", "deep/id_rsa.pub",
        "id_ed25519", ".ssh/config", ".aws/credentials", "deep/.aws/config", ".git/config", "deep/.git/HEAD",
        ".venv/bin/python", "venv/x.py", ".netrc", ".config/gcloud/x.json", "my-service-account.json", "credentials.json",
        ".ray/auth_token", ".huggingface.gpg", "results/x", "demo/x", "benchmarks/x", "a/__pycache__/x.pyc",
    ]  # fmt: skip
    outputs = {
        "nightly/2026": ["config.yaml", "summary.json", "report.html"],
        "herds": ["annotations/_delta_log/0.json", "embeddings/x/recipe.json"],
        "store/lite0-0123": ["recipe.json", "part-1.parquet"],
        "runs/tuned": ["config.yaml", "finetune.json", "checkpoint/model.json"],
    }
    left += [f"{folder}/{name}" for folder, names in outputs.items() for name in names]
    for name in kept + left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    package = tmp_path.parent / f"{tmp_path.name}.zip"
    create_package(
        str(tmp_path), package, include_gitignore=True, excludes=module._excludes(tmp_path)
    )
    with zipfile.ZipFile(package) as archive:
        uploaded = {name for name in archive.namelist() if not name.endswith("/")}
    assert {name for name in uploaded if name in left or name not in kept} == set()
    assert uploaded == set(kept)
    for name in left:
        outside = module._outputs(tmp_path, tmp_path, 1)
        assert module._is_left_out(Path(name), outside), name
    assert not any(module._is_left_out(Path(name), outside) for name in kept)
