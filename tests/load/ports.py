"""The two ports of a node, asked for the same: what is asked, how it is signed, and what it costs the node.

What must stay true
- Sides of a cell ask for the same bytes of the same node, one right after the other, in as many requests.
- A turn counts only when every answer was the right one: its status, its length, and what has to stand in it.
- CPU is that of all threads of the node, in the kernel too, from before the first request until it came to rest.
"""

import contextlib
import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading

import servers
from drive import Machine
from servers import Trouble

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "clients"))
from passes.signature import EMPTY, UNSIGNED, signed_headers  # noqa: E402

KIB, MIB = 1 << 10, 1 << 20
BUCKET, OPAQUE = "cargas", "opaque"
SMALL = "get-1kib"
# Enough for a full page with something behind it.
PAGE_KEYS, PAGE_OBJECTS = 1000, 1200
ANSWER_S_MAX = 60
ALL = "*:read,write,list,delete,admin"


class Wrong(Exception):
    """An answer that is not the right one."""


@dataclasses.dataclass
class At:
    """Where a signed request goes, and by whom."""

    host: str
    key_id: str = "A" * 20
    secret: str = "A" * 40


class Line:
    """A connection that is kept, with one request under way."""

    def __init__(self, address):
        host, port = address.split(":")
        self.socket = socket.create_connection((host, int(port)), timeout=ANSWER_S_MAX)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.got = b""

    def send(self, *parts):
        for part in parts:
            self.socket.sendall(part)

    def answer(self):
        """Status and body."""
        while (end := self.got.find(b"\r\n\r\n")) < 0:
            self.receive()
        head = self.got[:end].lower()
        at = head.find(b"\r\ncontent-length: ")
        if at < 0:
            raise Trouble(f"an answer without a length: {head!r}")
        whole = end + 4 + int(head[at + 18:].split(b"\r\n", 1)[0])
        while len(self.got) < whole:
            self.receive()
        body, self.got = self.got[end + 4:whole], self.got[whole:]
        return int(head[9:12]), body

    def receive(self):
        piece = self.socket.recv(1 << 18)
        if not piece:
            raise Trouble("a connection was closed under a request")
        self.got += piece

    def close(self):
        self.socket.close()


class Node(servers.Cluster):
    """One node with both ports; `guarded`: with an access key, so that nobody comes in without one."""

    def __init__(self, binary, place, guarded):
        super().__init__(binary, place, 1, "guarded" if guarded else "open")
        self.guarded, self.bearer = guarded, {}

    def __enter__(self):
        try:
            self.start()
            with open(os.path.join(self.data_dir(0), "addresses.json")) as file:
                self.at = At(json.load(file)["s3"])
            if self.guarded:
                self.make_key()
            return self
        except BaseException:
            self.__exit__()
            raise

    def make_key(self):
        command = [self.binary, "access", "create", "load", "--grant", ALL, "--json", "--url", f"http://{self.http}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        if done.returncode != 0:
            raise Trouble(f"boveda access create: {done.stderr.strip()}")
        made = json.loads(done.stdout)
        self.at = At(self.at.host, made["id"], made["secret"])
        self.bearer = {"authorization": f"Bearer {made['id']}.{made['secret']}"}

    def rest(self):
        """Waits until what was put off is done."""
        # A guarded node shows its figures to nobody without a key; nothing is written to it while it is measured.
        servers.Server.settle(self) if self.guarded else self.settle()

    def plain(self, method, path, query="", length=0):
        """A request of port 5000."""
        return head_of(method, path + query, {"host": self.http, **self.bearer}, length)

    def signed(self, method, path, params=None, length=0, payload=EMPTY, **headers):
        """A request of port 5001, signed in its head."""
        given, _ = signed_headers(self.at, method, path, headers, payload, params)
        query = "?" + "&".join(f"{name}={value}" for name, value in sorted(params.items())) if params else ""
        return head_of(method, path + query, given, length)

    @staticmethod
    def asked_once(address, request):
        line = Line(address)
        with contextlib.closing(line):
            line.send(request)
            return line.answer()

    def fill(self):
        """What is read and listed: written through the port for S3, so that it has what clients of S3 give."""
        line = Line(self.at.host)
        with contextlib.closing(line):
            for key in [SMALL, *(f"page/folder-{n % 12:02}/report-{n:08}.pdf" for n in range(PAGE_OBJECTS))]:
                body = os.urandom(KIB) if key == SMALL else b"x"
                line.send(self.signed("PUT", f"/{BUCKET}/{key}", length=len(body), payload=UNSIGNED), body)
                status, said = line.answer()
                if status != 200:
                    raise Wrong(f"PUT {key} was answered {status} {said[:200]!r}")

    def has_opaque(self):
        """Makes the bucket whose objects have no MD5; whether this node knows such a setting."""
        paths = (f"/v1/buckets/{OPAQUE}", f"/v1/buckets/{OPAQUE}/etag?mode=fast")
        answers = [self.asked_once(self.http, self.plain("PUT", path)) for path in paths]
        return all(status in (200, 201) for status, _ in answers)


def head_of(method, target, headers, length):
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if method == "PUT":
        lines.append(f"content-length: {length}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@dataclasses.dataclass
class Side:
    """One way to ask. `request`: makes a request of the number of a turn and of a request in it."""

    name: str
    node: Node
    address: str
    request: object
    good: object


class Cell:
    """The same work for several sides, of which the first is the yardstick."""

    def __init__(self, name, sides, connections, requests, body=b"", limits=(), in_us=False):
        self.name, self.sides, self.connections, self.requests, self.body = name, sides, connections, requests, body
        # By the name of a side: how much more it may cost, in microseconds or times the yardstick.
        self.limits, self.in_us = dict(limits), in_us

    def turn(self, side, number, requests=None):
        """Microseconds of CPU a request, and the part of the machine that others used meanwhile."""
        requests = requests or self.requests
        each = requests // self.connections
        todo = [[side.request(number, lane * each + n) for n in range(each)] for lane in range(self.connections)]
        lines = [Line(side.address) for _ in todo]
        try:
            side.node.rest()
            machine, before = Machine(), side.node.cpu()
            if self.body:
                at_once([lambda line=line, lane=lane: self.one_by_one(side, line, lane) for line, lane in zip(lines, todo)])
                side.node.rest()
            else:
                self.in_step(side, lines, todo)
            used = side.node.cpu() - before
            side.node.check_alive()
            return used / (each * self.connections) * 1e6, machine.others_since(used)
        finally:
            for line in lines:
                line.close()

    def one_by_one(self, side, line, requests):
        for request in requests:
            line.send(request, self.body)
            check(side, *line.answer())

    @staticmethod
    def in_step(side, lines, todo):
        """Every connection asks, then every answer is read: the node always has several to do."""
        for requests in zip(*todo):
            for line, request in zip(lines, requests):
                line.send(request)
            for line in lines:
                check(side, *line.answer())


def check(side, status, body):
    if status not in (200, 201) or not side.good(body):
        raise Wrong(f"{side.name} was answered {status} {body[:300]!r}")


def at_once(works):
    """Runs them in threads; the first trouble is everybody's."""
    failed = []

    def run(work):
        try:
            work()
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def cells(open_node, guarded, quick):
    """All of them."""
    out = []
    gets, puts, pages = (4_000, 8, 40) if quick else (40_000, 8, 300)
    long = lambda body: len(body) == KIB
    for node, way in ((open_node, "open"), (guarded, "with a key")):
        sides = [
            Side("5000", node, node.http, once(node.plain, "GET", f"/v1/objects/{BUCKET}/{SMALL}"), long),
            Side("5001 signed", node, node.at.host, once(node.signed, "GET", f"/{BUCKET}/{SMALL}"), long),
        ]
        out.append(Cell(f"GET 1 KiB, {way}", sides, 16, gets, limits={"5001 signed": 15}, in_us=True))
    body = os.urandom(64 * MIB)
    node, none = open_node, lambda body: not body
    # Each object of a turn under a name of its own.
    name = lambda turn, n: f"put-{turn:03}-{n:03}"
    def s3_put(bucket):
        return lambda turn, n: node.signed("PUT", f"/{bucket}/s3-{name(turn, n)}", length=len(body), payload=UNSIGNED)
    for many in (1, 4, 8):
        sides = [
            Side("5000", node, node.http, lambda turn, n: node.plain("PUT", f"/v1/objects/{BUCKET}/{name(turn, n)}", length=len(body)), lambda body: True),
            Side("5001 MD5", node, node.at.host, s3_put(BUCKET), none),
        ]
        if node.has_opaque():
            sides.append(Side("5001 opaque", node, node.at.host, s3_put(OPAQUE), none))
        out.append(Cell(f"PUT 64 MiB, {many} at once", sides, many, puts, body, limits={"5001 MD5": 1.6, "5001 opaque": 1.1}))
    full = lambda mark: lambda body: body.count(mark) == PAGE_KEYS
    asked = {"list-type": "2", "max-keys": str(PAGE_KEYS), "prefix": "page"}
    sides = [
        Side("5000", node, node.http, once(node.plain, "GET", f"/v1/objects/{BUCKET}", f"?prefix=page&limit={PAGE_KEYS}"), full(b'"key":')),
        Side("5001 signed", node, node.at.host, once(node.signed, "GET", f"/{BUCKET}", asked), full(b"<Key>")),
    ]
    out.append(Cell("page of 1,000", sides, 2, pages, limits={"5001 signed": 1.3}))
    return out


def once(make, *asked):
    """The same request for a whole turn: it is signed again for each, since a signature counts for a quarter of an hour."""
    made = {}

    def request(turn, _):
        if turn not in made:
            made.clear()
            made[turn] = make(*asked)
        return made[turn]

    return request
