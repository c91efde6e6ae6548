"""Acceptance points 3 and 4: three nodes under kill -9, idleness, and a wiped node that is filled again."""

import json
import random
import shutil
import threading
import time
from urllib.parse import quote

from lib import MIB, Client, Trouble, Unanswered, body_of, in_threads, is_done, make_bucket, object_path, sha, show_bytes
from lib import wait_for

BUCKET = "acceptance"
IDLE_SECONDS = 10
IDLE_SHARE_MAX = 0.01
# What this node holds by itself: the question here is what each disk has, not what a majority knows.
ALONE = "consistency=local"


class Keeper:
    """Kills one node after another with SIGKILL and starts it again, until told to stop."""

    def __init__(self, nodes, rng):
        self.nodes, self.rng = nodes, rng
        self.enough = threading.Event()
        self.kills = 0

    def run(self):
        turn = 0
        while not self.enough.is_set():
            node = self.nodes[turn % len(self.nodes)]
            turn += 1
            if self.enough.wait(self.rng.uniform(0.3, 1.2)):
                return
            node.kill()
            self.kills += 1
            time.sleep(self.rng.uniform(0.0, 0.8))
            node.start()


def size_of(rng):
    kind = rng.random()
    if kind < 0.05:
        return 0
    if kind < 0.45:
        return rng.randrange(1, 8 * 1024)
    if kind < 0.60:
        return 64 * 1024 + rng.choice([-1, 0, 1])
    return rng.randrange(64 * 1024, 2 * MIB + 1)


class Writer:
    """Owns some keys and writes them in turn on all nodes; `state` holds what was answered last for each."""

    def __init__(self, report, nodes, seed):
        self.report, self.nodes = report, nodes
        self.rng = random.Random(seed)
        self.clients = [Client(node) for node in nodes]
        self.state = {}
        self.turn = self.rng.randrange(len(nodes))
        self.answered = self.retries = self.bytes = self.found_gone = 0

    def until_answered(self, act, deletes=False):
        """Tries node after node until one of them says it is done. A delete that may have taken effect before it was tried
        again is done when the key, which nobody else writes, is gone."""
        end, may_be_gone = time.monotonic() + 120, False
        while time.monotonic() < end:
            index = self.turn % len(self.nodes)
            self.turn += 1
            try:
                status, _, body = act(self.clients[index])
                if is_done(status):
                    return body
                if status == 404 and may_be_gone:
                    self.found_gone += 1
                    return body
                self.report.require(status == 503, f"a request was answered {status} {body[:160]!r}")
                may_be_gone = may_be_gone or (deletes and b"UnknownOutcome" in body)
            except Unanswered as broken:
                never_sent = broken.__cause__ is None or isinstance(broken.__cause__, ConnectionRefusedError)
                may_be_gone = may_be_gone or (deletes and not never_sent)
            self.retries += 1
            time.sleep(0.03)
        raise Trouble("no node took a request for 120 s")

    def put(self, key):
        body = body_of(self.rng.random(), size_of(self.rng))
        self.until_answered(lambda c: c.request("PUT", object_path(BUCKET, key), body))
        self.answered += 1
        self.state[key] = sha(body)
        self.bytes += len(body)

    def delete(self, key):
        # So that it is this delete, and nothing else, by which the key is gone.
        there = self.until_answered(lambda c: c.request("GET", object_path(BUCKET, key)))
        self.report.require(sha(there) == self.state[key], f"{key}: a read gives another body than the last write")
        self.until_answered(lambda c: c.request("DELETE", object_path(BUCKET, key)), deletes=True)
        self.answered += 1
        self.state[key] = None

    def work(self, keys, keeper, kills):
        """Writes all of it, and goes on overwriting until that many kills have happened."""
        for key in keys:
            self.put(key)
        while keeper.kills < kills:
            self.put(self.rng.choice(keys))
        for key in keys:
            fate = self.rng.random()
            if fate < 0.25:
                self.put(key)
            elif fate < 0.40:
                self.delete(key)


def differences(node, expected, stop_at=None):
    """Keys of `expected` that the node, asked alone, answers otherwise, with what it answers."""
    client = Client(node)
    wrong = {}
    for key, want in expected.items():
        status, _, body = client.request("GET", object_path(BUCKET, key) + "?" + ALONE)
        good = status == 404 if want is None else status == 200 and sha(body) == want
        if not good:
            wrong[key] = f"{status}, {len(body)} bytes"
            if stop_at and len(wrong) >= stop_at:
                break
    client.close()
    return wrong


def settle(report, nodes, expected, seconds):
    """Waits until all nodes hold all of it; how long that took."""
    began = time.monotonic()
    open_on = {node.name: (node, expected) for node in nodes}
    while open_on:
        for name, (node, left) in list(open_on.items()):
            # What was right once stays right: a key has one last write.
            wrong = differences(node, left)
            if wrong:
                open_on[name] = (node, {key: left[key] for key in wrong})
            else:
                del open_on[name]
        if open_on and time.monotonic() - began > seconds:
            for name, (node, left) in open_on.items():
                some = differences(node, left, 5)
                report.require(False, f"{name} still differs in {len(left)} of {len(expected)} objects: {some}")
            break
        time.sleep(0.1)
    return time.monotonic() - began


def listing(node):
    """Every key with its ETag and length, page by page, as the node has it by itself."""
    client, after, found = Client(node), "", {}
    while True:
        status, _, body = client.request("GET", f"/v1/objects/{BUCKET}?{ALONE}&limit=500" + (f"&after={after}" if after else ""))
        if status != 200:
            raise Trouble(f"listing on {node.name}: {status} {body[:200]!r}")
        page = json.loads(body)
        found.update({entry["key"]: (entry["etag"], entry["size"]) for entry in page["objects"]})
        if not page["next"]:
            return found
        after = quote(page["next"], safe="")


def concurrent_writes(report, nodes, rounds):
    """Two nodes take a write of one key at the same moment: all three must end with the same one of them."""
    outcomes = {"first": 0, "second": 0, "deleted": 0}
    for turn in range(rounds):
        key = f"race/{turn}"
        a, b = turn % 3, (turn + 1) % 3
        size = random.choice([10, 5000, 200_000])
        bodies = [body_of(f"{turn}-a", size), body_of(f"{turn}-b", size + 1)]
        with_delete = turn % 4 == 3
        if with_delete:
            Client(nodes[b]).request("PUT", object_path(BUCKET, key), b"before")
        gate = threading.Barrier(2)

        def write(node, body):
            client = Client(node)
            client.request("GET", "/healthz")
            gate.wait()
            if body is None:
                status, _, _ = client.request("DELETE", object_path(BUCKET, key))
            else:
                status, _, _ = client.request("PUT", object_path(BUCKET, key), body)
            report.require(is_done(status), f"concurrent write answered {status}")

        second = None if with_delete else bodies[1]
        in_threads([lambda: write(nodes[a], bodies[0]), lambda: write(nodes[b], second)])
        allowed = {sha(bodies[0]): "first", sha(bodies[1]): "second"}

        def agreed():
            seen = set()
            for node in nodes:
                status, _, body = Client(node).request("GET", object_path(BUCKET, key) + "?" + ALONE)
                seen.add(allowed.get(sha(body), "?") if status == 200 else "deleted" if status == 404 else "?")
            return seen.pop() if len(seen) == 1 and seen != {"?"} else None

        try:
            outcome = wait_for(agreed, 30, f"nodes agree on {key}")
            report.require(with_delete or outcome != "deleted", f"{key} is gone although nobody deleted it")
            outcomes[outcome] += 1
        except Trouble as late:
            report.require(False, str(late))
    report.figure(f"{rounds} pairs of concurrent writes converged", f"won: {outcomes}")


def heartbeats(metrics):
    """Heartbeats to and from all peers."""
    return sum(v for n, v in metrics.items() if n.partition("{")[0].endswith("_heartbeats"))


def behind(metrics):
    return sum(value for name, value in metrics.items() if name.partition("{")[0].endswith("changes_behind"))


def busy_calls(metrics):
    """Peer calls other than heartbeats, by name and peer."""
    return {n: v for n, v in metrics.items() if ("_sent_" in n or "_received_" in n) and "heartbeats" not in n}


def idleness(report, nodes):
    wait_for(lambda: all(behind(node.metrics()) == 0 for node in nodes), 60, "nobody lags")
    quiet = [None, time.monotonic()]

    def still():
        now = [busy_calls(node.metrics()) for node in nodes]
        if now != quiet[0]:
            quiet[:] = [now, time.monotonic()]
        return time.monotonic() - quiet[1] > 5

    wait_for(still, 60, "five seconds without a peer call but heartbeats")
    beats = [heartbeats(node.metrics()) for node in nodes]
    named = [busy_calls(node.metrics()) for node in nodes]
    cpu = [node.cpu_seconds() for node in nodes]
    began = time.monotonic()
    time.sleep(IDLE_SECONDS)
    took = time.monotonic() - began
    cpu_after = [node.cpu_seconds() for node in nodes]
    for node, beaten, busy, before, after in zip(nodes, beats, named, cpu, cpu_after):
        share = (after - before) / took
        metrics = node.metrics()
        more = {name: value - busy.get(name, 0) for name, value in busy_calls(metrics).items()}
        more = {name: value for name, value in more.items() if value}
        report.figure(
            f"{node.name} idle for {took:.0f} s",
            f"{share * 100:.2f} % of a core, {heartbeats(metrics) - beaten:.0f} heartbeats, {sum(more.values()):.0f} other calls, "
            f"{show_bytes(node.resident_bytes())}",
        )
        report.require(share < IDLE_SHARE_MAX, f"{node.name} uses {share * 100:.2f} % of a core when idle")
        report.require(not more, f"{node.name} made peer calls when idle: {more}")
        report.require(heartbeats(metrics) > beaten, f"{node.name} shows no heartbeats: the measurement means nothing")


def check_kills(report, space, quick, seed):
    """Point 3."""
    objects, kills = (200, 3) if quick else (1000, 9)
    keys = space.new_keys()
    nodes = space.cluster(3, keys, env={"BOVEDA_STORE_CHECKPOINT_INTERVAL": "1s"})
    in_threads([node.start for node in nodes])
    make_bucket(Client(nodes[0]), BUCKET)
    wait_for(lambda: all(_has_bucket(node) for node in nodes), 30, "the bucket is on all nodes")

    names = [f"obj/{i % 7}/{i:04}" for i in range(objects)]
    writers = [Writer(report, nodes, seed + i) for i in range(4)]
    keeper = Keeper(nodes, random.Random(seed))
    errors = []

    def keep():
        try:
            keeper.run()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=keep, daemon=True)
    began = time.monotonic()
    thread.start()
    try:
        in_threads([lambda i=i, w=w: w.work(names[i::len(writers)], keeper, kills) for i, w in enumerate(writers)])
    finally:
        keeper.enough.set()
        thread.join(90)
    if errors:
        raise errors[0]
    took = time.monotonic() - began
    expected = {key: want for writer in writers for key, want in writer.state.items()}
    report.require(len(expected) == objects, "a writer lost count")
    report.figure(
        f"{objects} objects written, overwritten, deleted",
        f"{sum(w.answered for w in writers)} answered writes, {show_bytes(sum(w.bytes for w in writers))}, {took:.1f} s",
    )
    report.figure("kill -9 meanwhile, and requests tried again", f"{keeper.kills}, {sum(w.retries for w in writers)}")
    report.figure("deletes that an unanswered try had done already", f"{sum(w.found_gone for w in writers)}")
    for node in nodes:
        if not node.alive():
            node.start()
    seconds = settle(report, nodes, expected, 180)
    report.figure("all three hold all of it, byte-identical, after", f"{seconds:.1f} s")
    held = [listing(node) for node in nodes]
    live = {key for key, want in expected.items() if want}
    report.require(all(set(h) == live for h in held), "a listing shows other keys than were written")
    report.require(held[0] == held[1] == held[2], "the listings (keys, ETags, lengths) differ between nodes")
    concurrent_writes(report, nodes, 8 if quick else 24)
    idleness(report, nodes)
    finish(report, nodes)


def _has_bucket(node):
    status, _, _ = Client(node).request("GET", f"/v1/objects/{BUCKET}?{ALONE}&limit=1")
    return status == 200


def finish(report, nodes):
    for node in nodes:
        code = node.stop()
        report.require(code == 0, f"{node.name} ended with exit code {code} after SIGTERM: {node.said()}")
        report.require(not node.panics(), f"{node.name} panicked: {node.panics()[:3]}")
        checked = node.verify()
        report.require(checked.returncode == 0, f"boveda verify on {node.name}: exit {checked.returncode}: {checked.stdout[-300:]}")


def check_wiped(report, space, quick):
    """Point 4."""
    small, large = (500, 10) if quick else (2000, 40)
    keys = space.new_keys()
    nodes = space.cluster(3, keys)
    in_threads([node.start for node in nodes])
    make_bucket(Client(nodes[0]), BUCKET)
    wait_for(lambda: all(_has_bucket(node) for node in nodes), 30, "the bucket is on all nodes")
    expected, lock = {}, threading.Lock()

    def write(part, of):
        client = Client(nodes[part % 2])
        for i in range(part, small + large, of):
            size = 16 * MIB if i < large else random.Random(i).randrange(1, 4096)
            key, body = f"fill/{i:05}", body_of(i, size)
            for _ in range(100):
                status, _, answer = client.request("PUT", object_path(BUCKET, key), body)
                if status != 503:
                    break
                time.sleep(0.1)
            if not is_done(status):
                raise Trouble(f"PUT {key}: {status} {answer[:200]!r}")
            with lock:
                expected[key] = (sha(body), size)

    in_threads([lambda part=part: write(part, 4) for part in range(4)])
    total = sum(size for _, size in expected.values())
    shas = {key: digest for key, (digest, _) in expected.items()}
    settle(report, nodes, shas, 180)
    wiped = nodes[2]
    report.require(wiped.stop() == 0, "n3 does not stop cleanly")
    shutil.rmtree(wiped.data)
    client = Client(nodes[0])
    client.request("PUT", object_path(BUCKET, "while-away"), b"written while n3 was away")
    shas["while-away"] = sha(b"written while n3 was away")
    missing = sorted(shas)
    began = time.monotonic()
    wiped.start()

    def full():
        # Until it has its place it holds what others know, and begins with nothing once more when it is given that.
        reader = Client(wiped)
        if reader.request("GET", "/readyz")[0] != 200:
            return False
        # Counts of records say nothing of bodies: each object is asked for, up to the first that is missing, and what
        # was there before is not asked for again.
        while missing:
            status, _, _ = reader.request("HEAD", object_path(BUCKET, missing[-1]) + "?" + ALONE)
            if status != 200:
                return False
            missing.pop()
        return True

    wait_for(full, 300, "n3 is filled again")
    took = time.monotonic() - began
    wrong = differences(wiped, shas)
    report.require(not wrong, f"n3 was filled with other bytes: {dict(list(wrong.items())[:5])}")
    report.figure(
        f"n3 wiped, filled with {small} small and {large} of 16 MiB",
        f"{took:.1f} s from start, {total / took / 1e6:.0f} MB/s, {(small + large) / took:.0f} objects/s",
    )
    report.figure("peak memory meanwhile: n1, n2, n3", ", ".join(show_bytes(node.peak_bytes()) for node in nodes))
    for node in nodes[:2]:
        report.require(not differences(node, shas, 3), f"{node.name} lost something")
    finish(report, nodes)
