"""Parameter groups, learning rates, frozen parts, averaged weights."""

import math

import pytest
import timm
import torch
from torch import nn

from reid.errors import InputError
from reid.training import TrainSettings
from reid.training.schedule import (
    AveragedWeights,
    freeze,
    layers,
    lr_share,
    parameter_groups,
    set_training_mode,
)


def _backbone(architecture="test_efficientnet"):
    torch.manual_seed(0)
    return timm.create_model(architecture, num_classes=0)


def test_the_learning_rate_rises_and_falls():
    settings = TrainSettings(epochs=10, warmup_epochs=2, min_lr_share=0.1)
    assert [lr_share(done, settings) for done in (0, 1, 2, 6, 10)] == pytest.approx(
        [0.1, 0.5, 1.0, 0.55, 0.1]
    )
    assert lr_share(4, settings) == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    flat = TrainSettings(epochs=1, warmup_epochs=0)
    assert lr_share(0, flat) == 1


def test_no_warm_up_longer_than_the_run_divides_by_zero():
    settings = TrainSettings(epochs=2, warmup_epochs=2)
    assert lr_share(1, settings) == 0.5
    assert lr_share(2, settings) == 1


@pytest.mark.parametrize("architecture", ["test_efficientnet", "test_vit", "test_resnet"])
def test_layers_have_every_parameter_once(architecture):
    backbone = _backbone(architecture)
    names = sorted(name for name, _ in backbone.named_parameters())
    for stages in (False, True):
        found = layers(backbone, stages=stages)
        assert sorted(name for group in found for name in group) == names


def test_groups_by_layer_and_kind():
    backbone = _backbone("test_vit")
    settings = TrainSettings(lr=1e-3, head_lr=1e-2, layer_decay=0.5, weight_decay=0.05)
    head = nn.ParameterDict({"centres": torch.ones(3, 1, 4), "projection": torch.ones(4, 4)})
    groups = parameter_groups(backbone, head.named_parameters(), settings)
    of = {id(p): group for group in groups for p in group["params"]}
    names = dict(backbone.named_parameters())
    assert len(of) == len(names) + 2
    last = len(layers(backbone)) - 1
    for name, depth in (("patch_embed.proj.weight", 0), ("blocks.5.mlp.fc1.weight", last)):
        group = of[id(names[name])]
        assert group["peak_lr"] == pytest.approx(1e-3 * 0.5 ** (last - depth))
        assert group["weight_decay"] == 0.05
    for name in ("blocks.5.norm1.weight", "blocks.5.mlp.fc1.bias"):
        assert of[id(names[name])]["weight_decay"] == 0
    assert of[id(head["centres"])]["weight_decay"] == 0
    assert of[id(head["projection"])] | {"params": None} == {
        "params": None,
        "lr": 1e-2,
        "peak_lr": 1e-2,
        "weight_decay": 0.05,
    }


def test_frozen_stages_stay_what_they_were():
    backbone = _backbone()
    freeze(backbone, 2)
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    stages = layers(backbone, stages=True)
    assert trained == {name for group in stages[3:] for name in group}
    assert stages[0][0].startswith("conv_stem")
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    set_training_mode(backbone)
    backbone(torch.randn(4, 3, 64, 64)).sum().backward()
    torch.optim.SGD([p for p in backbone.parameters() if p.requires_grad], lr=1.0).step()
    changed = {
        name for name, value in backbone.state_dict().items() if (value != before[name]).any()
    }
    assert not [name for name in changed if name.startswith(("conv_stem", "bn1", "blocks.0"))]
    assert not [name for name in changed if name.startswith("blocks.1.")]
    assert "blocks.2.0.bn1.running_mean" in changed


def test_nothing_or_too_much_frozen():
    backbone = _backbone()
    freeze(backbone, 0)
    assert all(p.requires_grad for p in backbone.parameters())
    with pytest.raises(InputError, match="freeze_stages 6: the backbone has a stem and 5 stages"):
        freeze(backbone, 6)


def test_the_average_is_the_formula():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = AveragedWeights(network, decay=0.3)
    expected = network[0].weight.detach().clone()
    for update in range(4):
        with torch.no_grad():
            network[0].weight += 1.0
            network[1].running_mean += 1.0
            network[1].num_batches_tracked += 1
        average.update()
        decay = min(0.3, (1 + update) / (10 + update))
        expected = decay * expected + (1 - decay) * network[0].weight.detach()
    torch.testing.assert_close(average.network[0].weight, expected)
    assert average.network[1].num_batches_tracked == 4
    assert 3 < average.network[1].running_mean[0] < 4
    assert not any(p.requires_grad for p in average.network.parameters())
