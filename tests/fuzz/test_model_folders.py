"""A model folder from anybody: a network that gives features, or a ReidError."""

import contextlib
import copy
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import ReidError
from reid.models import load_model
from reid.models.checkpoint import save_checkpoint
from reid.models.networks import FeatureNetwork
from tests.fuzz.examples import fuzzed

pytestmark = [
    pytest.mark.fuzz,
    # Of what timm, transformers and torch say on the way; this is about how it ends.
    pytest.mark.filterwarnings("ignore"),
]

HALF = (0.5, 0.5, 0.5)
ODD = st.sampled_from(
    [
        None, True, False, -1, 0, 1, 2, 7, 60_000, 2**31, 10**12, 10**400, 0.0, 0.5, -1.5, 1e308, float("nan"),
        float("inf"), "", "auto", "x", "../x", "/etc/passwd", "\0", "vit", "test_resnet", "test_vit", "hf-hub:a/b",
        "encoder-decoder", "vision-encoder-decoder", "timm_backbone", "timm_wrapper", "llava", "clip", "dinov2",
        "evil.Model", "gelu", "gem", "batchnorm", "bicubic", "nearest", "float16", [], {}, [3, 64, 64],
        [[[]]], ["x"], [0.5, 0.5, 0.5], [-1, -1, -1], {"model_type": "evil", "auto_map": {"AutoModel": "evil.Model"}},
        {"AutoModel": "evil.Model"}, {"AutoConfig": ["evil"]}, {"a": "../x"}, {"height": 60_000, "width": 3},
    ]
)  # fmt: skip
VALUES = st.recursive(
    ODD | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=4,
)  # fmt: skip
KEYS = st.sampled_from(
    ["model_type", "auto_map", "architecture", "architectures", "model_args", "pretrained_cfg", "num_classes",
     "input_size", "image_size", "hidden_size", "num_hidden_layers", "patch_size", "fixed_input_size", "url", "file",
     "custom_load", "weight_map", "size", "crop_size", "do_center_crop", "do_normalize", "image_mean", "resample",
     "mean", "std", "interpolation", "pooling", "neck", "embedding_dim", "dimension", "format", "dtype",
     "quantization_config", "encoder", "decoder", "backbone", "use_pretrained_backbone", "global_pool", "first_conv",
     "classifier", "hf_hub_id", "labels", "label_names", "num_features", "torch_dtype", "hidden_act", "id2label"]
)  # fmt: skip
FILES = ("config.json", "model.json", "preprocessor_config.json", "model.safetensors",
         "model.safetensors.index.json", "pytorch_model.bin", "generation_config.json", "adapter_config.json")  # fmt: skip


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One good folder of each kind."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    timm.models.save_for_hf(
        timm.create_model("test_resnet", num_classes=5),
        str(folder / "timm"),
        safe_serialization=True,
    )
    backbone = timm.create_model("test_vit", num_classes=0)
    save_checkpoint(
        str(folder / "checkpoint"), FeatureNetwork(backbone, "test_vit"), input_size=160, mean=HALF, std=HALF,
        interpolation="bicubic",
    )  # fmt: skip
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, image_size=32, patch_size=8
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(folder / "transformers")
    processor = {
        "size": {"height": 32, "width": 32},
        "image_mean": HALF,
        "image_std": HALF,
        "resample": 2,
    }
    (folder / "transformers" / "preprocessor_config.json").write_text(json.dumps(processor))
    return {name: folder / name for name in ("timm", "checkpoint", "transformers")}


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No network, no question."""
    from huggingface_hub import constants
    from transformers import dynamic_module_utils

    def asked(*_: object) -> None:
        raise AssertionError("a question was asked")

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value in a JSON document."""
    found = [path]
    if isinstance(value, dict):
        for key, item in value.items():
            found += places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            found += places(item, (*path, number))
    return found


def changed_json(draw: st.DrawFn, text: str) -> str:
    """A document with some values replaced, taken out, or put in."""
    content = json.loads(text)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(places(content)))
        content = copy.deepcopy(content)
        if not path:
            if isinstance(content, dict):
                content[draw(KEYS)] = draw(VALUES)
            else:
                content = draw(VALUES)
            continue
        where = content
        for part in path[:-1]:
            where = where[part]
        if draw(st.booleans()):
            where[path[-1]] = draw(VALUES)
        elif isinstance(where[path[-1]], dict):
            where[path[-1]][draw(KEYS)] = draw(VALUES)
        elif isinstance(where, dict):
            del where[path[-1]]
    return json.dumps(content)


def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes changed in front, where headers are, or cut off."""
    found = bytearray(data)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, min(len(found), 2000)))
        if draw(st.booleans()):
            found[place : place + 1] = draw(st.binary(min_size=1, max_size=3))
        else:
            del found[place : place + draw(st.integers(1, 5000))]
    return bytes(found)


def spoil(draw: st.DrawFn, folder: Path) -> None:
    for _ in range(draw(st.integers(1, 2))):
        file = folder / draw(st.sampled_from(FILES))
        try:
            text = file.read_text() if file.suffix == ".json" and file.is_file() else None
        except UnicodeDecodeError:
            text = None
        how = draw(st.sampled_from(["json", "json", "json", "damage", "remove", "new"]))
        if how == "json" and text:
            try:
                file.write_text(changed_json(draw, text))
            except (json.JSONDecodeError, RecursionError):
                continue
        elif how == "damage" and file.is_file():
            file.write_bytes(damaged(draw, file.read_bytes()))
        elif how == "remove":
            file.unlink(missing_ok=True)
        elif how == "new" and not file.exists():
            file.write_text(json.dumps(draw(VALUES)))


@fuzzed
@given(data=st.data(), kind=st.sampled_from(["timm", "checkpoint", "transformers"]))
def test_model_folders(originals: dict[str, Path], data: st.DataObject, kind: str) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "model"
        shutil.copytree(originals[kind], folder)
        (folder / "evil.py").write_text("raise SystemExit('code of the folder was run')")
        spoil(data.draw, folder)
        with contextlib.suppress(ReidError):
            model = load_model(str(folder))
            assert 1 <= model.input_size <= 4096
            assert model.dimension >= 1
            assert len(model.mean) == len(model.std) == 3
