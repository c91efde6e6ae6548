"""Version 4 of the signatures, by the standard library alone: a second opinion beside the clients' own, and one that
lets a test sign what no client would send."""

import datetime
import hashlib
import hmac
import urllib.parse

REGION = "us-east-1"
EMPTY = hashlib.sha256(b"").hexdigest()
UNSIGNED = "UNSIGNED-PAYLOAD"


def now():
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")


def scope(time):
    return f"{time[:8]}/{REGION}/s3/aws4_request"


def mac(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret, time):
    key = f"AWS4{secret}".encode()
    for word in (time[:8], REGION, "s3", "aws4_request"):
        key = mac(key, word)
    return key


def sign(secret, time, text):
    return mac(signing_key(secret, time), text).hex()


def query_of(params):
    quoted = sorted((urllib.parse.quote(name, safe="~"), urllib.parse.quote(value, safe="~")) for name, value in params.items())
    return "&".join(f"{name}={value}" for name, value in quoted)


def canonical(method, path, query, headers, payload):
    """`path` and `query` as they are sent; the names of the headers in lower case. Returns text, and the names joined."""
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{' '.join(headers[name].split())}\n" for name in sorted(headers))
    return f"{method}\n{path}\n{query}\n{lines}\n{names}\n{payload}", names


def to_sign(time, text):
    return f"AWS4-HMAC-SHA256\n{time}\n{scope(time)}\n{hashlib.sha256(text.encode()).hexdigest()}"


def presigned(at, method, path, seconds=60, params=None):
    """A URL for anybody. `path` is quoted here."""
    time, path = now(), urllib.parse.quote(path, safe="/~")
    asked = {
        "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
        "X-Amz-Credential": f"{at.key_id}/{scope(time)}",
        "X-Amz-Date": time,
        "X-Amz-Expires": str(seconds),
        "X-Amz-SignedHeaders": "host",
        **(params or {}),
    }
    text, _ = canonical(method, path, query_of(asked), {"host": at.host}, UNSIGNED)
    return f"{at.endpoint}{path}?{query_of(asked)}&X-Amz-Signature={sign(at.secret, time, to_sign(time, text))}"


def signed_headers(at, method, path, headers, payload=EMPTY, params=None, time=None):
    """The headers of a request, with their signature; `headers` in lower case, without those that are added here."""
    time = time or now()
    given = {"host": at.host, "x-amz-date": time, "x-amz-content-sha256": payload, **headers}
    text, names = canonical(method, urllib.parse.quote(path, safe="/~"), query_of(params or {}), given, payload)
    signature = sign(at.secret, time, to_sign(time, text))
    given["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={at.key_id}/{scope(time)}, SignedHeaders={names}, Signature={signature}"
    )
    return given, signature


class Chunks:
    """A body in chunks, `aws-chunked`, signed or not, with a trailer or without."""

    def __init__(self, at, time, seed, is_signed):
        self.time, self.before, self.is_signed = time, seed, is_signed
        self.key = signing_key(at.secret, time)

    def next(self, kind, *hashes):
        text = "\n".join([f"AWS4-HMAC-SHA256-{kind}", self.time, scope(self.time), self.before, *hashes])
        self.before = mac(self.key, text).hex()
        return self.before

    def chunk(self, data):
        extension = f";chunk-signature={self.next('PAYLOAD', EMPTY, hashlib.sha256(data).hexdigest())}" if self.is_signed else ""
        end = b"\r\n" if data else b""
        return f"{len(data):x}{extension}\r\n".encode() + data + end

    def trailer(self, name, value):
        lines = f"{name}:{value}\r\n"
        if self.is_signed:
            signature = self.next("TRAILER", hashlib.sha256(f"{name}:{value}\n".encode()).hexdigest())
            lines += f"x-amz-trailer-signature:{signature}\r\n"
        return lines.encode() + b"\r\n"
