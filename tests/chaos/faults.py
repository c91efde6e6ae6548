"""One fault after another, drawn by a seed, with calm between them.

What must stay true
- A disk is lost only while the member list is whole and everybody else of it has a disk: what a majority was answered for
  is then still held by one that votes. The next fault begins when the new life votes.
- After a change of the list the cluster has a whole list of three or four again before the next fault begins.
"""

import collections
import json
import random
import signal
import threading
import time

import buckets
from trials import TRIALS, Witnesses
from world import ask, until

# The list that a run begins with. Who is configured and not of the list is a spare.
FIRST_MEMBERS = ("n1", "n2", "n3")
# How long a change may take, with all nodes there, and how long a lost disk may be missed.
CHANGE_S = 90
CALL_S = 30


class Faults(threading.Thread):
    KINDS = ["partition", "minority", "one way", "loss", "kill", "kill two", "stop", "disk full", "kill in partition",
             "clock", "rough", "rough and kill"]
    # Only where nodes decide together.
    OF_A_LIST = ["members", "members race", "members and kill", "members and partition", "members and rough", "lost disk",
                 *TRIALS]
    # A short run meets these: the last one first.
    FIRST = ["kill", "disks replaced", "key rotation", "started apart", "older copy", "members and kill"]
    # What `run --plant` spoils on purpose, which must be found, and the fault that meets it.
    PLANTED = {"list": ["planted list"], "write": ["planted write"], "bucket": ["planted bucket"], **{name: [name] for name in TRIALS}}
    CHANGE_S, CALL_S = CHANGE_S, CALL_S
    LONGEST_S = 5 * CHANGE_S

    def __init__(self, world, seed, stop, plant=None, only=None):
        super().__init__(daemon=True)
        self.world, self.stop, self.dice, self.plant = world, stop, random.Random(seed), plant
        self.seed = seed
        self.only = self.PLANTED[plant] if plant else only
        self.done, self.seen = collections.Counter(), collections.Counter()
        self.asked, self.asked_bodies = collections.Counter(), collections.Counter()
        self.members = tuple(node.name for node in world.nodes)
        self.error, self.broken = None, []
        self.witnesses = Witnesses(self.wrong, seed)
        self.history = None

    def kinds(self):
        """All that a long run meets."""
        return self.KINDS + (self.OF_A_LIST if self.world.durability == "majority" else [])

    def turn(self, kind, ways):
        """Which of so many ways it takes this time: one after the other, beginning anywhere."""
        return (self.seed + self.done[kind]) % ways

    def wrong(self, text):
        """A promise was broken."""
        self.broken.append(text)

    def expect(self, test, seconds, what):
        """Like `until`, where the run can go on if it does not come."""
        try:
            return until(test, seconds, what)
        except RuntimeError as error:
            return self.wrong(str(error))

    def run(self):
        try:
            votes = self.world.durability == "majority"
            kinds = self.only or self.kinds()
            bag = self.FIRST[:] if votes and not self.only else []
            while not self.stop.is_set():
                if not bag:
                    bag = kinds[:]
                    self.dice.shuffle(bag)
                kind = bag.pop()
                self.fault(kind)
                self.done[kind] += 1
                self.pause(1.5 + self.dice.random() * 2)
        except Exception as error:
            self.error = repr(error)

    def restarted_if_it_must(self, node):
        """What docs/operations.md asks of an operator: a node whose disk met its end in the middle of a checkpoint takes
        no writes until it is started again."""
        ready = until(lambda: ask(node, "/readyz")[1], 30, f"{node.name} to say whether it is ready")
        if "store" in (json.loads(ready).get("degraded") or {}):
            self.seen["restarted after a full disk"] += 1
            node.end()
            node.start()

    def pause(self, seconds):
        self.stop.wait(seconds)

    def fault(self, kind):
        nodes = self.world.nodes[:]
        self.dice.shuffle(nodes)
        last = 2 + self.dice.random() * 5
        if kind in TRIALS:
            TRIALS[kind](self, nodes, last)
        elif kind.startswith("planted"):
            self.planted(kind, nodes[0])
        elif kind == "lost disk":
            self.lose_disk(nodes[0])
        elif kind.startswith("members"):
            self.change_under(kind, nodes, last)
        elif kind in ("partition", "minority", "kill in partition"):
            self.part(nodes, nodes[:1] if kind != "partition" else nodes)
            self.pause(last / 2)
            if kind == "kill in partition":
                nodes[1].kill()
                self.pause(last / 4)
                nodes[1].start()
            self.pause(last / 2)
            self.world.heal()
        elif kind == "one way":
            nodes[0].drop_from(nodes[1])
            if self.dice.random() < 0.5:
                nodes[1].drop_from(nodes[2])
            self.pause(last)
            self.world.heal()
        elif kind == "loss":
            for one in nodes:
                for other in nodes:
                    if one is not other:
                        one.drop_from(other, 0.15)
            self.pause(last)
            self.world.heal()
        elif kind in ("kill", "kill two"):
            victims = nodes[:1] if kind == "kill" else nodes[:2]
            for victim in victims:
                victim.kill()
            self.pause(self.dice.random() * 3)
            for victim in victims:
                victim.start()
        elif kind == "stop":
            nodes[0].signal(signal.SIGSTOP)
            self.pause(5 + self.dice.random() * 8)
            nodes[0].signal(signal.SIGCONT)
        elif kind == "disk full":
            nodes[0].fill()
            self.pause(last)
            nodes[0].free()
            self.restarted_if_it_must(nodes[0])
        elif kind == "clock":
            # It stays wrong until the next jump, through whatever comes in between.
            nodes[0].clock(self.dice.choice((-1, 1)) * self.dice.randrange(3600, 12 * 3600))
            self.pause(last)
        elif kind in ("rough", "rough and kill"):
            self.world.weather("rough")
            self.pause(last)
            if kind == "rough and kill":
                nodes[0].kill()
                self.pause(last / 4)
                nodes[0].start()
                self.pause(last / 2)
            self.world.weather("calm")

    @staticmethod
    def part(nodes, alone):
        """Each of `alone` hears nobody, and nobody hears it."""
        for one in alone:
            for other in nodes:
                if other is not one:
                    one.drop_from(other)
                    other.drop_from(one)

    def list_of(self, *sizes):
        """Some of the nodes, but not those that vote now."""
        names = [node.name for node in self.world.nodes]
        while True:
            size = self.dice.choice(sizes)
            chosen = tuple(sorted(self.dice.sample(names, size)))
            if chosen != self.members:
                return chosen

    def change_under(self, kind, nodes, last):
        """The member list changes, and something happens meanwhile."""
        wanted = self.list_of(2, 3, 3, 3, 4)
        # Whoever gave up may still be at it when the next fault begins: never with so few.
        rival = self.list_of(3, 4) if kind == "members race" else None
        asking = [threading.Thread(target=self.ask_for, args=(nodes[0], wanted), daemon=True)]
        if rival:
            asking.append(threading.Thread(target=self.ask_for, args=(nodes[1], rival), daemon=True))
        if kind == "members and rough":
            self.world.weather("rough")
        for thread in asking:
            thread.start()
        # At any moment of it: a change takes from some hundredths of a second to seconds.
        time.sleep(self.dice.random() ** 2 * 1.5)
        if kind == "members and kill":
            victim = self.dice.choice(nodes)
            victim.kill()
            self.pause(last / 4)
            victim.start()
        elif kind == "members and partition":
            self.part(nodes, [self.dice.choice(nodes)])
            self.pause(last)
            self.world.heal()
        for thread in asking:
            thread.join(2 * CALL_S)
        self.world.weather("calm")
        self.change(wanted)
        if len(wanted) < 3:
            # Two of two must be there for anything to be decided: not for long.
            self.pause(last / 4)
            self.change(FIRST_MEMBERS)

    def ask_for(self, node, names):
        """Asks a node for a list; whether it is in force."""
        status, body = ask(node, f"/v1/cluster/members?names={','.join(names)}", "PUT", CALL_S)
        code = json.loads(body).get("code") if body[:1] == b"{" and status != 200 else None
        self.asked[" ".join(str(part) for part in (status or "no answer", code) if part)] += 1
        if status not in (None, 200, 409, 503):
            self.error = f"{node.name} answers a change of the members with {status} {body[:200]}"
        return status == 200 and tuple(sorted(seat["name"] for seat in json.loads(body)["seats"])) == names

    def change(self, names):
        """Asks one node after another until the list is in force."""
        until(lambda: self.ask_for(self.dice.choice(self.world.nodes), names), CHANGE_S, f"the list {names} to be in force")
        self.members = names

    def planted(self, kind, node):
        """Objects or buckets go away, and nobody has asked for it."""
        if kind == "planted bucket":
            buckets.replace(node, self.history.buckets)
            return self.pause(1)
        objects = [f"many/s{n:04}" for n in (0, 350, 699)]
        if kind == "planted write":
            objects = [f"cargas/{key}" for key in self.history.live]
        for path in objects:
            ask(node, f"/v1/objects/{path}", "DELETE")
        self.pause(1)

    def lose_disk(self, node):
        self.change(self.members)
        node.kill()
        node.wipe()
        self.pause(self.dice.random() * 3)
        node.start()
        until(lambda: self.has_its_place(node), CHANGE_S, f"{node.name}, which lost its disk, to vote again")

    def has_its_place(self, node):
        status, body = ask(node, "/v1/cluster")
        if status != 200:
            return False
        shown = json.loads(body)
        voting = shown.get("voting") or {}
        members = voting.get("members") or {}
        seats = {seat["name"]: seat["incarnation"] for seat in members.get("seats", [])}
        if members.get("before") or not seats:
            return False
        if node.name not in self.members:
            return node.name not in seats
        return voting.get("votes") is True and seats.get(node.name) == shown["incarnation"]
