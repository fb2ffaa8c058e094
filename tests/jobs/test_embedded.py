"""What the embedding stage tells: the first failures, each with its reason."""

import pyarrow as pa
import pytest

from jobs.common.embedded import say_failures
from reid import schema


@pytest.mark.parametrize(("failed", "lines"), [(0, 0), (3, 3), (5, 4)])
def test_the_first_failures_are_named(
    failed: int, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"annotation_id": str(i), "image_path": f"{i}.jpg", "stage": "decode", "error": "is empty"}
        for i in range(failed)
    ]
    say_failures(pa.Table.from_pylist(rows, schema=schema.FAILURES))
    told = capsys.readouterr().err.splitlines()
    assert len(told) == lines
    assert told[:3] == [f"failed: {i}.jpg: is empty" for i in range(min(failed, 3))]
    assert lines < 4 or told[3] == "failed: and 2 more, in failures.csv"
