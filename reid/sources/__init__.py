"""Sources to annotations: one module a format, each ending in the annotations table.

| file | holds |
| --- | --- |
| `reading.py` | what reading gives |
"""

from reid.sources.reading import LABELS, Reading

__all__ = ["LABELS", "Reading"]
