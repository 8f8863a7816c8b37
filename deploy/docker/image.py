"""Checks the image and the ports in compose.yaml. Each check yields a sentence for each violation."""

import re

CURRENT_DEBIAN = "trixie"
PROCESSES = ["auth", "profile", "presence", "wallet", "calls", "verification", "gateway"]


def image_problems(dockerfile, ignored, workspace):
    """The image has every program, built from everything it needs, by the version that the workspace requires."""
    packages = set(re.findall(r"-p talktime-(\w+)", dockerfile))
    copied = re.search(r"for program in ([\w ]+);", dockerfile)
    programs = set(copied[1].split()) if copied else set()
    for process in PROCESSES:
        if process not in packages:
            yield f"Dockerfile: does not build talktime-{process}"
        if process not in programs:
            yield f"Dockerfile: talktime-{process} is not in the image"
    version = re.search(r"^ARG RUST_VERSION=(\S+)", dockerfile, re.MULTILINE)[1]
    if version != workspace["package"]["rust-version"]:
        yield f"Dockerfile: Rust {version}, and the workspace requires {workspace['package']['rust-version']}"
    debian = re.search(r"^ARG DEBIAN=(\S+)", dockerfile, re.MULTILINE)[1]
    if debian != CURRENT_DEBIAN:
        yield f"Dockerfile: Debian {debian}, and the stable one is {CURRENT_DEBIAN}"
    admitted = set(re.findall(r"^!(\S+)", ignored, re.MULTILINE))
    for path in ["Cargo.toml", "Cargo.lock", *workspace["members"]]:
        if path.partition("/")[0] not in admitted:
            yield f"Dockerfile.dockerignore: {path} is not in the build context"


def port_problems(compose, tables):
    """Processes listen on published ports, and health checks use their ports for operations."""
    for process in PROCESSES:
        service, table = compose["services"][process], tables[process]
        listening = {port_of(table[section]["listen"]) for section in ("ops", "grpc", "http") if section in table}
        for published in service.get("ports", []):
            port = published.rpartition(":")[2]
            if port not in listening:
                yield f"{process}: publishes port {port}, on which it does not listen"
        checked_ports = re.findall(r"/dev/tcp/127\.0\.0\.1/(\d+)", " ".join(service["healthcheck"]["test"]))
        if checked_ports != [port_of(table["ops"]["listen"])]:
            yield f"{process}: its health check uses port {', '.join(checked_ports)}"
        if "GET /readyz " not in " ".join(service["healthcheck"]["test"]):
            yield f"{process}: its health check does not request /readyz"


def port_of(address):
    return address.rpartition(":")[2]
