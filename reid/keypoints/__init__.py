"""Points on the coat: where they are, and what each looks like.

    extractors.py   names → a function from pixels to keypoints; what they cost nothing to compare by
    recipe.py       what changes the numbers, and the folder it names
    extract.py      annotations → rows of keypoints (schema.KEYPOINTS), or why there are none
    stored.py       the rows of some annotations, read back

Keypoints are found once an annotation, in the window of the crop that `images.window` names, on source
pixels: reduced where the window is larger than the recipe's long side, enlarged only where the recipe
says so.
"""

from reid.keypoints.extract import extract_annotations
from reid.keypoints.extractors import (
    EXTRACTORS,
    Keypoints,
    descriptors_of,
    extractor_digest,
    load_extractor,
)
from reid.keypoints.recipe import KeypointRecipe
from reid.keypoints.stored import KeypointStore, StoredKeypoints, read_keypoints

__all__ = [
    "EXTRACTORS",
    "KeypointRecipe",
    "KeypointStore",
    "Keypoints",
    "StoredKeypoints",
    "descriptors_of",
    "extract_annotations",
    "extractor_digest",
    "load_extractor",
    "read_keypoints",
]
