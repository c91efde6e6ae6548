"""`tests/clients/locks` as a pass: it stands by itself too."""

import os
import subprocess
import sys

from checks import Pass, Wrong

PASS = Pass("locks", packages=("boto3",), is_short=True)
PROGRAM = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "locks")


def locks(at, *words, holds=True):
    ends = [node.s3 for node in at.cluster.nodes] if at.cluster else [at.endpoint]
    trust = ["--ca", at.ca] if at.ca else []
    done = subprocess.run(
        [sys.executable, PROGRAM, *words, "--bucket", at.bucket("locks"), *trust, *ends],
        env=at.environment(),
        capture_output=True,
        text=True,
        timeout=600,
    )
    if done.returncode != (0 if holds else 1):
        raise Wrong(f"locks {' '.join(words)}: {(done.stdout + done.stderr).strip()[-800:]}")


@PASS.check("two processes, If-None-Match: *, one winner each time")
def _(at):
    locks(at, "race", "--times", "60" if at.short else "1000")


@PASS.check("32 writers on three nodes, If-Match, no lost update")
def _(at):
    locks(at, "count", "--writers", "32", "--each", "3" if at.short else "10")


@PASS.check("a run without conditions is found out", is_short=False)
def _(at):
    locks(at, "race", "--times", "5", "--spoil", holds=False)
    locks(at, "count", "--writers", "8", "--each", "3", "--spoil", holds=False)
