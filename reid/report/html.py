"""One HTML file that needs nothing else: rendered by one environment, and onto disk in one step.

All that is filled into a template is escaped.
"""

import io
import json
import os
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import IO, Any

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
    environment = _environment()
    if filters:
        environment = environment.overlay()
        environment.filters = {**environment.filters, **filters}
    return environment.get_template(template).render(values)


@cache
def _environment() -> jinja2.Environment:
    """A book has thousands of pages of one template."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("reid"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.globals["file"] = _own_file
    return environment


@cache
def _own_file(name: str) -> Markup:
    """A style or script of ours, as it stands."""
    text = (resources.files("reid") / "templates" / name).read_text("utf-8")
    return Markup(text)  # noqa: S704 our own file


def json_for_script(value: Any) -> Markup:
    """JSON that cannot end the script element it stands in: no <, > or & is left in it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)  # noqa: S704 escaped above


def encoded(page: str) -> bytes:
    """UTF-8; a file name that is not valid Unicode shows its odd bytes as \\udcff and ends no job."""
    return page.encode(errors="backslashreplace")


def write_page(path: str | os.PathLike[str] | IO[bytes], page: bytes) -> None:
    """Replace a local file in one step, or write to a binary file-like object."""
    if isinstance(path, io.IOBase) or hasattr(path, "write"):
        path.write(page)
        return
    target = Path(path)
    aside = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        aside.write_bytes(page)
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)
