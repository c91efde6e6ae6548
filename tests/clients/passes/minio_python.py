"""minio for Python: its own signing, its own checksums, its own reading of the XML."""

import datetime
import hashlib
import io

import minio
import minio.commonconfig
import minio.deleteobjects
import minio.error
import urllib3
from checks import Pass, Wrong, bytes_of, digests, file_of, same, true
from passes.fetch import fetch

PASS = Pass("minio", packages=("minio",))
KEYS = ["a b", "a+b", "dir/ü ß", "dir/x", "percent %20", "<&>"]


def client(at, **more):
    trust = {"cert_reqs": "CERT_REQUIRED", "ca_certs": at.ca} if at.ca else {}
    retries = urllib3.Retry(total=6 if at.kill else 0, backoff_factor=0.3, status_forcelist=[500, 502, 503, 504])
    pool = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=30), retries=retries, **trust)
    keys = {"access_key": at.key_id, "secret_key": at.secret} | more
    return minio.Minio(endpoint=at.host, secure=at.is_tls, region="us-east-1", http_client=pool, **keys)


def made(at, what):
    s3, name = client(at), at.bucket(what)
    s3.make_bucket(bucket_name=name)
    return s3, name


def put(s3, name, key, data, **more):
    return s3.put_object(bucket_name=name, object_name=key, data=io.BytesIO(data), length=len(data), **more)


def got(s3, name, key, **more):
    answer = s3.get_object(bucket_name=name, object_name=key, **more)
    try:
        return answer.read()
    finally:
        answer.close()
        answer.release_conn()


def refused(what, code, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except minio.error.S3Error as error:
        return same(what, error.code, code)
    raise Wrong(f"{what}: wanted {code}, was let through")


@PASS.check("buckets")
def _(at):
    s3, name = client(at), at.bucket("life")
    true("not there", not s3.bucket_exists(bucket_name=name))
    s3.make_bucket(bucket_name=name)
    true("there", s3.bucket_exists(bucket_name=name))
    true("listed", name in [bucket.name for bucket in s3.list_buckets()])
    s3.remove_bucket(bucket_name=name)
    true("gone", not s3.bucket_exists(bucket_name=name))


@PASS.check("put, stat, get, ranges")
def _(at):
    s3, name = made(at, "put")
    for length in (0, 1, 70_000, 4 << 20):
        data = bytes_of("minio", length)
        made_ = put(s3, name, "a b+ü", data, content_type="text/x-m", metadata={"who": "minio"})
        same("ETag", made_.etag, hashlib.md5(data).hexdigest())
        stat = s3.stat_object(bucket_name=name, object_name="a b+ü")
        same(
            "stat",
            (stat.size, stat.etag, stat.content_type, stat.metadata["x-amz-meta-who"]),
            (length, made_.etag, "text/x-m", "minio"),
        )
        true("bytes", got(s3, name, "a b+ü") == data)
    true("a range", got(s3, name, "a b+ü", offset=100_000, length=70_000) == data[100_000:170_000])
    file = file_of(at.path("files", "one"), "file", 300_000)
    s3.fput_object(bucket_name=name, object_name="file", file_path=file)
    s3.fget_object(bucket_name=name, object_name="file", file_path=at.path("files", "two"))
    same("fput, fget", len(set(digests(at.path("files")).values())), 1)


@PASS.check("lists of both versions, recursive and not")
def _(at):
    s3, name = made(at, "list")
    for key in KEYS:
        put(s3, name, key, key.encode())
    for is_v1 in (False, True):
        names = lambda **asked: [entry.object_name for entry in s3.list_objects(bucket_name=name, use_api_v1=is_v1, **asked)]
        same(f"all, v1 {is_v1}", names(recursive=True), sorted(KEYS, key=str.encode))
        same(f"rolled up, v1 {is_v1}", sorted(names()), sorted([key for key in KEYS if "/" not in key] + ["dir/"]))
        same(f"prefix, v1 {is_v1}", names(prefix="dir/"), ["dir/x", "dir/ü ß"])


@PASS.check("remove, many at once")
def _(at):
    s3, name = made(at, "remove")
    for key in KEYS:
        put(s3, name, key, b"x")
    s3.remove_object(bucket_name=name, object_name="a b")
    wanted = [minio.deleteobjects.DeleteObject(key) for key in KEYS]
    same("errors", list(s3.remove_objects(bucket_name=name, delete_object_list=wanted)), [])
    same("nothing is left", list(s3.list_objects(bucket_name=name, recursive=True)), [])


@PASS.check("copy, with conditions and new metadata")
def _(at):
    s3, name = made(at, "copy")
    etag = put(s3, name, "a b+ü", b"copied", metadata={"who": "one"}).etag
    source = lambda **more: minio.commonconfig.CopySource(bucket_name=name, object_name="a b+ü", **more)
    s3.copy_object(bucket_name=name, object_name="kept", source=source(match_etag=etag))
    same("kept", s3.stat_object(bucket_name=name, object_name="kept").metadata["x-amz-meta-who"], "one")
    s3.copy_object(bucket_name=name, object_name="new", source=source(), metadata={"who": "two"}, metadata_directive="REPLACE")
    same("replaced", s3.stat_object(bucket_name=name, object_name="new").metadata["x-amz-meta-who"], "two")
    same("bytes", got(s3, name, "new"), b"copied")
    refused(
        "not matched", "PreconditionFailed", s3.copy_object, bucket_name=name, object_name="n", source=source(not_match_etag=etag)
    )


@PASS.check("presigned GET and PUT")
def _(at):
    s3, name = made(at, "presigned")
    life = datetime.timedelta(minutes=5)
    status, _, _ = fetch(at, s3.presigned_put_object(bucket_name=name, object_name="a b+ü", expires=life), "PUT", b"presigned")
    same("PUT", status, 200)
    status, _, body = fetch(at, s3.presigned_get_object(bucket_name=name, object_name="a b+ü", expires=life))
    same("GET", (status, body), (200, b"presigned"))


@PASS.check("refusals")
def _(at):
    s3, name = made(at, "refusals")
    refused("no key", "NoSuchKey", s3.get_object, bucket_name=name, object_name="none")
    refused("stat of none", "NoSuchKey", s3.stat_object, bucket_name=name, object_name="none")
    refused("no bucket", "NoSuchBucket", put, s3, at.bucket("never"), "k", b"x")
    refused("wrong secret", "SignatureDoesNotMatch", put, client(at, secret_key="x" * 40), name, "k", b"x")
    refused("wrong id", "InvalidAccessKeyId", put, client(at, access_key="A" * 20), name, "k", b"x")
    refused("nobody", "AccessDenied", put, client(at, access_key=None, secret_key=None), name, "k", b"x")
    put(s3, name, "k", b"x")
    refused("a bucket with an object", "BucketNotEmpty", s3.remove_bucket, bucket_name=name)


@PASS.check("put: above the part size")
def _(at):
    s3, name = made(at, "large")
    data = bytes_of("large", 12 << 20)
    put(s3, name, "k", data, part_size=5 << 20)
    true("bytes", got(s3, name, "k") == data)


@PASS.check("put: 64 MiB, four parts at once")
def _(at):
    s3, name = made(at, "larger")
    data = bytes_of("larger", 64 << 20)
    put(s3, name, "k", data, part_size=5 << 20, num_parallel_uploads=4)
    true("bytes", got(s3, name, "k") == data)
    uploads = list(s3.list_objects(bucket_name=name))
    same("one object", [(found.object_name, found.size) for found in uploads], [("k", len(data))])


@PASS.check("compose_object")
def _(at):
    s3, name = made(at, "compose")
    data = bytes_of("compose", 5 << 20)
    put(s3, name, "one", data)
    put(s3, name, "two", b"end")
    s3.compose_object(
        bucket_name=name,
        object_name="k",
        sources=[minio.commonconfig.ComposeSource(bucket_name=name, object_name=key) for key in ("one", "two")],
    )
    true("bytes", got(s3, name, "k") == data + b"end")
