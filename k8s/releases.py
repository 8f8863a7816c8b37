"""What must hold of releases: where requests go while there is a canary, in which order a change is applied, and which
images it names. Each check yields sentences about what does not hold.
"""

import re

from kinds import matches

TRACK = "talktime/track"
WAVE = "argocd.argoproj.io/sync-wave"
HOOK = "argocd.argoproj.io/hook"
REPLACED = "argocd.argoproj.io/hook-delete-policy"
DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")
# The greatest share of requests that a release may get before anybody knows whether it works.
CANARY_SHARE_MAX = 0.2


def problems(overlay):
    return [problem for check in (routes, canaries, waves) for problem in check(overlay)]


def is_canary(deployment):
    return deployment["spec"]["template"]["metadata"]["labels"].get(TRACK) == "canary"


def routes(overlay):
    """Each leads to Services that are there."""
    for route in overlay.of("HTTPRoute"):
        for backend in (b for rule in route["spec"]["rules"] for b in rule["backendRefs"]):
            service = overlay.named("Service", backend["name"])
            if not service or backend["port"] not in [port["port"] for port in service["spec"]["ports"]]:
                yield f"HTTPRoute {route['metadata']['name']}: there is no Service {backend['name']}:{backend['port']}"


def canaries(overlay):
    """A canary runs another release with the settings of the first one, and gets a small share of every path."""
    for canary in filter(is_canary, overlay.of("Deployment")):
        name = canary["metadata"]["name"]
        first = overlay.named("Deployment", name.removesuffix("-canary"))
        ours, theirs = (d["spec"]["template"]["spec"] for d in (canary, first))
        if ours["containers"][0]["image"] == theirs["containers"][0]["image"]:
            yield f"{name}: runs the same release as {first['metadata']['name']}"
        if overlay.values(ours) != overlay.values(theirs):
            yield f"{name}: has other settings than {first['metadata']['name']}"
        yield from _shares(overlay, name)
        labels = canary["spec"]["template"]["metadata"]["labels"]
        for service in overlay.of("Service"):
            if service["metadata"]["name"] != name and matches({"matchLabels": service["spec"]["selector"]}, labels):
                yield f"Service {service['metadata']['name']}: leads to {name} as well"


def _shares(overlay, name):
    for rule in (rule for route in overlay.of("HTTPRoute") for rule in route["spec"]["rules"]):
        weights = {backend["name"]: backend.get("weight", 1) for backend in rule["backendRefs"]}
        share = weights.get(name, 0) / sum(weights.values())
        if not 0 < share <= CANARY_SHARE_MAX:
            yield f"{name}: gets {share:.0%} of {rule['matches'][0]['path']['value']}"


def waves(overlay):
    """Jobs are made anew by each change, after what they need and before the processes that need them."""
    jobs = [job for job in overlay.of("Job") if job["metadata"]["name"] != "restored"]
    notes = lambda document: document["metadata"].get("annotations", {})
    processes = [int(notes(d).get(WAVE, 0)) for d in overlay.of("Deployment") if not is_canary(d)]
    if not any(WAVE in notes(job) for job in jobs):
        return
    for job in jobs:
        name = job["metadata"]["name"]
        if notes(job).get(HOOK) != "Sync" or notes(job).get(REPLACED) != "BeforeHookCreation":
            yield f"Job {name}: a change does not run it again"
        if not 0 < int(notes(job).get(WAVE, 0)) < min(processes):
            yield f"Job {name}: does not run between the stores and the processes"


def unpinned(overlay):
    """Images by a tag, which may be another image tomorrow. A release has none of them."""
    images = {
        container["image"]
        for _, pod in overlay.pods()
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    }
    return sorted(image for image in images if not DIGEST.search(image))


def application_problems(document, repository):
    """What is wrong with an application of the GitOps controller: it has a folder, a revision and a namespace."""
    name, spec = document["metadata"]["name"], document["spec"]
    if document["kind"] != "Application":
        return
    if not (repository / spec["source"]["path"] / "kustomization.yaml").exists():
        yield f"Application {name}: there is no {spec['source']['path']}"
    if spec["source"]["path"].endswith("/prod"):
        if not re.fullmatch(r"v\d+\.\d+\.\d+", spec["source"]["targetRevision"]):
            yield f"Application {name}: production follows {spec['source']['targetRevision']}, which is no release"
        if "automated" in spec.get("syncPolicy", {}):
            yield f"Application {name}: production changes without anybody's consent"
