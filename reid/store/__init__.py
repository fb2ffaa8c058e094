"""Files and folders on local disks and object storage, under one set of functions.

A path is a plain path or a URI (`s3://bucket/folder`, `gs://bucket/folder`), taken literally: a space
is a space and `%20` is three characters, so that a listed name can be opened. Where object storage is
and who may use it is read from the environment (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, …),
which workers on other machines need as well. A write is complete or absent: locally a file is written
aside and renamed; on object storage an object appears when its upload is closed. Readers never see
half a file, so a killed job leaves nothing to clean up.

Object storage that is busy or out of reach for a moment is asked again, with pauses that grow, for
`retries.RETRY_SECONDS`. What will not pass by itself (no such bucket, no access) is an error at once.

| file | holds |
| --- | --- |
| `addresses.py` | paths and URIs as text |
| `retries.py` | asking again |
| `files.py` | files and folders, whole |
| `json_values.py`, `parquet_tables.py` | JSON and Parquet, with digests by which damage is noticed |
"""

from reid.store.addresses import absolute, is_remote, join, refuse_keys
from reid.store.files import (
    exists,
    filesystem,
    is_folder,
    last_written,
    list_files,
    list_folders,
    list_states,
    read_bytes,
    remove,
    states_of,
    write_bytes,
    write_parts,
    write_text,
)
from reid.store.json_values import read_json, read_sealed, write_json, write_sealed
from reid.store.parquet_tables import (
    iter_tables,
    read_coded_table,
    read_row_group,
    read_schema,
    read_table,
    write_table,
)
from reid.store.retries import WRONG_PLACE, ask_again, guarded

__all__ = [
    "WRONG_PLACE",
    "absolute",
    "ask_again",
    "exists",
    "filesystem",
    "guarded",
    "is_folder",
    "is_remote",
    "iter_tables",
    "join",
    "last_written",
    "list_files",
    "list_folders",
    "list_states",
    "read_bytes",
    "read_coded_table",
    "read_json",
    "read_row_group",
    "read_schema",
    "read_sealed",
    "read_table",
    "refuse_keys",
    "remove",
    "states_of",
    "write_bytes",
    "write_json",
    "write_parts",
    "write_sealed",
    "write_table",
    "write_text",
]
