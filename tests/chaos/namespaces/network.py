"""Network namespaces on one bridge, and what gets through it.

Each node has a namespace `leat-RUN-nI` with the address 10.83.0.I, the clients
have `leat-RUN-clients`; a veth pair leads from each into `leat-RUN-hub`, where
the bridge is.  All faults of the network are made in the hub: packet filter
rules of the bridge, token buckets on its ports, a relay in place of a port.
Nothing is put into the machine's own namespace, so runs never meet.
"""

import array
import ctypes
import fcntl
import os
import secrets
import select
import shutil
import socket
import struct
import subprocess
import sys

from harness import Failed, bounded, give_up

HERE = os.path.dirname(os.path.abspath(__file__))
SHELL_S = 60  # for mkfs on a busy machine; the others need milliseconds
CLIENTS = 65000  # where nodes have their number
GUARD_S = 300  # it has bounds of its own below
CLONE_NEWNET = 0x40000000
SIOCETHTOOL = 0x8946
# Checksums and segments are made by who sends, or a relay would see neither.
OFFLOADS = {"tx-checksum": 0x17, "tso": 0x1F, "gso": 0x24, "gro": 0x2C}


def address(number):
    return "10.83.%d.%d" % divmod(number, 256)


def shell(*argv, text=None):
    what = " ".join(argv)
    code, out = bounded(argv, what, SHELL_S, text)
    if code:
        raise Failed("%s: %s" % (what, out.strip()))
    return out


def missing():
    """Why this machine cannot do it, or None."""
    if os.geteuid():
        return "only root may make network namespaces"
    for program in ("ip", "tc", "nft", "nsenter", "mount"):
        if not shutil.which(program):
            return "there is no program '%s' (scripts/setup --tests " \
                "installs it)" % program
    name = "leat-%s-try" % secrets.token_hex(3)
    try:
        shell("ip", "netns", "add", name)
    except Failed as error:
        return "no network namespaces here: %s" % error
    try:
        shell("ip", "-n", name, "link", "add", "br0", "type", "bridge")
        shell(*enter(name), "nft", "add table bridge chaos")
    except Failed as error:
        return "no bridge with a packet filter here: %s" % error
    finally:
        shell("ip", "netns", "del", name)
    return None


def enter(name):
    """What to put before a command that shall run there."""
    return ["nsenter", "--net=/run/netns/" + name]


def set_namespace(fd):
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
        raise Failed("setns: " + os.strerror(ctypes.get_errno()))


class Network:
    def __init__(self):
        self.run = secrets.token_hex(3)
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY)
        self.guard = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "guard.py"),
             str(os.getpid())], stdin=subprocess.PIPE, text=True,
            start_new_session=True)
        self.rules = []
        self.limited = set()
        self.relays = {}
        self.hub = self.name("hub")
        self.add_namespace(self.hub)
        self.ip(self.hub, "link", "add", "br0", "type", "bridge")
        self.ip(self.hub, "link", "set", "br0", "up")
        self.join("clients", CLIENTS)
        self.apply()

    def name(self, suffix):
        return "leat-%s-%s" % (self.run, suffix)

    def node(self, node):
        return self.name("n%d" % node)

    def ip(self, namespace, *words):
        return shell("ip", "-n", namespace, *words)

    def note(self, kind, what):
        """The guard knows it before it is there."""
        self.guard.stdin.write("%s %s\n" % (kind, what))
        self.guard.stdin.flush()

    def add_namespace(self, name):
        self.note("namespace", name)
        shell("ip", "netns", "add", name)
        self.ip(name, "link", "set", "lo", "up")

    def join(self, suffix, number):
        """A namespace with an address, on the bridge."""
        name, port = self.name(suffix), "p%d" % number
        self.add_namespace(name)
        self.ip(name, "link", "add", "eth0", "type", "veth", "peer", "name",
                port, "netns", self.hub)
        self.ip(self.hub, "link", "set", port, "master", "br0", "up")
        self.ip(name, "address", "add", address(number) + "/16", "dev",
                "eth0")
        self.ip(name, "link", "set", "eth0", "up")

    def leave(self, suffix):
        """Whoever was there has ended."""
        shell("ip", "netns", "del", self.name(suffix))

    def enter_clients(self):
        """This process and those that it starts are clients from now on."""
        with open("/run/netns/" + self.name("clients")) as file:
            set_namespace(file.fileno())

    def close(self):
        set_namespace(self.home)
        self.guard.stdin.close()
        try:
            self.guard.wait(GUARD_S)
        except subprocess.TimeoutExpired:
            print("the guard still takes the network and the disks down",
                  file=sys.stderr)
        os.close(self.home)

    # ---- what gets through ----

    def apply(self):
        """The bridge's rules become self.rules, all at once."""
        shell(*enter(self.hub), "nft", "-f", "-", text="""
            table bridge chaos
            delete table bridge chaos
            table bridge chaos {
                chain forward {
                    type filter hook forward priority 0;
                    %s
                }
            }""" % "\n".join(self.rules))

    def drop(self, sources, targets, permille=1000):
        """Loses packets from the sources to the targets; numbers of nodes."""
        one, two = (", ".join(map(address, some))
                    for some in (sources, targets))
        chance = "" if permille >= 1000 else \
            "numgen random mod 1000 < %d " % permille
        self.rules.append("ip saddr { %s } ip daddr { %s } %sdrop" %
                          (one, two, chance))
        self.apply()

    def cut(self, some, others):
        """Both ways."""
        self.drop(some, others)
        self.drop(others, some)

    def limit(self, node, kbit):
        """So many kilobits a second to the node, and as many from it."""
        self.limited.add(node)
        for where, device in ((self.hub, "p%d" % node),
                              (self.node(node), "eth0")):
            shell("tc", "-n", where, "qdisc", "replace", "dev", device, "root",
                  "tbf", "rate", "%dkbit" % kbit, "burst", "16kb", "latency",
                  "400ms")

    def delay(self, node, ms, jitter_ms):
        port, tap = "p%d" % node, "t%d" % node
        self.without_offloads(self.hub, port)
        self.without_offloads(self.node(node), "eth0")
        relay = subprocess.Popen(
            [*enter(self.hub), sys.executable,
             os.path.join(HERE, "relay.py"), port, tap, str(ms),
             str(jitter_ms)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True)
        self.relays[node] = relay
        if not select.select([relay.stdout], [], [], SHELL_S)[0] or \
                relay.stdout.readline() != "ready\n":
            raise Failed("the relay of node %d does not start" % node)
        self.ip(self.hub, "link", "set", port, "nomaster")
        self.ip(self.hub, "link", "set", tap, "master", "br0", "up")

    def without_offloads(self, namespace, device):
        """Over a socket that lives in the namespace."""
        here = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            with open("/run/netns/" + namespace) as file:
                set_namespace(file.fileno())
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
                for command in OFFLOADS.values():
                    value = array.array("B", struct.pack("II", command, 0))
                    fcntl.ioctl(s, SIOCETHTOOL, struct.pack(
                        "16sQ", device.encode(), value.buffer_info()[0]))
        finally:
            set_namespace(here)
            os.close(here)

    def heal(self):
        """Everything gets through again, at once."""
        for node, relay in self.relays.items():
            relay.kill()
            give_up(relay)
            relay.stdout.close()
            self.ip(self.hub, "link", "set", "p%d" % node, "master", "br0")
        self.relays = {}
        for node in self.limited:
            for where, device in ((self.hub, "p%d" % node),
                                  (self.node(node), "eth0")):
                shell("tc", "-n", where, "qdisc", "del", "dev", device, "root")
        self.limited = set()
        self.rules = []
        self.apply()
