"""boto3: conditions on reads and writes, many deletes at once, copies."""

import datetime

from checks import Wrong, bytes_of, same, true
from passes.boto import PASS, body_of, client, etag_is_md5, is_missing, made, refused, with_headers

FAILED = (412, "PreconditionFailed")
OTHER = '"00000000000000000000000000000000"'
HOUR = datetime.timedelta(hours=1)


@PASS.check("conditions: reads")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("reads"))
    etag = s3.put_object(Bucket=name, Key="k", Body=b"x")["ETag"]
    modified = s3.head_object(Bucket=name, Key="k")["LastModified"]
    passes = [
        {"IfMatch": etag},
        {"IfMatch": "*"},
        {"IfNoneMatch": OTHER},
        {"IfModifiedSince": modified - HOUR},
        {"IfUnmodifiedSince": modified + HOUR},
        {"IfMatch": etag, "IfUnmodifiedSince": modified - HOUR},
    ]
    for asked in passes:
        same(f"GET {asked}", body_of(s3, name, "k", **asked), b"x")
        same(f"HEAD {asked}", s3.head_object(Bucket=name, Key="k", **asked)["ETag"], etag)
    for asked in ({"IfMatch": OTHER}, {"IfUnmodifiedSince": modified - HOUR}):
        refused(f"GET {asked}", FAILED, s3.get_object, Bucket=name, Key="k", **asked)
        refused(f"HEAD {asked}", (412, "412"), s3.head_object, Bucket=name, Key="k", **asked)
    for asked in (
        {"IfNoneMatch": etag},
        {"IfNoneMatch": "*"},
        {"IfModifiedSince": modified},
        {"IfNoneMatch": etag, "IfModifiedSince": modified - HOUR},
    ):
        answer = refused(f"GET {asked}", (304, "304"), s3.get_object, Bucket=name, Key="k", **asked)
        same("ETag of a 304", answer["ResponseMetadata"]["HTTPHeaders"].get("etag"), etag)
        refused(f"HEAD {asked}", (304, "304"), s3.head_object, Bucket=name, Key="k", **asked)


@PASS.check("conditions: PUT If-None-Match: *")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("absent"))
    etag = s3.put_object(Bucket=name, Key="k", Body=b"first", IfNoneMatch="*")["ETag"]
    refused("again", FAILED, s3.put_object, Bucket=name, Key="k", Body=b"second", IfNoneMatch="*")
    refused("again, large", FAILED, s3.put_object, Bucket=name, Key="k", Body=bytes(3 << 20), IfNoneMatch="*")
    same("the first stays", (body_of(s3, name, "k"), s3.head_object(Bucket=name, Key="k")["ETag"]), (b"first", etag))
    s3.delete_object(Bucket=name, Key="k")
    s3.put_object(Bucket=name, Key="k", Body=b"third", IfNoneMatch="*")
    same("after DELETE", body_of(s3, name, "k"), b"third")


@PASS.check("conditions: PUT If-Match")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("match"))
    refused("of none", (404, "NoSuchKey"), s3.put_object, Bucket=name, Key="k", Body=b"x", IfMatch=OTHER)
    is_missing("still none", s3, name, "k")
    first = s3.put_object(Bucket=name, Key="k", Body=b"first")["ETag"]
    refused("another's", FAILED, s3.put_object, Bucket=name, Key="k", Body=b"second", IfMatch=OTHER)
    second = s3.put_object(Bucket=name, Key="k", Body=b"second", IfMatch=first)["ETag"]
    refused("the one before", FAILED, s3.put_object, Bucket=name, Key="k", Body=b"third", IfMatch=first)
    same("the second stays", (body_of(s3, name, "k"), s3.head_object(Bucket=name, Key="k")["ETag"]), (b"second", second))
    s3.put_object(Bucket=name, Key="k", Body=b"fourth", IfMatch=second.strip('"'))
    same("without quotes", body_of(s3, name, "k"), b"fourth")


@PASS.check("conditions: DELETE If-Match")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("unmatch"))
    etag = s3.put_object(Bucket=name, Key="k", Body=b"x")["ETag"]
    refused("another's", FAILED, s3.delete_object, Bucket=name, Key="k", IfMatch=OTHER)
    same("still there", body_of(s3, name, "k"), b"x")
    s3.delete_object(Bucket=name, Key="k", IfMatch=etag)
    is_missing("gone", s3, name, "k")


@PASS.check("conditions: those that a write does not have are refused")
def _(at):
    """An accepted and ignored condition has cost others their users' data."""
    s3, name = client(at), made(client(at), at.bucket("unknown"))
    s3.put_object(Bucket=name, Key="k", Body=b"first")
    for header, value in (
        ("If-Modified-Since", "Tue, 06 May 2031 07:08:09 GMT"),
        ("If-Unmodified-Since", "Tue, 06 May 2031 07:08:09 GMT"),
    ):
        with with_headers(s3, "PutObject", {header: value}):
            refused(f"PUT {header}", (501, "NotImplemented"), s3.put_object, Bucket=name, Key="k", Body=b"second")
    # S3 has If-None-Match of a write with a star alone; who takes an ETag has to mean it.
    etag = s3.head_object(Bucket=name, Key="k")["ETag"]
    with with_headers(s3, "PutObject", {"If-None-Match": etag}):
        try:
            s3.put_object(Bucket=name, Key="k", Body=b"second")
            raise Wrong("If-None-Match with the object's ETag was let through")
        except s3.exceptions.ClientError as error:
            true(f"{error}", error.response["Error"]["Code"] in ("NotImplemented", "PreconditionFailed"))
    same("the first stays", body_of(s3, name, "k"), b"first")


@PASS.check("deletes: many at once")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("many"))
    keys = [f"k{n:04}" for n in range(60)] + ["a b", "a+b", "ü/ß", "<&>\"'", "tab\there"]
    for key in keys:
        s3.put_object(Bucket=name, Key=key, Body=b"x")
    s3.put_object(Bucket=name, Key="stays", Body=b"x")
    asked = [{"Key": key} for key in [*keys, "never was"]]
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": asked})
    same("errors", answer.get("Errors", []), [])
    same("deleted", sorted(entry["Key"] for entry in answer["Deleted"]), sorted([*keys, "never was"]))
    same("what is left", [entry["Key"] for entry in s3.list_objects_v2(Bucket=name)["Contents"]], ["stays"])
    quiet = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "stays"}], "Quiet": True})
    same("quiet", (quiet.get("Deleted", []), quiet.get("Errors", [])), ([], []))
    same("nothing is left", s3.list_objects_v2(Bucket=name)["KeyCount"], 0)


@PASS.check("deletes: a thousand at once, and one more is refused", is_short=False)
def _(at):
    s3, name = client(at), made(client(at), at.bucket("thousand"))
    for n in range(0, 1000, 50):
        s3.put_object(Bucket=name, Key=f"k{n:04}", Body=b"")
    answer = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": f"k{n:04}"} for n in range(1000)]})
    same("deleted", len(answer["Deleted"]), 1000)
    same("nothing is left", s3.list_objects_v2(Bucket=name)["KeyCount"], 0)
    refused(
        "1001", (400, "MalformedXML"), s3.delete_objects, Bucket=name, Delete={"Objects": [{"Key": f"k{n}"} for n in range(1001)]}
    )
    refused("none", (400, "MalformedXML"), s3.delete_objects, Bucket=name, Delete={"Objects": []})


@PASS.check("deletes: conditions on the entries")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("entries"))
    etags = {key: s3.put_object(Bucket=name, Key=key, Body=key.encode())["ETag"] for key in ("one", "two")}
    answer = s3.delete_objects(
        Bucket=name, Delete={"Objects": [{"Key": "one", "ETag": etags["one"]}, {"Key": "two", "ETag": OTHER}]}
    )
    same("deleted", [entry["Key"] for entry in answer.get("Deleted", [])], ["one"])
    same("refused", [(entry["Key"], entry["Code"]) for entry in answer.get("Errors", [])], [("two", "PreconditionFailed")])
    same("what is left", [entry["Key"] for entry in s3.list_objects_v2(Bucket=name)["Contents"]], ["two"])


@PASS.check("deletes: by a checksum of every kind, and a wrong one refused")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("summed"))
    for algorithm in ("CRC32", "SHA1", "SHA256"):
        s3.put_object(Bucket=name, Key="k", Body=b"x")
        s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "k"}]}, ChecksumAlgorithm=algorithm)
        is_missing(algorithm, s3, name, "k")
    s3.put_object(Bucket=name, Key="k", Body=b"x")
    with with_headers(s3, "DeleteObjects", {"x-amz-checksum-crc32": "AAAAAA=="}):
        refused("a wrong CRC32", (400, "BadDigest"), s3.delete_objects, Bucket=name, Delete={"Objects": [{"Key": "k"}]})
    wrong = {"Content-MD5": "AAAAAAAAAAAAAAAAAAAAAA=="}
    # Without the sum that it speaks of, the other header would be refused for itself.
    alone = {**wrong, "x-amz-checksum-crc32": None, "x-amz-sdk-checksum-algorithm": None}
    with with_headers(s3, "DeleteObjects", wrong):
        refused("a wrong Content-MD5 beside", (400, "BadDigest"), s3.delete_objects, Bucket=name, Delete={"Objects": [{"Key": "k"}]})
    with with_headers(s3, "DeleteObjects", alone):
        refused("a wrong Content-MD5", (400, "BadDigest"), s3.delete_objects, Bucket=name, Delete={"Objects": [{"Key": "k"}]})
    same("still there", body_of(s3, name, "k"), b"x")


@PASS.check("copies: metadata is kept, or replaced as asked for")
def _(at):
    s3, name, far = client(at), made(client(at), at.bucket("from")), made(client(at), at.bucket("to"))
    for length in (100, 40_000, 3 << 20):
        data = bytes_of("copies", length)
        source = {"Bucket": name, "Key": f"a b+ü/{length}"}
        s3.put_object(**source, Body=data, ContentType="text/x-a", CacheControl="no-cache", Metadata={"who": "a"})
        for bucket in (name, far):
            answer = s3.copy_object(Bucket=bucket, Key="kept", CopySource=source)["CopyObjectResult"]
            etag_is_md5("ETag of the copy", answer["ETag"], data)
            got = s3.get_object(Bucket=bucket, Key="kept")
            true("bytes", got["Body"].read() == data)
            same("kept", (got["ContentType"], got["CacheControl"], got["Metadata"]), ("text/x-a", "no-cache", {"who": "a"}))
            same("Last-Modified", got["LastModified"], answer["LastModified"].replace(microsecond=0))
            s3.copy_object(
                Bucket=bucket,
                Key="other",
                CopySource=source,
                MetadataDirective="REPLACE",
                ContentType="text/x-b",
                Metadata={"new": "b"},
            )
            got = s3.get_object(Bucket=bucket, Key="other")
            true("bytes", got["Body"].read() == data)
            same("replaced", (got["ContentType"], got.get("CacheControl"), got["Metadata"]), ("text/x-b", None, {"new": "b"}))
        s3.delete_object(**source)
        true("the copy outlives its source", body_of(s3, far, "kept") == data)


@PASS.check("copies: onto itself")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("self"))
    for length in (100, 3 << 20):
        data = bytes_of("self", length)
        source = {"Bucket": name, "Key": "k"}
        s3.put_object(**source, Body=data, Metadata={"n": "1"})
        refused("with nothing changed", (400, "InvalidRequest"), s3.copy_object, **source, CopySource=source)
        s3.copy_object(**source, CopySource=source, MetadataDirective="REPLACE", Metadata={"n": "2"})
        got = s3.get_object(**source)
        true("bytes", got["Body"].read() == data)
        same("metadata", got["Metadata"], {"n": "2"})


@PASS.check("copies: conditions on the source")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("ifs"))
    source = {"Bucket": name, "Key": "k"}
    etag = s3.put_object(**source, Body=b"x")["ETag"]
    modified = s3.head_object(**source)["LastModified"]
    passes = [
        {"CopySourceIfMatch": etag},
        {"CopySourceIfNoneMatch": OTHER},
        {"CopySourceIfModifiedSince": modified - HOUR},
        {"CopySourceIfUnmodifiedSince": modified + HOUR},
        {"CopySourceIfMatch": etag, "CopySourceIfUnmodifiedSince": modified - HOUR},
    ]
    for n, asked in enumerate(passes):
        s3.copy_object(Bucket=name, Key=f"to{n}", CopySource=source, **asked)
        same(f"{asked}", body_of(s3, name, f"to{n}"), b"x")
    fails = [
        {"CopySourceIfMatch": OTHER},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": modified},
        {"CopySourceIfUnmodifiedSince": modified - HOUR},
        {"CopySourceIfNoneMatch": etag, "CopySourceIfModifiedSince": modified - HOUR},
    ]
    for asked in fails:
        refused(f"{asked}", FAILED, s3.copy_object, Bucket=name, Key="not", CopySource=source, **asked)
    is_missing("no copy", s3, name, "not")


@PASS.check("copies: conditions on the target")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("target"))
    source = {"Bucket": name, "Key": "k"}
    s3.put_object(**source, Body=b"x")
    etag = s3.copy_object(Bucket=name, Key="to", CopySource=source, IfNoneMatch="*")["CopyObjectResult"]["ETag"]
    refused("If-None-Match again", FAILED, s3.copy_object, Bucket=name, Key="to", CopySource=source, IfNoneMatch="*")
    refused("If-Match, another's", FAILED, s3.copy_object, Bucket=name, Key="to", CopySource=source, IfMatch=OTHER)
    s3.copy_object(Bucket=name, Key="to", CopySource=source, IfMatch=etag)


@PASS.check("copies: of what is not there")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("none"))
    refused("key", (404, "NoSuchKey"), s3.copy_object, Bucket=name, Key="to", CopySource={"Bucket": name, "Key": "none"})
    refused(
        "bucket",
        (404, "NoSuchBucket"),
        s3.copy_object,
        Bucket=name,
        Key="to",
        CopySource={"Bucket": at.bucket("never"), "Key": "k"},
    )
    refused("a source without key", (400, "InvalidArgument"), s3.copy_object, Bucket=name, Key="to", CopySource="nothing")
