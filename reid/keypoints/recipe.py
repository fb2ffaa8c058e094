"""What changes the keypoints of an annotation; another recipe is another folder."""

import hashlib
import json
from dataclasses import asdict, dataclass

from reid.layout import Window


@dataclass(frozen=True, slots=True)
class KeypointRecipe:
    """Everything that changes the numbers.

    Attributes:
        extractor: one of `reid.keypoints.EXTRACTORS`.
        digest: of its weights, see `extractor_digest`.
        most: keypoints kept of an annotation.
        long_side: pixels; a larger window is reduced to it.
        enlarge: a smaller window is enlarged to it.
        bbox_margin: share of the box's sides.
        window: part of the crop; None: all of it.
    """

    extractor: str
    digest: str
    most: int = 512
    long_side: int = 512
    enlarge: bool = False
    bbox_margin: float = 0.0
    window: Window | None = None

    @property
    def fingerprint(self) -> str:
        """12 hex digits; the extractor's name does not count, its digest does."""
        numbers = {**asdict(self), "extractor": None, "version": 1}
        return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """Name of the folder in the store: readable, and unique to the recipe."""
        return f"{self.extractor}-{self.long_side}-{self.fingerprint}"
