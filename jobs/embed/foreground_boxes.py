"""`reid foreground`: a box around the animal in every image, by its stored patch tokens, as a table to embed again."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.console import print_result, progress, say
from reid import schema, store
from reid.config import Config, Images
from reid.errors import ReidError
from reid.foreground import foreground_window
from reid.image_files import ImageError, open_image
from reid.layout import Window, lay_out, window_box
from reid.pooled_tokens import foreground_of, token_scores
from reid.spreadsheet import encode, write_text_table

READERS = 8
TEXTS = ("species", "identity", "encounter_id", "viewpoint", "location_id", "split", "image_id")


def write_boxes(config: Config, to: str) -> None:
    """Write image_path, bbox in pixels, and what else is known of each annotation, as CSV.

    Images without foreground, or without tokens, keep the box that they had.

    Args:
        config: the resolved configuration; `out` is the folder of `reid embed`.
        to: path or URI of the CSV.

    Raises:
        InputError: no patch tokens were stored here.
    """
    annotations = schema.conform(
        outputs.read_stage(config.out, outputs.ANNOTATIONS, "embed"), schema.ANNOTATIONS
    )
    folders = outputs.read_token_folders(config.out)
    windows: dict[int, Window] = {}
    with progress("foreground", len(annotations)) as advance:
        for species, folder in folders.items():
            rows = pc.indices_nonzero(pc.equal(annotations["species"], species)).to_pylist()
            ids = annotations["annotation_id"].take(pa.array(rows, pa.int64())).combine_chunks()
            axes = foreground_of(folder, species, ids).axes
            for number, measured in token_scores(folder, ids, axes):
                window = foreground_window(measured[..., 0], config.embed.foreground_threshold)
                if window is not None:
                    windows[rows[number]] = window
                advance(1)
    boxes = _boxes(config.images, annotations, windows)
    lines = annotations.select(["root", "image_path", "bbox", "bbox_unit"]).to_pylist()
    kept = [boxes.get(i) or line["bbox"] for i, line in enumerate(lines)]
    units = ["px" if i in boxes else line["bbox_unit"] or "px" for i, line in enumerate(lines)]
    stamps = pc.strftime(annotations["timestamp"], format="%Y-%m-%d %H:%M:%S")
    table = pa.table(
        {
            "image_path": [store.join(line["root"], line["image_path"]) for line in lines],
            "bbox": pa.array([None if box is None else str([*box]) for box in kept], pa.string()),
            "bbox_unit": [
                None if box is None else unit for box, unit in zip(kept, units, strict=True)
            ],
            "timestamp": stamps.cast(pa.string()),
            **{name: annotations[name] for name in TEXTS},
        }
    )
    filled = [name for name in table.column_names if table[name].null_count < len(table)]
    text, _ = write_text_table(table.select(filled), raw=not config.guard_formulas)
    store.write_bytes(to, encode(text, excel=config.excel))
    left = len(annotations) - len(boxes)
    say(
        f"foreground: {len(boxes):,} boxes written"
        + (
            f"; {left:,} images show none, or have no tokens, and keep the box they had"
            if left
            else ""
        )
        + f". Embed them: reid embed -i {to} -o NEW images.bbox_margin=0.05"
    )
    print_result(to)


def _boxes(
    images: Images, annotations: pa.Table, windows: Mapping[int, Window]
) -> dict[int, tuple[int, int, int, int]]:
    """Row → x, y, width, height in pixels of the upright image; by the files' headers."""
    lines = annotations.select(["root", "image_path", "bbox", "bbox_unit", "species"]).to_pylist()

    def box(row: int) -> tuple[int, int, int, int] | None:
        line = lines[row]
        try:
            with open_image(
                store.read_bytes(store.join(line["root"], line["image_path"]))
            ) as image:
                crop = lay_out(
                    image,
                    line["bbox"],
                    bbox_unit=line["bbox_unit"],
                    bbox_margin=images.bbox_margin,
                    max_megapixels=images.max_megapixels,
                    window=images.window_of(line["species"]),
                ).box
        except (OSError, ImageError, ReidError):  # gone or damaged since it was embedded
            return None
        left, top, right, bottom = window_box(crop, windows[row])
        return left, top, right - left, bottom - top

    with ThreadPoolExecutor(READERS) as pool:
        found = zip(windows, pool.map(box, windows), strict=True)
        return {row: one for row, one in found if one is not None}
