"""What people said of single pictures, and so of the individuals that hold them.

A remark is a decision whose two ids are one; its kind is the decision, what it says is the note. It stays with
the picture: where individuals merge or split, it goes where the picture goes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

OF_INDIVIDUALS = ("name", "sex", "age", "note")
OF_EDGES = ("viewpoint", "unusable")  # they say with which others a picture is compared
OF_PICTURES = (*OF_EDGES, "profile")
REMARKS = (*OF_INDIVIDUALS, *OF_PICTURES)


@dataclass(frozen=True, slots=True)
class Remark:
    """What somebody said of a picture.

    Attributes:
        value: what was said; None: what was said before is taken back.
        reviewer: who said it.
        timestamp: when, UTC.
    """

    value: str | None
    reviewer: str
    timestamp: datetime


def about_pairs(decisions: pa.Table) -> pa.Table:
    """The decisions on two pictures."""
    return decisions.filter(pc.not_equal(decisions["a_id"], decisions["b_id"]))


def remarks(decisions: pa.Table) -> dict[str, dict[str, Remark]]:
    """annotation_id → kind → the last word, in order of the ids; what was taken back is not there.

    Args:
        decisions: `reid.schema.DECISIONS`; those on pairs are left out.
    """
    own = decisions.filter(pc.equal(decisions["a_id"], decisions["b_id"]))
    found: dict[str, dict[str, Remark]] = {}
    for row in own.sort_by([("a_id", "ascending"), ("timestamp", "ascending")]).to_pylist():
        said = Remark(row["note"], row["reviewer"], row["timestamp"])
        found.setdefault(row["a_id"], {})[row["decision"]] = said
    return {
        one: held
        for one, kinds in found.items()
        if (held := {kind: said for kind, said in kinds.items() if said.value is not None})
    }


def unusable_ids(decisions: pa.Table) -> set[str]:
    """Ids of the pictures that show nothing to tell an animal by, as people said."""
    return {one for one, kinds in remarks(decisions).items() if "unusable" in kinds}


def with_said_viewpoints(rows: pa.Table, decisions: pa.Table) -> pa.Table:
    """Rows with the viewpoints that people gave them; all others as they are.

    Args:
        rows: columns annotation_id and viewpoint.
        decisions: `reid.schema.DECISIONS`.
    """
    said = {
        one: kinds["viewpoint"].value
        for one, kinds in remarks(decisions).items()
        if "viewpoint" in kinds
    }
    if not said:
        return rows
    ids = rows["annotation_id"].to_pylist()
    views = [
        said.get(one, view) for one, view in zip(ids, rows["viewpoint"].to_pylist(), strict=True)
    ]
    place = rows.schema.get_field_index("viewpoint")
    return rows.set_column(place, rows.schema.field(place), pa.array(views, pa.string()))


def names_by_people(individuals: Mapping[str, str], decisions: pa.Table) -> dict[str, str]:
    """identity_id → the name that people gave the individual; several, in order, with ` / ` between.

    Args:
        individuals: annotation_id → identity_id.
        decisions: `reid.schema.DECISIONS`.
    """
    found: dict[str, set[str]] = {}
    for one, kinds in remarks(decisions).items():
        if "name" in kinds and one in individuals:
            found.setdefault(individuals[one], set()).add(str(kinds["name"].value))
    return {one: " / ".join(sorted(names)) for one, names in found.items()}
