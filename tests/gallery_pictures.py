"""The pictures of docs/gallery.md, from what the demo made:

reid demo --out demo && reid figures --out demo --to figures
python -m tests.gallery_pictures figures docs/gallery

and that of patch tokens, of a network with random weights, as no package brings a trained one:

reid demo --out small --individuals 6 --images-per-individual 5
python -m tests.gallery_pictures --random-network vit
reid run --input small/herd/annotations.csv --out small -m ./vit embed.tokens=true embed.tta=identity
reid figures --out small --to tokens
python -m tests.gallery_pictures tokens docs/gallery --only leopard-tokens
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


def make_network(folder: Path) -> None:
    """A small vision transformer with random weights, as a model folder."""
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model("vit_tiny_patch16_224", num_classes=5, depth=3)
    timm.models.save_for_hf(network, str(folder), safe_serialization=True, model_args={"depth": 3})


def main() -> None:
    """Draw all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("figures", type=Path, nargs="?")
    parser.add_argument("docs", type=Path, nargs="?")
    parser.add_argument("--only", nargs="+", default=SHOWN)
    parser.add_argument("--random-network", type=Path)
    asked = parser.parse_args()
    if asked.random_network:
        make_network(asked.random_network)
        return
    asked.docs.mkdir(parents=True, exist_ok=True)
    for name in asked.only:
        picture = Image.open(asked.figures / f"{name}.png").convert("RGB")
        picture.thumbnail((WIDTH, 10**5), Image.Resampling.LANCZOS)
        picture = picture.crop((0, 0, picture.width, min(picture.height, TALLEST)))
        few = picture.quantize(COLOURS, dither=Image.Dither.NONE)
        kept = name if name.startswith("species") else name.partition("-")[2]
        few.save(asked.docs / f"{kept}.png", optimize=True)


if __name__ == "__main__":
    main()
