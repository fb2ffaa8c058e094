"""The cluster configurations, against Ray's own schema, KubeRay's fields and what they promise."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import typer
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from jobs.catalogue.gauges import HELP
from jobs.cli import app
from jobs.common.counters import COUNTERS
from reid import __version__
from reid.errors import InputError, InternalError, StorageError, TooManyFailuresError

CONFIGS = Path(__file__).parents[2] / "cluster_configs"
PROJECT = CONFIGS.parent
RAY_UP = sorted(CONFIGS.glob("*.yaml"))
CLOUDS = [path for path in RAY_UP if path.name in ("aws-gpu.yaml", "gcp-gpu.yaml")]
KUBERAY = sorted((CONFIGS / "kuberay").glob("*.yaml"))
CLUSTERS = [path for path in KUBERAY if path.name in ("raycluster.yaml", "rayjob.yaml")]
SCHEMA = json.loads(Path(__file__).with_name("kuberay.schema.json").read_text(encoding="utf-8"))
TOKEN = "/home/ray/.ray/auth_token"


def read(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


def by_name(path: Path) -> str:
    return path.name


def cluster_spec(path: Path) -> dict[str, Any]:
    """Of a RayCluster, or of the one that a RayJob starts."""
    spec = dict(read(path)["spec"])
    return dict(spec.get("rayClusterSpec", spec))


def pods(path: Path) -> Iterator[dict[str, Any]]:
    """Every pod template of a KubeRay file."""
    document = read(path)
    if document["kind"] == "CronJob":
        yield document["spec"]["jobTemplate"]["spec"]["template"]
        return
    spec = cluster_spec(path)
    yield spec["headGroupSpec"]["template"]
    for group in spec["workerGroupSpecs"]:
        yield group["template"]


def test_alerts_and_the_dashboard_ask_for_what_there_is() -> None:
    folder = CONFIGS / "monitoring"
    (group,) = read(folder / "alerts.yaml")["groups"]
    asked = [rule["expr"] for rule in group["rules"]]
    dashboard = json.loads((folder / "dashboard.json").read_text(encoding="utf-8"))
    asked += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    asked += [one["query"] for one in dashboard["templating"]["list"]]
    there = {f"reid_catalogue_{name}" for name in HELP}
    there |= {f"ray_reid_{name}_total" for name in COUNTERS}
    named = {name for one in asked for name in re.findall(r"\b(?:ray_)?reid_\w+", one)}
    assert named == there, "all that is offered is shown, and nothing else"
    labels = {"catalogue", "species", "decision", "stage", "outcome"}
    for one in asked:
        assert {*re.findall(r"(\w+)=~?\"", one)} <= labels
    assert len(group["rules"]) > 3


def test_all_files_are_looked_at() -> None:
    assert [path.name for path in RAY_UP] == [
        "aws-gpu.yaml", "gcp-gpu.yaml", "local.yaml", "on-prem.yaml"
    ]  # fmt: skip
    assert [path.name for path in KUBERAY] == ["nightly.yaml", "raycluster.yaml", "rayjob.yaml"]
    guide = (CONFIGS / "README.md").read_text(encoding="utf-8")
    for path in [*RAY_UP, *KUBERAY, CONFIGS / "Dockerfile"]:
        assert path.relative_to(CONFIGS).as_posix() in guide


# ── ray up ────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", RAY_UP, ids=by_name)
def test_ray_up_accepts_the_file(path: Path) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler/ray-schema.json").read_text())
    jsonschema.validate(read(path), schema)
    validate_config(prepare_config(read(path)))


@pytest.mark.parametrize("path", RAY_UP, ids=by_name)
def test_the_check_finds_a_misspelt_key(path: Path) -> None:
    broken = read(path) | {"max_wrokers": 3}
    with pytest.raises(jsonschema.ValidationError, match="max_wrokers"):
        validate_config(prepare_config(broken))


def has_gpu(machine: dict) -> bool:
    """Whether a machine has a GPU: by AWS's families of instances, or by Google's accelerators."""
    return "guestAccelerators" in machine or machine.get("InstanceType", "")[:1] in ("g", "p")


@pytest.mark.parametrize("path", CLOUDS, ids=by_name)
def test_cloud_heads_have_no_gpu_and_workers_start_from_none(path: Path) -> None:
    config = prepare_config(read(path))
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"] == {"CPU": 0, "GPU": 0}
    assert "--num-cpus=0 --num-gpus=0" in config["head_start_ray_commands"][-1]
    assert types["gpu"]["resources"]["GPU"] == 1
    assert not has_gpu(head["node_config"])
    assert has_gpu(types["gpu"]["node_config"])
    for worker in types.values():
        assert worker["min_workers"] == 0
        assert 0 < worker["max_workers"] <= config["max_workers"]
    assert not config["setup_commands"], (
        "the image has it all; Ray's default installs a nightly Ray"
    )


@pytest.mark.parametrize("path", CLOUDS, ids=by_name)
def test_cloud_clusters_ask_for_the_token(path: Path) -> None:
    config = read(path)
    assert config["file_mounts"] == {TOKEN: "~/.ray/auth_token"}
    options = config["docker"]["run_options"]
    assert "--env RAY_AUTH_MODE=token" in options
    assert f"--env RAY_AUTH_TOKEN_PATH={TOKEN}" in options


def test_own_machines_ask_for_the_token_too() -> None:
    for name in ("local.yaml", "on-prem.yaml"):
        config = read(CONFIGS / name)
        starts = config["head_start_ray_commands"] + config["worker_start_ray_commands"]
        started = [command for command in starts if "ray start" in command]
        assert started
        for command in started:
            assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.ray/auth_token ray start" in command
    head = read(CONFIGS / "on-prem.yaml")["head_start_ray_commands"][-1]
    assert "--num-gpus=0" in head


@pytest.mark.parametrize("name", ["local.yaml", "on-prem.yaml"])
def test_own_machines_start_ray_from_the_project_alone(name: str, tmp_path: Path) -> None:
    config = read(CONFIGS / name)
    ray = tmp_path / "bin" / "ray"
    ray.parent.mkdir()
    ray.write_text('#!/bin/sh\necho "$1" >> "$HOME/called"\n')
    ray.chmod(0o755)
    environment = {"HOME": str(tmp_path), "PATH": f"{ray.parent}:{os.environ['PATH']}"}

    def started() -> list[str]:
        called = tmp_path / "called"
        called.unlink(missing_ok=True)
        for command in config["head_start_ray_commands"]:
            subprocess.run(
                ["bash", "-c", command], env=environment, capture_output=True, check=False
            )
        return called.read_text().split() if called.exists() else []

    assert started() == [], "there is no project here, and another Ray must not be started"
    activate = tmp_path / "reid-engine" / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.touch()
    assert started() == ["stop", "start"]


# ── KubeRay ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("path", KUBERAY, ids=by_name)
def test_kubernetes_knows_every_field(path: Path) -> None:
    jsonschema.validate(read(path), SCHEMA)


@pytest.mark.parametrize("path", KUBERAY, ids=by_name)
def test_the_schema_is_closed(path: Path) -> None:
    """A misspelt field at any depth is found."""
    validator = jsonschema.Draft7Validator(SCHEMA)

    def places(node: Any) -> Iterator[dict[str, Any]]:
        for key, child in node.items() if isinstance(node, dict) else enumerate(node):
            if key in ("rayStartParams", "limits", "requests"):
                continue  # names of the user's choice
            if isinstance(child, dict):
                yield child
            if isinstance(child, dict | list):
                yield from places(child)

    document = json.loads(json.dumps(read(path)))  # no shared parts, as YAML's aliases make them
    found = [document, *places(document)]
    assert len(found) > 10
    for place in found:
        place["misspelt"] = 1
        assert not validator.is_valid(document), place
        del place["misspelt"]
    assert validator.is_valid(document)


@pytest.mark.parametrize("path", CLUSTERS, ids=by_name)
def test_kuberay_heads_have_no_gpu_and_workers_start_from_none(path: Path) -> None:
    spec = cluster_spec(path)
    assert spec["enableInTreeAutoscaling"]
    assert spec["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0", "num-gpus": "0"}
    head, *workers = pods(path)
    assert "nvidia.com/gpu" not in json.dumps(head)
    gpus = {}
    for group, pod in zip(spec["workerGroupSpecs"], workers, strict=True):
        assert group["replicas"] == group["minReplicas"] == 0 < group["maxReplicas"]
        limits = pod["spec"]["containers"][0]["resources"]["limits"]
        gpus[group["groupName"]] = limits.get("nvidia.com/gpu")
    assert gpus == {"gpu": "1", "cpu": None}


def test_a_job_brings_the_same_cluster_as_the_one_that_stays() -> None:
    one, other = map(cluster_spec, CLUSTERS)
    assert one == other


@pytest.mark.parametrize("path", CLUSTERS, ids=by_name)
def test_kuberay_clusters_ask_for_the_token(path: Path) -> None:
    spec = cluster_spec(path)
    assert spec["authOptions"] == {"mode": "token", "secretName": "reid-token"}
    assert spec["rayVersion"] == pinned()["ray"]


@pytest.mark.parametrize("path", KUBERAY, ids=by_name)
def test_pods_have_no_more_rights_than_they_need(path: Path) -> None:
    for pod in pods(path):
        assert pod["spec"]["securityContext"]["runAsNonRoot"]
        assert pod["spec"]["serviceAccountName"] == "reid"
        for container in pod["spec"]["containers"]:
            rights = container["securityContext"]
            assert rights == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}


def test_nights_do_not_overlap_and_only_trouble_is_tried_again() -> None:
    spec = read(CONFIGS / "kuberay/nightly.yaml")["spec"]
    assert spec["concurrencyPolicy"] == "Forbid"
    job = spec["jobTemplate"]["spec"]
    pod = job["template"]["spec"]
    (container,) = pod["containers"]
    assert container["command"][:2] == ["reid", "submit"]
    assert "--name=nightly" in container["args"]
    assert "--no-wait" not in container["args"], "the pod's time is the job's time"
    assert pod["restartPolicy"] == "Never"
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert set(rule["onExitCodes"]["values"]) == {
        InputError.exit_code, TooManyFailuresError.exit_code, InternalError.exit_code
    }  # fmt: skip
    assert StorageError.exit_code not in rule["onExitCodes"]["values"]
    address = f"--address=http://{read(CONFIGS / 'kuberay/raycluster.yaml')['metadata']['name']}-head-svc:8265"
    assert address in container["args"]


# ── What all share ────────────────────────────────────────────────────────────────────────────────


def test_commands_and_their_flags_exist() -> None:
    entrypoint = shlex.split(read(CONFIGS / "kuberay/rayjob.yaml")["spec"]["entrypoint"])
    nightly = read(CONFIGS / "kuberay/nightly.yaml")["spec"]["jobTemplate"]["spec"]["template"]
    submitted = nightly["spec"]["containers"][0]
    commands = typer.main.get_group(app).commands
    reid, command, *arguments = entrypoint
    assert reid == "reid"
    commands[command].make_context(command, arguments)
    commands["submit"].make_context("submit", [*submitted["command"][2:], *submitted["args"]])
    assert submitted["command"][2] in commands


@pytest.mark.parametrize("path", [*CLOUDS, *KUBERAY], ids=by_name)
def test_one_image_of_this_version(path: Path) -> None:
    images = set(re.findall(r"image: (?:&\w+ )?(registry\S+)", path.read_text(encoding="utf-8")))
    assert images == {f"registry.example.org/reid-engine:{__version__}"}


@pytest.mark.parametrize("path", [p for p in CONFIGS.rglob("*") if p.is_file()], ids=by_name)
def test_no_file_holds_a_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"AKIA[0-9A-Z]{16}|-----BEGIN|\b[0-9a-f]{40,}\b", text)
    assert not re.search(
        r"(?i)(token|secret|password|access_key)\w*\s*[:=]\s*['\"]?[A-Za-z0-9+/]{20,}", text
    )


# ── The image ─────────────────────────────────────────────────────────────────────────────────────


def pinned() -> dict[str, str]:
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows them, continued lines joined."""
    text = (CONFIGS / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    return [
        (word, rest.strip()) for word, _, rest in (line.partition(" ") for line in lines) if word
    ]


def test_the_image_is_built_from_pinned_parts() -> None:
    (base,) = [rest for word, rest in instructions() if word == "FROM"]
    version = re.fullmatch(r"python:(\d+)\.(\d+)\.\d+-slim-\w+", base)
    assert version, "a whole version and a named release"
    assert (3, 11) <= (int(version[1]), int(version[2])) <= (3, 13)
    installs = [rest for word, rest in instructions() if word == "RUN" and "pip install" in rest]
    assert installs
    for line in installs:
        assert "-c constraints.txt" in line or "--no-deps" in line


def test_the_image_runs_as_nobody_special() -> None:
    words = [word for word, _ in instructions()]
    users = [rest for word, rest in instructions() if word == "USER"]
    assert users == ["ray"]
    assert set(words[words.index("USER") :]) == {"USER", "WORKDIR", "CMD"}
    (created,) = [rest for word, rest in instructions() if "useradd" in rest]
    uid = re.search(r"--uid (\d+)", created)
    assert uid
    for path in KUBERAY:
        for pod in pods(path):
            assert pod["spec"]["securityContext"]["runAsUser"] == int(uid[1])


def test_the_image_holds_the_code_and_nothing_else() -> None:
    for word, rest in instructions():
        assert word not in ("ADD", "ARG"), "nothing from elsewhere, no secret as an argument"
        if word == "COPY":
            assert not rest.startswith("--from")
            for source in rest.split()[:-1]:
                assert (PROJECT / source).exists()
    ignored = (CONFIGS / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = {line[1:] for line in ignored if line.startswith("!")}
    copied = {
        source.split("/")[0]
        for word, rest in instructions() if word == "COPY"
        for source in rest.split()[:-1]
    }  # fmt: skip
    assert "*" in ignored
    assert copied == allowed
