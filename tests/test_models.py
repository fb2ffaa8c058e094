"""Names of models, packaged weights, digests."""

import pytest
import torch

from reid.errors import InputError
from reid.models import find_spec, known_models, load_model


@pytest.mark.parametrize("spec", known_models()[:3], ids=lambda spec: spec.name)
def test_packaged_weights_give_features_of_the_listed_size(spec):
    model = load_model(spec.name)
    size = spec.input_size
    with torch.inference_mode():
        features = model.module(torch.zeros(2, 3, size, size))
    assert features.shape == (2, spec.dimension)
    assert (model.input_size, model.dimension) == (size, spec.dimension)
    assert not model.module.training


def test_the_digest_is_the_same_at_every_load():
    assert load_model("efficientnet-lite0").digest == load_model("efficientnet-lite0").digest


def test_an_unknown_name_lists_the_known_ones_and_the_closest():
    with pytest.raises(InputError, match=r"did you mean 'dinov2-s'.*miewid-msv3.*timm:"):
        find_spec("dinov2s")
