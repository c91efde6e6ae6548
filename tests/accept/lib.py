"""What the acceptance and the power-loss scripts share: real nodes, small HTTP clients, a report.

What must stay true
- Everything a script starts or makes (processes, mounts, loop devices, files) is undone when it ends, however it
  ends; processes are ended by their own id.
- A write counts as answered only when its whole answer arrived, and it is remembered only then.
- Nothing waits without a deadline.
"""

import atexit
import glob
import hashlib
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from urllib.parse import quote

MIB = 1 << 20
GIB = 1 << 30
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# A process that ends like this met a bug: a Rust panic, or a signal such as SIGABRT.
CRASH_CODES = {101, 134, 139}


class Trouble(Exception):
    """The check cannot go on."""


class Unanswered(Exception):
    """The connection broke before the whole answer was there: nobody knows whether the request was done."""


def find_binary(given):
    """The node to test: the one given, or the release build."""
    target = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
    path = os.path.abspath(given or os.path.join(target, "release", "boveda"))
    if not os.access(path, os.X_OK):
        sys.exit(f"{path} is not there: run 'cargo build --release' first, or name the binary with --binary")
    return path


def crashed(code):
    """Whether an exit code (as subprocess gives it) tells of a panic or a signal."""
    return code is not None and (code < 0 or code in CRASH_CODES)


def show_bytes(count):
    for unit, size in (("GiB", GIB), ("MiB", MIB), ("KiB", 1024)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def wait_for(test, seconds, what):
    """Asks until the answer is true; the answer. Raises when the deadline passes."""
    end = time.monotonic() + seconds
    while True:
        answer = test()
        if answer:
            return answer
        if time.monotonic() > end:
            raise Trouble(f"not within {seconds} s: {what}")
        time.sleep(0.02)


_taken = set()


def free_port():
    """A port for a listener that others must know beforehand: below the range that clients draw from."""
    for _ in range(1000):
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in _taken:
            _taken.add(port)
            return port
    raise Trouble("no free port between 20000 and 30000")


# ---------------------------------------------------------------------------------------- report


class Report:
    """Lines for a person; remembers what failed."""

    def __init__(self):
        self.failures = []
        self.lock = threading.Lock()

    def say(self, text):
        with self.lock:
            print(text, flush=True)

    def title(self, text):
        self.say(f"\n== {text}")

    def figure(self, name, value):
        self.say(f"   {name:<58} {value}")

    def require(self, holds, text):
        """One thing that must hold; told only when it does not."""
        if not holds:
            self.failures.append(text)
            if len(self.failures) <= 40:
                self.say(f"   FAILED: {text}")
        return bool(holds)


# ------------------------------------------------------------------------------------- workspace


class Workspace:
    """A temporary directory, the nodes that run in it, and what else must be undone."""

    def __init__(self, binary, parent=None, keep=False):
        self.binary = binary
        self.dir = tempfile.mkdtemp(prefix="boveda-accept-", dir=parent)
        self.nodes = []
        self.undo = []
        self.keep = keep
        self.closed = False
        atexit.register(self.close)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def close(self):
        if self.closed:
            return
        self.closed = True
        for node in self.nodes:
            node.kill()
        for step in reversed(self.undo):
            try:
                step()
            except Exception as error:  # the other steps must still run
                print(f"   clean-up: {error}", flush=True)
        if not self.keep:
            shutil.rmtree(self.dir, ignore_errors=True)

    def new_keys(self, name="keys"):
        """A key directory with one ring."""
        keys = self.path(name)
        made = run([self.binary, "key", "new", "--key-dir", keys])
        if made.returncode != 0:
            raise Trouble(f"boveda key new: exit {made.returncode}: {made.stderr.strip()}")
        return keys

    def node(self, name, keys, **more):
        node = Node(self, name, keys, **more)
        self.nodes.append(node)
        return node

    def cluster(self, size, keys, env=None):
        """Nodes that know each other, not started."""
        ports = [free_port() for _ in range(size)]
        peers = {f"n{i + 1}": f"http://127.0.0.1:{port}" for i, port in enumerate(ports)}
        return [
            self.node(f"n{i + 1}", keys, peer_port=port, peers=peers, http_port=free_port(), env=env)
            for i, port in enumerate(ports)
        ]


def run(command, timeout=600, **more):
    """A command to its end, its output as text."""
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=timeout, **more
    )


def end_on_signals():
    """SIGTERM and SIGHUP end the script the way an exception does, so that everything is undone."""

    def stop(number, _):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


# ------------------------------------------------------------------------------------------ node


class Node:
    """One process on one data directory; it may be killed and started again any number of times."""

    def __init__(self, space, name, keys, data=None, http_port=0, peer_port=0, peers=None, env=None):
        self.space, self.name, self.keys = space, name, keys
        self.data = data or space.path(f"data-{name}")
        self.http_port, self.peer_port = http_port, peer_port
        self.peers = peers or {}
        self.env = dict(env or {})
        self.log = space.path(f"{name}.log")
        self.process = None
        self.address = None
        self.starts = 0
        self.lock = threading.RLock()

    def environment(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith("BOVEDA_")}
        env.update({"RUST_BACKTRACE": "1", "BOVEDA_NODE_LOG": "warn"})
        env.update(self.env)
        return env

    def command(self):
        command = [self.space.binary, "serve", "--name", self.name, "--data", self.data, "--key-dir", self.keys]
        command += ["--listen", f"127.0.0.1:{self.http_port}", "--s3-listen", "127.0.0.1:0"]
        command += ["--peer-listen", f"127.0.0.1:{self.peer_port}"]
        for name, url in self.peers.items():
            command += ["--peer", f"{name}={url}"]
        return command

    def launch(self):
        """Starts the process; does not wait until it serves."""
        with self.lock:
            if self.process and self.process.poll() is None:
                raise Trouble(f"{self.name} runs already")
            self.forget_address()
            self.log_from = os.path.getsize(self.log) if os.path.exists(self.log) else 0
            with open(self.log, "ab") as log:
                self.process = subprocess.Popen(
                    self.command(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self.environment(),
                    cwd=self.space.dir,
                )
            self.starts += 1

    def forget_address(self):
        self.address = None
        try:
            os.unlink(os.path.join(self.data, "addresses.json"))
        except OSError:
            pass  # not there yet; or the disk below is gone, and the start will tell

    def start(self, seconds=60):
        """Starts and waits until it serves. Raises when it ends instead."""
        began = time.monotonic()
        self.launch()
        if not self.serves(seconds):
            raise Trouble(f"{self.name} did not start: exit {self.process.returncode}: {self.said()}")
        return time.monotonic() - began

    def serves(self, seconds=60):
        """Waits for the launched process: True when it serves, False when it ended."""
        process = self.process

        def look():
            if process.poll() is not None:
                return "ended"
            if not self.address:
                try:
                    with open(os.path.join(self.data, "addresses.json"), encoding="utf-8") as file:
                        self.address = json.load(file)["http"].removeprefix("http://").rstrip("/")
                except (OSError, ValueError, KeyError):
                    return None
            try:
                status, _, _ = Client(self, timeout=5).request("GET", "/healthz")
                return "serves" if status == 200 else None
            except Unanswered:
                return None

        try:
            return wait_for(look, seconds, f"{self.name} serves") == "serves"
        except Trouble as late:
            raise Trouble(f"{late}: {self.said()}") from None

    def said(self, lines=3):
        """The last lines that it logged in this life."""
        try:
            with open(self.log, "rb") as file:
                file.seek(getattr(self, "log_from", 0))
                text = file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""
        return " | ".join(text.splitlines()[-lines:])

    def panics(self):
        """Lines of its whole log that tell of a panic."""
        try:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                return [line.strip() for line in file if "panicked at" in line]
        except OSError:
            return []

    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL, and waits for the end. Does nothing to a process that has ended."""
        with self.lock:
            if self.process is None:
                return None
            if self.process.poll() is None:
                self.process.kill()
            return self.process.wait(30)

    def stop(self, seconds=60):
        """SIGTERM; the exit code."""
        with self.lock:
            if self.process.poll() is None:
                self.process.terminate()
            try:
                return self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise Trouble(f"{self.name} did not stop within {seconds} s of SIGTERM") from None

    def verify(self, data=None, timeout=600):
        """The offline check of its data directory."""
        command = [self.space.binary, "verify", "--data", data or self.data, "--key-dir", self.keys]
        return run(command, timeout=timeout, env=self.environment(), cwd=self.space.dir)

    def peak_bytes(self):
        """The most memory it held since `reset_peak`."""
        return self.status_field("VmHWM")

    def resident_bytes(self):
        return self.status_field("VmRSS")

    def status_field(self, field):
        with open(f"/proc/{self.pid()}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) * 1024
        raise Trouble(f"no {field} of process {self.pid()}")

    def reset_peak(self):
        with open(f"/proc/{self.pid()}/clear_refs", "w", encoding="ascii") as file:
            file.write("5")

    def cpu_seconds(self):
        """Time on a core so far, of all its threads, to the nanosecond."""
        total = 0
        for path in glob.glob(f"/proc/{self.pid()}/task/*/schedstat"):
            try:
                with open(path, encoding="ascii") as file:
                    total += int(file.read().split()[0])
            except OSError:
                pass  # a thread that ended meanwhile
        return total / 1e9

    def metrics(self):
        """Sample name with labels -> value."""
        status, _, body = Client(self).request("GET", "/metrics")
        if status != 200:
            raise Trouble(f"/metrics of {self.name}: {status}")
        samples = {}
        for line in body.decode().splitlines():
            if line and not line.startswith("#"):
                name, _, value = line.rpartition(" ")
                samples[name] = float(value)
        return samples


# ---------------------------------------------------------------------------------------- client


class Client:
    """One kept connection to one node. Not for two threads at once."""

    def __init__(self, node, timeout=60):
        self.node, self.timeout = node, timeout
        self.connection = None
        self.to = None

    def request(self, method, path, body=None, headers=None):
        """(status, headers, body), or `Unanswered`."""
        address = self.node.address
        if not address:
            raise Unanswered("not up")
        if self.connection is None or self.to != address:
            self.close()
            host, _, port = address.rpartition(":")
            self.connection = http.client.HTTPConnection(host, int(port), timeout=self.timeout)
            self.to = address
        try:
            self.connection.request(method, path, body=body, headers=headers or {})
            answer = self.connection.getresponse()
            data = answer.read()
            if answer.will_close:
                self.close()
            return answer.status, answer.headers, data
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise Unanswered(str(error) or type(error).__name__) from error

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


def object_path(bucket, key):
    return f"/v1/objects/{quote(bucket, safe='')}/{quote(key, safe='')}"


def done_in_time(act, what, seconds=30):
    """Asks again while the answer is 503 (a cluster that forms, a peer that comes back); any other refusal raises."""
    end = time.monotonic() + seconds
    while True:
        status, headers, body = act()
        if is_done(status):
            return status, headers, body
        if status != 503 or time.monotonic() > end:
            raise Trouble(f"{what}: {status} {body[:200]!r}")
        time.sleep(0.1)


def make_bucket(client, bucket):
    done_in_time(lambda: client.request("PUT", f"/v1/buckets/{bucket}"), f"PUT bucket {bucket}")


def is_done(status):
    return 200 <= status < 300


def sha(data):
    return hashlib.sha256(data).hexdigest()


def body_of(seed, size):
    """The same bytes for the same seed."""
    return random.Random(seed).randbytes(size)


def in_threads(jobs):
    """Runs all, raises the first error of any."""
    errors = []

    def guarded(job):
        try:
            job()
        except BaseException as error:  # handed to the caller
            errors.append(error)

    threads = [threading.Thread(target=guarded, args=(job,), daemon=True) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def tree_files(directory):
    """All files below, as paths from it, in order."""
    found = []
    for folder, _, names in os.walk(directory):
        found += [os.path.relpath(os.path.join(folder, name), directory) for name in names]
    return sorted(found)
