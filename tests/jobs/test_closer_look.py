"""A catalogue compared by pairs: nights are one run, rules are kept, and nothing is mixed with distances."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.catalogue.closer_look import check_same_look, look_settings
from jobs.catalogue.thresholds import Modes, make_rules
from jobs.common.looked import LookedAt
from reid import schema
from reid.catalogue import SpeciesRules, read_graph
from reid.config import Config, load_config
from reid.errors import InputError
from reid.pairs import FEATURES, find_candidates, stated_curve
from reid.pairs.affine import pair_seed
from reid.pairs.classifier import stored_model
from tests.jobs.made_up import RECIPE
from tests.jobs.test_decider import NOBODY, Nights

PLACE = {name: place for place, name in enumerate(FEATURES)}
SAID = schema.DECISIONS.empty_table()
MODES = Modes("off", "compare-all")
KEPT = {"settings": {"k": 3}, "model": stored_model(stated_curve())}
RULES = SpeciesRules(RECIPE, 0.2, 0.9, 1.0, "off", "compare-all", "given", None, KEPT)


def animals(n: int, per: int = 4) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Pictures of n / per animals that the vectors know nothing of."""
    rng = np.random.default_rng(0)
    rows = [
        dict.fromkeys(schema.ANNOTATIONS.names)
        | {"annotation_id": f"a{k:03d}", "image_path": f"{k}.jpg", "root": "/", "species": "lynx"}
        | {"identity": f"L{k // per}", "encounter_id": f"e{k}", "source_key": f"{k}"}
        for k in range(n)
    ]
    vectors = rng.normal(size=(n, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    table = pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS)
    return table, {row["annotation_id"]: vectors[k] for k, row in enumerate(rows)}


def look(config: Config, species: str, rows: pa.Table, vectors: np.ndarray) -> LookedAt:
    """Confidences by who is shown, by chance, and by the place in lists, which new rows change."""
    ids = rows["annotation_id"].to_pylist()
    who = np.array([int(one[1:]) // 4 for one in ids])
    found = find_candidates(np.ascontiguousarray(vectors), 30)
    first, second = found.pairs.T
    chance = np.array([pair_seed(ids[a], ids[b]) % 1000 / 1000 for a, b in found.pairs])
    features = np.full((len(first), len(FEATURES)), np.nan)
    shared = np.where(who[first] == who[second], 600, 10) * chance / found.ranks.min(axis=1) ** 0.5
    features[:, PLACE["matches_80"]] = shared
    features[:, PLACE["clear_sum"]] = shared**1.33 / 130  # 10: strangers, 600: one animal
    features[:, PLACE["cosine"]] = 1 - found.distances
    known = np.array([one is not None for one in rows["identity"].to_pylist()])
    people = np.where(known, who, -1)[found.pairs]
    mates = np.bincount(who[known], minlength=who.max() + 1)[who] > 1
    return LookedAt(ids, found.pairs, features, people, mates & known, {0: "too fast"}, 0)


def edges(nights: Nights) -> dict[tuple[str, str], float]:
    graph = read_graph(nights.catalogue, "lynx")
    columns = graph.edges.select(["a_id", "b_id", "distance"]).to_pydict()
    pairs = list(zip(columns["a_id"], columns["b_id"], strict=True))
    assert len(set(pairs)) == len(pairs), "the edges of an earlier night are not there any more"
    return dict(zip(pairs, columns["distance"], strict=True))


def catalogue(place: Path, vectors: dict[str, np.ndarray], rules: SpeciesRules = RULES) -> Nights:
    nights = Nights(place, vectors)
    nights.calibrate(rules)
    return nights


def unlabelled(table: pa.Table) -> pa.Table:
    at = table.schema.get_field_index("identity")
    return table.set_column(at, schema.ANNOTATIONS.field("identity"), pa.nulls(len(table), pa.string()))  # fmt: skip


def test_nights_are_one_run_and_a_run_that_was_overtaken_too(tmp_path: Path) -> None:
    table, vectors = animals(40)
    table = unlabelled(table)
    whole = catalogue(tmp_path / "whole", vectors)
    whole.identify(table, SAID, look=look)
    assert 1 < len(whole.parts) < 40
    lengths = edges(whole)
    assert all(0 < one < 1 for one in lengths.values())
    order = np.random.default_rng(1).permutation(40)
    grown = catalogue(tmp_path / "grown", vectors)

    def night(rows: Sequence[int], **options: object) -> None:
        grown.identify(table.take(pa.array(rows)), SAID, look=look, **options)  # type: ignore[arg-type]

    night(order[:15])
    assert set(edges(grown)) != set(lengths)

    def other_run() -> None:
        Nights(Path(grown.catalogue.path), vectors).identify(
            table.take(pa.array(order[15:22])), SAID, look=look
        )

    night(order[22:30], meanwhile=other_run)
    night(order[30:])
    assert grown.parts == whole.parts
    assert edges(grown) == lengths
    grown.identify(NOBODY, SAID)  # no look is needed where nothing is new
    assert edges(grown) == lengths


def test_rules_are_learned_on_the_scale_of_probabilities_and_kept(tmp_path: Path) -> None:
    table, vectors = animals(160)
    config = load_config(None, ["pairs=on", "identify.known_probability=0.7"])
    rows = np.stack(list(vectors.values()))
    rules = make_rules(config, "lynx", RECIPE, table, rows, MODES, None, look)
    assert rules.pairs is not None
    assert rules.pairs["model"]["kind"] in ("logistic", "trees")
    assert 0 < rules.known_distance <= rules.new_distance <= rules.radius
    assert rules.radius >= 1
    again = SpeciesRules.from_dict(rules.as_dict())
    assert again.pairs == rules.pairs
    assert again.edges_recipe == rules.edges_recipe != RECIPE
    nights = catalogue(tmp_path, vectors, rules)
    nights.identify(unlabelled(table), SAID, look=look)
    assert 1 < len(nights.parts) < 160
    # Learned again without a word about pairs it stays so; told so, it goes back.
    assert make_rules(load_config(None, ["identify.known_probability=0.7"]), "lynx", RECIPE, table, rows, MODES, rules, look).pairs  # fmt: skip
    back = load_config(None, ["pairs=off", "identify.known_distance=0.1", "identify.new_distance=0.2"])  # fmt: skip
    plain = make_rules(back, "lynx", RECIPE, table, rows, MODES, rules, look)
    assert plain.pairs is None
    assert plain.radius == 0.2
    assert plain.edges_recipe == RECIPE


def test_a_catalogue_is_compared_in_one_way() -> None:
    by_distance = replace(RULES, pairs=None)
    check_same_look(load_config(), "lynx", RULES)
    check_same_look(load_config(None, ["pairs=on", "pairs.k=3"]), "lynx", RULES)
    with pytest.raises(InputError, match="this catalogue compares by distances"):
        check_same_look(load_config(None, ["pairs=on"]), "lynx", by_distance)
    with pytest.raises(InputError, match="this catalogue compares by pairs"):
        check_same_look(load_config(None, ["pairs=off"]), "lynx", RULES)
    with pytest.raises(
        InputError, match=r"pairs\.k=9 for lynx, but this catalogue was made with 3"
    ):
        check_same_look(load_config(None, ["pairs.k=9"]), "lynx", RULES)
    with pytest.raises(InputError, match=r"pairs\.mode=auto: a catalogue is compared by one"):
        check_same_look(load_config(None, ["pairs=auto"]), "lynx", RULES)
    with pytest.raises(InputError, match="no picture shows a mean; take best"):
        look_settings(load_config(None, ["pairs=on"]), "mean", "same-side", None)
    kept = look_settings(load_config(None, ["pairs.wide=9"]), "best", "compare-all", RULES)
    assert (kept["k"], kept["wide"]) == (3, 9)
    assert (kept["encounters"], kept["viewpoints"]) == ("together", "same-side")


def test_a_catalogue_computes_in_what_it_was_learned_from() -> None:
    auto = load_config(None, ["pairs=on", "pairs.precision=auto", "pairs.matcher=patches"])
    settings = look_settings(auto, "best", "same-side", None)
    assert settings["precision"] == "fp32"  # this machine's answer, and no question any more
    exact = replace(RULES, pairs={**KEPT, "settings": settings})
    check_same_look(load_config(None, ["pairs.precision=auto"]), "lynx", exact)
    with pytest.raises(InputError, match=r"pairs\.precision=bf16 for lynx, but"):
        check_same_look(load_config(None, ["pairs.precision=bf16"]), "lynx", exact)
