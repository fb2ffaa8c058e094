import random
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid import catalogue as cat
from reid import schema
from reid.catalogue.reviewer_decisions import IMPORT_SCHEMA
from reid.errors import InputError
from reid.identify.constraints import latest_decisions
from reid.identify.remarks import names_by_people, remarks

HEADER = "a_id,b_id,decision,reviewer,timestamp,note\n"


def read(folder: Path, *lines: str) -> pa.Table:
    path = folder / "constraints.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n", encoding="utf-8")
    return cat.read_decisions(str(path))


def bring_in(catalogue: cat.Catalogue, run_id: str, decisions: pa.Table) -> cat.Catalogue:
    return cat.update(catalogue, run_id, lambda _: cat.Change(decisions=decisions))


@pytest.fixture
def empty(tmp_path: Path) -> cat.Catalogue:
    return cat.open_catalogue(str(tmp_path / "catalogue"), create=True)


def test_a_file_is_read_as_people_write_it(tmp_path: Path) -> None:
    path = tmp_path / "constraints.csv"
    path.write_text(
        "\ufefftimestamp, reviewer, decision, b_id, a_id\n"
        "2026-05-31T14:05:00+02:00, Ana, match, x1, x2\n"
        "2026-05-31 12:05, Ana, match, x2, x1\n"  # the same: the pair turned, the time in UTC
        "2026-06-01, Bo, unknown, x3, x1\n",
        encoding="utf-8",
    )
    rows = cat.read_decisions(str(path))
    assert rows.schema == IMPORT_SCHEMA
    found = [
        (row["a_id"], row["b_id"], row["decision"], row["reviewer"], row["timestamp"].isoformat())
        for row in rows.to_pylist()
    ]
    assert found == [
        ("x1", "x2", "match", "Ana", "2026-05-31T12:05:00+00:00"),
        ("x1", "x3", "unknown", "Bo", "2026-06-01T00:00:00+00:00"),
    ]
    assert rows["note"].to_pylist() == [None, None]


def test_every_line_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    good = "a,b,match,Ana,2026-01-01T00:00:00Z,"
    wrong = {
        "a,a,match,Ana,2026-01-01,": "line 3: a_id and b_id are both a",
        "a,,match,Ana,2026-01-01,": "line 4: a_id or b_id is empty",
        "a,b,same,Ana,2026-01-01,": "line 5: decision is 'same'; known: match, nomatch, unknown",
        "a,b,match,,2026-01-01,": "line 6: reviewer is empty",
        "a,b,match,Ana,31/5/26,": "line 7: timestamp is '31/5/26'; write it like",
    }
    with pytest.raises(InputError, match="5 lines cannot be used") as caught:
        read(tmp_path, good, *wrong)
    for message in wrong.values():
        assert message in str(caught.value)
    with pytest.raises(InputError, match="and 2 more"):
        read(tmp_path, *["a,a,match,Ana,2026-01-01,"] * 12)
    (tmp_path / "short.csv").write_text("a_id,b_id\n")
    with pytest.raises(InputError, match="the header lacks decision, reviewer, timestamp"):
        cat.read_decisions(str(tmp_path / "short.csv"))
    (tmp_path / "latin.csv").write_bytes("é".encode("latin-1"))
    with pytest.raises(InputError, match="the header lacks a_id, b_id"):
        cat.read_decisions(str(tmp_path / "latin.csv"))
    with pytest.raises(InputError, match="there is no such file"):
        cat.read_decisions(str(tmp_path / "none.csv"))


def test_of_one_picture_several_things_may_be_said_at_once(
    tmp_path: Path, empty: cat.Catalogue
) -> None:
    moment = "Ana,2026-01-01T00:00:00Z"
    rows = read(
        tmp_path, f"a,,name,{moment},Luna", f"a,a,sex,{moment},female", f"a,b,match,{moment},"
    )
    assert [(row["a_id"], row["b_id"]) for row in rows.to_pylist()] == [
        ("a", "a"),
        ("a", "a"),
        ("a", "b"),
    ]
    bring_in(empty, "r1", rows)
    stored = cat.open_catalogue(empty.path).decisions()
    assert latest_decisions(stored)["decision"].to_pylist() == ["match"], "of pairs alone"
    assert {kind: one.value for kind, one in remarks(stored)["a"].items()} == {
        "name": "Luna",
        "sex": "female",
    }
    with pytest.raises(InputError, match="Ana says Luna, Bo says Bella"):
        bring_in(empty, "r2", read(tmp_path, "a,,name,Bo,2026-01-01T00:00:00Z,Bella"))
    bring_in(
        empty,
        "r3",
        read(tmp_path, "a,,name,Bo,2026-01-02T00:00:00Z,", "b,,name,Bo,2026-01-02T00:00:00Z,Bella"),
    )
    stored = cat.open_catalogue(empty.path).decisions()
    assert "name" not in remarks(stored)["a"], "taken back"
    assert names_by_people({"a": "x", "b": "x"}, stored) == {"x": "Bella"}
    with pytest.raises(InputError, match="name is said of one picture: leave b_id empty"):
        read(tmp_path, f"a,b,name,{moment},Luna")


def test_unknown_ids_are_listed(tmp_path: Path) -> None:
    decisions = read(tmp_path, "a,b,match,Ana,2026-01-01,", "c,zz,match,Ana,2026-01-01,")
    cat.check_known(decisions, pa.array(["a", "b", "c", "zz"]))
    cat.check_known(decisions.slice(0, 0), pa.array([], pa.string()))
    with pytest.raises(InputError, match=r"2 annotation ids .* c; zz$"):
        cat.check_known(decisions, pa.chunked_array([["a"], ["b"]]))


def test_a_match_between_species_is_refused(tmp_path: Path) -> None:
    annotations = pa.table({"annotation_id": ["a", "b", "c"], "species": ["lynx", "lynx", "fox"]})
    apart = ("a,c,nomatch,Ana,2026-01-01,", "b,c,unknown,Ana,2026-01-01,")
    cat.check_matches(read(tmp_path, "a,b,match,Ana,2026-01-01,", *apart), annotations)
    with pytest.raises(InputError, match=r"1 matches join two species.* b \(lynx\) and c \(fox\)"):
        cat.check_matches(read(tmp_path, "b,c,match,Ana,2026-01-01,"), annotations)


def test_a_line_in_two_files_is_once(tmp_path: Path, empty: cat.Catalogue) -> None:
    line = "a,b,match,Ana,2026-01-01,"
    both = pa.concat_tables([read(tmp_path, line), read(tmp_path, line)])
    assert len(cat.fresh_decisions(empty.decisions(), both, "r1")) == 1
    assert len(bring_in(empty, "r1", both).decisions()) == 1


def test_the_same_file_twice_is_once(tmp_path: Path, empty: cat.Catalogue) -> None:
    first = read(tmp_path, "a,b,match,Ana,2026-01-01,sure", "a,c,nomatch,Ana,2026-01-01,")
    one = bring_in(empty, "r1", first)
    again = bring_in(one, "r2", first)
    assert again.decisions().equals(one.decisions())
    assert again.record.decisions == one.record.decisions
    more = bring_in(
        again, "r3", read(tmp_path, "b,a,match,Ana,2026-01-01,", "a,b,match,Bo,2026-01-01,")
    )
    assert more.decisions().schema == schema.DECISIONS
    assert more.decisions()["run_id"].to_pylist() == ["r1", "r3", "r1"]
    assert more.decisions()["note"].to_pylist() == ["sure", None, None]


def test_the_later_decision_holds(tmp_path: Path, empty: cat.Catalogue) -> None:
    late = read(tmp_path, "a,b,nomatch,Bo,2026-02-01,", "a,c,match,Bo,2026-02-01,")
    early = read(tmp_path, "a,b,match,Ana,2026-01-01,")
    catalogue = bring_in(bring_in(empty, "r1", late), "r2", early)
    held = latest_decisions(catalogue.decisions())
    assert held.select(["a_id", "b_id", "decision", "reviewer"]).to_pylist() == [
        {"a_id": "a", "b_id": "b", "decision": "nomatch", "reviewer": "Bo"},
        {"a_id": "a", "b_id": "c", "decision": "match", "reviewer": "Bo"},
    ]
    with pytest.raises(
        InputError,
        match=r"1 pairs .* disagree .* a, b at 2026-02-01T00:00:00\+00:00: Bo says nomatch",
    ):
        bring_in(catalogue, "r3", read(tmp_path, "a,b,match,Ana,2026-02-01,"))
    assert cat.open_catalogue(catalogue.path).version == catalogue.version


def test_undo_takes_back_the_decisions_of_its_run_alone(
    tmp_path: Path, empty: cat.Catalogue
) -> None:
    one = bring_in(empty, "r1", read(tmp_path, "a,b,match,Ana,2026-01-01,"))
    second = read(tmp_path, "a,c,match,Ana,2026-01-01,")
    two = bring_in(one, "r2", second)
    back = cat.undo(two, "r2", "u2")
    assert back.decisions().equals(one.decisions())
    assert two.decisions()["b_id"].to_pylist() == ["b", "c"]  # as it was
    anew = bring_in(back, "r3", second)
    assert anew.decisions()["run_id"].to_pylist() == ["r1", "r3"]
    assert cat.undo(cat.undo(anew, "r3", "u3"), "r1", "u1").decisions().num_rows == 0


def test_decisions_of_a_run_that_did_not_commit_do_not_count(
    tmp_path: Path, empty: cat.Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    decisions = read(tmp_path, "a,b,match,Ana,2026-01-01,")
    with monkeypatch.context() as patch:
        patch.setattr("reid.catalogue.commits._write", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            bring_in(empty, "r1", decisions)
    found = cat.open_catalogue(empty.path)
    assert found.decisions().num_rows == 0
    assert bring_in(found, "r2", decisions).decisions()["run_id"].to_pylist() == ["r2"]


def test_two_who_bring_in_decisions_at_once_lose_none(tmp_path: Path, empty: cat.Catalogue) -> None:
    one = read(tmp_path, "a,b,match,Ana,2026-01-01,")
    two = read(tmp_path, "a,c,match,Bo,2026-01-01,")
    rounds = []

    def decide(catalogue: cat.Catalogue) -> cat.Change:
        rounds.append(catalogue.version)
        if len(rounds) == 1:
            bring_in(catalogue, "fast", two)
        return cat.Change(decisions=one)

    end = cat.update(empty, "slow", decide)
    assert end.decisions()["run_id"].to_pylist() == ["slow", "fast"]
    assert len(rounds) == 2


DECISION = st.tuples(
    st.sampled_from(["a,b", "b,a", "a,c", "b,c"]),
    st.sampled_from(["Ana", "Bo"]),
    st.integers(1, 9),
)


@given(st.lists(DECISION, max_size=12), st.randoms(use_true_random=False))
def test_which_decision_holds_does_not_depend_on_order(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[str, str, int]],
    shuffler: random.Random,
) -> None:
    # One moment says one thing, as an import asks for.
    lines = [
        f"{pair},{('match', 'nomatch')[day % 2]},{who},2026-01-0{day}," for pair, who, day in drawn
    ]
    folder = tmp_path_factory.mktemp("decisions")
    held = latest_decisions(read(folder, *lines))
    shuffler.shuffle(lines)
    assert latest_decisions(read(folder, *lines)).equals(held)
    latest: dict[frozenset[str], int] = {}
    for pair, _, day in drawn:
        key = frozenset(pair.split(","))
        latest[key] = max(day, latest.get(key, 0))
    assert {
        frozenset((row["a_id"], row["b_id"])): row["timestamp"].day for row in held.to_pylist()
    } == latest
