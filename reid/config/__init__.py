"""The configuration of every job.

| file | holds |
| --- | --- |
| `load_config.py` | `Config`, and reading it from a file, flags and `key=value` |
| `sections.py` | sources, images, embed, cluster, rerank, report |
| `finetune_section.py` | finetune, and what of it decides the weights |
| `pairs_section.py` | pairs |
| `identify_section.py` | identify |
| `yaml_text.py`, `overrides.py` | reading YAML within bounds; `key=value` |
| `problems.py` | what is wrong with settings, in words |
"""

from reid.config.finetune_section import Finetune
from reid.config.identify_section import Identify, Rules
from reid.config.load_config import Config, data_settings, dump_config, load_config
from reid.config.pairs_section import Pairs
from reid.config.sections import Cluster, Embed, Images, Report, Rerank, Route, Sources

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
]
