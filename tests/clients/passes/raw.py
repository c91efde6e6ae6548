"""Requests signed by `signature.py` and sent by the standard library: chunked bodies of every kind, whole, spoiled and
cut off, over http and https; what clients send that no other pass has."""

import base64
import contextlib
import hashlib
import http.client
import socket
import ssl
import time
import urllib.parse
import zlib

from checks import Pass, bytes_of, same, true
from passes import signature
from passes.fetch import code_of, fetch
from world import DOMAIN

PASS = Pass("raw", packages=("boto3",), is_short=True)
UNSIGNED_TRAILER = "STREAMING-UNSIGNED-PAYLOAD-TRAILER"
SIGNED = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
KINDS = (UNSIGNED_TRAILER, SIGNED, SIGNED_TRAILER)
SUM = "x-amz-checksum-crc32"


def connect(at):
    if at.is_tls:
        return http.client.HTTPSConnection(at.host, timeout=30, context=ssl.create_default_context(cafile=at.ca))
    return http.client.HTTPConnection(at.host, timeout=30)


def send(at, method, path, headers=None, payload=signature.EMPTY, body=b"", params=None, sent_headers=None):
    """Status, code of the error, body of the answer. `sent_headers` go out too, unsigned."""
    given, _ = signature.signed_headers(at, method, path, headers or {}, payload, params)
    return exchange(at, method, path, {**given, **(sent_headers or {})}, body, params)


def exchange(at, method, path, headers, body, params=None):
    query = signature.query_of(params or {})
    with contextlib.closing(connect(at)) as connection:
        connection.request(
            method, urllib.parse.quote(path, safe="/~") + (f"?{query}" if query else ""), body=body, headers=headers
        )
        answer = connection.getresponse()
        data = answer.read()
    return answer.status, code_of(data) if answer.status >= 300 else None, data


def made(at, what):
    name = at.bucket(what)
    status, code, _ = send(at, "PUT", f"/{name}")
    true(f"a bucket: {status} {code}", status == 200)
    return name


def crc32(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def chunked(at, kind, path, data, size=8192, claim=None, more=None):
    """Headers and chunks of a PUT: a list of pieces, the last with the empty chunk and the trailer."""
    headers = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(data)), **(more or {})}
    if kind != SIGNED:
        headers["x-amz-trailer"] = SUM
    time_ = signature.now()
    given, seed = signature.signed_headers(at, "PUT", path, headers, kind, time=time_)
    chunks = signature.Chunks(at, time_, seed, kind != UNSIGNED_TRAILER)
    pieces = [chunks.chunk(data[n : n + size]) for n in range(0, len(data), size)]
    end = chunks.chunk(b"")
    pieces.append(end + (b"\r\n" if kind == SIGNED else chunks.trailer(SUM, claim or crc32(data))))
    given["content-length"] = str(sum(map(len, pieces)))
    return given, pieces


def put(at, given, path, pieces):
    return exchange(at, "PUT", path, given, b"".join(pieces))[:2]


def got(at, path):
    status, code, data = send(at, "GET", path)
    return data if status == 200 else (status, code)


MISSING = (404, "NoSuchKey")


@PASS.check("chunks: signed and unsigned, with and without a trailer")
def _(at):
    path = f"/{made(at, 'chunks')}/k"
    for kind in KINDS:
        for length, size in (
            (0, 8192),
            (1, 8192),
            (8192, 8192),
            (100_000, 8192),
            (300_000, 65_536),
            (2_500_000, 1 << 20),
            (2_000_000, 2 << 20),
        ):
            data = bytes_of(kind, length)
            given, pieces = chunked(at, kind, path, data, size)
            same(f"PUT {kind} {length} by {size}", put(at, given, path, pieces), (200, None))
            true(f"bytes {kind} {length} by {size}", got(at, path) == data)


@PASS.check("chunks: a spoiled byte, signature or trailer is refused, and nothing is there")
def _(at):
    path, data = f"/{made(at, 'spoiled')}/k", bytes_of("spoiled", 50_000)

    def spoil(piece, place, text=b"X"):
        return piece[:place] + text + piece[place + len(text) :]

    for kind in KINDS:
        given, pieces = chunked(at, kind, path, data)
        for n in (0, 3, 6):
            changed = [*pieces[:n], spoil(pieces[n], len(pieces[n]) - 10, b"\0\1\2\3"), *pieces[n + 1 :]]
            wanted = (400, "BadDigest") if kind == UNSIGNED_TRAILER else (403, "SignatureDoesNotMatch")
            same(f"{kind}: data of chunk {n}", put(at, given, path, changed), wanted)
        if kind != UNSIGNED_TRAILER:
            place = pieces[2].index(b"chunk-signature=") + 20
            old = pieces[2][place : place + 1]
            changed = [*pieces[:2], spoil(pieces[2], place, b"0" if old != b"0" else b"1"), *pieces[3:]]
            same(f"{kind}: a signature", put(at, given, path, changed), (403, "SignatureDoesNotMatch"))
            same(
                f"{kind}: two chunks changed places",
                put(at, given, path, [pieces[1], pieces[0], *pieces[2:]]),
                (403, "SignatureDoesNotMatch"),
            )
        if kind != SIGNED:
            given, pieces = chunked(at, kind, path, data, claim="AAAAAA==")
            same(f"{kind}: a wrong trailer", put(at, given, path, pieces), (400, "BadDigest"))
    given, pieces = chunked(at, SIGNED_TRAILER, path, data)
    changed = [*pieces[:-1], pieces[-1].replace(crc32(data).encode(), b"AAAAAA==")]
    status, code = put(at, given, path, changed)
    true(
        f"a signed trailer that was changed: {status} {code}",
        (status, code) in ((403, "SignatureDoesNotMatch"), (400, "BadDigest")),
    )
    same("nothing is there", got(at, path), MISSING)


@PASS.check("chunks: another length than was said, or no trailer, is refused, and nothing is there")
def _(at):
    path, data = f"/{made(at, 'length')}/k", bytes_of("length", 50_000)
    for kind in KINDS:
        for said in (len(data) - 1, len(data) + 1, 0):
            given, pieces = chunked(at, kind, path, data, more={"x-amz-decoded-content-length": str(said)})
            status, code = put(at, given, path, pieces)
            true(f"{kind}: {said} said: {status} {code}", status == 400)
        given, pieces = chunked(at, kind, path, data)
        del pieces[2]
        given["content-length"] = str(sum(map(len, pieces)))
        true(f"{kind}: a chunk is left out", put(at, given, path, pieces)[0] in (400, 403))
    given, pieces = chunked(at, UNSIGNED_TRAILER, path, data)
    pieces[-1] = b"0\r\n\r\n"
    given["content-length"] = str(sum(map(len, pieces)))
    status, code = put(at, given, path, pieces)
    true(f"no trailer: {status} {code}", status == 400)
    given, pieces = chunked(at, UNSIGNED_TRAILER, path, data)
    pieces[-1] = b"0\r\nx-amz-checksum-sha1:AAAA\r\n\r\n"
    given["content-length"] = str(sum(map(len, pieces)))
    status, code = put(at, given, path, pieces)
    true(f"another trailer: {status} {code}", status == 400)
    same("nothing is there", got(at, path), MISSING)


@PASS.check("bodies: cut off in the middle, nothing is there")
def _(at):
    path, data = f"/{made(at, 'cut')}/k", bytes_of("cut", 400_000)
    for kind in KINDS:
        given, pieces = chunked(at, kind, path, data)
        body = b"".join(pieces)
        for end in (10, len(body) // 2, len(body) - 3):
            cut_off(at, path, given, body[:end])
    given, _ = signature.signed_headers(at, "PUT", path, {}, signature.UNSIGNED)
    cut_off(at, path, {**given, "content-length": str(len(data))}, data[:200_000])
    same("nothing is there", got(at, path), MISSING)


def cut_off(at, path, headers, body):
    """Sends less than it says, and hangs up for writing: the answer, if there is one, is no success."""
    host, port = at.host.rsplit(":", 1)
    with socket.create_connection((host, int(port)), timeout=30) as plain:
        stream = ssl.create_default_context(cafile=at.ca).wrap_socket(plain, server_hostname=host) if at.is_tls else plain
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        stream.sendall(f"PUT {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)
        if at.is_tls:
            stream.close()
            return
        stream.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            answer = stream.recv(4096)
            true(f"no success: {answer[:60]!r}", not answer.startswith(b"HTTP/1.1 200"))


@PASS.check("payloads: the SHA-256 is signed, or said to be unsigned")
def _(at):
    path, data = f"/{made(at, 'payload')}/k", bytes_of("payload", 100_000)
    right = hashlib.sha256(data).hexdigest()
    same("signed", send(at, "PUT", path, payload=right, body=data)[:2], (200, None))
    same("unsigned", send(at, "PUT", path, payload=signature.UNSIGNED, body=data)[:2], (200, None))
    same("of another body", send(at, "PUT", path + "2", payload=right, body=data[::-1])[:2], (400, "XAmzContentSHA256Mismatch"))
    same("of nothing", send(at, "PUT", path + "2", payload=signature.EMPTY, body=data)[:2], (400, "XAmzContentSHA256Mismatch"))
    for strange in ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "nonsense"):
        status, code, _ = send(at, "PUT", path + "2", payload=strange, body=data)
        true(f"{strange}: {status} {code}", status in (400, 501))
    given, _ = signature.signed_headers(at, "PUT", path + "2", {}, right)
    del given["x-amz-content-sha256"]
    true("left out", exchange(at, "PUT", path + "2", given, data)[0] in (400, 403))
    same("nothing is there", got(at, path + "2"), MISSING)


@PASS.check("signatures: headers that were not signed, or are signed and not there")
def _(at):
    path = f"/{made(at, 'headers')}/k"
    same("x-amz-meta unsigned", send(at, "PUT", path, sent_headers={"x-amz-meta-who": "x"})[:2], (403, "AccessDenied"))
    given, _ = signature.signed_headers(at, "PUT", path, {"x-amz-meta-who": "x"})
    del given["x-amz-meta-who"]
    status, code, _ = exchange(at, "PUT", path, given, b"")
    true(f"signed and not there: {status} {code}", status in (400, 403))
    given, _ = signature.signed_headers(at, "PUT", path, {})
    same("another path", exchange(at, "PUT", path + "2", given, b"")[:2], (403, "SignatureDoesNotMatch"))
    given["authorization"] = "AWS4-HMAC-SHA256 nonsense"
    same("nonsense", exchange(at, "PUT", path, given, b"")[0], 400)
    given, _ = signature.signed_headers(at, "PUT", path, {})
    given["authorization"] = f"AWS {at.key_id}:AAAA"
    status, code, _ = exchange(at, "PUT", path, given, b"")
    true(f"version 2 of the signatures: {status} {code}", status in (400, 403))
    old = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() - 3600))
    given, _ = signature.signed_headers(at, "PUT", path, {}, time=old)
    same("an hour ago", exchange(at, "PUT", path, given, b"")[:2], (403, "RequestTimeTooSkewed"))
    same("nothing is there", (got(at, path), got(at, path + "2")), (MISSING, MISSING))


@PASS.check("paths: as clients quote them, one name in every quoting")
def _(at):
    name = made(at, "paths")
    for key in ("a b", "a+b", "ü/ß", "~(x)*'!", "a%20b", "x/../y", "./x", "a//b"):
        same(f"PUT {key}", send(at, "PUT", f"/{name}/{key}", payload=signature.UNSIGNED, body=key.encode())[:2], (200, None))
        same(f"GET {key}", got(at, f"/{name}/{key}"), key.encode())
        same(f"presigned {key}", fetch(at, signature.presigned(at, "GET", f"/{name}/{key}"))[2], key.encode())


@PASS.check("paths: a bucket in the host, before the domain that is set", needs="nodes")
def _(at):
    name, data = made(at, "hosted"), b"hosted"
    host = {"host": f"{name}.{DOMAIN}:5001"}
    same("PUT", send(at, "PUT", "/a b+ü/k", host, signature.UNSIGNED, data)[:2], (200, None))
    same("by the path", got(at, f"/{name}/a b+ü/k"), data)
    same("by the host", send(at, "GET", "/a b+ü/k", host)[2], data)
    true("a list", b"<Key>a b+\xc3\xbc/k</Key>" in send(at, "GET", "/", host, params={"list-type": "2"})[2])
    same("the bare domain", send(at, "GET", f"/{name}/a b+ü/k", {"host": DOMAIN})[2], data)
    _, code, _ = send(at, "GET", "/a b+ü/k", {"host": f"{name}.s3.other"})
    true(f"another domain: {code}", code in ("NoSuchBucket", "InvalidBucketName", "AccessDenied"))
    same("DELETE", send(at, "DELETE", "/a b+ü/k", host)[0], 204)
    same("gone", got(at, f"/{name}/a b+ü/k"), MISSING)


@PASS.check("requests: Expect: 100-continue, a long wait within the body, many on one connection")
def _(at):
    name, data = made(at, "expect"), bytes_of("expect", 200_000)
    host, port = at.host.rsplit(":", 1)
    given, _ = signature.signed_headers(at, "PUT", f"/{name}/k", {}, signature.UNSIGNED)
    lines = "".join(
        f"{header}: {value}\r\n"
        for header, value in {**given, "content-length": str(len(data)), "expect": "100-continue"}.items()
    )
    with socket.create_connection((host, int(port)), timeout=30) as plain:
        stream = ssl.create_default_context(cafile=at.ca).wrap_socket(plain, server_hostname=host) if at.is_tls else plain
        stream.sendall(f"PUT /{name}/k HTTP/1.1\r\n{lines}\r\n".encode())
        true("100 comes before the body", stream.recv(4096).startswith(b"HTTP/1.1 100"))
        stream.sendall(data)
        true("200 comes after it", answer_of(stream).startswith(b"HTTP/1.1 200"))
        stream.close()
    true("bytes", got(at, f"/{name}/k") == data)
    with contextlib.closing(connect(at)) as connection:
        for n in range(50):
            given, _ = signature.signed_headers(at, "GET", f"/{name}/k", {"range": f"bytes={n}-{n + 9}"})
            connection.request("GET", f"/{name}/k", headers=given)
            answer = connection.getresponse()
            same(f"request {n}", (answer.status, answer.read()), (206, data[n : n + 10]))


def answer_of(stream):
    """The head of an answer, without what says that it is coming."""
    head = b""
    while b"\r\n\r\n" not in head or head.startswith(b"HTTP/1.1 100"):
        head = head.partition(b"\r\n\r\n")[2] if b"\r\n\r\n" in head else head
        piece = stream.recv(4096)
        if not piece:
            break
        head += piece
    return head


@PASS.check("documents: what is no XML, too large, or has entities, is refused")
def _(at):
    name = made(at, "documents")
    send(at, "PUT", f"/{name}/k", payload=signature.UNSIGNED, body=b"x")
    entity = b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY e "k">]><Delete><Object><Key>&e;</Key></Object></Delete>'
    cases = {
        "nonsense": b"nonsense",
        "cut off": b"<Delete><Object><Key>k</Key>",
        "another root": b"<Other><Object><Key>k</Key></Object></Other>",
        "entities": entity,
        "no key": b"<Delete><Object></Object></Delete>",
        "empty": b"",
    }
    for what, body in cases.items():
        md5 = base64.b64encode(hashlib.md5(body).digest()).decode()
        status, code, _ = send(
            at, "POST", f"/{name}", {"content-md5": md5}, hashlib.sha256(body).hexdigest(), body, {"delete": ""}
        )
        true(f"{what}: {status} {code}", status == 400 and code in ("MalformedXML", "MissingRequestBodyError"))
    body = b"<Delete><Object><Key>k</Key></Object></Delete>"
    status, code, _ = send(at, "POST", f"/{name}", {}, hashlib.sha256(body).hexdigest(), body, {"delete": ""})
    same("without a checksum", (status, code), (400, "InvalidRequest"))
    same("still there", got(at, f"/{name}/k"), b"x")


@PASS.check("methods and routes that there are none of")
def _(at):
    name = made(at, "methods")
    for method, path in (
        ("PATCH", f"/{name}/k"),
        ("POST", f"/{name}/k"),
        ("POST", f"/{name}"),
        ("PUT", "/"),
        ("DELETE", "/"),
        ("POST", "/"),
    ):
        status, code, _ = send(at, method, path)
        true(
            f"{method} {path}: {status} {code}",
            (status, code)
            in ((405, "MethodNotAllowed"), (501, "NotImplemented"), (400, "InvalidRequest"), (400, "MalformedPOSTRequest")),
        )
    for sub in ("uploads", "versions", "something", "select&select-type"):
        status, code, _ = send(at, "GET", f"/{name}", params={word: "" for word in sub.split("&")})
        true(f"GET ?{sub}: {status} {code}", status in (200, 501) and (status == 501 or sub in ("uploads", "versions")))
