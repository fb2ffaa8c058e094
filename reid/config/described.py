"""Every setting with its default, its range and what it means, as `reid settings` and the docs show them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from reid.config.load_config import Config

# What people change first; `reid settings` shows these before all others.
BASIC = (
    "input", "out", "embed.model", "embed.tta", "images.window", "cluster.method", "cluster.eps",
    "rerank.mode", "pairs.mode", "max_failures",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One setting, in words."""

    key: str
    default: str
    range: str
    description: str


def settings(section: str | None = None) -> list[Setting]:
    """The settings in their order; of one section, or of all.

    Args:
        section: `cluster`, …; one setting, `cluster.eps`; or `basic`, what people change first.
    """
    found = list(_of(Config, ""))
    if section == "basic":
        by_key = {one.key: one for one in found}
        return [by_key[key] for key in BASIC]
    if section is None:
        return found
    return [one for one in found if one.key == section or one.key.startswith(f"{section}.")]


def section_names() -> list[str]:
    """The sections of the configuration."""
    return [name for name, field in Config.model_fields.items() if _is_section(field.annotation)]


def in_markdown() -> str:
    """The page of all settings, a table a section."""
    top = [one for one in settings() if "." not in one.key]
    parts = [
        "# Settings\n",
        "`key=value` behind any command that takes settings, or a YAML file (`--config`). This page is what "
        "`reid settings --markdown` prints.\n",
        "## What people change first\n",
        _table(settings("basic")),
        "## Of every command\n",
        _table(top),
    ]
    for name in section_names():
        words = (Config.model_fields[name].annotation.__doc__ or "").strip().splitlines()[0]
        parts += [f"## `{name}`\n", f"{words}\n", _table(settings(name))]
    return "\n".join(parts)


def _table(rows: list[Setting]) -> str:
    lines = ["| setting | default | values | meaning |", "| --- | --- | --- | --- |"]
    for one in rows:
        cells = (
            f"`{one.key}`",
            f"`{one.default}`" if one.default else "",
            one.range,
            one.description,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _of(model: type[BaseModel], before: str) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        if _is_section(field.annotation):
            yield from _of(field.annotation, f"{before}{name}.")  # type: ignore[arg-type]
            continue
        yield Setting(
            before + name,
            _default(field),
            _range(field.annotation, field.metadata),
            field.description or "",
        )


def _number(value: float) -> str:
    return f"{int(value):,}" if float(value).is_integer() else f"{value:g}"


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _default(field: FieldInfo) -> str:
    """As it is written on the command line; nothing where there is none."""
    value = field.get_default(call_default_factory=True)
    if value is None or value in ([], {}, ()):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return (
            "["
            + ", ".join(f"{one:g}" if isinstance(one, float) else str(one) for one in value)
            + "]"
        )
    return f"{value:g}" if isinstance(value, float) else str(value)


_WORDS = {
    bool: "true, false", str: "text", int: "whole number", float: "number", type(None): "",
}  # fmt: skip
_SIGNS = {Ge: ("ge", "≥"), Gt: ("gt", ">"), Le: ("le", "≤"), Lt: ("lt", "<")}


def _range(annotation: Any, metadata: list[Any]) -> str:
    """Which values there are, in words."""
    arguments, origin = get_args(annotation), get_origin(annotation)
    if origin is Literal:
        return ", ".join(str(one) for one in arguments)
    bounds = [
        f"{sign} {_number(getattr(one, name))}"
        for one in metadata
        for kind, (name, sign) in _SIGNS.items()
        if isinstance(one, kind)
    ]
    if hasattr(annotation, "__metadata__"):  # Annotated
        inner = [
            part for one in annotation.__metadata__ for part in getattr(one, "metadata", [one])
        ]
        return _range(arguments[0], [*inner, *metadata])
    if origin is list:
        return f"list of {_range(arguments[0], [])}"
    if origin is tuple:
        known = [one for one in arguments if one is not Ellipsis]
        count = "" if Ellipsis in arguments else f"{len(known)} "
        return f"{count}× {_range(known[0], [])}".strip()
    if origin is dict:
        inside = arguments[1]
        of = "settings" if _is_section(inside) else _range(inside, [])
        return f"{of}, by name"
    if arguments:  # a union
        words = [_range(one, metadata) for one in arguments]
        return ", or ".join(dict.fromkeys(word for word in words if word))
    word = _WORDS.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return " ".join([word, *([" and ".join(bounds)] if bounds and word else [])])
