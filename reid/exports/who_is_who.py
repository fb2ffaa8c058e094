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
    whole = frame.reindex(columns=[name for name in WHO_IS_WHO.names if name != "name"])
    whole = whole.sort_values("annotation_id", kind="stable")
    types = pa.schema([WHO_IS_WHO.field(name) for name in whole.columns])
    table = pa.Table.from_pandas(whole, schema=types, preserve_index=False)
    names = names_of_individuals(table)
    called = pa.array([names.get(one) for one in table["identity_id"].to_pylist()], pa.string())
    return table.append_column("name", called).select(WHO_IS_WHO.names).replace_schema_metadata()
