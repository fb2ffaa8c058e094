"""What is done with encounters and viewpoints where nobody said."""

import pyarrow as pa
import pytest

from reid import schema
from reid.identify.default_rules import default_encounters, default_viewpoints


def rows(*columns: tuple[str | None, str | None, str | None]) -> pa.Table:
    """Encounter, identity and picture of each row."""
    found = [
        dict.fromkeys(schema.ANNOTATIONS.names)
        | {"annotation_id": f"{number:04}", "root": "", "image_path": picture or f"{number}.jpg",
           "source_key": "k", "species": "lynx", "encounter_id": met, "identity": who,
           "bbox": [number * 40.0, 0.0, 20.0, 20.0] if picture else None}
        for number, (met, who, picture) in enumerate(columns)
    ]  # fmt: skip
    return pa.Table.from_pylist(found, schema=schema.ANNOTATIONS)


ALONE = [(f"e{number // 2}", None, None) for number in range(20)]


@pytest.mark.parametrize(
    ("table", "mode", "why"),
    [
        (rows(*ALONE), "best", "20 of 20 images are in 10 encounters"),
        (rows(), "off", "0 of 0 images are in an encounter"),
        (rows(*ALONE[:4], *[(None, None, None)] * 4), "best", "4 of 8 images are in 2"),
        (rows(*ALONE[:4], *[(None, None, None)] * 5), "off", "4 of 9 images are in an encounter"),
        # One encounter of ten has two names: a mistake. Two: they are of groups.
        (rows(("e0", "a", None), ("e0", "b", None), *ALONE[2:]), "best", "10 encounters"),
        (
            rows(("e0", "a", None), ("e0", "b", None), ("e1", "a", None), ("e1", "b", None), *ALONE[4:]),
            "off", "2 of 10 encounters of several images show several animals",
        ),
        (
            rows(("e0", None, "x"), ("e0", None, "x"), ("e1", None, "y"), ("e1", None, "y"), *ALONE[4:]),
            "off", "2 of 10 encounters",
        ),
    ],
)  # fmt: skip
def test_encounters_are_used_where_they_are_of_one_animal(
    table: pa.Table, mode: str, why: str
) -> None:
    found, said = default_encounters(table, schema.DECISIONS.empty_table())
    assert found == mode
    assert why in said


def test_left_is_compared_with_right() -> None:
    table = rows(*ALONE)
    assert default_viewpoints(table) == ("compare-all", "no image has a viewpoint")
    seen = table.set_column(
        table.schema.get_field_index("viewpoint"),
        schema.ANNOTATIONS.field("viewpoint"),
        pa.array(["left"] * 20),
    )
    mode, said = default_viewpoints(seen)
    assert mode == "compare-all"
    assert "20 of 20 images have a viewpoint" in said
