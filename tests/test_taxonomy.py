"""Labels by rank: sums that fit on paper, an oracle that walks the tree, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.taxonomy import RANKS, Taxonomy, label_by_rank, read_taxonomy, taxonomy_of_names

# Two bees of one genus, a wasp that ends at its genus, a fly.
INSECTS = Taxonomy(
    ("order", "genus", "species"),
    np.array([
        ["Hymenoptera", "Apis", "mellifera"],
        ["Hymenoptera", "Apis", "cerana"],
        ["Hymenoptera", "Vespa", ""],
        ["Diptera", "Musca", "domestica"],
    ]),
)  # fmt: skip


@pytest.mark.parametrize(
    ("p", "label", "of_ranks"),
    [
        ([0.7, 0.1, 0.1, 0.1], "mellifera", [0.9, 0.8, 0.7]),
        ([0.4, 0.3, 0.2, 0.1], "Apis", [0.9, 0.7, 0.4]),
        ([0.2, 0.2, 0.4, 0.2], "Hymenoptera", [0.8, 0.4, 0.2]),
        ([0.1, 0.1, 0.7, 0.1], "Vespa", [0.9, 0.7, 0.1]),  # as deep as its class goes
        ([0.25, 0.15, 0.1, 0.5], None, [0.5, 0.5, 0.5]),  # half is not more than half
        ([0.1, 0.1, 0.1, 0.7], "domestica", [0.7, 0.7, 0.7]),
    ],
)
def test_the_deepest_taxon_that_is_more_probable_than_half(p, label, of_ranks):
    found = label_by_rank(np.array([p]), INSECTS, 0.5)
    np.testing.assert_allclose(found.probabilities, [of_ranks])
    deepest = found.names[0, found.depth[0]] if found.depth[0] >= 0 else None
    assert deepest == label
    assert found.names[0].tolist() == [
        name if place <= found.depth[0] else None for place, name in enumerate(found.names[0])
    ]


def test_a_higher_threshold_stops_higher_up():
    p = np.array([[0.7, 0.1, 0.1, 0.1]])
    names = [
        label_by_rank(p, INSECTS, least).names[0].tolist() for least in (0.5, 0.75, 0.85, 0.95)
    ]
    assert names == [
        ["Hymenoptera", "Apis", "mellifera"],
        ["Hymenoptera", "Apis", None],
        ["Hymenoptera", None, None],
        [None, None, None],
    ]


def test_one_name_in_two_families_is_two_taxa():
    tree = Taxonomy(("family", "genus"), np.array([["A", "Sp."], ["B", "Sp."]]))
    found = label_by_rank(np.array([[0.6, 0.4]]), tree, 0.5)
    assert found.probabilities.tolist() == [[0.6, 0.6]]


@given(st.integers(0, 10**6), st.integers(1, 6), st.sampled_from([0.5, 0.6, 0.9]))
def test_as_a_walk_over_all_taxa_finds_it(seed, n, threshold):
    rng = np.random.default_rng(seed)
    names = rng.choice(["a", "b", "c"], size=(7, 3))
    names[rng.random(7) < 0.3, 2] = ""
    p = rng.dirichlet(np.full(7, 0.4), size=n)
    found = label_by_rank(p, Taxonomy(("x", "y", "z"), names), threshold)
    for row in range(n):
        expected = []
        for rank in range(3):
            totals = {}
            for one, line in zip(p[row], names, strict=True):
                if line[rank]:
                    key = tuple(line[: rank + 1])
                    totals[key] = totals.get(key, 0) + one
            expected += [key for key, total in totals.items() if total > threshold]
        deepest = max(expected, key=len, default=())
        assert [name for name in found.names[row] if name is not None] == list(deepest)


def test_names_that_spell_out_ranks():
    four = taxonomy_of_names(["Diptera;Muscidae;Musca;domestica", "Diptera; Muscidae;;"])
    assert four.ranks == ("order", "family", "genus", "species")
    assert four.names.tolist() == [
        ["Diptera", "Muscidae", "Musca", "domestica"],
        ["Diptera", "Muscidae", "", ""],
    ]
    seven = taxonomy_of_names(
        ["03111_Animalia_Chordata_Aves_Accipitriformes_Accipitridae_Accipiter_badius"]
    )
    assert seven.ranks == RANKS
    assert seven.names[0, [0, -1]].tolist() == ["Animalia", "badius"]
    assert taxonomy_of_names(["tench", "goldfish"]) is None


def test_a_table_in_any_order_of_its_classes(tmp_path):
    path = tmp_path / "classes.csv"
    path.write_text("family;genus;class_index\nCanidae;Vulpes;1\nFelidae;;0\n")
    tree = read_taxonomy(str(path), 2)
    assert tree.ranks == ("family", "genus")
    assert tree.names.tolist() == [["Felidae", ""], ["Canidae", "Vulpes"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("class_index,genus\n0,Apis\n2,Musca\n", "each class from 0 to 1 once.*: 1, 2"),
        ("class_index,genus\n0,Apis\n0,Musca\n1,Vespa\n", "doubled"),
        ("order,genus\nDiptera,Musca\n", "1 rows, and the model has 2"),
        ("order,genus\nDiptera,Musca\n,Apis\n", "a rank below an empty one"),
        ("class_index\n0\n1\n", "one a rank is needed"),
    ],
)
def test_tables_that_are_refused(tmp_path, text, expected):
    path = tmp_path / "classes.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=expected):
        read_taxonomy(str(path), 2)


def test_what_else_is_refused():
    with pytest.raises(InputError, match="4 classes, and the model gives 3"):
        label_by_rank(np.ones((1, 3)) / 3, INSECTS, 0.5)
    with pytest.raises(InputError, match=r"at least 0\.5 and below 1"):
        label_by_rank(np.ones((1, 4)) / 4, INSECTS, 0.4)
    with pytest.raises(InputError, match="of 2 to 3 ranks"):
        taxonomy_of_names(["a;b", "a;b;c"])
