"""`section.key=value` on the command line, whatever a species is called.

cluster.eps=0.3
cluster.per_species_eps.Equus sp.=0.05            all behind the setting is the species
embed.per_species."Equus sp.".model=megadescriptor-t-224
"""

import re
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel

from reid.config.yaml_text import YamlError, parse_yaml
from reid.errors import InputError

_QUOTED = re.compile(r'"([^"]*)"|\'([^\']*)\'')


def parse_override(text: str, model: type[BaseModel]) -> dict[str, Any]:
    """`a.b=value` as `{"a": {"b": value}}`.

    Args:
        text: the value is read as YAML.
        model: of the whole configuration: it says where the names of species are.

    Raises:
        InputError: there is no `=`, or the value is not YAML.
    """
    place = _end_of_key(text)
    if place < 1:
        raise InputError(
            f"{text[:200]!r} is not an override; write key=value, for example cluster.eps=0.3"
        )
    try:
        node: Any = parse_yaml(text[place + 1 :])
    except YamlError as error:
        raise InputError(f"{text[:200]!r}: the value is {error}") from error
    for part in reversed(_path(text[:place], model)):
        node = {part: node}
    assert isinstance(node, dict)
    return node


def _end_of_key(text: str) -> int:
    """Where the first `=` outside of quotes is; -1 where there is none."""
    covered = _QUOTED.sub(lambda found: "x" * len(found[0]), text.partition("=")[0])
    if covered.count('"') % 2 or covered.count("'") % 2:  # a quoted name holds the first =
        covered = _QUOTED.sub(lambda found: "x" * len(found[0]), text)
        return covered.find("=")
    return text.find("=")


def _path(key: str, model: Any) -> list[str]:
    """The key's parts: names of settings up to where species are named, and then the species."""
    path: list[str] = []
    rest = key
    while rest:
        of_species = _value_of_species(model)
        if of_species is not None:
            return path + _species_and_setting(rest, of_species)
        part, dot, rest = _next(rest)
        path.append(part)
        field = model.model_fields.get(part) if _is_section(model) else None
        model = field.annotation if field else None
        if dot and not rest:
            path.append("")
    return path


def _species_and_setting(rest: str, inside: Any) -> list[str]:
    """`Equus sp..model` → species and setting; a setting only where a species has settings."""
    if rest[:1] in ('"', "'"):
        species, _, rest = _next(rest)
        return [species, *rest.split(".")] if rest else [species]
    if not _is_section(inside) or "." not in rest:
        return [rest]
    species, _, setting = rest.rpartition(".")
    # What is no setting is a part of the name where it cannot be a misspelt one: it ends in a dot or a blank is in it.
    if setting in inside.model_fields or (setting and " " not in setting):
        return [species, setting]
    return [rest]


def _next(rest: str) -> tuple[str, str, str]:
    """The first part, its dot, and what follows; a part in quotes may hold dots."""
    found = _QUOTED.match(rest)
    if found and rest[found.end() : found.end() + 1] in ("", "."):
        part = found[1] if found[1] is not None else found[2]
        return part, rest[found.end() : found.end() + 1], rest[found.end() + 1 :]
    return rest.partition(".")


def _value_of_species(annotation: Any) -> Any:
    """What a `dict[str, …]` holds for each species; None for other settings."""
    arguments: Sequence[Any] = get_args(annotation)
    return arguments[1] if getattr(annotation, "__origin__", None) is dict else None


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
