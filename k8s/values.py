"""Finds wrong values that every schema accepts. Each check yields a sentence for each wrong value."""

import base64
import re

import encryption
from kinds import matches, ports_of

MEMORY = re.compile(r"\d+(\.\d+)?(k|M|G|T|Ki|Mi|Gi|Ti)?")
UNITS = {"": 1, "k": 10**3, "kb": 2**10, "M": 10**6, "mb": 2**20, "G": 10**9, "gb": 2**30,
         "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "T": 10**12}
OBSERVABILITY = {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}


def problems(overlay):
    checks = [
        probes, memory, scalers, budgets, schedules, standbys, databases, redis_memory, sentinels, zones, superusers, nats_routes,
        proxies, scrapes, properties, alerting, runbooks, encryption.problems,
    ]
    return [problem for check in checks for problem in check(overlay)]


def in_bytes(quantity):
    """Returns a quantity such as `512Mi` or `768mb` in bytes."""
    number, unit = re.fullmatch(r"([\d.]+)\s*([A-Za-z]*)", str(quantity)).groups()
    return float(number) * UNITS[unit]


def probes(overlay):
    """Every probe uses a port that its container has."""
    for workload, pod in overlay.pods():
        for container in pod["spec"]["containers"]:
            known = ports_of(container)
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container.get(kind, {})
                for method in ("httpGet", "grpc", "tcpSocket"):
                    if method in probe and probe[method] and probe[method]["port"] not in known:
                        yield f"{workload['metadata']['name']}: its {kind} uses port {probe[method]['port']}, which it does not have"


def memory(overlay):
    """Memory is counted in bytes: the `m` of CPU would be thousandths of one."""
    for workload, pod in overlay.pods():
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
            for kind, quantities in container.get("resources", {}).items():
                if not MEMORY.fullmatch(str(quantities.get("memory", "0"))):
                    yield f"{workload['metadata']['name']}: {kind} {quantities['memory']} of memory"


def scalers(overlay):
    """The minimum of an autoscaler is not above its maximum."""
    for scaler in overlay.of("HorizontalPodAutoscaler"):
        spec = scaler["spec"]
        if not 1 <= spec.get("minReplicas", 1) <= spec["maxReplicas"]:
            name = scaler["metadata"]["name"]
            yield f"{name}: scales from {spec['minReplicas']} to {spec['maxReplicas']} replicas"


def budgets(overlay):
    """No disruption budget prevents the drain of a node."""
    for budget in overlay.of("PodDisruptionBudget"):
        if str(budget["spec"].get("maxUnavailable", 1)) in ("0", "0%"):
            yield f"{budget['metadata']['name']}: allows no disruption of any pod"
        if str(budget["spec"].get("minAvailable", "")) == "100%":
            yield f"{budget['metadata']['name']}: allows no disruption of any pod"


def schedules(overlay):
    """The operator of Postgres wants seconds first; with five fields, hours would be read as minutes."""
    for backup in overlay.of("ScheduledBackup"):
        if len(backup["spec"]["schedule"].split()) != 6:
            yield f"{backup['metadata']['name']}: {backup['spec']['schedule']} does not have six fields"


def standbys(overlay):
    """Commits wait for fewer standbys than there are, since otherwise the loss of one would stop all commits."""
    for cluster in overlay.of("Cluster"):
        spec = cluster["spec"]
        confirming = spec["postgresql"].get("synchronous", {}).get("number", 0)
        if confirming and not confirming < spec["instances"] - 1:
            yield f"{cluster['metadata']['name']}: {confirming} of {spec['instances'] - 1} standbys must confirm a commit"


def databases(overlay):
    """Reads that may lag lead to standbys, and everything else to a primary, whose certificate is verified."""
    clusters = {c["metadata"]["name"]: c["spec"]["instances"] for c in overlay.of("Cluster")}
    addresses = {
        "DATABASE__READ_URL": ({f"{name}-ro" for name, instances in clusters.items() if instances > 1}, "standbys"),
        "DATABASE__APP_URL": ({f"{name}-rw" for name in clusters}, "a primary"),
        "DATABASE__OWNER_URL": ({f"{name}-rw" for name in clusters}, "a primary"),
    }
    for secret in overlay.of("ExternalSecret"):
        template = secret["spec"].get("target", {}).get("template", {}).get("data", {})
        for setting, (hosts, wanted) in addresses.items():
            url = template.get(setting, "")
            host = url.rpartition("@")[2].partition(":")[0]
            if host and host not in hosts:
                yield f"{secret['metadata']['name']}: {setting} leads to {host}, and not to {wanted}"
            if url and "?sslmode=verify-full&sslrootcert=/etc/talktime/postgres/ca.crt" not in url:
                yield f"{secret['metadata']['name']}: {setting} does not verify the certificate of Postgres"
    for cluster in overlay.of("Cluster"):
        if "hostnossl all all all reject" not in cluster["spec"]["postgresql"].get("pg_hba", []):
            yield f"{cluster['metadata']['name']}: takes passwords in clear"


def redis_memory(overlay):
    """Redis stops taking writes before its container runs out of memory, also while a child that rewrites its log holds
    the data a second time.
    """
    scripts = [d for d in overlay.of("ConfigMap") if "start-redis" in d.get("data", {})]
    for server in overlay.of("StatefulSet"):
        container = server["spec"]["template"]["spec"]["containers"][0]
        for script in scripts if container["name"] == "redis" else []:
            limit = container["resources"]["limits"]["memory"]
            for maxmemory in re.findall(r"^maxmemory (\S+)$", script["data"]["start-redis"], re.MULTILINE):
                if 2 * in_bytes(maxmemory) > 0.9 * in_bytes(limit):
                    yield f"{server['metadata']['name']}: may hold {maxmemory} in a container of {limit}"


def sentinels(overlay):
    """Sentinels that vote for different ones vote again after twice the time-out of a failover: within ten seconds."""
    for config in overlay.of("ConfigMap"):
        for timeout in re.findall(r"failover-timeout talktime (\d+)", config.get("data", {}).get("start-sentinel", "")):
            if 2 * int(timeout) >= 10_000:
                yield f"redis: sentinels repeat a vote only after {2 * int(timeout)} ms"


def zones(overlay):
    """No two instances of Postgres are in one zone: the one that confirms a commit must not go with the primary."""
    for cluster in overlay.of("Cluster"):
        name = cluster["metadata"]["name"]
        spread = [
            constraint
            for constraint in cluster["spec"].get("topologySpreadConstraints", [])
            if constraint["topologyKey"] == "topology.kubernetes.io/zone"
            and constraint["whenUnsatisfiable"] == "DoNotSchedule"
            and constraint["labelSelector"]["matchLabels"] == {"cnpg.io/cluster": name}
        ]
        if cluster["spec"]["instances"] > 1 and not spread:
            yield f"{name}: its instances may be in one zone"


def superusers(overlay):
    """Nobody logs in to Postgres as its superuser over the network."""
    for cluster in overlay.of("Cluster"):
        if cluster["spec"].get("enableSuperuserAccess") is not False:
            yield f"{cluster['metadata']['name']}: lets its superuser log in"


def nats_routes(overlay):
    """Routes lead to the existing servers: pods of a StatefulSet by the name of its headless Service."""
    for server in overlay.of("StatefulSet"):
        name, spec = server["metadata"]["name"], server["spec"]
        hosts = {f"{name}-{n}.{spec['serviceName']}" for n in range(spec["replicas"])}
        for config in overlay.of("ConfigMap"):
            routes = re.findall(r"^\s+nats(?:-route)?://([^:\s]+):6222", config.get("data", {}).get("nats.conf", ""), re.MULTILINE)
            if name == "nats" and routes and set(routes) != hosts:
                yield f"{name}: routes lead to {', '.join(sorted(routes))}"


def proxies(overlay):
    """A gateway behind a route takes the addresses of its clients from the proxies before it."""
    configured = overlay.values(overlay.server("gateway")["spec"]["template"]["spec"])
    trusted = configured.get("HTTP__TRUSTED_PROXIES") or configured.get("HTTP__TRUSTED_HOPS", "0") != "0"
    if overlay.of("HTTPRoute") and not trusted:
        yield "talktime-gateway: takes the proxies before it for its clients"


def scrapes(overlay):
    """Prometheus may reach every port that a PodMonitor names."""
    for monitor in overlay.of("PodMonitor"):
        for workload, pod in overlay.pods():
            labels = pod["metadata"].get("labels", {})
            # Policies do not hold for a pod with the network of its node.
            if not matches(monitor["spec"]["selector"], labels) or pod["spec"].get("hostNetwork"):
                continue
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                ports = [p for c in pod["spec"]["containers"] for p in c.get("ports", [])]
                numbers = [p["containerPort"] for p in ports if p["name"] == endpoint["port"]]
                name = workload["metadata"]["name"]
                if not numbers:
                    yield f"PodMonitor {monitor['metadata']['name']}: {name} has no port {endpoint['port']}"
                elif not may_observe(overlay, labels, numbers[0]):
                    yield f"PodMonitor {monitor['metadata']['name']}: policies close port {numbers[0]} of {name}"


def may_observe(overlay, labels, port):
    """Whether network policies let Prometheus reach this port of pods with these labels."""
    return any(
        matches(policy["spec"]["podSelector"], labels)
        and any(p["port"] == port for p in rule["ports"])
        and any(peer.get("namespaceSelector") == OBSERVABILITY for peer in rule.get("from", []))
        for policy in overlay.of("NetworkPolicy")
        for rule in policy["spec"].get("ingress", [])
    )


def alerting(overlay):
    """Alertmanager has its configuration, and the keys that the configuration reads from files."""
    for alertmanager in overlay.of("Alertmanager"):
        spec = alertmanager["spec"]
        config = overlay.named("Secret", spec["configSecret"])
        if not config:
            yield f"Alertmanager {alertmanager['metadata']['name']}: there is no Secret {spec['configSecret']}"
            continue
        text = base64.b64decode(config["data"]["alertmanager.yaml"]).decode()
        for secret, key in re.findall(r"/etc/alertmanager/secrets/([\w-]+)/(\w+)", text):
            if secret not in spec["secrets"] or key not in overlay.secrets.get(secret, ()):
                yield f"Alertmanager {alertmanager['metadata']['name']}: there is no {key} in a Secret {secret}"


def headings(page):
    """What links into a page end in: its headings in small letters with hyphens."""
    titles = re.findall(r"^#+ (.*)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def runbooks(overlay):
    """Every alert says what to do: under a heading of a page that is there."""
    for rules in overlay.of("PrometheusRule"):
        for rule in (r for group in rules["spec"]["groups"] for r in group["rules"] if "alert" in r):
            runbook = rule.get("annotations", {}).get("runbook", "")
            page, _, heading = runbook.partition("#")
            file = overlay.repository / page
            if not page or not file.is_file() or heading not in headings(file.read_text()):
                yield f"alert {rule['alert']}: no runbook {runbook}"


def properties(overlay):
    """Every entry that is read from the secret store is documented."""
    listed = {}
    for file in sorted((overlay.repository / "k8s/components").glob("*/kustomization.yaml")):
        listed |= documented_secrets(file)
    for secret in overlay.of("ExternalSecret"):
        for entry in secret["spec"].get("data", []):
            key, name = entry["remoteRef"]["key"], entry["remoteRef"].get("property")
            known = listed.get(key, "")
            service, _, role = (name or "").rpartition("_")
            is_role = key == "postgres-roles" and service in ROLES and role in ("owner", "app")
            if not is_role and not re.search(rf"\b{name}\b", known):
                yield f"ExternalSecret {secret['metadata']['name']}: the store has no {name} in {key}"


ROLES = ["auth", "profile", "presence", "wallet", "calls", "verification"]


def documented_secrets(file):
    """Returns the text about each entry of the secret store, by the name of the entry."""
    found, last = {}, None
    for line in file.read_text().splitlines():
        entry = re.match(r"#   (\S+) +(.*)", line)
        more = re.match(r"#    +(.*)", line)
        if entry and not line.startswith("#    "):
            last = entry[1]
            found[last] = entry[2]
        elif more and last:
            found[last] += " " + more[1]
    return found
