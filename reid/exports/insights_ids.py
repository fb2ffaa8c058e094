"""Individuals back into Wildlife Insights: `image_id, individual_id`."""

import pandas as pd

from reid.errors import InputError
from reid.exports.sheets import program_sheet
from reid.exports.sightings import in_doubt, left_out


def insights_files(frame: pd.DataFrame) -> tuple[dict[str, str], pd.DataFrame]:
    """individuals.csv with a line for each image and individual; images nobody is sure of have none.

    Args:
        frame: of `reid.exports.sightings.sightings`; image_id is Wildlife Insights' own.

    Returns:
        name → text, and lines of left_out.csv.

    Raises:
        InputError: no image has an image_id.
    """
    unsure = in_doubt(frame)
    unknown = frame["image_id"].isna().to_numpy() & ~unsure
    rows = frame[~unsure & ~unknown]
    if frame["image_id"].isna().all():
        raise InputError(
            "--format wildlife-insights: no image has an image_id; read the images from Wildlife Insights' "
            "images.csv, whose image_id is kept"
        )
    pairs = (
        rows[["image_id", "identity_id"]].drop_duplicates().sort_values(["image_id", "identity_id"])
    )
    out = pd.concat(
        [
            left_out(frame[unsure], "nobody is sure who this is"),
            left_out(frame[unknown], "has no image_id of Wildlife Insights"),
        ],
        ignore_index=True,
    )
    text = program_sheet(("image_id", "individual_id"), pairs.itertuples(index=False))
    return {"individuals.csv": text}, out
