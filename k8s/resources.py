"""The schemas of operators' resources, from Rust types that were generated from their definitions.

No package registry has the definitions themselves. The crates in CRATES are generated from them every week, with one
file for each resource: the name and type of every field, whether it is required, and the words that it accepts.
Patterns, ranges and rules across fields are not in the types, and are not checked.
"""

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".dev/tools/k8s"
SOURCES = TOOLS / "crates"
# The crate and its version, by the group of the API whose resources it has.
CRATES = {
    "argoproj.io": ("kcr_argoproj_io", "3.20260618.213614"),
    "barmancloud.cnpg.io": ("kcr_barmancloud_cnpg_io", "3.20260612.91212"),
    "cert-manager.io": ("kcr_cert_manager_io", "3.20260606.152110"),
    "external-secrets.io": ("kcr_external_secrets_io", "3.20260613.112915"),
    "gateway.networking.k8s.io": ("kcr_gateway_networking_k8s_io", "3.20260617.224905"),
    "monitoring.coreos.com": ("kcr_monitoring_coreos_com", "3.20260613.160609"),
    "postgresql.cnpg.io": ("kcr_postgresql_cnpg_io", "3.20260607.103612"),
}
MANIFEST = """[package]
name = "resources-of-operators"
version = "0.0.0"
edition = "2021"
[lib]
path = "lib.rs"
[workspace]
[dependencies]
"""

COMMENT = re.compile(r"^\s*//.*$", re.MULTILINE)
ITEM = re.compile(r"^pub (?P<keyword>struct|enum) (?P<name>\w+) \{\n(?P<body>.*?)\n?^\}", re.DOTALL | re.MULTILINE)
FIELD = re.compile(r"(?:#\[serde\((?P<serde>[^\]]*)\)\]\s*)?pub (?:r#)?(?P<name>\w+): (?P<type>[^\n]+),\n")
VARIANT = re.compile(r"(?:#\[serde\((?P<serde>[^\]]*)\)\]\s*)?(?:r#)?(?P<name>\w+),\n")
RENAME = re.compile(r'rename = "([^"]*)"')
GENERIC = re.compile(r"(Option|Vec|BTreeMap)<(?:String, )?(.+)>")
INTEGERS = {"i32": 2**31, "i64": 2**63}
SCALARS = {
    "String": {"type": "string"},
    "bool": {"type": "boolean"},
    "f64": {"type": "number"},
    "IntOrString": {"type": ["integer", "string"]},
    "serde_json::Value": {},
    # Of another crate, and part of a status only.
    "Condition": {"type": "object"},
    **{name: {"type": "integer", "minimum": -top, "maximum": top - 1} for name, top in INTEGERS.items()},
}
METADATA = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "namespace": {"type": "string"},
        "labels": {"type": "object", "additionalProperties": {"type": "string"}},
        "annotations": {"type": "object", "additionalProperties": {"type": "string"}},
    },
    "required": ["name"],
    "additionalProperties": False,
}


def fetch():
    """Downloads the source of the crates, without building it."""
    shutil.rmtree(SOURCES, ignore_errors=True)
    SOURCES.mkdir(parents=True)
    wanted = "".join(f'{name} = "={version}"\n' for name, version in CRATES.values())
    (SOURCES / "Cargo.toml").write_text(MANIFEST + wanted)
    (SOURCES / "lib.rs").touch()
    command = ["cargo", "metadata", "--format-version=1", "--manifest-path", SOURCES / "Cargo.toml"]
    described = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    manifests = {p["name"]: Path(p["manifest_path"]) for p in json.loads(described)["packages"]}
    for name, _ in CRATES.values():
        shutil.copytree(manifests[name].parent / "src", SOURCES / name)


def outside_name(match):
    """The name that a field or a variant has outside Rust."""
    rename = RENAME.search(match["serde"] or "")
    return rename[1] if rename else match["name"]


class Types:
    """The types of one source file, as JSON schemas."""

    def __init__(self, source):
        self.items = {item["name"]: item for item in ITEM.finditer(COMMENT.sub("", source))}

    def schema(self, kind):
        """Returns the schema of a Rust type."""
        if kind in SCALARS:
            return SCALARS[kind]
        generic = GENERIC.fullmatch(kind)
        if generic is None:
            return self._item(self.items[kind])
        inner = self.schema(generic[2])
        if generic[1] == "Vec":
            return {"type": "array", "items": inner}
        return inner if generic[1] == "Option" else {"type": "object", "additionalProperties": inner}

    def _item(self, item):
        body = item["body"] + "\n"
        if item["keyword"] == "enum":
            words = [outside_name(variant) for variant in VARIANT.finditer(body)]
            # Rust has no numbers as variants, so that a number is a name there.
            return {"enum": words + [int(word) for word in words if word.isdigit()]}
        fields = list(FIELD.finditer(body))
        assert len(fields) == body.count("pub "), f"{item['name']} has a field of another shape"
        return {
            "type": "object",
            "properties": {outside_name(field): self.schema(field["type"]) for field in fields},
            "required": [outside_name(field) for field in fields if not field["type"].startswith("Option<")],
            "additionalProperties": False,
        }


@cache
def schema(api_version, kind):
    """The schema of a resource; None where its group has none of this version and kind."""
    group, _, version = api_version.partition("/")
    crate, _ = CRATES[group]
    for file in sorted((SOURCES / crate / version).glob("*.rs")):
        source = file.read_text()
        if f'version = "{version}", kind = "{kind}"' in source:
            spec = re.search(r"^pub struct (\w+Spec) \{", source, re.MULTILINE)[1]
            return resource(Types(source).schema(spec))
    return None


def resource(spec):
    """Returns the schema of a resource with this schema of its `spec`."""
    return {
        "type": "object",
        "properties": {"apiVersion": {}, "kind": {}, "metadata": METADATA, "spec": spec},
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
    }
