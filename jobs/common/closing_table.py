"""What a run found, as the table that it ends with."""

from typing import Any

from rich.table import Table

WORDS = ("species", "method", "from", "verdict")  # columns that hold no numbers


def closing_table(summary: dict[str, Any]) -> Table:
    """What a run found, a row a species."""
    truth = summary.get("truth", {}).get("species", {})
    reference = "truth" if truth else "labels"
    read = summary.get("embed", {})
    table = Table(
        title="Individuals found",
        caption="; ".join(
            [
                *([f"{read['annotations']:,} images, {read['failed']:,} failed"] if read else []),
                *(
                    f"{stage} {summary[stage]['seconds']:.1f} s"
                    for stage in ("embed", "cluster", "report")
                    if stage in summary
                ),
            ]
        ),
    )
    scores = {
        species: truth.get(species, found["scores"]).get("ari")
        for species, found in summary["cluster"]["species"].items()
    }
    scored = any(one is not None for one in scores.values())
    columns = (
        "species", "images", "seen twice or more", "seen once", "largest", "method", "threshold", "from",
        *([f"ARI against {reference}"] if scored else []), "verdict",
    )  # fmt: skip
    for name in columns:
        table.add_column(name, justify="left" if name in WORDS else "right")
    for species, found in summary["cluster"]["species"].items():
        # Clustered by an earlier version: of each image.
        once = found.get("seen_once", found["singletons"])
        table.add_row(
            species,
            f"{found['images']:,}",
            f"{found['individuals'] - once:,}",
            f"{once:,}",
            f"{found['largest']:,}",
            found["method"],
            "–" if found["eps"] is None else f"{found['eps']:.3f}",
            found["eps_source"],
            *(["–" if scores[species] is None else f"{scores[species]:.3f}"] if scored else []),
            found["verdict"]["level"],
        )
    return table
