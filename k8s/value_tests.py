"""Tests of the checks of values: each sets a value that schemas accept, and expects a problem that names it."""

import unittest

import values
from schemas import schema_problems
from tests import OVERLAY, container, copy_of, expect_problems, named, overlay, replace_in, secret_values, without


class Values(unittest.TestCase):
    # Each sets a value that schemas accept, and is named by this sentence.
    BROKEN = [
        (
            lambda d: container(d)["readinessProbe"]["httpGet"].update(port="metrics"),
            "talktime-wallet: its readinessProbe uses port metrics, which it does not have",
        ),
        (
            lambda d: container(d)["livenessProbe"]["httpGet"].update(port=7101),
            "talktime-wallet: its livenessProbe uses port 7101, which it does not have",
        ),
        (
            lambda d: container(d)["resources"]["limits"].update(memory="512m"),
            "talktime-wallet: limits 512m of memory",
        ),
        (
            lambda d: named(d, "HorizontalPodAutoscaler", "talktime-calls")["spec"].update(minReplicas=9),
            "talktime-calls: scales from 9 to 6 replicas",
        ),
        (
            lambda d: named(d, "PodDisruptionBudget", "redis")["spec"].update(maxUnavailable=0),
            "redis: allows no disruption of any pod",
        ),
        (
            lambda d: named(d, "ScheduledBackup", "postgres-daily")["spec"].update(schedule="30 2 * * *"),
            "postgres-daily: 30 2 * * * does not have six fields",
        ),
        (
            lambda d: named(d, "Cluster", "postgres")["spec"]["postgresql"]["synchronous"].update(number=3),
            "postgres: 3 of 2 standbys must confirm a commit",
        ),
        (
            lambda d: replace_in(d, "start-redis", "maxmemory 768mb", "maxmemory 7680mb"),
            "redis: may hold 7680mb in a container of",
        ),
        (
            lambda d: replace_in(d, "start-redis", "maxmemory 768mb", "maxmemory 1gb"),
            "redis: may hold 1gb in a container of 2Gi",
        ),
        (
            lambda d: replace_in(d, "start-sentinel", "failover-timeout talktime 3000", "failover-timeout talktime 20000"),
            "redis: sentinels repeat a vote only after 40000 ms",
        ),
        (
            lambda d: named(d, "Cluster", "postgres")["spec"].pop("topologySpreadConstraints"),
            "postgres: its instances may be in one zone",
        ),
        (
            lambda d: secret_values(d, "talktime-wallet").update(
                DATABASE__READ_URL="postgres://wallet_app:x@postgres-rw:5432/talktime"
            ),
            "talktime-wallet: DATABASE__READ_URL leads to postgres-rw, and not to standbys",
        ),
        (
            lambda d: secret_values(d, "talktime-wallet").update(
                DATABASE__APP_URL="postgres://wallet_app:x@postgres-rw:5432/talktime?sslmode=require"
            ),
            "talktime-wallet: DATABASE__APP_URL does not verify the certificate of Postgres",
        ),
        (
            lambda d: named(d, "Cluster", "postgres")["spec"]["postgresql"].pop("pg_hba"),
            "postgres: takes passwords in clear",
        ),
        (
            lambda d: secret_values(d, "talktime-wallet").update(
                DATABASE__APP_URL="postgres://wallet_app:x@postgres-ro:5432/talktime"
            ),
            "talktime-wallet: DATABASE__APP_URL leads to postgres-ro, and not to a primary",
        ),
        (
            lambda d: named(d, "Cluster", "postgres")["spec"].update(instances=1),
            "talktime-wallet: DATABASE__READ_URL leads to postgres-ro, and not to standbys",
        ),
        (
            lambda d: named(d, "Cluster", "postgres")["spec"].update(enableSuperuserAccess=True),
            "postgres: lets its superuser log in",
        ),
        (
            lambda d: replace_in(d, "NATS__URL", "tls://nats-1.", "nats://nats-1."),
            "NATS__URL is not encrypted",
        ),
        (
            lambda d: replace_in(d, "NATS__URL", "nats-1.nats-peers", "another.nats-peers"),
            "NATS__URL leads to another.nats-peers, which no certificate names",
        ),
        (
            lambda d: secret_values(d, "talktime-auth").update(REDIS__URL="redis-sentinel://auth:x@redis-0.redis:26379"),
            "talktime-auth: REDIS__URL is not encrypted",
        ),
        (
            lambda d: secret_values(d, "redis-users").update(OPERATOR_URL="redis://operator:x@redis-0.redis:6379"),
            "redis-users: OPERATOR_URL is not encrypted",
        ),
        (
            lambda d: named(d, "Certificate", "redis-server")["spec"]["dnsNames"].remove("redis-2.redis"),
            "talktime-gateway: REDIS__URL leads to redis-2.redis, which no certificate names",
        ),
        (
            lambda d: replace_in(d, "nats.conf", "\ntls {", "\n# tls {"),
            "nats: takes passwords in clear",
        ),
        (
            lambda d: replace_in(d, "nats.conf", "\n  tls {", "\n  # tls {"),
            "nats: its servers reach each other in clear",
        ),
        (
            lambda d: replace_in(d, "start-redis", "port 0\n", "port 6379\n"),
            "redis: start-redis does not set port 0",
        ),
        (
            lambda d: replace_in(d, "start-sentinel", "tls-replication yes", "tls-replication no"),
            "redis: start-sentinel does not set tls-replication yes",
        ),
        (
            lambda d: without(d, "ExternalSecret", "alerts"),
            "Alertmanager talktime: there is no pager_key in a Secret alerts",
        ),
        (
            lambda d: without(d, "Secret", "alertmanager-talktime"),
            "Alertmanager talktime: there is no Secret alertmanager-talktime",
        ),
        (
            lambda d: replace_in(d, "nats.conf", "nats-1.nats-peers", "nats-1.nats-peer"),
            "nats: routes lead to nats-0.nats-peers, nats-1.nats-peer, nats-2.nats-peers",
        ),
        (
            lambda d: named(d, "NetworkPolicy", "processes-are-observed")["spec"]["ingress"][0]["ports"][0].update(
                port=7201
            ),
            "PodMonitor talktime: policies close port 7200 of talktime-wallet",
        ),
        (
            lambda d: named(d, "PodMonitor", "nats")["spec"]["podMetricsEndpoints"][0].update(port="metric"),
            "PodMonitor nats: nats has no port metric",
        ),
        (
            lambda d: named(d, "ExternalSecret", "redis")["spec"]["data"][0]["remoteRef"].update(property="pasword"),
            "ExternalSecret redis-users: the store has no pasword in redis",
        ),
        (
            lambda d: named(d, "ExternalSecret", "talktime-auth-owner")["spec"]["data"][0]["remoteRef"].update(
                property="auth_onwer"
            ),
            "the store has no auth_onwer in postgres-roles",
        ),
    ]

    def test_a_wrong_value_that_schemas_accept_is_named(self):
        expect_problems(self, self.BROKEN, OVERLAY, overlay(), values.problems)

    def test_a_number_where_the_operator_wants_text_is_refused(self):
        document = copy_of("Cluster")
        document["spec"]["postgresql"]["parameters"]["max_connections"] = 600
        self.assertIn("600 is not of type 'string'", " ".join(schema_problems(document)))
        document = copy_of("ConfigMap")
        document["data"] = {"MINUTE_SECS": 3}
        self.assertIn("3 is not", " ".join(schema_problems(document)))
