"""Checks the overlays for restores: the drill writes nowhere, and the Job `restored` covers every service."""

import json

# Auth is the last one: it deletes the stream in which the others search for lost events.
RESTORED_IN_ORDER = ["profile", "presence", "wallet", "calls", "verification", "auth"]
KINDS_OF_A_DRILL = {"Namespace", "Cluster", "ObjectStore", "ExternalSecret", "NetworkPolicy"}
KEYS_OF_A_DRILL = "postgres-backups-read-only"


def is_drill(overlay):
    return overlay.name.startswith("drill")


def drill_problems(documents, production):
    """Yields a sentence for everything by which a drill could touch production: it has only a database of its own, and
    only reads backups.
    """
    for document in documents:
        owner = f"{document['kind']} {document['metadata']['name']}"
        if document["kind"] not in KINDS_OF_A_DRILL:
            yield f"{owner}: a drill has only a database"
        if namespace_of(document) in {namespace_of(d) for d in production}:
            yield f"{owner}: is in the namespace of production"
        for host in hosts(production):
            if host in json.dumps(document):
                yield f"{owner}: names production's host {host}"
        yield from (f"{owner}: {problem}" for problem in drill_violations(document))


def drill_violations(document):
    """The ways in which an object of Postgres does not fit a drill: it writes to a bucket, or restores nothing."""
    spec = document.get("spec", {})
    if document["kind"] == "Cluster":
        for plugin in spec.get("plugins", []):
            store = plugin.get("parameters", {}).get("barmanObjectName")
            yield f"{plugin['name']} writes to the bucket of {store}"
        if "backup" in spec:
            yield "writes backups to a bucket"
        if "recovery" not in spec.get("bootstrap", {}):
            yield "restores nothing"
    if document["kind"] == "ObjectStore" and "retentionPolicy" in spec:
        yield "deletes old backups from its bucket"
    if document["kind"] == "ExternalSecret":
        extracted = [source.get("extract", {}).get("key") for source in spec.get("dataFrom", [])]
        if spec.get("data") or extracted != [KEYS_OF_A_DRILL]:
            yield f"has other keys than {KEYS_OF_A_DRILL}"


def namespace_of(document):
    """Returns the namespace of an object, which for a namespace is itself."""
    metadata = document["metadata"]
    return metadata["name"] if document["kind"] == "Namespace" else metadata.get("namespace")


def hosts(documents):
    """The host names of an overlay outside the cluster."""
    return {h for d in documents if d["kind"] == "HTTPRoute" for h in d["spec"].get("hostnames", [])}


def job_problems(overlay):
    """A Job `restored` has one container for each service, in order, with the settings of its migration."""
    job = overlay.named("Job", "restored")
    if not job:
        return
    spec = job["spec"]["template"]["spec"]
    containers = spec.get("initContainers", []) + spec["containers"]
    if [container["name"] for container in containers] != RESTORED_IN_ORDER:
        yield f"Job restored: not one container for each of {', '.join(RESTORED_IN_ORDER)}, in this order"
    for container in containers:
        service = container["name"]
        migration = overlay.named("Job", f"migrate-{service}")
        if container["command"] != [f"talktime-{service}", "restored"]:
            yield f"Job restored: {service} runs {container['command']}"
        migrated = migration and overlay.values(migration["spec"]["template"]["spec"])
        if overlay.values(spec, container) != migrated:
            yield f"Job restored: {service} has other settings than its migration"
    yield from stale_addresses(overlay)


def stale_addresses(overlay):
    """After a restore nothing names another cluster than the restored one."""
    cluster = overlay.of("Cluster")[0]["metadata"]["name"]
    for secret in overlay.of("ExternalSecret"):
        values = secret["spec"].get("target", {}).get("template", {}).get("data", {})
        for name, value in values.items():
            role = "ro" if name == "DATABASE__READ_URL" else "rw"
            if name.startswith("DATABASE__") and f"@{cluster}-{role}:" not in value:
                yield f"ExternalSecret {secret['metadata']['name']}: {name} is not of the restored cluster"
