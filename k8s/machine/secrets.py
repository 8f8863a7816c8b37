"""The secrets of a run: what the secret store would hold, and what the operators would make of it."""

import subprocess

import yaml

from machine.objects import fill_external_secrets

SERVICES = ["auth", "profile", "presence", "wallet", "calls", "verification"]


def make_secrets(overlay, documents, folder):
    """Every Secret of an overlay, by its name."""
    authority = CertificateAuthority(folder)
    secrets = fill_external_secrets(documents, SecretStore(authority))
    script = overlay / "secrets"
    if script.exists():
        printed = subprocess.run([script], check=True, capture_output=True, text=True).stdout
        secrets |= {d["metadata"]["name"]: d["stringData"] for d in yaml.safe_load_all(printed)}
    for certificate in (d for d in documents if d["kind"] == "Certificate"):
        spec = certificate["spec"]
        names = [f"DNS:{n}" for n in spec.get("dnsNames", [])] + [f"URI:{u}" for u in spec.get("uris", [])]
        if names:
            secrets[spec["secretName"]] = authority.issue(spec["secretName"], names)
    for cluster in (d["metadata"]["name"] for d in documents if d["kind"] == "Cluster"):
        names = [f"DNS:{cluster}-{role}" for role in ("rw", "ro", "r")]
        secrets[f"{cluster}-server"] = authority.issue(f"{cluster}-server", names)
        secrets[f"{cluster}-ca"] = {"ca.crt": secrets[f"{cluster}-server"]["ca.crt"]}
    return secrets


class SecretStore(dict):
    """Has an entry for every key: what must have a certain form, and passwords for all others."""

    def __init__(self, authority):
        self["postgres-roles"] = {f"{s}_{role}": f"{s}-{role}-x" for s in SERVICES for role in ("owner", "app")}
        self["tokens"] = {"sealing_key": "5a" * 32}
        self["phones"] = {"hash_key": "5a" * 32}
        self["bank-details"] = {"key": "a5" * 32, "key_id": "1", "retired_keys": ""}
        self["ledger-anchors"] = {"access_key": "anchors-x", "secret_key": "anchors-secret-x", "signing_key": "c3" * 32}
        self["turn"] = {"secret": "t" * 32, "previous-secret": "", "console-password": "console-x"}
        self["turn-tls"] = authority.issue("turn-tls", ["DNS:*.relay.example.com"])

    def __missing__(self, key):
        return PlainPasswords()


class PlainPasswords(dict):
    def __missing__(self, name):
        return f"{name}-x"

    def keys(self):
        return ["access_key", "secret_key", "region"]


class CertificateAuthority:
    """Issues certificates as the cluster's would: for the names that a manifest asks for."""

    def __init__(self, folder):
        self.folder = folder
        self._write("authority", ["basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign"], [])

    def issue(self, name, names):
        extensions = [
            f"subjectAltName={','.join(names)}",
            "basicConstraints=critical,CA:false",
            "keyUsage=critical,digitalSignature",
            "extendedKeyUsage=serverAuth,clientAuth",
        ]
        self._write(name, extensions, ["-CA", self._file("authority.crt"), "-CAkey", self._file("authority.key")])
        files = {"tls.crt": f"{name}.crt", "tls.key": f"{name}.key", "ca.crt": "authority.crt"}
        return {key: self._file(file).read_text() for key, file in files.items()}

    def _file(self, name):
        return self.folder / name

    def _write(self, name, extensions, signed):
        lines = ["[req]", "distinguished_name=name", "x509_extensions=extensions", "[name]", "[extensions]", *extensions]
        subprocess.run(
            ["openssl", "req", "-x509", "-config", "/dev/stdin", "-newkey", "ec", "-noenc", "-days", "2",
             "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", f"/CN={name}", *signed,
             "-keyout", self._file(f"{name}.key"), "-out", self._file(f"{name}.crt")],
            input="\n".join(lines), text=True, check=True, capture_output=True,
        )
