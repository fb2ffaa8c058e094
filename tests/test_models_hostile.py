"""Model folders from somebody else: no code, no question, no file elsewhere, no size that cannot be."""

import json
import sys

import pytest
import timm
import torch
import transformers
from safetensors.torch import save_file

from reid.errors import InputError
from reid.models import load_model
from reid.models.checkpoint import save_checkpoint
from reid.models.limits import check_object, file_name
from reid.models.networks import FeatureNetwork

HALF = (0.5, 0.5, 0.5)
EVIL = """
import pathlib
pathlib.Path({marker!r}).touch()
from transformers import PretrainedConfig, PreTrainedModel
class Config(PretrainedConfig):
    model_type = "evil"
class Model(PreTrainedModel):
    config_class = Config
"""
AUTO_MAP = {
    "AutoConfig": "evil.Config",
    "AutoModel": "evil.Model",
    "AutoModelForCausalLM": "evil.Model",
}


@pytest.fixture(autouse=True)
def _no_question(monkeypatch, tmp_path):
    """Nobody is asked, and no answer is taken from wherever."""
    from huggingface_hub import constants
    from transformers import dynamic_module_utils

    def asked(*_):
        raise AssertionError("a question was asked")

    monkeypatch.setattr("builtins.input", asked)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])


def write(folder, config):
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(EVIL.format(marker=str(folder / "code has run")))
    save_file({"a": torch.zeros(1)}, folder / "model.safetensors")
    return str(folder)


VIT = {"model_type": "vit", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
       "intermediate_size": 32, "image_size": 32, "patch_size": 8}  # fmt: skip
INNER = {"model_type": "evil", "auto_map": AUTO_MAP}
JOINED = ["encoder-decoder", "vision-encoder-decoder", "speech-encoder-decoder"]


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "unheard-of", "auto_map": AUTO_MAP},
        {"auto_map": AUTO_MAP},
        {"model_type": 3, "auto_map": AUTO_MAP},
        {"model_type": "vit", "nested": [{"deep": INNER}]},
        *({"model_type": kind, "auto_map": AUTO_MAP} for kind in JOINED),
        *({"model_type": kind, "encoder": VIT, "decoder": INNER} for kind in JOINED),
        *({"model_type": kind, "encoder": INNER, "decoder": VIT} for kind in JOINED),
        {"model_type": "vision-text-dual-encoder", "vision_config": INNER, "text_config": INNER},
        {"model_type": "rag", "question_encoder": INNER, "generator": INNER},
        {"model_type": "llava", "vision_config": INNER, "text_config": INNER, "auto_map": AUTO_MAP},
    ],
)
def test_code_of_a_folder_is_never_run_without_trust(tmp_path, config):
    folder = tmp_path / "model"
    with pytest.raises(InputError, match=r"runs Python code.*embed\.trust_remote_code"):
        load_model(write(folder, config))
    assert not (folder / "code has run").exists()


def test_a_joined_network_without_code_is_an_error_and_no_question(tmp_path):
    folder = tmp_path / "model"
    config = {"model_type": "vision-encoder-decoder", "encoder": VIT, "decoder": VIT}
    with pytest.raises(InputError):
        load_model(write(folder, config))


def test_an_auto_map_beside_a_network_of_transformers_is_not_looked_at(tmp_path):
    folder = tmp_path / "vit"
    torch.manual_seed(0)
    transformers.ViTModel(transformers.ViTConfig(**VIT)).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": AUTO_MAP}))
    (folder / "evil.py").write_text(EVIL.format(marker=str(folder / "code has run")))
    (folder / "preprocessor_config.json").write_text(
        json.dumps({"size": 32, "image_mean": HALF, "image_std": HALF, "resample": 2})
    )
    assert load_model(str(folder)).dimension == 16
    assert not (folder / "code has run").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("../evil.Model", "is no <file>.<class>"),
        ("evil", "is no <file>.<class>"),
        ("/tmp/evil.Model", "is no <file>.<class>"),
        (["evil.Model"], "is no name of a class"),
        (3, "is no name of a class"),
    ],
)
def test_code_lies_in_the_folder(tmp_path, target, message):
    folder = write(tmp_path / "m", {"model_type": "x", "auto_map": {"AutoModel": target}})
    with pytest.raises(InputError, match=message):
        load_model(folder, trust_remote_code=True)


@pytest.mark.parametrize(
    ("index", "message"),
    [
        ({"weight_map": {"a": "../secret.safetensors"}}, "no name of a file in this folder"),
        ({"weight_map": {"a": "/etc/passwd"}}, "no name of a file in this folder"),
        ({"weight_map": {"a": ".."}}, "no name of a file in this folder"),
        ({"weight_map": {"a": 3}}, "no name of a file in this folder"),
        ({"weight_map": {"a": ["x"]}}, "no name of a file in this folder"),
        ({"weight_map": []}, "no 'weight_map'"),
        ({}, "no 'weight_map'"),
        ([], "an object was expected"),
    ],
)
def test_weights_lie_in_the_folder(tmp_path, index, message):
    folder = write(tmp_path / "m", {"architecture": "test_resnet"})
    (tmp_path / "m" / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(InputError, match=message):
        load_model(folder)


@pytest.mark.parametrize("pieces", ["[" * 100_000, '{"a": ' * 50_000, "{", "\xff", '{"a": NaN}'])
def test_settings_that_cannot_be_read(tmp_path, pieces):
    folder = write(tmp_path / "m", {})
    (tmp_path / "m" / "config.json").write_bytes(pieces.encode("latin-1"))
    with pytest.raises(InputError, match=r"config\.json"):
        load_model(folder)


@pytest.mark.parametrize(
    "config",
    [
        {"architecture": "test_vit", "model_args": {"img_size": 60_000}},
        {"architecture": "test_vit", "model_args": {"depth": 10**6}},
        {"architecture": "test_vit", "model_args": {"embed_dim": 10**9}},
        {"architecture": "test_vit", "model_args": {"embed_dim": 60_000, "depth": 900}},
        {"architecture": "test_resnet", "num_classes": 10**9},
        {"architecture": "test_resnet", "pretrained_cfg": {"input_size": [3, 60_000, 60_000]}},
        {"architecture": "test_resnet", "pretrained_cfg": {"input_size": 224}},
        {"architecture": "test_resnet", "pretrained_cfg": 7},
        {"architecture": "test_resnet", "model_args": [1]},
        {"architecture": "test_resnet", "pretrained_cfg": {"custom_load": True}},
        {"architecture": ["test_resnet"]},
        {"architecture": "hf-hub:somebody/evil"},
        {**VIT, "num_hidden_layers": 10**9},
        {**VIT, "hidden_size": 10**9},
        {**VIT, "image_size": 60_000},
        {**VIT, "hidden_size": 65_536, "num_hidden_layers": 500},
        {**VIT, "hidden_size": -16},
        {**VIT, "hidden_size": "x"},
        {**VIT, "use_pretrained_backbone": True},
    ],
)
def test_sizes_that_cannot_be_are_refused_before_anything_is_built(tmp_path, config):
    with pytest.raises(InputError, match="model"):
        load_model(write(tmp_path / "model", config))


def test_an_adapter_is_not_put_on_a_network_from_elsewhere(tmp_path):
    folder = write(tmp_path / "m", VIT)
    (tmp_path / "m" / "adapter_config.json").write_text('{"base_model_name_or_path": "../x"}')
    with pytest.raises(InputError, match="adapter"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input_size": 60_000}, "input_size: .* over the limit of 4,096"),
        ({"input_size": 0}, "input_size: 0; a whole number from 1"),
        ({"input_size": 64.5}, "a whole number from 1"),
        ({"input_size": True}, "a whole number from 1"),
        ({"dimension": -1}, "dimension: -1; a whole number"),
        ({"dimension": 63}, "dimension 63, and the network gives"),
        ({"embedding_dim": 10**6}, "over the limit|do not belong together|a whole number"),
        ({"embedding_dim": "x"}, "embedding_dim: 'x'"),
        ({"mean": [0.5, 0.5]}, "mean: .* three numbers"),
        ({"mean": "abc"}, "mean: 'abc'"),
        ({"std": [0.5, 0.0, 0.5]}, "std: .* above 0"),
        ({"std": None}, "std: None"),
        ({"interpolation": 3}, "interpolation: 3 is no text"),
        ({"interpolation": "nearest"}, "interpolation 'nearest'"),
        ({"architecture": []}, r"architecture: \[\] is no text"),
        ({"architecture": "resnet152"}, "do not belong together|does not fit"),
        ({"pooling": "sum"}, "unknown pooling"),
        ({"format": True}, "format True"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_checkpoint_that_says_what_cannot_be(tmp_path, change, message):
    torch.manual_seed(0)
    backbone = timm.create_model("test_resnet", num_classes=0)
    folder = str(tmp_path / "c")
    save_checkpoint(
        folder, FeatureNetwork(backbone, "test_resnet"), input_size=64, mean=HALF, std=HALF,
        interpolation="bicubic",
    )  # fmt: skip
    assert load_model(folder).input_size == 64
    settings = json.loads((tmp_path / "c" / "model.json").read_text())
    (tmp_path / "c" / "model.json").write_text(json.dumps(settings | change))
    with pytest.raises(InputError, match=message):
        load_model(folder)


def test_names_of_files() -> None:
    assert file_name("model-00001-of-2.safetensors", "x") == "model-00001-of-2.safetensors"
    for name in ("", "a/b", "a\\b", "..", ".", "a\0", None, 3):
        with pytest.raises(InputError, match="no name of a file"):
            file_name(name, "x")


def test_bounds_of_numbers() -> None:
    check_object({"layers": 48, "image_size": [518, 518], "x": [1.5, True, None, "y"]}, "p")
    for content in ({"depths": [2, 9999]}, {"a": {"num_layers": 5000}}, {"x": float("inf")}, []):
        with pytest.raises(InputError, match=r"^p: "):
            check_object(content, "p")
