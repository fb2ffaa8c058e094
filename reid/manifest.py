"""Sources to annotations, for a Python shell: the table and the notes. `reid/sources/` does the work."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from reid.sources import How, annotation_id, read_sources, source_key

__all__ = ["annotation_id", "read_annotations", "source_key"]


def read_annotations(
    inputs: Sequence[str],
    *,
    root: str | None = None,
    species: str | None = None,
    identity_from_parent: bool = False,
    columns: Mapping[str, str] | None = None,
) -> tuple[pa.Table, list[str]]:
    """`reid.sources.read_sources`, with rows that cannot be read told in the notes.

    Args:
        inputs: folders, globs, tables, as of `reid run --input`.
        root: folder that image paths are relative to; None: as each source says.
        species: of rows that name none.
        identity_from_parent: identities are the names of the images' folders.
        columns: our name → the column that gives it, where its name does not say so.

    Returns:
        The table (schema.ANNOTATIONS, one row an animal box), and notes in plain words.

    Raises:
        InputError: a source does not exist, holds no image, or cannot be understood.
    """
    how = How(
        root=root, species=species, identity_from_parent=identity_from_parent, columns=columns or {}
    )
    reading = read_sources(inputs, how)
    failed = [
        f"{row['image_path']}: not read: {row['error']}" for row in reading.failures.to_pylist()
    ]
    return reading.annotations, [*reading.notes, *failed]
