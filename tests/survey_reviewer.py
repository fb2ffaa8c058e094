"""A reviewer who knows every animal of an invented survey, and answers the pages of `reid review`."""

import csv
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def asked(page: Path) -> list[dict[str, Any]]:
    """The questions of a page, with the ids of both images."""
    found = re.search(r'id="content">(.*?)</script>', page.read_text("utf-8"), re.S)
    assert found is not None
    content = json.loads(found[1])
    ids = content["rows"]["id"]
    return [
        {**one, "a_id": ids[one["a"]["row"]], "b_id": ids[one["b"]["row"]]}
        for one in content["questions"]
    ]


def answer(page: Path, who: Mapping[str, str], out: Path, time: str) -> int:
    """Write constraints.csv as the page would; how many pairs were judged.

    Args:
        page: of `reid review`.
        who: annotation id → the animal that it shows.
        out: the file.
        time: when, with an offset.
    """
    questions = asked(page)
    with out.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("a_id", "b_id", "decision", "reviewer", "timestamp", "note"))
        for one in questions:
            same = who[one["a_id"]] == who[one["b_id"]]
            word = "match" if same else "nomatch"
            writer.writerow((one["a_id"], one["b_id"], word, "anna", time, ""))
    return len(questions)
