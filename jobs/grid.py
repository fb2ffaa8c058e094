"""`reid run --grid`: every combination of some settings, over one store of embeddings, and their comparison."""

import itertools
import re
from collections.abc import Callable, Sequence

from jobs.cluster.comparing import compare
from jobs.common.console import say
from jobs.run import run
from reid import store
from reid.config import Config
from reid.errors import InputError

MOST_COMBINATIONS = 1_000
FIGURE = "compare.png"
_WORD = re.compile(r"[^A-Za-z0-9.+-]+")


def run_grid(asked: Sequence[str], configure: Callable[[Sequence[str]], Config]) -> None:
    """Run each combination into a folder of its own below OUT, and compare them.

    Embeddings are shared, and an ensemble is joined from its models' where these have been embedded:
    combinations of fewer models come first.

    Args:
        asked: `key=value,value,…` each; a value with commas in brackets; `a+b` of embed.model is an ensemble.
        configure: the configuration with so many further settings.

    Raises:
        InputError: a setting of the grid is none, or has one value; or what a run finds.
    """
    axes = [_axis(text) for text in asked]
    keys = [key for key, _ in axes]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise InputError(f"--grid: {', '.join(repeated)} is given twice; give its values in one")
    combinations = list(itertools.product(*(values for _, values in axes)))
    if len(combinations) > MOST_COMBINATIONS:
        raise InputError(
            f"--grid: {len(combinations):,} combinations; at most {MOST_COMBINATIONS:,}"
        )
    base = configure([])
    planned: dict[str, Config] = {}
    for values in combinations:  # all are checked before the first is run
        settings = [
            f"{key}={_spelled(key, value)}" for key, value in zip(keys, values, strict=True)
        ]
        name = _name(keys, values)
        if name in planned:
            raise InputError(
                f"--grid: two combinations are both called {name}; are values repeated?"
            )
        config = configure(settings)
        place = {"out": store.join(base.out, name), "store": base.store_path}
        planned[name] = config.model_copy(update=place)
    for number, (name, config) in enumerate(_fewest_models_first(planned), 1):
        say(f"grid: {number} of {len(planned)}: {name}")
        run(config)
    compare([store.join(base.out, name) for name in planned], store.join(base.out, FIGURE))


def _axis(text: str) -> tuple[str, list[str]]:
    """A setting and its values."""
    key, equals, rest = text.partition("=")
    values = [one.strip() for one in re.findall(r"(?:\[[^\]]*\]|\{[^}]*\}|[^,\[{])+", rest)]
    values = [one for one in values if one]
    if not equals or not key.strip() or len(values) < 2:
        raise InputError(
            f"--grid {text}: write KEY=VALUE,VALUE, for example --grid cluster.method=dbscan,average; values "
            "that have commas stand in brackets"
        )
    if key.strip() in ("out", "store", "input"):
        raise InputError(f"--grid {text}: {key} is the same for all of them")
    return key.strip(), values


def _spelled(key: str, value: str) -> str:
    return f"[{value.replace('+', ',')}]" if key.endswith(".model") and "+" in value else value


def _name(keys: Sequence[str], values: Sequence[str]) -> str:
    """Of a folder: `model-a+b_method-dbscan`."""
    words = (
        f"{key.rpartition('.')[2]}-{_WORD.sub('-', value).strip('-')}"
        for key, value in zip(keys, values, strict=True)
    )
    return "_".join(words)


def _fewest_models_first(planned: dict[str, Config]) -> list[tuple[str, Config]]:
    return sorted(planned.items(), key=lambda one: len(one[1].embed.model))
