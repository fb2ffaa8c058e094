import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from ray.exceptions import ActorDiedError, RayTaskError, WorkerCrashedError

import jobs.cli
from jobs.cli.app import app
from jobs.common.endings import TERMINATED, as_reid_error
from reid.errors import InputError, InternalError, ReidError, StorageDownError, StorageError


def raised_by_a_task(cause: Exception) -> Exception:
    """As Ray hands on what a task raised."""
    return RayTaskError("f", "Traceback …", cause).as_instanceof_cause()


class UserCodeException(Exception):  # noqa: N818  as Ray Data calls it
    __module__ = "ray.data.exceptions"


class OutOfMemoryError(RuntimeError):
    """As torch calls it."""


@pytest.mark.parametrize(
    ("error", "kind", "exit_code"),
    [
        (WorkerCrashedError(), StorageError, 3),
        (ActorDiedError(), StorageError, 3),
        (raised_by_a_task(StorageDownError("no answer")), StorageDownError, 3),
        (raised_by_a_task(InputError("two boxes")), InputError, 1),
        (raised_by_a_task(OSError(28, "No space left on device")), StorageError, 3),
        (raised_by_a_task(MemoryError()), InputError, 1),
        (raised_by_a_task(OutOfMemoryError("CUDA")), InputError, 1),
        (raised_by_a_task(ZeroDivisionError("division by zero")), InternalError, 70),
        (raised_by_a_task(AssertionError()), InternalError, 70),
    ],
)
def test_what_ray_hands_on_is_the_error_that_it_was(
    error: Exception, kind: type[ReidError], exit_code: int
) -> None:
    found = as_reid_error(error, "it stopped")
    assert type(found) is kind
    assert found.exit_code == exit_code


def test_a_fault_of_ours_inside_ray_data_is_ours() -> None:
    outer = UserCodeException("the map failed")
    outer.__cause__ = KeyError("species")
    found = as_reid_error(raised_by_a_task(outer), "embedding stopped")
    assert type(found) is InternalError
    assert "embedding stopped: KeyError: 'species'; this is a fault of the program" in str(found)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "registered_commands", list(app.registered_commands))

    @app.command()
    def fail(how: str, debug: bool = False) -> None:
        """Fail."""
        errors = {
            "fault": ValueError("7 is no box"),
            "disk": OSError(28, "No space left on device"),
        }
        raise errors[how]


@pytest.mark.usefixtures("failing")
@pytest.mark.parametrize(
    ("how", "code", "message"),
    [
        ("fault", 70, "error: ValueError: 7 is no box; this is a fault of the program"),
        ("disk", 3, "No space left on device; run the same command again"),
    ],
)
def test_nobody_sees_a_traceback_unasked(
    how: str, code: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        jobs.cli.run_command("fail", [how])
    assert ended.value.code == code
    shown = capsys.readouterr().err
    assert message in shown
    assert "Traceback" not in shown
    with pytest.raises((ValueError, OSError)):
        jobs.cli.run_command("fail", [how, "--debug"])


SLOW = textwrap.dedent(
    """
    import os, sys, time
    import jobs.cli
    from jobs.cli.app import app
    from reid import store

    def ready_and_busy(*_):
        print("ready", flush=True)
        time.sleep(60)

    @app.command()
    def wait(where: str, folder: str):
        try:
            if where == "ray":
                from jobs.common.session import ray_session
                import ray
                with ray_session(None):
                    running = ray.remote(lambda: time.sleep(60)).options(num_cpus=0).remote()
                    print("ready", flush=True)
                    ray.get(running)
            os.fsync = ready_and_busy
            store.write_text(folder + "/half", "in the middle of a write")
        finally:
            os.fsync = lambda _: None
            store.write_text(folder + "/closed", "")

    jobs.cli.run_command("wait", sys.argv[1:])
    """
)


@pytest.mark.parametrize("where", ["plain", "ray"])
def test_a_scheduler_may_ask_it_to_end(where: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, where, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    ) as job:
        assert job.stdout is not None
        assert job.stderr is not None
        assert job.stdout.readline() == "ready\n"
        job.send_signal(signal.SIGTERM)
        said = job.stderr.read()
        assert job.wait() == TERMINATED == 143
    assert "stopped; run the same command again to go on from here" in said
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["closed"], "nothing half written"
