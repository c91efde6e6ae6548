"""Passes, their single checks, and how one check says that something is not as it should be.

What must stay true
- Every check has a name of its own within its pass; `expected.py` speaks of checks by pass and name.
- A check that raises anything has failed: there is no exception that is passed over.
- A check makes what it needs, in buckets that no other check of another pass touches.
"""

import dataclasses
import hashlib
import os
import random
import subprocess

COMMAND_S_MAX = 180


class Wrong(Exception):
    """What was got is not what has to be."""


class Skip(Exception):
    """The check cannot be made here; it says why."""


@dataclasses.dataclass
class At:
    """Where a pass works, and as whom."""

    name: str
    endpoint: str
    key_id: str
    secret: str
    place: str
    # File of the authority that signed the nodes' certificates; None over http.
    ca: str | None
    # Of this run, in the names of buckets: an endpoint may have those of an earlier one.
    run: str
    # None where an endpoint was given.
    cluster: object = None
    node: object = None
    short: bool = False
    # A node is killed meanwhile: clients try again, as they do by default.
    kill: bool = False

    @property
    def host(self):
        return self.endpoint.split("://", 1)[1]

    @property
    def is_tls(self):
        return self.endpoint.startswith("https:")

    def bucket(self, what):
        return f"{self.run}-{self.name.split(':')[0]}-{what}"

    def path(self, *names):
        """A path in the directory of this pass; what leads there is made."""
        path = os.path.join(self.place, *names)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def environment(self, **more):
        """What a client's process is given: nothing of the user's own configuration, and no proxy."""
        home = self.path("home", ".")
        given = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "LANG": "C.UTF-8",
            "NO_PROXY": "*",
            "AWS_ACCESS_KEY_ID": self.key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.path.join(home, "none"),
            "AWS_SHARED_CREDENTIALS_FILE": os.path.join(home, "none"),
        }
        if self.ca:
            given |= {"AWS_CA_BUNDLE": self.ca, "SSL_CERT_FILE": self.ca, "NODE_EXTRA_CA_CERTS": self.ca}
        return given | more


class Pass:
    """One client: what it needs, and its checks in their order."""

    def __init__(self, name, packages=(), npm=False, deb=(), is_short=False):
        self.name, self.packages, self.npm, self.deb, self.is_short = name, packages, npm, deb, is_short
        self.checks = []

    def check(self, name, is_short=True, needs=None):
        """A check; with `is_short=False` it is left out of the short pass. `needs`: `kill` or `nodes`."""
        assert name not in [known for known, *_ in self.checks], name

        def add(function):
            self.checks.append((name, function, is_short, needs))
            return function

        return add

    def names(self, at):
        return [
            name
            for name, _, is_short, needs in self.checks
            if (is_short or not at.short) and (needs != "kill" or at.kill) and (needs != "nodes" or at.cluster)
        ]

    def only(self, text):
        """From now on it has only the checks whose name has this text."""
        self.checks = [check for check in self.checks if text in check[0]]

    def run(self, at):
        """One check after the other: its name, and what it raised or None."""
        wanted = self.names(at)
        for name, function, *_ in self.checks:
            if name not in wanted:
                continue
            try:
                function(at)
                yield name, None
            except Exception as error:  # whatever it is: the check failed
                yield name, error


def same(what, got, wanted):
    if got != wanted:
        raise Wrong(f"{what}: wanted {short(wanted)}, got {short(got)}")


def true(what, holds):
    if not holds:
        raise Wrong(what)


def short(value):
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:240]}... ({len(text)} characters)"


def command(words, env, cwd=None, stdin=None, fails=False):
    """Runs a client; what it printed. With `fails`: it has to end with another code than 0."""
    done = subprocess.run(words, env=env, cwd=cwd, input=stdin, capture_output=True, timeout=COMMAND_S_MAX)
    out, said = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    shown = " ".join([os.path.basename(words[0]), *words[1:]])
    if fails and done.returncode == 0:
        raise Wrong(f"{shown}: ended with 0, which it must not: {out[-200:]}")
    if not fails and done.returncode != 0:
        raise Wrong(f"{shown}: ended with {done.returncode}: {(said or out).strip()[-400:]}")
    return out + said if fails else out


def bytes_of(seed, length):
    """Bytes that do not compress, the same for the same seed."""
    return random.Random(f"{seed}/{length}").randbytes(length)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def file_of(path, seed, length):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
        file.write(bytes_of(seed, length))
    return path


# Names that clients quote, each in its own way, and lengths around what a node stores in different ways.
TREE = {
    "empty": 0,
    "one": 1,
    "kib": 1024,
    "inline max": 16 * 1024,
    "above inline": 16 * 1024 + 1,
    "dir/a b": 100_000,
    "dir/a+b": 65_536,
    "dir/percent %20": 65_537,
    "dir/deep/er/file.txt": 777,
    "dir/ünï-ß-日本.bin": 4096,
    "dir/mib": 1 << 20,
    "five mib": 5 << 20,
    "odd (1) & 'two'; [3] = $4, @5 #6!": 55,
}


def tree(place, seed, names=TREE):
    """A directory with files of these names and lengths."""
    for name, length in names.items():
        file_of(os.path.join(place, name), f"{seed}{name}", length)
    return place


def digests(place):
    """Path below the directory -> SHA-256 of the file, read piece by piece."""
    found = {}
    for directory, _, files in os.walk(place):
        for name in files:
            path = os.path.join(directory, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, place)] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def same_trees(one, other):
    a, b = digests(one), digests(other)
    if a != b:
        wrong = sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))
        raise Wrong(f"{len(wrong)} files differ or are on one side only: {wrong[:5]}")
