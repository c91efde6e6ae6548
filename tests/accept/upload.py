"""Acceptance point 2: the notebook's routes with curl, bytes compared, memory of the node watched."""

import os
import shutil
import subprocess

from lib import GIB, MIB, Client, Trouble, in_threads, run, show_bytes

CHUNK = 64 * 1024
ONE_MAX = 150 * MIB
MANY_MAX = 400 * MIB
MANY = 16
CARGADO = "Archivo cargado y cifrado exitosamente"
ELIMINADO = "Archivo eliminado exitosamente"


def make_file(path, size):
    """Random bytes: nothing that a file system or a bug could make up."""
    with open(path, "wb") as file:
        left = size
        while left > 0:
            file.write(os.urandom(min(left, 8 * MIB)))
            left -= min(left, 8 * MIB)


def curl(*arguments, cwd=None):
    """The body and the status."""
    done = run(["curl", "-sS", "-w", "\n%{http_code}", *arguments], timeout=1800, cwd=cwd)
    if done.returncode != 0:
        raise Trouble(f"curl {' '.join(arguments)}: exit {done.returncode}: {done.stderr.strip()}")
    body, _, status = done.stdout.rpartition("\n")
    return body, int(status)


def upload(node, path, name):
    body, status = curl("-F", f"archivo=@{path};filename={name}", f"http://{node.address}/cargar")
    if status != 200 or body.strip() != CARGADO:
        raise Trouble(f"POST /cargar of {name}: {status} {body[:200]!r}")


def delete(node, name):
    body, status = curl("-X", "DELETE", f"http://{node.address}/eliminar/{name}")
    if status != 200 or body.strip() != ELIMINADO:
        raise Trouble(f"DELETE /eliminar/{name}: {status} {body[:200]!r}")


def same_when_streamed(node, name, path):
    """Compares the download with the file as it comes, without a second copy on the disk."""
    get = subprocess.Popen(["curl", "-sSf", f"http://{node.address}/descargar/{name}"], stdout=subprocess.PIPE)
    compared = subprocess.run(["cmp", "-", path], stdin=get.stdout, capture_output=True, text=True)
    get.stdout.close()
    return get.wait() == 0 and compared.returncode == 0


def round_trip(report, space, node, size):
    name = f"big-{size}"
    path = space.path(name)
    make_file(path, size)
    node.reset_peak()
    upload(node, path, name)
    up = node.peak_bytes()
    fetched = space.path("fetched")
    os.mkdir(fetched)
    node.reset_peak()
    _, status = curl("-OJ", f"http://{node.address}/descargar/{name}", cwd=fetched)
    down = node.peak_bytes()
    names = os.listdir(fetched)
    report.require(status == 200 and names == [name], f"{size} bytes: GET gave {status} and the files {names}")
    if names == [name]:
        same = run(["cmp", path, os.path.join(fetched, name)]).returncode == 0
        report.require(same, f"{size} bytes: the download differs from the upload")
    shutil.rmtree(fetched)
    delete(node, name)
    status, _, _ = Client(node).request("GET", f"/descargar/{name}")
    report.require(status == 404, f"{size} bytes: GET after DELETE gave {status}")
    _, status = curl("-X", "DELETE", f"http://{node.address}/eliminar/{name}")
    report.require(status == 404, f"{size} bytes: a second DELETE gave {status}")
    os.unlink(path)
    return up, down


def check(report, space, quick):
    big = 128 * MIB if quick else GIB
    keys = space.new_keys()
    node = space.node("upload", keys)
    node.start()
    report.figure("memory when idle, just started", show_bytes(node.resident_bytes()))
    for size in (0, 1, CHUNK - 1, CHUNK, CHUNK + 1):
        round_trip(report, space, node, size)
    report.figure("0, 1, 65535, 65536, 65537 bytes: up, down, delete", "same bytes")

    up, down = round_trip(report, space, node, big)
    report.figure(f"peak memory, upload of {show_bytes(big)}", show_bytes(up))
    report.figure(f"peak memory, download of {show_bytes(big)}", show_bytes(down))
    report.require(max(up, down) < ONE_MAX, f"peak memory for one file is not below {show_bytes(ONE_MAX)}")

    path = space.path("many")
    make_file(path, big)
    names = [f"many-{i}" for i in range(MANY)]
    node.reset_peak()
    in_threads([lambda name=name: upload(node, path, name) for name in names])
    many = node.peak_bytes()
    report.figure(f"peak memory, {MANY} uploads of {show_bytes(big)} at once", show_bytes(many))
    report.require(many < MANY_MAX, f"peak memory for {MANY} uploads is not below {show_bytes(MANY_MAX)}")
    node.reset_peak()
    wrong = []
    for group in (names[:8], names[8:]):
        def compare(name):
            if not same_when_streamed(node, name, path):
                wrong.append(name)

        in_threads([lambda name=name: compare(name) for name in group])
    report.figure("peak memory, 8 downloads of them at once", show_bytes(node.peak_bytes()))
    report.require(not wrong, f"of {MANY} simultaneous uploads these came back different: {wrong}")
    for name in names:
        delete(node, name)
    os.unlink(path)
    report.require(node.stop() == 0, "SIGTERM does not end the node with exit code 0")
    left = [f for f in os.listdir(os.path.join(node.data, "staged"))]
    report.require(not left, f"uploads left staged files: {left}")
    report.require(not node.panics(), f"panics: {node.panics()[:3]}")
