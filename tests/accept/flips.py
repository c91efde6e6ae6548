"""Acceptance point 7: one flipped byte in each region of each file; never wrong bytes, never a crash.

What must stay true
- The damaged directory is a fresh copy each time: one flip at a time, and what a start repairs spoils nothing.
- An answer counts as right only with status and bytes right; an older version, or a deleted object that is back, is wrong.
"""

import collections
import os
import random
import shutil

from lib import MIB, Client, Trouble, Unanswered, body_of, crashed, is_done, make_bucket, object_path, sha, tree_files

BUCKET = "flips"
PAGE = 4096
# docs/format.md, "Index pages": two header slots of two copies, then groups of two tag blocks and their pages.
INDEX_HEADERS = 4
INDEX_TAG_BLOCKS = 2
INDEX_GROUP_PAGES = (PAGE - 8) // 28
BLOB_HEADER = [("magic", 0, 4), ("suite", 4, 5), ("chunk size", 5, 6), ("zero", 6, 8), ("cluster", 8, 24)]
BLOB_HEADER += [("body id", 24, 40), ("salt", 40, 64), ("commitment", 64, 96)]
SEALED_CHUNK = 64 * 1024 + 16
ENTRY_MAGIC = b"BVSE"
ENTRY_HEAD = 64
LOG_MAGIC = b"BVL1"
LOG_HEAD_MAGIC = b"BVLH"
ENV = {
    "BOVEDA_STORE_LOG_BYTES": "8MiB",
    "BOVEDA_STORE_CHECKPOINT_INTERVAL": "1h",
    "BOVEDA_STORE_CHECKPOINT_BYTES": "1GiB",
    "BOVEDA_STORE_RESERVE_BYTES": "1MiB",
    "BOVEDA_STORE_SEGMENT_MAX": "100KiB",  # bodies in records, in segments and in files
    "BOVEDA_NODE_LOG": "error",
}


def build(space, keys):
    """A directory with everything in it: an index, blobs, a log that the index does not hold. And what is in it."""
    node = space.node("pristine", keys, env=ENV)
    expected = {}

    def put(client, key, seed, size):
        body = body_of(seed, size)
        status, _, answer = client.request("PUT", object_path(BUCKET, key), body)
        if not is_done(status):
            raise Trouble(f"PUT {key}: {status} {answer[:200]!r}")
        expected[key] = body

    def delete(client, key):
        status, _, _ = client.request("DELETE", object_path(BUCKET, key))
        if not is_done(status):
            raise Trouble(f"DELETE {key}: {status}")
        expected[key] = None

    node.start()
    client = Client(node)
    make_bucket(client, BUCKET)
    for i in range(24):
        put(client, f"early/{i:02}", f"e{i}", [0, 1, 100, 3000, 20_000, 65_536][i % 6])
    for i in range(5):
        put(client, f"blob/{i}", f"b{i}", [65_537, 131_072, 150_000, 300_000, 70_000][i])
    put(client, "early/00", "again", 5000)
    delete(client, "early/01")
    node.stop()  # everything is in the index now
    node.start()
    client = Client(node)
    for i in range(12):
        put(client, f"late/{i:02}", f"l{i}", [0, 1, 100, 3000, 9000, 40_000][i % 6])
    put(client, "blob/late", "bl", 200_000)
    put(client, "early/02", "overwritten late", 2500)
    put(client, "blob/4", "overwritten late too", 90_000)
    delete(client, "early/03")
    delete(client, "late/05")
    node.kill()  # and this only in the log
    if node.panics():
        raise Trouble(f"panic: {node.panics()[0]}")
    return node.data, expected


def regions(data):
    """region -> [(file, from, to)], all bytes of all files."""
    found, sizes = collections.OrderedDict(), {}

    def add(region, file, start, end):
        end = min(end, sizes[file])
        if end > start:
            found.setdefault(region, []).append((file, start, end))

    for file in tree_files(data):
        size = sizes[file] = os.path.getsize(os.path.join(data, file))
        if file == "identity":
            add("identity", file, 0, size)
        elif file == "log":
            log_regions(os.path.join(data, file), size, add)
        elif file == "index":
            for block in range(-(-size // PAGE)):
                start, end = block * PAGE, min(size, (block + 1) * PAGE)
                if block < INDEX_HEADERS:
                    add(f"index header, slot {block // 2}, copy {block % 2}", file, start, end)
                elif (block - INDEX_HEADERS) % (INDEX_TAG_BLOCKS + INDEX_GROUP_PAGES) < INDEX_TAG_BLOCKS:
                    add("index tag blocks", file, start, end)
                else:
                    add("index pages", file, start, end)
            add("index, last byte", file, size - 1, size)
        elif file.startswith("blobs/"):
            for name, start, end in BLOB_HEADER:
                add(f"blob header, {name}", file, start, end)
            at = 96
            while at < size:
                end = min(size, at + SEALED_CHUNK)
                last = end == size
                add("blob, last chunk" if last else "blob, full chunks", file, at, end - 16)
                add("blob, last tag" if last else "blob, full chunks' tags", file, end - 16, end)
                at = end
            add("blob, last byte", file, size - 1, size)
        elif file.startswith("segments/"):
            segment_regions(os.path.join(data, file), file, size, add)
        else:
            add(f"other files ({file.split('/')[0]})", file, 0, size)
    return found


def segment_regions(path, name, size, add):
    with open(path, "rb") as file:
        segment = file.read()
    add("segment head", name, 0, PAGE)
    at = PAGE
    while at + ENTRY_HEAD <= size:
        if segment[at:at + 4] == ENTRY_MAGIC:
            end = at + ENTRY_HEAD + int.from_bytes(segment[at + 4:at + 8], "little")
            add("segment, heads of entries", name, at, at + ENTRY_HEAD)
            add("segment, bodies", name, at + ENTRY_HEAD, end)
            at = end
        else:
            at += PAGE - at % PAGE  # the end of a group
    add("segment, last byte", name, size - 1, size)


def log_regions(path, size, add):
    with open(path, "rb") as file:
        log = file.read()
    at = 0
    while at < size:
        if log[at:at + 4] == LOG_MAGIC:
            total = int.from_bytes(log[at + 4:at + 8], "little")
            for name, start, end in (("magic, length, position", 0, 16), ("nonce, tag", 16, 44), ("check", 44, 64)):
                add(f"log frames, {name}", "log", at + start, at + end)
            add("log frames, sealed", "log", at + 64, at + total)
            at += total
        else:
            head = log[at:at + 4] == LOG_HEAD_MAGIC
            add("log head" if head else "log, empty" if not any(log[at:at + PAGE]) else "log, other", "log", at, min(size, at + PAGE))
            at += PAGE
    add("log, last byte", "log", size - 1, size)


def sample(found, flips, rng):
    """(region, file, offset): a share for every region; its first and last byte always, the rest drawn."""
    each = max(2, flips // len(found))
    places = []
    for region, spans in found.items():
        chosen = {(spans[0][0], spans[0][1]), (spans[-1][0], spans[-1][2] - 1)}
        total = sum(end - start for _, start, end in spans)
        for _ in range(20 * each):
            if len(chosen) >= min(each, total):
                break
            at = rng.randrange(total)
            for file, start, end in spans:
                if at < end - start:
                    chosen.add((file, start + at))
                    break
                at -= end - start
        places += [(region, file, offset) for file, offset in sorted(chosen)]
    # What index pages hold is decided by few of them: they get more.
    extra = max(0, flips - len(places))
    for region in ("index pages", "index tag blocks", "log frames, sealed"):
        for _ in range(extra // 3):
            file, start, end = rng.choice(found.get(region, [("", 0, 0)]))
            if file:
                places.append((region, file, rng.randrange(start, end)))
    return places


def flip(path, offset, rng):
    with open(path, "r+b") as file:
        file.seek(offset)
        old = file.read(1)[0]
        new = old ^ rng.choice([0xFF, 1 << rng.randrange(8), rng.randrange(1, 256)])
        file.seek(offset)
        file.write(bytes([new]))
    return f"{old:02x} -> {new:02x}"


def ask(node, expected):
    """right, errors, lost (404 although it is there), wrong."""
    counts = collections.Counter()
    notes = []
    client = Client(node, timeout=20)
    for key, body in expected.items():
        try:
            status, _, answer = client.request("GET", object_path(BUCKET, key))
        except Unanswered as broken:
            # A body that turns out bad behind its first chunk can only be cut off.
            counts["error"] += 1
            if not node.alive():
                return counts, notes + [f"{key}: the node died: {broken}"]
            continue
        if body is None:
            right = status == 404
        else:
            right = status == 200 and answer == body
        if right:
            counts["right"] += 1
        elif status >= 500:
            counts["error"] += 1
        elif status == 404:
            counts["lost"] += 1
            notes.append(f"{key}: 404 although it was answered for")
        else:
            counts["wrong"] += 1
            what = "deleted, and back" if body is None else f"{len(answer)} bytes instead of {len(body)}"
            notes.append(f"{key}: {status}, {what}")
    return counts, notes


def digests(directory):
    found = {}
    for name in tree_files(directory):
        if name in ("lock", "addresses.json"):
            continue
        with open(os.path.join(directory, name), "rb") as file:
            found[name] = sha(file.read())
    return found


def one_flip(report, space, keys, pristine, expected, place, rng, tally, refusals):
    region, file, offset = place
    data = space.path("flipped")
    shutil.rmtree(data, ignore_errors=True)
    shutil.copytree(pristine, data)
    change = flip(os.path.join(data, file), offset, rng)
    where = f"{region}: {file} byte {offset} ({change})"

    before = digests(data)
    node = space.node("flipped", keys, data=data, env=ENV)
    checked = node.verify()
    report.require(not crashed(checked.returncode), f"{where}: verify ended with {checked.returncode}: {checked.stderr[-300:]}")
    report.require("panicked at" not in checked.stderr, f"{where}: verify panicked: {checked.stderr[-300:]}")
    report.require(digests(data) == before, f"{where}: verify changed the directory")

    tally["flips"] += 1
    node.launch()
    served = node.serves(60)
    if not served:
        code = node.process.returncode
        said = node.said(1)
        tally["refused"] += 1
        refusals[said.split("data-")[-1]] += 1
        report.require(code == 1, f"{where}: the start ended with exit code {code}: {node.said()}")
        report.require(said, f"{where}: a refused start said nothing")
        harmed = True
    else:
        counts, notes = ask(node, expected)
        for note in notes[:3]:
            report.require(False, f"{where}: {note}")
        for kind, count in counts.items():
            tally[f"answers {kind}"] += count
        harmed = counts["error"] > 0
        tally["some answers were errors" if harmed else "all answers right"] += 1
        report.require(node.alive(), f"{where}: the node ended with {node.process.poll()}: {node.said()}")
    node.kill()
    report.require(not node.panics(), f"{where}: panicked: {node.panics()[:1]}")
    # A kill may leave a blob that no record names any more; whatever is in it, it goes at the next start.
    body_hit = file.startswith("blobs/") and f"blob {os.path.basename(file)}, removed" not in checked.stdout
    if harmed or body_hit:
        tally["harm"] += 1
        if report.require(checked.returncode != 0, f"{where}: verify reports nothing: {checked.stdout[-200:]}"):
            tally["harm that verify reports"] += 1
    space.nodes.remove(node)
    if os.path.exists(node.log):
        os.unlink(node.log)


def check(report, space, flips, seed):
    rng = random.Random(seed)
    keys = space.new_keys()
    pristine, expected = build(space, keys)
    found = regions(pristine)
    size = sum(os.path.getsize(os.path.join(pristine, f)) for f in tree_files(pristine))
    live = sum(1 for body in expected.values() if body is not None)
    report.figure("directory", f"{len(tree_files(pristine))} files, {size / MIB:.1f} MiB, {live} objects, {len(expected) - live} deleted")

    # Without a flip everything is right, so that what follows means something.
    tally = collections.Counter()
    whole = space.path("whole")
    shutil.copytree(pristine, whole)
    node = space.node("whole", keys, data=whole, env=ENV)
    clean = node.verify()
    report.require(clean.returncode == 0, f"verify of the undamaged directory: exit {clean.returncode}: {clean.stdout[-300:]}{clean.stderr[-300:]}")
    node.start()
    counts, notes = ask(node, expected)
    report.require(counts["right"] == len(expected), f"without a flip: {dict(counts)} {notes[:3]}")
    node.kill()

    places = sample(found, flips, rng)
    tallies, refusals = collections.OrderedDict((region, collections.Counter()) for region in found), collections.Counter()
    for place in places:
        one_flip(report, space, keys, pristine, expected, place, rng, tallies[place[0]], refusals)
    report.say(f"   {'region':<34} flips  all right  errors  refused   answers: right  error  lost  wrong")
    for region, tally in tallies.items():
        report.say(
            f"   {region:<34} {tally['flips']:>5}  {tally['all answers right']:>9}  {tally['some answers were errors']:>6}  "
            f"{tally['refused']:>7}   {tally['answers right']:>14}  {tally['answers error']:>5}  {tally['answers lost']:>4}  "
            f"{tally['answers wrong']:>5}"
        )
    sums = sum(tallies.values(), collections.Counter())
    report.figure("flips in all", sums["flips"])
    report.figure("of those that did harm, reported by boveda verify", f"{sums['harm that verify reports']} of {sums['harm']}")
    for line, count in refusals.most_common(12):
        report.say(f"   refused {count:>4} times: {line[:150]}")
