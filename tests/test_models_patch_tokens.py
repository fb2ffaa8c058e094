"""Which networks have patch tokens, and that they are those of the patches alone, in float16, unscaled."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import transformers

from reid.embedder import Embedder
from reid.errors import InputError
from reid.models import LoadedModel, known_models, load_model
from reid.models.networks import FeatureNetwork, OneOutput
from reid.models.patch_tokens import TokenGrid, check_patch_tokens, with_patch_tokens
from tests.test_embedder import crops, tiny_model


def model_of(network: torch.nn.Module, size: int) -> LoadedModel:
    return replace(
        tiny_model(), module=network.eval().requires_grad_(False), input_size=size, dimension=64
    )


def normalised(model: LoadedModel, pixels: np.ndarray) -> torch.Tensor:
    mean, std = np.array(model.mean, np.float32), np.array(model.std, np.float32)
    return torch.from_numpy(
        ((pixels / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1)[None]
    )


@pytest.mark.parametrize(
    ("name", "options", "size", "first"),
    [
        ("test_vit", {}, 160, 1),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "depth": 1, "init_values": 1.0}, 56, 5),
        ("vit_base_patch16_siglip_224", {"img_size": 48, "depth": 1, "embed_dim": 96, "num_heads": 3}, 48, 0),
    ],
)  # fmt: skip
def test_tokens_of_timm_are_those_of_the_patches(
    name: str, options: dict[str, int], size: int, first: int
) -> None:
    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0, **options)
    model = model_of(network, size)
    grid = with_patch_tokens(model)[1]
    side = size // network.patch_embed.patch_size[0]
    assert grid == TokenGrid(side, network.num_features)
    embedder = Embedder([model], runtime="torch", tokens=True)
    prepared = [embedder.prepare(image) for image in crops(3)]
    rows = embedder.embed(prepared)
    assert (rows.dtype, rows.shape) == (np.float16, (3, grid.numbers))
    for row, (pixels,) in zip(rows, prepared, strict=True):
        expected = network.forward_features(normalised(model, pixels))[0, first:].numpy()
        np.testing.assert_allclose(row.reshape(side**2, -1), expected, atol=4e-3)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_batches_and_runtimes_change_nothing(runtime: str) -> None:
    torch.manual_seed(0)
    model = model_of(timm.create_model("test_vit", num_classes=0), 160)
    one = Embedder([model], runtime="torch", batch_size=1, tokens=True)
    many = Embedder([model], runtime=runtime, batch_size=4, tokens=True)  # type: ignore[arg-type]
    prepared = [one.prepare(image) for image in crops(5)]
    single = np.concatenate([one.embed([item]) for item in prepared])
    np.testing.assert_allclose(many.embed(prepared), single, atol=4e-3)


def test_checkpoints_and_networks_of_transformers_have_them_too() -> None:
    torch.manual_seed(0)
    backbone = timm.create_model("test_vit", num_classes=0)
    own = FeatureNetwork(backbone, "test_vit", neck="batchnorm", embedding_dim=8)
    assert with_patch_tokens(model_of(own, 160))[1] == TokenGrid(10, 64)
    config = transformers.Dinov2WithRegistersConfig(
        image_size=56, patch_size=14, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_register_tokens=3,
    )  # fmt: skip
    network = transformers.Dinov2WithRegistersModel(config)
    model = model_of(OneOutput(network), 56)
    reduced, grid = with_patch_tokens(model)
    assert grid == TokenGrid(4, 32)
    images = torch.rand(1, 3, 56, 56)
    expected = network(images).last_hidden_state[:, 4:].flatten(1)
    torch.testing.assert_close(reduced.module(images), expected)


@pytest.mark.parametrize(
    "network",
    [
        timm.create_model("test_resnet", num_classes=0),
        timm.create_model("swin_tiny_patch4_window7_224", num_classes=0, img_size=56, depths=(2, 1),
                          num_heads=(2, 4), embed_dim=24),
        OneOutput(torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten())),
        tiny_model(size=56).module,
    ],
    ids=["convolutions", "swin", "unknown", "no library's"],
)  # fmt: skip
def test_other_networks_are_refused_with_those_that_have_them(network: torch.nn.Module) -> None:
    with pytest.raises(InputError, match=r"'tiny' has no patch tokens.*dinov2-s.*timm:vit_"):
        with_patch_tokens(model_of(network, 56))


def test_tokens_are_of_one_model_and_one_view() -> None:
    model = model_of(timm.create_model("test_vit", num_classes=0), 160)
    with pytest.raises(InputError, match="of one model"):
        Embedder([model, model], runtime="torch", tokens=True)
    with pytest.raises(InputError, match="of the view identity alone"):
        Embedder([model], views=["identity", "hflip"], runtime="torch", tokens=True)


def test_what_is_known_by_name_is_refused_before_it_is_loaded() -> None:
    for spec in known_models():
        if spec.patch_tokens:
            check_patch_tokens(spec.name, spec.loader, spec.source)
        else:
            with pytest.raises(InputError, match="has no patch tokens"):
                check_patch_tokens(spec.name, spec.loader, spec.source)
    check_patch_tokens("x", "timm", "vit_tiny_patch16_224.augreg_in21k")
    check_patch_tokens("x", "timm", "no_such_network")  # loading says so
    check_patch_tokens("x", "folder", "/somewhere")
    with pytest.raises(InputError, match="has no patch tokens"):
        check_patch_tokens("x", "timm", "swin_tiny_patch4_window7_224")


def test_a_known_model_says_the_truth_of_its_tokens() -> None:
    """Of the packaged one; the others' weights are not here."""
    spec = known_models()[0]
    assert spec.patch_tokens is False
    with pytest.raises(InputError, match="has no patch tokens"):
        with_patch_tokens(load_model(spec.name))


def test_known_transformers_are_transformers_of_timm() -> None:
    for spec in known_models():
        if spec.patch_tokens:
            name = Path(spec.source).name.partition(".")[0]
            with torch.device("meta"):
                assert hasattr(timm.create_model(name, num_classes=0), "num_prefix_tokens")
