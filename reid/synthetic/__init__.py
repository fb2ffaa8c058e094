"""The built-in herd: patterned animals that nobody photographed, for demos, tests and benchmarks.

The data's path in here: `species` (who there is) → `coat` (a pattern for each flank) → `body` (a
posed animal that wears it) → `scene` (the place) → `photo` (the picture) → `herd` (a table of
crops), or `survey` (folders of frames, as memory cards bring them home).
"""

from reid.synthetic.coat_kinds import SPECIES
from reid.synthetic.herd import COLUMNS, Herd, make_herd

__all__ = ["COLUMNS", "SPECIES", "Herd", "make_herd"]
