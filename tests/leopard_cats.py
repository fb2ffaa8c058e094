"""The leopard cats of camtrapR's documentation: 21 records of 3 individuals at 3 stations."""

import pandas as pd

from reid.exports.sightings import Chosen, choose

# Station, individual, times in 2009.
RECORDS = (
    ("A", "1", ("05-07 17:11",)),
    ("A", "2", ("04-21 00:40", "04-22 20:19", "04-23 00:07")),
    ("B", "1", ("04-07 00:23", "04-14 06:13", "04-24 22:54")),
    ("B", "2", ("04-05 00:11", "04-05 23:13", "04-10 04:07", "05-14 02:11")),
    ("B", "3", ("04-25 04:33", "04-25 04:33")),
    (
        "C",
        "1",
        ("04-06 03:00", "04-06 03:00", "04-14 23:30", "04-14 23:30", "04-23 03:33", "05-05 18:24"),
    ),
    ("C", "2", ("04-18 22:57",)),
    ("C", "3", ("05-07 18:47",)),
)

CAMERA_TABLE = """\
Station,utm_y,utm_x,Setup_date,Retrieval_date,Problem1_from,Problem1_to
A,604000,526000,02/04/2009,14/05/2009,,
B,606000,523000,03/04/2009,16/05/2009,,
C,607050,525000,04/04/2009,17/05/2009,12/05/2009,17/05/2009
"""


def frame(**columns: object) -> pd.DataFrame:
    """Sightings as `reid.exports.sightings.sightings` gives them."""
    rows = [
        {
            "annotation_id": f"{number:024x}",
            "image_path": f"{station}/IMG_{number:04}.JPG",
            "root": "photos",
            "species": "leopard cat",
            "identity_id": individual,
            "timestamp": pd.Timestamp(f"2009-{moment}"),
            "location_id": station,
            "decision": "known",
        }
        for number, (station, individual, moment) in enumerate(
            (station, individual, moment)
            for station, individual, moments in RECORDS
            for moment in moments
        )
    ]
    table = pd.DataFrame(rows)
    empty = ("bbox", "identity", "encounter_id", "viewpoint", "split", "image_id", "source_key")
    empty += ("confidence", "nearest_id", "confirmed_by", "confirmed_at")
    return table.assign(**dict.fromkeys(empty, None)).assign(**columns)


def cats(**columns: object) -> Chosen:
    return choose(frame(**columns))
