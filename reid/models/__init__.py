"""Pretrained models by name: what is known, what is on this machine, and loading.

    model = load_model("efficientnet-lite0")
    features = model.module(batch)  # (b, 3, 224, 224) float32 -> (b, 1280), not normalised

| file | holds |
| --- | --- |
| `spec.py` | the names, and how a name is read |
| `load_model.py` | from a name to a network ready to embed, and its digest |
| `packaged.py` | weights inside installed packages |
| `hub.py` | repositories of the Hugging Face hub: the cache, and fetching |
| `repository.py` | folders in timm's and transformers' format |
| `checkpoint.py` | our own checkpoints, written and read |
| `networks.py` | pooling, neck, and one output for all |
| `patch_tokens.py` | which models have patch tokens, and a network that gives them |

`networks.py`, `patch_tokens.py` and `checkpoint.py` import torch; import them where they are needed.
"""

from reid.models.load_model import LoadedModel, availability, class_names, load_model
from reid.models.spec import ModelSpec, find_spec, general_purpose, known_models

__all__ = [
    "LoadedModel",
    "ModelSpec",
    "availability",
    "class_names",
    "find_spec",
    "general_purpose",
    "known_models",
    "load_model",
]
