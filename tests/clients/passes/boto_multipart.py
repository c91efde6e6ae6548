"""boto3: uploads in parts, step by step and by its own transfers; ETags and checksums computed here besides."""

import base64
import hashlib
import io
import zlib

import boto3.s3.transfer
from checks import bytes_of, same, true
from passes.boto import PASS, body_of, client, is_missing, made, refused

MIN = 5 << 20


def etag(parts):
    """The ETag of an object of these parts, as S3 makes it."""
    sums = b"".join(hashlib.md5(part).digest() for part in parts)
    return f'"{hashlib.md5(sums).hexdigest()}-{len(parts)}"'


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def composite(digest, parts):
    """The checksum over those of the parts, with their count behind it."""
    return f"{base64.b64encode(digest(b''.join(digest(part) for part in parts))).decode()}-{len(parts)}"


def filled(s3, name, key, parts, **begun):
    """An upload with these parts; its id, and what names them when it is completed."""
    upload = s3.create_multipart_upload(Bucket=name, Key=key, **begun)["UploadId"]
    # Of itself the client names CRC32, whatever the upload was begun with.
    of_parts = {"ChecksumAlgorithm": begun["ChecksumAlgorithm"]} if "ChecksumAlgorithm" in begun else {}
    named = []
    for number, part in enumerate(parts, 1):
        sent = s3.upload_part(Bucket=name, Key=key, UploadId=upload, PartNumber=number, Body=part, **of_parts)
        sums = {field: sent[field] for field in sent if field.startswith("Checksum") and field != "ChecksumType"}
        named.append({"PartNumber": number, "ETag": sent["ETag"], **sums})
    return upload, named


def complete(s3, name, key, upload, parts, **more):
    return s3.complete_multipart_upload(Bucket=name, Key=key, UploadId=upload, MultipartUpload={"Parts": parts}, **more)


@PASS.check("multipart: made, filled, completed")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("multipart"))
    parts = [bytes_of("one", MIN), bytes_of("two", MIN + 77), bytes_of("three", 1000)]
    upload, named = filled(s3, name, "a b+ü", parts, Metadata={"who": "me"}, ContentType="text/x-m", CacheControl="no-store")
    is_missing("before it is completed", s3, name, "a b+ü")
    done = complete(s3, name, "a b+ü", upload, named)
    same("ETag", done["ETag"], etag(parts))
    same("bucket and key", (done["Bucket"], done["Key"]), (name, "a b+ü"))
    true(f"Location: {done['Location']}", done["Location"].startswith(f"{at.endpoint}/{name}/"))
    head = s3.head_object(Bucket=name, Key="a b+ü")
    same("HEAD", (head["ETag"], head["ContentLength"]), (etag(parts), sum(map(len, parts))))
    same("what is said of it", (head["Metadata"], head["ContentType"], head["CacheControl"]), ({"who": "me"}, "text/x-m", "no-store"))
    true("bytes", body_of(s3, name, "a b+ü") == b"".join(parts))
    same("in a list", s3.list_objects_v2(Bucket=name)["Contents"][0]["ETag"], etag(parts))
    same("completed again", complete(s3, name, "a b+ü", upload, named)["ETag"], etag(parts))
    refused("abort of it", (404, "NoSuchUpload"), s3.abort_multipart_upload, Bucket=name, Key="a b+ü", UploadId=upload)


@PASS.check("multipart: parts by their numbers, ranges over their borders", is_short=False)
def _(at):
    s3, name = client(at), made(client(at), at.bucket("mpread"))
    parts = [bytes_of("r1", MIN), bytes_of("r2", MIN + 1), bytes_of("r3", 5)]
    whole = b"".join(parts)
    complete(s3, name, "k", *filled(s3, name, "k", parts))
    for number, part in enumerate(parts, 1):
        got = s3.get_object(Bucket=name, Key="k", PartNumber=number)
        same(f"part {number}", (got["PartsCount"], got["ResponseMetadata"]["HTTPStatusCode"]), (3, 206))
        true(f"bytes of part {number}", got["Body"].read() == part)
        same(f"HEAD of part {number}", s3.head_object(Bucket=name, Key="k", PartNumber=number)["ContentLength"], len(part))
    refused("part 4", (416, "InvalidPartNumber"), s3.get_object, Bucket=name, Key="k", PartNumber=4)
    for first, last in ((MIN - 1, MIN), (MIN - 70_000, MIN + 70_000), (10, 2 * MIN + 3), (2 * MIN + 1, 2 * MIN + 5)):
        got = s3.get_object(Bucket=name, Key="k", Range=f"bytes={first}-{last}")
        true(f"{first} to {last}", got["Body"].read() == whole[first : last + 1])


@PASS.check("multipart: checksums of the parts and of the whole", is_short=False)
def _(at):
    s3, name = client(at), made(client(at), at.bucket("mpsums"))
    parts = [bytes_of("s1", MIN), bytes_of("s2", 12_345)]
    whole = b"".join(parts)
    sha256 = lambda data: hashlib.sha256(data).digest()  # noqa: E731
    sha1 = lambda data: hashlib.sha1(data).digest()  # noqa: E731
    crc = lambda data: zlib.crc32(data).to_bytes(4, "big")  # noqa: E731
    for algorithm, digest in (("SHA256", sha256), ("SHA1", sha1), ("CRC32", crc)):
        done = complete(s3, name, "k", *filled(s3, name, "k", parts, ChecksumAlgorithm=algorithm))
        same(f"{algorithm} told", (done[f"Checksum{algorithm}"], done["ChecksumType"]), (composite(digest, parts), "COMPOSITE"))
        head = s3.head_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
        same(f"{algorithm} of HEAD", head[f"Checksum{algorithm}"], composite(digest, parts))
        true(f"bytes with {algorithm}", s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")["Body"].read() == whole)
        asked = s3.get_object_attributes(Bucket=name, Key="k", ObjectAttributes=["ObjectParts", "Checksum", "ObjectSize"])
        listed = [(part["PartNumber"], part["Size"], part[f"Checksum{algorithm}"]) for part in asked["ObjectParts"]["Parts"]]
        same("GetObjectAttributes", listed, [(n, len(p), base64.b64encode(digest(p)).decode()) for n, p in enumerate(parts, 1)])
    begun = {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"}
    upload, named = filled(s3, name, "f", parts, **begun)
    refused(
        "a wrong sum of the whole",
        (400, "BadDigest"),
        complete,
        s3,
        name,
        "f",
        upload,
        named,
        ChecksumCRC32=crc32(b"other"),
        ChecksumType="FULL_OBJECT",
    )
    done = complete(s3, name, "f", upload, named, ChecksumCRC32=crc32(whole), ChecksumType="FULL_OBJECT", MpuObjectSize=len(whole))
    same("of all bytes", (done["ChecksumCRC32"], done["ChecksumType"]), (crc32(whole), "FULL_OBJECT"))
    true("bytes", s3.get_object(Bucket=name, Key="f", ChecksumMode="ENABLED")["Body"].read() == whole)


@PASS.check("multipart: what is no completion is refused, and the upload stays")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("mpwrong"))
    parts = [bytes_of("w1", MIN), bytes_of("w2", 100), bytes_of("w3", 100)]
    upload, named = filled(s3, name, "k", parts)
    other = [{**named[0], "ETag": named[1]["ETag"]}, named[1]]
    wrong = lambda code, parts, **more: refused(code, (400, code), complete, s3, name, "k", upload, parts, **more)  # noqa: E731
    wrong("InvalidPart", [{"PartNumber": 1, "ETag": '"x"'}])
    wrong("InvalidPart", other)
    wrong("InvalidPart", [{**named[0], "PartNumber": 9999}])
    wrong("InvalidPartOrder", [named[1], named[0]])
    wrong("EntityTooSmall", named)
    wrong("InvalidRequest", named[:2], MpuObjectSize=7)
    wrong("MalformedXML", [])
    is_missing("nothing is there", s3, name, "k")
    complete(s3, name, "k", upload, named[:2])
    true("bytes", body_of(s3, name, "k") == b"".join(parts[:2]))


@PASS.check("multipart: conditions when it is completed")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("mpif"))
    upload, named = filled(s3, name, "k", [b"part"])
    tag = s3.put_object(Bucket=name, Key="k", Body=b"before")["ETag"]
    refused("If-None-Match", (412, "PreconditionFailed"), complete, s3, name, "k", upload, named, IfNoneMatch="*")
    refused("If-Match", (412, "PreconditionFailed"), complete, s3, name, "k", upload, named, IfMatch='"x"')
    same("nothing was written", body_of(s3, name, "k"), b"before")
    complete(s3, name, "k", upload, named, IfMatch=tag)
    same("and then it was", body_of(s3, name, "k"), b"part")


@PASS.check("multipart: aborted, listed")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("mplist"))
    begun = {}
    for key in ("a", "b/1", "b/2", "c"):
        begun[key], _ = filled(s3, name, key, [b"x"] * 3)
    pages = s3.get_paginator("list_multipart_uploads").paginate(Bucket=name, MaxUploads=1)
    same("all of them", {entry["Key"]: entry["UploadId"] for page in pages for entry in page.get("Uploads", [])}, begun)
    folded = s3.list_multipart_uploads(Bucket=name, Delimiter="/")
    same("folded", [entry["Prefix"] for entry in folded["CommonPrefixes"]], ["b/"])
    pages = s3.get_paginator("list_parts").paginate(Bucket=name, Key="a", UploadId=begun["a"], PaginationConfig={"PageSize": 2})
    same("parts", [(part["PartNumber"], part["Size"]) for page in pages for part in page["Parts"]], [(1, 1), (2, 1), (3, 1)])
    refused("the bucket holds uploads alone", (404, "NoSuchKey"), s3.get_object, Bucket=name, Key="a")
    for key, upload in begun.items():
        s3.abort_multipart_upload(Bucket=name, Key=key, UploadId=upload)
        refused("parts of it", (404, "NoSuchUpload"), s3.list_parts, Bucket=name, Key=key, UploadId=upload)
    same("none is left", s3.list_multipart_uploads(Bucket=name).get("Uploads"), None)
    s3.delete_bucket(Bucket=name)


@PASS.check("multipart: parts copied out of objects")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("mpcopy"))
    data = bytes_of("copied", MIN + 4321)
    s3.put_object(Bucket=name, Key="from ü", Body=data)
    upload = s3.create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    source, named = {"Bucket": name, "Key": "from ü"}, []
    for number, more in enumerate(({}, {"CopySourceRange": "bytes=7-1006"}), 1):
        got = s3.upload_part_copy(Bucket=name, Key="k", UploadId=upload, PartNumber=number, CopySource=source, **more)
        named.append({"PartNumber": number, "ETag": got["CopyPartResult"]["ETag"]})
    complete(s3, name, "k", upload, named)
    true("bytes", body_of(s3, name, "k") == data + data[7:1007])
    same("its ETag", s3.head_object(Bucket=name, Key="k")["ETag"], etag([data, data[7:1007]]))


@PASS.check("transfer: 64 MiB up, down and copied", is_short=False)
def _(at):
    s3, name, data = client(at), made(client(at), at.bucket("transfer")), bytes_of("transfer", 64 << 20)
    config = boto3.s3.transfer.TransferConfig(multipart_threshold=MIN, multipart_chunksize=MIN, max_concurrency=8)
    s3.upload_fileobj(io.BytesIO(data), name, "k", Config=config)
    parts = [data[at : at + MIN] for at in range(0, len(data), MIN)]
    same("its ETag", s3.head_object(Bucket=name, Key="k")["ETag"], etag(parts))
    back = io.BytesIO()
    s3.download_fileobj(name, "k", back, Config=config)
    true("bytes", back.getvalue() == data)
    s3.copy({"Bucket": name, "Key": "k"}, name, "copy", Config=config)
    back = io.BytesIO()
    s3.download_fileobj(name, "copy", back, Config=config)
    true("bytes of the copy", back.getvalue() == data)


@PASS.check("multipart: each step at another node", needs="nodes")
def _(at):
    each = [client(at, endpoint=node.s3) for node in at.cluster.nodes]
    name, parts = made(each[0], at.bucket("mpnodes")), [bytes_of("n1", MIN), bytes_of("n2", 9)]
    upload = each[0].create_multipart_upload(Bucket=name, Key="k")["UploadId"]
    named = []
    for number, part in enumerate(parts, 1):
        sent = each[number].upload_part(Bucket=name, Key="k", UploadId=upload, PartNumber=number, Body=part)
        named.append({"PartNumber": number, "ETag": sent["ETag"], "ChecksumCRC32": sent["ChecksumCRC32"]})
    complete(each[0], name, "k", upload, named)
    for s3 in each:
        true("bytes", body_of(s3, name, "k") == b"".join(parts))
        same("completed again", complete(s3, name, "k", upload, named)["ETag"], etag(parts))
