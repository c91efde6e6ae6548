"""Is the history of one key linearizable? Wing and Gong's search in the order of answers, with memory.

The state of a key is the value that it holds, or None. A call without an answer may take effect at any time after it
began, or never. What a call does to a state is decided by `step`; nothing else knows about objects.
"""

from collections import namedtuple

# kind: put, delete, get. condition: None, ("absent",), ("is", value) or ("not", value).
# answer: ok, gone (404), refused (412), unknown. value: what a put writes or a get saw.
Call = namedtuple("Call", "kind condition value answer begin end")

CONFIGURATIONS_MAX = 200_000
IMPOSSIBLE = object()
# The state of a bucket that is not there; one that is there has that of its one object.
NO_BUCKET = "no bucket"


def holds(condition, state):
    if condition is None:
        return True
    if condition[0] == "absent":
        return state is None
    return state is not None and state == condition[1]


def step(call, state):
    """The state after the call, or IMPOSSIBLE when it cannot have its answer in this state."""
    if call.kind == "get":
        return state if state == call.value else IMPOSSIBLE
    met = holds(call.condition, state)
    if call.answer == "refused":
        return IMPOSSIBLE if met else state
    if call.answer == "gone":
        return state if met and state is None else IMPOSSIBLE
    if not met:
        # Nobody knows what was answered: it may have been refused.
        return state if call.answer == "unknown" else IMPOSSIBLE
    if call.kind == "delete":
        return None if state is not None or call.answer == "unknown" else IMPOSSIBLE
    return call.value


def in_bucket(call, state):
    """The same of the one object of a bucket that comes and goes. More kinds: create (answer: made, there), delete bucket
    (answer: ok, not empty). One answer more of all but create: no bucket."""
    is_there = state != NO_BUCKET
    if call.answer == "no bucket":
        return IMPOSSIBLE if is_there else state
    if call.kind == "create":
        if call.answer != "unknown" and is_there != (call.answer == "there"):
            return IMPOSSIBLE
        return state if is_there else None
    if call.kind == "delete bucket":
        if call.answer == "not empty":
            # Or it held something that nobody can say of whether it was ever there.
            return state if is_there else IMPOSSIBLE
        if is_there and state is not None:
            return state if call.answer == "unknown" else IMPOSSIBLE
        # Who deletes at the same time as somebody else is told that it is gone, too.
        return NO_BUCKET
    if not is_there:
        return state if call.answer == "unknown" else IMPOSSIBLE
    return step(call, state)


def linearizable(calls, initial=None, step=step):
    """True or False; None when the search grew beyond its bound."""
    events = []
    for number, call in enumerate(calls):
        if call.answer == "unknown":
            if call.kind != "get":
                events.append((call.begin, 0, number))
        else:
            events += [(call.begin, 0, number), (call.end, 1, number)]
    events.sort()
    pending = set()
    # A configuration: the state, and which of the pending calls have taken effect.
    configurations = {(initial, frozenset())}
    for _, is_answer, number in events:
        if not is_answer:
            pending.add(number)
            continue
        done, seen, todo = set(), set(configurations), list(configurations)
        while todo:
            state, applied = todo.pop()
            if number in applied:
                done.add((state, applied - {number}))
                continue
            for other in pending - applied:
                after = step(calls[other], state)
                if after is IMPOSSIBLE:
                    continue
                # A lost call that changes nothing has as well never happened.
                if after == state and calls[other].answer == "unknown":
                    continue
                following = (after, applied | {other})
                if following not in seen:
                    seen.add(following)
                    todo.append(following)
            if len(seen) > CONFIGURATIONS_MAX:
                return None
        pending.discard(number)
        configurations = done
        if not configurations:
            return False
    return True


def self_test():
    """Histories whose verdict is known."""
    def put(v, b, e, answer="ok", condition=None):
        return Call("put", condition, v, answer, b, e)

    def get(v, b, e):
        return Call("get", None, v, "ok", b, e)

    def delete(b, e, answer="ok", condition=None):
        return Call("delete", condition, None, answer, b, e)

    good = [
        [],
        [put("a", 0, 1), get("a", 2, 3)],
        [put("a", 0, 5), get(None, 1, 2), get("a", 3, 4)],
        [put("a", 0, 1), put("b", 2, None, "unknown"), get("a", 3, 4), get("b", 5, 6)],
        [put("a", 0, 1), put("b", 2, None, "unknown"), get("a", 3, 4), get("a", 5, 6)],
        [put("a", 0, 1, "ok", ("absent",)), put("b", 0, 2, "refused", ("absent",)), get("a", 3, 4)],
        [put("a", 0, 1), delete(2, 3), delete(4, 5, "gone"), get(None, 6, 7)],
        [put("a", 0, 1), put("b", 2, 3, "ok", ("is", "a")), put("c", 4, 5, "refused", ("is", "a")), get("b", 6, 7)],
        [put("a", 0, 1), delete(2, None, "unknown"), put("b", 3, 4, "ok", ("absent",))],
        [put("a", 0, 10), put("b", 0, 10), get("a", 1, 2), get("b", 3, 4)],
    ]
    bad = [
        [get("a", 0, 1)],
        [put("a", 0, 1), get(None, 2, 3)],
        [put("a", 0, 1), put("b", 2, 3), get("a", 4, 5)],
        [put("a", 0, 10), get("a", 1, 2), get(None, 3, 4)],
        [put("a", 0, 1, "ok", ("absent",)), put("b", 2, 3, "ok", ("absent",))],
        [put("a", 0, 1), put("b", 2, 3, "ok", ("is", "a")), put("c", 2, 4, "ok", ("is", "a"))],
        [put("a", 0, 1), put("b", 2, None, "unknown"), get("b", 3, 4), get("a", 5, 6)],
        [put("a", 0, 1), put("b", 2, 3, "refused", ("is", "a"))],
        [put("a", 0, 1), delete(2, 3), get("a", 4, 5)],
        [delete(0, 1)],
        [put("a", 0, 1), delete(2, 3, "gone")],
        [put("a", 0, 10), put("b", 0, 10), get("a", 1, 2), get("b", 3, 4), get("a", 5, 6)],
    ]
    for history in good:
        assert linearizable(history) is True, history
    for history in bad:
        assert linearizable(history) is False, history
    return len(good) + len(bad) + self_test_of_buckets(put, get)


def self_test_of_buckets(put, get):
    """The same of buckets that come and go."""
    def create(b, e, answer="made"):
        return Call("create", None, None, answer, b, e)

    def delete_bucket(b, e, answer="ok"):
        return Call("delete bucket", None, None, answer, b, e)

    def none(kind, b, e):
        return Call(kind, None, "a" if kind == "put" else None, "no bucket", b, e)

    good = [
        [create(0, 1), put("a", 2, 3), get("a", 4, 5), delete_bucket(6, 7, "not empty")],
        [create(0, 1), put("a", 2, 9), delete_bucket(3, 4), none("get", 5, 6), create(7, 8), get("a", 10, 11)],
        [create(0, 1), put("a", 2, None, "unknown"), delete_bucket(3, 4), create(5, 6), get(None, 7, 8)],
        [create(0, 1), create(2, 3, "there"), delete_bucket(4, 6), delete_bucket(4, 6), none("put", 7, 8)],
        [create(0, 1), delete_bucket(2, None, "unknown"), none("delete bucket", 3, 4)],
        [create(0, None, "unknown"), get(None, 1, 2), delete_bucket(3, 4)],
    ]
    bad = [
        [get(None, 0, 1)],
        [create(0, 1), put("a", 2, 3), delete_bucket(4, 5)],
        [create(0, 1), put("a", 2, 5), delete_bucket(3, 4), none("get", 6, 7)],
        [create(0, 1), put("a", 2, 3), none("get", 4, 5)],
        [create(0, 1), delete_bucket(2, 3), put("a", 4, 5)],
        [create(0, 1), delete_bucket(2, 3), create(4, 5, "there")],
        [create(0, 1), put("a", 2, None, "unknown"), delete_bucket(3, 4), create(5, 6), get(None, 7, 8), get("b", 9, 10)],
        [delete_bucket(0, 1, "not empty")],
    ]
    for history in good:
        assert linearizable(history, NO_BUCKET, in_bucket) is True, history
    for history in bad:
        assert linearizable(history, NO_BUCKET, in_bucket) is False, history
    return len(good) + len(bad)


if __name__ == "__main__":
    print(f"{self_test()} histories judged as known")
