"""s3cmd: lists of version 1, `?location`, many deletes by Content-MD5, calm answers to `?acl` and `?policy`."""

import os
import shutil
import subprocess

from checks import Pass, Wrong, command, digests, file_of, same, same_trees, tree, true
from passes.fetch import fetch

PASS = Pass("s3cmd", packages=("s3cmd",))


def s3cmd(at, *words, **more):
    config = at.path("s3cmd.conf")
    if not os.path.exists(config):
        with open(config, "w") as file:
            file.write(
                f"[default]\naccess_key = {at.key_id}\nsecret_key = {at.secret}\nhost_base = {at.host}\nhost_bucket = {at.host}\n"
                f"use_https = {at.is_tls}\nca_certs_file = {at.ca or ''}\nsignature_v2 = False\nbucket_location = us-east-1\n"
                f"max_retries = {5 if at.kill else 1}\n"
            )
    return command([shutil.which("s3cmd"), "-c", config, "--no-progress", *words], at.environment(), **more)


@PASS.check("mb, ls, info, rb")
def _(at):
    name = at.bucket("life")
    s3cmd(at, "mb", f"s3://{name}")
    true("ls has it", f"s3://{name}" in s3cmd(at, "ls"))
    said = s3cmd(at, "info", f"s3://{name}")
    true(f"info has location and policy: {said}", "Location:" in said and "Policy:    none" in said)
    s3cmd(at, "rb", f"s3://{name}")
    true("ls has it no more", f"s3://{name}" not in s3cmd(at, "ls"))


@PASS.check("put, info, get, ls")
def _(at):
    name, file = at.bucket("put"), file_of(at.path("put", "a b+ü.txt"), "put", 3 << 20)
    s3cmd(at, "mb", f"s3://{name}")
    s3cmd(at, "put", "--no-mime-magic", "--add-header=x-amz-meta-who:s3cmd", file, f"s3://{name}/dir/")
    said = s3cmd(at, "info", f"s3://{name}/dir/a b+ü.txt")
    true(f"info: {said}", "text/plain" in said and "x-amz-meta-who: s3cmd" in said and str(3 << 20) in said)
    s3cmd(at, "get", f"s3://{name}/dir/a b+ü.txt", at.path("put", "back"))
    same("bytes", len(set(digests(at.path("put")).values())), 1)
    true("ls -r", f"s3://{name}/dir/a b+ü.txt" in s3cmd(at, "ls", "-r", f"s3://{name}"))
    true("du", str(3 << 20) in s3cmd(at, "du", f"s3://{name}"))


@PASS.check("sync: up, down, --delete-removed")
def _(at):
    name, up, down = at.bucket("sync"), tree(at.path("sync", "up"), "sync"), at.path("sync", "down/")
    os.makedirs(down, exist_ok=True)
    s3cmd(at, "mb", f"s3://{name}")
    s3cmd(at, "sync", up + "/", f"s3://{name}/p/")
    s3cmd(at, "sync", f"s3://{name}/p/", down)
    same_trees(up, down)
    os.remove(os.path.join(up, "one"))
    file_of(os.path.join(up, "kib"), "changed", 1024)
    s3cmd(at, "sync", "--delete-removed", up + "/", f"s3://{name}/p/")
    s3cmd(at, "sync", "--delete-removed", f"s3://{name}/p/", down)
    same_trees(up, down)


@PASS.check("cp, mv, modify, del -r")
def _(at):
    name, up = at.bucket("server"), tree(at.path("server", "up"), "server", {"a b": 10, "mib": 1 << 20})
    s3cmd(at, "mb", f"s3://{name}")
    s3cmd(at, "put", "-r", up + "/", f"s3://{name}/a/")
    s3cmd(at, "cp", f"s3://{name}/a/mib", f"s3://{name}/b/mib")
    s3cmd(at, "mv", f"s3://{name}/a/a b", f"s3://{name}/b/a b")
    s3cmd(at, "modify", "--add-header=Content-Type:text/x-m", f"s3://{name}/b/mib")
    true("modify", "text/x-m" in s3cmd(at, "info", f"s3://{name}/b/mib"))
    s3cmd(at, "get", "-r", f"s3://{name}/b/", at.path("server", "down/"))
    same_trees(up, at.path("server", "down"))
    s3cmd(at, "del", "-r", "--force", f"s3://{name}/")
    same("nothing is left", s3cmd(at, "ls", "-r", f"s3://{name}"), "")


@PASS.check("signurl")
def _(at):
    name, file = at.bucket("sign"), file_of(at.path("sign", "f"), "sign", 100)
    s3cmd(at, "mb", f"s3://{name}")
    s3cmd(at, "put", file, f"s3://{name}/f")
    # It signs URLs by version 2 of the signatures alone, which nobody here takes.
    url = s3cmd(at, "signurl", f"s3://{name}/f", "+60").strip()
    true(f"of version 2: {url}", "AWSAccessKeyId=" in url)
    # Whatever the port speaks, it writes http.
    status, _, body = fetch(at, at.endpoint + url[url.index(f"/{name}/") :])
    true(f"it is refused: {status} {body[:200]!r}", status in (400, 403, 501) and b"<Code>" in body)


@PASS.check("a missing object and a missing bucket")
def _(at):
    name = at.bucket("missing")
    said = s3cmd(at, "ls", f"s3://{name}", fails=True)
    true(f"NoSuchBucket: {said}", "NoSuchBucket" in said)
    s3cmd(at, "mb", f"s3://{name}")
    done = subprocess.run(
        [shutil.which("s3cmd"), "-c", at.path("s3cmd.conf"), "get", f"s3://{name}/none", at.path("none")],
        env=at.environment(),
        capture_output=True,
        timeout=60,
    )
    if done.returncode != 64 and done.returncode != 12:
        raise Wrong(f"get of none ends with {done.returncode}: {done.stderr[-200:]!r}")


@PASS.check("put: a file above the chunk size")
def _(at):
    name, file = at.bucket("large"), file_of(at.path("large", "file"), "large", 12 << 20)
    s3cmd(at, "mb", f"s3://{name}")
    s3cmd(at, "put", "--multipart-chunk-size-mb=5", file, f"s3://{name}/large")
    s3cmd(at, "get", f"s3://{name}/large", at.path("large", "back"))
    same("bytes", len(set(digests(at.path("large")).values())), 1)
