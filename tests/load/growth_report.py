"""What growth shows: a table, the targets, and the curves in docs/performance.md.

What must stay true
- A target that could not be measured is shown as such, never as met.
- The targets stand in one place, `targets`.
- `write` changes what stands between its own marks, and nothing else of the page.
"""

import os
import re

from picture import Panel, picture
from report import Target, number

KIB, MIB = 1 << 10, 1 << 20
BEGIN, END = "<!-- growth {}: made by tests/load/growth --docs -->", "<!-- growth {}: end -->"


class Figures:
    """Looks rows up: by side, by step (the number of objects), by kind."""

    def __init__(self, result):
        self.result, self.rows, self.steps = result, [r for r in result["rows"] if not r.get("trouble")], result["steps"]

    def of(self, side, step, kind, **more):
        asked = {"side": side, "step": step, "kind": kind, **more}
        return [row for row in self.rows if all(row.get(k) == v for k, v in asked.items())]

    def mean(self, side, step, kind, field, **more):
        """The mean of the rounds; None when there is no row."""
        values = [row[field] for row in self.of(side, step, kind, **more) if row.get(field) is not None]
        return sum(values) / len(values) if values else None

    def most(self, side, step, kind, field, **more):
        return max((row[field] for row in self.of(side, step, kind, **more)), default=None)


def ratio(a, b):
    return a / b if a is not None and b else None


def ceiling_mib(result):
    found = re.fullmatch(r"(\d+)\s*(MiB|GiB)", result["ceiling"])
    return int(found[1]) * (1024 if found[2] == "GiB" else 1) if found else None


def targets(result):
    figures, out = Figures(result), []
    first, last = result["steps"][0], result["steps"][-1]
    for side in result["sides"]:
        mean = lambda step, kind, field, side=side, **more: figures.mean(side, step, kind, field, **more)
        most = lambda step, kind, field, side=side, **more: figures.most(side, step, kind, field, **more)
        def target(what, *rest, side=side):
            out.append(Target(f"{side}: {what}", *rest))
        for step in result["steps"]:
            at = f"{step:,}"
            if step != first:
                target(f"GET, CPU at {at} times that at {first:,}", ratio(mean(step, "get", "cpu_us"), mean(first, "get", "cpu_us")), 2.0, False)
                target(f"PUT/s at {at}, part of those at {first:,}", ratio(mean(step, "put at", "per_s"), mean(first, "put at", "per_s")), 0.85, True)
                nginx = figures.mean("nginx", step, "get", "per_s")
                if side == "one" and nginx:
                    target(f"GET/s at {at}, part of nginx's", ratio(mean(step, "get", "per_s"), nginx), 1.0, True)
            pages = mean(step, "page", "p50_ms", page="first")
            target(f"1,000 prefixes of {at}, times a page of keys", ratio(mean(step, "page", "p50_ms", page="prefixes"), pages), 3.0, False)
            if side == "three" and "one" in result["sides"]:
                target(f"page of {at}, times one node's", ratio(pages, figures.mean("one", step, "page", "p50_ms", page="first")), 2.0, False)
        target(f"PUT at {last:,}, KiB written by the device", ratio(mean(last, "put at", "device_bytes"), KIB), 8.0, False, "KiB")
        target(f"PUT at {last:,}, p99 times the median", ratio(mean(last, "put at", "p99_ms"), mean(last, "put at", "p50_ms")), 4.0, False)
        target(f"PUT at {last:,}, longest", most(last, "put at", "max_ms"), 250, False, "ms")
        target(f"start in order at {last:,}", most(last, "restart", "ready_s"), 1.0, False, "s")
        target(f"start after kill -9 at {last:,}", most(last, "kill", "ready_s"), 3.0, False, "s")
        target("highest memory, part of the ceiling", ratio(max((r["peak_mib"] for r in figures.rows if r["side"] == side and r["kind"] == "held"), default=None), ceiling_mib(result)), 1.0, False)
        target(f"index at {last:,}, bytes an object", mean(last, "held", "index_bytes"), 500, False)
        if f"{side} before" in result["sides"]:
            for step in result["steps"]:
                for kind, name in (("put at", "PUT"), ("get", "GET")):
                    target(f"{name}/s at {step:,}, part of before", ratio(mean(step, kind, "per_s"), figures.mean(f"{side} before", step, kind, "per_s")), 0.95, True)
    return out


def table(result):
    """Head and lines: a column for each side at each step."""
    figures = Figures(result)
    columns = [(side, step) for side in result["sides"] for step in result["steps"]]
    head = ["", *(f"{side}, {step:,}" for side, step in columns)]
    def three(kind, side, step):
        parts = [figures.mean(side, step, kind, "p50_ms"), figures.mean(side, step, kind, "p99_ms"), figures.most(side, step, kind, "max_ms")]
        return " / ".join(number(part) for part in parts)
    def page(name):
        return lambda s, n: " / ".join(number(f(s, n, "page", field, page=name)) for f, field in ((figures.mean, "p50_ms"), (figures.most, "max_ms")))
    def one(kind, field, scale=1):
        return lambda s, n: number(None if (v := figures.mean(s, n, kind, field)) is None else v / scale)
    def of_nginx(s, n):
        return number(ratio(figures.mean(s, n, "get", "per_s"), figures.mean("nginx", n, "get", "per_s")))
    lines = [
        ("PUT, per second", one("put at", "per_s")),
        ("PUT, ms: p50 / p99 / longest", lambda s, n: three("put at", s, n)),
        ("PUT, CPU us, all nodes", one("put at", "cpu_us")),
        ("PUT, KiB written by the device, a node", one("put at", "device_bytes", KIB)),
        ("GET, per second", one("get", "per_s")),
        ("GET, ms: p50 / p99 / longest", lambda s, n: three("get", s, n)),
        ("GET, CPU us, all nodes", one("get", "cpu_us")),
        ("GET/s, part of nginx's", of_nginx),
        ("first 1,000 keys, ms: p50 / longest", page("first")),
        ("1,000 keys in the middle", page("middle")),
        ("the last 1,000 keys", page("deep")),
        ("1,000 common prefixes", page("prefixes")),
        ("nothing found", page("empty")),
        ("all keys, page after page, keys per second", one("walk", "per_s")),
        ("memory, MiB, the largest node", one("held", "rss_mib")),
        ("disk, bytes an object and node, without the ring of the log", one("held", "disk_bytes")),
        ("of that the index", one("held", "index_bytes")),
        ("start in order until ready, s", one("restart", "ready_s")),
        ("start after kill -9 until ready, s", one("kill", "ready_s")),
    ]
    return head, [[name, *(cell(side, step) for side, step in columns)] for name, cell in lines]


def markdown(head, lines):
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def target_lines(reached):
    word = {None: "not measured", True: "met", False: "missed"}
    return [[t.name, f"{number(t.value)} {t.unit}".strip(), ("at least " if t.at_least else "at most ") + number(t.limit), word[t.met]] for t in reached]


def plain(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip() for line in lines)


def text(result, reached):
    head, lines = table(result)
    parts = [plain([head, *lines]), plain([["target", "measured", "asked for", ""], *target_lines(reached)])]
    noisy = max((row.get("others", 0) for row in result["rows"]), default=0)
    parts.append(f"Others used up to {noisy:.0%} of the machine during a row (the loop devices' threads are among them).")
    if wrong := [f"{r['count']:,} {r['side']} {r['kind']}: {r['trouble']}" for r in result["rows"] if r.get("trouble")]:
        parts.append("INVALID:\n" + "\n".join(wrong))
    return "\n\n".join(parts)


def panels(result):
    """The curves. Writes have a point for each piece of the filling, the rest one for each step."""
    rows, figures = [r for r in result["rows"] if not r.get("trouble")], Figures(result)
    def filling(field, scale=1.0):
        return [(side, [(r["count"], r[field] / scale) for r in rows if r["side"] == side and r["kind"] == "put" and r.get(field) is not None]) for side in result["sides"]]
    def stepped(kind, field, names=result["sides"], scale=1.0, **more):
        return [(side, [(n, v / scale) for n in result["steps"] if (v := figures.mean(side, n, kind, field, **more)) is not None]) for side in names]
    readers = [*result["sides"], "nginx"]
    return [
        Panel("PUT 1 KiB, per second", filling("per_s")),
        Panel("PUT, 99th percentile, ms", filling("p99_ms")),
        Panel("PUT, CPU us, all nodes", filling("cpu_us")),
        Panel("PUT, KiB written by the device, a node", filling("device_bytes", KIB)),
        Panel("GET 1 KiB at random, per second", stepped("get", "per_s", readers)),
        Panel("GET, CPU us, all nodes", stepped("get", "cpu_us", readers)),
        Panel("a page of 1,000 keys, ms", stepped("page", "p50_ms", page="first")),
        Panel("1,000 common prefixes, ms", stepped("page", "p50_ms", page="prefixes")),
        Panel("memory, MiB, the largest node", stepped("held", "rss_mib")),
    ]


def write(result, reached, docs):
    """Puts table, targets and picture of these numbers of nodes into docs/performance.md, in place of the ones before."""
    name = "-".join(str(n) for n in result["nodes"])
    with open(os.path.join(docs, f"growth-{name}.svg"), "w") as out:
        out.write(picture(panels(result)))
    facts = result["facts"]
    where = f"{facts['cores']}; {facts['memory']}; Linux {facts['kernel']}; {facts['disk']}; `memory.ceiling` {result['ceiling']} a node."
    head, lines = table(result)
    made = "\n\n".join([
        BEGIN.format(name), f"![Curves over the number of objects](growth-{name}.svg)", markdown(head, lines),
        markdown(["target", "measured", "asked for", ""], target_lines(reached)), f"Measured on {where}", END.format(name),
    ])
    path = os.path.join(docs, "performance.md")
    with open(path) as page:
        before = page.read()
    marked = re.compile(re.escape(BEGIN.format(name)) + ".*?" + re.escape(END.format(name)), re.S)
    after = marked.sub(lambda _: made, before) if marked.search(before) else before.rstrip() + "\n\n" + made + "\n"
    with open(path, "w") as page:
        page.write(after)
