"""boto3 and plain urllib: presigned URLs, callers without a key or with a wrong one, what is not built and says so."""

import contextlib
import datetime

import botocore
import botocore.auth
from checks import bytes_of, same, true
from passes.boto import PASS, body_of, client, is_missing, made, refused, with_headers
from passes.fetch import code_of, fetch

NOT_BUILT = (501, "NotImplemented")


def presigned(s3, what, seconds=300, **params):
    return s3.generate_presigned_url(what, Params=params, ExpiresIn=seconds)


def signing(at, **more):
    return client(at, signature_version="s3v4", **more)


@PASS.check("presigned: GET and HEAD with plain urllib")
def _(at):
    s3, name, data = signing(at), made(client(at), at.bucket("presigned")), bytes_of("presigned", 80_000)
    for key in ("k", "a b+ü/%20", "<&>"):
        s3.put_object(Bucket=name, Key=key, Body=data, ContentType="text/x-p")
        status, headers, body = fetch(at, presigned(s3, "get_object", Bucket=name, Key=key))
        same(f"GET {key}", (status, body == data, headers["Content-Type"]), (200, True, "text/x-p"))
        status, headers, _ = fetch(at, presigned(s3, "head_object", Bucket=name, Key=key), "HEAD")
        same(f"HEAD {key}", (status, headers["Content-Length"]), (200, str(len(data))))
    url = presigned(
        s3,
        "get_object",
        Bucket=name,
        Key="k",
        ResponseContentType="image/odd",
        ResponseContentDisposition='attachment; filename="ü x"',
    )
    status, headers, _ = fetch(at, url)
    same("response-*", (status, headers["Content-Type"]), (200, "image/odd"))
    status, headers, body = fetch(at, presigned(s3, "get_object", Bucket=name, Key="k"), headers={"Range": "bytes=5-9"})
    same("a range", (status, body), (206, data[5:10]))


@PASS.check("presigned: PUT with plain urllib")
def _(at):
    s3, name, data = signing(at), made(client(at), at.bucket("put")), bytes_of("put", 80_000)
    status, headers, body = fetch(
        at, presigned(s3, "put_object", Bucket=name, Key="k"), "PUT", data, {"Content-Type": "text/x-p"}
    )
    same(f"PUT {body[:200]!r}", status, 200)
    same("bytes", body_of(s3, name, "k") == data, True)
    same("ETag", s3.head_object(Bucket=name, Key="k")["ETag"], headers["ETag"])
    url = presigned(s3, "put_object", Bucket=name, Key="typed", ContentType="text/x-q", Metadata={"who": "p"})
    status, _, body = fetch(at, url, "PUT", data, {"Content-Type": "text/x-q", "x-amz-meta-who": "p"})
    same(f"PUT of a signed type {body[:200]!r}", status, 200)
    head = s3.head_object(Bucket=name, Key="typed")
    same("type and metadata", (head["ContentType"], head["Metadata"]), ("text/x-q", {"who": "p"}))
    status, _, body = fetch(at, url, "PUT", data, {"Content-Type": "text/x-other", "x-amz-meta-who": "p"})
    same("another type than was signed", (status, code_of(body)), (403, "SignatureDoesNotMatch"))
    status, _, body = fetch(at, presigned(s3, "put_object", Bucket=name, Key="not"), "PUT", data, {"x-amz-meta-unsigned": "x"})
    same("a header that was not signed", (status, code_of(body)), (403, "AccessDenied"))
    is_missing("nothing is there", s3, name, "not")


@PASS.check("presigned: DELETE, lists, conditions")
def _(at):
    s3, name = signing(at), made(client(at), at.bucket("more"))
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    status, _, body = fetch(at, presigned(s3, "list_objects_v2", Bucket=name, Prefix="k"))
    same("a list", (status, b"<Key>k</Key>" in body), (200, True))
    status, _, body = fetch(
        at, presigned(s3, "put_object", Bucket=name, Key="k", IfNoneMatch="*"), "PUT", b"y", {"If-None-Match": "*"}
    )
    same("PUT If-None-Match", (status, code_of(body)), (412, "PreconditionFailed"))
    same("DELETE", fetch(at, presigned(s3, "delete_object", Bucket=name, Key="k"), "DELETE")[0], 204)
    is_missing("gone", s3, name, "k")


@PASS.check("presigned: changed, expired, of another method, of a wrong key")
def _(at):
    s3, name = signing(at), made(client(at), at.bucket("spoiled"))
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    s3.put_object(Bucket=name, Key="other", Body=b"x")
    url = presigned(s3, "get_object", Bucket=name, Key="k")
    same("as it is", fetch(at, url)[0], 200)
    spoiled = [
        ("another key", url.replace("/k?", "/other?")),
        ("a longer life", url.replace("X-Amz-Expires=300", "X-Amz-Expires=301")),
        ("one more parameter", url + "&response-content-type=text/html"),
    ]
    for what, changed in spoiled:
        status, _, body = fetch(at, changed)
        same(what, (status, code_of(body)), (403, "SignatureDoesNotMatch"))
    status, _, body = fetch(at, url, "DELETE")
    same("another method", (status, code_of(body)), (403, "SignatureDoesNotMatch"))
    status, _, body = fetch(at, presigned(s3, "get_object", 8 * 86400, Bucket=name, Key="k"))
    same("eight days", (status, code_of(body)), (400, "AuthorizationQueryParametersError"))
    with clock(-60):
        old = presigned(s3, "get_object", 60, Bucket=name, Key="k")
    status, _, body = fetch(at, old)
    same("expired", (status, code_of(body)), (403, "AccessDenied"))
    status, _, body = fetch(at, presigned(signing(at, secret="x" * 40), "get_object", Bucket=name, Key="k"))
    same("another secret", (status, code_of(body)), (403, "SignatureDoesNotMatch"))
    status, _, body = fetch(at, presigned(signing(at, key_id="AAAAAAAAAAAAAAAAAAAA"), "get_object", Bucket=name, Key="k"))
    same("another id", (status, code_of(body)), (403, "InvalidAccessKeyId"))


@contextlib.contextmanager
def clock(minutes):
    """The client's clock is that far from this machine's."""
    real = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *a, **k: real(*a, **k) + datetime.timedelta(minutes=minutes)
    try:
        yield
    finally:
        botocore.auth.get_current_datetime = real


@PASS.check("callers: nobody")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("nobody"))
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    nobody = client(at, signature_version=botocore.UNSIGNED)
    denied = (403, "AccessDenied")
    refused("GET", denied, nobody.get_object, Bucket=name, Key="k")
    refused("PUT", denied, nobody.put_object, Bucket=name, Key="n", Body=b"x")
    refused("DELETE", denied, nobody.delete_object, Bucket=name, Key="k")
    refused("list", denied, nobody.list_objects_v2, Bucket=name)
    refused("ListBuckets", denied, nobody.list_buckets)
    refused("of no bucket", denied, nobody.get_object, Bucket=at.bucket("never"), Key="k")
    refused("HEAD", (403, "403"), nobody.head_object, Bucket=name, Key="k")
    same("nothing changed", s3.list_objects_v2(Bucket=name)["KeyCount"], 1)


@PASS.check("callers: a wrong key")
def _(at):
    name = made(client(at), at.bucket("wrongkey"))
    secret, key_id = client(at, secret="x" * 40), client(at, key_id="AAAAAAAAAAAAAAAAAAAA")
    for what, s3, code in (("secret", secret, "SignatureDoesNotMatch"), ("id", key_id, "InvalidAccessKeyId")):
        refused(f"{what}: GET", (403, code), s3.get_object, Bucket=name, Key="k")
        refused(f"{what}: PUT", (403, code), s3.put_object, Bucket=name, Key="k", Body=b"x" * 100_000)
        refused(f"{what}: list", (403, code), s3.list_objects_v2, Bucket=name)
        refused(f"{what}: DeleteObjects", (403, code), s3.delete_objects, Bucket=name, Delete={"Objects": [{"Key": "k"}]})
    same("nothing is there", client(at).list_objects_v2(Bucket=name)["KeyCount"], 0)


@PASS.check("callers: a clock that is off, a token that nobody gave")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("skew"))
    with with_headers(s3, "PutObject", {"X-Amz-Security-Token": "token"}):
        refused("a token", (400, "InvalidToken"), s3.put_object, Bucket=name, Key="k", Body=b"x")
    is_missing("nothing is there", s3, name, "k")
    for minutes in (-20, 20):
        with clock(minutes):
            refused(f"{minutes} minutes", (403, "RequestTimeTooSkewed"), s3.list_objects_v2, Bucket=name)


@PASS.check("not configured: what a bucket has not is said as clients expect it")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("calm"))
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    calm = {
        "get_bucket_policy": "NoSuchBucketPolicy",
        "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
        "get_bucket_tagging": "NoSuchTagSet",
        "get_bucket_cors": "NoSuchCORSConfiguration",
        "get_bucket_website": "NoSuchWebsiteConfiguration",
        "get_bucket_replication": "ReplicationConfigurationNotFoundError",
        "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
        "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
    }
    for call, code in calm.items():
        refused(call, (404, code), getattr(s3, call), Bucket=name)
    true("GetBucketVersioning is off", "Status" not in s3.get_bucket_versioning(Bucket=name))
    grants = s3.get_bucket_acl(Bucket=name)["Grants"]
    same("GetBucketAcl", [grant["Permission"] for grant in grants], ["FULL_CONTROL"])
    same("GetObjectAcl", [grant["Permission"] for grant in s3.get_object_acl(Bucket=name, Key="k")["Grants"]], ["FULL_CONTROL"])
    same("GetObjectTagging", s3.get_object_tagging(Bucket=name, Key="k")["TagSet"], [])


@PASS.check("not built: sub-resources of a write are refused, and nothing changes")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("notbuilt"))
    s3.put_object(Bucket=name, Key="k", Body=b"first")
    for sub in ("legal-hold", "retention", "restore", "torrent", "encryption", "something", "select"):
        with with_headers(s3, "PutObject", {}, {sub: ""}):
            refused(f"PUT ?{sub}", NOT_BUILT, s3.put_object, Bucket=name, Key="k", Body=b"second")
    for sub in ("something", "torrent"):
        with with_headers(s3, "DeleteObject", {}, {sub: ""}):
            refused(f"DELETE ?{sub}", NOT_BUILT, s3.delete_object, Bucket=name, Key="k")
        with with_headers(s3, "DeleteBucket", {}, {sub: ""}):
            refused(f"DELETE bucket ?{sub}", NOT_BUILT, s3.delete_bucket, Bucket=name)
    for sub in (
        "accelerate",
        "analytics",
        "inventory",
        "metrics",
        "logging",
        "ownershipControls",
        "requestPayment",
        "website",
        "replication",
        "something",
    ):
        with with_headers(s3, "CreateBucket", {}, {sub: ""}):
            refused(f"PUT bucket ?{sub}", NOT_BUILT, s3.create_bucket, Bucket=name)
    same("the first stays", body_of(s3, name, "k"), b"first")


@PASS.check("not built: headers of a write are refused, and nothing is there")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("headers"))
    cases = [
        {"ServerSideEncryption": "aws:kms"},
        {"WebsiteRedirectLocation": "/x"},
        {"GrantFullControl": "id=x"},
        {"ACL": "public-read-write"},
        {"ObjectLockLegalHoldStatus": "ON"},
    ]
    for more in cases:
        refused(f"PUT {more}", NOT_BUILT, s3.put_object, Bucket=name, Key="k", Body=b"x", **more)
    refused(
        "another storage class",
        (400, "InvalidStorageClass"),
        s3.put_object,
        Bucket=name,
        Key="k",
        Body=b"x",
        StorageClass="GLACIER",
    )
    for header in ("x-amz-something", "x-amz-write-offset-bytes"):
        with with_headers(s3, "PutObject", {header: "1"}):
            refused(f"PUT {header}", NOT_BUILT, s3.put_object, Bucket=name, Key="k", Body=b"x")
    is_missing("nothing is there", s3, name, "k")
    s3.put_object(Bucket=name, Key="k", Body=b"x", StorageClass="STANDARD", ACL="private")
    same("what says nothing new is taken", body_of(s3, name, "k"), b"x")


@PASS.check("errors: XML with code, resource and request id")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("errors"))
    error = refused("GET", (404, "NoSuchKey"), s3.get_object, Bucket=name, Key="no <such>")
    same("Key", error["Error"].get("Key"), "no <such>")
    about = error["ResponseMetadata"]
    true("a request id in the header", about["HTTPHeaders"].get("x-amz-request-id"))
    same("the same in the text", about["RequestId"], about["HTTPHeaders"]["x-amz-request-id"])
    same("Content-Type", about["HTTPHeaders"]["content-type"], "application/xml")
