"""The AWS CLI: cp, sync, mv, rm, presign, ls, and what `s3api` says of it."""

import hashlib
import json
import os
import shutil

from checks import Pass, bytes_of, command, digests, file_of, same, same_trees, tree, true
from passes.fetch import fetch

PASS = Pass("awscli", packages=("awscli",), is_short=True)


def aws(at, *words, **more):
    options = ["--endpoint-url", at.endpoint, *(["--ca-bundle", at.ca] if at.ca else [])]
    # Of itself this version signs URLs by version 2 of the signatures, which the port has not; AWS CLI 2 does not.
    config = at.path("config")
    with open(config, "w", encoding="ascii") as file:
        file.write("[default]\ns3 =\n  signature_version = s3v4\n")
    return command([shutil.which("aws"), *options, *words], at.environment(AWS_CONFIG_FILE=config), **more)


def made(at, what):
    """A bucket of this name; one that a check of this pass has made already is taken."""
    name = at.bucket(what)
    aws(at, "s3", "mb", f"s3://{name}")
    return name


@PASS.check("mb, ls, rb", is_short=False)
def _(at):
    name = made(at, "life")
    true("ls has it", name in aws(at, "s3", "ls"))
    aws(at, "s3", "rb", f"s3://{name}")
    true("ls has it no more", name not in aws(at, "s3", "ls"))
    said = aws(at, "s3", "ls", f"s3://{name}", fails=True)
    true(f"NoSuchBucket: {said}", "NoSuchBucket" in said)


@PASS.check("cp: up, down, over, to a stream and from one")
def _(at):
    name, file = made(at, "cp"), file_of(at.path("cp", "a b+ü.txt"), "cp", 7 << 20)
    aws(at, "s3", "cp", file, f"s3://{name}/dir/a b+ü.txt")
    aws(at, "s3", "cp", f"s3://{name}/dir/a b+ü.txt", at.path("cp", "back"))
    true("down", digests(at.path("cp"))["back"] == digests(at.path("cp"))["a b+ü.txt"])
    aws(at, "s3", "cp", f"s3://{name}/dir/a b+ü.txt", f"s3://{name}/copy")
    aws(at, "s3", "cp", "-", f"s3://{name}/stream", stdin=b"from a stream")
    same("stream", aws(at, "s3", "cp", f"s3://{name}/stream", "-"), "from a stream")
    head = json.loads(aws(at, "s3api", "head-object", "--bucket", name, "--key", "copy"))
    with open(file, "rb") as f:
        same("ETag of the copy", head["ETag"], f'"{hashlib.md5(f.read()).hexdigest()}"')
    same("type by the file's name", head["ContentType"], "text/plain")
    aws(at, "s3", "cp", f"s3://{name}/none", at.path("cp", "none"), fails=True)


@PASS.check("sync: up, down, what changed, what was deleted")
def _(at):
    name, up, down = made(at, "sync"), tree(at.path("sync", "up"), "sync"), at.path("sync", "down")
    # S3 tells whole seconds: what was made in the second in which it is sent would seem newer than what is there.
    for file in digests(up):
        os.utime(os.path.join(up, file), (1_700_000_000, 1_700_000_000))
    aws(at, "s3", "sync", up, f"s3://{name}/p")
    aws(at, "s3", "sync", f"s3://{name}/p", down)
    same_trees(up, down)
    same("nothing is left to do", aws(at, "s3", "sync", up, f"s3://{name}/p"), "")
    file_of(os.path.join(up, "kib"), "changed", 1025)
    os.remove(os.path.join(up, "one"))
    said = aws(at, "s3", "sync", "--delete", up, f"s3://{name}/p")
    same("two things are done", len([line for line in said.splitlines() if line.startswith(("upload:", "delete:"))]) or said, 2)
    shutil.rmtree(down)
    aws(at, "s3", "sync", f"s3://{name}/p", down)
    same_trees(up, down)


@PASS.check("sync: from one bucket to another", is_short=False)
def _(at):
    one, two, up, down = made(at, "one"), made(at, "two"), tree(at.path("between", "up"), "between"), at.path("between", "down")
    aws(at, "s3", "sync", up, f"s3://{one}")
    aws(at, "s3", "sync", f"s3://{one}", f"s3://{two}")
    aws(at, "s3", "sync", f"s3://{two}", down)
    same_trees(up, down)


@PASS.check("ls: recursive, with sizes", is_short=False)
def _(at):
    name, up = made(at, "ls"), tree(at.path("ls"), "ls", {"a b": 10, "dir/ü": 20, "dir/x": 30})
    aws(at, "s3", "cp", "--recursive", up, f"s3://{name}/")
    rows = [line.split(None, 3)[2:] for line in aws(at, "s3", "ls", "--recursive", f"s3://{name}").splitlines()]
    same("rows", rows, [["10", "a b"], ["30", "dir/x"], ["20", "dir/ü"]])
    true("a prefix", "PRE dir/" in aws(at, "s3", "ls", f"s3://{name}"))


@PASS.check("mv, rm --recursive, rb --force")
def _(at):
    name, up, back = made(at, "mv"), tree(at.path("mv", "up"), "mv"), at.path("mv", "back")
    wanted = digests(up)
    aws(at, "s3", "mv", "--recursive", up, f"s3://{name}/a")
    same("nothing is left here", digests(up), {})
    aws(at, "s3", "mv", "--recursive", f"s3://{name}/a", f"s3://{name}/b")
    true("nothing is left there", aws(at, "s3", "ls", f"s3://{name}").split() == ["PRE", "b/"])
    aws(at, "s3", "mv", "--recursive", f"s3://{name}/b", back)
    same("all of it came back", digests(back), wanted)
    aws(at, "s3", "cp", "--recursive", back, f"s3://{name}/c")
    aws(at, "s3", "rm", "--recursive", f"s3://{name}/c", "--exclude", "*/deep/*")
    same("what was excluded stays", aws(at, "s3", "ls", "--recursive", f"s3://{name}").split()[3:], ["c/dir/deep/er/file.txt"])
    aws(at, "s3", "rb", "--force", f"s3://{name}")


@PASS.check("presign")
def _(at):
    name, data = made(at, "presign"), bytes_of("presign", 1000)
    aws(at, "s3", "cp", "-", f"s3://{name}/a b+ü", stdin=data)
    status, _, body = fetch(at, aws(at, "s3", "presign", f"s3://{name}/a b+ü").strip())
    same("with urllib", (status, body == data), (200, True))


@PASS.check("s3api: put-object and get-object with checksums, conditions, pages", is_short=False)
def _(at):
    name, file = made(at, "api"), file_of(at.path("api", "file"), "api", 100_000)
    put = ["s3api", "put-object", "--bucket", name, "--body", file]
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        made_ = json.loads(aws(at, *put, "--key", algorithm, "--checksum-algorithm", algorithm))
        got = json.loads(
            aws(
                at,
                "s3api",
                "get-object",
                "--bucket",
                name,
                "--key",
                algorithm,
                "--checksum-mode",
                "ENABLED",
                at.path("api", algorithm),
            )
        )
        same(algorithm, got.get(f"Checksum{algorithm}", "none"), made_[f"Checksum{algorithm}"])
    same("bytes", len(set(digests(at.path("api")).values())), 1)
    said = aws(at, *put, "--key", "SHA1", "--if-none-match", "*", fails=True)
    true(f"If-None-Match: {said}", "PreconditionFailed" in said)
    listed = json.loads(aws(at, "s3api", "list-objects-v2", "--bucket", name, "--page-size", "1"))
    same("pages of one", [entry["Key"] for entry in listed["Contents"]], ["CRC32", "SHA1", "SHA256"])


@PASS.check("cp: a file above the multipart threshold")
def _(at):
    name, file = made(at, "large"), file_of(at.path("large", "file"), "large", 20 << 20)
    aws(at, "s3", "cp", file, f"s3://{name}/large")
    aws(at, "s3", "cp", f"s3://{name}/large", at.path("large", "back"))
    same("bytes", len(set(digests(at.path("large")).values())), 1)


@PASS.check("cp, mv: a file of 64 MiB, up, down and copied on the server", is_short=False)
def _(at):
    name, file = made(at, "larger"), file_of(at.path("larger", "file"), "larger", 64 << 20)
    aws(at, "s3", "cp", file, f"s3://{name}/one")
    aws(at, "s3", "cp", f"s3://{name}/one", f"s3://{name}/two")
    aws(at, "s3", "mv", f"s3://{name}/two", f"s3://{name}/three")
    aws(at, "s3", "cp", f"s3://{name}/three", at.path("larger", "back"))
    same("bytes", len(set(digests(at.path("larger")).values())), 1)
