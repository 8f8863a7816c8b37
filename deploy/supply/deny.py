"""Runs cargo-deny, and compares bills of materials with their schema."""

import dataclasses
import functools
import importlib.util
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import advisories
import fastjsonschema
from installed import REPOSITORY, TOOLS

DATABASES = TOOLS / "databases"
PROGRAM = Path(sys.executable).parent / "cargo-deny"


@dataclasses.dataclass
class DenyReport:
    """The errors of a run: their codes, and a sentence for each."""

    codes: list
    problems: list


def run(metadata, known):
    """Applies deny.toml to the crates of the metadata and to the known advisories."""
    advisories.lay_out(known, DATABASES)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(metadata, file)
        file.flush()
        command = [PROGRAM, "--offline", "--locked", "--format", "json", "--metadata-path", file.name, "check"]
        result = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
    found = [json.loads(line) for line in result.stderr.splitlines() if line.startswith("{")]
    errors = [line["fields"] for line in found if line["type"] == "diagnostic" and line["fields"]["severity"] == "error"]
    if result.returncode != 0 and not errors:
        raise RuntimeError(f"cargo-deny failed: {result.stderr[-2000:]}")
    return DenyReport([error.get("code") for error in errors], [describe(error) for error in errors])


def describe(error):
    """Returns an error in one line: what is wrong, where cargo-deny has found it, and in which crate."""
    labels = ", ".join(f"{label['message']}: {label['span']}" for label in error.get("labels", []))
    crates = {graph["Krate"]["name"] for graph in error.get("graphs", []) if "Krate" in graph}
    return f"{error.get('code')}: {error['message']} ({labels}) {', '.join(sorted(crates))}".rstrip()


@functools.cache
def validator():
    """Returns the check of the format, from the schemas that the package of CycloneDX carries."""
    package = importlib.util.find_spec("cyclonedx").submodule_search_locations[0]
    folder = Path(package) / "schema/_res"

    def load(address):
        return json.loads((folder / address.rsplit("/", 1)[-1]).read_text())

    schema = json.loads((folder / "bom-1.6.SNAPSHOT.schema.json").read_text())
    return fastjsonschema.compile(schema, handlers={"http": load}, use_formats=False)


def schema_problems(materials):
    """Yields the first thing that is wrong with a bill of materials."""
    try:
        validator()(materials)
    except fastjsonschema.JsonSchemaValueException as error:
        yield f"bill of materials: {error.message[:200]}"
