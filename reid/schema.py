"""The tables that stages hand to each other, as Arrow schemas. Each is written down only here."""

import pyarrow as pa

ANNOTATIONS = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),  # of path and box: stays the same
        pa.field("image_path", pa.string(), nullable=False),  # relative to root
        pa.field("root", pa.string(), nullable=False),  # folder or URI of the collection
        pa.field(
            "bbox", pa.list_(pa.float32(), 4)
        ),  # x, y, w, h of the upright image; null: all of it
        pa.field("bbox_unit", pa.string()),  # px | relative (shares of width and height); null = px
        pa.field("species", pa.string(), nullable=False),
        pa.field("identity", pa.string()),  # null = unknown
        pa.field("encounter_id", pa.string()),  # a burst, a sighting; null = unknown
        pa.field("viewpoint", pa.string()),  # the side that is seen: left, right, …
        pa.field("timestamp", pa.timestamp("us")),  # the camera's wall clock, never shifted
        pa.field("utc_offset_minutes", pa.int16()),  # of that clock; null = unknown
        pa.field("location_id", pa.string()),  # the station
        pa.field("split", pa.string()),  # the data set's own: query, gallery, train, …
        pa.field("image_id", pa.string()),  # the source's own id, carried through to the exports
        pa.field("source_key", pa.string()),  # changes when another file, or box, takes this id
    ]
)

FAILURES = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("image_path", pa.string(), nullable=False),
        pa.field("stage", pa.string(), nullable=False),  # where: source, embed, …
        pa.field("error", pa.string(), nullable=False),  # why, in words
    ]
)

# Points of interest of one annotation, in pixels of its window as the recipe makes it.
KEYPOINTS = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("species", pa.string(), nullable=False),
        pa.field("xy", pa.list_(pa.float32()), nullable=False),  # x0, y0, x1, y1, …
        pa.field("score", pa.list_(pa.float32()), nullable=False),
        pa.field("descriptor", pa.binary(), nullable=False),  # 128 bytes each, one after another
        pa.field("source_key", pa.string()),  # of the annotation when they were found
        pa.field("width", pa.int32(), nullable=False),  # of the window, working pixels
        pa.field("height", pa.int32(), nullable=False),
        pa.field("scale", pa.float32(), nullable=False),  # working pixels a source pixel
    ]
)

# What the keypoints of two annotations say; a_id < b_id. Missing numbers are NaN.
PAIR_EVIDENCE = pa.schema(
    [
        pa.field("a_id", pa.string(), nullable=False),
        pa.field("b_id", pa.string(), nullable=False),
        pa.field("a_keypoints", pa.int32(), nullable=False),
        pa.field("b_keypoints", pa.int32(), nullable=False),
        # Matches with a confidence above 0.1, 0.3, 0.5, 0.8, and the sum of all confidences.
        pa.field("matches_10", pa.int32(), nullable=False),
        pa.field("matches_30", pa.int32(), nullable=False),
        pa.field("matches_50", pa.int32(), nullable=False),
        pa.field("matches_80", pa.int32(), nullable=False),
        pa.field("confidence_sum", pa.float32(), nullable=False),
        # Confidences squared, each by how clearly its two descriptors are each other's nearest.
        pa.field("clear_sum", pa.float32(), nullable=False),
        # Of the affine map that most matches agree on, see reid.pairs.affine.
        pa.field("inliers", pa.int32(), nullable=False),
        pa.field("residual", pa.float32(), nullable=False),
        pa.field("stretch", pa.float32(), nullable=False),
        pa.field("shear", pa.float32(), nullable=False),
        pa.field("area", pa.float32(), nullable=False),
        pa.field("source_pixels", pa.float32(), nullable=False),  # long side of the smaller window
        pa.field("a_key", pa.string()),  # source_key of both when they were compared
        pa.field("b_key", pa.string()),
    ]
)

# The cheap first look at a pair, see reid.pairs.votes; a_id < b_id.
PAIR_VOTES = pa.schema(
    [
        pa.field("a_id", pa.string(), nullable=False),
        pa.field("b_id", pa.string(), nullable=False),
        pa.field("votes", pa.float32(), nullable=False),
        pa.field("a_key", pa.string()),
        pa.field("b_key", pa.string()),
    ]
)

# The pairs that were looked at and what came of it: evidence, and P(same individual).
PAIRS = pa.schema(
    [
        pa.field("species", pa.string(), nullable=False),
        *list(PAIR_EVIDENCE)[:-2],
        pa.field("cosine_distance", pa.float32(), nullable=False),
        pa.field("votes", pa.float32(), nullable=False),
        pa.field("log_odds", pa.float32(), nullable=False),  # held out where both are labelled
        pa.field("probability", pa.float32(), nullable=False),
        pa.field("distance", pa.float32(), nullable=False),  # 1 - probability
        pa.field("cut", pa.string()),  # why it cannot be one animal, whatever it looks like
    ]
)

SPLIT = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("image_path", pa.string(), nullable=False),
        pa.field("species", pa.string(), nullable=False),
        pa.field("identity", pa.string(), nullable=False),
        pa.field("encounter_id", pa.string()),
        pa.field("part", pa.string(), nullable=False),  # train | validation | held_out
    ]
)

CLUSTERS = pa.schema(
    [
        pa.field("annotation_id", pa.string(), nullable=False),
        pa.field("species", pa.string(), nullable=False),
        pa.field("cluster", pa.int64(), nullable=False),  # -1 = noise
        pa.field("cluster_label", pa.string(), nullable=False),  # noise: a label of its own
        pa.field("nearest_id", pa.string()),  # null when the species has one annotation
        pa.field("nearest_distance", pa.float32()),
        pa.field("found_cluster", pa.int64()),  # as the method found it, before people decided
    ]
)

CATALOGUE = pa.schema(
    [
        *ANNOTATIONS,
        pa.field("identity_id", pa.string(), nullable=False),  # the name for ever: lynx-0042
        pa.field("decision", pa.string(), nullable=False),  # known | new | unsure
        pa.field("confidence", pa.float32()),  # probability that the decision is right
        pa.field("nearest_id", pa.string()),  # the annotation whose link decided
        pa.field("nearest_distance", pa.float32()),
        pa.field("run_id", pa.string(), nullable=False),  # the run that wrote this row last
    ]
)

# What a run did to the identities: `merge` means that other_ids became identity_id, `split` that
# identity_id came out of other_ids. The pair is the link that decided.
CHANGES = pa.schema(
    [
        # new | extend | merge | split | confirm | undo | calibrate | decide
        pa.field("event", pa.string(), nullable=False),
        pa.field("species", pa.string()),
        pa.field("identity_id", pa.string()),
        pa.field("other_ids", pa.list_(pa.string())),
        pa.field("a_id", pa.string()),
        pa.field("b_id", pa.string()),
        pa.field("distance", pa.float32()),
        pa.field("reason", pa.string()),  # in words: what linked or parted them
        pa.field("rows", pa.int64(), nullable=False),
    ]
)

EVENTS = pa.schema(
    [
        pa.field("version", pa.int64(), nullable=False),  # of the annotations after the run
        pa.field("number", pa.int32(), nullable=False),  # within the run, from 0
        pa.field("run_id", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", "UTC"), nullable=False),
        *CHANGES,
    ]
)

# Of a pair of pictures; or of one, whose id is then there twice, and the note is what was said of it.
DECISIONS = pa.schema(
    [
        pa.field("a_id", pa.string(), nullable=False),  # a_id < b_id, or the same
        pa.field("b_id", pa.string(), nullable=False),
        pa.field(
            "decision", pa.string(), nullable=False
        ),  # match | nomatch | unknown; of one picture (a_id = b_id): name, sex, viewpoint, …, and what was said as note
        pa.field("reviewer", pa.string(), nullable=False),  # who said it
        pa.field("timestamp", pa.timestamp("us", "UTC"), nullable=False),
        pa.field("note", pa.string()),
        pa.field("run_id", pa.string(), nullable=False),  # the run that brought it in
    ]
)


def conform(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with the columns of `schema`, in its order; nullable ones that it lacks are null.

    Tables on disk may be older than a column.

    Raises:
        KeyError: a column that may not be null is missing.
    """
    columns = [
        pa.nulls(len(table), field.type)
        if field.name not in table.column_names and field.nullable
        else table[field.name].cast(field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def embeddings(dimension: int) -> pa.Schema:
    """The schema of the embeddings table for rows of `dimension` float32 values, unit length."""
    return _stored(pa.field("embedding", pa.list_(pa.float32(), dimension), nullable=False))


def patch_tokens(numbers: int) -> pa.Schema:
    """The schema of a table of patch tokens: `numbers` float16 values an image, patch by patch."""
    return _stored(pa.field("tokens", pa.list_(pa.float16(), numbers), nullable=False))


def _stored(values: pa.Field) -> pa.Schema:
    """Of what is kept of each annotation in the embedding store."""
    return pa.schema(
        [
            pa.field("annotation_id", pa.string(), nullable=False),
            pa.field("species", pa.string(), nullable=False),
            values,
            pa.field(
                "content_hash", pa.string(), nullable=False
            ),  # of what the file shows and the box, see reid.picture_hash
            pa.field("source_key", pa.string()),  # of the annotation when it was embedded
            pa.field("width", pa.int32(), nullable=False),  # of the crop, pixels
            pa.field("height", pa.int32(), nullable=False),
            # By the camera, as the file's EXIF says them: a clock on the wall, and its offset from UTC.
            pa.field("timestamp", pa.timestamp("us")),
            pa.field("utc_offset_minutes", pa.int16()),
        ]
    )
