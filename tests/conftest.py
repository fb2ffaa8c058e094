"""Fixtures for more than one folder of tests."""

import logging
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator

import pytest

from tests.flaky_bucket import FlakyBucket

try:
    from hypothesis import settings
except ImportError:  # a machine that is at hand for its GPU: see tests/test_gpu_machine.py
    pass
else:
    # No test asserts a time: a busy machine is not an error.
    settings.register_profile("no deadline", deadline=None)
    settings.load_profile("no deadline")


# A shell starts what it puts in the background deaf to Ctrl-C, and so would be all that a test starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def one_core() -> Iterator[None]:
    """What is tested in this process takes one core, unless it is told otherwise.

    Two files are tested at once, and threads of two processes on the same cores wait for each other.
    """
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(os, "sched_getaffinity"):
            patch.setattr(os, "sched_getaffinity", lambda _: {0})
        yield


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """Endpoint of an object storage on this machine that speaks S3.

    It is set in the environment, as a user would set it, for as long as the session lasts: Ray's
    workers inherit the environment of the moment in which Ray was started.
    """
    from moto.server import ThreadedMotoServer  # slow to import, and most tests do without

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a line a request
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "tests")
        yield os.environ["AWS_ENDPOINT_URL"]
    server.stop()


@pytest.fixture(scope="session")
def reid() -> Callable[..., int]:
    """Runs a `reid` command line in this process, on the Ray that is there if any; its exit code."""
    from jobs.cli import run_command

    def command(*arguments: object) -> int:
        with pytest.raises(SystemExit) as ended:
            run_command(None, [str(argument) for argument in arguments])
        return int(ended.value.code or 0)

    return command


@pytest.fixture
def bucket(s3: str) -> str:
    """An empty bucket, as `s3://<name>`."""
    import boto3

    name = f"herd-{uuid.uuid4().hex[:8]}"
    boto3.client("s3", endpoint_url=s3).create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def flaky_bucket(bucket: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FlakyBucket]:
    """An empty bucket that fails when it is told to; this process finds it in its environment."""
    flaky = FlakyBucket(bucket, seed=0)
    monkeypatch.setenv("AWS_ENDPOINT_URL", flaky.endpoint)
    yield flaky
    flaky.close()


_FAR_STORAGE = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()  # until the tests are over, or gone
"""


@pytest.fixture(scope="session")
def far_s3(s3: str) -> Iterator[str]:
    """Endpoint of another such storage, in a process of its own.

    deltalake's `restore`, by which a run is undone, holds Python's lock while it waits for an
    answer: a storage in the same process could never give it.
    """
    with subprocess.Popen(
        [sys.executable, "-c", _FAR_STORAGE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # a line a request
        text=True,
    ) as server:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
        server.kill()


@pytest.fixture
def far_bucket(far_s3: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty bucket there, as `s3://<name>`; this process finds it in its environment."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL", far_s3)
    name = f"herd-{uuid.uuid4().hex[:8]}"
    boto3.client("s3", endpoint_url=far_s3).create_bucket(Bucket=name)
    return f"s3://{name}"
