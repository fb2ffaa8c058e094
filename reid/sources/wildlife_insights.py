"""Wildlife Insights' export: images.csv and deployments.csv, in a folder or as they come, zipped."""

import re
from collections.abc import Iterator, Mapping, Sequence

from reid import store
from reid.errors import InputError
from reid.sources import places
from reid.sources.built_rows import NO_SPECIES, Records, number_of
from reid.sources.delimited import read_delimited
from reid.sources.source_rows import How, Rows
from reid.sources.words import is_empty
from reid.sources.zips import zipped_tables

Row = Mapping[str, str]
_IMAGES = re.compile(r"images(_\d+)?\.csv")
COLUMNS = frozenset({"deployment_id", "image_id", "is_blank"})  # that tell it from other tables


def is_export(source: str) -> bool:
    """Is a folder such an export? Several projects have images_<project>.csv each."""
    if places.look(store.join(source, "deployments.csv")) != "file":
        return False
    return any(_IMAGES.fullmatch(path.rpartition("/")[2]) for path in store.list_files(source))


def read_wildlife_insights(source: str, how: How) -> Rows:
    """The animals of an export.

    Args:
        source: a folder, a .zip, or its images.csv.
        how: images are looked for below `root`, as `<deployment_id>/<filename>` or `<filename>`.

    Raises:
        InputError: it cannot be read, none of its images is here, or it cannot be told which.
    """
    rows = [row for _, found in _tables(source) for row in found]
    images = [row for row in rows if "image_id" in row]
    named = {
        row["deployment_id"]: row["placename"]
        for row in rows
        if "image_id" not in row and "deployment_id" in row and "placename" in row
    }
    if not images:
        raise InputError(f"--input {source}: the export names no image")
    folder = source if places.look(source) == "folder" else places.parent(source)
    records = Records(source, places.absolute(how.root or folder))
    for row in images:
        records.images += 1
        name = row.get("filename") or row.get("location", "").rpartition("/")[2]
        place = row.get("deployment_id", "")
        path = f"{place}/{name}" if place else name
        kind = _no_animal(row)
        if kind:
            records.left_out[f"of {kind}"] += 1
        elif not name:
            records.fail(row.get("image_id", ""), "an image without a file name")
        elif (number_of(row.get("number_of_objects")) or 1) > 1:
            records.left_out["images of several animals without boxes"] += 1
        else:
            records.add(
                path,
                None,
                image_id=row.get("image_id"),
                species=_species(row),
                identity=row.get("individual_id"),
                encounter_id=row.get("sequence_id"),
                location_id=named.get(place, place) or None,
                timestamp=row.get("timestamp"),
            )
    described = f"Wildlife Insights: {records.images:,} images; {len(records):,} animals"
    return records.rows(how, described=described)


def _tables(source: str) -> Iterator[tuple[str, list[Row]]]:
    """Name and rows of each CSV file."""
    if places.look(source) == "folder":
        for path in store.list_files(source):
            if path.endswith(".csv"):
                yield path.rpartition("/")[2], _rows(path, store.read_bytes(path))
    elif source.lower().endswith(".zip"):
        for path, data in zipped_tables(source).items():
            if path.endswith(".csv"):
                name = path.rpartition("/")[2]
                yield name, _rows(f"{source}/{name}", data)
    else:
        yield "images.csv", _rows(source, store.read_bytes(source))
        beside = store.join(places.parent(source), "deployments.csv")
        if places.look(beside) == "file":
            yield "deployments.csv", _rows(beside, store.read_bytes(beside))


def _rows(path: str, data: bytes) -> list[Row]:
    try:
        table = read_delimited(data, known=("deploymentid", "imageid"))
    except InputError as error:
        raise InputError(f"--input {path}: cannot be read as a table: {error}") from error
    header = [name.lower() for name in table.header]
    columns: Sequence[Sequence[str]] = [column.to_pylist() for column in table.columns]
    return [
        {
            name: cell.strip()
            for name, cell in zip(header, cells, strict=True)
            if name == "is_blank" or name == "common_name" or not is_empty(cell)
        }
        for cells in zip(*columns, strict=True)
    ]


def _no_animal(row: Row) -> str | None:
    """What an image shows that is no animal."""
    if row.get("is_blank", "").lower() in ("1", "1.0", "true", "yes"):
        return "blank images"
    if row.get("genus", "").lower() == "homo" or row.get("common_name", "").lower().startswith(
        "human"
    ):
        return "people"
    for name in ("common_name", "species", "genus"):
        word = row.get(name, "").lower()
        if word in NO_SPECIES and word != "unknown":
            return f"images that are {word}"
    return None


def _species(row: Row) -> str | None:
    genus, species = row.get("genus", ""), row.get("species", "")
    if genus and species:
        return f"{genus.capitalize()} {species.lower()}"
    deepest = genus or row.get("family", "") or row.get("order", "") or row.get("class", "")
    return deepest.capitalize() or None
