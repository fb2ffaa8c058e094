"""What training starts from: any network that timm can build, and a clear word about the others."""

import pytest
import timm
import torch
import transformers

from reid.errors import InputError
from reid.models.checkpoint import load_checkpoint, save_checkpoint
from reid.models.networks import FeatureNetwork
from reid.training import TrainSettings
from reid.training.network import leave_out_unused, start_from
from tests.training_toy import write_model

HALF = (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("architecture", "pooling", "expected", "width"),
    [
        ("test_efficientnet", "auto", "gem", 256),
        ("test_resnet", "avg", "avg", 96),
        ("test_vit", "auto", "model", 64),
        ("test_vit", "avg", "avg", 64),
    ],
)
def test_pooling_by_kind_of_network(tmp_path, architecture, pooling, expected, width):
    name = write_model(tmp_path / "model", architecture)
    found = start_from(TrainSettings(model=name, pooling=pooling))
    assert found.network.pooling == expected
    assert found.network.dimension == width
    images = torch.zeros(2, 3, found.input_size, found.input_size)
    assert found.network(images).shape == (2, width)
    assert all(p.requires_grad for p in found.network.parameters())


def test_average_pooling_is_the_mean_over_places():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 160, 160, generator=generator)
    for architecture, mean in (
        ("test_resnet", lambda f: f.mean(dim=(2, 3))),
        ("test_vit", lambda f: f[:, 1:].mean(dim=1)),  # the first token is the class's
    ):
        backbone = timm.create_model(architecture, num_classes=0).eval()
        network = FeatureNetwork(backbone, architecture, "avg").eval()
        with torch.inference_mode():
            torch.testing.assert_close(network(images), mean(backbone.forward_features(images)))


class _ChannelsLast(torch.nn.Module):
    num_features = 5

    def forward_features(self, images):
        return torch.arange(2 * 3 * 4 * 5.0).view(2, 3, 4, 5)


def test_average_pooling_of_features_with_channels_last():
    network = FeatureNetwork(_ChannelsLast(), "some transformer", "avg")
    expected = torch.arange(120.0).view(2, 12, 5).mean(1)
    torch.testing.assert_close(network(torch.zeros(2, 3, 8, 8)), expected)


def test_the_backbone_is_that_of_the_model(tmp_path):
    name = write_model(tmp_path / "model")
    network = start_from(TrainSettings(model=name, pooling="model")).network.eval()
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    reference = timm.create_model(f"local-dir:{name}", pretrained=True, num_classes=0).eval()
    with torch.inference_mode():
        torch.testing.assert_close(network.pooled(images), reference(images))


def test_the_same_seed_starts_alike(tmp_path):
    name = write_model(tmp_path / "model")

    def projection(seed):
        settings = TrainSettings(model=name, embedding_dim=16, seed=seed)
        return start_from(settings).network.projection.weight

    torch.testing.assert_close(projection(0), projection(0))
    assert (projection(0) != projection(1)).any()


def test_a_checkpoint_brings_its_pooling_and_licence(tmp_path):
    name = write_model(tmp_path / "model")
    first = start_from(TrainSettings(model=name, pooling="avg", input_size=96))
    save_checkpoint(
        str(tmp_path / "ours"),
        first.network,
        input_size=96,
        mean=HALF,
        std=HALF,
        interpolation="bilinear",
        licence="CC-BY-NC-4.0",
        training={"epochs": 3},
    )
    assert load_checkpoint(str(tmp_path / "ours"))[1].training == {"epochs": 3}
    again = start_from(TrainSettings(model=str(tmp_path / "ours")))
    assert again.network.pooling == "avg"
    assert (again.input_size, again.mean, again.interpolation) == (96, HALF, "bilinear")
    assert again.licence == "CC-BY-NC-4.0"


def test_layers_behind_the_pooling_are_left_out():
    torch.manual_seed(0)
    backbone = timm.create_model("mobilenetv3_small_050", num_classes=0)
    network = FeatureNetwork(backbone, "mobilenetv3_small_050", "gem", "batchnorm")
    assert network.dimension == backbone.num_features
    leave_out_unused(network, 32)
    unused = [name for name, p in network.backbone.named_parameters() if not p.requires_grad]
    assert unused
    assert all(name.startswith("conv_head") for name in unused)
    own = FeatureNetwork(backbone, "mobilenetv3_small_050", "model")
    assert own.dimension == own(torch.zeros(2, 3, 32, 32)).shape[1] != backbone.num_features


def test_a_transformers_network_cannot_be_trained(tmp_path):
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        image_size=32, patch_size=16,
    )  # fmt: skip
    transformers.ViTModel(config).save_pretrained(str(tmp_path))
    (tmp_path / "preprocessor_config.json").write_text(
        '{"size": {"height": 32, "width": 32}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1], '
        '"resample": 3}'
    )
    with pytest.raises(InputError, match=r"is a ViTModel, which timm .* cannot build"):
        start_from(TrainSettings(model=str(tmp_path)))


def test_an_input_size_that_the_network_cannot_take(tmp_path):
    name = write_model(tmp_path / "model", "test_vit")
    with pytest.raises(InputError, match="do not fit timm's test_vit at 96 px"):
        start_from(TrainSettings(model=name, input_size=96))


def test_gem_needs_planes(tmp_path):
    name = write_model(tmp_path / "model", "test_vit")
    with pytest.raises(InputError, match="use pooling 'model'"):
        start_from(TrainSettings(model=name, pooling="gem"))


def test_more_frozen_stages_than_there_are(tmp_path):
    name = write_model(tmp_path / "model")
    with pytest.raises(InputError, match="freeze_stages 99: the backbone has a stem and"):
        start_from(TrainSettings(model=name, freeze_stages=99))


def test_an_embedding_of_no_width():
    with pytest.raises(InputError, match="embedding_dim 0"):
        FeatureNetwork(
            timm.create_model("test_resnet", num_classes=0), "test_resnet", embedding_dim=0
        )
