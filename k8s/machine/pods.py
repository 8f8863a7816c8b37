"""Pods as processes of this machine, each container with a root, a user and an environment as its manifest says."""

import os
import signal
import socket
import subprocess
import urllib.request
from pathlib import Path

from machine.objects import command_of

HERE = Path(__file__).resolve().parent
POSTGRES_BIN = max(Path("/usr/lib/postgresql").glob("*/bin"), default="/usr/bin")
PATH = f"/usr/local/bin:/usr/sbin:/usr/bin:{POSTGRES_BIN}"
PROBE_SECS = 5
# What an image runs where its manifest names no command.
ENTRYPOINTS = {"postgres": ["postgres-entrypoint"]}
TAIL_LINES = 12


class MachineFolder:
    """Where a run keeps its files: the roots, volumes and logs of containers, and their programs."""

    def __init__(self, path, image=None):
        self.path = path
        # The root of the image of all processes; None if they have the machine's.
        self.image = image
        self.programs = self.make_folder("programs")
        self.shared = self.make_folder("shared")
        self.hosts = path / "hosts"
        self.hosts.touch()

    def make_folder(self, *names):
        folder = self.path.joinpath(*names)
        folder.mkdir(parents=True, exist_ok=True)
        return folder


class RunningPod:
    """A pod: its place in the network, its volumes, and the containers that run."""

    def __init__(self, name, template, objects, folder, place):
        self.name = name
        self.spec = template["spec"]
        self.labels = template["metadata"].get("labels", {})
        self.objects = objects
        self.folder = folder
        self.place = place
        self.running = {}
        self.has_started = set()
        security = self.spec["securityContext"]
        self.owner = security["runAsUser"], security["runAsGroup"]
        self.volumes = {v["name"]: self._volume(v["name"], objects.files(v)) for v in self.spec.get("volumes", [])}

    def claim(self, name):
        """Adds the volume of a template for claims."""
        self.volumes[name] = self._volume(name, None)

    def _volume(self, name, content):
        path = self.folder.make_folder("volumes", self.name, name)
        if content is None:
            os.chown(path, *self.owner)
            return path
        values, mode = content
        for file, text in values.items():
            (path / file).write_text(text)
            (path / file).chmod(mode)
            os.chown(path / file, 0, self.owner[1])
        return path

    def container(self, name):
        return next(container for container in self.spec["containers"] if container["name"] == name)

    def start(self, container, command=None, output=None):
        """Starts a container's process, or another one beside it in a root of the same kind."""
        variables = self.objects.environment(container, self._fields())
        entrypoint = ENTRYPOINTS.get(container["name"], [])
        command = command or [*entrypoint, *command_of(container, variables)]
        key = f"{self.name}.{container['name']}"
        mounts = self.folder.path / f"{key}.mounts"
        mounts.write_text("".join(self._mounts(container)))
        is_ours = container["image"].rpartition("/")[2].partition(":")[0] == "talktime"
        image = (is_ours and self.folder.image) or "-"
        words = [HERE / "start", self.folder.make_folder("roots", key), image, self.folder.hosts, self.folder.programs,
                 self.folder.shared, *map(str, self.owner), mounts, "--", *command]
        return subprocess.Popen(
            self.place.command_inside(["unshare", "--mount", "--propagation=private", "--", *words]),
            env={"PATH": PATH, **variables},
            stdin=subprocess.DEVNULL,
            stdout=output or open(self.log(container["name"]), "ab"),
            stderr=subprocess.STDOUT,
        )

    def _fields(self):
        return {"metadata.name": self.name, "spec.nodeName": "node", "status.hostIP": self.place.address}

    def _mounts(self, container):
        for mount in container.get("volumeMounts", []):
            mode = "ro" if mount.get("readOnly") else "rw"
            yield f"{self.volumes[mount['name']]} {mount['mountPath']} {mode}\n"

    def start_all(self, left_out):
        """Starts every container whose program this machine has."""
        for container in self.spec["containers"]:
            if container["name"] not in left_out:
                self.running[container["name"]] = self.start(container)

    def complete(self):
        """Runs the containers of a Job's pod to their ends, one after another; true if all have succeeded."""
        containers = self.spec.get("initContainers", []) + self.spec["containers"]
        return all(self.start(container).wait() == 0 for container in containers)

    def run(self, name, command):
        """Runs a command in a container, and returns its exit code."""
        return self.start(self.container(name), command, subprocess.DEVNULL).wait()

    def ended(self):
        return [name for name, process in self.running.items() if process.poll() is not None]

    def has_all_started(self):
        """Whether all containers have started. One that has is not asked again."""
        for name in self.running:
            if name not in self.has_started and self._passes(name, "startupProbe"):
                self.has_started.add(name)
        return self.has_started == set(self.running)

    def is_ready(self):
        return self.has_all_started() and all(self._passes(name, "readinessProbe") for name in self.running)

    def _passes(self, name, kind):
        container = self.container(name)
        probe = container[kind]
        if "exec" in probe:
            return self.run(name, probe["exec"]["command"]) == 0
        asked = probe.get("httpGet") or probe["tcpSocket"]
        ports = {port.get("name"): port["containerPort"] for port in container["ports"]}
        return answers(self.place.address, ports.get(asked["port"], asked["port"]), asked.get("path"))

    def signal(self, number=signal.SIGTERM):
        for process in self.running.values():
            if process.poll() is None:
                process.send_signal(number)

    def kill(self):
        """Ends all containers at once, as if they had never been started."""
        for process in self.running.values():
            process.kill()
            process.wait()
        self.running.clear()
        self.has_started.clear()

    def log(self, container):
        return self.folder.make_folder("logs") / f"{self.name}.{container}.log"

    def tail(self, container):
        """The last lines that a container has written."""
        lines = self.log(container).read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "".join(f"\n    {line[:400]}" for line in lines)


def answers(address, port, path):
    """Whether a port takes connections and, if a page is asked for, answers it."""
    try:
        if path:
            return urllib.request.urlopen(f"http://{address}:{port}{path}", timeout=PROBE_SECS).status == 200
        with socket.create_connection((address, port), PROBE_SECS):
            return True
    except OSError:
        return False
