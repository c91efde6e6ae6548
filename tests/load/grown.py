"""What is measured of one side as it grows: writes, reads, pages, restarts, memory and disk.

What must stay true
- An object has a number, which gives its key and its bytes: `growth_driver.rs` says how. A side holds the numbers below
  `count` and nothing else, so that every page is known before it is asked for.
- What a row was to ask for is in it, whole: an answer that is missing, or another one, is its trouble.
- What a write puts off (the index, the other nodes) is waited for, so that it is in that write's price.
"""

import http.client
import json
import os
import signal
import subprocess
import threading
import time
import urllib.parse

import servers
from drive import BUCKET, Machine
from servers import Trouble
from volume import Volume, used_bytes

FOLDERS, BODY_BYTES, PAGE_KEYS = 1000, 1024, 1000
CONNECTIONS = 64
# For the index to take in what the log holds, and a little to spare.
SETTLE_S_MAX = 30
PAGE_S_MAX, PAGE_TURNS_MAX, PAGE_TURNS_MIN = 8.0, 20, 3
MASK = (1 << 64) - 1


def mixed(n):
    z = (n + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def folder_keys(folder, count):
    """The keys of a folder in order, when there are `count` objects in all."""
    return sorted(f"folder-{folder:03}/{mixed(n):016x}" for n in range(folder, count, FOLDERS))


def first_keys(folder, count, limit):
    """The first keys in order, from that folder on."""
    keys = []
    while len(keys) < limit and folder < FOLDERS:
        keys += folder_keys(folder, count)
        folder += 1
    return keys[:limit]


def last_keys(count, limit):
    keys, folder = [], FOLDERS
    while len(keys) < limit and folder:
        folder -= 1
        keys = folder_keys(folder, count) + keys
    return keys[-limit:]


def page_queries(count):
    """Name, query, and the keys or the number of prefixes that have to come."""
    end = last_keys(count, PAGE_KEYS + 1)
    middle = f"folder-{FOLDERS // 2:03}/"
    deep = {"after": end[0]} if len(end) > PAGE_KEYS else {}
    return [
        ("first", {}, first_keys(0, count, PAGE_KEYS), 0),
        ("middle", {"after": middle}, first_keys(FOLDERS // 2, count, PAGE_KEYS), 0),
        ("deep", deep, end[-PAGE_KEYS:], 0),
        ("prefixes", {"delimiter": "/"}, [], min(FOLDERS, count)),
        ("empty", {"prefix": "nothing-begins-so"}, [], 0),
    ]


def percentile(sorted_values, part):
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * part))]


class Driver:
    """Runs the driver, and makes rows of what it says."""

    def __init__(self, binary):
        self.binary = binary

    def begin(self, *words):
        return subprocess.Popen([self.binary, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)

    def end(self, child):
        try:
            said, _ = child.communicate()
        except BaseException:
            child.kill()
            child.wait()
            raise
        if child.returncode != 0:
            raise Trouble(f"the driver ended with {child.returncode}")
        return json.loads(said)

    def run(self, *words):
        return self.end(self.begin(*words))


def rate(row):
    row["per_s"] = row["answered"] / row["seconds"] if row["seconds"] else 0
    return row


class Grown:
    """One side: the nodes of a binary on a file system of their own."""

    is_ours = True

    def __init__(self, driver, binary, place, name, nodes, size, ceiling, checkpoint_s):
        self.driver, self.binary, self.name, self.nodes = driver, binary, name, nodes
        self.volume = Volume(place, name, size, 1 << 16)
        self.settings = {"BOVEDA_STORE_CHECKPOINT_INTERVAL": f"{checkpoint_s}s", "BOVEDA_MEMORY_CEILING": ceiling}
        self.cluster, self.count = None, 0

    def __enter__(self):
        self.volume.__enter__()
        try:
            place = os.path.join(self.volume.mount, "nodes")
            self.cluster = servers.Cluster(self.binary, place, self.nodes, self.name, settings=self.settings)
            self.cluster.start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.cluster:
            self.cluster.__exit__()
        self.volume.__exit__()

    def settle(self):
        """Waits until the other nodes have all, and the index has what the log holds."""
        self.cluster.settle()
        deadline = time.monotonic() + SETTLE_S_MAX
        while time.monotonic() < deadline:
            # A node keeps a little of itself in the log: members, cursors.
            if all(value < 100 for name, value in self.cluster.metrics() if name == "boveda_store_overlay_records"):
                return
            time.sleep(0.2)
        raise Trouble(f"{self.name}: the index is behind the log for {SETTLE_S_MAX} s")

    def measured(self, kind, work, settles=False):
        """A row of what `work` says, with what it cost."""
        machine, cpu = Machine(), self.cluster.cpu()
        written = self.volume.written() if settles else 0
        row = rate(work())
        if settles:
            self.settle()
        used = self.cluster.cpu() - cpu
        row.update(side=self.name, kind=kind, count=self.count, others=machine.others_since(used))
        row["cpu_us"] = used / row["answered"] * 1e6 if row["answered"] else None
        if settles:
            row["device_bytes"] = (self.volume.written() - written) / max(1, row["answered"]) / self.nodes
        self.cluster.check_alive()
        return row

    def put(self, more, kind="put", settles=True):
        begin, end = self.count, self.count + more
        self.count = end
        row = self.measured(kind, lambda: self.driver.run("put", self.cluster.http, CONNECTIONS, begin, end), settles)
        row["began"] = begin
        if row["answered"] != more:
            row["trouble"] = row["trouble"] or f"{row['answered']} of {more} were answered"
        return row

    def get(self, seconds):
        return self.measured("get", lambda: self.driver.run("random", self.cluster.http, CONNECTIONS, self.count, seconds))

    def warm(self, seconds):
        self.driver.run("random", self.cluster.http, CONNECTIONS, self.count, seconds)

    def read_all(self):
        """Reads every object; returns what is wrong, or nothing."""
        row = self.driver.run("get", self.cluster.http, CONNECTIONS, 0, self.count)
        return row["trouble"] or (None if row["answered"] == self.count else f"{row['answered']} of {self.count} were read")

    def ask(self, query):
        connection = http.client.HTTPConnection(self.cluster.http, timeout=120)
        try:
            begin = time.monotonic()
            connection.request("GET", f"/v1/objects/{BUCKET}?{urllib.parse.urlencode(query)}")
            answer = connection.getresponse()
            text = answer.read()
            took = time.monotonic() - begin
        finally:
            connection.close()
        if answer.status != 200:
            raise Trouble(f"{self.name}: a page was answered {answer.status} {text[:200]!r}")
        return took, json.loads(text)

    def page(self, name, query, keys, prefixes):
        """One kind of page, asked for again and again."""
        took, trouble, cpu, begin = [], None, self.cluster.cpu(), time.monotonic()
        while len(took) < PAGE_TURNS_MIN or (len(took) < PAGE_TURNS_MAX and time.monotonic() - begin < PAGE_S_MAX):
            seconds, page = self.ask({"limit": PAGE_KEYS, **query})
            took.append(seconds * 1e3)
            # A page of many prefixes may end early, and says so: what it holds is right, and the rest is asked for.
            while page["next"] and len(page["prefixes"]) < prefixes:
                seconds, more = self.ask({"limit": PAGE_KEYS - len(page["prefixes"]), **query, "after": page["next"]})
                took[-1] += seconds * 1e3
                page["prefixes"] += more["prefixes"]
                page["next"] = more["next"]
            if [o["key"] for o in page["objects"]] != keys or len(set(page["prefixes"])) != prefixes:
                trouble = f"the page {name} has {len(page['objects'])} keys and {len(page['prefixes'])} prefixes, or others"
            elif any(o["size"] != BODY_BYTES for o in page["objects"]):
                trouble = f"the page {name} has an object of another length"
        cpu_ms = (self.cluster.cpu() - cpu) / len(took) * 1e3
        took.sort()
        return {"side": self.name, "kind": "page", "page": name, "count": self.count, "turns": len(took),
                "p50_ms": percentile(took, 0.5), "max_ms": took[-1], "cpu_ms": cpu_ms, "trouble": trouble}

    def walk(self):
        """Every key, page after page: as many as there have to be, each of the right length and in order."""
        begin, count, after, last, trouble = time.monotonic(), 0, "", "", None
        while after is not None:
            _, page = self.ask({"limit": PAGE_KEYS, "after": after})
            names = [o["key"] for o in page["objects"]]
            if names != sorted(names) or (names and names[0] <= last) or any(o["size"] != BODY_BYTES for o in page["objects"]):
                trouble = "keys out of order, or of another length"
            count, after, last = count + len(names), page["next"], names[-1] if names else last
        if count != self.count:
            trouble = f"{count} keys are listed of {self.count}"
        seconds = time.monotonic() - begin
        return {"side": self.name, "kind": "walk", "count": self.count, "seconds": seconds, "per_s": count / seconds, "trouble": trouble}

    def restart(self):
        """Ends the first node in order and starts it again."""
        self.settle()
        stop = self.cluster.end(0)
        ready = self.cluster.begin_again(0)
        return {"side": self.name, "kind": "restart", "count": self.count, "stop_s": stop, "ready_s": ready, "trouble": None}

    def killed(self, most, after_s):
        """Kills the first node under writes and starts it again: whatever was answered has to be there."""
        first = self.count
        child = self.driver.begin("put", self.cluster.http, CONNECTIONS, first, first + most)
        killer = threading.Timer(after_s, self.cluster.end, (0, signal.SIGKILL))
        killer.start()
        said = self.driver.end(child)
        killer.join()
        ready = self.cluster.begin_again(0)
        # What was under way may be there or not: it is written again, and then all of it is read.
        self.count = said["next"]
        trouble = None
        for n in said["failed"]:
            trouble = trouble or self.driver.run("put", self.cluster.http, 1, n, n + 1)["trouble"]
        read = self.driver.run("get", self.cluster.http, CONNECTIONS, first, self.count)
        if read["answered"] != self.count - first:
            trouble = trouble or f"answered before the kill and not there: {read['trouble']}"
        if not said["answered"]:
            trouble = trouble or "nothing was written before the kill"
        self.settle()
        return {"side": self.name, "kind": "kill", "count": self.count, "answered": said["answered"], "ready_s": ready, "trouble": trouble}

    def held(self):
        """Memory and disk, by object and node."""
        self.settle()
        per_entry = {}
        for n in range(self.nodes):
            for entry in os.scandir(self.cluster.data_dir(n)):
                per_entry[entry.name] = per_entry.get(entry.name, 0) + used_bytes(entry.path)
        by = self.count * self.nodes
        # The log is a ring of a fixed length: no object makes it longer.
        total = sum(size for name, size in per_entry.items() if name != "log")
        return {"side": self.name, "kind": "held", "count": self.count, "rss_mib": max(self.cluster.rss_mib()),
                "peak_mib": self.cluster.peak_mib(), "disk_bytes": total / by, "index_bytes": per_entry.get("index", 0) / by,
                "entries": per_entry, "trouble": None}


class Plain:
    """nginx over the same bytes as plain files, on a file system of its own."""

    name, is_ours = "nginx", False

    def __init__(self, driver, binary, place, most):
        self.driver, self.binary = driver, binary
        self.volume = Volume(place, "plain", most * 3 * 4096 // 2 + (1 << 30), most + most // 8 + (1 << 14))
        self.server, self.count = None, 0

    def __enter__(self):
        self.volume.__enter__()
        try:
            root = os.path.join(self.volume.mount, "root")
            os.makedirs(root)
            self.root = root
            self.server = servers.Nginx(self.binary, self.volume.mount, root).__enter__()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.server:
            self.server.__exit__()
        self.volume.__exit__()

    def grow(self, count):
        self.driver.run("files", self.root, self.count, count)
        self.count = count
        self.volume.written()

    def warm(self, seconds):
        self.driver.run("random", self.server.http, CONNECTIONS, self.count, seconds)

    def get(self, seconds):
        machine, cpu = Machine(), self.server.cpu()
        row = rate(self.driver.run("random", self.server.http, CONNECTIONS, self.count, seconds))
        used = self.server.cpu() - cpu
        row.update(side=self.name, kind="get", count=self.count, others=machine.others_since(used))
        row["cpu_us"] = used / row["answered"] * 1e6 if row["answered"] else None
        return row
