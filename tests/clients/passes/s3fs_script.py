"""Checks with s3fs, one after the other; a line of JSON for each."""

import json
import os
import sys
import tempfile

import s3fs

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from checks import Wrong, bytes_of, same, same_trees, tree, true  # noqa: E402

ENDPOINT, PREFIX, ATTEMPTS = os.environ["ENDPOINT"], os.environ["PREFIX"], int(os.environ["ATTEMPTS"])
CHECKS = []


def check(name):
    return lambda function: CHECKS.append((name, function))


def made(what):
    fs = s3fs.S3FileSystem(
        endpoint_url=ENDPOINT,
        config_kwargs={"s3": {"addressing_style": "path"}, "retries": {"total_max_attempts": ATTEMPTS}},
        skip_instance_cache=True,
        use_listings_cache=False,
    )
    fs.mkdir(f"{PREFIX}{what}")
    return fs, f"{PREFIX}{what}"


@check("put, get, ls, find, rm of a tree")
def _():
    fs, bucket = made("tree")
    with tempfile.TemporaryDirectory() as place:
        up, down = tree(os.path.join(place, "up"), "s3fs"), os.path.join(place, "down")
        fs.put(up + "/", f"{bucket}/t/", recursive=True)
        same("du", fs.du(f"{bucket}/t"), sum(os.path.getsize(os.path.join(d, f)) for d, _, files in os.walk(up) for f in files))
        true("ls", f"{bucket}/t/dir" in fs.ls(f"{bucket}/t"))
        fs.get(f"{bucket}/t/", down, recursive=True)
        same_trees(up, down)
    fs.rm(f"{bucket}/t", recursive=True)
    same("nothing is left", fs.find(bucket), [])
    fs.rmdir(bucket)


@check("open: written, read, seeked, appended to, copied, moved")
def _():
    fs, bucket = made("open")
    data = bytes_of("s3fs", 3 << 20)
    with fs.open(f"{bucket}/a b+ü", "wb") as file:
        file.write(data)
    with fs.open(f"{bucket}/a b+ü", "rb", block_size=100_000) as file:
        file.seek(1_000_000)
        same("a range", file.read(70_000) == data[1_000_000:1_070_000], True)
    with fs.open(f"{bucket}/small", "wb") as file:
        file.write(b"one")
    with fs.open(f"{bucket}/small", "ab") as file:
        file.write(b" two")
    same("appended", fs.cat(f"{bucket}/small"), b"one two")
    fs.cp_file(f"{bucket}/a b+ü", f"{bucket}/copy")
    fs.mv(f"{bucket}/copy", f"{bucket}/moved")
    same("moved", (fs.cat(f"{bucket}/moved") == data, fs.exists(f"{bucket}/copy")), (True, False))
    same("info", fs.info(f"{bucket}/moved")["size"], len(data))


@check("create only: a file that is there stays")
def _():
    fs, bucket = made("create")
    fs.pipe_file(f"{bucket}/k", b"first", mode="create")
    try:
        fs.pipe_file(f"{bucket}/k", b"second", mode="create")
    except FileExistsError:
        return same("the first stays", fs.cat(f"{bucket}/k"), b"first")
    raise Wrong("it was written over")


@check("a file above the part size")
def _():
    fs, bucket = made("large")
    data = bytes_of("large", 12 << 20)
    with fs.open(f"{bucket}/k", "wb", block_size=5 << 20) as file:
        file.write(data)
    same("bytes", fs.cat(f"{bucket}/k") == data, True)


def main():
    for name, function in CHECKS:
        if os.environ.get("ONLY", "") not in name:
            continue
        error = None
        try:
            function()
        except Exception as caught:  # whatever it is: the check failed
            error = f"{type(caught).__name__}: {caught} ({caught.__cause__!r})"
        print(json.dumps({"name": name, "error": error}), flush=True)


main()
