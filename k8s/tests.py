"""Tests of the checks: each breaks one thing in production's overlay, and expects a problem that names it."""

import copy
import unittest
from functools import cache
from pathlib import Path

import policy
import restores
import runbooks
from render import render
from schemas import schema_problems

K8S = Path(__file__).resolve().parent
OVERLAY = K8S / "overlays/prod"


@cache
def overlay():
    return render(OVERLAY)


def copy_of(kind):
    """A copy of the overlay's first object of a kind, to be broken."""
    return copy.deepcopy(next(document for document in overlay() if document["kind"] == kind))


def find_parent(document, path):
    """Returns the object that contains the last step of a path, and that step."""
    *parents, last = [int(step) if step.isdigit() else step for step in path.split(".")]
    for step in parents:
        document = document[step]
    return document, last


def expect_problems(case, broken, path, documents, find_problems):
    """Breaks an overlay in each of these ways, and expects a problem that names it."""
    for violate, sentence in broken:
        with case.subTest(sentence):
            changed = copy.deepcopy(documents)
            violate(changed)
            found = find_problems(policy.Overlay(K8S.parent, path, changed))
            case.assertIn(sentence, " ".join(found))


class Schemas(unittest.TestCase):
    # A field that each of the operators' kinds must have.
    REQUIRED = {
        "Cluster": "spec.plugins.0.name",
        "ExternalSecret": "spec.data.0.remoteRef.key",
        "HTTPRoute": "spec.parentRefs.0.name",
        "ObjectStore": "spec.configuration.destinationPath",
        "PodMonitor": "spec.selector",
        "PrometheusRule": "spec.groups.0.rules.0.expr",
        "ScheduledBackup": "spec.schedule",
    }

    def test_a_misspelt_field_is_unknown_and_leaves_the_right_one_missing(self):
        for kind, path in self.REQUIRED.items():
            with self.subTest(kind):
                document = copy_of(kind)
                parent, field = find_parent(document, path)
                parent[field + "z"] = parent.pop(field)
                violations = " ".join(schema_problems(document))
                self.assertIn(f"'{field}z'", violations)
                self.assertIn(f"'{field}' is a required property", violations)

    def test_a_field_that_kubernetes_does_not_know_is_refused(self):
        deployment = copy_of("Deployment")
        deployment["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
        self.assertIn("'readinesProbe' was unexpected", " ".join(schema_problems(deployment)))

    def test_a_value_of_another_type_is_refused(self):
        for kind, path in self.REQUIRED.items():
            with self.subTest(kind):
                document = copy_of(kind)
                parent, field = find_parent(document, path)
                parent[field] = [7]
                self.assertIn("[7] is not", " ".join(schema_problems(document)))

    def test_an_unknown_word_is_refused(self):
        document = copy_of("ScheduledBackup")
        document["spec"]["method"] = "tape"
        self.assertIn("'tape' is not one of", " ".join(schema_problems(document)))

    def test_an_unknown_kind_is_refused(self):
        self.assertEqual(list(schema_problems({**copy_of("Cluster"), "kind": "Clster"})), ["there is no schema for it"])
        self.assertEqual(list(schema_problems({**copy_of("Service"), "kind": "Servce"})), ["there is no schema for it"])


def named(documents, kind, name):
    return next(d for d in documents if d["kind"] == kind and d["metadata"]["name"].startswith(name))


def pod(documents, workload="Deployment", name="talktime-wallet"):
    return named(documents, workload, name)["spec"]["template"]["spec"]


def container(documents, **workload):
    return pod(documents, **workload)["containers"][0]


def volume(documents, name):
    return next(volume for volume in pod(documents)["volumes"] if volume["name"] == name)


def without(documents, kind, name):
    documents.remove(named(documents, kind, name))


def settings_of(documents, process):
    """Returns the settings that only this process has."""
    return named(documents, "ConfigMap", f"config-{process}-")["data"]


def secret_values(documents, name):
    """Returns the values of the Secret that an ExternalSecret makes."""
    return named(documents, "ExternalSecret", name)["spec"]["target"]["template"]["data"]


def replace_in(documents, file, old, new):
    """Replaces a text in the file of a ConfigMap."""
    for config in (d for d in documents if d["kind"] == "ConfigMap" and file in d.get("data", {})):
        assert old in config["data"][file]
        config["data"][file] = config["data"][file].replace(old, new)


def first_rule(documents):
    return named(documents, "PrometheusRule", "talktime")["spec"]["groups"][0]["rules"][0]


RELAY = {"workload": "DaemonSet", "name": "turn"}


class Policy(unittest.TestCase):
    # Each breaks an object, and is named by this sentence.
    BROKEN = [
        (lambda d: container(d).pop("readinessProbe"), "has no readinessProbe"),
        (lambda d: container(d)["resources"].pop("limits"), "has no limits of CPU and memory"),
        (
            lambda d: container(d)["securityContext"].update(readOnlyRootFilesystem=False),
            "may write to its root",
        ),
        (lambda d: container(d)["securityContext"].update(runAsUser=0), "runs as root"),
        (lambda d: pod(d)["securityContext"].pop("runAsNonRoot"), "may run as root, or has no seccomp profile"),
        (lambda d: pod(d).update(hostNetwork=True), "shares namespaces or folders of the node"),
        (
            lambda d: pod(d, workload="StatefulSet", name="nats").pop("securityContext"),
            "StatefulSet nats: may run as root",
        ),
        (lambda d: container(d).update(image="talktime"), "has no fixed version"),
        (
            lambda d: without(d, "HorizontalPodAutoscaler", "talktime-calls"),
            "talktime-calls: has 0 autoscalers instead of 1",
        ),
        (
            lambda d: without(d, "PodDisruptionBudget", "talktime-calls"),
            "talktime-calls: has 0 disruption budgets instead of 1",
        ),
        (lambda d: without(d, "PodDisruptionBudget", "redis"), "redis: has 0 disruption budgets instead of 1"),
        (lambda d: pod(d).update(terminationGracePeriodSeconds=30), "longer than the grace period"),
        (lambda d: without(d, "NetworkPolicy", "wallet"), "calls (server) to wallet: ingress is closed"),
        (lambda d: without(d, "NetworkPolicy", "nobody-speaks"), "no network policy denies by default"),
        (lambda d: without(d, "NetworkPolicy", "to-external-s3"), "verification to the world is closed"),
        (
            lambda d: named(d, "NetworkPolicy", "calls")["spec"]["egress"][0].pop("to"),
            "calls to the world is open",
        ),
        (
            lambda d: without(d, "Service", "talktime-wallet"),
            "there is no Service at https://talktime-wallet:7100",
        ),
        (
            lambda d: named(d, "Certificate", "talktime-calls")["spec"].update(uris=["spiffe://talktime/wallet"]),
            "calls: its certificate names ['spiffe://talktime/wallet']",
        ),
        (
            lambda d: named(d, "Certificate", "talktime-calls")["spec"].update(dnsNames=["calls"]),
            "calls: clients do not find it at ['calls']",
        ),
        (lambda d: without(d, "Issuer", "talktime-identities"), "wallet: no Issuer issues its certificate"),
        (
            lambda d: volume(d, "identity")["secret"].update(secretName="talktime-calls-identity"),
            "wallet: its certificate is not mounted at /etc/talktime/identity",
        ),
        (
            lambda d: container(d)["livenessProbe"].update(httpGet={"path": "/readyz", "port": "ops"}),
            "talktime-wallet: its livenessProbe requests {'path': '/readyz', 'port': 'ops'}",
        ),
        (lambda d: without(d, "ExternalSecret", "redis"), "there is no OPERATOR_PASSWORD in a Secret redis-users"),
        (lambda d: settings_of(d, "gateway").pop("HTTP__TRUSTED_HOPS"), "takes the proxies before it for"),
        (lambda d: settings_of(d, "calls").update(MINUTE_SEC="60"), "MINUTE_SEC is no setting"),
        (lambda d: settings_of(d, "calls").update(MINUTE_SECS="a minute"), "MINUTE_SECS: a minute is no u32"),
        (lambda d: settings_of(d, "auth").update(SMS__ENTITY_ID="1101"), "SMS__ENTITY_ID: 1101 is no String"),
        (lambda d: settings_of(d, "calls").pop("PEERS__WALLET"), "PEERS__WALLET has no default and is not set"),
        (lambda d: container(d).update(env=[{"name": "X", "value": "1"}]), "has variables besides"),
        (
            lambda d: container(d)["envFrom"].append(
                {"prefix": "TALKTIME_WALLET__", "secretRef": {"name": "talktime-wallet"}}
            ),
            "Deployment talktime-wallet: talktime has all of the Secret talktime-wallet as variables",
        ),
        (
            lambda d: pod(d, **RELAY)["containers"][1]["env"].append(
                {"name": "X", "valueFrom": {"secretKeyRef": {"name": "nats-users", "key": "OPERATOR_PASSWORD"}}}
            ),
            "DaemonSet turn: relay-agent has the secret X as a variable",
        ),
        (
            lambda d: volume(d, "secrets")["secret"].update(secretName="talktime-calls"),
            "Deployment talktime-wallet: BANK_DETAILS__KEY has no default and is not set",
        ),
        (
            lambda d: volume(d, "secrets")["secret"].update(secretName="talktime-wallet-owner"),
            "Deployment talktime-wallet: DATABASE__OWNER_URL is set",
        ),
        (
            lambda d: container(d, workload="Job", name="migrate-wallet").pop("volumeMounts"),
            "Job migrate-wallet: DATABASE__OWNER_URL is not set",
        ),
        (
            lambda d: named(d, "ConfigMap", "platform")["data"].pop("SECRETS__FOLDERS"),
            "talktime-auth: NATS__PASSWORD has no default and is not set",
        ),
        (
            lambda d: container(d, name="talktime-verification").pop("volumeMounts"),
            "UPLOADS__SPOOL_DIR is /spool, where no volume is",
        ),
        (lambda d: pod(d, **RELAY).update(hostPID=True), "DaemonSet turn: shares namespaces or folders of the node"),
        (lambda d: pod(d, **RELAY).update(terminationGracePeriodSeconds=60), "turn: a drain may take"),
        (
            lambda d: settings_of(d, "relay-agent").update(RELAY__CONSOLE="127.0.0.1:1"),
            "RELAY__CONSOLE is 127.0.0.1:1, and the relay is at 127.0.0.1:7304",
        ),
        (lambda d: settings_of(d, "relay-agent").pop("CALLS"), "turn: CALLS has no default and is not set"),
        (lambda d: settings_of(d, "relay-agent").update(CALL="x"), "turn: CALL is no setting"),
        (
            lambda d: named(d, "HorizontalPodAutoscaler", "talktime-auth")["spec"].update(maxReplicas=60),
            "connections, and Postgres takes 600",
        ),
        (
            lambda d: named(d, "ConfigMap", "service")["data"].update(DATABASE__READ_MAX_CONNECTIONS="40"),
            "connections, and Postgres takes 600",
        ),
        (
            lambda d: first_rule(d)["annotations"].update(runbook="docs/runbooks/none.md"),
            "no runbook docs/runbooks/none.md",
        ),
        (
            lambda d: first_rule(d)["annotations"].update(runbook="docs/runbooks/events.md#none"),
            "no runbook docs",
        ),
    ]

    def test_each_violation_is_named(self):
        for violate, sentence in self.BROKEN:
            with self.subTest(sentence):
                documents = copy.deepcopy(overlay())
                violate(documents)
                self.assertIn(sentence, " ".join(policy.problems(K8S.parent, OVERLAY, documents)))

    def test_an_edge_that_no_process_needs_is_named(self):
        documents = copy.deepcopy(overlay())
        names = named(documents, "NetworkPolicy", "wallet")["spec"]["ingress"][0]["from"][0]["podSelector"]
        names["matchExpressions"][0]["values"].append("auth")
        self.assertIn(
            "network policies: auth (server) to wallet: ingress is open",
            policy.problems(K8S.parent, OVERLAY, documents),
        )


class Restores(unittest.TestCase):
    # Each breaks the drill, and is named by this sentence.
    DRILL = [
        (
            lambda d: named(d, "Cluster", "postgres")["spec"].update(
                plugins=copy_of("Cluster")["spec"]["plugins"]
            ),
            "Cluster postgres: barman-cloud.cloudnative-pg.io writes to the bucket of postgres-backups",
        ),
        (
            lambda d: named(d, "ObjectStore", "postgres-backups")["spec"].update(retentionPolicy="30d"),
            "ObjectStore postgres-backups: deletes old backups from its bucket",
        ),
        (
            lambda d: named(d, "ExternalSecret", "postgres-backups")["spec"].update(
                dataFrom=[{"extract": {"key": "postgres-backups"}}]
            ),
            "has other keys than postgres-backups-read-only",
        ),
        (lambda d: d.append(copy_of("ScheduledBackup")), "ScheduledBackup postgres-daily: a drill has only a database"),
        (lambda d: d.append(copy_of("HTTPRoute")), "names production's host talktime.example.com"),
        (lambda d: d.append(copy_of("Deployment")), "is in the namespace of production"),
        (
            lambda d: named(d, "Cluster", "postgres")["spec"].update(bootstrap={"initdb": {}}),
            "Cluster postgres: restores nothing",
        ),
    ]
    # The same for the restored production.
    RESTORED = [
        (
            lambda d: pod(d, "Job", "restored")["initContainers"].reverse(),
            "not one container for each of profile, presence, wallet",
        ),
        (
            lambda d: pod(d, "Job", "restored")["initContainers"].pop(2),
            "not one container for each of profile, presence, wallet",
        ),
        (
            lambda d: container(d, workload="Job", name="restored").update(command=["talktime-auth", "serve"]),
            "auth runs ['talktime-auth', 'serve']",
        ),
        (
            lambda d: container(d, workload="Job", name="restored")["envFrom"].pop(),
            "auth has other settings than its migration",
        ),
        (
            lambda d: named(d, "Cluster", "postgres-2")["metadata"].update(name="postgres-3"),
            "DATABASE__APP_URL is not of the restored cluster",
        ),
        (
            lambda d: secret_values(d, "talktime-calls").update(
                DATABASE__READ_URL="postgres://calls_app:x@postgres-ro:5432/talktime"
            ),
            "ExternalSecret talktime-calls: DATABASE__READ_URL is not of the restored cluster",
        ),
    ]

    def test_what_lets_a_drill_touch_production_is_named(self):
        for violate, sentence in self.DRILL:
            with self.subTest(sentence):
                documents = render(K8S / "overlays/drill")
                self.assertEqual([*restores.drill_problems(documents, overlay())], [])
                violate(documents)
                self.assertIn(sentence, " ".join(restores.drill_problems(documents, overlay())))

    def test_what_is_broken_in_the_restored_production_is_named(self):
        restored = K8S / "overlays/prod-restored"
        expect_problems(self, self.RESTORED, restored, render(restored), restores.job_problems)


class Runbooks(unittest.TestCase):
    def test_missing_objects_labels_commands_and_settings_are_named(self):
        found = policy.Overlay(K8S.parent, OVERLAY, overlay())
        block = """
            kubectl exec deployment/talktime-walet -- talktime-wallet verfy
            kubectl delete job nats-streem
            kubectl logs --selector app.kubernetes.io/name=walet | grep -E 'no such words|failed to handle event'
        """
        self.assertEqual(
            [*runbooks.command_problems(block, found), *runbooks.search_problems(block, K8S.parent)],
            [
                "there is no deployment talktime-walet",
                "there is no job nats-streem",
                "nothing has the label app.kubernetes.io/name=walet",
                "talktime-wallet has no command verfy",
                "no process logs 'no such words'",
            ],
        )
        self.assertEqual(
            list(runbooks.setting_problems("`SMS__PAUSE_SECS`, `TALKTIME_CALLS__SMS__PAUSE_SECS`", found.source)),
            ["`TALKTIME_CALLS__SMS__PAUSE_SECS` is no setting"],
        )
