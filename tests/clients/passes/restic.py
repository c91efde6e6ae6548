"""restic of Debian: a repository made, filled, read whole, given back, thinned out. minio-go, with signed chunks over http."""

import os
import shutil

from checks import Pass, Wrong, command, file_of, same, same_trees, tree, true

PASS = Pass("restic", deb=("restic",))
SIZE = 64 << 20


def restic(at, *words, what="repository", **more):
    env = at.environment(
        RESTIC_PASSWORD="secret",
        RESTIC_CACHE_DIR=at.path("cache", "."),
        RESTIC_REPOSITORY=f"s3:{at.endpoint}/{at.bucket('restic')}/{what}",
    )
    trust = ["--cacert", at.ca] if at.ca else []
    return command([shutil.which("restic"), *words, *trust, "--option", "s3.bucket-lookup=path"], env, **more)


def source(at):
    place = at.path("source")
    if not os.path.isdir(place):
        tree(place, "restic")
        for n in range(8):
            file_of(os.path.join(place, "big", f"f{n}"), f"big {n}", SIZE // 8)
    return place


@PASS.check("no repository is told apart from a refusal")
def _(at):
    said = restic(at, "snapshots", fails=True)
    true(
        f"it says that there is none: {said}",
        "repository" in said and "exist" in said.lower() or "specified key" in said or "Is there a repository" in said,
    )


@PASS.check("init, and init again")
def _(at):
    restic(at, "init")
    restic(at, "init", fails=True)


@PASS.check("backup of 64 MiB, and again")
def _(at):
    restic(at, "backup", source(at))
    said = restic(at, "backup", source(at))
    true(f"nothing new: {said}", "0 new" in said)


@PASS.check("check --read-data")
def _(at):
    true("no errors", "no errors were found" in restic(at, "check", "--read-data", "--no-cache"))


@PASS.check("restore")
def _(at):
    place = at.path("restored")
    restic(at, "restore", "latest", "--target", place, "--verify")
    same_trees(source(at), place + source(at))


@PASS.check("backup of what changed, forget --prune, check")
def _(at):
    place = source(at)
    for n in range(3):
        file_of(os.path.join(place, "big", f"f{n}"), f"changed {n}", SIZE // 8)
    restic(at, "backup", place)
    said = restic(at, "forget", "--keep-last", "1", "--prune", "--max-unused", "0")
    true(f"something went: {said}", "remove" in said)
    true("no errors", "no errors were found" in restic(at, "check", "--read-data", "--no-cache"))
    restic(at, "restore", "latest", "--target", at.path("last"), "--verify")
    same_trees(place, at.path("last") + place)
    same("one snapshot is left", restic(at, "snapshots").count("1 snapshots"), 1)


@PASS.check("packs of 64 MiB")
def _(at):
    restic(at, "init", what="packs")
    restic(at, "backup", "--pack-size", "64", source(at), what="packs")
    true("no errors", "no errors were found" in restic(at, "check", "--read-data", "--no-cache", what="packs"))


@PASS.check("locks are listed and removed")
def _(at):
    same("no lock is left", restic(at, "list", "locks", "--no-lock"), "")
    restic(at, "unlock")


@PASS.check("a wrong key is a refusal, not a missing repository")
def _(at):
    right = at.secret
    at.secret = "x" * 40
    try:
        said = restic(at, "snapshots", fails=True)
    finally:
        at.secret = right
    # The answer to a HEAD has no text: the client knows the status alone.
    if "denied" not in said.lower() and "signature" not in said.lower():
        raise Wrong(f"it does not say so: {said}")
