"""Faults that come with a promise of their own, and the look whether it is kept.

What must stay true
- What a witness was answered for holds until the run ends: its bytes, at every node, or that it is gone.
- An older copy of a data directory has no vote: while a majority could only be had with it, nothing is decided.
- A node whose `/readyz` says 200 counts: the next disk may be replaced at that moment.
- With a majority of full disks writes are refused, not left open; reads and deletes go on, and writes when there is room.
- A key generation can be made the one that seals once all members have it, and not before; until then and from then on
  everything opens, and in the end no member needs an older one.
- A body that was answered while the member list changed is whole at all nodes. One that was not is whole, or is not there.
- A node that is started without the others of its list does not run.

Each of these can be made red: `Faults.plant` names the one that is spoilt on purpose, at the places marked "planted".
"""

import json
import os
import random
import shutil
import signal
import threading
import time

from world import RESERVE_MIB, ask, sh, until

BUCKET = "cargas"
LARGE = 300 * 1024
# What is left of a full disk: below the reserve, and enough for deletes.
LEFT_MIB = RESERVE_MIB - 2
# One answer of a healthy majority, on a machine that is busy with other things.
SOON_S = 30


def cluster(node):
    """What it shows of itself, or nothing."""
    status, body = ask(node, "/v1/cluster", timeout=5)
    return json.loads(body) if status == 200 else {}


def peer_of(node, other):
    """What it shows of another one."""
    return next((peer for peer in cluster(node).get("peers", []) if peer["peer"] == other.name), {})


def code_of(body):
    return json.loads(body).get("code") if body[:1] == b"{" else None


class Witnesses:
    """Objects that nobody else writes. What was answered for one is looked at when its fault is over, and at the end."""

    def __init__(self, wrong, seed):
        self.wrong, self.dice, self.count = wrong, random.Random(seed), 0
        self.held = {}

    @staticmethod
    def path(key):
        return f"/v1/objects/{BUCKET}/{key}"

    def body(self, size):
        self.count += 1
        text = f"witness {self.count} ".encode()
        return text + self.dice.randbytes(max(0, size - len(text)))

    def put(self, node, size=40):
        """Stored, by way of this node. Nobody else writes it, so it may be tried again."""
        body = self.body(size)
        key = f"w{self.count:05}"
        until(lambda: ask(node, self.path(key), "PUT", 30, body)[0] in (200, 201), SOON_S, f"{node.name} to take {key}")
        self.held[key] = body
        return key

    def delete(self, node, key):
        until(lambda: ask(node, self.path(key), "DELETE")[0] in (204, 404), SOON_S, f"{node.name} to delete {key}")
        self.held[key] = None

    def look(self, node, key):
        """Whether the node gives what it must; None when it gives no answer that says so. What is wrong is told."""
        status, body = ask(node, self.path(key), timeout=60)
        wanted = self.held[key]
        if status not in (200, 404):
            return None
        got = body if status == 200 else None
        if got == wanted:
            return True
        shown = [f"{len(what)} bytes" if what is not None else "nothing" for what in (got, wanted)]
        self.wrong(f"{node.name} gives {shown[0]} for {key} ({status} {code_of(body)}) where {shown[1]} were answered for")
        return False

    def check(self, nodes, keys=None):
        """Every one of these nodes gives them, soon."""
        for key in self.held if keys is None else keys:
            for node in nodes:
                until(lambda: self.look(node, key) is not None, SOON_S, f"{node.name} to answer for {key}")

    def everywhere(self, nodes, keys):
        """These nodes hold them themselves."""
        def held(node, key):
            status, body = ask(node, self.path(key) + "?consistency=local", timeout=60)
            return status == 200 and body == self.held[key]

        for key in keys:
            for node in nodes:
                until(lambda: held(node, key), 2 * SOON_S, f"{node.name} to hold {key} itself")


def members_of(faults, size=None):
    """The nodes that vote, shuffled; first the list is brought to that size, or made whole."""
    wanted = faults.members
    if size and len(wanted) != size:
        wanted = faults.list_of(size)
    faults.change(wanted)
    nodes = [node for node in faults.world.nodes if node.name in faults.members]
    faults.dice.shuffle(nodes)
    return nodes


def older_copy(faults, _, __):
    """A snapshot of a member's volume is put back later, with all others there or with one of them away."""
    dice, planted, turn = faults.dice, faults.plant == "older copy", faults.done["older copy"]
    victim, other, away = members_of(faults, 3)
    copied = [victim, away] if planted else [victim]
    amnesia, standing_still = planted or turn % 2 == 0, not planted and turn % 4 in (1, 2)
    if standing_still:
        victim.signal(signal.SIGSTOP)
        victim.copy_data()
        victim.signal(signal.SIGCONT)
    else:
        for node in copied:
            node.kill() if dice.random() < 0.5 else node.end()
        for node in copied:
            node.copy_data()
            node.start()
    for node in copied:
        until(lambda: faults.has_its_place(node), SOON_S, f"{node.name} to vote after a copy was made")
    # The limit of the promise (README): the others have heard of something that came after the copy.
    was = until(lambda: cluster(victim), SOON_S, f"{victim.name} to show itself")
    starts, head, old = was["voting"]["starts"], was["store"]["head"], was["incarnation"]
    for node in (other, away):
        def heard():
            seen = peer_of(node, victim)
            return seen.get("peer_starts") == starts and (seen.get("peer_head") or 0) > head
        until(heard, SOON_S, f"{node.name} to hear of {victim.name}")
    if amnesia:
        faults.part(faults.world.nodes, [away])
    # With one of three away, the victim has voted on each of them.
    keys = [faults.witnesses.put(dice.choice((victim, other)), size) for size in (40, 40, 40, LARGE)]
    faults.pause(dice.random() * 2)
    victim.kill()
    if amnesia:
        other.kill()
    # All who had heard more are away then: what no cluster can notice.
    unheard = [node for node in faults.world.nodes if planted and node not in (victim, other)]
    for node in unheard:
        node.kill()
    if planted:
        away.put_back()
    victim.put_back()
    faults.world.heal()
    victim.start()
    if planted:
        away.start()
    if amnesia:
        nothing_decided(faults, (away, victim), keys, victim, old)
        other.start()
    kind = "another node away" if amnesia else "all others there"
    what = f"{victim.name}, an older copy, to give up its life"
    found = faults.expect(lambda: cluster(victim).get("incarnation", old) != old, SOON_S, what)
    if found:
        until(lambda: faults.has_its_place(victim), faults.CHANGE_S, f"{victim.name}, an older copy, to vote again")
        former = cluster(victim)["voting"]["former"]
        if former != old:
            faults.wrong(f"{victim.name} was {old}, and names {former} as the life that it gave up")
        faults.seen[f"older copies found, {kind}"] += 1
    faults.witnesses.check(faults.world.nodes, keys)
    shutil.rmtree(victim.copy)


def nothing_decided(faults, nodes, keys, victim, old):
    """Two of three are there, and one of them is an older copy: what it has forgotten is not taken for new, nor for gone."""
    began, found = time.monotonic(), None
    while time.monotonic() - began < (3 if found else SOON_S):
        for key in keys[:3]:
            for node in nodes:
                faults.witnesses.look(node, key)
                status, _ = ask(node, Witnesses.path(key), "PUT", 6, b"usurper", {"If-None-Match": "*"})
                if status in (200, 201):
                    faults.wrong(f"{node.name} makes {key} anew with the help of an older copy")
        if found is None and (cluster(victim).get("incarnation", old) != old or peer_of(nodes[0], victim).get("forgot")):
            found, began = True, time.monotonic()
    if found is None:
        faults.wrong(f"{nodes[0].name} does not notice that {victim.name} is an older copy")


def disks_replaced(faults, _, __):
    """All members lose their disks, one after the other, each as soon as the one before says that it is ready."""
    planted = faults.plant == "disks replaced"
    members = members_of(faults)
    keys = [faults.witnesses.put(faults.dice.choice(members), size) for size in (40, 40, 40, 40, LARGE, 3 << 20)]
    for node in members:
        node.kill()
        node.wipe()
        faults.pause(faults.dice.random())
        node.start()
        if planted:
            continue
        what = f"{node.name}, which lost its disk, to be ready"
        until(lambda: ask(node, "/readyz", timeout=5)[0] == 200, faults.CHANGE_S, what)
        # It may be asked for its place after that alone: both only get better.
        if not faults.has_its_place(node):
            faults.wrong(f"{node.name} says that it is ready, and has no place: {cluster(node).get('voting')}")
        faults.seen["disks replaced on readiness"] += 1
    faults.witnesses.check(members, keys)


def kept_full(full, shown):
    """What is shown while these disks are kept full: what is dead gives its room back meanwhile."""

    def asked():
        for node in full:
            node.fill(LEFT_MIB)
        return shown()

    return asked


def put_when_full(full, node, witnesses, size):
    """What a PUT is answered while all these disks are full, before it and after it; and when it began."""
    while True:
        for one in full:
            one.fill(LEFT_MIB)
        body, began = witnesses.body(size), time.monotonic()
        status, text = ask(node, Witnesses.path(f"f{witnesses.count:05}"), "PUT", 30, body)
        # A disk that gave back what was dead takes it rightly: that says nothing.
        if status not in (200, 201) or all(one.left_mib() < RESERVE_MIB for one in full):
            return status, text, began


def full_majority(faults, _, last):
    """A majority of the members has no room above the reserve."""
    dice, witnesses, planted = faults.dice, faults.witnesses, faults.plant == "majority full"
    members = members_of(faults)
    least = len(members) // 2 + 1
    keys = [witnesses.put(dice.choice(members), size) for size in (40, 40, LARGE)]
    doomed = [witnesses.put(dice.choice(members), size) for size in (40, LARGE)]
    witnesses.everywhere(members, keys + doomed)
    full = members[:1] if planted else members[: dice.randrange(least, len(members) + 1)]
    for node in full:
        node.fill(LEFT_MIB)
    for node in full:
        shown = kept_full(full, lambda: "disk" in cluster(node).get("readiness", {}).get("degraded", {}))
        until(shown, SOON_S, f"{node.name} to say that it is full")
        for other in [other for other in faults.world.nodes if other is not node]:
            told = kept_full(full, lambda: (peer_of(other, node).get("health") or {}).get("full"))
            until(told, SOON_S, f"{other.name} to hear that {node.name} is full")
    state = f"while {len(full)} of {len(members)} disks are full"
    for node in faults.world.nodes:
        for size in (40, LARGE):
            status, text, began = put_when_full(full, node, witnesses, size)
            if status != 507 and (status, code_of(text)) != (503, "NoMajority"):
                took = f"{status} {code_of(text)} after {time.monotonic() - began:.1f} s"
                faults.wrong(f"{node.name} answers a PUT of {size} bytes with {took}, {state}")
            faults.seen["writes refused by a majority of full disks"] += status in (503, 507)
    for node in members:
        ready, _ = ask(node, "/readyz")
        if ready != 200:
            faults.wrong(f"{node.name} is not ready, {state}: {ready}")
    witnesses.check(faults.world.nodes, keys)
    for key in doomed:
        node, began = dice.choice(faults.world.nodes), time.monotonic()
        status, text = ask(node, Witnesses.path(key), "DELETE", 30)
        if status != 204:
            took = f"{status} {code_of(text)} after {time.monotonic() - began:.1f} s"
            faults.wrong(f"{node.name} answers a DELETE with {took}, {state}")
            # Whatever became of it, it is gone at last.
            witnesses.delete(node, key)
        witnesses.held[key] = None
        faults.seen["deletes by a majority of full disks"] += status == 204
    witnesses.check(faults.world.nodes, doomed)
    faults.pause(last / 2)
    for node in full:
        node.free()
    for node in faults.world.nodes:
        keys.append(witnesses.put(node))
    witnesses.check(faults.world.nodes, keys)


def key_rotation(faults, nodes, last):
    """A new key generation comes to one node after the other. The last member that gets it may be away meanwhile."""
    dice, witnesses, planted = faults.dice, faults.witnesses, faults.plant == "key rotation"
    is_away = faults.done["key rotation"] % 2 == 1
    spare_is_last = not is_away
    members = members_of(faults, 3 if spare_is_last else None)
    spares = [node for node in nodes if node not in members]
    late = members[-1]
    early = members[:-1] + ([] if spare_is_last else spares)
    dice.shuffle(early)
    keys = [witnesses.put(dice.choice(members), size) for size in (40, LARGE)]
    sh(faults.world.binary, "key", "new", "--key-dir", early[0].keys)
    file = max(os.listdir(early[0].keys))
    number = int(file.removeprefix("kek-"))

    def give(node):
        if file not in os.listdir(node.keys):
            shutil.copy2(os.path.join(early[0].keys, file), node.keys)
        if dice.random() < 0.5:
            node.signal(signal.SIGHUP)

    def sealing(node):
        return next((key["number"] for key in cluster(node).get("key_generations", []) if key["active"]), None)

    def rotated(node):
        """Whether it is decided that the new generation seals, by way of that node."""
        return ask(node, f"/v1/cluster/keys?generation={number}", "POST", 10)[0] == 200

    def needed(node):
        """Older generations that a member may still need, as that node knows it."""
        keys = cluster(node).get("key_generations", [])
        return [key["number"] for key in keys if key["number"] < number and not key["removable"]] if keys else [0]

    def knows(node):
        return any(key["number"] == number for key in cluster(node).get("key_generations", []))

    if is_away:
        late.kill()
    for node in early:
        give(node)
        faults.pause(dice.random() * last / 3)
    if planted:
        give(late)
    for node in early:
        until(lambda: knows(node), SOON_S, f"{node.name} to open generation {number}")
    # A few heartbeats and looks at the directory: whoever would take it for ready too early does.
    faults.pause(3)
    for node in early:
        if node in members and rotated(node):
            faults.wrong(f"{node.name} has generation {number} seal, which {late.name} lacks")
    faults.pause(1)
    for node in early:
        seals = sealing(node)
        if seals is not None and seals >= number:
            faults.wrong(f"{node.name} seals under generation {number}, which {late.name} lacks")
    keys += [witnesses.put(dice.choice(early), size) for size in (40, LARGE)]
    if is_away:
        late.start()
        until(lambda: faults.has_its_place(late), faults.CHANGE_S, f"{late.name} to vote without generation {number}")
    witnesses.check(members, keys)
    give(late)
    until(lambda: rotated(dice.choice(members)), faults.CHANGE_S, f"generation {number} to be made the one that seals")
    for node in members:
        until(lambda: sealing(node) == number, faults.CHANGE_S, f"{node.name} to seal under generation {number}")
    keys += [witnesses.put(node, size) for node in members for size in (40, LARGE)]
    if spare_is_last:
        without_the_key(faults, spares[0])
        give(spares[0])
        until(lambda: "keys" not in cluster(spares[0])["readiness"]["missing"], SOON_S, f"{spares[0].name} to have its key")
    if dice.random() < 0.5:
        again = dice.choice(members)
        again.kill()
        again.start()
        back = lambda: sealing(again) == number and faults.has_its_place(again)  # noqa: E731
        until(back, faults.CHANGE_S, f"{again.name} to seal again as before")
    witnesses.check(faults.world.nodes, keys)
    until(lambda: not needed(dice.choice(members)), faults.CHANGE_S, f"no member to need what is older than {number}")
    faults.seen["key generations that seal"] += 1


def without_the_key(faults, node):
    """A spare lacks a generation that the members seal under: it says so, and takes nothing for damaged."""
    said = lambda: "keys" in cluster(node).get("readiness", {}).get("missing", {})  # noqa: E731
    faults.expect(said, SOON_S, f"{node.name} to say that it lacks a key")
    faults.seen["nodes that said which key they lack"] += 1


class Bodies:
    """Large bodies on their way, each for some seconds, to any node."""

    AT_ONCE, EACH = 3, 3

    def __init__(self, faults):
        self.faults, self.lock = faults, threading.Lock()
        self.answered, self.open, self.spans, self.sizes = [], [], [], []
        seeds = [faults.dice.getrandbits(60) for _ in range(self.AT_ONCE)]
        self.threads = [threading.Thread(target=self.upload, args=(seed,), daemon=True) for seed in seeds]

    def upload(self, seed):
        dice, witnesses = random.Random(seed), self.faults.witnesses
        for _ in range(self.EACH):
            with self.lock:
                body = witnesses.body(int(2 ** dice.uniform(21, 24.7)))
                key = f"b{witnesses.count:05}"
            node, began = dice.choice(self.faults.world.nodes), time.monotonic()
            sent, length = slowly(body, dice.uniform(0.5, 3)), {"Content-Length": str(len(body))}
            status, text = ask(node, Witnesses.path(key), "PUT", 60, sent, length)
            with self.lock:
                witnesses.held[key] = body
                (self.answered if status in (200, 201) else self.open).append(key)
                self.spans.append((began, time.monotonic()))
                self.faults.asked_bodies[f"{status or 'no answer'} {code_of(text) or ''}".strip()] += 1

    def start(self):
        for thread in self.threads:
            thread.start()

    def join(self):
        for thread in self.threads:
            thread.join(4 * 60)

    def judge(self, began, ended):
        """What was answered is there, at all nodes; what was not is there, or not."""
        faults, witnesses = self.faults, self.faults.witnesses
        if faults.plant == "large bodies":
            ask(faults.world.nodes[0], Witnesses.path(self.answered[0]), "PUT", 30, b"planted")
        for key in self.answered:
            two = faults.dice.sample(faults.world.nodes, 2)
            witnesses.check(two, [key])
        members = [node for node in faults.world.nodes if node.name in faults.members]
        witnesses.everywhere(members, faults.dice.sample(self.answered, min(3, len(self.answered))))
        for key in self.open:
            node, wanted = faults.dice.choice(faults.world.nodes), witnesses.held[key]
            status, body = until(lambda: told_of(node, key), SOON_S, f"{node.name} to say what became of {key}")
            if status == 200 and body != wanted:
                faults.wrong(f"{node.name} gives other bytes for {key}, whose upload was not answered")
        crossed = sum(start < ended and end > began for start, end in self.spans)
        faults.seen["large bodies under way while the list changed"] += crossed
        for key in self.answered + self.open:
            witnesses.delete(faults.dice.choice(faults.world.nodes), key)
        # One that was not answered may come after its deletion: nothing is promised of it.
        for key in self.open:
            del witnesses.held[key]


def told_of(node, key):
    """What the node holds for certain, if it says so."""
    answer = ask(node, Witnesses.path(key), timeout=60)
    return answer if answer[0] in (200, 404) else None


def slowly(body, seconds):
    pieces = range(0, len(body), 1 << 20)
    for at in pieces:
        yield body[at : at + (1 << 20)]
        time.sleep(seconds / len(pieces))


def large_bodies(faults, nodes, last):
    """The member list changes while large bodies are on their way; sometimes a node dies as well."""
    dice, bodies = faults.dice, Bodies(faults)
    wanted = faults.list_of(3, 3, 4)
    bodies.start()
    faults.pause(0.3 + dice.random())
    began = time.monotonic()
    asking = threading.Thread(target=faults.ask_for, args=(nodes[0], wanted), daemon=True)
    asking.start()
    if dice.random() < 0.3:
        faults.pause(dice.random())
        nodes[1].kill()
        faults.pause(last / 4)
        nodes[1].start()
    asking.join(2 * faults.CALL_S)
    faults.change(wanted)
    ended = time.monotonic()
    bodies.join()
    bodies.judge(began, ended)


def started_apart(faults, nodes, _):
    """A node is started as if it were alone, or as somebody else. Then as it should be."""
    dice, node, other = faults.dice, nodes[0], nodes[1]
    outside = [one for one in faults.world.nodes if one.name not in faults.members and one is not node]
    # By what its directory says: a spare knows the list as well.
    ways = {
        "no peers": {"BOVEDA_CLUSTER_PEERS": ""},
        "a list of itself": {"BOVEDA_CLUSTER_PEERS": faults.world.peers([node])},
        "durability local": {"BOVEDA_CLUSTER_DURABILITY": "local"},
        "the name of another": {"BOVEDA_NODE_NAME": other.name},
    }
    if outside:
        ways["none of the members"] = {"BOVEDA_CLUSTER_PEERS": faults.world.peers([node, *outside])}
    way = sorted(ways)[faults.turn("started apart", len(ways))]
    faults.change(faults.members)
    epochs = lambda: {cluster(one).get("voting", {}).get("list", {}).get("epoch") for one in (node, other)}  # noqa: E731
    until(lambda: len(epochs()) == 1 and None not in epochs(), SOON_S, f"{node.name} to have the list of {other.name}")
    node.kill()
    said = node.said()
    node.start(**({} if faults.plant == "started apart" else ways[way]))
    end = time.monotonic() + 10
    while node.process.poll() is None and time.monotonic() < end:
        status, _ = ask(node, Witnesses.path("apart"), "PUT", 3, b"decided alone")
        if status in (200, 201):
            faults.wrong(f"{node.name}, started with {way}, takes a write")
            break
        faults.pause(0.05)
    code = node.process.poll()
    if code is None:
        faults.wrong(f"{node.name}, started with {way}, runs on")
        node.kill()
    elif code not in (1, 2) or not (node.says("is the data directory of", said) or node.says("a member of a cluster with", said)):
        faults.wrong(f"{node.name}, started with {way}, ends with {code}, and its log does not say why")
    faults.seen[f"started with {way}: refused"] += code in (1, 2)
    node.start()
    until(lambda: faults.has_its_place(node), faults.CHANGE_S, f"{node.name} to have its place again")


# By name. Each takes the faults, the nodes in some order, and how long something may last.
TRIALS = {
    "older copy": older_copy,
    "disks replaced": disks_replaced,
    "majority full": full_majority,
    "key rotation": key_rotation,
    "large bodies": large_bodies,
    "started apart": started_apart,
}
# What a long run must have met.
MUST_SEE = (
    "older copies found, another node away",
    "older copies found, all others there",
    "disks replaced on readiness",
    "writes refused by a majority of full disks",
    "deletes by a majority of full disks",
    "key generations that seal",
    "nodes that said which key they lack",
    "large bodies under way while the list changed",
)
