"""One sentence on figures that rest on a handful of animals, wherever such a figure is given."""

FEW_INDIVIDUALS = 10


def few_individuals(count: int) -> str:
    """What to know of figures and intervals from so many individuals; empty where they are enough."""
    if count >= FEW_INDIVIDUALS:
        return ""
    only = "1 individual" if count == 1 else f"only {count:,} individuals"
    return f"from {only}, and may be far off"
