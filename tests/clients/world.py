"""Three nodes of one cluster on this machine, an access key to them, and certificates where they speak https.

What must stay true
- Every process is ended and the directory removed when the run ends, however it ends, unless it is to be kept.
- Only processes that were started here are ended, by their process id.
- Each node keeps its ports when it is started again: a client that tries again finds it.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time

NODES = 3
START_S_MAX = 30
STOP_S_MAX = 20
GRANT = "*:read,write,list,delete,admin"
# Before it a bucket may stand in the host.
DOMAIN = "s3.test"


class Trouble(Exception):
    """The run cannot go on; nothing is said about any client."""


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Node:
    """One node: its ports, its process, its directory."""

    def __init__(self, cluster, number):
        self.cluster, self.number, self.name = cluster, number, f"n{number}"
        self.data = os.path.join(cluster.place, self.name)
        self.log = os.path.join(cluster.place, f"{self.name}.log")
        self.peer_port, self.http_port, self.s3_port = free_port(), free_port(), free_port()
        self.process, self.s3 = None, None

    def command(self):
        words = [self.cluster.binary, "serve", "--data", self.data, "--key-dir", self.cluster.keys, "--name", self.name]
        words += ["--listen", f"127.0.0.1:{self.http_port}", "--s3-listen", f"127.0.0.1:{self.s3_port}"]
        words += ["--peer-listen", f"127.0.0.1:{self.peer_port}"]
        for node in self.cluster.nodes:
            words += ["--peer", f"{node.name}=http://127.0.0.1:{node.peer_port}"]
        if self.cluster.pki:
            words += ["--tls-cert", self.cluster.pki.cert, "--tls-key", self.cluster.pki.key]
        return words

    def start(self):
        """Begins it, or begins it again; nothing where it runs."""
        if self.process and self.process.poll() is None:
            return
        with open(self.log, "ab") as log:
            env = {**os.environ, "BOVEDA_S3_DOMAINS": DOMAIN}
            self.process = subprocess.Popen(self.command(), env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def connection(self, timeout=10):
        if self.cluster.pki:
            trust = ssl.create_default_context(cafile=self.cluster.pki.ca)
            return http.client.HTTPSConnection("127.0.0.1", self.http_port, timeout=timeout, context=trust)
        return http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)

    def ask(self, method, path, body=None, headers=None):
        """Status, headers in lower case, body: of port 5000's routes, as the owner of the access key once there is one."""
        given = dict(headers or {})
        if self.cluster.key_id:
            given["Authorization"] = f"Bearer {self.cluster.key_id}.{self.cluster.secret}"
        with contextlib.closing(self.connection()) as connection:
            connection.request(method, path, body=body, headers=given)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()

    def wait_ready(self):
        deadline, said = time.monotonic() + START_S_MAX, "it does not listen"
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Trouble(f"{self.name} ended with code {self.process.returncode}:\n{self.log_tail()}")
            try:
                status, _, body = self.ask("GET", "/readyz")
                said = f"/readyz says {status} {body[:200]!r}"
                if status == 200:
                    return self.learn_address()
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)
        raise Trouble(f"{self.name} is not ready after {START_S_MAX} s ({said}):\n{self.log_tail()}")

    def learn_address(self):
        with open(os.path.join(self.data, "addresses.json")) as file:
            addresses = json.load(file)
        if "s3" not in addresses:
            raise Trouble(f"{self.name} has no port for S3: addresses.json says {addresses}")
        self.s3 = f"{'https' if self.cluster.pki else 'http'}://{addresses['s3']}"

    def log_tail(self):
        with open(self.log, "rb") as log:
            return log.read()[-2000:].decode(errors="replace")


class Pki:
    """An authority made for this run, and a certificate of 127.0.0.1 that it signed."""

    def __init__(self, place):
        import trustme  # of the run's own venv

        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1", "localhost")
        self.ca, self.cert, self.key = (os.path.join(place, name) for name in ("ca.pem", "node.crt", "node.key"))
        authority.cert_pem.write_to_path(self.ca)
        issued.private_key_pem.write_to_path(self.key)
        for number, blob in enumerate(issued.cert_chain_pems):
            blob.write_to_path(self.cert, append=number > 0)
        os.chmod(self.key, 0o600)


class Cluster:
    """A context: three nodes that are ready, and an access key that may do everything."""

    def __init__(self, binary, is_tls, keep=False):
        self.binary, self.is_tls, self.keep = binary, is_tls, keep
        self.key_id = self.secret = self.pki = None
        self.nodes = []

    def __enter__(self):
        self.place = tempfile.mkdtemp(prefix="boveda-clients-")
        self.keys = os.path.join(self.place, "keys")
        try:
            self.pki = Pki(self.place) if self.is_tls else None
            self.said("key", "new", "--key-dir", self.keys)
            self.nodes = [Node(self, number) for number in range(1, NODES + 1)]
            for node in self.nodes:
                node.start()
            for node in self.nodes:
                node.wait_ready()
            self.make_key()
            return self
        except BaseException:
            self.__exit__()
            raise

    def said(self, *words):
        done = subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Trouble(f"boveda {' '.join(words[:2])}: {done.stderr.strip()}")
        return done.stdout

    def make_key(self):
        node = self.nodes[0]
        words = ["access", "create", "clients", "--grant", GRANT, "--json"]
        words += ["--url", f"{'https' if self.pki else 'http'}://127.0.0.1:{node.http_port}"]
        made = json.loads(self.said(*words, *(["--cacert", self.pki.ca] if self.pki else [])))
        self.key_id, self.secret = made["id"], made["secret"]

    def heal(self):
        """All nodes run and are ready."""
        for node in self.nodes:
            node.start()
        for node in self.nodes:
            node.wait_ready()

    def crashed(self):
        """Nodes that ended by themselves."""
        return [
            f"{node.name} ended with code {node.process.returncode}:\n{node.log_tail()}"
            for node in self.nodes
            if node.process.poll() not in (None, -signal.SIGKILL)
        ]

    def __exit__(self, *_):
        running = [node.process for node in self.nodes if node.process and node.process.poll() is None]
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if not self.keep:
            shutil.rmtree(self.place, ignore_errors=True)
