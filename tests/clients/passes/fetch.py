"""A request by urllib, which knows nothing of S3."""

import contextlib
import ssl
import urllib.error
import urllib.request
import xml.etree.ElementTree


def fetch(at, url, method="GET", data=None, headers=None):
    """Status, headers, body."""
    # Otherwise urllib says that a body is a form.
    typed = {} if data is None else {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=data, method=method, headers=typed | (headers or {}))
    trust = ssl.create_default_context(cafile=at.ca) if at.ca else None
    try:
        with urllib.request.urlopen(request, timeout=30, context=trust) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        with contextlib.closing(error):
            return error.code, error.headers, error.read()


def code_of(body):
    """The code of an error; what it begins with where it is no error of S3."""
    if not body:
        return None
    try:
        return xml.etree.ElementTree.fromstring(body).findtext("Code")
    except xml.etree.ElementTree.ParseError:
        return body[:80].decode(errors="replace")
