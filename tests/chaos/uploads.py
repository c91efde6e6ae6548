"""Clients that write objects in parts, by the S3 port, onto the keys that all clients share.

What must stay true
- Completing an upload is one write of its key, with its condition: it is recorded as a put, and judged with all others.
- An upload ends once. Whoever completes it again hears of the same object or that no such upload is open, and writes
  nothing; what was aborted, with an answer, never becomes an object.
- Of a part that was replaced nothing is seen.

What becomes of an upload whose completion had no answer is asked by way of another node: completed again, or aborted.
"""

import hashlib
import http.client
import re
import time
from xml.sax.saxutils import escape

from check import Call
from world import S3, TIMEOUT

LARGE = 300 * 1024
PART_MIN = 5 << 20


class UploadCalls:
    """What such a client does. Beside a `Client`: it has `world`, `history`, `node`, `dice`, `strange`."""

    def s3(self, node, method, path, body=b"", headers=None):
        """Status and body; None when nobody knows, "refused" where nothing was sent."""
        conn = http.client.HTTPConnection(node.ip, S3, timeout=TIMEOUT)
        try:
            conn.connect()
        except OSError:
            return "refused", b""
        try:
            conn.request(method, path, body=body, headers=headers or {})
            answer = conn.getresponse()
            return answer.status, answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            conn.close()

    def counted(self, what, answer):
        """Counts an answer that is no write of a key."""
        word = "none" if answer is None else str(answer[0])
        self.history.kinds.update({(what, word): 1})

    def one(self):
        key = self.history.take(self.dice)
        path = f"/cargas/{key}"
        begun = self.s3(self.node, "POST", f"{path}?uploads", headers={"Content-Type": "text/plain"})
        self.counted("begin upload", begun)
        if not begun or begun[0] != 200:
            return
        upload = re.search(rb"<UploadId>([^<]+)</UploadId>", begun[1])[1].decode()
        parts, body = self.parts(path, upload)
        if parts is None:
            return self.abort(path, upload)
        if self.dice.random() < 0.15:
            return self.abort_first(path, upload, parts)
        self.complete(key, upload, parts, body)

    def parts(self, path, upload):
        """Stores the parts, each by way of some node; what they are, and the bytes of them all."""
        self.count += 1
        text = f"{self.name_}.{self.count}.".encode()
        bodies = [text * (LARGE // len(text)) if self.dice.random() < 0.1 else text]
        if self.dice.random() < 0.02:
            bodies.insert(0, text * (PART_MIN // len(text) + 1))
        stored = []
        for number, body in enumerate(bodies, 1):
            if self.dice.random() < 0.2:
                # Replaced at once: what it was is never seen.
                self.counted("replaced part", self.part(path, upload, number, b"replaced " + text)[0])
            answer, etag = self.part(path, upload, number, body)
            self.counted("part", answer)
            if etag is None:
                return None, None
            stored.append((number, etag))
        return stored, b"".join(bodies)

    def part(self, path, upload, number, body):
        node = self.dice.choice(self.world.nodes)
        answer = self.s3(node, "PUT", f"{path}?partNumber={number}&uploadId={upload}", body)
        ok = answer and answer[0] == 200
        return answer, hashlib.md5(body).hexdigest() if ok else None

    def asked(self, key, upload, parts, headers, node):
        """Asks for the upload to be completed: what became of it, and the ETag of the object."""
        listed = "".join(f"<Part><PartNumber>{n}</PartNumber><ETag>{escape(etag)}</ETag></Part>" for n, etag in parts)
        document = f"<CompleteMultipartUpload>{listed}</CompleteMultipartUpload>".encode()
        answer = self.s3(node, "POST", f"/cargas/{key}?uploadId={upload}", document, headers)
        if answer is None:
            return "unknown", None
        status, text = answer
        if status == "refused":
            return None, None
        if status == 200:
            return "ok", re.search(rb"<ETag>(?:&quot;|&#34;|\")?([^<&\"]+)", text)[1].decode()
        code = re.search(rb"<Code>([^<]+)</Code>", text)
        code = code[1].decode() if code else ""
        if status == 412:
            return "refused", None
        if status == 404:
            # If-Match, and nothing is there: on this port that is told as the object that is missing.
            return ("ended" if code == "NoSuchUpload" else "refused"), None
        self.history.kinds.update({("complete", f"{status} {code}"): 1})
        if status in (409, 507) or code == "SlowDown":
            return None, None
        if status in (500, 503):
            return "unknown", None
        self.strange.append(f"complete {key}: {status} {text[:200]}")
        return "unknown", None

    def complete(self, key, upload, parts, body):
        condition, headers = None, {}
        roll, etag = self.dice.random(), self.etags.get(key)
        if roll < 0.25:
            condition, headers = ("absent",), {"If-None-Match": "*"}
        elif roll < 0.5 and etag:
            condition, headers = ("is", self.history.value_of(etag)), {"If-Match": etag}
        value = hashlib.sha256(body).hexdigest()[:16]
        begin = time.monotonic()
        outcome, became = self.asked(key, upload, parts, headers, self.node)
        end = time.monotonic()
        if outcome == "ended":
            return self.strange.append(f"{key}: upload {upload} is not open, and nobody ended it")
        if outcome == "unknown":
            outcome, became, end = self.look_again(key, upload, parts, headers)
        if outcome == "never" or outcome is None or outcome == "refused":
            self.abort(f"/cargas/{key}", upload)
        if outcome == "ok":
            etag = f'"{became}"'
            self.etags[key] = etag
            self.history.names(etag, value)
        if outcome in ("ok", "refused", "unknown"):
            end = end if outcome != "unknown" else None
            self.history.add(key, Call("put", condition, value, outcome, begin, end), self.node)
        if outcome == "ok" and self.dice.random() < 0.3:
            self.once_more(key, upload, parts)

    def look_again(self, key, upload, parts, headers):
        """Nobody knows what became of it. Asked again, by way of another node, or aborted."""
        node = self.dice.choice(self.world.nodes)
        if self.dice.random() < 0.5:
            answer = self.s3(node, "DELETE", f"/cargas/{key}?uploadId={upload}")
            self.counted("abort after unknown", answer)
            # Aborted: then nothing of it was ever there, or will be.
            return ("never" if answer and answer[0] == 204 else "unknown"), None, None
        outcome, became = self.asked(key, upload, parts, headers, node)
        self.history.kinds.update({("complete again", str(outcome)): 1})
        return ("ok", became, time.monotonic()) if outcome == "ok" else ("unknown", None, None)

    def once_more(self, key, upload, parts):
        """It was answered for: whoever asks again writes nothing, whatever the condition is."""
        node = self.dice.choice(self.world.nodes)
        outcome, _ = self.asked(key, upload, parts, {"If-None-Match": "*"}, node)
        self.history.kinds.update({("complete once more", str(outcome)): 1})
        if outcome == "refused":
            self.strange.append(f"{key}: upload {upload} was completed, and its condition is looked at again")
        answer = self.s3(node, "DELETE", f"/cargas/{key}?uploadId={upload}")
        self.counted("abort of a completed one", answer)
        if answer and answer[0] == 204:
            self.strange.append(f"{key}: upload {upload} was completed, and can be aborted")

    def abort(self, path, upload):
        self.counted("abort", self.s3(self.dice.choice(self.world.nodes), "DELETE", f"{path}?uploadId={upload}"))

    def abort_first(self, path, upload, parts):
        """Aborted with an answer, it cannot be completed any more, at no node."""
        answer = self.s3(self.node, "DELETE", f"{path}?uploadId={upload}")
        self.counted("abort", answer)
        if not answer or answer[0] != 204:
            return
        key = path.rsplit("/", 1)[1]
        outcome, _ = self.asked(key, upload, parts, {}, self.dice.choice(self.world.nodes))
        self.history.kinds.update({("complete after abort", str(outcome)): 1})
        if outcome == "ok":
            self.strange.append(f"{key}: upload {upload} was aborted, and is completed")
