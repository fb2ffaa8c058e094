"""Which species show sides that must not be confused, and what it costs not to know the side."""

from collections.abc import Collection

import pyarrow as pa
import pyarrow.compute as pc

EVERY = "all"


def flank_warnings(annotations: pa.Table, sensitive: Collection[str]) -> list[str]:
    """What it costs that images of these species do not say which side they show.

    Args:
        annotations: schema.ANNOTATIONS.
        sensitive: species whose left and right differ; `all` for every one.
    """
    found = []
    for species in sorted(pc.unique(annotations["species"]).to_pylist()):
        if species not in sensitive and EVERY not in sensitive:
            continue
        views = annotations.filter(pc.equal(annotations["species"], species))["viewpoint"]
        if views.null_count:
            found.append(
                f"{species}: {views.null_count:,} of {len(views):,} images do not say which side they show, and left "
                "and right differ. Left sides are compared with right ones, and an animal that was photographed from "
                "one side at a time counts twice: that doubled the estimate on real cameras (35 to 70 bobcats). "
                "reid export and reid population leave such images out where --flank is given. Give the side: a column "
                "viewpoint (left, right), or viewpoint:left among the tags of Camtrap DP"
            )
    return found
