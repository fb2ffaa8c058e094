"""Whether a catalogue uses encounters and viewpoints, where nobody said: by what the images have."""

import pyarrow as pa

from reid.identify.one_species import species_nodes

MOST = 0.5  # share of images that must be in an encounter
MIXED = 0.1  # share of encounters with several animals from which on they are no encounters of one


def default_encounters(
    rows: pa.Table, decisions: pa.Table, setting: str = "identify.encounters"
) -> tuple[str, str]:
    """`best` where most images are in encounters of one animal each, else `off`; and why, in words.

    On nyala taking an encounter as one animal is the largest gain there is: with a tuned model ARI
    0.158 → 0.303, mAP 0.308 → 0.412 (docs/benchmarks/encounters-tuned.json; `mean` gives the same).
    It is wrong for animals that pass in groups, which boxes in one image, labels and `nomatch` show.

    Args:
        rows: `reid.schema.ANNOTATIONS` of one species.
        decisions: `reid.schema.DECISIONS`.
        setting: what turns it off, for the reader.
    """
    given = rows["encounter_id"].drop_null()
    if len(given) < MOST * len(rows) or not len(given):
        return "off", f"{len(given):,} of {len(rows):,} images are in an encounter"
    sizes = given.value_counts().field("counts").to_numpy()
    several = int((sizes > 1).sum())
    broken = len(species_nodes(rows, decisions, encounters="best").broken)
    if broken > MIXED * several:
        return "off", f"{broken:,} of {several:,} encounters of several images show several animals"
    return "best", (
        f"{len(given):,} of {len(rows):,} images are in {len(sizes):,} encounters, and the images of one are "
        f"taken for one animal; for animals that pass in groups say {setting}=off"
    )


def default_viewpoints(rows: pa.Table) -> tuple[str, str]:
    """`compare-all`, and why, in words.

    On nyala, where all viewpoints are known, `same-side` finds less: with a tuned model ARI 0.158 →
    0.108 alone, and 0.303 → 0.276 (mAP 0.412 → 0.418) beside encounters
    (docs/benchmarks/encounters-tuned.json).

    Args:
        rows: `reid.schema.ANNOTATIONS` of one species.
    """
    known = len(rows) - rows["viewpoint"].null_count
    if not known:
        return "compare-all", "no image has a viewpoint"
    return "compare-all", (
        f"{known:,} of {len(rows):,} images have a viewpoint; left is compared with right, as that was "
        "measured to find more (identify.viewpoints=same-side does not)"
    )
