"""The individuals of one species: what the settings ask for, by distances, encounters and pairs."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow.compute as pc

from jobs.cluster.gated import by_threshold
from jobs.cluster.groups import Group
from jobs.cluster.labels import encounters
from jobs.common import outputs
from jobs.common.console import say
from jobs.common.learned_from import labels_that_judge
from jobs.common.whereabouts import whereabouts
from jobs.neighbours.placement import search_of
from reid import cluster as clustering
from reid import schema
from reid.config import Cluster, Config
from reid.errors import InputError
from reid.identify.default_rules import default_encounters
from reid.neighbors import ANYWHERE, Search, compared_share, search_in_regions
from reid.tune import (
    WITHOUT_THRESHOLD,
    Clustering,
    Individuals,
    Threshold,
    can_tune,
    encode_labels,
    find_individuals,
    individuals_by_pairs,
)


def cluster_group(config: Config, group: Group, others: dict[str, Threshold]) -> Individuals:
    """The individuals of one species; `others` are thresholds that may have to serve it."""
    settings = config.cluster
    eps = settings.per_species_eps.get(
        group.species, None if settings.eps == "auto" else settings.eps
    )
    search, said = _search(config, group)
    if settings.method == "threshold":  # encounters would join what the gate keeps apart
        found = by_threshold(settings, group, eps, search)
        found.notes.extend(said)
        return found
    met = _met(config, group)
    collapsed = None
    if settings.collapse_duplicates or settings.near_duplicate_distance is not None:
        hashes = group.content_hashes if settings.collapse_duplicates else None
        if settings.collapse_duplicates and hashes is None:
            raise InputError(
                "cluster.collapse_duplicates: these embeddings have no column `content_hash`; leave it out, "
                "or give cluster.near_duplicate_distance"
            )
        collapsed = clustering.collapse(
            group.vectors,
            None if hashes is None else list(hashes),
            settings.near_duplicate_distance,
            search=search,
        )
    asked = Clustering(
        method=settings.method,
        eps=eps,
        max_eps=None if settings.max_eps == "auto" else settings.max_eps,
        min_samples=settings.min_samples,
        n_clusters=settings.n_clusters,
        self_label=settings.self_label,
        over_cluster=settings.over_cluster,
        criterion=settings.criterion,
        rerank=config.rerank.mode,
        k1=config.rerank.k1,
        jaccard_weight=config.rerank.jaccard_weight,
        images_per_individual=settings.images_per_individual,
        seed=config.seed,
        on_cuml=settings.backend == "cuml",
    )
    try:
        found = find_individuals(
            group.vectors,
            group.identities,
            asked,
            fallback=_fallback(settings, group, others) if eps is None else None,
            search=search,
            collapsed=collapsed,
            encounters=met.single if met.used else None,
        )
    except InputError as error:
        raise InputError(f"species {group.species}: {error}") from error
    found.notes.extend(said)
    # The last one is of the threshold's search; earlier ones were of a shorter reach.
    found.warnings.extend(measured.sentence() for measured in search.measured[-1:])
    if config.pairs.mode != "off":
        found = _by_pairs(config, group, found, met)
    _say_what_encounters_do(group, found, met)
    return found


def _search(config: Config, group: Group) -> tuple[Search, list[str]]:
    """How the pictures of a species are compared, and what to know of it: of one region alone, where its range is
    known."""
    search = search_of(config)
    range_km = config.cluster.range_km.get(group.species)
    if range_km is None:
        return search, []
    region = whereabouts(group.rows, config.pairs.deployments).regions(range_km)
    named = encode_labels(group.identities)
    known = (named >= 0) & (region != ANYWHERE)
    seen = np.unique(np.stack([named[known], region[known]], axis=1), axis=0)
    far = int((np.bincount(seen[:, 0], minlength=1) > 1).sum())
    lost = int((region == ANYWHERE).sum())
    said = [
        f"cluster.range_km: {range_km:g} km: {len(np.unique(region[region != ANYWHERE])):,} regions, "
        f"{compared_share(region):.2%} of all pairs compared"
        + (f"; {lost:,} images of unknown places are compared with all" if lost else "")
    ]
    if far:
        said.append(
            f"cluster.range_km: {range_km:g} km: {far:,} named individuals were seen in several regions, and come "
            "apart by them; is the range too small?"
        )
    return search_in_regions(search, region), said


@dataclass(frozen=True)
class _Met:
    """Encounters of one animal each: (n,) numbers or −1, by their boxes, and by known names too; whether
    they count, and why, in words."""

    single: np.ndarray
    named: np.ndarray
    used: bool
    why: str


def _met(config: Config, group: Group) -> _Met:
    wanted, why = config.cluster.encounters, "cluster.encounters=together"
    if wanted == "auto":
        nothing = schema.DECISIONS.empty_table()
        rule, why = default_encounters(group.rows, nothing, "cluster.encounters")
        wanted = "off" if rule == "off" else "together"
    files = pc.binary_join_element_wise(group.rows["root"], group.rows["image_path"], "\n")
    images = encode_labels(np.asarray(files.to_pylist(), object))
    single, boxes = clustering.encounters_of_one_animal(encode_labels(encounters(group)), images)
    named, names = clustering.encounters_of_one_name(single, encode_labels(group.identities))
    left = boxes + names
    passed = f"; {left:,} encounters of several animals are left alone" if left else ""
    return _Met(single, named, wanted == "together", f"{passed}: {why}")


def _say_what_encounters_do(group: Group, found: Individuals, met: _Met) -> None:
    after = len(np.unique(clustering.noise_to_singletons(found.labels)))
    before = found.before_encounters
    if before is not None and before > after:
        say(f"note: {group.species}: encounters make {after:,} individuals of {before:,}{met.why}")
    if met.used:
        return
    joined = clustering.join_encounters(found.labels, met.named)
    fewer = len(np.unique(clustering.noise_to_singletons(joined)))
    if fewer < after:
        say(
            f"note: {group.species}: {after:,} individuals would be {fewer:,} if each encounter were one animal: "
            "cluster.encounters=together"
        )


def _by_pairs(config: Config, group: Group, found: Individuals, met: _Met) -> Individuals:
    """What the pairs stage says of the same images, where it is wanted and does better."""
    settings = config.pairs
    assert settings.mode != "off"
    if settings.mode == "auto" and not can_tune(group.identities):
        why = "pairs are left aside: without labels nothing says whether they do better; pairs=on takes them all the same"
        say(f"note: {group.species}: {why}")
        return replace(found, notes=[*found.notes, why])
    table = outputs.read_stage(config.out, outputs.PAIRS, "match")
    table = table.filter(pc.equal(table["species"], group.species))
    ids = group.rows["annotation_id"].combine_chunks()
    ends = [pc.index_in(table[name].combine_chunks(), value_set=ids) for name in ("a_id", "b_id")]
    if any(end.null_count for end in ends):
        raise InputError(
            f"species {group.species}: {outputs.PAIRS} has images that are not embedded here; run `reid "
            "match` again"
        )
    together = None
    if met.used or settings.encounters == "together":
        together = clustering.encounter_links(met.named)
    matched = outputs.read_summary(config.out).get("match", {}).get("species", {})
    return individuals_by_pairs(
        found,
        np.stack([end.to_numpy() for end in ends], axis=1),
        table["log_odds"].to_numpy(),
        labels_that_judge(config.out, ids, group.identities),
        names=ids.to_pylist(),
        together=together,
        lone_log_odds=float(np.log(settings.lone_probability / (1 - settings.lone_probability)))
        if settings.lone_probability < 1
        else None,
        mode=settings.mode,
        learned=matched.get(group.species, {}).get("model", {}).get("kind") != "stated",
        seed=config.seed,
    )


def _fallback(settings: Cluster, group: Group, others: dict[str, Threshold]) -> Threshold | None:
    name = settings.fallback_species
    if name is None or name == group.species or can_tune(group.identities):
        return None
    if settings.method in WITHOUT_THRESHOLD:  # no threshold to lend
        return None
    if name not in others or others[name].eps is None:
        raise InputError(
            f"cluster.fallback_species: {name} has no threshold to lend; species with one: "
            f"{', '.join(others) or 'none'}"
        )
    note = f"no labels for {group.species}; tuned on {name} instead"
    return replace(others[name], source="fallback", note=note, at_edge=None)
