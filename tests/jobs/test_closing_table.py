"""What a run found, in a table."""

import pytest

from jobs.common.closing_table import closing_table


@pytest.mark.parametrize(
    ("method", "eps", "expected"),
    [("dbscan", 0.25, ("0.250", "tuned")), ("mean-linkage", None, ("–", "pairs"))],
)
def test_where_there_is_no_threshold_none_is_shown(
    method: str, eps: float | None, expected: tuple[str, str]
) -> None:
    found = {"images": 9, "individuals": 4, "singletons": 1, "largest": 5, "scores": {"ari": 0.5}}
    found |= {"method": method, "eps": eps, "verdict": {"level": "review everything"}}
    found |= {"eps_source": "pairs" if eps is None else "tuned"}
    table = closing_table({"cluster": {"seconds": 1.0, "species": {"lynx": found}}})
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert (cells["threshold"], cells["from"]) == ([expected[0]], [expected[1]])
    assert cells["seen twice or more"] == ["3"]
