"""What the checks with boto3 share: the client, and how a refusal is asked for."""

import contextlib
import hashlib

import boto3
import botocore.config
import botocore.exceptions
from checks import Pass, Wrong, same, short

# What has to be quoted in a path, in XML or in a query; and what XML cannot say at all.
ODD_KEYS = [
    "a b",
    "a+b",
    "a%20b",
    "a%2Fb",
    "%",
    "+",
    " leading",
    "trailing ",
    "ünï/ß/日本",
    "emoji 😀",
    "<&>\"'",
    "]]>",
    "a?b#c",
    "~!*'()",
    "=&;:@,$",
    "tab\tnl\ncr\r",
    "control\x01\x1f\x7f",
    "/leading",
    "double//slash",
    "dir/",
    "\\back",
    "a" * 1024,
    "ü" * 512,
    "dots/.hidden/x..y",
]

PASS = Pass("boto3", packages=("boto3",), is_short=True)


def client(at, endpoint=None, key_id=None, secret=None, **config):
    """A client of this pass's node, or of another. One attempt, so that no answer is hidden behind the next."""
    attempts = 6 if at.kill else 1
    config = botocore.config.Config(
        s3={"addressing_style": "path"},
        retries={"mode": "standard", "total_max_attempts": attempts},
        connect_timeout=5,
        read_timeout=30,
        **config,
    )
    return boto3.client(
        "s3",
        endpoint_url=endpoint or at.endpoint,
        region_name="us-east-1",
        verify=at.ca,
        config=config,
        aws_access_key_id=key_id or at.key_id,
        aws_secret_access_key=secret or at.secret,
    )


def made(s3, bucket):
    """The bucket, made if it is not there."""
    try:
        s3.create_bucket(Bucket=bucket)
    except (s3.exceptions.BucketAlreadyOwnedByYou, s3.exceptions.BucketAlreadyExists):
        pass
    return bucket


def refused(what, wanted, call, *args, **kwargs):
    """The call has to be refused with this status and code, such as (404, "NoSuchKey"); a HEAD has a status alone, (404, "404")."""
    try:
        answer = call(*args, **kwargs)
    except botocore.exceptions.ClientError as error:
        got = (error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"].get("Code"))
        if got != tuple(wanted):
            raise Wrong(f"{what}: wanted {wanted}, got {got}: {error.response['Error'].get('Message')}") from None
        return error.response
    answer.pop("ResponseMetadata", None)
    raise Wrong(f"{what}: wanted {wanted}, was let through: {short(answer)}")


def body_of(s3, bucket, key, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def is_missing(what, s3, bucket, key):
    refused(what, (404, "NoSuchKey"), s3.get_object, Bucket=bucket, Key=key)


@contextlib.contextmanager
def sent(s3):
    """Collects the headers of the requests that the client sends, as they go out."""
    seen = []

    def look(request, **_):
        text = lambda v: v.decode() if isinstance(v, bytes) else str(v)
        seen.append({name.lower(): text(value) for name, value in request.headers.items()})

    s3.meta.events.register("before-send.s3", look)
    try:
        yield seen
    finally:
        s3.meta.events.unregister("before-send.s3", look)


@contextlib.contextmanager
def with_headers(s3, operation, headers, params=None):
    """Every request of this operation goes out with these headers and query parameters too, signed."""

    def add(request, **_):
        for name, value in headers.items():
            if name in request.headers:
                del request.headers[name]
            if value is not None:
                request.headers[name] = value
        if params:
            request.params = {**(request.params or {}), **params}

    s3.meta.events.register_first(f"before-sign.s3.{operation}", add)
    try:
        yield
    finally:
        s3.meta.events.unregister(f"before-sign.s3.{operation}", add)


def etag_is_md5(what, etag, data):
    import hashlib

    same(what, etag, f'"{hashlib.md5(data).hexdigest()}"')
