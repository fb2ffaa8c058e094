"""Reasons in words: why rows were joined or parted, and why they cannot be both."""

from reid.errors import InputError
from reid.identify.constraints import ENCOUNTER, LABEL
from reid.identify.contradictions import Contradiction
from reid.identify.separating_pairs import Link
from reid.identify.species_nodes import Species

MOST_CHAINS = 20


class ContradictionError(InputError):
    """What people, labels and encounters say cannot all hold; the message names the chains."""


def contradiction_error(found: list[Contradiction], species: Species) -> ContradictionError:
    """Every contradiction with its chain, who said it and when."""
    lines = [f"- {_contradiction(one, species)}" for one in found[:MOST_CHAINS]]
    if len(found) > MOST_CHAINS:
        lines.append(f"- … and {len(found) - MOST_CHAINS} more")
    return ContradictionError(
        f"{len(found)} contradictions between decisions, labels, encounters and boxes; nothing was "
        "changed. Correct one step of each chain (a later decision on a pair replaces the earlier "
        "one):\n" + "\n".join(lines)
    )


def reason(link: Link, species: Species, known_distance: float) -> str:
    """Why two rows are one animal, or two."""
    if link.kind == "distance":
        return f"distance {link.distance:.4f} is within known_distance {known_distance:.4g}"
    if link.kind == "threshold":
        return f"distance {link.distance:.4f}, and nothing else holds them together"
    return _said(link.a, link.b, link.kind, species)


def _contradiction(one: Contradiction, species: Species) -> str:
    def name(row: int) -> str | None:
        return species.text("annotation_id", row)

    chain = [
        f"{name(a)} = {name(b)} ({_said(a, b, _KINDS[kind], species)})" for a, b, kind in one.chain
    ]
    apart = _said(one.a, one.b, one.forbidden, species)
    return f"{name(one.a)} ≠ {name(one.b)} ({apart}), but " + ", ".join(chain)


_KINDS = {LABEL: "label", ENCOUNTER: "encounter"} | {1: "match"}


def _said(a: int, b: int, kind: str, species: Species) -> str:
    if kind in ("match", "nomatch"):
        said = species.decisions
        low, high = min(a, b), max(a, b)
        row = said[(said["a"] == low) & (said["b"] == high) & (said["decision"] == kind)].iloc[0]
        return f"{kind} by {row['reviewer']}, {row['timestamp']:%Y-%m-%d %H:%M}"
    if kind == "label":
        first, second = (species.text("identity", row) for row in (a, b))
        return f"both labelled {first}" if first == second else f"labelled {first} and {second}"
    if kind == "encounter":
        return f"both of encounter {species.text('encounter_id', a)}"
    return f"two boxes in {species.text('image_path', a)}"
