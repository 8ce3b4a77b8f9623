# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""DNS cookies (RFC 7873, RFC 9018): who holds a good one asks from the address that it shows."""

from __future__ import annotations

import hmac
import ipaddress
import struct

VERSION = 1
#: Bytes of a client's cookie and of ours.
CLIENT, SERVER = 8, 16
#: Seconds (RFC 9018 section 4.3): how old a cookie may be, how far ahead of our clock, and when it
#: is due for a new one.
OLDEST, AHEAD, RENEWAL = 3600, 300, 1800

_WORD = (1 << 64) - 1
_TIME = 1 << 32


class Cookies:
    """Makes server cookies and knows them again; all servers with one secret agree."""

    def __init__(self, secret: bytes) -> None:
        """Make it.

        Args:
            secret: 16 random bytes.
        """
        self._secret = secret

    def answer(self, cookie: bytes, source: str, now: float) -> tuple[bytes, bool | None]:
        """Judge a client's COOKIE option and make ours.

        Args:
            cookie: 8 bytes of the client's, and after them what it holds for our cookie.
            source: The literal address that it came from.
            now: Seconds since the epoch.

        Returns:
            What the response's option holds, and whether the server cookie in the request is good:
            then the source address is not forged. None: there is no server cookie.
        """
        client, server = cookie[:CLIENT], cookie[CLIENT:]
        time = int(now) % _TIME
        if len(server) == SERVER and server[0] == VERSION:
            made = int.from_bytes(server[4:8], "big")
            # Times are compared as serials (RFC 9018 section 4.3).
            age = (time - made + _TIME // 2) % _TIME - _TIME // 2
            good = self._sign(client, server[:8], source)
            if -AHEAD <= age <= OLDEST and hmac.compare_digest(good, server[8:]):
                return (cookie if age < RENEWAL else self._make(client, source, time)), True
        return self._make(client, source, time), False if server else None

    def _make(self, client: bytes, source: str, time: int) -> bytes:
        head = struct.pack("!B3xI", VERSION, time)
        return client + head + self._sign(client, head, source)

    def _sign(self, client: bytes, head: bytes, source: str) -> bytes:
        address = ipaddress.ip_address(source).packed
        return siphash24(self._secret, client + head + address)


def siphash24(key: bytes, data: bytes) -> bytes:
    """Return the 8 bytes of SipHash-2-4 of *data* under a key of 16 bytes."""
    k0, k1 = struct.unpack("<QQ", key)
    state = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    padding = bytes(7 - len(data) % 8) + bytes([len(data) % 256])
    for (word,) in struct.iter_unpack("<Q", data + padding):
        v0, v1, v2, v3 = state
        v0, v1, v2, v3 = _rounds(2, v0, v1, v2, v3 ^ word)
        state = (v0 ^ word, v1, v2, v3)
    v0, v1, v2, v3 = state
    v0, v1, v2, v3 = _rounds(4, v0, v1, v2 ^ 0xFF, v3)
    return struct.pack("<Q", v0 ^ v1 ^ v2 ^ v3)


def _rounds(number: int, v0: int, v1: int, v2: int, v3: int) -> tuple[int, int, int, int]:
    for _round in range(number):
        v0 = (v0 + v1) & _WORD
        v1 = (v1 << 13 & _WORD | v1 >> 51) ^ v0
        v0 = v0 << 32 & _WORD | v0 >> 32
        v2 = (v2 + v3) & _WORD
        v3 = (v3 << 16 & _WORD | v3 >> 48) ^ v2
        v0 = (v0 + v3) & _WORD
        v3 = (v3 << 21 & _WORD | v3 >> 43) ^ v0
        v2 = (v2 + v1) & _WORD
        v1 = (v1 << 17 & _WORD | v1 >> 47) ^ v2
        v2 = v2 << 32 & _WORD | v2 >> 32
    return v0, v1, v2, v3
