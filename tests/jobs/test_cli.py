"""The `reid` command: what it says, what it imports, and how it ends."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

import reid as package
from jobs import doctor
from jobs.common.console import LOG_WIDTH
from reid.errors import StorageError
from reid.models import known_models

Reid = Callable[..., int]

COMMANDS = (
    *("run", "embed", "cluster", "report", "demo", "models", "doctor"),
    *("identify", "calibrate", "history", "undo", "export", "population", "tidy"),
)
# What makes a start slow; none of it is needed to read a help page.
HEAVY = ("torch", "ray", "numpy", "pandas", "pyarrow", "sklearn", "timm", "plotly")

SHOW_IMPORTS = """
import json, sys
from jobs.cli import run_command
try:
    run_command(None, sys.argv[1:])
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def started(*arguments: str) -> subprocess.CompletedProcess[str]:
    """A Python of its own, as a shell would start it."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    )


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_and_imports_nothing_heavy(command: str) -> None:
    ended = started("-c", SHOW_IMPORTS, *filter(None, [command]), "--help")
    assert ended.returncode == 0
    assert "Usage: reid" in ended.stdout
    imported = set(json.loads(ended.stderr.splitlines()[-1]))
    assert "jobs" in imported
    assert imported & set(HEAVY) == set()
    if not command:
        assert all(name in ended.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", ["run", "identify"])
def test_commands_are_arguments_of_the_module(command: str) -> None:
    ended = started("-m", "jobs", command, "--help")
    assert ended.returncode == 0, ended.stderr
    assert f"Usage: reid {command}" in ended.stdout


def test_the_version(reid: Reid, capsys: pytest.CaptureFixture[str]) -> None:
    assert reid("--version") == 0
    assert capsys.readouterr().out.strip() == package.__version__


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run", "cluser.eps=1"), r"cluser: unknown key; did you mean cluster? Known keys here: i"),
        (("run", "eps=1"), "eps: unknown key. Known keys here: input, out, root, store, species"),
        (("embed", "embed.batch_size=0"), "embed.batch_size: "),
        (("cluster", "cluster.eps=7"), "0 < eps < 2"),
        (("run", "-c", "nowhere.yaml"), "--config nowhere.yaml: No such file"),
        (("run",), "no input: give --input a folder, a glob"),
        (("run", "-i", "nowhere"), "--input nowhere: there is no such file or folder"),
        (("cluster", "-o", "nowhere"), "nowhere: there is no such folder; `reid run --input"),
        (("report", "-o", "nowhere"), "nowhere: there is no such folder; `reid run --input"),
        (("demo", "--species", "9"), "species: 9; choose a value from 1 to 4"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_1(
    reid: Reid,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert reid(*arguments) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == [], "and nothing was begun"


def test_debug_shows_where_it_happened(tmp_path: Path) -> None:
    arguments = ("-m", "jobs", "run", "-c", str(tmp_path / "nowhere.yaml"))
    plain = started(*arguments)
    assert (plain.returncode, "Traceback" in plain.stderr) == (1, False)
    debugged = started(*arguments, "--debug")
    assert debugged.returncode != 0
    assert "Traceback" in debugged.stderr
    assert "No such file" in debugged.stderr


def test_flags_reach_the_configuration(
    reid: Reid, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import jobs.run

    seen = []
    monkeypatch.setattr(jobs.run, "run", seen.append)
    file = tmp_path / "c.yaml"
    file.write_text("seed: 5\nspecies: ibex\nidentity_from_parent: true\n")
    assert reid(
        "run", "-c", file, "-i", "a", "-i", "b", "-o", "there", "--root", "r", "--store", "s",
        "--species", "lynx", "-m", "efficientnet-lite1,efficientnet-lite2",
        "--max-failures", "0.3", "--address", "auto", "cluster.min_samples=3", "species=okapi",
    ) == 0  # fmt: skip
    (config,) = seen
    assert (config.input, config.out, config.root, config.store) == (["a", "b"], "there", "r", "s")
    assert config.species == "okapi", "key=value has the last word"
    assert config.embed.model == ["efficientnet-lite1", "efficientnet-lite2"]
    assert (config.seed, config.max_failures, config.address) == (5, 0.3, "auto")
    assert config.identity_from_parent is True, "a flag that is not given changes nothing"
    assert config.cluster.min_samples == 3


@pytest.mark.usefixtures("local_ray")
def test_an_unknown_model_lists_the_known(
    reid: Reid,
    make_photos: Callable[..., list[Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_photos(tmp_path / "photos", range(1))
    command = ("embed", "-i", tmp_path / "photos", "-o", tmp_path / "out")
    assert reid(*command, "-m", "megadetector") == 1
    said = capsys.readouterr().err
    assert "megadetector" in said
    for spec in known_models():
        assert spec.name in said
    assert reid(*command, "embed.tta=hflop") == 1
    said = capsys.readouterr().err
    assert "unknown view 'hflop'" in said
    assert "five_crop" in said


def test_models_lists_every_name_in_full(reid: Reid, capsys: pytest.CaptureFixture[str]) -> None:
    assert reid("models") == 0
    said = capsys.readouterr().out
    for spec in known_models():
        assert f" {spec.name} " in said
        assert f" {spec.input_size} px" in said
    assert "packaged" in said
    table = said[: said.index("Also:")].splitlines()
    assert {len(line) for line in table} == {LOG_WIDTH}
    assert all(line[-1] in "┓┃┩│┘" for line in table), "nothing is cut at the edge"


def test_one_setting_is_shown_by_its_name(reid: Reid, capsys: pytest.CaptureFixture[str]) -> None:
    assert reid("settings", "cluster.eps") == 0
    said = capsys.readouterr().out
    assert "cluster.eps" in said
    assert "cluster.method" not in said
    assert reid("settings", "cluster.epps") == 1
    assert "did you mean cluster.eps?" in capsys.readouterr().err


def test_doctor_looks_at_every_part(
    reid: Reid, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # tests do not knock at the hub
    assert reid("doctor", "--no-ray") == 0
    said = capsys.readouterr().out
    for part in (
        "machine", "memory", "disk", "GPU", "JPEG decoder", "FAISS", "OpenVINO", "cuML", "Ray", "model hub",
    ):  # fmt: skip
        assert part in said
    assert "not tried" in said
    assert "HF_HUB_OFFLINE is set" in said


def test_the_doctor_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(doctor, "_installed", lambda package: None)
    advice = {one.part: (one.works, one.advice) for one in doctor.examine(start_ray=False)}
    assert advice["FAISS"] == (False, 'pip install "reid-engine[cpu]" (or [gpu])')
    assert advice["OpenVINO"][0] is False
    assert "reid-engine[cpu]" in advice["OpenVINO"][1]
    monkeypatch.setattr(doctor, "_installed", lambda package: "1.0")
    found = {finding.part: finding for finding in doctor.examine(start_ray=False)}
    assert found["FAISS"].works is False, "two owners of one import name"
    assert "uninstall both" in found["FAISS"].advice


def test_the_doctor_has_ray_do_a_task(local_ray: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (found,) = [one for one in doctor.examine() if one.part == "Ray"]
    assert found.works
    assert "did a task" in found.detail


def test_the_doctor_says_why_ray_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(address: str | None) -> None:
        raise StorageError("Ray: cannot start on this machine: no ports are left")

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(doctor, "ray_session", fails)
    (found,) = [one for one in doctor.examine() if one.part == "Ray"]
    assert not found.works
    assert "no ports are left" in found.advice


def test_a_full_disk_and_no_memory_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=1e9))
    monkeypatch.setattr(doctor, "LEAST_MEMORY", 2**60)
    found = [one for one in doctor.examine(start_ray=False) if one.part.startswith(("disk", "mem"))]
    assert [one.works for one in found] == [False] * 3
    assert "make room" in found[1].advice


def test_a_hub_that_does_not_answer_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise TimeoutError("timed out")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(doctor.socket, "create_connection", refuse)
    hub = doctor.examine(start_ray=False)[-1]
    assert (hub.part, hub.works) == ("model hub", False)
    assert "timed out" in hub.detail
    assert "reid models" in hub.advice
