"""The trainer on a toy: it learns, resumes exactly, says what went wrong, and saves what it learned."""

import json
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reid.errors import InputError, TrainingDivergedError
from reid.models import load_model
from reid.training import TrainSettings
from reid.training.gradients import Gradients
from reid.training.validate import held_out_scores
from tests.training_toy import LEARNS, SIDE, start, toy, write_model


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("models") / "toy")


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # small batches gain nothing from more
    yield
    torch.set_num_threads(before)


def _train(trainer, codes, pixels, epochs):
    rows = np.arange(len(codes))
    return [trainer.train_epoch(epoch, pixels, rows, codes) for epoch in epochs]


def _assert_same_state(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, dict):
            _assert_same_state(value, second[key])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key]), key
        else:
            assert value == second[key], key


def _scores(trainer, pixels, kinds, names):
    rows = trainer.embed(pixels, np.arange(len(names)))
    return held_out_scores(rows, kinds, names, [None] * len(names))


# --- learning ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"loss": "subcentre_arcface", "embedding_dim": 16, "precision": "bf16"},
        {"loss": "cosface", "sampling": "shuffled", "ema_decay": 0.5},
        {"loss": "cross_entropy", "label_smoothing": 0.1, "supcon_weight": 0.5},
        {"loss": "triplet", "images": 4, "pooling": "avg"},
        {"head_only_epochs": 1, "freeze_stages": 1, "layer_decay": 0.8, "pooling": "model"},
    ],
    ids=lambda changed: "-".join(map(str, changed.values())) or "defaults",
)
def test_it_learns_the_individuals(model, changed):
    pixels, kinds, names = toy(species=2)
    trainer, codes = start(model, kinds, names, **LEARNS, **changed)
    before = _scores(trainer, pixels, kinds, names)["mAP"]
    stats = _train(trainer, codes, pixels, range(LEARNS["epochs"]))
    after = _scores(trainer, pixels, kinds, names)["mAP"]
    assert before < 0.8, "there is something to learn"
    assert after > before + 0.05
    assert all(epoch.images >= len(codes) for epoch in stats)
    if changed.get("loss") != "triplet":  # its mean is over the triplets that are left
        assert stats[-1].loss < stats[0].loss


def test_embeddings_are_unit_rows_of_the_saved_network(model, tmp_path):
    pixels, kinds, names = toy()
    trainer, codes = start(model, kinds, names, embedding_dim=12, ema_decay=0.6)
    _train(trainer, codes, pixels, range(2))
    rows = np.array([3, 0, 17])
    found = trainer.embed(pixels, rows)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    folder = str(tmp_path / "checkpoint")
    trainer.save(folder, training={"note": "a test"})
    loaded = load_model(folder)
    assert (loaded.dimension, loaded.input_size) == (12, SIDE)
    with torch.inference_mode():
        from reid.training.augment import prepare

        batch = torch.from_numpy(pixels.take(rows)[0])
        images = prepare(batch, size=SIDE, mean=loaded.mean, std=loaded.std)
        expected = torch.nn.functional.normalize(loaded.module(images)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    told = json.loads((tmp_path / "checkpoint" / "model.json").read_text())["training"]
    assert told["note"] == "a test"
    assert told["settings"]["embedding_dim"] == 12
    assert told["start_digest"] == load_model(model).digest
    mirrored = trainer.embed(pixels, rows, hflip=True)
    np.testing.assert_allclose(np.linalg.norm(mirrored, axis=1), 1, atol=1e-5)
    assert np.abs(mirrored - found).max() > 1e-4


def test_training_goes_on_from_a_checkpoint(model, tmp_path):
    pixels, kinds, names = toy()
    trainer, codes = start(model, kinds, names, embedding_dim=12)
    _train(trainer, codes, pixels, range(1))
    trainer.save(str(tmp_path / "first"))
    rows = np.arange(9)
    again, _ = start(str(tmp_path / "first"), kinds, names, embedding_dim=12)
    np.testing.assert_array_equal(again.embed(pixels, rows), trainer.embed(pixels, rows))
    wider, _ = start(str(tmp_path / "first"), kinds, names, embedding_dim=20)
    assert wider.embed(pixels, rows).shape == (9, 20)
    power = again.network.pool.power
    assert power != 3.0
    assert power == trainer.network.pool.power


# --- resume --------------------------------------------------------------------------------------


def test_a_resumed_run_ends_with_the_same_weights(model, tmp_path):
    pixels, kinds, names = toy()
    options = {"ema_decay": 0.9, "head_only_epochs": 1, "loss": "subcentre_arcface"}
    options["hard_share"] = 0.5
    whole, codes = start(model, kinds, names, **options)
    _train(whole, codes, pixels, range(4))
    first, _ = start(model, kinds, names, **options)
    _train(first, codes, pixels, range(2))
    torch.save(first.state_dict(), tmp_path / "state.pt")
    torch.manual_seed(99)  # whatever happened between the two
    second, _ = start(model, kinds, names, **options)
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    _train(second, codes, pixels, range(2, 4))
    _assert_same_state(whole.state_dict(), second.state_dict())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"embedding_dim": 8}, "embedding_dim"),
        ({"loss": "cosface"}, "loss"),
        ({"ema_decay": 0.9}, "weights averaged"),
    ],
)
def test_the_state_of_another_run_is_refused(model, changed, message):
    _, kinds, names = toy()
    state = start(model, kinds, names)[0].state_dict()
    with pytest.raises(InputError, match=f"the training state is of {message}"):
        start(model, kinds, names, **changed)[0].load_state_dict(state)


def test_the_state_of_another_architecture_or_herd_is_refused(model, tmp_path):
    _, kinds, names = toy()
    trainer, _ = start(model, kinds, names)
    other = write_model(tmp_path / "other", "test_resnet")
    with pytest.raises(InputError, match=r"architecture 'test_resnet'.* 'test_efficientnet'"):
        trainer.load_state_dict(start(other, kinds, names)[0].state_dict())
    strangers = [f"stranger {name}" for name in names]
    with pytest.raises(InputError, match="of identities"):
        trainer.load_state_dict(start(model, kinds, strangers)[0].state_dict())


# --- what can go wrong ---------------------------------------------------------------------------


def test_a_loss_that_is_no_number_names_epoch_step_and_annotations(model):
    pixels, kinds, names = toy()
    trainer, codes = start(model, kinds, names)
    _train(trainer, codes, pixels, range(1))
    before = {k: v.clone() for k, v in trainer.state_dict()["objective"].items()}
    steps = []

    def poison(info):
        steps.append(info.step)
        if info.step == 1:
            for name, value in trainer.objective.state_dict().items():
                before[name] = value.clone()
            trainer.objective.loss.scale = float("nan")

    with pytest.raises(
        TrainingDivergedError, match=r"epoch 2, step 3 .*: loss nan.* a\d+, "
    ) as caught:
        trainer.train_epoch(1, pixels, np.arange(len(codes)), codes, on_step=poison)
    assert steps == [0, 1]
    batch = np.unique(trainer._plan(1, codes)[2])
    assert str(caught.value).count(" a") >= min(len(batch), 8)
    for name, parameter in trainer.objective.named_parameters():
        assert torch.equal(parameter, before[name]), name  # the bad step changed nothing


def test_images_that_cannot_be_read_are_left_out(model):
    pixels, kinds, names = toy()
    pixels.cached[[0, 7]] = False  # read again, and not there
    trainer, codes = start(model, kinds, names)
    (stats,) = _train(trainer, codes, pixels, range(1))
    assert math.isfinite(stats.loss)
    assert pixels.failures()["annotation_id"].to_pylist() == ["a0", "a7"]
    rows = trainer.embed(pixels, np.array([0, 1, 7]))
    assert np.isnan(rows).all(1).tolist() == [True, False, True]
    scores = _scores(trainer, pixels, kinds, names)
    assert scores["queries"] == len(names) - 2


def test_out_of_memory_halves_the_batch_and_says_so(model, monkeypatch):
    pixels, kinds, names = toy()
    trainer, codes = start(model, kinds, names)
    forward, passes = trainer.objective.forward, []

    def small_memory(images, targets):
        passes.append(len(images))
        if len(images) > 3:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return forward(images, targets)

    monkeypatch.setattr(trainer.objective, "forward", small_memory)
    told = []
    stats = trainer.train_epoch(
        0, pixels, np.arange(len(codes)), codes, on_step=lambda info: told.append(info.note)
    )
    assert passes[:2] == [8, 4]
    assert set(passes[2:]) == {2}
    assert len(stats.notes) == 1
    assert "out of memory: 2 images at a time" in told[0]
    assert not any(told[1:])
    assert trainer.state_dict()["micro_batch"] == 2


def test_out_of_memory_with_the_least_batch_is_an_error(model, monkeypatch):
    pixels, kinds, names = toy()
    trainer, codes = start(model, kinds, names, micro_batch=2)

    def no_memory(images, targets):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer.objective, "forward", no_memory)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        _train(trainer, codes, pixels, range(1))


@pytest.mark.parametrize("micro_batch", [2, 3, 7])
def test_gradients_in_pieces_add_up_to_the_batch(model, micro_batch):
    _, kinds, names = toy()
    trainer, codes = start(model, kinds, names)
    trainer.objective.eval()  # batch statistics are of each piece, and would differ
    images = torch.randn(8, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    targets = torch.from_numpy(codes[::5].copy())
    targets[3] = -1

    def gradients(pieces):
        made = Gradients(trainer.objective, micro_batch=pieces, world=1)
        loss, note = made.compute(images, targets)
        assert note == ""
        found = [p.grad.clone() for p in trainer.objective.parameters() if p.grad is not None]
        return loss, found

    whole, expected = gradients(8)
    loss, found = gradients(micro_batch)
    torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-3)


@pytest.mark.parametrize("micro_batch", [2, 3, 4, 5])
def test_no_piece_of_an_odd_batch_is_a_single_image(model, micro_batch):
    pixels, kinds, names = toy()
    trainer, codes = start(
        model, kinds, names, identities=3, images=3, micro_batch=micro_batch, pooling="avg"
    )
    forward, passes = trainer.objective.forward, []

    def watch(images, targets):
        passes.append(len(images))
        return forward(images, targets)

    trainer.objective.forward = watch
    (stats,) = _train(trainer, codes, pixels, range(1))
    assert math.isfinite(stats.loss)
    assert sum(passes) == stats.images
    assert min(passes) >= 2
    assert max(passes) <= max(3, micro_batch)


def test_rows_without_a_class_and_settings_without_sense(model):
    pixels, kinds, names = toy()
    trainer, codes = start(model, kinds, names)
    codes[3] = -1
    with pytest.raises(InputError, match="need an identity each"):
        trainer.train_epoch(0, pixels, np.arange(len(codes)), codes)
    for wrong in ({"micro_batch": 1}, {"identities": 1, "images": 1}, {"crop_scale": 0.0}):
        with pytest.raises(InputError):
            TrainSettings(**wrong)


# --- phases --------------------------------------------------------------------------------------


def test_only_the_head_learns_in_the_first_epochs(model):
    pixels, kinds, names = toy()
    trainer, codes = start(model, kinds, names, head_only_epochs=1)
    backbone = trainer.network.backbone
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    norm = trainer.network.norm.weight.detach().clone()
    _train(trainer, codes, pixels, range(1))
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert not torch.equal(trainer.network.norm.weight, norm)
    _train(trainer, codes, pixels, range(1, 2))
    assert any(not torch.equal(v, before[k]) for k, v in backbone.named_parameters())


def test_species_whose_flanks_differ_are_not_mirrored(model, monkeypatch):
    from reid.training import trainer as module

    pixels, kinds, names = toy(species=2)
    trainer, codes = start(
        model, kinds, names, flip_probability=1.0, no_flip_species=("species 1",)
    )
    draw, seen = module.draw_changes, []

    def watch(settings, mirror, rng):
        drawn = draw(settings, mirror, rng)
        seen.append((mirror, drawn.warp[:, 0, 0] < 0))
        return drawn

    monkeypatch.setattr(module, "draw_changes", watch)
    _train(trainer, codes, pixels, range(1))
    plan = trainer._plan(0, codes)
    for batch, (may, did) in zip(plan, seen, strict=True):
        expected = [kinds[row] == "species 0" for row in batch]
        assert may.tolist() == expected
        assert did.tolist() == expected


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_it_learns_on_a_gpu(model):
    pixels, kinds, names = toy()
    options = {**LEARNS, "device": "cuda", "precision": "bf16", "ema_decay": 0.5}
    trainer, codes = start(model, kinds, names, **options)
    before = _scores(trainer, pixels, kinds, names)["mAP"]
    _train(trainer, codes, pixels, range(LEARNS["epochs"]))
    assert before < 0.8
    assert _scores(trainer, pixels, kinds, names)["mAP"] > before + 0.05


# --- many workers --------------------------------------------------------------------------------


def test_two_workers_end_with_the_same_weights_share_no_identity_and_name_the_bad_batch(
    model, tmp_path
):
    (tmp_path / "model").symlink_to(model)
    script = Path(__file__).with_name("training_rank.py")
    workers = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path), str(rank), "2"],
            cwd=Path(__file__).parents[1],
            env={"PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1", "PATH": ""},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    errors = [worker.communicate(timeout=240)[1] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], errors
    states = [torch.load(tmp_path / f"state-{rank}.pt", weights_only=True) for rank in range(2)]
    _assert_same_state(*states)
    assert states[0]["average"] is not None
    told = [json.loads((tmp_path / f"told-{rank}.json").read_text()) for rank in range(2)]
    assert told[0]["steps"] == told[1]["steps"]
    assert told[0]["images"] == told[1]["images"]
    _, kinds, names = toy()
    _, codes = start(model, kinds, names)
    for first, second in zip(told[0]["plans"], told[1]["plans"], strict=True):
        assert set(np.ravel(first)) | set(np.ravel(second)) == set(range(len(codes)))
        for a, b in zip(first, second, strict=True):
            assert not set(codes[a].tolist()) & set(codes[b].tolist())
    named = ", ".join(dict.fromkeys(told[1]["last_batch"]))
    assert set(told[0]["last_batch"]).isdisjoint(told[1]["last_batch"])
    for one in told:  # on both, although the loss of the first is a number
        assert (
            f"step 1 (counted from 1): loss nan, length of the gradient nan; the batch: {named}. "
            in (one["diverged"])
        )


@pytest.mark.parametrize("gain", [0.05, 3.0])
def test_auto_precision_is_what_this_cpu_is_faster_with(tmp_path, monkeypatch, gain):
    monkeypatch.setattr("reid.precision.bfloat16_gain", lambda: gain)
    _, kinds, names = toy()
    trainer, _ = start(write_model(tmp_path), kinds, names, precision="auto")
    assert trainer.precision == ("bf16" if gain > 1 else "fp32")
    assert f"{gain:.1f} times" in trainer.precision_note
