"""Sources to annotations: one module a format, each ending in the annotations table.

Images are not opened here: a file that cannot be read is a row in `failures` when it is embedded.

| file | holds |
| --- | --- |
| `read.py` | every kind of source, recognised and read |
| `listings.py`, `folders.py`, `globs.py` | folders, globs, single images, text files that list them |
| `opened_tables.py`, `delimited.py`, `decoding.py`, `workbooks.py`, `zips.py` | tables as in their files: strict CSV of any encoding, Parquet, spreadsheets |
| `table_files.py`, `detectors.py` | what their rows say; what no animal is |
| `json_files.py`, `megadetector.py`, `speciesnet.py`, `coco.py`, `wildlife_insights.py` | other programs' formats |
| `camtrap_dp.py`, `camtrap_rows.py`, `camtrap_cells.py`, `detected_boxes.py` | Camtrap DP, with a detector's boxes or without |
| `built_rows.py`, `finding.py`, `stated_sizes.py` | rows built one by one; images found below another root; boxes of copies and turned pictures |
| `columns.py`, `box_columns.py`, `words.py` | what columns, boxes and labels mean |
| `dates.py`, `date_parts.py`, `date_orders.py` | what dates mean |
| `places.py`, `ids.py` | paths in one spelling; names of annotations |
| `named_files.py`, `remote_files.py`, `file_headers.py` | what storage says of files, and their headers where a source cannot be understood without |
| `joining.py`, `stacked.py`, `repeats.py`, `stations.py`, `camera_times.py` | all sources to one table, each animal once; places and bursts |
| `source_rows.py`, `reading.py` | what one source gives, and what all give |
"""

from reid.sources.ids import annotation_id, source_key
from reid.sources.read import read_sources
from reid.sources.reading import LABELS, Reading, no_sources
from reid.sources.source_rows import How

__all__ = ["LABELS", "How", "Reading", "annotation_id", "no_sources", "read_sources", "source_key"]
