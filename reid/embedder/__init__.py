"""From crops to unit vectors.

| file | holds |
| --- | --- |
| `views.py` | test-time augmentation: the named views of a batch |
| `runtime.py` | one network on one device: torch, torch.compile or OpenVINO, checked against torch |
| `ensemble.py` | `Embedder`: views × models → unit rows; `Recipe`: what the numbers depend on |
| `device_decode.py` | JPEGs decoded in batches on the model's device (nvJPEG) |
| `file_decoder.py` | a file, read and decoded once for all its boxes, or why not |
| `stream.py` | annotations → embeddings and failures, decoding ahead of the model |
"""

from reid.embedder.ensemble import Embedder, Recipe
from reid.embedder.stream import embed_annotations

__all__ = ["Embedder", "Recipe", "embed_annotations"]
