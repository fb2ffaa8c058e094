"""pydantic's errors, in words for whoever wrote the settings."""

import difflib
import re
import reprlib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

# Pydantic's own words in the path of a problem, and no keys of the user's file.
UNION_BRANCHES = ("int", "constrained-int", "float", "bool", "literal['auto']")
PROBLEMS_SHOWN = 5
# What pydantic wants, by the beginning of the problem's type, in words of people who do not program.
NEEDED = {
    "float": "a number", "int": "a whole number", "bool": "true or false", "string": "text", "list": "a list, [a, b]",
    "tuple": "a list, [a, b]", "dict": "several lines of `key: value`", "model": "several lines of `key: value`",
}  # fmt: skip
TYPE_PROBLEMS = ("type", "parsing", "parsing_size", "from_float", "attributes_type")


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong with settings, a line each, with the keys that are known where one is not.

    Args:
        error: pydantic's.
        model: what the settings were to be.
    """
    lines: list[str] = []
    needed: dict[tuple[str, str], list[str]] = {}
    problems = error.errors()
    for problem in problems[:PROBLEMS_SHOWN]:
        where = [part for part in problem["loc"] if part not in UNION_BRANCHES]
        if problem["type"] == "missing" and isinstance(where[-1], int):
            where.pop()  # one of the values of a list
        path = ".".join(str(part) for part in where)
        if problem["type"] == "extra_forbidden":
            known = _known_keys(model, where[:-1])
            close = difflib.get_close_matches(str(where[-1]), known, n=1)
            hint = f"; did you mean {close[0]}?" if close else "."
            lines.append(f"{path}: unknown key{hint} Known keys here: {', '.join(known)}")
            continue
        value = problem["input"]
        given = "" if isinstance(value, dict) else f" (given: {reprlib.repr(value)})"
        if isinstance(value, str) and re.fullmatch(r"\d+,\d+", value):
            given += f"; write {value.replace(',', '.')}, with a point"
        message = _in_words(problem)
        if not message.startswith("must be "):
            lines.append(f"{path}: {message}{given}" if path else message)
            continue
        # Of a choice of types pydantic tells a problem each: the setting's line is where the first stands.
        if (path, given) not in needed:
            lines.append(f"{path}\0{given}")
        needed.setdefault((path, given), []).append(message.removeprefix("must be "))
    for (path, given), words in needed.items():
        choice = " or ".join(dict.fromkeys(words))
        lines[lines.index(f"{path}\0{given}")] = f"{path}: must be {choice}{given}"
    if len(problems) > PROBLEMS_SHOWN:
        lines.append(f"and {len(problems) - PROBLEMS_SHOWN:,} more problems of this kind")
    return "\n  ".join(dict.fromkeys(lines))


def _in_words(problem: ErrorDetails) -> str:
    """What one problem is, without the words of a programmer."""
    kind, _, what = problem["type"].partition("_")
    if kind in NEEDED and what in TYPE_PROBLEMS:
        return f"must be {NEEDED[kind]}"
    if problem["type"] == "missing" and isinstance(problem["loc"][-1], int):
        return f"more values are needed than {len(problem['input'])}"
    if problem["type"] == "too_long":
        return f"has {problem['ctx']['actual_length']} values and can have {problem['ctx']['max_length']}"
    message = problem["msg"].removeprefix("Value error, ")
    return message.replace("Input should be", "must be", 1).replace(
        "Input should have", "must have", 1
    )


def _known_keys(top: type[BaseModel], path: Sequence[str | int]) -> list[str]:
    model: Any = top
    for part in path:
        if isinstance(model, type) and issubclass(model, BaseModel):
            model = model.model_fields[str(part)].annotation
        else:  # per_species, and then a species
            model = get_args(model)[1]
    return list(model.model_fields)
