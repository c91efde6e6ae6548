"""Clients of buckets that come and go: each is made, has one object put, read, listed and deleted in it, is deleted, and
made again, by all clients at once.

What must stay true
- The history of a bucket and its object is one that `check.in_bucket` allows: a bucket that is there or not, with one
  object in it or none. So what was written into a former life shows in no later one, and of a PUT and the deletion of
  its bucket not both succeed.
"""

import collections
import hashlib
import json
import time

from check import NO_BUCKET, Call, in_bucket, linearizable
from world import ask

LIVE = 5
CALLS_PER_BUCKET = 60
OBJECT = "k"


class Buckets:
    """What clients did, by bucket. Names are given up after a number of calls, so that a history stays checkable."""

    def __init__(self):
        self.numbers = 0
        self.calls, self.issued = collections.defaultdict(list), collections.Counter()
        self.live = [self.new_name() for _ in range(LIVE)]

    def new_name(self):
        self.numbers += 1
        return f"b{self.numbers:06}"

    def take(self, dice):
        at = dice.randrange(len(self.live))
        name = self.live[at]
        self.issued[name] += 1
        if self.issued[name] >= CALLS_PER_BUCKET:
            self.live[at] = self.new_name()
        return name

    def failed(self):
        """Buckets whose history nobody can explain, and how many were too hard to judge."""
        verdicts = {name: linearizable(calls, NO_BUCKET, in_bucket) for name, calls in self.calls.items()}
        return [name for name, holds in verdicts.items() if holds is False], list(verdicts.values()).count(None)

    def met(self, kind, answer):
        """How many calls of a kind had that answer."""
        return sum(call.kind == kind and call.answer == answer for calls in self.calls.values() for call in calls)

    def made_again(self):
        """How often a bucket was made that had been there before."""
        made = (sum(call.answer == "made" for call in calls) for calls in self.calls.values())
        return sum(max(0, times - 1) for times in made)


class BucketCalls:
    """What makes a client of `run` one of buckets that come and go."""

    def one(self):
        with self.history.lock:
            bucket = self.history.buckets.take(self.dice)
        calls = {self.create: 20, self.delete_bucket: 22, self.put_object: 28, self.get_object: 12, self.list_object: 8,
                 self.delete_object: 10}
        self.dice.choices(list(calls), list(calls.values()))[0](bucket)

    def note(self, bucket, kind, condition, value, answer, begin):
        end = time.monotonic() if answer != "unknown" else None
        with self.history.lock:
            self.history.buckets.calls[bucket].append(Call(kind, condition, value, answer, begin, end))
            self.history.kinds[(f"{kind}, comes and goes", answer)] += 1

    def said(self, answer, kind):
        """Status and code of an answer; the status is None where it says nothing."""
        code = json.loads(answer[2]).get("code") if answer and answer[2][:1] == b"{" else None
        status = answer[0] if answer else None
        if status == 500:
            self.history.failed(kind.upper(), self.node, answer[2])
        return status, code

    def write(self, bucket, kind, condition, value, answer, begin, known):
        """Notes a write, whose answers of success are `known`, by status."""
        status, code = self.said(answer, kind)
        if status in known:
            outcome = known[status]
        elif (status, code) == (404, "NoSuchBucket"):
            outcome = "no bucket"
        elif kind == "delete bucket" and (status, code) == (409, "BucketNotEmpty"):
            outcome = "not empty"
        else:
            outcome = self.outcome(answer, kind, bucket)
        if outcome:
            self.note(bucket, kind, condition, value, outcome, begin)

    def create(self, bucket):
        begin = time.monotonic()
        answer = self.ask("PUT", f"/v1/buckets/{bucket}")
        self.write(bucket, "create", None, None, answer, begin, {201: "made", 200: "there"})

    def delete_bucket(self, bucket):
        begin = time.monotonic()
        answer = self.ask("DELETE", f"/v1/buckets/{bucket}")
        self.write(bucket, "delete bucket", None, None, answer, begin, {204: "ok"})

    def put_object(self, bucket):
        self.count += 1
        body = f"{self.name_}.{self.count}.".encode()
        value = hashlib.sha256(body).hexdigest()[:16]
        condition, headers = (("absent",), {"If-None-Match": "*"}) if self.dice.random() < 0.3 else (None, {})
        begin = time.monotonic()
        answer = self.ask("PUT", f"/v1/objects/{bucket}/{OBJECT}", body, headers)
        if answer and answer[0] in (200, 201):
            self.history.names(answer[1]["etag"], value)
        self.write(bucket, "put", condition, value, answer, begin, {200: "ok", 201: "ok"})

    def delete_object(self, bucket):
        begin = time.monotonic()
        answer = self.ask("DELETE", f"/v1/objects/{bucket}/{OBJECT}")
        self.write(bucket, "delete", None, None, answer, begin, {204: "ok"})

    def get_object(self, bucket):
        begin = time.monotonic()
        answer = self.ask("GET", f"/v1/objects/{bucket}/{OBJECT}")
        self.read(bucket, answer, begin, lambda body: hashlib.sha256(body).hexdigest()[:16])

    def list_object(self, bucket):
        begin = time.monotonic()
        answer = self.ask("GET", f"/v1/objects/{bucket}")

        def shown(body):
            there = [entry for entry in json.loads(body)["objects"] if entry["key"] == OBJECT]
            # The writer of what it does not know had no answer: then it says nothing.
            return (self.history.value_of(f'"{there[0]["etag"]}"') or LookupError) if there else None

        self.read(bucket, answer, begin, shown)

    def read(self, bucket, answer, begin, value_of):
        """Notes what a read saw."""
        status, code = self.said(answer, "get")
        if status == 200:
            value = value_of(answer[2])
            if value is not LookupError:
                self.note(bucket, "get", None, value, "ok", begin)
        elif (status, code) == (404, "NoSuchKey"):
            self.note(bucket, "get", None, None, "ok", begin)
        elif (status, code) == (404, "NoSuchBucket"):
            self.note(bucket, "get", None, None, "no bucket", begin)
        elif status in (None, "refused", 500, 503, 507):
            self.history.kinds.update({("get, comes and goes", "none" if status is None else str(status)): 1})
        else:
            self.strange.append(f"GET in {bucket}: {answer[0]} {answer[2][:200]}")


def replace(node, buckets):
    """Planted: buckets are emptied, deleted and made again, and nobody has asked for it."""
    for name in buckets.live:
        ask(node, f"/v1/objects/{name}/{OBJECT}", "DELETE")
        ask(node, f"/v1/buckets/{name}", "DELETE")
        ask(node, f"/v1/buckets/{name}", "PUT")
