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


def linearizable(calls, initial=None):
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
    return len(good) + len(bad)


if __name__ == "__main__":
    print(f"{self_test()} histories judged as known")
