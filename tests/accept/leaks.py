"""Acceptance point 6: nothing readable in a used data directory, neither in bytes nor in names of files.

What must stay true: the search is shown to find what is there (a blob's magic, a name that is planted) in each run;
a search that finds nothing because it looks at nothing proves nothing.
"""

import base64
import glob
import json
import mmap
import os
import random
import shutil
import socket
from urllib.parse import quote

from lib import MIB, Client, Trouble, body_of, done_in_time, make_bucket, object_path, run, tree_files, wait_for

WORD = "Zafiro"  # part of every secret below, so that a hit can be no chance
BLOB_MAGIC = b"BVD1"


def shapes(text):
    """A word as it might stand somewhere: plain, percent-encoded, hexadecimal, base64. UTF-16 is what `halves` is for."""
    raw = text.encode()
    yield raw
    yield quote(text, safe="").encode()
    yield raw.hex().encode()
    yield raw.hex().upper().encode()
    # Base64 of a text inside a longer one depends on where it begins: what is the same for all three places.
    for shift in range(3):
        whole = base64.b64encode(b"\0" * shift + raw)
        inner = whole[4 if shift else 0:].rstrip(b"=")[:-1]
        if len(inner) >= 8:
            yield inner


def plaintext(i, size):
    """Text all through, with the mark in it again and again, so that any piece that is left open is found."""
    line = f"{WORD}-plaintext-{i:04} the quick brown fox keeps a secret; ".encode()
    return (line * (size // len(line) + 1))[:size]


class Secrets:
    """What was given to the store and must not be found."""

    def __init__(self):
        self.words = {}
        self.raw = {}

    def add(self, kind, *texts):
        for text in texts:
            self.words[text] = kind

    def needles(self):
        """bytes -> what it is."""
        found = {}
        for text, kind in self.words.items():
            for shape in shapes(text):
                if len(shape) >= 6:
                    found[shape] = f"{kind} {text!r}"
        found.update(self.raw)
        return found


def search_bytes(directories, needles, space):
    """(file, what) for each needle in each file. grep for the patterns of text, mmap for those with a newline or zero."""
    lines = sorted(n for n in needles if b"\n" not in n and b"\0" not in n)
    others = [n for n in needles if n not in set(lines)]
    patterns = space.path("patterns")
    with open(patterns, "wb") as file:
        file.write(b"\n".join(lines) + b"\n")
    hits = []
    for directory in directories:
        env = dict(os.environ, LC_ALL="C")
        found = run(["grep", "-r", "-a", "-F", "-l", "-D", "skip", "-f", patterns, directory], env=env)
        if found.returncode > 1:
            raise Trouble(f"grep: {found.stderr.strip()}")
        for path in found.stdout.splitlines():
            with open(path, "rb") as file:
                data = file.read()
            what = [needles[n] for n in lines if n in data]
            hits += [(path, w) for w in what or ["grep says so"]]
        hits += search_halves(directory, patterns, lines, needles, space)
        for name in tree_files(directory) if others else []:
            path = os.path.join(directory, name)
            if os.path.getsize(path) == 0:
                continue
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                hits += [(path, needles[n]) for n in others if view.find(n) >= 0]
    os.unlink(patterns)
    return hits


def search_halves(directory, patterns, lines, needles, space):
    """Every other byte of each file, from the first and from the second: where UTF-16 reads as plain text."""
    halves = space.path("halves")
    os.makedirs(halves)
    names = tree_files(directory)
    for i, name in enumerate(names):
        with open(os.path.join(directory, name), "rb") as file:
            data = file.read()
        for half in (0, 1):
            with open(os.path.join(halves, f"{i}-{half}"), "wb") as file:
                file.write(data[half::2])
    found = run(["grep", "-r", "-a", "-F", "-l", "-f", patterns, halves], env=dict(os.environ, LC_ALL="C"))
    if found.returncode > 1:
        raise Trouble(f"grep: {found.stderr.strip()}")
    hits = []
    for path in found.stdout.splitlines():
        with open(path, "rb") as file:
            data = file.read()
        name = names[int(os.path.basename(path).split("-")[0])]
        hits += [(os.path.join(directory, name), f"{needles[n]} in UTF-16") for n in lines if n in data]
    shutil.rmtree(halves)
    return hits


def search_names(directories, needles):
    hits = []
    for directory in directories:
        for name in tree_files(directory):
            hits += [(name, what) for needle, what in needles.items() if needle in os.fsencode(name)]
    return hits


def fill(node, secrets, bucket, first, count):
    """Objects of all kinds: inline and blob, overwritten, deleted, with a type and metadata."""
    client = Client(node)
    rng = random.Random(first)
    for i in range(first, first + count):
        size = rng.choice([0, 1, 40, 300, 4000, 60_000, 65_536, 70_000, 300_000, 2_500_000])
        key = f"{WORD}-carpeta/{'ñandú ' if i % 3 else ''}objeto-{i:04}.pdf"
        content_type = f"application/x-{WORD.lower()}-type-{i % 5}"
        meta = f"{WORD}-meta-value-{i:04}"
        headers = {"Content-Type": content_type, "x-boveda-meta-zafiro-owner": meta}
        text = plaintext(i, size)
        path = object_path(bucket, key)
        _, answer, _ = done_in_time(lambda: client.request("PUT", path, text, headers), f"PUT {key}")
        secrets.add("object name", key, f"objeto-{i:04}")
        secrets.add("content type", content_type)
        secrets.add("metadata", meta, "zafiro-owner")
        secrets.add("plaintext", f"{WORD}-plaintext-{i:04}")
        etag = (answer.get("ETag") or "").strip('"')
        if len(etag) >= 12:
            secrets.add("ETag", etag)
        if i % 4 == 1:
            text = plaintext(i + 5000, size // 2 + 50)
            done_in_time(lambda: client.request("PUT", path, text, headers), f"overwriting {key}")
            secrets.add("plaintext", f"{WORD}-plaintext-{i + 5000:04}")
        if i % 5 == 2:
            done_in_time(lambda: client.request("DELETE", path), f"DELETE {key}")
    # The notebook's route, whose names and types come from a form.
    name = f"{WORD}-cargado-{first}.txt"
    path = node.space.path("form-file")
    with open(path, "wb") as file:
        file.write(plaintext(9000 + first, 100_000))
    done = run(["curl", "-sSf", "-F", f"archivo=@{path};filename={name};type=text/x-{WORD}", f"http://{node.address}/cargar"])
    if done.returncode != 0:
        raise Trouble(f"POST /cargar: {done.stderr.strip()}")
    os.unlink(path)
    secrets.add("object name", name)
    secrets.add("content type", f"text/x-{WORD}")
    secrets.add("plaintext", f"{WORD}-plaintext-{9000 + first:04}")


def look(report, space, when, directories, secrets):
    needles = secrets.needles()
    in_bytes = search_bytes(directories, needles, space)
    in_names = search_names(directories, needles)
    files = sum(len(tree_files(d)) for d in directories)
    size = sum(os.path.getsize(os.path.join(d, f)) for d in directories for f in tree_files(d))
    report.figure(f"{when}: {len(needles)} patterns", f"{files} files, {size / MIB:.0f} MiB, {len(in_bytes) + len(in_names)} found")
    for path, what in (in_bytes + in_names)[:10]:
        report.require(False, f"{when}: {what} stands in {os.path.relpath(path, space.dir)}")
    return in_bytes


def prove(report, space, directories, secrets):
    """The same search, where there is something to find."""
    blobs = [os.path.join(d, f) for d in directories for f in tree_files(d) if f.startswith(("blobs/", "segments/"))]
    with_magic = {path for path, _ in search_bytes(directories, {BLOB_MAGIC: "a blob's magic"}, space)}
    report.require(blobs and set(blobs) <= with_magic, "the search misses the magic in blobs: it proves nothing")
    planted = space.path("planted")
    os.makedirs(planted)
    needles = secrets.needles()
    for i, needle in enumerate(needles):
        with open(os.path.join(planted, f"{i}"), "wb") as file:
            file.write(os.urandom(5000) + needle + os.urandom(5000))
    for i, needle in enumerate(n for n in needles if n.isascii()):
        with open(os.path.join(planted, f"wide-{i}"), "wb") as file:
            file.write(os.urandom(5001) + needle.decode().encode("utf-16-le" if i % 2 else "utf-16-be") + os.urandom(5000))
    found = {path for path, _ in search_bytes([planted], needles, space)}
    hidden = len(needles) + sum(1 for n in needles if n.isascii())
    report.require(len(found) == hidden, f"of {hidden} planted patterns the search finds {len(found)}")
    report.figure("the search can find: blobs by their magic, planted patterns", f"{len(set(blobs) & with_magic)}, {len(found)}")


def check(report, space, quick):
    keys = space.new_keys()
    nodes = space.cluster(2, keys)
    for node in nodes:
        node.start()
    secrets = Secrets()
    bucket = f"{WORD.lower()}-deposito"
    make_bucket(Client(nodes[0]), bucket)
    secrets.add("bucket name", bucket)
    for path in glob.glob(os.path.join(keys, "kek-*")):
        with open(path, "rb") as file:
            raw = file.read()
        secrets.raw[raw] = "the raw key"
        secrets.raw[raw.hex().encode()] = "the key in hexadecimal"
        secrets.raw[base64.b64encode(raw).rstrip(b"=")] = "the key in base64"
    count = 40 if quick else 150
    directories = [node.data for node in nodes]
    fill(nodes[0], secrets, bucket, 0, count)
    look(report, space, "while running", directories, secrets)
    wait_for(lambda: _count(nodes[1], bucket) == _count(nodes[0], bucket) > 0, 60, "the second node has it all")
    for node in nodes:
        node.kill()
    look(report, space, "after kill -9", directories, secrets)
    for node in nodes:
        node.start()
    fill(nodes[1], secrets, bucket, 1000, count)
    # An upload that breaks off in the middle leaves a staged file behind when the node is killed right then.
    _abandon(nodes[0], bucket, secrets)
    nodes[0].kill()
    look(report, space, "killed in mid-upload", directories, secrets)
    nodes[0].start()
    for node in nodes:
        node.stop()
    look(report, space, "after restart and a clean stop", directories, secrets)
    prove(report, space, directories, secrets)
    for node in nodes:
        report.require(not node.panics(), f"panics: {node.panics()[:3]}")


def _count(node, bucket):
    status, _, body = Client(node).request("GET", f"/v1/objects/{bucket}?limit=1000")
    return len(json.loads(body)["objects"]) if status == 200 else -1


def _abandon(node, bucket, secrets):
    host, _, port = node.address.rpartition(":")
    key = f"{WORD}-abandonado"
    secrets.add("object name", key)
    secrets.add("plaintext", f"{WORD}-plaintext-7777")
    link = socket.create_connection((host, int(port)), timeout=30)
    head = f"PUT {object_path(bucket, key)} HTTP/1.1\r\nHost: x\r\nContent-Length: {64 * MIB}\r\n\r\n"
    link.sendall(head.encode() + plaintext(7777, 20 * MIB))
    staged = os.path.join(node.data, "staged")
    wait_for(lambda: any(os.path.getsize(os.path.join(staged, f)) > MIB for f in os.listdir(staged)), 30, "a staged file")
    node.space.undo.append(link.close)
