"""The pictures of docs/gallery.md, from what the demo made:

reid demo --out demo && reid figures --out demo --to figures
python -m tests.gallery_pictures figures docs/gallery
"""

import argparse
from pathlib import Path

from PIL import Image

WIDTH, TALLEST = 720, 900  # pixels; what is longer is cut off below
COLOURS = 160
SHOWN = (
    "leopard-scores", "leopard-tuning", "leopard-neighbours", "leopard-cluster-sizes", "leopard-similarities",
    "leopard-pca-individuals", "leopard-pca-clusters", "leopard-tsne-individuals", "leopard-tsne-clusters",
    "leopard-individuals", "leopard-similar-pairs", "zebra-worst-mistakes", "species-pca",
)  # fmt: skip


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path)
    parser.add_argument("docs", type=Path)
    asked = parser.parse_args()
    asked.docs.mkdir(parents=True, exist_ok=True)
    for name in SHOWN:
        picture = Image.open(asked.figures / f"{name}.png").convert("RGB")
        picture.thumbnail((WIDTH, 10**5), Image.Resampling.LANCZOS)
        picture = picture.crop((0, 0, picture.width, min(picture.height, TALLEST)))
        few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
        kept = name if name.startswith("species") else name.partition("-")[2]
        few.save(asked.docs / f"{kept}.png", optimize=True)


if __name__ == "__main__":
    main()
