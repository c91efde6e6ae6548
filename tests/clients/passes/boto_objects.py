"""boto3: buckets and objects, metadata and head fields, ranges, several nodes, port 5000 beside it."""

import datetime
import hashlib
import time

from checks import bytes_of, same, true
from passes.boto import ODD_KEYS, PASS, body_of, client, etag_is_md5, is_missing, made, refused

HEAD_FIELDS = {
    "ContentType": "text/x-odd; charset=utf-8",
    "CacheControl": "max-age=60, must-revalidate",
    "ContentDisposition": 'attachment; filename="a b.txt"',
    "ContentEncoding": "br",
    "ContentLanguage": "pt-BR, en",
    "Expires": datetime.datetime(2031, 5, 6, 7, 8, 9, tzinfo=datetime.timezone.utc),
}
# Around what lies in a record, in a segment, in a file of its own.
LENGTHS = (0, 1, 1023, 16 * 1024, 16 * 1024 + 1, 65_536, (1 << 20) + 1, 7 << 20)


@PASS.check("buckets: made, found, listed, located, deleted")
def _(at):
    s3, name = client(at), at.bucket("life")
    refused("HEAD before", (404, "404"), s3.head_bucket, Bucket=name)
    s3.create_bucket(Bucket=name)
    s3.head_bucket(Bucket=name)
    listed = {bucket["Name"]: bucket for bucket in s3.list_buckets()["Buckets"]}
    true("ListBuckets has the bucket", name in listed)
    age = datetime.datetime.now(datetime.timezone.utc) - listed[name]["CreationDate"]
    true(f"CreationDate is now, but for {age}", abs(age.total_seconds()) < 60)
    same("location of a bucket in us-east-1", s3.get_bucket_location(Bucket=name)["LocationConstraint"], None)
    s3.delete_bucket(Bucket=name)
    refused("HEAD after", (404, "404"), s3.head_bucket, Bucket=name)
    true("ListBuckets has it no more", name not in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]])


@PASS.check("buckets: refused with their codes")
def _(at):
    s3, name = client(at), at.bucket("refused")
    refused("list of none", (404, "NoSuchBucket"), s3.list_objects_v2, Bucket=name)
    refused("PUT into none", (404, "NoSuchBucket"), s3.put_object, Bucket=name, Key="k", Body=b"x")
    refused("GET from none", (404, "NoSuchBucket"), s3.get_object, Bucket=name, Key="k")
    refused("DELETE of none", (404, "NoSuchBucket"), s3.delete_bucket, Bucket=name)
    refused("location of none", (404, "NoSuchBucket"), s3.get_bucket_location, Bucket=name)
    refused("a name that no bucket has", (400, "InvalidBucketName"), s3.create_bucket, Bucket="Not_A.Name-")
    made(s3, name)
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    refused("DELETE of one with an object", (409, "BucketNotEmpty"), s3.delete_bucket, Bucket=name)
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


@PASS.check("buckets: made twice, what is in it stays")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("twice"))
    s3.put_object(Bucket=name, Key="k", Body=b"stays")
    # S3 itself says 200 in its first region, and 409 in all others.
    try:
        s3.create_bucket(Bucket=name)
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass
    same("it stays", body_of(s3, name, "k"), b"stays")


@PASS.check("buckets: a location is taken where it is the cluster's")
def _(at):
    s3, name = client(at), at.bucket("located")
    wanted = {"LocationConstraint": "eu-west-1"}
    s3.create_bucket(Bucket=name, CreateBucketConfiguration=wanted)
    true("a bucket", name in [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]])
    same("no objects", s3.list_objects_v2(Bucket=name)["KeyCount"], 0)


@PASS.check("objects: bytes, length, ETag, Last-Modified of every size")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("sizes"))
    for length in LENGTHS:
        data, key = bytes_of("sizes", length), f"of-{length}"
        put = s3.put_object(Bucket=name, Key=key, Body=data)
        etag_is_md5(f"ETag of PUT, {length}", put["ETag"], data)
        got = s3.get_object(Bucket=name, Key=key)
        true(f"bytes of {length}", got["Body"].read() == data)
        head = s3.head_object(Bucket=name, Key=key)
        for what, answer in (("GET", got), ("HEAD", head)):
            same(f"{what} length", answer["ContentLength"], length)
            same(f"{what} ETag", answer["ETag"], put["ETag"])
            same(f"{what} Accept-Ranges", answer["AcceptRanges"], "bytes")
            age = time.time() - answer["LastModified"].timestamp()
            true(f"{what} Last-Modified is now, but for {age} s", -5 < age < 60)
            true(f"{what} Content-Type by default: {answer['ContentType']}", answer["ContentType"].endswith("/octet-stream"))
        same("Last-Modified", head["LastModified"], got["LastModified"])


@PASS.check("objects: metadata and every head field")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("heads"))
    metadata = {"plain": "value", "upper-case": "As It Was", "comma": "a, b;c=d", "empty": ""}
    s3.put_object(Bucket=name, Key="k", Body=b"head", Metadata=metadata, **HEAD_FIELDS)
    for what, answer in (("GET", s3.get_object(Bucket=name, Key="k")), ("HEAD", s3.head_object(Bucket=name, Key="k"))):
        same(f"{what} metadata", answer["Metadata"], metadata)
        for field, wanted in HEAD_FIELDS.items():
            got = answer["ExpiresString"] if field == "Expires" else answer[field]
            same(f"{what} {field}", got, "Tue, 06 May 2031 07:08:09 GMT" if field == "Expires" else wanted)
    s3.put_object(Bucket=name, Key="k", Body=b"plain")
    after = s3.head_object(Bucket=name, Key="k")
    same("metadata after a PUT without", after["Metadata"], {})
    true("no head field is left over", not set(HEAD_FIELDS) - {"ContentType"} & set(after))


@PASS.check("objects: response-* parameters of GET and HEAD")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("response"))
    s3.put_object(Bucket=name, Key="k", Body=b"x", ContentType="text/plain")
    asked = {
        "ResponseContentType": "image/odd",
        "ResponseContentDisposition": "inline",
        "ResponseCacheControl": "no-store",
        "ResponseContentEncoding": "x-odd",
        "ResponseContentLanguage": "de",
        "ResponseExpires": "Tue, 06 May 2031 07:08:09 GMT",
    }
    for call in (s3.get_object, s3.head_object):
        got = call(Bucket=name, Key="k", **asked)
        for field, wanted in asked.items():
            field = field.removeprefix("Response")
            same(field, got["ExpiresString" if field == "Expires" else field], wanted)
    same("the object's own", s3.head_object(Bucket=name, Key="k")["ContentType"], "text/plain")


@PASS.check("objects: too much metadata is refused")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("much"))
    refused(
        "9 KiB",
        (400, "MetadataTooLarge"),
        s3.put_object,
        Bucket=name,
        Key="k",
        Body=b"x",
        Metadata={f"m{n}": "v" * 900 for n in range(10)},
    )
    is_missing("nothing is there", s3, name, "k")


@PASS.check("objects: replaced, deleted, deleted again")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("gone"))
    is_missing("GET before", s3, name, "k")
    refused("HEAD before", (404, "404"), s3.head_object, Bucket=name, Key="k")
    same("DELETE of none", s3.delete_object(Bucket=name, Key="k")["ResponseMetadata"]["HTTPStatusCode"], 204)
    s3.put_object(Bucket=name, Key="k", Body=b"one")
    s3.put_object(Bucket=name, Key="k", Body=b"another")
    same("the second", body_of(s3, name, "k"), b"another")
    same("DELETE", s3.delete_object(Bucket=name, Key="k")["ResponseMetadata"]["HTTPStatusCode"], 204)
    is_missing("GET after", s3, name, "k")


@PASS.check("objects: a body of unknown position is sent from where it stands")
def _(at):
    s3, name, data = client(at), made(client(at), at.bucket("file")), bytes_of("file", 300_000)
    path = at.path("body")
    with open(path, "wb") as file:
        file.write(data)
    with open(path, "rb") as file:
        file.seek(100_000)
        s3.put_object(Bucket=name, Key="k", Body=file)
    true("the rest of the file", body_of(s3, name, "k") == data[100_000:])
    s3.upload_file(path, name, "u")
    s3.download_file(name, "u", at.path("back"))
    with open(at.path("back"), "rb") as file:
        true("upload_file, download_file", file.read() == data)


@PASS.check("objects: ranges")
def _(at):
    s3, name, data = client(at), made(client(at), at.bucket("ranges")), bytes_of("ranges", 200_000)
    s3.put_object(Bucket=name, Key="k", Body=data)
    s3.put_object(Bucket=name, Key="empty", Body=b"")
    last = len(data) - 1
    cases = [
        ("bytes=0-0", 0, 0),
        ("bytes=0-65535", 0, 65_535),
        ("bytes=65530-65540", 65_530, 65_540),
        ("bytes=100000-", 100_000, last),
        ("bytes=-1", last, last),
        ("bytes=-300000", 0, last),
        ("bytes=199999-900000", last, last),
    ]
    for asked, first, end in cases:
        got = s3.get_object(Bucket=name, Key="k", Range=asked)
        same(f"{asked} status", got["ResponseMetadata"]["HTTPStatusCode"], 206)
        same(f"{asked} Content-Range", got["ContentRange"], f"bytes {first}-{end}/{len(data)}")
        same(f"{asked} length", got["ContentLength"], end - first + 1)
        true(f"{asked} bytes", got["Body"].read() == data[first : end + 1])
    head = s3.head_object(Bucket=name, Key="k", Range="bytes=10-19")
    same("HEAD of a range", (head["ResponseMetadata"]["HTTPStatusCode"], head["ContentLength"]), (206, 10))
    for key, asked in (("k", "bytes=200000-"), ("k", "bytes=-0"), ("empty", "bytes=0-0")):
        refused(f"{asked} of {key}", (416, "InvalidRange"), s3.get_object, Bucket=name, Key=key, Range=asked)
    for asked in ("bytes=5-2", "lines=1-2", "bytes=x-y"):
        got = s3.get_object(Bucket=name, Key="k", Range=asked)
        same(f"{asked} is no range", (got["ResponseMetadata"]["HTTPStatusCode"], len(got["Body"].read())), (200, len(data)))


@PASS.check("objects: odd keys")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("odd"))
    for number, key in enumerate(ODD_KEYS):
        s3.put_object(Bucket=name, Key=key, Body=f"{number}".encode())
    for number, key in enumerate(ODD_KEYS):
        same(f"GET of {key!r}", body_of(s3, name, key), f"{number}".encode())
        same(f"HEAD of {key!r}", s3.head_object(Bucket=name, Key=key)["ContentLength"], len(f"{number}"))
    for key in ODD_KEYS:
        s3.delete_object(Bucket=name, Key=key)
        is_missing(f"after DELETE of {key!r}", s3, name, key)


@PASS.check("objects: a key of 1025 bytes is refused")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("long"))
    refused("PUT", (400, "KeyTooLongError"), s3.put_object, Bucket=name, Key="k" * 1025, Body=b"x")


@PASS.check("nodes: what one node took, the others give at once", needs="nodes")
def _(at):
    name, data = made(client(at), at.bucket("nodes")), bytes_of("nodes", 100_000)
    clients = [client(at, endpoint=node.s3) for node in at.cluster.nodes if node.process.poll() is None]
    for n, writer in enumerate(clients):
        etag = writer.put_object(Bucket=name, Key="k", Body=data + bytes([n]), Metadata={"n": str(n)})["ETag"]
        for reader in clients:
            got = reader.get_object(Bucket=name, Key="k")
            true("bytes", got["Body"].read() == data + bytes([n]))
            same("ETag and metadata", (got["ETag"], got["Metadata"]), (etag, {"n": str(n)}))
            entry = reader.list_objects_v2(Bucket=name)["Contents"][0]
            same("list", (entry["Key"], entry["ETag"], entry["Size"]), ("k", etag, len(data) + 1))
        writer.delete_object(Bucket=name, Key="k")
        for reader in clients:
            is_missing("GET after DELETE", reader, name, "k")


@PASS.check("ports: what was written here is read at port 5000, and the other way", needs="nodes")
def _(at):
    s3, name, data = client(at), made(client(at), at.bucket("ports")), bytes_of("ports", 70_000)
    s3.put_object(Bucket=name, Key="dir/a b", Body=data, ContentType="text/x-one", Metadata={"who": "s3"})
    status, headers, body = at.node.ask("GET", f"/v1/objects/{name}/dir/a%20b")
    same("status", status, 200)
    true("bytes", body == data)
    same("ETag", headers["etag"], f'"{hashlib.md5(data).hexdigest()}"')
    same("type", headers["content-type"], "text/x-one")
    status, headers, _ = at.node.ask("PUT", f"/v1/objects/{name}/other", body=data[::-1], headers={"Content-Type": "text/x-two"})
    true(f"PUT at 5000: {status}", status in (200, 201))
    got = s3.get_object(Bucket=name, Key="other")
    true("bytes", got["Body"].read() == data[::-1])
    same("ETag and type", (got["ETag"], got["ContentType"]), (headers["etag"], "text/x-two"))
    same("list", {e["Key"]: e["ETag"] for e in s3.list_objects_v2(Bucket=name)["Contents"]}["other"], headers["etag"])
    at.node.ask("DELETE", f"/v1/objects/{name}/dir/a%20b")
    is_missing("after DELETE at 5000", s3, name, "dir/a b")


@PASS.check("nodes: a node that was killed gives what it took", needs="kill")
def _(at):
    s3, name, data = client(at), made(client(at), at.bucket("killed")), bytes_of("killed", 50_000)
    etags = {f"k{n}": s3.put_object(Bucket=name, Key=f"k{n}", Body=data + bytes([n]))["ETag"] for n in range(20)}
    at.cluster.heal()
    at.node.kill()
    beside = client(at, endpoint=next(node.s3 for node in at.cluster.nodes if node is not at.node))
    beside.put_object(Bucket=name, Key="meanwhile", Body=b"meanwhile")
    at.cluster.heal()
    for key, etag in etags.items():
        got = s3.get_object(Bucket=name, Key=key)
        same(f"{key}", (got["ETag"], got["Body"].read() == data + bytes([int(key[1:])])), (etag, True))
    same("what came meanwhile", body_of(s3, name, "meanwhile"), b"meanwhile")
