"""Pages of the site that are made from the code when it is built: commands and tables (a hook of MkDocs)."""

import ast
import inspect

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import jobs.cli  # its commands register as it is imported
from jobs.cli.app import app
from reid import schema

# What the lines above a table in reid/schema.py do not say: where it is found.
TABLES = {
    "ANNOTATIONS": ("annotations.parquet", "one animal box in one image: what was read"),
    "FAILURES": ("failures.parquet", "an image that could not be used, and why"),
    "CLUSTERS": ("clusters.parquet", "the cluster of each annotation"),
    "KEYPOINTS": ("keypoints/<recipe>/part-*.parquet", "points of one annotation's window"),
    "PAIRS": ("pairs.parquet", "a pair that was looked at, its evidence and P(same individual)"),
    "SPLIT": ("split.parquet", "which images a fine-tuning trained on, validated on and held out"),
    "CATALOGUE": ("CATALOGUE/annotations/", "the present state of each annotation"),
    "EVENTS": ("CATALOGUE/events/", "what each run did to the identities"),
    "DECISIONS": ("CATALOGUE/decisions/", "what reviewers said of pairs"),
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    assert jobs.cli.app is app
    command = typer.main.get_command(app)
    commands = get_docs_for_click(obj=command, ctx=typer.Context(command), name="reid")
    files.append(File.generated(config, "commands.md", content=commands))
    files.append(File.generated(config, "tables.md", content=tables()))
    return files


def tables() -> str:
    """Every table that is kept, column by column, from the schemas and the comments beside them."""
    said = _comments()
    parts = [
        "# Tables\n",
        "Each stage reads tables and writes tables. Parquet and Delta Lake: pandas, polars, DuckDB and Spark",
        "read them. A column that may not be empty is marked ●. Embeddings are",
        "`embeddings/<recipe>/part-*.parquet`, the column `embedding` a `fixed_size_list<float>[d]` of unit rows.\n",
    ]
    for name, (place, meaning) in TABLES.items():
        parts += [
            f"## `{place}`\n",
            f"One row: {meaning}.\n",
            "| column | type | |",
            "| --- | --- | --- |",
        ]
        for field in getattr(schema, name):
            mark = "" if field.nullable else " ●"
            parts.append(f"| `{field.name}`{mark} | {field.type} | {said.get(field.name, '')} |")
        parts.append("")
    return "\n".join(parts)


def _comments() -> dict[str, str]:
    """Column → the comment beside it in reid/schema.py, where there is one."""
    source = inspect.getsource(schema)
    lines = source.splitlines()
    found: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "field"):
            continue
        _, _, comment = lines[(node.end_lineno or 1) - 1].partition("#")
        name = node.args[0]
        if comment and isinstance(name, ast.Constant):
            found.setdefault(str(name.value), comment.strip().replace("|", "\\|"))
    return found
