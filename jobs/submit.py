"""`reid submit`: a `reid` command as a job on a cluster; its log here, and its exit code."""

import asyncio
import difflib
import fnmatch
import logging
import os
import re
import shlex
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.common.console import print_result, say
from reid import store
from reid.config import load_config
from reid.errors import (
    InputError,
    InternalError,
    ReidError,
    StorageError,
    TooManyFailuresError,
)

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

# What a checkout holds that no job reads; .gitignore, which Ray honours too, may be another's. Patterns
# are those of .gitignore: without a slash in front they hold in every folder.
EXCLUDES = (
    ".git", ".hg", ".svn", ".venv", "venv", "node_modules", "__pycache__", ".*_cache",
    "/results", "/demo", "/benchmarks",
)  # fmt: skip
# Keys and passwords. Whatever is uploaded lies on every machine of the cluster, for whoever may use it.
SECRETS = (
    ".env", ".env.*", "*.env", ".envrc", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx",
    "*.ppk", "*.gpg", "*.asc", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", ".ssh", ".aws", ".azure",
    ".gnupg", ".kube", ".docker", ".config", ".netrc", "_netrc", ".pgpass", ".pypirc", ".npmrc", ".boto", ".s3cfg",
    ".git-credentials", "kubeconfig*", "credentials", "credentials.*", "client_secret*.json", "secrets.*", ".secrets",
    "application_default_credentials.json", "*service-account*.json", "*service_account*.json",
    "auth_token", ".ray",
)  # fmt: skip
# A folder that holds all files of one of these is what a job wrote, however it was called.
OUTPUTS = (
    ("summary.json", "config.yaml"),
    ("annotations.parquet", "config.yaml"),
    ("annotations/_delta_log",),
    ("_delta_log",),
    ("recipe.json",),
    ("finetune.json", "config.yaml"),
)
LOOK_FOR_OUTPUTS = 3  # levels below the working directory
CHATTY = (
    "ray.dashboard.modules.job.sdk",
    "ray.dashboard.modules.dashboard_sdk",
    "ray._private.runtime_env",
)
NAME = "reid_name"  # key of a job's metadata
SECONDS_BETWEEN_TRIES = 1.0
TRIES = 30  # for as many seconds the head may be out of reach
SIGNALS_ABOVE = 128  # exit codes of a shell whose command was killed
ERRORS = {
    error.exit_code: error
    for error in (InputError, TooManyFailuresError, StorageError, InternalError)
}


class StoppedWatchingError(ReidError):
    """Ctrl-C while the log was shown; the job goes on."""

    exit_code = 130


def submit(
    command: str,
    arguments: Sequence[str],
    *,
    commands: Sequence[str],
    address: str | None = None,
    config: str | None = None,
    working_dir: str | None = ".",
    env: Sequence[str] = (),
    name: str | None = None,
    wait: bool = True,
) -> None:
    """Run a `reid` command on a cluster, show its log, and end as it ended.

    Args:
        command: one of `commands`.
        arguments: the command's own.
        commands: those that there are.
        address: the cluster's job server, `http://head:8265`, or what `ray.init` takes; None:
            RAY_API_SERVER_ADDRESS, RAY_ADDRESS, or the cluster that runs on this machine.
        config: YAML file of settings, inside the working directory or on object storage.
        working_dir: what the job sees as its working directory; None uploads nothing.
        env: KEY=VALUE for the job's processes. Whoever may see the cluster's dashboard sees them.
        name: no second job of this name runs at the same time; one that runs is followed instead.
        wait: follow the job to its end; otherwise print its id.

    Raises:
        InputError: the command, the settings or the token is wrong, or the job ended with 1.
        TooManyFailuresError: the job ended with 2.
        StorageError: the cluster cannot be reached or was lost, the job was killed or ended with 3.
    """
    entrypoint = [*_entrypoint(command, commands), *arguments]
    if config is not None:
        entrypoint += ["--config", _config_on_cluster(config, working_dir)]
    runtime_env: dict[str, Any] = {"env_vars": _variables(env)}
    if working_dir is not None:
        if not Path(working_dir).is_dir():
            raise InputError(f"--working-dir: {working_dir} is not a folder")
        runtime_env |= {"working_dir": working_dir, "excludes": _excludes(Path(working_dir))}
    with _reaching(address):
        client = _connect(address)
        running = _running(client, name) if name else None
        job = running or client.submit_job(
            entrypoint=shlex.join(entrypoint),
            runtime_env=runtime_env,
            submission_id=new_job_id(command, name),
            metadata={NAME: name} if name else {},
        )
    at = f"--address {client.get_address()}"
    hints = f"Follow it: ray job logs --follow {at} {job}. Stop it: ray job stop {at} {job}"
    try:
        if running:
            say(f"submit: job {job} of the name {name} is still running; no second one is started")
        else:
            say(f"submit: {shlex.join(entrypoint)} is job {job} at {client.get_address()}")
        if wait:
            _end_as(job, asyncio.run(_follow(client, job)))
        else:
            print_result(job)
            say(hints)
    except KeyboardInterrupt:
        raise StoppedWatchingError(
            f"no longer watching job {job}, which goes on. {hints}"
        ) from None


def _entrypoint(command: str, commands: Sequence[str]) -> list[str]:
    if command not in commands:
        near = difflib.get_close_matches(command, commands, 1)
        guess = f"did you mean {near[0]}? " if near else ""
        raise InputError(
            f"submit: unknown command {command!r}; {guess}known: {', '.join(commands)}"
        )
    return ["python", "-m", "jobs", command]


def _excludes(working_dir: Path) -> list[str]:
    """What is not uploaded, in the patterns of .gitignore."""
    found = [f"/{folder.as_posix()}" for folder in _outputs(working_dir, working_dir, 1)]
    return [*EXCLUDES, *SECRETS, *found]


def _outputs(top: Path, folder: Path, level: int) -> list[Path]:
    """Folders of earlier results, relative to `top`."""
    found: list[Path] = []
    try:
        inside = [entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:  # Ray, which reads it next, says what is wrong with it
        return found
    for entry in sorted(inside, key=lambda one: one.name):
        below = Path(entry.path)
        if any(all((below / name).exists() for name in names) for names in OUTPUTS):
            found.append(below.relative_to(top))
        elif level < LOOK_FOR_OUTPUTS and not _is_left_out(below.relative_to(top), ()):
            found += _outputs(top, below, level + 1)
    return found


def _is_left_out(file: Path, outputs: Sequence[Path]) -> bool:
    """Whether a path below the working directory is not uploaded."""
    if any(file.is_relative_to(folder) for folder in outputs):
        return True
    for pattern in (*EXCLUDES, *SECRETS):
        parts = file.parts[:1] if pattern.startswith("/") else file.parts
        if any(fnmatch.fnmatchcase(part, pattern.removeprefix("/")) for part in parts):
            return True
    return False


def _config_on_cluster(config: str, working_dir: str | None) -> str:
    """The path by which the job finds its settings; a local file is checked before it is uploaded."""
    if store.is_remote(config):
        return config
    load_config(config)
    inside = Path(working_dir or ".").resolve()
    file = Path(config).resolve()
    seen = working_dir is not None and file.is_relative_to(inside)
    if not seen or _is_left_out(file.relative_to(inside), _outputs(inside, inside, 1)):
        raise InputError(
            f"--config {config}: this file is not uploaded; put it into the folder that is "
            f"(--working-dir {working_dir or '.'}, without {', '.join(EXCLUDES)}, earlier results and keys), "
            "or on object storage"
        )
    return file.relative_to(inside).as_posix()


def _variables(env: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in env]
    for text, (key, equals, _) in zip(env, pairs, strict=True):
        if not (key and equals):
            raise InputError(f"--env {text}: write KEY=VALUE")
    return {key: value for key, _, value in pairs}


def _connect(address: str | None) -> "JobSubmissionClient":
    from ray.job_submission import JobSubmissionClient

    for logger in CHATTY:  # they set their levels when they are imported
        logging.getLogger(logger).setLevel(logging.ERROR)
    # In Ray the environment wins over an argument; here what was asked for wins.
    with _environment({"RAY_API_SERVER_ADDRESS": address} if address else {}):
        return JobSubmissionClient(address)


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {key: os.environ.get(key) for key in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for key, value in before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


@contextmanager
def _reaching(address: str | None) -> Iterator[None]:
    """What Ray raises on the way to a cluster, as our own errors.

    Raises:
        InputError: the token is missing or wrong, or the folder cannot be uploaded.
        StorageError: the cluster cannot be reached, or refuses the job.
    """
    if {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(os.environ):
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # Ray reads it once, on import
    from ray.exceptions import AuthenticationError, RayError

    try:
        yield
    except AuthenticationError as error:
        reason = re.split(r"\n|\.* Ensure", str(error))[0]  # what follows is about servers
        raise InputError(
            f"submit: {reason}. Set RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH to the cluster's token"
        ) from error
    except ValueError as error:
        raise InputError(f"submit: {error}") from error
    except (OSError, RuntimeError, RayError) as error:
        raise StorageError(
            f"submit: no job could be started at {address or 'the cluster of this environment'}: {error}"
        ) from error


def new_job_id(command: str, name: str | None) -> str:
    """An id for a job that says what it is: `reid-identify-nightly-20260501T020000-3f9a1c`.

    Args:
        command: of reid.
        name: that the job goes by; letters, digits, `_` and `-` of it are kept, as the id is part of names of files.
    """
    called = re.sub(r"[^A-Za-z0-9_-]+", "-", name or "")[:40].strip("-")
    words = [word for word in (command, called) if word]
    return f"reid-{'-'.join(words)}-{time.strftime('%Y%m%dT%H%M%S')}-{uuid.uuid4().hex[:6]}"


def _running(client: "JobSubmissionClient", name: str) -> str | None:
    """The job of this name that has not ended."""
    for details in client.list_jobs():
        if (details.metadata or {}).get(NAME) == name and not details.status.is_terminal():
            return str(details.submission_id)
    return None


async def _follow(client: "JobSubmissionClient", job: str) -> "JobDetails":
    """Print the log until the job has ended, again from where it was if the connection breaks.

    Raises:
        StorageError: the cluster stays out of reach.
    """
    import aiohttp

    shown = failed = 0
    while True:
        try:
            seen = 0  # a new connection begins at the start of the log
            async for text in client.tail_job_logs(job):
                print(text[max(0, shown - seen) :], end="", flush=True)  # noqa: T201
                seen += len(text)
                shown = max(shown, seen)
            details = client.get_job_info(job)
            if details.status.is_terminal():
                return details
            failed = 0
        except (OSError, RuntimeError, aiohttp.ClientError) as error:
            failed += 1
            if failed == TRIES:
                raise StorageError(
                    f"submit: lost the cluster at {client.get_address()} while job {job} ran: {error}"
                ) from error
        await asyncio.sleep(SECONDS_BETWEEN_TRIES)


def _end_as(job: str, details: "JobDetails") -> None:
    """Raise what the job ended with, unless it succeeded."""
    code = details.driver_exit_code
    if details.status == "SUCCEEDED":
        return
    if details.status == "STOPPED":
        raise ReidError(f"job {job} was stopped")
    if code is None:
        raise StorageError(f"job {job} did not run to its end: {details.message}")
    if code < 0 or code > SIGNALS_ABOVE:
        raise StorageError(
            f"job {job} was killed by signal {-code if code < 0 else code - SIGNALS_ABOVE}; "
            "submit it again to go on from there"
        )
    raise ERRORS.get(code, ReidError)(
        f"job {job} ended with exit code {code}; its log, above, says why"
    )
