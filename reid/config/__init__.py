"""The configuration of every job.

| file | holds |
| --- | --- |
| `load.py` | `Config`, and reading it from a file, flags and `key=value` |
| `sections.py` | images, embed, cluster, rerank, report |
| `training.py` | finetune |
| `evidence.py` | pairs |
| `catalogue.py` | identify |
"""

from reid.config.catalogue import Identify, Rules
from reid.config.evidence import Pairs
from reid.config.load import Config, dump_config, load_config
from reid.config.sections import Cluster, Embed, Images, Report, Rerank, Route
from reid.config.training import Finetune

__all__ = [
    "Cluster",
    "Config",
    "Embed",
    "Finetune",
    "Identify",
    "Images",
    "Pairs",
    "Report",
    "Rerank",
    "Route",
    "Rules",
    "dump_config",
    "load_config",
]
