"""s5cmd: many transfers at once, with the AWS SDK for Go of version 1 underneath."""

import os
import shutil

from checks import Pass, command, digests, file_of, same, same_trees, tree, true
from passes.fetch import fetch

PASS = Pass("s5cmd", packages=("s5cmd",))


def s5cmd(at, *words, **more):
    retries = "5" if at.kill else "0"
    return command(
        [shutil.which("s5cmd"), "--endpoint-url", at.endpoint, "--retry-count", retries, *words], at.environment(), **more
    )


@PASS.check("mb, ls, rb")
def _(at):
    name = at.bucket("life")
    s5cmd(at, "mb", f"s3://{name}")
    true("ls has it", name in s5cmd(at, "ls"))
    s5cmd(at, "rb", f"s3://{name}")
    true("ls has it no more", name not in s5cmd(at, "ls"))


@PASS.check("cp: a tree up and down")
def _(at):
    name, up, down = at.bucket("cp"), tree(at.path("cp", "up"), "cp"), at.path("cp", "down/")
    s5cmd(at, "mb", f"s3://{name}")
    s5cmd(at, "cp", up + "/", f"s3://{name}/p/")
    s5cmd(at, "cp", f"s3://{name}/p/*", down)
    same_trees(up, down)
    same("head", str(1 << 20) in s5cmd(at, "head", f"s3://{name}/p/dir/mib"), True)


@PASS.check("sync: --delete, by size alone")
def _(at):
    name, up, down = at.bucket("sync"), tree(at.path("sync", "up"), "sync"), at.path("sync", "down/")
    s5cmd(at, "mb", f"s3://{name}")
    s5cmd(at, "sync", up + "/", f"s3://{name}/")
    os.remove(os.path.join(up, "one"))
    file_of(os.path.join(up, "kib"), "changed", 1025)
    s5cmd(at, "sync", "--size-only", "--delete", up + "/", f"s3://{name}/")
    s5cmd(at, "cp", f"s3://{name}/*", down)
    same_trees(up, down)


@PASS.check("cp, mv on the server, cat, du, rm")
def _(at):
    name, up, down = at.bucket("server"), tree(at.path("server", "up"), "server"), at.path("server", "down/")
    s5cmd(at, "mb", f"s3://{name}")
    s5cmd(at, "cp", up + "/", f"s3://{name}/a/")
    s5cmd(at, "cp", f"s3://{name}/a/*", f"s3://{name}/b/")
    s5cmd(at, "mv", f"s3://{name}/b/*", f"s3://{name}/c/")
    s5cmd(at, "cp", f"s3://{name}/c/*", down)
    same_trees(up, down)
    true("du", str(sum(os.path.getsize(os.path.join(up, f)) for f in digests(up))) in s5cmd(at, "du", f"s3://{name}/c/*"))
    s5cmd(at, "pipe", f"s3://{name}/piped", stdin=b"piped")
    same("cat", s5cmd(at, "cat", f"s3://{name}/piped"), "piped")
    s5cmd(at, "rm", f"s3://{name}/*")
    # It says nothing of an empty bucket, and of a pattern that no key has that there is none.
    same("ls", s5cmd(at, "ls", f"s3://{name}/").strip(), "")
    said = s5cmd(at, "ls", f"s3://{name}/*", fails=True)
    true(f"nothing is left: {said}", "no object found" in said)


@PASS.check("cp: many small files, 64 at once")
def _(at):
    files = {f"d{n % 10}/f{n:03}": n * 11 for n in range(500)}
    name, up, down = at.bucket("many"), tree(at.path("many", "up"), "many", files), at.path("many", "down/")
    s5cmd(at, "mb", f"s3://{name}")
    s5cmd(at, "--numworkers", "64", "cp", up + "/", f"s3://{name}/")
    s5cmd(at, "--numworkers", "64", "cp", f"s3://{name}/*", down)
    same_trees(up, down)


@PASS.check("presign")
def _(at):
    name, file = at.bucket("presign"), file_of(at.path("presign", "f"), "presign", 5000)
    s5cmd(at, "mb", f"s3://{name}")
    s5cmd(at, "cp", file, f"s3://{name}/a b")
    status, _, body = fetch(at, s5cmd(at, "presign", f"s3://{name}/a b").strip())
    with open(file, "rb") as f:
        same("bytes", (status, body == f.read()), (200, True))


@PASS.check("cp: a file above the part size")
def _(at):
    name, file = at.bucket("large"), file_of(at.path("large", "file"), "large", 12 << 20)
    s5cmd(at, "mb", f"s3://{name}")
    s5cmd(at, "cp", "--part-size", "5", file, f"s3://{name}/large")
    s5cmd(at, "cp", f"s3://{name}/large", at.path("large", "back"))
    same("bytes", len(set(digests(at.path("large")).values())), 1)


@PASS.check("cp: a file of 64 MiB, eight parts at once")
def _(at):
    name, file = at.bucket("larger"), file_of(at.path("larger", "file"), "larger", 64 << 20)
    s5cmd(at, "mb", f"s3://{name}")
    s5cmd(at, "cp", "--part-size", "5", "--concurrency", "8", file, f"s3://{name}/large")
    s5cmd(at, "cp", "--part-size", "5", "--concurrency", "8", f"s3://{name}/large", at.path("larger", "back"))
    same("bytes", len(set(digests(at.path("larger")).values())), 1)
