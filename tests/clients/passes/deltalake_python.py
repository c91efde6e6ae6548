"""deltalake: tables whose log is written by `If-None-Match: *`, so that of two commits of one version one is made."""

import threading

import arro3.core
import deltalake
import deltalake.exceptions
from checks import Pass, same, true
from passes import signature
from passes.fetch import fetch

PASS = Pass("deltalake", packages=("deltalake",))
WRITERS = 6
COMMITS = 4


def options(at, endpoint=None):
    """What the store below a table is told. Its bucket is made by a bare request."""
    told = {"endpoint": endpoint or at.endpoint, "region": "us-east-1", "access_key_id": at.key_id, "secret_access_key": at.secret}
    told |= {"allow_http": "true", "conditional_put": "etag", "virtual_hosted_style_request": "false"}
    if at.ca:
        with open(at.ca, encoding="ascii") as file:
            told["root_certificate"] = file.read()
    return told


def made(at, what):
    status, _, body = fetch(at, signature.presigned(at, "PUT", f"/{at.bucket(what)}"), "PUT", b"")
    true(f"the bucket is made: {status} {body[:200]!r}", status == 200)
    return f"s3://{at.bucket(what)}/table"


def rows(first, count):
    numbers = arro3.core.Array(range(first, first + count), type=arro3.core.DataType.int64())
    return arro3.core.Table.from_pydict({"n": numbers})


def found(table):
    query = deltalake.QueryBuilder().register("t", table)
    answer = query.execute("select n from t order by n").read_all()
    return [value.as_py() for value in answer["n"]]


@PASS.check("a table: written, read, appended, compacted, vacuumed")
def _(at):
    uri, told = made(at, "one"), options(at)
    deltalake.write_deltalake(uri, rows(0, 1000), storage_options=told)
    deltalake.write_deltalake(uri, rows(1000, 1000), storage_options=told, mode="append")
    table = deltalake.DeltaTable(uri, storage_options=told)
    same("rows", found(table), list(range(2000)))
    table.optimize.compact()
    removed = table.vacuum(retention_hours=0, enforce_retention_duration=False, dry_run=False)
    same("files that are gone", len(removed), 2)
    same("rows after it", found(deltalake.DeltaTable(uri, storage_options=told)), list(range(2000)))
    same("rows of the version before", found(deltalake.DeltaTable(uri, version=2, storage_options=told)), list(range(2000)))


@PASS.check("writers on every node: no commit is lost")
def _(at):
    uri, broken = made(at, "race"), []
    endpoints = [node.s3 for node in at.cluster.nodes if node.process.poll() is None] if at.cluster else [at.endpoint]
    deltalake.write_deltalake(uri, rows(-1, 1), storage_options=options(at))

    def write(writer):
        told = options(at, endpoints[writer % len(endpoints)])
        for commit in range(COMMITS):
            try:
                deltalake.write_deltalake(uri, rows(writer * 100 + commit, 1), storage_options=told, mode="append")
            except Exception as error:  # of a thread: shown below
                broken.append(f"writer {writer}: {error!r}")

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    same("broken", broken[:3], [])
    wanted = sorted([-1, *(writer * 100 + commit for writer in range(WRITERS) for commit in range(COMMITS))])
    for endpoint in endpoints:
        table = deltalake.DeltaTable(uri, storage_options=options(at, endpoint))
        same("rows", found(table), wanted)
        same("versions", table.version(), WRITERS * COMMITS)
