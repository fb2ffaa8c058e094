"""The pages' templates, rendered by one environment: all that is filled in is escaped."""

from collections.abc import Callable, Mapping
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup


def render(
    template: str, *, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any
) -> str:
    """Fill a template of `reid/templates`.

    Args:
        template: name of the file.
        filters: its own, beside those of Jinja.
        values: what it names; a name that is missing is an error.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reid"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters |= filters or {}
    environment.globals["file"] = _own_file
    return environment.get_template(template).render(values)


def _own_file(name: str) -> Markup:
    """A style or script of ours, as it stands."""
    text = (resources.files("reid") / "templates" / name).read_text("utf-8")
    return Markup(text)  # noqa: S704 our own file
