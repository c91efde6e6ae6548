"""boto3: checksums of every algorithm, in a header and in a trailer; what does not fit is refused and leaves nothing."""

import base64
import hashlib
import zlib

from checks import Skip, bytes_of, same, true
from passes.boto import PASS, body_of, client, is_missing, made, refused, sent, with_headers


def reflected(polynomial, bits):
    """A table of a CRC whose bits are reflected, and the CRC itself."""
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (polynomial if value & 1 else 0)
        table.append(value)
    ones = (1 << bits) - 1

    def crc(data):
        value = ones
        for byte in data:
            value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
        return (value ^ ones).to_bytes(bits // 8, "big")

    return crc


# An answer of our own: the client computes its own as well, and nobody checks one by the other's code.
ALGORITHMS = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": reflected(0x82F63B78, 32),
    "CRC64NVME": reflected(0x9A6C9329AC4BC9B5, 64),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
# This client computes them by itself; the others need another package.
OF_CLIENT = ("CRC32", "SHA1", "SHA256")
LENGTHS = (0, 1, 1000, 70_000, 300_000)


def b64(data):
    return base64.b64encode(data).decode()


@PASS.check("checksums: the CRC32 that a PUT has by default")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("default"))
    for length in (0, 1000, 100_000, 3 << 20):
        data = bytes_of("default", length)
        with sent(s3) as seen:
            answer = s3.put_object(Bucket=name, Key="k", Body=data)
        wanted, headers = b64(ALGORITHMS["CRC32"](data)), seen[-1]
        if at.is_tls:
            same(
                "as a trailer over https",
                (headers["x-amz-trailer"], headers["x-amz-content-sha256"], headers["content-encoding"]),
                ("x-amz-checksum-crc32", "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "aws-chunked"),
            )
        else:
            same("as a header over http", headers["x-amz-checksum-crc32"], wanted)
        same("PUT says", (answer["ChecksumCRC32"], answer["ChecksumType"]), (wanted, "FULL_OBJECT"))
        head = s3.head_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
        same("HEAD says", (head["ChecksumCRC32"], head["ChecksumType"]), (wanted, "FULL_OBJECT"))
        true("aws-chunked is not kept", "ContentEncoding" not in head)
        got = s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
        true("bytes, checked by the client too", got["Body"].read() == data)
        same("GET says", got["ChecksumCRC32"], wanted)
        with with_headers(s3, "HeadObject", {"x-amz-checksum-mode": None}):
            true("unasked it is not said", "ChecksumCRC32" not in s3.head_object(Bucket=name, Key="k"))


@PASS.check("checksums: Content-Encoding beside aws-chunked is kept")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("encoding"))
    s3.put_object(Bucket=name, Key="k", Body=b"x" * 5000, ContentEncoding="gzip")
    same("Content-Encoding", s3.head_object(Bucket=name, Key="k")["ContentEncoding"], "gzip")


@PASS.check("checksums: each algorithm, computed before")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("given"))
    for algorithm, compute in ALGORITHMS.items():
        for length in LENGTHS:
            data = bytes_of(algorithm, length)
            field, wanted = f"Checksum{algorithm}", b64(compute(data))
            answer = s3.put_object(Bucket=name, Key="k", Body=data, **{field: wanted})
            same(f"PUT {algorithm}, {length}", answer.get(field), wanted)
            same(f"HEAD {algorithm}, {length}", s3.head_object(Bucket=name, Key="k", ChecksumMode="ENABLED").get(field), wanted)
            with_get = s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
            same(f"GET {algorithm}, {length}", (with_get.get(field), with_get["Body"].read() == data), (wanted, True))


@PASS.check("checksums: those that the client computes")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("computed"))
    for algorithm in OF_CLIENT:
        for length in LENGTHS:
            data = bytes_of(algorithm, length)
            answer = s3.put_object(Bucket=name, Key="k", Body=data, ChecksumAlgorithm=algorithm)
            same(f"{algorithm}, {length}", answer.get(f"Checksum{algorithm}"), b64(ALGORITHMS[algorithm](data)))


@PASS.check("checksums: a wrong one is refused, and nothing is there")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("wrong"))
    for algorithm, compute in ALGORITHMS.items():
        for length in (1000, 300_000):
            refused(
                f"{algorithm}, {length}",
                (400, "BadDigest"),
                s3.put_object,
                Bucket=name,
                Key="k",
                Body=bytes(length),
                **{f"Checksum{algorithm}": b64(compute(b"other"))},
            )
        refused(
            f"{algorithm} that is none",
            (400, "InvalidRequest"),
            s3.put_object,
            Bucket=name,
            Key="k",
            Body=b"x",
            **{f"Checksum{algorithm}": "bad"},
        )
    is_missing("nothing is there", s3, name, "k")
    s3.put_object(Bucket=name, Key="k", Body=b"first")
    refused(
        "over another", (400, "BadDigest"), s3.put_object, Bucket=name, Key="k", Body=b"second", ChecksumSHA256=b64(bytes(32))
    )
    same("which stays", body_of(s3, name, "k"), b"first")


@PASS.check("checksums: a wrong one in a trailer is refused, and nothing is there")
def _(at):
    if not at.is_tls:
        raise Skip("this client sends trailers over https alone")
    s3, name = client(at), made(client(at), at.bucket("trailer"))

    def spoiled(request, **_):
        body = request.body.read() if hasattr(request.body, "read") else request.body
        head, colon, _ = body.rpartition(b"x-amz-checksum-crc32:")
        true("a trailer is sent", colon)
        request.body = head + b"x-amz-checksum-crc32:AAAAAA==\r\n\r\n"

    s3.meta.events.register("before-send.s3.PutObject", spoiled)
    refused("PUT", (400, "BadDigest"), s3.put_object, Bucket=name, Key="k", Body=b"x" * 3000)
    is_missing("nothing is there", client(at), name, "k")


@PASS.check("checksums: two at once, and one that nobody knows, are refused")
def _(at):
    s3, name = client(at), made(client(at), at.bucket("two"))
    sums = {"x-amz-checksum-sha256": b64(hashlib.sha256(b"x").digest()), "x-amz-checksum-sha1": b64(hashlib.sha1(b"x").digest())}
    with with_headers(s3, "PutObject", sums):
        refused(
            "two",
            (400, "InvalidRequest"),
            s3.put_object,
            Bucket=name,
            Key="k",
            Body=b"x",
            ChecksumSHA1=sums["x-amz-checksum-sha1"],
        )
    with with_headers(s3, "PutObject", {"x-amz-sdk-checksum-algorithm": "MD17"}):
        refused("unknown", (400, "InvalidRequest"), s3.put_object, Bucket=name, Key="k", Body=b"x")
    with with_headers(s3, "PutObject", {"x-amz-checksum-md17": "AAAA"}):
        refused("unknown header", (400, "InvalidRequest"), s3.put_object, Bucket=name, Key="k", Body=b"x")
    is_missing("nothing is there", s3, name, "k")


@PASS.check("checksums: Content-MD5")
def _(at):
    s3, name, data = client(at), made(client(at), at.bucket("md5")), bytes_of("md5", 20_000)
    s3.put_object(Bucket=name, Key="k", Body=data, ContentMD5=b64(hashlib.md5(data).digest()))
    true("bytes", body_of(s3, name, "k") == data)
    refused("a wrong one", (400, "BadDigest"), s3.put_object, Bucket=name, Key="n", Body=data, ContentMD5=b64(bytes(16)))
    refused("none", (400, "InvalidDigest"), s3.put_object, Bucket=name, Key="n", Body=data, ContentMD5="not one")
    refused("a short one", (400, "InvalidDigest"), s3.put_object, Bucket=name, Key="n", Body=data, ContentMD5=b64(bytes(8)))
    is_missing("nothing is there", s3, name, "n")


@PASS.check("checksums: a copy keeps or changes its source's")
def _(at):
    s3, name, data = client(at), made(client(at), at.bucket("copied")), bytes_of("copied", 50_000)
    source = {"Bucket": name, "Key": "k"}
    s3.put_object(**source, Body=data, ChecksumSHA1=b64(ALGORITHMS["SHA1"](data)))
    kept = s3.copy_object(Bucket=name, Key="kept", CopySource=source)["CopyObjectResult"]
    same("kept", kept.get("ChecksumSHA1"), b64(ALGORITHMS["SHA1"](data)))
    head = s3.head_object(Bucket=name, Key="kept", ChecksumMode="ENABLED")
    same("HEAD of the copy", head.get("ChecksumSHA1"), b64(ALGORITHMS["SHA1"](data)))


@PASS.check("checksums: GetObjectAttributes")
def _(at):
    s3, name, data = client(at), made(client(at), at.bucket("attributes")), bytes_of("attributes", 5000)
    etag = s3.put_object(Bucket=name, Key="k", Body=data)["ETag"]
    got = s3.get_object_attributes(Bucket=name, Key="k", ObjectAttributes=["ETag", "Checksum", "ObjectSize", "StorageClass"])
    same("attributes", (got["ETag"], got["ObjectSize"], got["StorageClass"]), (etag.strip('"'), 5000, "STANDARD"))
    same("checksum", got["Checksum"]["ChecksumCRC32"], b64(ALGORITHMS["CRC32"](data)))
