"""Makes a call that is paid for, by the program that also makes one at the end of `cargo dev up`."""

import subprocess
import time

from machine.cluster import RunFailure

# A call takes two seconds where everything works; the program itself waits ten seconds for an event.
TRY_SECS = 20


def call_until_it_succeeds(cluster, programs, bound_secs):
    """Makes calls until one succeeds from sign-up to receipt. Returns how long that took and what was printed."""
    began = time.monotonic()
    while True:
        try:
            lines = make_call(cluster, programs)
        except RunFailure as failure:
            if time.monotonic() - began > bound_secs:
                raise RunFailure(f"no call within {bound_secs} s: {failure}") from None
        else:
            return time.monotonic() - began, lines


def make_call(cluster, programs):
    """Signs up two people and lets one call the other, from outside of all pods."""
    nats = next(pod for pod in cluster.pods.values() if pod.labels.get("talktime/store") == "nats" and not pod.place.is_cut)
    secrets = cluster.objects.secrets
    password = secrets["nats-users"]["OPERATOR_PASSWORD"]
    gateway, operator = (secrets["redis-users"][f"{user}_PASSWORD"] for user in ("GATEWAY", "OPERATOR"))
    # The name that its certificate has: of the server where there are several, and of the Service where there is one.
    host = next(name for name in (f"{nats.name}.nats-peers", "nats") if name in cluster.network.names)
    authority = cluster.folder.make_folder("call") / "ca.crt"
    authority.write_text(secrets["nats-server"]["ca.crt"])
    variables = {
        "GATEWAY_URL": "http://talktime-gateway:8080",
        "NATS_URL": f"tls://operator:{password}@{host}:4222",
        "NATS_CA_FILE": str(authority),
        # One authority issues the certificates of both.
        "REDIS_CA_FILE": str(authority),
        # One-time passwords are no business of the gateway.
        "REDIS_URL": secrets["talktime-gateway"]["REDIS__URL"].replace(f"gateway:{gateway}@", f"operator:{operator}@"),
        # A minute that has begun is paid for, so that nobody needs to wait for its end.
        "MINUTE_SECS": "60",
    }
    try:
        ended = subprocess.run(
            [programs / "talktime-demo"], env=variables, capture_output=True, text=True, timeout=TRY_SECS
        )
    except subprocess.TimeoutExpired:
        raise RunFailure(f"the call was not made within {TRY_SECS} s") from None
    if ended.returncode != 0:
        raise RunFailure(ended.stdout.strip().rpartition("\n")[2])
    lines = ended.stdout.splitlines()
    return [line.strip() for line in lines if line.startswith(("  call", "  receipt", "  balances"))]


def takes_payments(cluster):
    """Whether anybody can log in and recharge without a provider outside of this machine."""
    configs = cluster.objects.configs

    def config_of(process):
        return next(data for name, data in configs.items() if name.startswith(f"config-{process}"))

    return config_of("auth").get("OTP_DELIVERY") != "sms" and config_of("wallet").get("PAYMENTS__PROVIDER") == "sandbox"
