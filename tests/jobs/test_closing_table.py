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
    found = {
        "images": 9,
        "individuals": 4,
        "singletons": 1,
        "seen_once": 3,
        "largest": 5,
        "scores": {"ari": 0.5},
    }
    found |= {"method": method, "eps": eps, "verdict": {"level": "review everything"}}
    found |= {"eps_source": "pairs" if eps is None else "tuned"}
    table = closing_table({"cluster": {"seconds": 1.0, "species": {"lynx": found}}})
    cells = {str(column.header): list(column.cells) for column in table.columns}
    assert (cells["threshold"], cells["from"]) == ([expected[0]], [expected[1]])
    # A burst is one sighting, however many images it has.
    assert (cells["seen twice or more"], cells["seen once"]) == (["1"], ["3"])


def test_without_labels_there_is_no_column_of_agreement() -> None:
    found = {
        "images": 9,
        "individuals": 4,
        "singletons": 1,
        "seen_once": 1,
        "largest": 5,
        "scores": {},
    }
    found |= {
        "method": "dbscan",
        "eps": 0.2,
        "verdict": {"level": "not usable"},
        "eps_source": "estimated",
    }
    table = closing_table({"cluster": {"seconds": 1.0, "species": {"lynx": found}}})
    assert not [one for one in table.columns if "ARI" in str(one.header)]
    assert len(table.rows) == 1
    assert list(table.columns[-1].cells) == ["not usable"]
