"""Postgres as its operator runs it: a primary, its standbys, and what the operator does when the primary is lost.

The operator itself is not here. What it would read from the manifest is: parameters, the clients that are admitted, the
database and its owner, the statements after its creation, and how many standbys confirm a commit.
"""

import subprocess

SUPERUSER = "postgres"
PASSWORD = "postgres-x"
CERTIFICATES = "/certificates"
USER = 65532


class PostgresInstances:
    """The instances of a Cluster; the first one is the primary."""

    def __init__(self, manifest, count):
        self.name = manifest["metadata"]["name"]
        self.spec = manifest["spec"]
        self.names = [f"{self.name}-{number}" for number in range(1, count + 1)]
        self.primary = self.names[0]

    def owner_secret(self):
        """The Secret that the operator makes for the owner of the database, by its name."""
        return {f"{self.name}-app": {"username": self.spec["bootstrap"]["initdb"]["owner"], "password": PASSWORD}}

    def template(self, name):
        """The pod of an instance."""
        container = {
            "name": "postgres",
            "image": "postgres",
            "args": [word for setting in self._settings(name) for word in ("-c", setting)],
            "env": [{"name": key, "value": value} for key, value in self._variables(name).items()],
            "ports": [{"name": "postgres", "containerPort": 5432}],
            "volumeMounts": [
                {"name": "data", "mountPath": "/data"},
                {"name": "tmp", "mountPath": "/tmp"},
                {"name": "certificates", "mountPath": CERTIFICATES, "readOnly": True},
            ],
        }
        for probe in ("startupProbe", "readinessProbe"):
            container[probe] = {"tcpSocket": {"port": "postgres"}}
        return {
            "metadata": {"labels": self.spec["inheritedMetadata"]["labels"]},
            "spec": {
                "securityContext": {"runAsUser": USER, "runAsGroup": USER},
                "containers": [container],
                "volumes": [
                    {"name": "data", "emptyDir": {}},
                    {"name": "tmp", "emptyDir": {}},
                    {"name": "certificates", "secret": {"secretName": f"{self.name}-server", "defaultMode": 0o640}},
                ],
            },
        }

    def _variables(self, name):
        initdb = self.spec["bootstrap"]["initdb"]
        variables = {
            "PGDATA": "/data/pgdata",
            "POSTGRES_USER": SUPERUSER,
            "POSTGRES_PASSWORD": PASSWORD,
            "POSTGRES_DB": initdb["database"],
            "POSTGRES_OWNER": initdb["owner"],
            "POSTGRES_STATEMENTS": ";\n".join(initdb.get("postInitApplicationSQL", [])),
            "POSTGRES_HBA": "\n".join(self.spec["postgresql"].get("pg_hba", [])),
            "POD_NAME": name,
        }
        if name != self.primary:
            variables["POSTGRES_PRIMARY"] = f"{self.name}-rw"
        return variables

    def _settings(self, name):
        postgresql = self.spec["postgresql"]
        yield from (f"{key}={value}" for key, value in postgresql["parameters"].items())
        yield from ("ssl=on", f"ssl_cert_file={CERTIFICATES}/tls.crt", f"ssl_key_file={CERTIFICATES}/tls.key")
        standbys = [f'"{other}"' for other in self.names if other != name]
        if standbys and "synchronous" in postgresql:
            synchronous = postgresql["synchronous"]
            yield f"synchronous_standby_names={synchronous['method']} {synchronous['number']} ({','.join(standbys)})"

    def addresses(self, pods, lost=()):
        """The addresses that each Service of the operator leads to: the primary, and the standbys. A run that has none
        leads to the primary in their place, since a name without any address would be looked up outside.
        """
        standbys = [name for name in self.names if name not in (self.primary, *lost)] or [self.primary]
        return {
            f"{self.name}-rw": [pods[self.primary].place.address],
            f"{self.name}-ro": [pods[name].place.address for name in standbys],
        }

    def fail_over(self, pods, network):
        """Makes the next instance the primary and lets the others follow it, as the operator does."""
        lost = self.primary
        standbys = [name for name in self.names if name != lost]
        self.primary = standbys[0]
        address = pods[self.primary].place.address
        execute(pods[self.primary], "SELECT pg_promote()")
        network.publish(self.addresses(pods, lost=[lost]))
        for name in standbys[1:]:
            # By the address: the same name would be the same setting, which restarts nothing.
            follows = f"host={address} user={SUPERUSER} password={PASSWORD} application_name={name}"
            execute(pods[name], f"ALTER SYSTEM SET primary_conninfo = '{follows}'", "SELECT pg_reload_conf()")


def execute(pod, *statements):
    command = ["psql", "--no-psqlrc", "--quiet", "--host=/tmp", f"--username={SUPERUSER}", "postgres"]
    code = pod.run("postgres", [*command, *(f"--command={statement}" for statement in statements)])
    if code != 0:
        raise subprocess.CalledProcessError(code, command)
