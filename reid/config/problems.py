"""pydantic's errors, in words for whoever wrote the settings."""

import difflib
import reprlib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

# Pydantic's own words in the path of a problem, and no keys of the user's file.
UNION_BRANCHES = ("int", "constrained-int", "float", "bool", "literal['auto']")
PROBLEMS_SHOWN = 5
PROBLEMS_SHOWN = 5


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong with settings, a line each, with the keys that are known where one is not.

    Args:
        error: pydantic's.
        model: what the settings were to be.
    """
    lines = []
    problems = error.errors()
    for problem in problems[:PROBLEMS_SHOWN]:
        where = [part for part in problem["loc"] if part not in UNION_BRANCHES]
        path = ".".join(str(part) for part in where)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model, where[:-1])
            close = difflib.get_close_matches(str(where[-1]), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            lines.append(f"{path}: unknown key{hint} Known keys here: {', '.join(known)}")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            value = problem["input"]
            given = "" if isinstance(value, dict) else f" (given: {reprlib.repr(value)})"
            lines.append(f"{path}: {message}{given}" if path else message)
    if len(problems) > PROBLEMS_SHOWN:
        lines.append(f"and {len(problems) - PROBLEMS_SHOWN:,} more problems of this kind")
    return "\n  ".join(dict.fromkeys(lines))


def _known_keys(top: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    model: Any = top
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        else:  # per_species, and then a species
            model = get_args(model)[1]
    return list(model.model_fields)
