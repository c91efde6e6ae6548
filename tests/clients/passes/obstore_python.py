"""obstore: the Rust crate object_store, on whose conditional puts table formats and log stores rest."""

import datetime
import threading

import obstore
import obstore.exceptions
from checks import Pass, Wrong, bytes_of, same, true
from obstore.store import S3Store
from passes import signature
from passes.fetch import fetch

PASS = Pass("obstore", packages=("obstore",))
KEYS = ["a b", "a+b", "dir/ü", "dir/x", "dir/deep/y", "percent %20"]


def store(at, what, endpoint=None, **more):
    """A store in a bucket of this name, which is made by a bare request: this client makes none."""
    options = {"allow_http": True, "timeout": "30s"}
    if at.ca:
        with open(at.ca, encoding="ascii") as file:
            options["root_certificate"] = file.read()
    config = {
        "endpoint": endpoint or at.endpoint,
        "region": "us-east-1",
        "access_key_id": at.key_id,
        "secret_access_key": at.secret,
        "virtual_hosted_style_request": False,
    }
    retries = {"max_retries": 8 if at.kill else 0, "retry_timeout": datetime.timedelta(seconds=60)}
    made = S3Store(at.bucket(what), config=config | more, client_options=options, retry_config=retries)
    status, _, body = fetch(at, bucket_url(at, what), "PUT", b"")
    true(f"the bucket is made: {status} {body[:200]!r}", status == 200 or b"BucketAlreadyOwnedByYou" in body)
    return made


def bucket_url(at, what):
    return signature.presigned(at, "PUT", f"/{at.bucket(what)}")


def got(s3, key):
    return bytes(obstore.get(s3, key).bytes())


def calm(call, *args):
    """A read that is tried again, as clients do where a node says that it is busy."""
    for _ in range(50):
        try:
            return call(*args)
        except obstore.exceptions.GenericError as error:
            if "503" not in str(error):
                raise
    return call(*args)


def refused(what, kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind:
        return
    raise Wrong(f"{what}: wanted {kind.__name__}, was let through")


@PASS.check("put, head, get, ranges, delete")
def _(at):
    s3, data = store(at, "put"), bytes_of("obstore", 300_000)
    for key in KEYS:
        obstore.put(s3, key, data, attributes={"Content-Type": "text/x-o", "who": "obstore"})
        true(f"bytes of {key}", got(s3, key) == data)
        same(f"size of {key}", obstore.head(s3, key)["size"], len(data))
        same("attributes", {**obstore.get(s3, key).attributes}, {"Content-Type": "text/x-o", "who": "obstore"})
        ranges = obstore.get_ranges(s3, key, starts=[0, 65_535, 299_999], ends=[1, 65_537, 300_000])
        same("ranges", [bytes(part) for part in ranges], [data[:1], data[65_535:65_537], data[-1:]])
    same("deleted", obstore.delete(s3, KEYS), None)
    refused("GET after DELETE", FileNotFoundError, obstore.get, s3, KEYS[0])
    same("nothing is left", obstore.list(s3).collect(), [])


@PASS.check("list, list_with_delimiter, offset")
def _(at):
    s3 = store(at, "list")
    for key in KEYS:
        obstore.put(s3, key, key.encode())
    names = lambda found: sorted(entry["path"] for entry in found)
    same("all", names(obstore.list(s3).collect()), sorted(KEYS))
    same("prefix", names(obstore.list(s3, "dir").collect()), sorted(key for key in KEYS if key.startswith("dir/")))
    same("offset", names(obstore.list(s3, offset="dir/x").collect()), sorted(key for key in KEYS if key > "dir/x"))
    rolled = obstore.list_with_delimiter(s3, "dir")
    same("rolled up", (names(rolled["objects"]), list(rolled["common_prefixes"])), (["dir/x", "dir/ü"], ["dir/deep"]))


@PASS.check("put: only if absent, only if it is that one")
def _(at):
    s3 = store(at, "modes")
    first = obstore.put(s3, "k", b"first", mode="create")
    refused("create again", obstore.exceptions.AlreadyExistsError, obstore.put, s3, "k", b"second", mode="create")
    second = obstore.put(s3, "k", b"second", mode={"e_tag": first["e_tag"]})
    refused(
        "the one before", obstore.exceptions.PreconditionError, obstore.put, s3, "k", b"third", mode={"e_tag": first["e_tag"]}
    )
    same("the second stays", (got(s3, "k"), obstore.head(s3, "k")["e_tag"]), (b"second", second["e_tag"]))
    obstore.delete(s3, "k")
    refused(
        "of none",
        (obstore.exceptions.PreconditionError, FileNotFoundError),
        obstore.put,
        s3,
        "k",
        b"x",
        mode={"e_tag": second["e_tag"]},
    )


@PASS.check("get: conditions")
def _(at):
    s3 = store(at, "gets")
    etag = obstore.put(s3, "k", b"x")["e_tag"]
    same("matches", bytes(obstore.get(s3, "k", options={"if_match": etag}).bytes()), b"x")
    refused("another", obstore.exceptions.PreconditionError, obstore.get, s3, "k", options={"if_match": '"other"'})
    refused("not modified", obstore.exceptions.NotModifiedError, obstore.get, s3, "k", options={"if_none_match": etag})


@PASS.check("put: sixteen writers on every node, one wins, and no increment is lost")
def _(at):
    endpoints = [node.s3 for node in at.cluster.nodes if node.process.poll() is None] if at.cluster else [at.endpoint]
    stores = [store(at, "race", endpoint) for endpoint in endpoints]
    won, broken = [], []

    def create(n):
        try:
            obstore.put(stores[n % len(stores)], "lock", f"{n}".encode(), mode="create")
            won.append(n)
        except obstore.exceptions.AlreadyExistsError:
            pass

    def count(n):
        s3, done = stores[n % len(stores)], 0
        while done < 5:
            found = calm(obstore.get, s3, "count")
            mode = {"e_tag": found.meta["e_tag"]}
            try:
                obstore.put(s3, "count", str(int(bytes(found.bytes())) + 1).encode(), mode=mode)
                done += 1
            except obstore.exceptions.PreconditionError:
                pass

    obstore.put(stores[0], "count", b"0")
    for what in (create, count):

        def kept(n, what=what):
            try:
                what(n)
            except Exception as error:  # of a thread: shown below
                broken.append(repr(error))

        threads = [threading.Thread(target=kept, args=(n,)) for n in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    same("broken", broken[:3], [])
    same("winners", len(won), 1)
    same("the lock", got(stores[-1], "lock"), f"{won[0]}".encode())
    same("the count", got(stores[-1], "count"), b"80")


@PASS.check("copy, rename, and neither over what is there")
def _(at):
    s3 = store(at, "copy")
    obstore.put(s3, "a b+ü", b"x")
    obstore.copy(s3, "a b+ü", "two")
    obstore.rename(s3, "two", "three")
    same("bytes", got(s3, "three"), b"x")
    refused("what was renamed", FileNotFoundError, obstore.head, s3, "two")
    careful = store(at, "copy", copy_if_not_exists="header:if-none-match:*")
    obstore.copy(careful, "three", "four", overwrite=False)
    refused("again", obstore.exceptions.AlreadyExistsError, obstore.copy, careful, "a b+ü", "four", overwrite=False)


@PASS.check("put: with a SHA-256 checksum, and with an unsigned payload")
def _(at):
    for n, more in enumerate(({"checksum_algorithm": "SHA256"}, {"unsigned_payload": True})):
        s3 = store(at, "sums", **more)
        obstore.put(s3, f"k{n}", b"summed")
        same(f"{more}", got(s3, f"k{n}"), b"summed")


@PASS.check("sign: GET and PUT")
def _(at):
    s3 = store(at, "sign")
    minute = datetime.timedelta(minutes=1)
    same("PUT", fetch(at, obstore.sign(s3, "PUT", "a b+ü", minute), "PUT", b"signed")[0], 200)
    same("GET", fetch(at, obstore.sign(s3, "GET", "a b+ü", minute))[2], b"signed")


@PASS.check("put: multipart")
def _(at):
    s3, data = store(at, "large"), bytes_of("large", 12 << 20)
    obstore.put(s3, "k", data, use_multipart=True)
    true("bytes", got(s3, "k") == data)
