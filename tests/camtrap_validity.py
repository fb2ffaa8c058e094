"""Is this folder a Camtrap DP? Asked of frictionless, with the standard's schemas from this disk."""

import json
import os
from pathlib import Path

FORMATS = Path(
    os.environ.get("REID_FORMATS", Path(__file__).parents[2] / "shared" / "data" / "formats")
)
SCHEMAS = FORMATS / "camtrap-dp-schemas"
EXAMPLE = FORMATS / "camtrap-dp-1.0.2"
OLD = FORMATS / "camtrap-dp-0.1.6"


def mistakes(folder: Path) -> list[str]:
    """What frictionless and the profile find wrong; nothing for a valid package."""
    import jsonschema
    from frictionless import Package, Resource, Schema

    before = Path.cwd()
    os.chdir(folder)
    try:
        tables = []
        for name in ("deployments", "media", "observations"):
            schema = json.loads((SCHEMAS / f"{name}-table-schema.json").read_text())
            tables.append(
                Resource(path=f"{name}.csv", name=name, schema=Schema.from_descriptor(schema))
            )
        report = Package(resources=tables).validate()
    finally:
        os.chdir(before)
    found = [
        " ".join(map(str, row)) for row in report.flatten(["rowNumber", "fieldName", "message"])
    ]
    profile = json.loads((SCHEMAS / "camtrap-dp-profile.json").read_text())["allOf"][1]
    profile["properties"]["spatial"] = {"type": "object"}  # else GeoJSON's schema is fetched
    whole = json.loads((SCHEMAS / "camtrap-dp-profile.json").read_text())
    descriptor = json.loads((folder / "datapackage.json").read_text())
    if "$defs" in whole:
        profile["$defs"] = whole["$defs"]
    errors = jsonschema.Draft202012Validator(profile).iter_errors(descriptor)
    return found + [error.message for error in errors]
