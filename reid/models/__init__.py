"""Pretrained models by name: what is known, what is on this machine, and loading.

    model = load_model("efficientnet-lite0")
    features = model.module(batch)  # (b, 3, 224, 224) float32 -> (b, 1280), not normalised

| file | holds |
| --- | --- |
| `spec.py` | the names, and how a name is read |
| `load.py` | from a name to a network ready to embed, and its digest |
"""

from reid.models.load import LoadedModel, load_model
from reid.models.spec import ModelSpec, find_spec, known_models

__all__ = ["LoadedModel", "ModelSpec", "find_spec", "known_models", "load_model"]
