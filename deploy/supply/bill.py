"""The bill of materials of the seven programs, in the format of CycloneDX 1.6: each crate that they are built from."""

import functools
import json
import subprocess
import tomllib
import uuid
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PROGRAMS = ["auth", "profile", "presence", "wallet", "calls", "verification", "gateway"]
PLATFORMS = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"]
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://example.com/talktime/bill-of-materials")


@functools.cache
def read_metadata(*options):
    """Returns what cargo knows about the workspace and its dependencies on the platforms of the image."""
    command = ["cargo", "metadata", "--locked", "--format-version", "1", *options]
    for platform in PLATFORMS:
        command += ["--filter-platform", platform]
    return json.loads(subprocess.run(command, check=True, cwd=REPOSITORY, capture_output=True, text=True).stdout)


def read_checksums():
    """Returns the checksums of all crates that are not ours, by name and version."""
    packages = tomllib.loads((REPOSITORY / "Cargo.lock").read_text())["package"]
    return {(package["name"], package["version"]): package.get("checksum") for package in packages}


def dependencies(node):
    """Yields the ids of the packages that a package is built from; those of its tests are not among them."""
    for dependency in node["deps"]:
        if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
            yield dependency["pkg"]


def reachable(nodes, roots):
    """Returns the ids of all packages that the roots are built from, themselves included."""
    found, waiting = set(), list(roots)
    while waiting:
        package = waiting.pop()
        if package not in found:
            found.add(package)
            waiting += dependencies(nodes[package])
    return found


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package, checksums):
    """Returns the entry of a crate."""
    entry = {
        "type": "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package["license"]:
        # Crates of before 2018 separate alternatives with a stroke.
        expression = " OR ".join(part.strip() for part in package["license"].split("/"))
        entry["licenses"] = [{"expression": expression}]
    checksum = checksums.get((package["name"], package["version"]))
    if checksum:
        entry["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return entry


def bill_of_materials(metadata, checksums, version):
    """Returns the bill for a release. The same sources and version give the same bill, byte for byte."""
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    names = {f"talktime-{program}" for program in PROGRAMS}
    roots = [id for id in metadata["workspace_members"] if packages[id]["name"] in names]
    used = sorted(reachable(nodes, roots), key=lambda id: purl(packages[id]))
    platform = {"type": "application", "bom-ref": "talktime", "name": "talktime", "version": version}
    edges = [{"ref": "talktime", "dependsOn": sorted(purl(packages[id]) for id in roots)}]
    for id in used:
        needed = sorted({purl(packages[other]) for other in dependencies(nodes[id])})
        edges.append({"ref": purl(packages[id]), "dependsOn": needed})
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(NAMESPACE, version + json.dumps(edges))}",
        "version": 1,
        "metadata": {"component": platform},
        "components": [component(packages[id], checksums) for id in used],
        "dependencies": edges,
    }
