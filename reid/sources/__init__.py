"""Sources to annotations: one module a format, each ending in the annotations table.

Images are not opened here: a file that cannot be read is a row in `failures` when it is embedded.

| file | holds |
| --- | --- |
| `read.py` | every kind of source, recognised and read |
| `listings.py`, `folders.py`, `globs.py` | folders, globs, single images, text files that list them |
| `table_files.py`, `delimited.py`, `workbooks.py`, `detectors.py` | CSV, Parquet and spreadsheets; strict CSV of any encoding; what no animal is |
| `json_files.py`, `megadetector.py`, `speciesnet.py`, `coco.py`, `camtrap_dp.py`, `wildlife_insights.py` | other programs' formats |
| `built_rows.py`, `finding.py` | rows built one by one; images found below another root |
| `columns.py`, `box_columns.py`, `words.py` | what columns, boxes and labels mean |
| `dates.py`, `date_parts.py`, `date_orders.py` | what dates mean |
| `places.py`, `ids.py`, `digests.py` | paths in one spelling; names of annotations |
| `joining.py`, `stacked.py`, `repeats.py`, `stations.py` | all sources to one table, each animal once; places and bursts |
| `source_rows.py`, `reading.py` | what one source gives, and what all give |
"""

from reid.sources.ids import annotation_id, source_key
from reid.sources.read import read_sources
from reid.sources.reading import LABELS, Reading, no_sources
from reid.sources.source_rows import How

__all__ = ["LABELS", "How", "Reading", "annotation_id", "no_sources", "read_sources", "source_key"]
