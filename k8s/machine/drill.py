"""A drill: the packets of one server after another are lost, without a socket being closed, and a call must succeed soon."""

import time

from machine.call import call_until_it_succeeds
from machine.cluster import RunFailure

# Longest time until a call succeeds. Redis and NATS choose a new primary or leader within it; for Postgres, whose
# operator makes another instance the primary, it begins afterwards.
BOUND_SECS = 30
# Time for a server that is back to catch up.
BACK_SECS = 60
# The bucket of anchors is outside of the machine, so the books are verified without it.
VERIFY = 'unset "${!TALKTIME_WALLET__ANCHORS@}"; exec talktime-wallet verify'


def run_drill(cluster, programs, report):
    """Cuts off the primary of Redis, each server of NATS and the primary of Postgres; then the books must be right."""
    for name in ("redis-0", "nats-0", "nats-1", "nats-2"):
        pod = cluster.pods[name]
        pod.place.cut()
        report(f"{name} is cut off: a call succeeds after {seconds_until_call(cluster, programs):.1f} s")
        pod.place.join()
        wait_until_back(pod)
        report(f"{name} is back: a call succeeds after {seconds_until_call(cluster, programs):.1f} s")
    for instances in cluster.postgres:
        lost = instances.primary
        cluster.pods[lost].place.cut()
        instances.fail_over(cluster.pods, cluster.network)
        report(f"{lost} is cut off, {instances.primary} takes over: a call succeeds after "
            f"{seconds_until_call(cluster, programs):.1f} s")
    wallet = cluster.pods["talktime-wallet-0"]
    if wallet.run("talktime", ["bash", "-c", VERIFY]) != 0:
        raise RunFailure("the books of the wallet are wrong")
    report("the books are right")


def seconds_until_call(cluster, programs):
    seconds, _ = call_until_it_succeeds(cluster, programs, BOUND_SECS)
    return seconds


def wait_until_back(pod):
    deadline = time.monotonic() + BACK_SECS
    while not pod.is_ready():
        if time.monotonic() > deadline:
            raise RunFailure(f"{pod.name} is not ready {BACK_SECS} s after it is back")
        time.sleep(0.5)
