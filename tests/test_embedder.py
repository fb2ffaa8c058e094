"""Views, ensembles, recipes and the stream, on small networks whose answer can be worked out."""

import datetime
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid import optional, schema
from reid.embedder import Embedder, Recipe, embed_annotations
from reid.embedder.runtime import _check_agreement, make_runner
from reid.embedder.views import check_views, make_views
from reid.errors import InputError
from reid.manifest import read_annotations
from reid.models import LoadedModel, load_model
from reid.picture_hash import content_hash
from tests.test_device_decode import jpeg, smooth_picture, turned


def tiny_model(
    name: str = "tiny", size: int = 16, dimension: int = 8, seed: int = 0
) -> LoadedModel:
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, dimension, 5, stride=2), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Linear(dimension * ((size - 3) // 2) ** 2, dimension),
    ).eval().requires_grad_(False)  # fmt: skip
    return LoadedModel(
        name=name, module=network, architecture="tiny", input_size=size, dimension=dimension,
        mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3), interpolation="bicubic", digest=f"{seed:016x}",
    )  # fmt: skip


def crops(n: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (40, 50, 3), dtype=np.uint8) for _ in range(n)]


def features_by_hand(model: LoadedModel, pixels: np.ndarray) -> np.ndarray:
    """The same in plain steps: scale to 0..1, subtract, divide, forward."""
    mean, std = np.array(model.mean, np.float32), np.array(model.std, np.float32)
    normalised = (pixels.astype(np.float32) / 255 - mean) / std
    batch = torch.from_numpy(normalised.transpose(2, 0, 1)[None].copy())
    return model.module(batch)[0].numpy()


def unit(row: np.ndarray) -> np.ndarray:
    return row / np.linalg.norm(row)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_embedding_is_the_normalised_mean_of_unit_views(runtime: str) -> None:
    model = tiny_model()
    embedder = Embedder([model], views=["identity", "hflip", "rot90"], runtime=runtime)  # type: ignore[arg-type]
    prepared = [embedder.prepare(crop) for crop in crops(3)]
    for row, (pixels,) in zip(embedder.embed(prepared), prepared, strict=True):
        views = [pixels, pixels[:, ::-1], np.rot90(pixels)]
        expected = unit(np.mean([unit(features_by_hand(model, view)) for view in views], axis=0))
        np.testing.assert_allclose(row, expected, atol=2e-5)
        assert row.dtype == np.float32


def test_ensemble_cosine_is_the_weighted_mean_of_the_models_cosines() -> None:
    a, b = tiny_model("a", 16, 8, 1), tiny_model("b", 20, 12, 2)
    alone = [Embedder([m], runtime="torch") for m in (a, b)]
    both = Embedder([a, b], model_weights=[3, 1], runtime="torch")
    assert (both.dimension, both.largest_input, both.inputs) == (
        20,
        20,
        [(16, "bicubic"), (20, "bicubic")],
    )
    images = crops(4)
    xs = [e.embed([e.prepare(image) for image in images]) for e in (*alone, both)]
    np.testing.assert_allclose(
        xs[2] @ xs[2].T, 0.75 * xs[0] @ xs[0].T + 0.25 * xs[1] @ xs[1].T, atol=1e-5
    )


@settings(max_examples=10)
@given(batch_size=st.integers(1, 7), n=st.integers(1, 9))
def test_batch_size_changes_nothing(batch_size: int, n: int) -> None:
    model = tiny_model()
    one = Embedder([model], views=["identity", "five_crop"], runtime="torch", batch_size=1)
    many = Embedder(
        [model], views=["identity", "five_crop"], runtime="torch", batch_size=batch_size
    )
    prepared = [one.prepare(image) for image in crops(n)]
    single = np.concatenate([one.embed([item]) for item in prepared])
    np.testing.assert_allclose(many.embed(prepared), single, atol=1e-5)


def test_openvino_pads_its_last_batch_and_keeps_order() -> None:
    model = tiny_model()
    torch_rows, fast_rows = (
        (e := Embedder([model], runtime=runtime)).embed([e.prepare(image) for image in crops(37)])  # type: ignore[arg-type]
        for runtime in ("torch", "openvino")
    )
    np.testing.assert_allclose(fast_rows, torch_rows, atol=2e-5)


def test_auto_takes_openvino_only_where_it_agrees() -> None:
    model = load_model("efficientnet-lite0")
    assert Embedder([model]).runtime == "openvino"
    runner, _ = make_runner(
        tiny_model(seed=1), device="cpu", precision="fp32", runtime="torch", threads=1
    )
    with pytest.raises(InputError, match="features differ from torch's"):
        _check_agreement(tiny_model(seed=2), runner, "fp32")


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_bf16_is_near_and_not_equal(runtime: str) -> None:
    if runtime == "openvino":
        able = optional.openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if "BF16" not in able:
            pytest.skip("this processor has no bf16 units, and OpenVINO computes in fp32 there")
    model = load_model("efficientnet-lite0")
    exact = Embedder([model], runtime="torch")
    rough = Embedder([model], precision="bf16", runtime=runtime)  # type: ignore[arg-type]
    assert rough.runtime == runtime
    prepared = [exact.prepare(image) for image in crops(2)]
    a, b = exact.embed(prepared), rough.embed(prepared)
    cosine = (a * b).sum(1)
    assert (cosine > 0.99).all()
    assert not np.allclose(a, b, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"img_size": 64, "depth": 2}),
        ("vit_small_patch14_reg4_dinov2", {"img_size": 56, "depth": 2, "init_values": 1.0}),
        ("swin_tiny_patch4_window7_224", {"img_size": 56, "depths": (2, 1), "num_heads": (2, 4), "embed_dim": 24}),
        ("convnext_atto", {"depths": (1, 1, 1, 1)}),
    ],
)  # fmt: skip
def test_openvino_agrees_on_the_kinds_of_networks_that_people_use(
    name: str, options: dict[str, object]
) -> None:
    torch.manual_seed(0)
    network = optional.timm().create_model(name, num_classes=0, **options).eval()
    size = int(options.get("img_size", 64))  # type: ignore[call-overload]
    model = replace(
        tiny_model(),
        module=network.requires_grad_(False),
        input_size=size,
        dimension=network.num_features,
    )
    plain, fast = (Embedder([model], runtime=runtime) for runtime in ("torch", "auto"))  # type: ignore[arg-type]
    assert fast.runtime == "openvino"
    prepared = [plain.prepare(image) for image in crops(11)]
    np.testing.assert_allclose(fast.embed(prepared), plain.embed(prepared), atol=1e-4)


class Wrapped(torch.nn.Module):
    """The tiny network with something behind it that OpenVINO cannot do, or does otherwise."""

    def __init__(self, behind: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.network, self.behind = tiny_model().module, behind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.behind(self.network(x))


def not_traceable(x: torch.Tensor) -> torch.Tensor:
    if torch.jit.is_tracing():
        raise TypeError("not while tracing")
    return x


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        (torch.special.airy_ai, "No conversion rule found for operations: aten::special_airy_ai"),
        (not_traceable, "not while tracing"),
        (lambda x: x.reshape(int(x.shape[0]), -1), "features have shape"),
        (lambda x: x + len(x), "features differ from torch's: cosine 0"),
    ],
    ids=["operation", "trace", "shape", "batch"],
)
def test_what_openvino_does_otherwise_runs_in_torch_with_the_reason(
    behind: Callable[[torch.Tensor], torch.Tensor], reason: str
) -> None:
    model = replace(tiny_model(), module=Wrapped(behind).eval())
    embedder = Embedder([model], runtime="auto")
    assert embedder.runtime.startswith("torch (openvino not used: ")
    assert reason in embedder.runtime
    with pytest.raises(InputError, match=r"openvino cannot run tiny: .*; use auto or torch"):
        Embedder([model], runtime="openvino")


@pytest.fixture
def fresh_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """torch.compile without what it remembers of other tests and other days."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.mark.usefixtures("fresh_compiler")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs g++")
def test_compiled_network_agrees() -> None:
    model = tiny_model()
    plain, fast = (Embedder([model], runtime=runtime) for runtime in ("torch", "compile"))  # type: ignore[arg-type]
    assert fast.runtime == "compile"
    prepared = [plain.prepare(image) for image in crops(5)]
    np.testing.assert_allclose(fast.embed(prepared), plain.embed(prepared), atol=1e-5)
    np.testing.assert_allclose(fast.embed(prepared[:3]), plain.embed(prepared[:3]), atol=1e-5)


@pytest.mark.usefixtures("fresh_compiler")
def test_compile_without_a_compiler_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "/nowhere/g++"))
    with pytest.raises(
        InputError, match=r"No working C\+\+ compiler.*needs a C\+\+ compiler.*torch"
    ):
        Embedder([tiny_model()], runtime="compile")


def test_views_by_hand() -> None:
    image = torch.arange(4 * 4 * 3, dtype=torch.uint8).view(1, 4, 4, 3)
    plain = image[0].numpy()
    views = dict(zip(["hflip", "vflip", "rot90", "rot180", "rot270"],
                     make_views(image, ["hflip", "vflip", "rot90", "rot180", "rot270"]), strict=True))  # fmt: skip
    for name, expected in {
        "hflip": plain[:, ::-1], "vflip": plain[::-1], "rot90": np.rot90(plain),
        "rot180": np.rot90(plain, 2), "rot270": np.rot90(plain, 3),
    }.items():  # fmt: skip
        np.testing.assert_array_equal(views[name][0].numpy(), expected)


def test_zoom_and_crops_look_where_they_should() -> None:
    board = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
    board[:, 8:24, 8:24] = 200  # a bright square in the middle half
    (near,) = make_views(board, ["scale:2"])
    assert (near[0, 2:-2, 2:-2] > 190).all()
    (far,) = make_views(board, ["scale:0.5"])
    assert (far[0, 13:19, 13:19] > 190).all()
    assert (far[0, :9] < 10).all()
    crops_of = make_views(board, ["five_crop"])
    assert len(crops_of) == 5
    assert all(view.shape == board.shape and view.dtype == torch.uint8 for view in crops_of)
    weight = [float(view[0, :16, :16].float().mean()) for view in crops_of]
    # Looking further to the lower right moves the square towards the upper left of the view.
    assert weight[0] < weight[4] < weight[3]


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (["hflop"], "unknown view 'hflop'; known views: identity, hflip"),
        (["scale:9"], r"scale:9: the factor must be in 0\.25"),
        (["hflip", "hflip"], "given twice"),
        ([], "no view given"),
    ],
)
def test_bad_views(views: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_views(views)


def test_bad_weights_and_runtimes() -> None:
    with pytest.raises(InputError, match="for 1 models"):
        Embedder([tiny_model()], model_weights=[1, 2])
    with pytest.raises(InputError, match="openvino runs on cpu, not on cuda"):
        Embedder([tiny_model()], runtime="openvino", device="cuda")


RECIPE = Recipe(
    (("a", "0123"), ("b", "4567")), (0.5, 0.5), ("identity", "hflip"), "fp32", "scaled", 0.0
)


def test_recipe_changes_with_whatever_changes_numbers_and_with_nothing_else() -> None:
    for change in (
        {"models": (("a", "0124"), ("b", "4567"))},
        {"models": (("b", "4567"), ("a", "0123"))},
        {"model_weights": (0.6, 0.4)},
        {"views": ("identity",)},
        {"precision": "bf16"},
        {"decode": "full"},
        {"bbox_margin": 0.1},
        {"window": (0.1, 0.1, 0.9, 0.9)},
        {"pool": "tokens"},
        {"pool": "foreground hard 0 0123"},
    ):
        assert replace(RECIPE, **change).fingerprint != RECIPE.fingerprint, change  # type: ignore[arg-type]
    assert replace(RECIPE, views=("hflip", "identity")).fingerprint == RECIPE.fingerprint
    assert replace(RECIPE, models=(("x", "0123"), ("b", "4567"))).fingerprint == RECIPE.fingerprint
    assert RECIPE.folder == f"a+b-{RECIPE.fingerprint}"
    pooled = replace(RECIPE, pool="foreground hard 0 0123")
    assert pooled.folder == f"a+b-foreground-{pooled.fingerprint}"
    assert pooled.fingerprint != replace(RECIPE, pool="foreground hard 0 0124").fingerprint
    # Stores from before there were windows, and other ways to pool, stay what they are.
    assert RECIPE.fingerprint == "17178110b4cf"
    assert replace(RECIPE, models=(("hf:x/y z", "0"),)).folder.startswith("hf-x-y-z-")


@pytest.fixture
def collection(tmp_path: Path) -> pa.Table:
    """Nine good images and five bad ones."""
    for i, pixels in enumerate(crops(9)):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "0.png").read_bytes()[:500])
    Image.new("1", (10_000, 9_000)).save(tmp_path / "vast.bmp")
    (tmp_path / "t.csv").write_text(
        "path,species,bbox\n"
        + "".join(f"{i}.png,lynx,\n" for i in range(9))
        + 'empty.jpg,lynx,\ntext.jpg,lynx,\ncut.png,lynx,\nvast.bmp,lynx,\n0.png,lynx,"1,1,0,5"\ngone.jpg,lynx,\n'
    )
    return read_annotations([str(tmp_path / "t.csv")])[0]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_every_annotation_is_embedded_or_has_a_reason(collection: pa.Table) -> None:
    embedder = Embedder([tiny_model()], runtime="torch", batch_size=4)
    embeddings, failures = embed_annotations(embedder, collection)
    assert embeddings.schema == schema.embeddings(8)
    assert failures.schema == schema.FAILURES
    ids = embeddings["annotation_id"].to_pylist() + failures["annotation_id"].to_pylist()
    assert sorted(ids) == sorted(collection["annotation_id"].to_pylist())
    assert embeddings["annotation_id"].to_pylist() == collection["annotation_id"].to_pylist()[:9]
    why = {row["image_path"]: (row["stage"], row["error"]) for row in failures.to_pylist()}
    assert why["empty.jpg"] == ("decode", "empty file (0 bytes)")
    assert "not an image" in why["text.jpg"][1]
    assert "truncated" in why["cut.png"][1] or "cannot be decoded" in why["cut.png"][1]
    assert "90 megapixels, over the limit of 80" in why["vast.bmp"][1]
    assert "zero-area box" in why["0.png"][1]
    assert why["gone.jpg"][0] == "read"
    rows = np.array(embeddings["embedding"].to_pylist())
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)


def test_a_batch_is_begun_before_the_one_before_it_is_waited_for(
    collection: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder([tiny_model()], runtime="torch", batch_size=4)
    wanted, _ = embed_annotations(embedder, collection)
    told: list[str] = []
    begin = embedder.begin

    def spied(prepared: list[list[np.ndarray]]) -> Callable[[], np.ndarray]:
        number = sum(one.startswith("begin") for one in told)
        told.append(f"begin {number}")
        rows = begin(prepared)

        def finish() -> np.ndarray:
            told.append(f"finish {number}")
            return rows()

        return finish

    monkeypatch.setattr(embedder, "begin", spied)
    found, _ = embed_annotations(embedder, collection)
    assert found == wanted
    assert told[:3] == ["begin 0", "begin 1", "finish 0"]
    assert sorted(told) == sorted(
        f"{step} {k}" for step in ("begin", "finish") for k in range(len(told) // 2)
    )


def test_a_network_that_is_compiled_sees_batches_of_one_size_only() -> None:
    embedder = Embedder([tiny_model()], views=("identity", "hflip"), runtime="torch", batch_size=4)
    prepared = [embedder.prepare(image) for image in crops(11)]
    wanted = embedder.embed(prepared)
    sizes: list[int] = []
    run = embedder._runners[0]
    embedder._runners = [lambda batch: (sizes.append(len(batch)), run(batch))[1]]
    embedder.runtime = "compile"
    np.testing.assert_allclose(embedder.embed(prepared), wanted, atol=1e-6)
    assert sizes == [8, 8, 8]


def test_content_hash_finds_exact_duplicates(collection: pa.Table, tmp_path: Path) -> None:
    (tmp_path / "copy.png").write_bytes((tmp_path / "3.png").read_bytes())
    (tmp_path / "copies.txt").write_text("3.png\ncopy.png\n4.png\n")
    table, _ = read_annotations([str(tmp_path / "copies.txt")])
    embeddings, _ = embed_annotations(Embedder([tiny_model()], runtime="torch"), table)
    first, second, third = embeddings["content_hash"].to_pylist()
    assert first == second != third


def test_a_network_that_gives_no_numbers_is_a_failure(collection: pa.Table) -> None:
    model = tiny_model()
    broken = replace(model, module=torch.nn.Sequential(model.module, torch.nn.Threshold(1e9, 0.0)))
    embeddings, failures = embed_annotations(Embedder([broken], runtime="torch"), collection[:2])
    assert len(embeddings) == 0
    assert [row["stage"] for row in failures.to_pylist()] == ["embed", "embed"]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_stream_decoded_on_the_device_accounts_for_every_file(
    collection: pa.Table, tmp_path: Path
) -> None:
    names = [row["image_path"] for row in collection.to_pylist()]
    for i in range(40):
        data = jpeg(smooth_picture(90, 70, i), **({"exif": turned(3)} if i % 7 == 0 else {}))
        names.insert(i, f"j{i}.jpg")
        (tmp_path / names[i]).write_bytes(data[:-500] if i == 5 else data)
    (tmp_path / "j6.jpg").write_bytes(
        jpeg(smooth_picture(90, 70, 6)).replace(b"\xff\xda", b"\xff\xd9", 1)
    )
    (tmp_path / "all.txt").write_text("\n".join(dict.fromkeys(names)))
    table, _ = read_annotations([str(tmp_path / "all.txt")])
    embedder = Embedder([tiny_model()], runtime="torch", batch_size=8)
    here, here_failed = embed_annotations(embedder, table, decode="full")
    there, there_failed = embed_annotations(embedder, table, decode="nvjpeg")
    plain = ["annotation_id", "species", "content_hash", "width", "height"]
    assert there.select(plain) == here.select(plain)
    assert there_failed["annotation_id"] == here_failed["annotation_id"]
    assert {"j5.jpg", "j6.jpg"} < set(there_failed["image_path"].to_pylist())
    a, b = (np.array(rows["embedding"].to_pylist()) for rows in (here, there))
    assert (a * b).sum(1).min() > 0.999


def test_a_path_of_unknown_storage_is_a_failure_of_its_row(
    collection: pa.Table, tmp_path: Path
) -> None:
    (tmp_path / "web.csv").write_text("path\n0.png\nftp://somewhere/1.png\n")
    table, _ = read_annotations([str(tmp_path / "web.csv")])
    embeddings, failures = embed_annotations(Embedder([tiny_model()], runtime="torch"), table)
    assert len(embeddings) == 1
    assert [row["stage"] for row in failures.to_pylist()] == ["read"]


@pytest.mark.parametrize("decode", ["scaled", "nvjpeg"])
def test_a_frame_with_many_boxes_is_read_once_and_rows_stay_in_order(
    tmp_path: Path, decode: str
) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2021:04:11 20:43:09", 0x9011: "-03:00"})
    for i in range(3):
        data = jpeg(smooth_picture(120, 90, i), exif=exif.tobytes())
        (tmp_path / f"{i}.jpg").write_bytes(data)
    (tmp_path / "bad.jpg").write_text("no image")
    boxes = ["", '"0,0,60,60"', '"500,500,5,5"', '"20,10,80,70"']
    lines = [f"{i}.jpg,{box}" for box in boxes for i in (0, 1, 2, "bad")]  # frames are scattered
    (tmp_path / "t.csv").write_text("path,bbox\n" + "\n".join(lines) + "\n")
    table = read_annotations([str(tmp_path / "t.csv")])[0]
    reads: list[str] = []

    def read(path: str) -> bytes:
        reads.append(path)
        return Path(path).read_bytes()

    embedder = Embedder([tiny_model()], runtime="torch", batch_size=4)
    found, failed = embed_annotations(embedder, table, read=read, decode=decode)  # type: ignore[arg-type]
    assert len(reads) == 4
    ids = table["annotation_id"].to_pylist()
    for part in (found, failed):
        places = [ids.index(one) for one in part["annotation_id"].to_pylist()]
        assert places == sorted(places)
    assert (len(found), len(failed)) == (9, 7)
    assert len(set(found["content_hash"].to_pylist())) == 9
    for row in found.to_pylist():
        asked = table.filter(pa.compute.equal(table["annotation_id"], row["annotation_id"]))
        data = (tmp_path / asked["image_path"][0].as_py()).read_bytes()
        assert row["content_hash"] == content_hash(data, asked["bbox"][0].as_py())
        assert row["timestamp"] == datetime.datetime(2021, 4, 11, 20, 43, 9)
        assert row["utc_offset_minutes"] == -180


def test_whatever_one_image_does_is_that_images_failure(
    collection: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = Embedder([tiny_model()], runtime="torch", batch_size=4)
    plain = embedder.prepare
    errors = iter([MemoryError(), RecursionError("deep"), ValueError("negative strides")])

    def prepare(pixels: np.ndarray) -> list[np.ndarray]:
        for error in errors:
            raise error
        return plain(pixels)

    monkeypatch.setattr(embedder, "prepare", prepare)
    found, failed = embed_annotations(embedder, collection[:9], threads=1)
    assert (len(found), len(failed)) == (6, 3)
    assert all("cannot be decoded" in error for error in failed["error"].to_pylist())

    def interrupted(_: np.ndarray) -> list[np.ndarray]:
        raise KeyboardInterrupt

    monkeypatch.setattr(embedder, "prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed_annotations(embedder, collection[:2], threads=1)
