"""Ids and keys of many rows, made a column at a time, against those of one row."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from reid.sources import annotation_id, ids

# Whole pixels, shares, ties of the third decimal, numbers that are written with an exponent.
_COORDINATE = st.one_of(
    st.integers(-5, 9000).map(float),
    st.floats(0, 1),
    st.integers(0, 10**7).map(lambda value: value / 10_000),
    st.floats(-1e7, 1e7),
    st.sampled_from([-0.0, 1e-5, 0.0005, 2.0005, 1e-300, 8_388_609.5]),
)


@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.tuples(*[_COORDINATE] * 4),
            st.booleans(),
            st.none() | st.just("s3://b/ä"),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_ids_and_keys_are_made_a_column_at_a_time_to_the_letter(
    rows: list[tuple[tuple[float, ...] | None, bool, str | None]],
) -> None:
    boxes = np.asarray([[np.nan] * 4 if box is None else box for box, _, _ in rows], np.float64)
    relative = np.asarray([shares for _, shares, _ in rows])
    paths = pa.array([f"n1/ü{row}.jpg" for row in range(len(rows))])
    sizes = np.arange(len(rows)) - 1
    files = ids.Files(sizes, sizes * 7, sizes, np.zeros(len(rows), bool))
    far = pa.array([place for _, _, place in rows], pa.string())
    made = ids.annotation_ids(paths, boxes, relative).to_pylist()
    keys = ids.source_keys(files, far, boxes, relative).to_pylist()
    for row, (box, shares, place) in enumerate(rows):
        unit = "relative" if shares else "px"
        assert made[row] == annotation_id(f"n1/ü{row}.jpg", box, unit)
        written = place or ("absent" if row == 0 else f"{row - 1} {(row - 1) * 7}")
        assert keys[row] == ids.key_of(written, box, unit)
