# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cable that takes its time: two TAP devices, and a process that carries frames between them.

For machines whose kernel has no netem. The lab starts this file as a program of its own, in the
namespace of one end; the devices, and so the cable, are gone when it ends. It imports nothing of
the lab, so that it starts fast.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

QUEUE_LIMIT = 4096
READY = "ready\n"
_FRAME = 4096
_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000
_CLONE_NEWNET = 0x40000000


class DelayLine:
    """What is under way, with the time at which it arrives. Pure: the caller has the clock.

    :param delay: seconds under way
    :param jitter: seconds more or less, evenly spread
    :param limit: how many are under way at most; more are dropped
    """

    def __init__(
        self, delay: float, jitter: float, source: random.Random, limit: int = QUEUE_LIMIT
    ) -> None:
        self._delay = delay
        self._jitter = jitter
        self._source = source
        self._limit = limit
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._count = 0

    def put(self, now: float, to: int, frame: bytes) -> None:
        """Send ``frame`` on its way to the device ``to``."""
        if len(self._queue) >= self._limit:
            return
        late = self._source.uniform(-self._jitter, self._jitter) if self._jitter else 0.0
        self._count += 1  # of two that arrive at the same time the first is the first
        heapq.heappush(self._queue, (now + self._delay + late, self._count, to, frame))

    def arrived(self, now: float) -> Iterator[tuple[int, bytes]]:
        """Take out what has arrived by ``now``, in order."""
        while self._queue and self._queue[0][0] <= now:
            _due, _count, to, frame = heapq.heappop(self._queue)
            yield to, frame

    def wait(self, now: float) -> float | None:
        """Seconds until the next one arrives; None if nothing is under way."""
        return max(0.0, self._queue[0][0] - now) if self._queue else None


def carry(one: int, other: int, line: DelayLine) -> None:
    """Carry frames between two TAP devices for ever."""
    opposite = {one: other, other: one}
    while True:
        for to, frame in line.arrived(time.monotonic()):
            with suppress(OSError):  # its device is down: the frame is lost, as on any such link
                os.write(to, frame)
        readable, _writable, _failed = select.select(
            [one, other], [], [], line.wait(time.monotonic())
        )
        for device in readable:
            with suppress(BlockingIOError):
                line.put(time.monotonic(), opposite[device], os.read(device, _FRAME))


def open_tap(name: str) -> int:
    """Make a TAP device in the namespace of this process; it lives as long as its descriptor."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
    return device


def enter(pid: int) -> None:
    """Go on in the network namespace of another process."""
    space = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(space, _CLONE_NEWNET) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
    os.close(space)


def main() -> None:
    """Make both ends, say so, and carry."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("interface", help="name of the end in this namespace")
    parser.add_argument("pid", type=int, help="a process in the other end's namespace")
    parser.add_argument("other_interface", help="name of the end there")
    parser.add_argument("delay", type=float, help="seconds, one way")
    parser.add_argument("jitter", type=float, help="seconds more or less")
    arguments = parser.parse_args()
    here = open_tap(arguments.interface)
    enter(arguments.pid)
    there = open_tap(arguments.other_interface)
    sys.stdout.write(READY)
    sys.stdout.flush()
    carry(here, there, DelayLine(arguments.delay, arguments.jitter, random.Random()))


if __name__ == "__main__":
    main()
