"""What the matcher of pairs is computed in: as asked for, or as the machine is faster."""

from jobs.common.session import finds_gpu
from reid.config import Pairs
from reid.pairs import MATCHERS
from reid.pairs.matchers import LEARNED
from reid.precision import Precision, choose_precision


def pair_precision(settings: Pairs) -> tuple[Precision, str]:
    """The precision, and what to say of it; see `reid.precision.choose_precision`."""
    if settings.matcher in MATCHERS and settings.matcher not in LEARNED:
        return "fp32", ""  # nothing is computed by a network
    return choose_precision(settings.precision, "cuda" if finds_gpu(settings.device) else "cpu")
