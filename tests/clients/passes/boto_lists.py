"""boto3: lists of both versions, with delimiters, small pages and keys that XML cannot say."""

import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from checks import same, true
from passes.boto import ODD_KEYS, PASS, client, made, refused, with_headers

KEYS = ["a", "a/1", "a/2", "b/1/x", "b/1/y", "b/2", "c", "d-1", "d-2", "e/", "e/f", "é/1", "z"]


def filled(at, what, keys=KEYS):
    s3, name = client(at), at.bucket(what)
    made(s3, name)
    for key in keys:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return s3, name


def entries(answer):
    return [entry["Key"] for entry in answer.get("Contents", [])], [entry["Prefix"] for entry in answer.get("CommonPrefixes", [])]


def rolled_up(keys, prefix="", delimiter=None):
    """What a whole list has to have: keys, and common prefixes, each in the order of their bytes."""
    found, prefixes = [], []
    for key in sorted((key for key in keys if key.startswith(prefix)), key=str.encode):
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        if at < 0:
            found.append(key)
        elif key[: at + len(delimiter)] not in prefixes:
            prefixes.append(key[: at + len(delimiter)])
    return found, prefixes


def walk(call, how, size, **asked):
    """All pages of a list of `size` items each; what is promised of every page is held against it."""
    keys, prefixes, token, pages = [], [], {}, 0
    while True:
        answer = call(MaxKeys=size, **asked, **token)
        pages += 1
        true(f"page {pages}: it ends", pages < 200)
        k, p = entries(answer)
        true(f"page {pages}: at most {size} items, not {len(k)} + {len(p)}", len(k) + len(p) <= size)
        same("MaxKeys", answer["MaxKeys"], size)
        if how == "v2":
            same("KeyCount", answer["KeyCount"], len(k) + len(p))
            same("a token only if truncated", "NextContinuationToken" in answer, answer["IsTruncated"])
        keys, prefixes = keys + k, prefixes + p
        if not answer["IsTruncated"]:
            return keys, prefixes
        true(f"page {pages}: a truncated page is not empty", k or p)
        if how == "v2":
            token = {"ContinuationToken": answer["NextContinuationToken"]}
        else:
            # Without a delimiter there may be no NextMarker: the last key is it.
            token = {"Marker": answer["NextMarker"] if asked.get("Delimiter") else k[-1]}


def each_way(s3, name):
    yield "v1", lambda **asked: s3.list_objects(Bucket=name, **asked)
    yield "v2", lambda **asked: s3.list_objects_v2(Bucket=name, **asked)


CASES = [
    {},
    {"Delimiter": "/"},
    {"Prefix": "a"},
    {"Prefix": "a/", "Delimiter": "/"},
    {"Prefix": "b/", "Delimiter": "/"},
    {"Delimiter": "-"},
    {"Delimiter": "/1"},
    {"Prefix": "nothing"},
    {"Prefix": "e/", "Delimiter": "/"},
    {"Delimiter": "é"},
]


@PASS.check("lists: delimiter and prefix, pages of 1 to 7")
def _(at):
    s3, name = filled(at, "pages")
    for how, call in each_way(s3, name):
        for asked in CASES:
            wanted = rolled_up(KEYS, asked.get("Prefix", ""), asked.get("Delimiter"))
            whole = call(**asked)
            same(f"{how} {asked}", entries(whole), wanted)
            same(
                f"{how} {asked} says what was asked",
                (whole.get("Prefix", ""), whole.get("Delimiter")),
                (asked.get("Prefix", ""), asked.get("Delimiter")),
            )
            same(f"{how} name", whole["Name"], name)
            for size in (1, 2, 3, 7) if at.short else range(1, 8):
                same(f"{how} {asked} by {size}", walk(call, how, size, **asked), wanted)


@PASS.check("lists: start-after and marker")
def _(at):
    s3, name = filled(at, "after")
    for after in ("", "a", "a/", "b/1", "b/zzz", "e/", "zz"):
        wanted = [key for key in sorted(KEYS, key=str.encode) if key.encode() > after.encode()]
        same(f"StartAfter {after!r}", entries(s3.list_objects_v2(Bucket=name, StartAfter=after))[0], wanted)
        same(f"Marker {after!r}", entries(s3.list_objects(Bucket=name, Marker=after))[0], wanted)
    same("Marker that is a prefix", entries(s3.list_objects(Bucket=name, Marker="b/", Delimiter="/"))[1], ["e/", "é/"])


@PASS.check("lists: no keys asked for, and more than a page has")
def _(at):
    s3, name = filled(at, "maxkeys", KEYS[:3])
    for how, call in each_way(s3, name):
        none = call(MaxKeys=0)
        same(f"{how} of 0", (entries(none), none["IsTruncated"]), (([], []), False))
        many = call(MaxKeys=5000)
        same(f"{how} of 5000", (entries(many)[0], many["MaxKeys"]), (KEYS[:3], 1000))
        refused(f"{how} of -1", (400, "InvalidArgument"), call, MaxKeys=-1)


@PASS.check("lists: entries have size, ETag, time, class, owner when asked for")
def _(at):
    s3, name = filled(at, "fields", ["k"])
    head = s3.head_object(Bucket=name, Key="k")
    for how, answer in (("v1", s3.list_objects(Bucket=name)), ("v2", s3.list_objects_v2(Bucket=name, FetchOwner=True))):
        entry = answer["Contents"][0]
        same(how, (entry["Size"], entry["ETag"], entry["StorageClass"]), (1, head["ETag"], "STANDARD"))
        same(f"{how} LastModified", entry["LastModified"].replace(microsecond=0), head["LastModified"])
        true(f"{how} owner", entry["Owner"]["ID"])
    true("v2 without owner", "Owner" not in s3.list_objects_v2(Bucket=name)["Contents"][0])


@PASS.check("lists: odd keys with encoding-type=url")
def _(at):
    s3, name = filled(at, "encoded", ODD_KEYS)
    wanted = sorted(ODD_KEYS, key=str.encode)
    for how, call in each_way(s3, name):
        # This client asks for the encoding by itself, and takes it off again.
        same(f"{how} whole", entries(call())[0], wanted)
        for size in (1, 2, 5):
            same(f"{how} by {size}", walk(call, how, size)[0], wanted)
        same(f"{how} rolled up", walk(call, how, 3, Delimiter="/"), rolled_up(ODD_KEYS, "", "/"))
        for prefix in ("a b", "a+", "a%", "ünï/", "<&", "control\x01"):
            got = call(Prefix=prefix)
            # This client takes the encoding off the prefix of version 2 alone.
            said = urllib.parse.unquote_plus(got["Prefix"]) if how == "v1" else got["Prefix"]
            same(f"{how} prefix {prefix!r}", (entries(got)[0], said), (rolled_up(ODD_KEYS, prefix)[0], prefix))
        same(f"{how} delimiter ' '", entries(call(Delimiter=" ")), rolled_up(ODD_KEYS, "", " "))
    same("StartAfter is said back", s3.list_objects_v2(Bucket=name, StartAfter="a+b ü")["StartAfter"], "a+b ü")


@PASS.check("lists: keys without encoding-type")
def _(at):
    keys = ["a b", "a+b", "<&>\"'", "ünï", "]]>", "a%20b"]
    s3, name = filled(at, "plain", keys)
    for operation, call in (("ListObjects", s3.list_objects), ("ListObjectsV2", s3.list_objects_v2)):
        # What the client adds by itself is taken away again.
        def bare(params, **_):
            params.pop("EncodingType", None)

        s3.meta.events.register_last(f"before-parameter-build.s3.{operation}", bare)
        got = call(Bucket=name)
        true(f"{operation}: no encoding", "EncodingType" not in got)
        same(operation, entries(got)[0], sorted(keys, key=str.encode))


@PASS.check("lists: a token of another question is refused")
def _(at):
    s3, name = filled(at, "tokens")
    token = s3.list_objects_v2(Bucket=name, MaxKeys=2, Delimiter="/")["NextContinuationToken"]
    refused("no token", (400, "InvalidArgument"), s3.list_objects_v2, Bucket=name, ContinuationToken="no token")
    refused("of another prefix", (400, "InvalidArgument"), s3.list_objects_v2, Bucket=name, Prefix="a", ContinuationToken=token)
    with with_headers(s3, "ListObjectsV2", {}, {"encoding-type": "base64"}):
        refused("encoding-type=base64", (400, "InvalidArgument"), s3.list_objects_v2, Bucket=name)


@PASS.check("lists: a page is the same from every node", needs="nodes")
def _(at):
    s3, name = filled(at, "everywhere")
    others = [client(at, endpoint=node.s3) for node in at.cluster.nodes if node.process.poll() is None]
    token, found = {}, []
    for turn in range(len(KEYS)):
        answer = others[turn % len(others)].list_objects_v2(Bucket=name, MaxKeys=2, **token)
        found += entries(answer)[0]
        if not answer["IsTruncated"]:
            break
        token = {"ContinuationToken": answer["NextContinuationToken"]}
    same("one list, each page by another node", found, sorted(KEYS, key=str.encode))


@PASS.check("lists: 2,500 keys", is_short=False)
def _(at):
    s3, name = client(at), made(client(at), at.bucket("large"))
    keys = [f"{n % 7}/{n:05}" for n in range(2500)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: s3.put_object(Bucket=name, Key=key, Body=b""), keys))
    for what in ("list_objects", "list_objects_v2"):
        pages = list(s3.get_paginator(what).paginate(Bucket=name))
        same(f"{what} pages", [len(page["Contents"]) for page in pages], [1000, 1000, 500])
        same(f"{what} keys", [entry["Key"] for page in pages for entry in page["Contents"]], sorted(keys))
    same("rolled up", entries(s3.list_objects_v2(Bucket=name, Delimiter="/"))[1], [f"{n}/" for n in range(7)])
