"""Checks that connections to NATS and Redis are encrypted, to servers whose certificates have the names in addresses."""

import re

# Settings with addresses of the two stores, and how an encrypted one begins.
ADDRESSES = {
    "NATS__URL": "tls://",
    "NATS_URL": "tls://",
    "REDIS__URL": ("rediss://", "rediss-sentinel://"),
    "OPERATOR_URL": ("rediss://", "rediss-sentinel://"),
    "REDIS_ADDR": "rediss://",
}
# The Redis of a media relay, which coturn cannot reach over TLS, is on the loopback interface of its pod.
BESIDE_COTURN = "redis://127.0.0.1:"
HOST = re.compile(r"(?:@|//|=)([a-z][a-z0-9.-]*):\d+")
# What the configuration of each server of Redis says, so that neither clients nor the other servers connect in clear.
REDIS_LINES = {"port 0", "tls-replication yes"}


def problems(overlay):
    yield from address_problems(overlay)
    yield from nats_problems(overlay)
    yield from redis_problems(overlay)


def address_problems(overlay):
    """Every address is one of TLS, and names a server that a certificate names."""
    certified = {name for certificate in overlay.of("Certificate") for name in certificate["spec"].get("dnsNames", [])}
    for owner, setting, value in addresses(overlay):
        if owner.startswith("config-relay-agent") and value.startswith(BESIDE_COTURN):
            continue
        if not all(url.startswith(ADDRESSES[setting]) for url in value.split(",")):
            yield f"{owner}: {setting} is not encrypted"
        for host in sorted(set(HOST.findall(value)) - certified):
            yield f"{owner}: {setting} leads to {host}, which no certificate names"


def addresses(overlay):
    """Yields every address with the name of its object and its setting."""
    sources = [(d["metadata"]["name"], d.get("data", {})) for d in overlay.of("ConfigMap")]
    for secret in overlay.of("ExternalSecret"):
        template = secret["spec"].get("target", {}).get("template", {})
        sources.append((secret["metadata"]["name"], template.get("data", {})))
    sources += overlay.printed.items()
    for workload, pod in overlay.pods():
        for container in pod["spec"]["containers"]:
            variables = {variable["name"]: variable.get("value", "") for variable in container.get("env", [])}
            sources.append((workload["metadata"]["name"], variables))
    for owner, values in sources:
        yield from ((owner, setting, values[setting]) for setting in ADDRESSES if values.get(setting))


def nats_problems(overlay):
    """Servers of NATS admit clients and each other over TLS alone."""
    for config in overlay.of("ConfigMap"):
        text = config.get("data", {}).get("nats.conf", "")
        if text and not re.search(r"^tls \{", text, re.MULTILINE):
            yield "nats: takes passwords in clear"
        if re.search(r"^cluster \{", text, re.MULTILINE) and not re.search(r"^  tls \{", text, re.MULTILINE):
            yield "nats: its servers reach each other in clear"


def redis_problems(overlay):
    """Servers and sentinels of Redis admit clients and each other over TLS alone."""
    for config in overlay.of("ConfigMap"):
        for script in ("start-redis", "start-sentinel"):
            text = config.get("data", {}).get(script)
            missing = text and REDIS_LINES - set(text.splitlines())
            yield from (f"redis: {script} does not set {line}" for line in sorted(missing or ()))
    for workload, pod in overlay.pods():
        for container in pod["spec"]["containers"]:
            command = " ".join(container.get("command", []) + container.get("args", []))
            if "exec valkey-server" in command and "--port 0" not in command:
                yield f"{workload['metadata']['name']}: takes passwords in clear"
