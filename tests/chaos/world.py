"""Nodes in network namespaces of their own, and what is done to them.

What must stay true
- Everything that is made (namespaces, mounts, processes) is undone when the run ends, however it ends.
- Clients reach every node at all times, by addresses that no fault touches; only what goes between nodes is cut.
- What goes between nodes goes through one switch (`switch.py`), on a network of its own: 10.78.0.0/24.
"""

import atexit
import ctypes
import glob
import http.client
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CLONE_NEWNET = 0x40000000
HTTP, S3, PEER = 5000, 5001, 5002
TIMEOUT = 12
RESERVE_MIB = 8
# Of this run alone: others may go on beside it.
HUB = f"bvchaos{os.getpid()}"
CLIENT = "10.77.0.1"
# Large frames: a switch in Python pays by the frame.
PEER_MTU = 9000
FAKETIME = "/usr/lib/*/faketime/libfaketimeMT.so.1"


def sh(*words, check=True):
    done = subprocess.run(words, capture_output=True, text=True)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done


class Node:
    def __init__(self, world, number):
        self.world, self.number = world, number
        self.name, self.space = f"n{number}", f"{HUB}-{number}"
        self.ip, self.peer_ip = f"10.77.0.{10 + number}", f"10.78.0.{10 + number}"
        self.dir = os.path.join(world.dir, self.name)
        self.mount = os.path.join(self.dir, "disk")
        self.data, self.copy = os.path.join(self.mount, "data"), os.path.join(self.dir, "copy")
        self.keys = os.path.join(self.dir, "keys")
        self.log = open(os.path.join(world.dir, f"{self.name}.log"), "ab")
        self.clock_file = os.path.join(self.dir, "clock")
        self.process = None

    def prepare(self):
        os.makedirs(self.mount)
        shutil.copytree(self.world.keys, self.keys)
        self.clock(0)
        sh("mount", "-t", "tmpfs", "-o", f"size={self.world.disk_mib}m", "tmpfs", self.mount)
        sh("ip", "netns", "add", self.space)
        sh("ip", "link", "add", f"bv{self.number}", "netns", HUB, "type", "veth", "peer", "name", "eth0", "netns", self.space)
        sh("ip", "-n", HUB, "link", "set", f"bv{self.number}", "master", "br0", "up")
        sh("ip", "-n", self.space, "link", "set", "lo", "up")
        sh("ip", "-n", self.space, "addr", "add", f"{self.ip}/24", "dev", "eth0")
        sh("ip", "-n", self.space, "link", "set", "eth0", "up")

    def plug(self):
        """The side of its peers, once the switch has made it."""
        sh("ip", "-n", self.space, "addr", "add", f"{self.peer_ip}/24", "dev", "tap0")
        sh("ip", "-n", self.space, "link", "set", "tap0", "mtu", str(PEER_MTU), "up")

    def clock(self, seconds):
        """The node's clock is that far from this machine's; the clock that timers go by is not touched."""
        following = f"{self.clock_file}.new"
        with open(following, "w") as file:
            file.write(f"{seconds:+d}\n")
        os.rename(following, self.clock_file)

    def start(self, **contradicting):
        """`contradicting`: settings that are not those of this node in its cluster."""
        settings = {
            "BOVEDA_NODE_NAME": self.name,
            "BOVEDA_NODE_THREADS": "1",
            "BOVEDA_CLUSTER_PEERS": self.world.peers(self.world.nodes),
            "BOVEDA_CLUSTER_DURABILITY": self.world.durability,
            "BOVEDA_CLUSTER_DECIDE_TIMEOUT": "4s",
            "BOVEDA_PEER_HEARTBEAT": "500ms",
            "BOVEDA_PEER_BACKOFF_CAP": "500ms",
            "BOVEDA_PEER_COMPARE_EVERY": "5s",
            "BOVEDA_STORE_LOG_BYTES": "16MiB",
            "BOVEDA_STORE_CHECKPOINT_BYTES": "4MiB",
            # So that lists meet what was dropped and what the index still has.
            "BOVEDA_STORE_CHECKPOINT_INTERVAL": "30s",
            "BOVEDA_CLUSTER_TOMBSTONE_AGE": "3s",
            "BOVEDA_STORE_RESERVE_BYTES": f"{RESERVE_MIB}MiB",
            "BOVEDA_HTTP_READY_GRACE": "100ms",
            "BOVEDA_HTTP_DRAIN_TIMEOUT": "2s",
            "LD_PRELOAD": self.world.faketime,
            "FAKETIME_TIMESTAMP_FILE": self.clock_file,
            "FAKETIME_CACHE_DURATION": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            **contradicting,
        }
        command = [
            "ip", "netns", "exec", self.space, self.world.binary, "serve", "--data", self.data,
            "--key-dir", self.keys, "--listen", f"{self.ip}:{HTTP}", "--peer-listen", f"{self.peer_ip}:{PEER}",
            "--s3-listen", f"{self.ip}:{S3}", "--insecure-open",
        ]
        environment = {**os.environ, **settings}
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        """In order, as an operator does it."""
        self.signal(signal.SIGTERM)
        self.process.wait(30)

    def wipe(self):
        """All that the node ever kept is gone, but for its ring of keys."""
        shutil.rmtree(self.data)

    def copy_data(self):
        """A snapshot of its volume: of a node that does not run, or stands still."""
        shutil.rmtree(self.copy, ignore_errors=True)
        sh("cp", "-a", self.data, self.copy)

    def put_back(self):
        """The snapshot takes the place of what the node has."""
        self.wipe()
        sh("cp", "-a", self.copy, self.data)

    def said(self):
        """How much it has said so far."""
        return os.path.getsize(self.log.name)

    def says(self, text, since):
        """Whether its log has that text after the first so many bytes."""
        with open(self.log.name, "rb") as log:
            log.seek(since)
            return text.encode() in log.read()

    def rule(self, *words):
        sh("ip", "netns", "exec", self.space, "iptables", *words)

    def drop_from(self, other, share=None):
        how = ["-m", "statistic", "--mode", "random", "--probability", str(share)] if share else []
        self.rule("-A", "INPUT", "-s", other.peer_ip, *how, "-j", "DROP")

    def heal(self):
        self.rule("-F")

    def fill(self, leave_mib=0):
        """Its volume has so much left, at most: what it had given back since the last time is filled again."""
        mib = max(0, self.left_mib() - leave_mib) if leave_mib else 1 << 30
        with open(os.path.join(self.mount, "ballast"), "ab") as ballast:
            try:
                for _ in range(mib):
                    ballast.write(bytes(1 << 20))
            except OSError:
                pass

    def left_mib(self):
        """Room that its volume has."""
        room = os.statvfs(self.mount)
        return room.f_bavail * room.f_frsize >> 20

    def free(self):
        try:
            os.remove(os.path.join(self.mount, "ballast"))
        except FileNotFoundError:
            pass


class World:
    """The hub, the nodes, and their end."""

    def __init__(self, binary, durability, nodes=4, disk_mib=256):
        self.binary, self.durability, self.disk_mib = binary, durability, disk_mib
        # Clients pause so many times as long between two calls.
        self.pace = 1.0
        self.dir = tempfile.mkdtemp(prefix="boveda-chaos-")
        self.keys = os.path.join(self.dir, "keys")
        self.nodes = []
        self.switch = None
        self.closed = False
        found = glob.glob(FAKETIME)
        if not found:
            raise RuntimeError("libfaketime is needed (apt install libfaketime)")
        self.faketime = found[0]
        atexit.register(self.close)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
        sh(binary, "key", "new", "--key-dir", self.keys)
        sh("ip", "netns", "add", HUB)
        sh("ip", "-n", HUB, "link", "add", "br0", "type", "bridge")
        sh("ip", "-n", HUB, "addr", "add", f"{CLIENT}/24", "dev", "br0")
        sh("ip", "-n", HUB, "link", "set", "br0", "up")
        sh("ip", "-n", HUB, "link", "set", "lo", "up")
        for number in range(1, nodes + 1):
            node = Node(self, number)
            self.nodes.append(node)
            node.prepare()
        program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "switch.py")
        self.switch = subprocess.Popen(
            [sys.executable, program, *(node.space for node in self.nodes)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        if self.switch.stdout.readline() != b"ready\n":
            raise RuntimeError("the switch did not start")
        for node in self.nodes:
            node.plug()
            node.start()

    @staticmethod
    def peers(nodes):
        """A setting that names these nodes."""
        return ",".join(f"{node.name}=http://{node.peer_ip}:{PEER}" for node in nodes)

    def enter(self):
        """This thread, and those that it starts, are where the clients are."""
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{HUB}") as space:
            if libc.setns(space.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    def weather(self, word):
        """rough: what goes between nodes is delayed, reordered and doubled; calm: it is not."""
        self.switch.stdin.write(word.encode() + b"\n")
        self.switch.stdin.flush()

    def heal(self):
        self.weather("calm")
        for node in self.nodes:
            node.heal()

    def close(self):
        if self.closed:
            return
        self.closed = True
        for node in self.nodes:
            if node.process and node.process.poll() is None:
                node.process.send_signal(signal.SIGCONT)
                node.process.kill()
                node.process.wait()
            sh("ip", "netns", "del", node.space, check=False)
            sh("umount", node.mount, check=False)
        if self.switch:
            self.switch.stdin.close()
            self.switch.wait()
        sh("ip", "netns", "del", HUB, check=False)

    def forget(self):
        self.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    def crashed(self):
        """Nodes that ended by themselves."""
        switch = ["the switch"] if self.switch.poll() is not None else []
        return switch + [node.name for node in self.nodes if node.process.poll() is not None]


def until(test, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        answer = test()
        if answer:
            return answer
        time.sleep(0.1)
    raise RuntimeError(f"not within {seconds} s: {what}")


def ask(node, path, method="GET", timeout=TIMEOUT, body=None, headers=None):
    """Status and body; no status when nobody knows."""
    conn = http.client.HTTPConnection(node.ip, HTTP, timeout=timeout)
    try:
        conn.request(method, path, body=body, headers=headers or {})
        answer = conn.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException):
        return None, b""
    finally:
        conn.close()
