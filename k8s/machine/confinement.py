"""What must hold of the running processes: who they are, what they may do, and how they stop."""

import signal
import subprocess
import time
from pathlib import Path

# The only container of a process.
CONTAINER = "talktime"


def problems_of_process(pod):
    """What a process is or may do although its manifest forbids it."""
    lines = Path(f"/proc/{pod.running[CONTAINER].pid}/status").read_text().splitlines()
    status = {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if set(status["Uid"].split()) != {str(pod.owner[0])}:
        yield f"{pod.name}: runs as {status['Uid']}"
    if int(status["CapEff"], 16) or int(status["CapBnd"], 16) or status["NoNewPrivs"] != "1":
        yield f"{pod.name}: has capabilities, or may gain some"
    if pod.run(CONTAINER, ["sh", "-c", ": >/written"]) == 0:
        yield f"{pod.name}: may write to its root"


def problems_of_stop(pods):
    """The processes that SIGTERM does not end in order and in time."""
    began = time.monotonic()
    for pod in pods:
        pod.signal(signal.SIGTERM)
    for pod in pods:
        deadline = began + pod.spec["terminationGracePeriodSeconds"]
        try:
            code = pod.running[CONTAINER].wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            yield f"{pod.name}: has not ended within its grace period"
        else:
            if code != 0:
                yield f"{pod.name}: has ended with {code}"
