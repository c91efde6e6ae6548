"""What is asked of the servers, and what came of it.

What must stay true
- Both servers get the same requests for the same names, one right after the other.
- A row's CPU is what the server used from before the first request until it came to rest again.
- Which turn of a row counts is decided by what others used of the machine, never by what it shows.
- An answer that is not a 2xx, is missing, or has another length than the object makes its row invalid.
"""

import http.client
import json
import os
import random
import re
import resource
import subprocess
import time
import urllib.parse

import servers
from servers import Trouble

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BUCKET = "cargas"
# Enough objects that no server lives on one hot one, few enough that all are in memory in both.
SIZES = {"1 KiB": (KIB, 100), "64 KiB": (64 * KIB, 100), "1 MiB": (MIB, 10), "64 MiB": (64 * MIB, 4),
         "16 KiB": (16 * KIB, 10), "256 KiB": (256 * KIB, 10)}
# What one node is measured with; what a cluster costs; and what a cluster must take, by how many at once.
ROW_SIZES = ("1 KiB", "64 KiB", "1 MiB", "64 MiB")
COST_SIZES = ("1 KiB", "64 MiB")
TAKEN_SIZES, TAKEN_AT_ONCE = ("1 KiB", "16 KiB", "64 KiB", "256 KiB", "1 MiB"), (64, 256)
# The part of the machine that others may use before a row is called noisy.
OTHERS_MAX = 0.05
# Beyond the time of a cell: for requests under way at its end, and for a slow machine.
GRACE_S = 60


def noise(rows):
    """The largest part of the machine that others used during one of these rows."""
    return max(row["others"] for row in rows)


class Cell:
    """One method, one size, one number of connections."""

    def __init__(self, method, size, connections):
        self.method, self.size, self.connections = method, size, connections
        self.bytes, self.objects = SIZES[size]
        self.name = f"{method} {size} x{connections}"
        self.is_probed = self.name == "PUT 1 KiB x64"

    def slug(self):
        return self.size.replace(" ", "").lower()


def cells(nodes, only=None):
    """All cells, reads first: what is written later does not stand in their way."""
    out = []
    for method, many in (("GET", 4), ("PUT", 16)):
        for size in ROW_SIZES if nodes == 1 else COST_SIZES:
            out += [Cell(method, size, c) for c in (1, many if size == "64 MiB" else 64)]
    if nodes > 1:
        names = {cell.name for cell in out}
        taken = [Cell("PUT", size, c) for size in TAKEN_SIZES for c in TAKEN_AT_ONCE]
        out += [cell for cell in taken if cell.name not in names]
    return [cell for cell in out if not only or re.search(only, cell.name)]


class Files:
    """The objects, as files under the names by which both servers know them."""

    def __init__(self, root):
        self.root = root
        self.paths = {}

    def body(self, cell):
        return self.paths[cell.size][0]

    def put_into(self, address):
        connection = http.client.HTTPConnection(address, timeout=60)
        for paths in self.paths.values():
            for path in paths:
                target = "/" + os.path.relpath(path, self.root)
                with open(path, "rb") as body:
                    connection.request("PUT", target, body, {"Content-Length": str(os.path.getsize(path))})
                    answer = connection.getresponse()
                    said = answer.read()
                if answer.status not in (200, 201):
                    raise Trouble(f"PUT {target} was answered {answer.status} {said[:200]!r}")
        connection.close()


def make_files(root):
    files = Files(root)
    folder = os.path.join(root, "v1", "objects", BUCKET)
    os.makedirs(folder)
    noise = random.Random(1)
    for size, (length, count) in SIZES.items():
        slug = size.replace(" ", "").lower()
        width = len(str(count - 1))
        files.paths[size] = [os.path.join(folder, f"get-{slug}-{n:0{width}}") for n in range(count)]
        for path in files.paths[size]:
            with open(path, "wb") as f:
                for _ in range(0, length, MIB):
                    f.write(noise.randbytes(min(length, MIB)))
    return files


class Machine:
    """CPU seconds of the whole machine, ours and our ended children's: to see who else was at work."""

    def __init__(self):
        with open("/proc/stat") as f:
            ticks = [int(t) for t in f.readline().split()[1:9]]
        # Without idle and iowait; steal counts as somebody else's work.
        self.busy = (sum(ticks) - ticks[3] - ticks[4]) / servers.TICKS_PER_S
        self.ours = sum(
            sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)
        )
        self.at = time.monotonic()

    def others_since(self, server_cpu):
        """The part of the machine that neither the server nor the load generator used, since then."""
        now = Machine()
        foreign = (now.busy - self.busy) - (now.ours - self.ours) - server_cpu
        return max(0.0, foreign / ((now.at - self.at) * os.cpu_count()))


class Driver:
    """Runs cells, keeps what it wrote in mind."""

    def __init__(self, oha, args, files):
        self.oha, self.args, self.files = oha, args, files
        self.written = {}

    def command(self, cell, address, seconds):
        # The address is part of a regular expression here: a bare dot would be any character, and the load
        # would leave this machine.
        base = f"http://{address.replace('127.0.0.1', 'localhost')}/v1/objects/{BUCKET}/"
        command = [self.oha, "--no-tui", "--output-format", "json", "-z", f"{int(seconds * 1000)}ms", "-w"]
        command += ["-t", f"{GRACE_S}s", "-c", str(cell.connections), "--rand-regex-url"]
        if cell.method == "GET":
            digits = len(str(cell.objects - 1))
            last = (cell.objects - 1) // 10 ** (digits - 1)
            return command + [f"{base}get-{cell.slug()}-[0-{last}]" + "[0-9]" * (digits - 1)]
        command += ["-m", "PUT", "-D", self.files.body(cell)]
        return command + [f"{base}{self.prefix(cell)}[a-z0-9]{{16}}"]

    @staticmethod
    def prefix(cell):
        return f"put-{cell.slug()}-x{cell.connections}-"

    def oha_json(self, command, seconds):
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + GRACE_S + 20)
        except subprocess.TimeoutExpired:
            return None, "oha did not end"
        if done.returncode != 0:
            return None, f"oha ended with {done.returncode}: {done.stderr.strip()[-200:]}"
        try:
            return json.loads(done.stdout), None
        except ValueError:
            return None, "oha's answer is no JSON"

    def run(self, cell, server):
        seconds = self.args.seconds
        if cell.method == "GET":
            self.oha_json(self.command(cell, server.http, 0.4), 1)
        server.forget_peak()
        beside = self.start_beside(cell, server)
        counted = server.counters() if server.is_ours else {}
        machine, before = Machine(), server.cpu()
        said, trouble = self.oha_json(self.command(cell, server.http, seconds), seconds)
        if cell.method == "PUT":
            server.settle()
        cpu = server.cpu() - before
        others = machine.others_since(cpu)
        if beside:
            beside.wait(timeout=GRACE_S)
        server.check_alive()
        row = {"server": server.name, "name": cell.name, "method": cell.method, "size": cell.size,
               "connections": cell.connections, "peak_mib": server.peak_mib(), "others": others}
        trouble = trouble or self.judge(cell, said)
        if said:
            row.update(self.figures(cell, said, cpu))
            if counted and row["requests"]:
                now = server.counters()
                row["fsyncs"] = (now["commits"] - counted["commits"]) / row["requests"] / server.nodes
                row["calls"] = (now["calls"] - counted["calls"]) / row["requests"]
        row["trouble"] = trouble
        if cell.method == "PUT" and said:
            self.written[server, cell] = self.written.get((server, cell), 0) + row["requests"]
        return row

    def rows(self, cell, sides):
        """A row of each side, one right after the other. While others use the machine the cell is driven again, and the
        quietest turn counts, whatever it shows; but what went wrong and what memory was needed count from all of them."""
        turns = []
        for _ in range(1 + self.args.again):
            turns.append([self.run(cell, server) for server in sides])
            if any(row["trouble"] for row in turns[-1]) or noise(turns[-1]) <= OTHERS_MAX:
                break
        counts = turns[-1] if any(row["trouble"] for row in turns[-1]) else min(turns, key=noise)
        for i, row in enumerate(counts):
            row["peak_mib"] = max(turn[i]["peak_mib"] for turn in turns)
            row["left_out"] = [turn[i] for turn in turns if turn is not counts]
        return counts

    def start_beside(self, cell, server):
        if not self.args.beside or not server.is_ours:
            return None
        env = {**os.environ, "NODE_PID": str(server.pids()[0]), "ROW": cell.name.replace(" ", "-")}
        return subprocess.Popen(self.args.beside, shell=True, env=env, stdin=subprocess.DEVNULL)

    @staticmethod
    def judge(cell, said):
        bad = {code: n for code, n in said["statusCodeDistribution"].items() if not code.startswith("2")}
        if bad:
            return f"answers {bad}"
        if said["errorDistribution"]:
            return f"errors {said['errorDistribution']}"
        answered = sum(said["statusCodeDistribution"].values())
        if not answered:
            return "no answer at all"
        if cell.method == "GET" and said["summary"]["totalData"] != answered * cell.bytes:
            return f"{said['summary']['totalData']} bytes in {answered} answers of {cell.bytes}"
        return None

    @staticmethod
    def figures(cell, said, cpu):
        requests = sum(n for code, n in said["statusCodeDistribution"].items() if code.startswith("2"))
        per_s = requests / said["summary"]["total"]
        percentiles = said["latencyPercentiles"]
        return {
            "requests": requests,
            "per_s": per_s,
            "mb_per_s": per_s * cell.bytes / 1e6,
            "p50_ms": (percentiles["p50"] or 0) * 1e3,
            "p99_ms": (percentiles["p99"] or 0) * 1e3,
            "cpu_s_per_1000": cpu / requests * 1000 if requests else None,
            "cpu_s_per_gib": cpu / (requests * cell.bytes / GIB) if requests else None,
        }

    def lost_writes(self):
        """What was answered and is not there: every write listed on the last node, and one of each row read back."""
        lost = []
        for (server, cell), answered in self.written.items():
            connection = http.client.HTTPConnection(server.addresses[-1], timeout=60)
            what = f"{cell.name} on {server.name}"
            count, key, length_wrong = self.listed(connection, cell)
            if count < answered:
                lost.append(f"{what}: {answered} writes were answered, {count} are listed")
            if length_wrong:
                lost.append(f"{what}: {length_wrong} have another length")
            if key:
                connection.request("GET", f"/v1/objects/{BUCKET}/{key}")
                got = connection.getresponse().read()
                with open(self.files.body(cell), "rb") as f:
                    if f.read() != got:
                        lost.append(f"{what}: {key} reads back with other bytes")
            connection.close()
        return lost

    def listed(self, connection, cell):
        count, key, wrong, after = 0, None, 0, ""
        while True:
            query = urllib.parse.urlencode({"prefix": self.prefix(cell), "after": after, "limit": 1000})
            connection.request("GET", f"/v1/objects/{BUCKET}?{query}")
            answer = connection.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise Trouble(f"a listing was answered {answer.status} {text[:200]!r}")
            page = json.loads(text)
            objects = page["objects"]
            count += len(objects)
            wrong += sum(1 for o in objects if o["size"] != cell.bytes)
            key = key or (objects[0]["key"] if objects else None)
            after = page.get("next")
            if not after:
                return count, key, wrong
