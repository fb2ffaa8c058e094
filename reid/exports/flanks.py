"""Left and right are two coats: which sightings make one history, and which never do."""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from reid.errors import InputError
from reid.exports.sightings import left_out
from reid.identify import sides

FLANKS = ("left", "right", "best", "both-sessions")
TOGETHER = "together"  # not for people: their models would count two sides as two animals
LEFT, RIGHT = -1, 1  # as `reid.identify.sides` has it
NAMES = {LEFT: "left", RIGHT: "right"}


@dataclass(frozen=True, slots=True)
class Flanks:
    """Sightings by session.

    Attributes:
        sessions: name → rows: one session, or `left` and `right`.
        left_out: columns of `sightings.LEFT_OUT`.
        left, right, joined: individuals seen from the left, from the right, from both.
        side: that was chosen, left or right; "" where none was.
        notes: what a reader should know.
    """

    sessions: dict[str, pd.DataFrame]
    left_out: pd.DataFrame
    left: int
    right: int
    joined: int
    side: str = ""
    notes: list[str] = field(default_factory=list)


def row_sides(rows: pd.DataFrame) -> np.ndarray:
    """(n,) int8 side of each row: −1 left, 1 right, 0 both, neither or unknown."""
    views = rows["viewpoint"].astype(object).where(rows["viewpoint"].notna(), None).tolist()
    found = sides(views, "same-side")
    assert found is not None
    return found


def mixed(rows: pd.DataFrame) -> bool:
    """Whether some individuals are known from the left alone and others from the right alone.

    Counted together, one animal that passed both ways is two.
    """
    left, right = _seen_from(rows)
    return bool((left & ~right).any() and (right & ~left).any())


def choose_flank(rows: pd.DataFrame, flank: str | None, session: str) -> Flanks:
    """Keep sightings that may stand in one history.

    `left`: individuals seen from the left, with all their sightings; so those of the right side count
    where the individual is known from both, and no others. `right`: likewise. `best`: the side with
    more individuals. `both-sessions`: two sessions, each of one side alone, for one model with a common
    density. TOGETHER: all, for a model that takes care of it. None: all together where no two individuals can be the two sides of one animal, else
    `best`, with a note.

    Args:
        rows: columns individual, viewpoint and those of LEFT_OUT.
        flank: one of FLANKS, TOGETHER, or None.
        session: what a single session is called.

    Raises:
        InputError: an unknown flank, or nobody was seen from it.
    """
    if flank not in (None, TOGETHER, *FLANKS):
        raise InputError(f"--flank {flank}: known: {', '.join(FLANKS)}")
    left, right = _seen_from(rows)
    both = int((left & right).sum())
    counts = {LEFT: int(left.sum()), RIGHT: int(right.sum())}
    said = (
        f"individuals seen from the left: {counts[LEFT]}, from the right: {counts[RIGHT]}, from both "
        f"(sides joined): {both}"
    )
    notes = [said] if any(counts.values()) else []
    sessions, out, chosen_side = {session: rows}, [left_out(rows.iloc[:0], "")], ""
    if flank is None and mixed(rows):
        flank = "best"
        notes.append("sides are not thrown together: --flank best is taken, as none was named")
    if flank == "both-sessions":
        side = row_sides(rows)
        sessions = {NAMES[one]: rows[side == one] for one in (LEFT, RIGHT)}
        for name, part in sessions.items():
            _someone(len(part), name, said)
        out.append(left_out(rows[side == 0], "shows neither the left nor the right side alone"))
    elif flank is not None and flank != TOGETHER:
        chosen = {"left": LEFT, "right": RIGHT}.get(flank)
        if chosen is None:
            chosen = RIGHT if counts[RIGHT] > counts[LEFT] else LEFT
            notes.append(f"--flank best: {NAMES[chosen]}, with {counts[chosen]} individuals")
        chosen_side = NAMES[chosen]
        seen = left if chosen == LEFT else right
        _someone(int(seen.sum()), NAMES[chosen], said)
        keep = rows["individual"].isin(seen.index[seen]).to_numpy()
        sessions = {session: rows[keep]}
        out.append(
            left_out(rows[~keep], f"this individual was never seen from the {NAMES[chosen]}")
        )
        opposite = int((row_sides(rows[keep]) == -chosen).sum())
        if opposite:
            notes.append(
                f"{both} individuals are known from both sides; their {opposite} images of the other "
                "side count too"
            )
    return Flanks(
        {name: part.reset_index(drop=True) for name, part in sessions.items()},
        pd.concat(out, ignore_index=True),
        counts[LEFT],
        counts[RIGHT],
        both,
        chosen_side,
        notes,
    )


def _seen_from(rows: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Per individual whether it was ever seen from the left, and from the right."""
    side = pd.Series(row_sides(rows), index=rows["individual"].to_numpy())
    grouped = side.groupby(level=0)
    return (grouped.min() == LEFT), (grouped.max() == RIGHT)


def _someone(number: int, side: str, said: str) -> None:
    if not number:
        raise InputError(f"nobody was seen from the {side}; {said}. Are viewpoints filled in?")
