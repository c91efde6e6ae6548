"""What is shown: the machine, the table, the ratios, the targets.

What must stay true
- A target that could not be measured is shown as such, never as met.
- The targets stand in one place, `targets`, and nowhere else in these scripts.
"""

import os
import platform
import subprocess

from drive import OTHERS_MAX


class Target:
    """What was asked for, what came, and whether that is enough (None: not measured)."""

    def __init__(self, name, value, limit, at_least, unit=""):
        self.name, self.value, self.limit, self.at_least, self.unit = name, value, limit, at_least, unit
        self.met = None if value is None else (value >= limit if at_least else value <= limit)


def row_of(result, server, name):
    rows = [r for r in result["rows"] if r["server"] == server and r["name"] == name and not r["trouble"]]
    return rows[0] if rows else None


def figure(result, name, field, server="boveda"):
    row = row_of(result, server, name)
    return row and row[field]


def ratio(result, name, field):
    ours, theirs = figure(result, name, field), figure(result, name, field, "nginx")
    return ours / theirs if ours and theirs else None


def probe_rate(result):
    rates = [p["records_per_s"] for p in result["probes"]]
    return sum(rates) / len(rates) if rates else None


def targets(result):
    return cost_targets(result) if result["nodes"] > 1 else node_targets(result)


def cost_targets(result):
    """What one write and one read may cost a cluster."""
    def cost(name, field):
        return figure(result, name, field, "majority")
    return [
        Target("PUT 1 KiB x64, log fsyncs of each replica", cost("PUT 1 KiB x64", "fsyncs"), 1.0, False),
        # Two round trips to each of two peers; a mark that nobody waits for; the change feed's rest.
        Target("PUT 1 KiB x1, peer requests of all kinds", cost("PUT 1 KiB x1", "calls"), 6.5, False),
        Target("GET 1 KiB x64, peer requests", cost("GET 1 KiB x64", "calls"), 0.2, False),
    ]


def node_targets(result):
    put = figure(result, "PUT 1 KiB x64", "per_s")
    probe = probe_rate(result)
    big_reads = [figure(result, f"GET 64 MiB x{c}", "cpu_s_per_gib") for c in (1, 4)]
    peaks = [r["peak_mib"] for r in result["rows"] if r["server"] == "boveda"]
    return [
        Target("PUT 1 KiB x64, answered per second", put, 8000, True),
        Target("PUT 1 KiB x64, part of the probe's", put / probe if put and probe else None, 0.12, True),
        Target("PUT 64 MiB x16, CPU s/GiB", figure(result, "PUT 64 MiB x16", "cpu_s_per_gib"), 2.0, False),
        Target("GET 1 KiB x64, part of nginx's requests/s", ratio(result, "GET 1 KiB x64", "per_s"), 0.7, True),
        Target("GET 1 KiB x64, times nginx's CPU", ratio(result, "GET 1 KiB x64", "cpu_s_per_1000"), 2.0, False),
        Target("GET 64 KiB x64, part of nginx's requests/s", ratio(result, "GET 64 KiB x64", "per_s"), 0.4, True),
        Target("GET 64 MiB, CPU s/GiB (the worse of x1 and x4)", max(big_reads) if all(big_reads) else None, 1.3, False),
        Target("idle memory", result["idle_mib"], 30, False, "MiB"),
        Target("highest memory under any load", max(peaks) if peaks else None, 250, False, "MiB"),
    ]


def read(path, default="?"):
    try:
        with open(path) as f:
            return f.read().strip()
    except OSError:
        return default


def version(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "?"
    return ((done.stdout or done.stderr).splitlines() or ["?"])[0].strip()


def disk_of(path):
    """File system and device below a path."""
    device, kind, best = "?", "?", ""
    for line in read("/proc/mounts", "").splitlines():
        source, mount, fs = line.split()[:3]
        if (path + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best):
            device, kind, best = source, fs, mount
    name = os.path.basename(os.path.realpath(device))
    turning = read(f"/sys/class/block/{name}/queue/rotational", None)
    turns = {"0": "reported as solid state", "1": "reported as rotating"}.get(turning, "type unknown")
    return f"{kind} on {device}, {turns}"


def facts(place, binary, oha, nginx):
    model = [l.split(":", 1)[1].strip() for l in read("/proc/cpuinfo", "").splitlines() if l.startswith("model name")]
    memory = [int(l.split()[1]) >> 10 for l in read("/proc/meminfo", "").splitlines() if l.startswith("MemTotal")]
    return {
        "cores": f"{os.cpu_count()} ({model[0] if model else platform.machine()})",
        "memory": f"{memory[0]} MiB" if memory else "?",
        "kernel": platform.release(),
        "disk": disk_of(place),
        "binary": f"{os.path.getsize(binary) / (1 << 20):.1f} MiB, {version([binary, '--version'])}",
        "oha": version([oha, "--version"]),
        "nginx": version([nginx, "-v"]) if nginx else "left out",
    }


def number(value):
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"


def show(result, reached):
    many = result["nodes"] > 1
    ratios = ("of single", "peer calls", "log fsyncs") if many else ("of nginx", "CPU x", "of probe")
    head = ("row", "server", "requests/s", "MB/s", "p50 ms", "p99 ms", "CPU s/1000", "CPU s/GiB", "peak MiB", *ratios)
    probe = probe_rate(result)
    lines = []
    for row in result["rows"]:
        line = [row["name"], row["server"]]
        for field in ("per_s", "mb_per_s", "p50_ms", "p99_ms", "cpu_s_per_1000", "cpu_s_per_gib", "peak_mib"):
            line.append(number(row.get(field)))
        if many:
            single = figure(result, row["name"], "per_s", "single")
            line.append(number(row["per_s"] / single) if single and "per_s" in row else "")
            line += [number(row.get("calls")), number(row.get("fsyncs"))]
            lines.append(line)
            continue
        ours = row["server"] == "boveda"
        line.append(number(ratio(result, row["name"], "per_s")) if ours and row["method"] == "GET" else "")
        line.append(number(ratio(result, row["name"], "cpu_s_per_1000")) if ours and row["method"] == "GET" else "")
        line.append(number(row["per_s"] / probe) if probe and row["method"] == "PUT" and "per_s" in row else "")
        lines.append(line)
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, *lines]:
        print("  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths))).rstrip())
    print()
    for p in result["probes"]:
        print(f"probe: {number(p['records_per_s'])} records/s of 4 KiB, {p['waiters']} waiters, "
              f"p50 {p['p50_ms']:.2f} ms, p99 {p['p99_ms']:.2f} ms, {p['batch_mean']:.0f} to an fsync")
    print(f"node: ready after {result['start_s']:.2f} s, {result['idle_mib']:.1f} MiB idle before the load, "
          f"{result['after_mib']:.1f} MiB after it; {result['nodes']} node(s)")
    print()
    for t in reached:
        verdict = {True: "PASS", False: "FAIL", None: "not measured"}[t.met]
        sign = "at least" if t.at_least else "at most"
        print(f"{verdict:<12}  {t.name}: {number(t.value)} {t.unit}".rstrip() + f" ({sign} {t.limit})")
    print()
    for name, value in result["facts"].items():
        print(f"{name:<7} {value}")
    print(f"took    {result['took_s']:.0f} s, {result['seconds']:g} s a row")
    for row in result["rows"]:
        if row["trouble"]:
            print(f"INVALID {row['name']} on {row['server']}: {row['trouble']}")
    for lost in result["lost"]:
        print(f"INVALID {lost}")
    for row in result["rows"]:
        for turn in row["left_out"]:
            print(f"AGAIN   {row['name']} on {row['server']}, left out, others used {turn['others']:.0%}: "
                  f"{number(turn.get('per_s'))} requests/s, {number(turn.get('cpu_s_per_gib'))} CPU s/GiB")
    noisy = [f"{r['name']}/{r['server']} {r['others']:.0%}" for r in result["rows"] if r["others"] > OTHERS_MAX]
    if noisy:
        print(f"NOISY   others used more than {OTHERS_MAX:.0%} of the machine in {len(noisy)} rows: " + ", ".join(noisy))
    if result["facts"]["disk"].startswith(("tmpfs", "ramfs")):
        print("NOISY   this is no disk: the PUT figures and the probe mean nothing (--dir)")
