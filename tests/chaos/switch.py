#!/usr/bin/env python3
"""A switch between network namespaces that can delay, reorder and double frames; a plain one while it is calm.

    switch.py NAMESPACE...       makes `tap0` in each; then takes the words "calm" and "rough" on standard input

What must stay true
- It ends with its standard input: nothing is left when the program that started it ends.
- A frame is never changed. In calm it goes on at once, and never before one that came earlier.
"""

import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
FRAME_MAX = 65_600
# Rough: every frame waits up to the first, one in twenty up to the second; one in fifty comes twice.
WAIT_S, LONG_WAIT_S, LONG_SHARE, TWICE_SHARE = 0.02, 0.25, 0.05, 0.02


def open_tap(space):
    libc = ctypes.CDLL(None, use_errno=True)
    with open(f"/run/netns/{space}") as handle:
        if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"setns {space}")
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", b"tap0", IFF_TAP | IFF_NO_PI))
    return tap


class Switch:
    def __init__(self, taps):
        self.taps = taps
        self.where = {}
        self.waiting = []
        self.count = 0
        self.rough = False

    def take(self, tap):
        """What has come in from one side."""
        for _ in range(64):
            try:
                frame = os.read(tap, FRAME_MAX)
            except BlockingIOError:
                return
            to, source = frame[:6], frame[6:12]
            self.where[source] = tap
            known = None if to[0] & 1 else self.where.get(to)
            for out in [known] if known is not None else [t for t in self.taps if t != tap]:
                self.pass_on(out, frame)

    def pass_on(self, out, frame):
        if not self.rough and not self.waiting:
            return self.write(out, frame)
        for _ in range(2 if self.rough and random.random() < TWICE_SHARE else 1):
            limit = LONG_WAIT_S if random.random() < LONG_SHARE else WAIT_S
            wait = random.random() * limit if self.rough else 0.0
            self.count += 1
            # What comes in calm stands behind all that still waits.
            due = time.monotonic() + wait if self.rough else max(entry[0] for entry in self.waiting)
            heapq.heappush(self.waiting, (due, self.count, out, frame))

    @staticmethod
    def write(out, frame):
        try:
            os.write(out, frame)
        except OSError:
            pass  # full, or down: a frame is lost, as on any network

    def run(self):
        poll = select.poll()
        for tap in self.taps:
            poll.register(tap, select.POLLIN)
        poll.register(0, select.POLLIN)
        while True:
            now = time.monotonic()
            while self.waiting and self.waiting[0][0] <= now:
                _, _, out, frame = heapq.heappop(self.waiting)
                self.write(out, frame)
            timeout = max(0.0, self.waiting[0][0] - now) * 1000 if self.waiting else None
            for handle, _ in poll.poll(timeout):
                if handle != 0:
                    self.take(handle)
                    continue
                said = os.read(0, 100)
                if not said:
                    return
                self.rough = said.split()[-1] == b"rough"


if __name__ == "__main__":
    taps = [open_tap(space) for space in sys.argv[1:]]
    print("ready", flush=True)
    Switch(taps).run()
