"""A network of pods on this machine: a namespace for each, on one bridge, with the names of Services in a file."""

import subprocess
from itertools import count

BRIDGE = "pods"
NETWORK = "10.200"
# The machine's own address on the bridge, for clients of the platform.
OUTSIDE = f"{NETWORK}.0.1"


class PodNetwork:
    """Namespaces that end with this process, since they have no name outside of it."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.names = {}
        self.numbers = count(1)
        ip(
            "link set lo up",
            f"link add {BRIDGE} type bridge",
            f"addr add {OUTSIDE}/16 dev {BRIDGE}",
            f"link set {BRIDGE} up",
        )
        self.publish({})

    def add(self):
        """Adds a namespace with an address."""
        number = next(self.numbers)
        address, link = f"{NETWORK}.1.{number}", f"pod{number}"
        holder = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
        holder.stdout.readline()
        ip(f"link add {link} type veth peer name eth0 netns {holder.pid}", f"link set {link} master {BRIDGE} up")
        ip("link set lo up", f"addr add {address}/16 dev eth0", "link set eth0 up", inside=holder.pid)
        return PodPlace(holder.pid, address, link)

    def publish(self, names):
        """Makes names known: each with the addresses that it has from now on."""
        self.names.update(names)
        lines = ["127.0.0.1 localhost"]
        lines += [f"{address} {name}" for name, addresses in self.names.items() for address in addresses]
        # Written in place: the containers have this very file mounted.
        self.hosts.write_text("\n".join(lines) + "\n")


class PodPlace:
    """The namespace of a pod: the process that keeps it alive, its address, and its link on the bridge."""

    def __init__(self, holder, address, link):
        self.holder = holder
        self.address = address
        self.link = link
        self.is_cut = False

    def command_inside(self, command):
        return ["nsenter", f"--net=/proc/{self.holder}/ns/net", "--", *command]

    def cut(self):
        """From now on all packets to and from the pod are lost, and no socket is closed."""
        ip(f"link set {self.link} nomaster")
        self.is_cut = True

    def join(self):
        ip(f"link set {self.link} master {BRIDGE}")
        self.is_cut = False


def ip(*lines, inside=None):
    command = ["ip", "-batch", "-"]
    if inside:
        command = ["nsenter", f"--net=/proc/{inside}/ns/net", *command]
    subprocess.run(command, input="\n".join(lines) + "\n", text=True, check=True, stdout=subprocess.DEVNULL)
