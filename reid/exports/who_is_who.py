"""The plain table: who is in which image, where and when, how sure that is, and who confirmed it."""

import pandas as pd
import pyarrow as pa

from reid.catalogue.state import EXPORT_COLUMNS, names_of_individuals

WHO_IS_WHO = pa.schema(
    [
        *(
            pa.field(name, pa.float32() if name == "confidence" else pa.string())
            for name in EXPORT_COLUMNS
        ),
        pa.field("timestamp", pa.timestamp("us")),  # the camera's wall clock
        pa.field("utc_offset_minutes", pa.int16()),
        pa.field("location_id", pa.string()),
        pa.field("encounter_id", pa.string()),
        pa.field("viewpoint", pa.string()),
        pa.field("image_id", pa.string()),  # the source's own
        pa.field("confirmed_by", pa.string()),  # null: no person has
        pa.field("confirmed_at", pa.timestamp("us", "UTC")),
    ]
)


def who_is_who(frame: pd.DataFrame) -> pa.Table:
    """The columns of WHO_IS_WHO, of all sightings, sorted by annotation_id.

    Args:
        frame: of `reid.exports.sightings.sightings`.
    """
    if "name" not in frame:
        names = names_of_individuals(pa.Table.from_pandas(frame[["identity_id", "identity"]]))
        frame = frame.assign(name=frame["identity_id"].map(names.get).astype(object))
    whole = frame.reindex(columns=WHO_IS_WHO.names).sort_values("annotation_id", kind="stable")
    table = pa.Table.from_pandas(whole, schema=WHO_IS_WHO, preserve_index=False)
    return table.replace_schema_metadata()
