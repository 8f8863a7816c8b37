"""Checks an overlay beyond its schemas. Each check yields a sentence for each violation."""

import re
import subprocess
from urllib.parse import urlsplit

import yaml

import releases
import restores
import values
from kinds import matches
from settings import Source, can_be_read_as

PROCESSES = ["auth", "profile", "presence", "wallet", "calls", "verification", "gateway"]
NAME = "app.kubernetes.io/name"
COMPONENT = "app.kubernetes.io/component"
STORE = "talktime/store"
GRPC_PORT = 7100
# The section of the configuration that has the address of a store, and its port.
STORES = {
    "postgres": ("DATABASE", 5432),
    "nats": ("NATS", 4222),
    "redis": ("REDIS", 6379),
    "s3": ("S3", 8333),
}
# Settings that let a process leave the cluster when their value matches.
OUTSIDE = {
    "OTP_DELIVERY": "sms",
    "PAYMENTS__PROVIDER": "razorpay",
    # The name of a Service has no dot.
    "S3__ENDPOINT": r"https://[^/:]*\..*",
    "ANCHORS__S3__ENDPOINT": r"https://[^/:]*\..*",
    "UPLOADS__ALLOWED_HOSTS": r"\[.+\]",
}
QUANTITY = re.compile(r"\d+(\.\d+)?(m|k|M|G|T|Ki|Mi|Gi|Ti)?")
# Relays media for thousands of ports, which needs the network of its node.
RELAY = "DaemonSet turn"
AGENT_PREFIX = "TALKTIME_RELAY_AGENT__"
# Programs of ours are named so, in every image.
PROGRAM_PREFIX = "talktime-"
# The setting with the folders of secrets, and the secret that only migrations have.
SECRET_FOLDERS = "SECRETS__FOLDERS"
OWNER_URL = "DATABASE__OWNER_URL"
# By which a grace period must exceed the longest drain.
GRACE_MARGIN_MS = 5000
# For people, Jobs, and Postgres itself.
SPARE_CONNECTIONS = 20


def problems(repository, overlay, documents):
    """Returns all problems of an overlay."""
    loaded = Overlay(repository, overlay, documents)
    checks = [
        loaded.containers,
        loaded.deployments,
        loaded.disruptions,
        loaded.services,
        loaded.references,
        loaded.secret_variables,
        loaded.settings,
        loaded.relays,
        loaded.edges,
        loaded.identities,
        loaded.world,
        loaded.connections,
    ]
    return [problem for check in checks for problem in check()] + [
        *restores.job_problems(loaded),
        *releases.problems(loaded),
        *values.problems(loaded),
    ]


def secret_files(volume):
    """Yields each Secret whose keys are files of a volume, with the items that it is limited to."""
    if "secret" in volume:
        yield volume["secret"]["secretName"], volume["secret"].get("items", [])
    for source in volume.get("projected", {}).get("sources", []):
        if "secret" in source:
            yield source["secret"]["name"], source["secret"].get("items", [])


class Overlay:
    """The objects of an overlay, and the source of the processes it runs."""

    def __init__(self, repository, overlay, documents):
        self.repository = repository
        self.overlay = overlay
        self.documents = documents
        self.source = Source(repository)
        # The Secrets that a script prints, with their values.
        self.printed = {}
        self.secrets = self._secrets()

    def of(self, *kinds):
        return [document for document in self.documents if document["kind"] in kinds]

    def named(self, kind, name):
        return next((d for d in self.of(kind) if d["metadata"]["name"] == name), None)

    def _secrets(self):
        """The names of all Secrets that will exist, and their keys where they are known."""
        secrets = {}
        for secret in self.of("ExternalSecret"):
            spec = secret["spec"]
            template = spec["target"].get("template", {}).get("data", {}) if "target" in spec else {}
            keys = template or [entry["secretKey"] for entry in spec.get("data", [])]
            secrets[secret["metadata"]["name"]] = set(keys)
        script = self.overlay / "secrets"
        if script.exists():
            printed = subprocess.run([script], check=True, capture_output=True, text=True).stdout
            for secret in yaml.safe_load_all(printed):
                self.printed[secret["metadata"]["name"]] = secret["stringData"]
            secrets |= {name: set(values) for name, values in self.printed.items()}
        for certificate in self.of("Certificate"):
            secrets[certificate["spec"]["secretName"]] = {"tls.crt", "tls.key", "ca.crt"}
        for cluster in self.of("Cluster"):
            # The operator makes one for the owner of the database.
            secrets[f"{cluster['metadata']['name']}-app"] = {"username", "password"}
            secrets[f"{cluster['metadata']['name']}-ca"] = {"ca.crt", "ca.key"}
        for secret in self.of("Secret"):
            secrets[secret["metadata"]["name"]] = set(secret.get("data", {}))
        return secrets

    def labels(self, workload):
        """The labels of its pods."""
        return workload["spec"]["template"]["metadata"]["labels"]

    def pods(self):
        """Every pod or template of pods, with the object that it belongs to."""
        for workload in self.documents:
            template = workload if workload["kind"] == "Pod" else workload.get("spec", {}).get("template", {})
            if "containers" in template.get("spec", {}):
                yield workload, template

    def server(self, process):
        """The Deployment of a process."""
        return self.named("Deployment", f"talktime-{process}")

    def containers(self):
        """Containers are restricted, have limits, and have probes where they serve."""
        for workload, pod in self.pods():
            owner = f"{workload['kind']} {workload['metadata']['name']}"
            spec = pod["spec"]
            security = spec.get("securityContext", {})
            if not security.get("runAsNonRoot") or "seccompProfile" not in security:
                yield f"{owner}: may run as root, or has no seccomp profile"
            shared = {field for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)}
            if shared - ({"hostNetwork"} if owner == RELAY else set()) or any(
                "hostPath" in volume for volume in spec.get("volumes", [])
            ):
                yield f"{owner}: shares namespaces or folders of the node"
            if spec.get("automountServiceAccountToken") is not False:
                yield f"{owner}: is given a token for the Kubernetes API"
            for container in spec.get("initContainers", []) + spec["containers"]:
                serves = workload["kind"] not in ("Job", "Pod")
                for problem in self._container(container, serves=serves):
                    yield f"{owner}, container {container['name']}: {problem}"

    def _container(self, container, serves):
        """A container is restricted and bounded, and has all probes if it serves."""
        security = container.get("securityContext", {})
        if security.get("runAsNonRoot") is False or security.get("runAsUser") == 0:
            yield "runs as root"
        if security.get("allowPrivilegeEscalation") is not False:
            yield "may escalate privileges"
        if not security.get("readOnlyRootFilesystem"):
            yield "may write to its root"
        if security.get("capabilities", {}).get("drop") != ["ALL"]:
            yield "has capabilities"
        for kind in ("requests", "limits"):
            if container.get("resources", {}).get(kind, {}).keys() != {"cpu", "memory"}:
                yield f"has no {kind} of CPU and memory"
            for quantity in container.get("resources", {}).get(kind, {}).values():
                if not QUANTITY.fullmatch(str(quantity)):
                    yield f"{quantity} is no quantity"
        tag = container["image"].rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in container["image"] and tag in ("", "latest"):
            yield f"image {container['image']} has no fixed version"
        if serves:
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                if probe not in container:
                    yield f"has no {probe}"

    def deployments(self):
        """Every Deployment has an autoscaler, and a grace period longer than its drain."""
        running = {d["metadata"]["labels"][NAME] for d in self.of("Deployment")}
        if running != set(PROCESSES):
            yield f"Deployments of {sorted(running)}, and not of all processes"
        for deployment in self.of("Deployment"):
            name = deployment["metadata"]["name"]
            template = deployment["spec"]["template"]
            scaled = [h["spec"]["scaleTargetRef"]["name"] for h in self.of("HorizontalPodAutoscaler")]
            if scaled.count(name) != 1 and not releases.is_canary(deployment):
                yield f"{name}: has {scaled.count(name)} autoscalers instead of 1"
            values = self.values(template["spec"])
            # First requests and then background tasks end by the deadline; the rest is a margin.
            drain_ms = int(values["SHUTDOWN__DRAIN_DELAY_MS"]) + 2 * int(values["SHUTDOWN__DEADLINE_MS"])
            if template["spec"]["terminationGracePeriodSeconds"] * 1000 < drain_ms + GRACE_MARGIN_MS:
                yield f"{name}: a drain may take {drain_ms} ms, longer than the grace period"
            for probe in ("startupProbe", "livenessProbe"):
                requested = template["spec"]["containers"][0][probe].get("httpGet")
                if requested != {"path": "/livez", "port": "ops"}:
                    yield f"{name}: its {probe} requests {requested}"

    def disruptions(self):
        """Every workload with replicas has one disruption budget."""
        budgets = [b["spec"]["selector"] for b in self.of("PodDisruptionBudget")]
        for workload in self.of("Deployment", "StatefulSet"):
            labels = workload["spec"]["template"]["metadata"]["labels"]
            has_replicas = workload["kind"] == "Deployment" or workload["spec"]["replicas"] > 1
            count, expected = sum(matches(selector, labels) for selector in budgets), int(has_replicas)
            if count != expected:
                yield f"{workload['metadata']['name']}: has {count} disruption budgets instead of {expected}"

    def services(self):
        """Every Service leads to pods that serve, on ports that they have."""
        for service in self.of("Service"):
            name = service["metadata"]["name"]
            selector = {"matchLabels": service["spec"]["selector"]}
            chosen = [(w, p) for w, p in self.pods() if matches(selector, p["metadata"]["labels"])]
            if not chosen:
                yield f"Service {name}: selects no pod"
            for workload, pod in chosen:
                if workload["kind"] == "Job":
                    yield f"Service {name}: leads to {workload['metadata']['name']}"
                ports = [p for c in pod["spec"]["containers"] for p in c.get("ports", [])]
                known = {p["name"] for p in ports} | {p["containerPort"] for p in ports}
                for port in service["spec"]["ports"]:
                    if port["targetPort"] not in known:
                        yield f"Service {name}: no port {port['targetPort']}"

    def references(self):
        """Every ConfigMap and Secret that a pod names exists."""
        for workload, pod in self.pods():
            owner = f"{workload['kind']} {workload['metadata']['name']}"
            for volume in pod["spec"].get("volumes", []):
                name = volume.get("configMap", {}).get("name")
                if name and not self.named("ConfigMap", name):
                    yield f"{owner}: there is no ConfigMap {name}"
                for name, items in secret_files(volume):
                    if name not in self.secrets:
                        yield f"{owner}: there is no Secret {name}"
                    missing = {item["key"] for item in items} - self.secrets.get(name, set())
                    if self.secrets.get(name):
                        yield from (f"{owner}: there is no {key} in a Secret {name}" for key in sorted(missing))
            spec = pod["spec"]
            for container in spec.get("initContainers", []) + spec["containers"]:
                for source in container.get("envFrom", []):
                    name = source.get("configMapRef", {}).get("name")
                    if name and not self.named("ConfigMap", name):
                        yield f"{owner}: there is no ConfigMap {name}"
                    name = source.get("secretRef", {}).get("name")
                    if name and name not in self.secrets:
                        yield f"{owner}: there is no Secret {name}"
                for variable in container.get("env", []):
                    key = variable.get("valueFrom", {}).get("secretKeyRef")
                    if key and key["key"] not in self.secrets.get(key["name"], set()):
                        yield f"{owner}: there is no {key['key']} in a Secret {key['name']}"

    def values(self, pod, container=None):
        """Returns the settings of a container, by default the first one of its pod: values from ConfigMaps, and None for
        those from the files of Secrets.
        """
        container = container or pod["containers"][0]
        settings = {}
        for source in (source for source in container["envFrom"] if "configMapRef" in source):
            settings.update(self.named("ConfigMap", source["configMapRef"]["name"]).get("data", {}))
        return settings | dict.fromkeys(self.secret_settings(pod, container, settings.get(SECRET_FOLDERS, "[]")))

    def secret_settings(self, pod, container, folders):
        """Yields the settings that a container reads from the files of Secrets, in these folders."""
        mounted = {m["name"] for m in container.get("volumeMounts", []) if m["mountPath"] in yaml.safe_load(folders)}
        for volume in (v for v in pod.get("volumes", []) if v["name"] in mounted):
            for secret, items in secret_files(volume):
                keys = self.secrets.get(secret, set())
                yield from (item["path"] for item in items) if items else keys

    def secret_variables(self):
        """No process of ours has a secret in its environment, which its children inherit and dumps contain."""
        for workload, pod in self.pods():
            spec = pod["spec"]
            for container in spec.get("initContainers", []) + spec["containers"]:
                if not container.get("command", [""])[0].startswith(PROGRAM_PREFIX):
                    continue
                owner = f"{workload['kind']} {workload['metadata']['name']}: {container['name']}"
                for source in container.get("envFrom", []):
                    if "secretRef" in source:
                        yield f"{owner} has all of the Secret {source['secretRef']['name']} as variables"
                for variable in container.get("env", []):
                    if "secretKeyRef" in variable.get("valueFrom", {}):
                        yield f"{owner} has the secret {variable['name']} as a variable"

    def settings(self):
        """Every variable is a setting of its process and of its type; a setting without default is set."""
        for workload, pod in self.pods():
            labels = pod["metadata"]["labels"]
            container = pod["spec"]["containers"][0]
            if labels[NAME] not in PROCESSES:
                continue
            owner = f"{workload['kind']} {workload['metadata']['name']}"
            prefixes = {source["prefix"] for source in container["envFrom"]}
            if prefixes != {f"TALKTIME_{labels[NAME].upper()}__"}:
                yield f"{owner}: prefixes {sorted(prefixes)}"
            if container["command"][0] != f"talktime-{labels[NAME]}":
                yield f"{owner}: runs {container['command'][0]}"
            if "env" in container:
                yield f"{owner}: has variables besides those of ConfigMaps and Secrets"
            settings = self.source.settings(labels[NAME])
            configured = self.values(pod["spec"])
            yield from (f"{owner}: {name} is no setting" for name in configured.keys() - settings.keys())
            for name, setting in settings.items():
                if setting.required and name not in configured:
                    yield f"{owner}: {name} has no default and is not set"
            # Only migrations have the address of the owner of a schema.
            if (OWNER_URL in configured) != (workload["kind"] == "Job"):
                yield f"{owner}: {OWNER_URL} is {'set' if OWNER_URL in configured else 'not set'}"
            for name, value in configured.items():
                if value is not None and name in settings and not can_be_read_as(value, settings[name].kind):
                    yield f"{owner}: {name}: {value} is no {settings[name].kind}"
                if name.startswith("PEERS__"):
                    yield from (f"{owner}: {name}: {p}" for p in self._peer(name, value))
            if workload["kind"] == "Deployment":
                yield from (f"{owner}: {p}" for p in self._folders(container, settings, configured))

    def relays(self):
        """The agent of each relay has all its settings, and connects to the relay of its own pod."""
        relay = self.named("DaemonSet", "turn")
        if not relay:
            return
        pod = relay["spec"]["template"]["spec"]
        containers = {container["name"]: container for container in pod["containers"]}
        agent = containers["relay-agent"]
        if agent["command"] != ["talktime-calls", "relay-agent"]:
            yield f"{RELAY}: its agent runs {agent['command']}"
        configured = self.values(pod, agent)
        for variable in agent["env"]:
            if variable["name"].startswith(AGENT_PREFIX):
                configured[variable["name"].removeprefix(AGENT_PREFIX)] = variable["value"]
        if {source["prefix"] for source in agent["envFrom"]} != {AGENT_PREFIX}:
            yield f"{RELAY}: its agent has another prefix"
        settings = self.source.agent_settings()
        yield from (f"{RELAY}: {name} is no setting" for name in configured.keys() - settings.keys())
        for name, setting in settings.items():
            if setting.required and name not in configured:
                yield f"{RELAY}: {name} has no default and is not set"
            elif configured.get(name) is not None and not can_be_read_as(configured[name], setting.kind):
                yield f"{RELAY}: {name}: {configured[name]} is no {setting.kind}"
        relay_env = {variable["name"]: variable.get("value") for variable in containers["coturn"]["env"]}
        expected = {
            "RELAY__CONSOLE": f"127.0.0.1:{relay_env['TURN_CONSOLE_PORT']}",
            "RELAY__CONSOLE_PASSWORD_FILE": relay_env["TURN_CONSOLE_PASSWORD_FILE"],
            "REDIS__URL": f"redis://127.0.0.1:{relay_env['TURN_REDIS_PORT']}",
        }
        for name, value in expected.items():
            if configured.get(name) != value:
                yield f"{RELAY}: {name} is {configured.get(name)}, and the relay is at {value}"
        grace_ms = pod["terminationGracePeriodSeconds"] * 1000
        drain_ms = int(configured["SHUTDOWN__DRAIN_DELAY_MS"]) + 2 * int(configured["SHUTDOWN__DEADLINE_MS"])
        if grace_ms < drain_ms or grace_ms < int(relay_env["TURN_DRAIN_SECS"]) * 1000:
            yield f"{RELAY}: a drain may take longer than the grace period"

    def _folders(self, container, settings, configured):
        """Folders and files of a process are on volumes: its root is read-only, and the image has no settings."""
        mounted = {mount["mountPath"] for mount in container.get("volumeMounts", [])}
        for name, setting in settings.items():
            path = configured.get(name)
            is_file = name.endswith("_FILE")
            if setting.kind != "PathBuf" or (path is None and (is_file or setting.is_optional)):
                continue
            if (path.rpartition("/")[0] if is_file else path) not in mounted:
                yield f"{name} is {path}, where no volume is"

    def _peer(self, name, value):
        """The address of a peer is that of its Service."""
        address = urlsplit(value)
        if address.hostname != f"talktime-{name.removeprefix('PEERS__').lower()}":
            yield f"{value} is another process"
        service = self.named("Service", address.hostname)
        if not service or address.port not in [p["port"] for p in service["spec"]["ports"]]:
            yield f"there is no Service at {value}"

    def _policy_allows(self, direction, side, here, there, port):
        """Whether a policy for the pod `here` has a rule for traffic to or from the pod `there`."""
        return any(
            matches(policy["spec"]["podSelector"], here)
            and any(allowed["port"] == port for allowed in rule["ports"])
            and any(
                matches(peer["podSelector"], there)
                for peer in rule.get(side, [])
                if "podSelector" in peer and "namespaceSelector" not in peer
            )
            for policy in self.of("NetworkPolicy")
            for rule in policy["spec"].get(direction, [])
        )

    def _edge(self, client, server, port, is_needed):
        """Network policies open a needed edge at both of its ends, and any other at neither."""
        ends = {
            "egress": self._policy_allows("egress", "to", client, server, port),
            "ingress": self._policy_allows("ingress", "from", server, client, port),
        }
        for end, is_open in ends.items():
            if is_open != is_needed:
                state = "closed" if is_needed else "open"
                edge = f"{client[NAME]} ({client[COMPONENT]}) to {server.get(NAME) or server[STORE]}"
                yield f"network policies: {edge}: {end} is {state}"

    def edges(self):
        """Network policies let a process reach exactly the peers and stores that its configuration names."""
        closed = [
            p for p in self.of("NetworkPolicy")
            if p["spec"]["podSelector"] == {} and set(p["spec"]["policyTypes"]) == {"Ingress", "Egress"}
        ]
        if not any("ingress" not in p["spec"] and "egress" not in p["spec"] for p in closed):
            yield "no network policy denies by default"
        for store in self.of("StatefulSet"):
            if store["spec"]["template"]["metadata"]["labels"].get(STORE) not in STORES:
                yield f"StatefulSet {store['metadata']['name']}: policies do not know its pods"
        servers = {process: self.labels(self.server(process)) for process in PROCESSES}
        for client, process in servers.items():
            migration = {**process, COMPONENT: "migration"}
            peers = self.source.peers(client)
            for server, labels in servers.items():
                yield from self._edge(process, labels, GRPC_PORT, is_needed=server in peers)
                yield from self._edge(migration, labels, GRPC_PORT, is_needed=False)
            sections = {name.partition("__")[0] for name in self.source.settings(client)}
            for store, (section, port) in STORES.items():
                yield from self._edge(process, {STORE: store}, port, is_needed=section in sections)
                migrates = store == "postgres" and "DATABASE" in sections
                yield from self._edge(migration, {STORE: store}, port, is_needed=migrates)

    def identities(self):
        """Each process has a certificate that names it alone, mounted where it reads it; and exactly the services
        that it calls declare it as a caller.
        """
        for process in PROCESSES:
            certificate = self.named("Certificate", f"talktime-{process}")
            spec = certificate["spec"] if certificate else {}
            if spec.get("uris") != [f"spiffe://talktime/{process}"]:
                yield f"{process}: its certificate names {spec.get('uris')}"
            if spec.get("dnsNames") != [f"{process}.talktime.internal"]:
                yield f"{process}: clients do not find it at {spec.get('dnsNames')}"
            if not self.named("Issuer", spec.get("issuerRef", {}).get("name")):
                yield f"{process}: no Issuer issues its certificate"
            yield from self._mounted_identity(process, spec.get("secretName"))
            peers, declared = self.source.peers(process), self.source.declared_servers(process)
            yield from (f"{process} calls {peer}, which declares no method for it" for peer in sorted(peers - declared))
            yield from (f"{server} declares methods for {process}, which does not call it" for server in sorted(declared - peers))

    def _mounted_identity(self, process, secret):
        pod = self.server(process)["spec"]["template"]["spec"]
        container = pod["containers"][0]
        folder = self.values(pod)["IDENTITY__FOLDER"]
        names = [v["name"] for v in pod["volumes"] if v.get("secret", {}).get("secretName") == secret]
        mounts = [m for m in container.get("volumeMounts", []) if m["name"] in names and m["mountPath"] == folder]
        if len(mounts) != 1:
            yield f"{process}: its certificate is not mounted at {folder}"

    def world(self):
        """Exactly the processes whose settings name an outside address may leave the cluster."""
        for process in PROCESSES:
            deployment = self.server(process)
            configured = self.values(deployment["spec"]["template"]["spec"])
            needed = any(re.fullmatch(wanted, configured.get(name) or "") for name, wanted in OUTSIDE.items())
            is_open = any(
                any("ipBlock" in peer for peer in rule.get("to", [{"ipBlock": "anybody"}]))
                for policy in self.of("NetworkPolicy")
                if matches(policy["spec"]["podSelector"], self.labels(deployment))
                for rule in policy["spec"].get("egress", [])
            )
            if is_open != needed:
                yield f"network policies: {process} to the world is {'open' if is_open else 'closed'}"

    def connections(self):
        """Postgres takes as many connections as all replicas may hold at once, during a roll too."""
        held_max = 0
        for scaler in self.of("HorizontalPodAutoscaler"):
            deployment = self.named("Deployment", scaler["spec"]["scaleTargetRef"]["name"])
            values = self.values(deployment["spec"]["template"]["spec"])
            surge = deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
            replicas = scaler["spec"]["maxReplicas"] + surge
            held_max += replicas * int(values.get("DATABASE__MAX_CONNECTIONS", 0))
            # A standby that becomes the primary keeps the connections of its readers.
            if "DATABASE__READ_URL" in values:
                held_max += replicas * int(values["DATABASE__READ_MAX_CONNECTIONS"])
        for cluster in self.of("Cluster"):
            accepted = int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])
            if held_max + SPARE_CONNECTIONS > accepted:
                yield f"replicas may hold {held_max} connections, and Postgres takes {accepted}"
