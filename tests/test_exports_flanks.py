"""Sides are two coats, and are never thrown together unless the identity has both."""

import pandas as pd
import pyarrow as pa
import pytest

from reid.errors import InputError
from reid.exports.flanks import choose_flank, mixed
from reid.exports.sightings import choose, in_doubt, sightings, single_doubts
from reid.schema import DECISIONS
from tests.leopard_cats import frame


def seen(*rows: tuple[str, str | None]) -> pd.DataFrame:
    """Sightings of (individual, viewpoint)."""
    table = frame().iloc[[0] * len(rows)].reset_index(drop=True)
    return table.assign(
        annotation_id=[f"{number}" for number in range(len(rows))],
        individual=[name for name, _ in rows],
        viewpoint=[view for _, view in rows],
    )


ONE_SIDED = seen(("a", "left"), ("b", "front-left"), ("c", "right"), ("d", None))
JOINED = seen(("a", "left"), ("a", "right"), ("b", "left"), ("c", "right"), ("c", None))


def individuals(rows: pd.DataFrame) -> list[str]:
    return rows["individual"].tolist()


def test_left_takes_individuals_seen_from_the_left_with_all_their_sightings() -> None:
    found = choose_flank(JOINED, "left", "s")
    assert individuals(found.sessions["s"]) == ["a", "a", "b"]
    assert found.left_out["reason"].tolist() == ["this individual was never seen from the left"] * 2
    assert (found.left, found.right, found.joined) == (2, 2, 1)
    assert "from both (sides joined): 1" in found.notes[0]
    assert "1 individuals are known from both sides; their 1 images" in found.notes[1]


def test_right_and_best() -> None:
    assert individuals(choose_flank(JOINED, "right", "s").sessions["s"]) == ["a", "a", "c", "c"]
    best = choose_flank(ONE_SIDED, "best", "s")
    assert individuals(best.sessions["s"]) == ["a", "b"]
    assert "--flank best: left, with 2 individuals" in best.notes


def test_both_sessions_never_hold_the_other_side() -> None:
    found = choose_flank(JOINED, "both-sessions", "s")
    assert {name: individuals(rows) for name, rows in found.sessions.items()} == {
        "left": ["a", "b"],
        "right": ["a", "c"],
    }
    assert found.left_out["reason"].tolist() == ["shows neither the left nor the right side alone"]


def test_without_a_choice_one_sided_individuals_are_not_thrown_together() -> None:
    assert mixed(ONE_SIDED)
    found = choose_flank(ONE_SIDED, None, "s")
    assert individuals(found.sessions["s"]) == ["a", "b"]
    assert any("sides are not thrown together" in note for note in found.notes)


def test_joined_sides_may_stand_together() -> None:
    joined = seen(("a", "left"), ("a", "right"), ("b", "left"), ("c", None))
    assert not mixed(joined)
    assert individuals(choose_flank(joined, None, "s").sessions["s"]) == ["a", "a", "b", "c"]


def test_a_side_that_nobody_was_seen_from() -> None:
    with pytest.raises(
        InputError, match=r"nobody was seen from the right; .* viewpoints filled in"
    ):
        choose_flank(seen(("a", "left")), "right", "s")
    with pytest.raises(InputError, match="nobody was seen from the left"):
        choose_flank(seen(("a", None)), "both-sessions", "s")


# ── Who counts ────────────────────────────────────────────────────────────────────────────────────


def unsure_herd() -> pd.DataFrame:
    table = seen(("a", None), ("b", None), ("c", None))
    return table.assign(
        identity_id=["a", "b", "c"],
        decision=["known", "new", "unsure"],
        nearest_id=[None, "0", "1"],
    )


@pytest.mark.parametrize(
    ("rule", "kept"), [("drop", ["a", "b"]), ("own", ["a", "b", "c"]), ("as-best", ["a", "b", "b"])]
)
def test_unsure_images_count_as_told(rule: str, kept: list[str]) -> None:
    found = choose(unsure_herd(), unsure=rule)
    assert individuals(found.rows) == kept
    assert len(found.rows) + len(found.left_out) == 3
    assert "1 unsure images" in found.notes[0]


def test_a_persons_word_ends_a_doubt() -> None:
    table = unsure_herd()
    assert in_doubt(table).tolist() == [False, False, True]
    assert not in_doubt(table.assign(identity=[None, None, "Luna"])).any()
    assert not in_doubt(table.assign(confirmed_by=[None, None, "anna"])).any()


def test_single_doubts_are_of_individuals_met_once() -> None:
    table = unsure_herd().iloc[[0, 2, 2, 2, 2]].reset_index(drop=True)
    table["annotation_id"] = list("01234")
    table["identity_id"] = ["a", "c", "c", "d", "d"]
    table["timestamp"] += pd.to_timedelta([0, 0, 20, 0, 900], unit="s")
    assert single_doubts(table).tolist() == [False, True, True, False, False]
    table.loc[2, "decision"] = "known"
    assert not single_doubts(table).any(), "one sure image of an individual is enough"
    kept = choose(unsure_herd(), unsure="drop-singles").rows["individual"].tolist()
    assert kept == ["a", "b"]
    assert choose(unsure_herd(), unsure="join-singles").rows["individual"].tolist() == [
        "a",
        "b",
        "b",
    ]


def test_one_species_at_a_time() -> None:
    table = unsure_herd().assign(species=["lynx", "lynx", "cat"])
    with pytest.raises(InputError, match="several species: cat, lynx; name one by --species"):
        choose(table)
    with pytest.raises(
        InputError, match="--species dog: there is no such species; known: cat, lynx"
    ):
        choose(table, species="dog")
    with pytest.raises(InputError, match="cat: no image is left, 1 are unsure"):
        choose(table, species="cat")
    assert choose(table, species="lynx").species == "lynx"
    with pytest.raises(InputError, match="--unsure maybe: known: drop, own, as-best"):
        choose(table, species="lynx", unsure="maybe")


def test_who_confirmed_an_image_last() -> None:
    rows = pa.Table.from_pandas(
        unsure_herd()
        .assign(identity_id=["a", "a", "c"])
        .drop(columns=["confirmed_by", "confirmed_at"]),
        preserve_index=False,
    )
    said = [
        ("0", "1", "match", "anna", 1),
        ("0", "1", "match", "ben", 2),
        ("0", "2", "match", "eva", 3),
    ]
    decisions = pa.Table.from_pylist(
        [
            {
                "a_id": a, "b_id": b, "decision": what, "reviewer": who, "run_id": "r",
                "timestamp": pd.Timestamp(f"2026-01-0{day}", tz="UTC"),
            }
            for a, b, what, who, day in said
        ],
        schema=DECISIONS,
    )  # fmt: skip
    found = sightings(rows, decisions)
    # Eva's match holds no longer: the two are not one individual now.
    assert found["confirmed_by"].tolist() == ["ben", "ben", None]
    assert found["confirmed_at"].iloc[0] == pd.Timestamp("2026-01-02", tz="UTC")
    assert found["confirmed_at"].isna().tolist() == [False, False, True]
    assert sightings(rows)["confirmed_by"].isna().all()
