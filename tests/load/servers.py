"""The servers under load: one node or three, and nginx; what they use; and how they are ended.

What must stay true
- A server is ended by the process id that was kept when it was started, never by a name.
- The figures of a server are those of all its processes: nginx's workers, the nodes of a cluster.
"""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import time

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
START_S_MAX = 30
STOP_S_MAX = 20
SETTLE_S_MAX = 3.0
# For bodies that are still on their way to the other nodes.
ARRIVE_S_MAX = 120.0
# Peer calls that have nothing to do with what clients ask for.
BACKGROUND = {"heartbeats", "hellos", "trees"}


class Trouble(Exception):
    """Something that this script cannot work without; its text names the remedy."""


def free_port():
    """A port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def cpu_seconds(pid):
    """User and system time of a process with all its threads, those that have ended included."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def status_mib(pid, field):
    with open(f"/proc/{pid}/status") as f:
        for line in f:
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    return 0.0


def tail(path, lines=15):
    try:
        with open(path, errors="replace") as f:
            return "".join(f.readlines()[-lines:])
    except FileNotFoundError:
        return ""


class Server:
    """What is the same for all: processes, their use of CPU and memory, their end."""

    is_ours = False

    def __init__(self):
        self.children = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for child in self.children:
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S_MAX
        for child in self.children:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                for pid in self.family(child.pid):
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                child.wait()

    @staticmethod
    def family(pid):
        """A process and its own children."""
        try:
            with open(f"/proc/{pid}/task/{pid}/children") as f:
                return [pid] + [int(p) for p in f.read().split()]
        except FileNotFoundError:
            return [pid]

    def spawn(self, command, log, settings=None, handed_on=()):
        with open(log, "ab") as out:
            # A session of its own: an interrupt at the terminal is for the script, which then ends all in order.
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True,
                                     env={**os.environ, **(settings or {})}, pass_fds=handed_on)
        self.children.append(child)
        return child

    def pids(self):
        return [pid for child in self.children for pid in self.family(child.pid)]

    def check_alive(self):
        for child in self.children:
            if child.poll() is not None:
                raise Trouble(f"{self.name} ended with code {child.returncode} under load:\n{self.log_tail()}")

    def cpu(self):
        return sum(cpu_seconds(pid) for pid in self.pids())

    def rss_mib(self):
        return [status_mib(pid, "VmRSS") for pid in self.pids()]

    def peak_mib(self):
        return max(status_mib(pid, "VmHWM") for pid in self.pids())

    def forget_peak(self):
        for pid in self.pids():
            with open(f"/proc/{pid}/clear_refs", "w") as f:
                f.write("5")

    def settle(self):
        """Waits until what was put off (index, replication) is done, so that it is counted where it belongs."""
        deadline, before = time.monotonic() + SETTLE_S_MAX, self.cpu()
        while time.monotonic() < deadline:
            time.sleep(0.4)
            now = self.cpu()
            if now - before < 0.02:
                return
            before = now


class Cluster(Server):
    """One node, or three that replicate to each other. The first takes the load."""

    is_ours = True

    def __init__(self, binary, place, nodes, name="boveda", durability="majority", settings=None):
        super().__init__()
        self.binary, self.place, self.nodes = binary, place, nodes
        self.name, self.durability, self.settings = name, durability, settings or {}
        self.addresses, self.commands = [], []
        os.makedirs(place, exist_ok=True)

    @property
    def http(self):
        return self.addresses[0]

    def metrics(self):
        """Every node's, as a list of (name, value); labels are left out."""
        out = []
        for address in self.addresses:
            connection = http.client.HTTPConnection(address, timeout=10)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            connection.close()
            out += [(m[1], float(m[2])) for m in re.finditer(r"^(boveda_\w+)(?:{[^}]*})? (\S+)$", text, re.M)]
        return out

    def counters(self):
        """Over all nodes: fsyncs of the log, and calls to peers that a client's request was the reason for."""
        commits = calls = 0
        for name, value in self.metrics():
            kind = name.removeprefix("boveda_peers_sent_")
            if name == "boveda_store_commits":
                commits += value
            elif kind != name and kind not in BACKGROUND:
                calls += value
        return {"commits": commits, "calls": calls}

    def settle(self):
        deadline = time.monotonic() + ARRIVE_S_MAX
        while any(value for name, value in self.metrics() if name == "boveda_peers_changes_behind"):
            if any(value for name, value in self.metrics() if name == "boveda_store_full"):
                raise Trouble(f"{self.name}: the disk is full down to the reserve, --dir names another one")
            if time.monotonic() > deadline:
                raise Trouble(f"{self.name}: what was written is not on all nodes after {ARRIVE_S_MAX:g} s")
            time.sleep(0.2)
        super().settle()

    def data_dir(self, n):
        return os.path.join(self.place, f"node-{n}")

    def log_file(self, n):
        return os.path.join(self.place, f"node-{n}.log")

    def log_tail(self):
        return "".join(tail(self.log_file(n)) for n in range(self.nodes))

    def start(self):
        """Starts the nodes; returns how long it took until all were ready."""
        keys = os.path.join(self.place, "keys")
        peers = []
        ports = [0] * self.nodes
        if self.nodes > 1:
            # Peers are named before they run, so their ports cannot be chosen by the system.
            ports = [free_port() for _ in range(self.nodes)]
            for n, port in enumerate(ports):
                peers += ["--peer", f"load-{n}=http://127.0.0.1:{port}"]
            made = subprocess.run([self.binary, "key", "new", "--key-dir", keys], capture_output=True, text=True, timeout=30)
            if made.returncode != 0:
                raise Trouble(f"boveda key new failed: {made.stderr.strip()}")
        begin = time.monotonic()
        for n in range(self.nodes):
            name = "load" if self.nodes == 1 else f"load-{n}"
            command = [self.binary, "serve", "--data", self.data_dir(n), "--key-dir", keys, "--name", name]
            command += ["--listen", "127.0.0.1:0", "--s3-listen", "127.0.0.1:0", "--peer-listen", f"127.0.0.1:{ports[n]}", *peers]
            settings = {"BOVEDA_CLUSTER_DURABILITY": self.durability} if peers else {}
            self.commands.append((command, self.log_file(n), {**settings, **self.settings}))
            self.spawn(*self.commands[n])
        self.addresses = [self.wait_ready(n, begin + START_S_MAX) for n in range(self.nodes)]
        return time.monotonic() - begin

    def end(self, n, how=signal.SIGTERM):
        """Ends one node; returns how long that took."""
        begin = time.monotonic()
        self.children[n].send_signal(how)
        self.children[n].wait(STOP_S_MAX)
        return time.monotonic() - begin

    def begin_again(self, n):
        """Starts a node that was ended; returns how long it took until it was ready."""
        begin = time.monotonic()
        self.spawn(*self.commands[n])
        # Each node keeps its place among the processes.
        self.children[n] = self.children.pop()
        self.addresses[n] = self.wait_ready(n, begin + START_S_MAX)
        return time.monotonic() - begin

    def wait_ready(self, n, deadline):
        said = "it never wrote addresses.json"
        while time.monotonic() < deadline:
            self.check_alive()
            try:
                with open(os.path.join(self.data_dir(n), "addresses.json")) as f:
                    address = json.load(f)["http"]
                connection = http.client.HTTPConnection(address, timeout=5)
                connection.request("GET", "/readyz")
                answer = connection.getresponse()
                said = f"/readyz says {answer.status} {answer.read()!r}"
                connection.close()
                if answer.status == 200:
                    return address
            except (OSError, ValueError, KeyError):
                pass
            time.sleep(0.02)
        raise Trouble(f"node {n} is not ready after {START_S_MAX} s ({said}):\n{self.log_tail()}")


NGINX_CONF = """
{user}
worker_processes {workers};
pid {place}/nginx.pid;
error_log {place}/nginx-error.log error;
daemon off;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    default_type application/octet-stream;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_timeout 300;
    keepalive_requests 1000000000;
    client_body_temp_path {place}/nginx-body;
    proxy_temp_path {place}/nginx-proxy;
    fastcgi_temp_path {place}/nginx-fastcgi;
    uwsgi_temp_path {place}/nginx-uwsgi;
    scgi_temp_path {place}/nginx-scgi;
    server {{ listen 127.0.0.1:{port} backlog=1024; root {root}; }}
}}
"""


class Nginx(Server):
    """nginx, serving the plain files. Its own configuration, nothing of the machine's."""

    name = "nginx"

    def __init__(self, binary, place, root):
        super().__init__()
        self.log = os.path.join(place, "nginx-error.log")
        port = free_port()
        self.http = f"127.0.0.1:{port}"
        conf = os.path.join(place, "nginx.conf")
        with open(conf, "w") as f:
            user = "user root;" if os.geteuid() == 0 else ""
            f.write(NGINX_CONF.format(user=user, workers=os.cpu_count(), place=place, port=port, root=root))
        with self.unpaced(port) as listener:
            handed_on = listener.fileno()
            self.spawn([binary, "-p", place, "-c", conf, "-e", self.log], self.log, {"NGINX": f"{handed_on};"}, [handed_on])

    @staticmethod
    def unpaced(port):
        """A listener with the congestion control that a node chooses for clients on its own machine. nginx has no
        directive for it, but takes over listeners that are named in $NGINX, as an older nginx would hand them on."""
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno")
        listener.bind(("127.0.0.1", port))
        listener.listen(1024)
        listener.setblocking(False)
        return listener

    def __enter__(self):
        deadline = time.monotonic() + START_S_MAX
        try:
            while True:
                self.check_alive()
                try:
                    host, port = self.http.split(":")
                    socket.create_connection((host, int(port)), timeout=1).close()
                    return self
                except OSError:
                    if time.monotonic() > deadline:
                        raise Trouble(f"nginx does not answer:\n{self.log_tail()}") from None
                    time.sleep(0.02)
        except BaseException:
            self.__exit__()
            raise

    def log_tail(self):
        return tail(self.log)
