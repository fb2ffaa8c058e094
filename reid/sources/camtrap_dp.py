"""Camtrap DP packages, 0.1.6 and 1.x, in a folder or zipped: which tables they have and what is in them."""

import posixpath
from collections.abc import Mapping
from typing import Any

from reid import store
from reid.errors import InputError
from reid.sources import places
from reid.sources.built_rows import Records, mapping, mappings, text_of
from reid.sources.camtrap_cells import Row
from reid.sources.camtrap_rows import Package
from reid.sources.opened_tables import Table, open_table, table_of
from reid.sources.source_rows import How, Rows
from reid.sources.words import is_empty
from reid.sources.zips import zipped_names

DESCRIPTOR = "datapackage.json"


def read_camtrap_dp(
    source: str,
    data: Mapping[str, Any],
    folder: str,
    how: How,
    *,
    files: Mapping[str, bytes] | None = None,
    detected: Rows | None = None,
) -> Rows:
    """The annotations of a package.

    Args:
        source: as the user named it.
        data: the descriptor, datapackage.json.
        folder: absolute, where the descriptor lies; images are looked for below `how.root` too.
        how: what the user said.
        files: the package's tables, where they are zipped: path below the descriptor's folder → contents.
        detected: boxes of a detector, for images of which the package has none; their paths are below
            the same root.

    Raises:
        InputError: tables are missing, or none of the images is there.
    """
    tables = {str(text_of(one.get("name"))): one for one in mappings(data.get("resources"))}
    missing = [name for name in ("media", "deployments", "observations") if name not in tables]
    if missing:
        raise InputError(f"--input {source}: the package has no resource {', '.join(missing)}")
    media, deployments, observations = (
        _table(source, folder, tables[name], files)
        for name in ("media", "deployments", "observations")
    )
    records = Records(source, places.absolute(how.root or folder))
    trusted = (
        how.trust_individual_ids or mapping(data.get("project")).get("individualAnimals") is True
    )
    package = Package(records, media, deployments, observations, trusted=trusted, detected=detected)
    package.add_all()
    described = f"Camtrap DP: {len(media):,} media, {len(observations):,} observations; {len(records):,} animals"
    return records.rows(how, described=described)


def _table(
    source: str, folder: str, resource: Mapping[str, Any], files: Mapping[str, bytes] | None
) -> list[Row]:
    """The rows of a resource; cells that say nothing are left out."""
    if isinstance(resource.get("data"), list):
        given = [
            {str(name): text_of(value) or "" for name, value in one.items()}
            for one in mappings(resource["data"])
        ]
    else:
        table = _opened(source, folder, resource, files)
        columns = [table.texts(at).to_pylist() for at in range(len(table.header))]
        given = [
            dict(zip(table.header, cells, strict=True)) for cells in zip(*columns, strict=True)
        ]
    return [
        {
            name: cell.strip()
            for name, cell in row.items()
            if cell and (name == "observationType" or not is_empty(cell))
        }
        for row in given
    ]


def _opened(
    source: str, folder: str, resource: Mapping[str, Any], files: Mapping[str, bytes] | None
) -> Table:
    """The table of a resource that lies in a file of its own."""
    path = resource.get("path")
    path = text_of(path[0] if isinstance(path, list) and path else path) or ""
    plain = posixpath.normpath(path)
    if not path or "://" in path or plain.startswith(("/", "..")):
        raise InputError(
            f"--input {source}: the table {resource.get('name')} lies at {path!r}; a package's tables lie "
            "below its folder"
        )
    if files is None:
        return open_table(store.join(folder, plain))
    if plain in files:
        return table_of(files[plain], f"{source}/{plain}")
    raise InputError(f"--input {source}: there is no {plain} in it, which {DESCRIPTOR} names")


def is_package(folder: str) -> bool:
    """Is a folder a Camtrap DP package?"""
    return places.look(store.join(folder, DESCRIPTOR)) == "file"


def holds_package(source: str) -> bool:
    """Does a .zip hold a Camtrap DP package?"""
    return any(name.rpartition("/")[2] == DESCRIPTOR for name in zipped_names(source))
