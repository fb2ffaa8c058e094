"""The configuration of every job.

| file | holds |
| --- | --- |
| `load.py` | `Config`, and reading it from a file, flags and `key=value` |
| `sections.py` | sources, images, embed, cluster, rerank, report |
| `training.py` | finetune |
| `evidence.py` | pairs |
| `catalogue.py` | identify |
| `yaml_text.py`, `overrides.py` | reading YAML within bounds; `key=value` |
| `spelling.py` | settings for a species that is not there |
"""

from reid.config.catalogue import Identify, Rules
from reid.config.evidence import Pairs
from reid.config.load import Config, data_settings, dump_config, load_config
from reid.config.sections import Cluster, Embed, Images, Report, Rerank, Route, Sources
from reid.config.spelling import refuse_unknown_species
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
    "Sources",
    "data_settings",
    "dump_config",
    "load_config",
    "refuse_unknown_species",
]
