"""A detector's boxes for images that another source tells the rest of."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from reid.sources.built_rows import Records
from reid.sources.finding import find_images
from reid.sources.source_rows import Rows


@dataclass(frozen=True)
class Detected:
    """A box, and what the machine takes the animal for."""

    values: tuple[float, ...]
    relative: bool
    species: str | None
    weight: float | None


class DetectedBoxes:
    """Boxes by the path of their image in the other source.

    Args:
        records: of the other source; is told what the detector could not read, and which images it has
            that the source lacks.
        paths: of the source's images.
        detected: what the detector found; None: nothing was given.
    """

    def __init__(self, records: Records, paths: Sequence[str], detected: Rows | None) -> None:
        self.places: dict[str, str] = {}
        self.by_place: dict[str, list[Detected]] = defaultdict(list)
        if detected is None or detected.boxes is None or detected.relative is None:
            return
        records.failed += detected.failed
        records.notes += detected.notes
        self.places = find_images(records.source, paths, records.root, strict=False).places
        species = detected.columns.get("species")
        named = [None] * len(detected) if species is None else species.to_pylist()
        weights = [None] * len(detected) if detected.weights is None else detected.weights.tolist()
        for place, values, relative, name, weight in zip(
            detected.image_path.to_pylist(),
            detected.boxes.tolist(),
            detected.relative.tolist(),
            named,
            weights,
            strict=True,
        ):
            self.by_place[place].append(Detected(tuple(values), relative, name, weight))
        strange = len(self.by_place.keys() - set(self.places.values()))
        if strange:
            records.left_out["images of the detections that the package lacks"] += strange

    def of(self, path: str) -> list[Detected]:
        """The boxes of an image."""
        return self.by_place.get(self.places.get(path, ""), [])
