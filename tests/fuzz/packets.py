# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Packets for a responder: good queries of every kind, and what damage makes of them."""

from __future__ import annotations

import collections
import random
import struct
import time
import typing as t

import dns.message
import dns.name
import dns.tsig
import dns.tsigkeyring

HEADER_BYTES = 12
#: Types that exist here, that exist elsewhere, that only a query or a message can have, and none.
TYPES = (1, 2, 5, 6, 12, 16, 28, 33, 0, 15, 41, 43, 46, 48, 64, 65, 128, 249, 250, 251, 252, 255)
ORDINARY = (1, 6, 12, 12, 16, 28, 33, 33)
CLASSES = (0, 3, 4, 254, 255, 0x8001, 0xFFFF)
UDP_SIZES = (0, 1, 511, 512, 513, 700, 1231, 1232, 1233, 1400, 4096, 65535)
#: EDNS options by code (the registry of RFC 6891): NSID, client subnet, expire, keepalive, padding,
#: chain, key tag, extended error, report channel, private use.
OPTIONS = (3, 8, 9, 11, 12, 13, 14, 15, 18, 65001)
COOKIE = 10
TSIG = 250
#: Bytes that mean something at some place of a message: pointers, kinds of labels, limits, OPT.
TELLING = (0x00, 0x01, 0x0C, 0x1D, 0x29, 0x3F, 0x40, 0x41, 0x7F, 0x80, 0xBF, 0xC0, 0xC1, 0xFA, 0xFF)
#: Seconds for which a signature is good to either side (RFC 8945 section 10).
FUDGE = 300
SOA, IXFR, AXFR = 6, 251, 252
#: How far from a version that there is one may be that nobody knows of: the ones around it, and
#: those from where on there is no order any more (RFC 1982).
DISTANCES = (-1, 1, 1 << 31, (1 << 31) - 1, (1 << 31) + 1)
#: Serials of a zone that are remembered.
SERIALS = 40


def wire_name(text: str) -> bytes:
    """A domain name as it goes into a packet, uncompressed."""
    wire = dns.name.from_text(text).to_wire()
    assert wire
    return wire


class Packets:
    """An endless supply; the same for the same randomness, but for the times in signatures."""

    def __init__(
        self,
        randomness: random.Random,
        names: t.Sequence[bytes],
        keys: t.Mapping[str, bytes] | None = None,
    ) -> None:
        """Make a supply.

        Args:
            names: What to ask for, and what to make other names from; uncompressed.
            keys: Secrets of TSIG keys (hmac-sha256) by name.
        """
        self._random = randomness
        self.names = list(names)
        self._ring = dns.tsigkeyring.from_text({})
        for name, secret in (keys or {}).items():
            absolute = dns.name.from_text(name)
            self._ring[absolute] = dns.tsig.Key(absolute, secret, "hmac-sha256")
        #: Server cookies seen in responses: those that the responder will take back.
        self._cookies: list[bytes] = []
        #: Zones to transfer, and the serials that their versions have had.
        self._serials: dict[bytes, collections.deque[int]] = {}
        #: Good queries to ask again, which is what fills and uses caches.
        self._recent: collections.deque[bytes] = collections.deque(maxlen=100)
        self._last = self.query()

    def packet(self) -> bytes:
        """The next packet: half of them good, a tenth without much sense."""
        r = self._random
        pick = r.random()
        if pick < 0.3:
            packet = self.repeated()
        elif pick < 0.4:
            packet = self.ordinary()
            self._recent.append(packet)
        elif pick < 0.5:
            packet = self.query()
        elif pick < 0.75:
            # Damage to what is asked for often comes close to what a worker knows by heart.
            packet = self.damaged(self.repeated() if r.random() < 0.5 else self.query())
        elif pick < 0.8:
            packet = self.transfer()
            if r.random() < 0.3:
                packet = self.damaged(packet)
        elif pick < 0.9:
            packet = self.spliced(self.query(), self._last)
        elif pick < 0.93:
            packet = self.signed()
        else:
            packet = self.noise()
        self._last = packet or self._last
        return packet

    def repeated(self) -> bytes:
        """A query of a while ago with another ID, and with its name in another case or not."""
        r = self._random
        if not self._recent:
            return self.ordinary()
        query = r.choice(self._recent)
        ident = r.randbytes(2)
        if r.random() < 0.7:
            return ident + query[2:]
        end = query.index(0, HEADER_BYTES)
        return ident + query[2:HEADER_BYTES] + self._recased(query[HEADER_BYTES:end]) + query[end:]

    def ordinary(self) -> bytes:
        """A query as resolvers and stub resolvers send it."""
        r = self._random
        name = r.choice(self.names)
        if r.random() < 0.3 and len(name) < 190:
            name = self._label() + name
        flags, rdtype = r.choice((0x0100, 0x0000, 0x0110)), r.choice(ORDINARY)
        opt = r.choice((b"", b"\0\0\x29\x04\xd0\0\0\0\0\0\0", b"\0\0\x29\x10\0\0\0\x80\0\0\0"))
        header = struct.pack("!HHHHHH", r.randrange(65536), flags, 1, 0, 0, bool(opt))
        return header + name + struct.pack("!HH", rdtype, 1) + opt

    def query(self) -> bytes:
        """A message that is well formed, though it may ask for what nobody has."""
        r = self._random
        name, rdtype, rdclass = self.name(), r.choice(ORDINARY), 1
        if r.random() < 0.3:
            rdtype = r.choice(TYPES) if r.random() < 0.8 else r.randrange(65536)
        if r.random() < 0.05:
            rdclass = r.choice(CLASSES)
        flags = r.choice((0x0100, 0x0000, 0x0120, 0x0110, 0x0130))
        if r.random() < 0.05:
            flags = r.randrange(65536) & 0x7FFF if r.random() < 0.9 else r.randrange(65536)
        answers = authorities = b""
        counts = [1, 0, 0, 0]
        if r.random() < 0.03:
            # What IXFR, NOTIFY and UPDATE carry.
            authorities = self.soa()
            counts[2] = 1
        if r.random() < 0.01:
            answers = self.soa()
            counts[1] = 1
        extra = b""
        if r.random() < 0.6:
            extra = self.opt()
            counts[3] = 1
        question = name + struct.pack("!HH", rdtype, rdclass)
        header = struct.pack("!HHHHHH", r.randrange(65536), flags, *counts)
        return header + question + answers + authorities + extra

    def transfer(self) -> bytes:
        """A question for a zone or its changes, now and then a signed one."""
        r = self._random
        zone = r.choice(list(self._serials) or self.names)
        name = self._recased(zone) if r.random() < 0.2 else zone
        rdtype = IXFR if r.random() < 0.8 else AXFR
        # What a server has no reason to send with a question for the whole zone.
        soa = self.held(zone) if (rdtype == IXFR) == (r.random() < 0.98) else b""
        opt = self.opt() if r.random() < 0.4 else b""
        counts = (1, 0, bool(soa), bool(opt))
        header = struct.pack("!HHHHHH", r.randrange(65536), r.choice((0, 0x0100)), *counts)
        query = header + name + struct.pack("!HH", rdtype, 1) + soa + opt
        return self._keyed(query) if self._ring and r.random() < 0.4 else query

    def held(self, zone: bytes) -> bytes:
        """The SOA record of the version that who asks for a difference says to have."""
        r = self._random
        serials = self._serials.get(zone)
        if serials and r.random() < 0.9:
            known = serials[-1] if r.random() < 0.2 else r.choice(serials)
            apart = r.choice(DISTANCES) if r.random() < 0.3 else 0
            serial = known + apart & 0xFFFFFFFF
        else:
            serial = r.choice((0, r.getrandbits(32)))
        names = r.choice((b"\xc0\x0c\xc0\x0c", b"\0\0", b"\3ns1" + zone + b"\1x\xc0\x0c"))
        data = names + struct.pack("!IIIII", serial, 30, 10, 86400, 5)
        owner = b"\xc0\x0c" if r.random() < 0.9 else self.name()
        return owner + struct.pack("!HHIH", SOA, 1, 0, len(data)) + data

    def note_serial(self, zone: bytes, serial: int) -> None:
        """Ask from now on what has changed since that version of a zone as well."""
        serials = self._serials.setdefault(zone, collections.deque(maxlen=SERIALS))
        if not serials or serials[-1] != serial:
            serials.append(serial)

    def name(self) -> bytes:
        """A name that exists, or one like it."""
        r = self._random
        name = r.choice(self.names)
        pick = r.random()
        if pick < 0.3:
            return name
        if pick < 0.5:
            return self._recased(name)
        if pick < 0.65 and len(name) < 190:
            return self._label() + name
        if pick < 0.75 and len(name) > 1:
            # A sibling, as in a flood of names that do not exist.
            parent = name[name[0] + 1 :]
            label = self._label()
            return label + parent if len(label) + len(parent) <= 255 else parent
        if pick < 0.85 and len(name) > 1:
            return name[name[0] + 1 :]
        if pick < 0.9:
            # As long as a name may be, or a byte longer.
            labels = b"".join(self._label(63) for _time in range(3))
            return labels + self._label(r.choice((61, 61, 62))) + b"\0"
        if pick < 0.95:
            at = r.randrange(len(name))
            return name[:at] + bytes((r.choice(TELLING),)) + name[at + 1 :]
        return b"".join(self._label() for _time in range(r.randrange(4))) + b"\0"

    def _recased(self, name: bytes) -> bytes:
        mixed = self._random.getrandbits(len(name))
        return bytes(
            b ^ 0x20 if 64 < b & 0xDF < 91 and mixed >> place & 1 else b
            for place, b in enumerate(name)
        )

    def _label(self, length: int | None = None) -> bytes:
        r = self._random
        length = r.choice((1, 1, 2, 5, 52, 56, 63)) if length is None else length
        if r.random() < 0.8:
            return bytes((length,)) + bytes(r.choices(b"abcXYZ019_-=", k=length))
        return bytes((length,)) + r.randbytes(length)

    def opt(self) -> bytes:
        """An OPT record."""
        r = self._random
        options = b""
        if r.random() < 0.4:
            options = b"".join(self.option() for _time in range(r.choice((1,) * 8 + (2, 3, 20))))
        ttl = r.choice((0, 0, 0x8000, 0x8000))
        if r.random() < 0.05:
            ttl = r.getrandbits(32)
        size = r.choice(UDP_SIZES) if r.random() < 0.5 else 1232
        return b"\0" + struct.pack("!HHIH", 41, size, ttl, len(options)) + options

    def option(self) -> bytes:
        """One option, as often a cookie as anything else."""
        r = self._random
        if r.random() < 0.5:
            if self._cookies and r.random() < 0.5:
                data = r.choice(self._cookies)
            else:
                data = r.randbytes(r.choice((8, 8, 8, 24, 16, 40, 0, 1, 7, 9, 15, 41)))
            return struct.pack("!HH", COOKIE, len(data)) + data
        data = r.randbytes(r.choice((0, 0, 2, 4, 8, 200)))
        code = r.choice(OPTIONS) if r.random() < 0.9 else r.randrange(65536)
        return struct.pack("!HH", code, len(data)) + data

    def soa(self) -> bytes:
        """An SOA record whose names point to the question."""
        data = b"\xc0\x0c\xc0\x0c" + self._random.randbytes(20)
        return b"\xc0\x0c" + struct.pack("!HHIH", 6, 1, 0, len(data)) + data

    def signed(self) -> bytes:
        """A query with a TSIG record (RFC 8945): good, or wrong in one of many ways."""
        r = self._random
        query = self.query()
        if self._ring and r.random() < 0.7:
            query = self._keyed(query)
        else:
            query = self._appended(query, self._tsig())
        return self.damaged(query) if r.random() < 0.3 else query

    def _keyed(self, query: bytes) -> bytes:
        """The query with a good signature, or one that is out of time before long."""
        r = self._random
        try:
            message = dns.message.from_wire(query)
            fudge = FUDGE if r.random() < 0.9 else 0
            message.use_tsig(self._ring, r.choice(list(self._ring)), fudge=fudge)
            return message.to_wire()
        except Exception:  # dnspython will not write everything that a query may say.
            return self._appended(query, self._tsig())

    def _tsig(self) -> bytes:
        """A TSIG record that no secret has made."""
        r = self._random
        # A pointer to the question makes a long name of two bytes.
        owner = r.choice((b"\1k\0", b"\xc0\x0c", self.name()))
        if self._ring and r.random() < 0.5:
            owner = next(iter(self._ring)).to_wire() or owner
        algorithms = ("hmac-sha256.", "hmac-sha256.", "hmac-md5.sig-alg.reg.int.", "x.")
        algorithm = wire_name(r.choice(algorithms)) if r.random() < 0.8 else self.name()
        mac = r.randbytes(r.choice((0, 10, 16, 32, 64)))
        signed_at = int(time.time()) + r.choice((0, 0, 0, -(10**6), 10**6))
        data = algorithm + struct.pack("!QHH", signed_at, r.choice((0, FUDGE)), len(mac))[2:] + mac
        other = r.randbytes(r.choice((0, 0, 0, 6, 300)))
        errors = (r.randrange(65536), r.choice((0, 16, 17, 18)), len(other))
        data += struct.pack("!HHH", *errors) + other
        rdclass = 255 if r.random() < 0.9 else 1
        return owner + struct.pack("!HHIH", TSIG, rdclass, 0, len(data)) + data

    def _appended(self, packet: bytes, record: bytes) -> bytes:
        if len(packet) < HEADER_BYTES:
            return packet + record
        (additionals,) = struct.unpack_from("!H", packet, 10)
        count = struct.pack("!H", additionals + 1 & 0xFFFF)
        return packet[:10] + count + packet[12:] + record

    def damaged(self, packet: bytes) -> bytes:
        """The packet after one to three accidents."""
        r = self._random
        data = bytearray(packet)
        for _time in range(r.choice((1, 1, 1, 2, 3))):
            if not data:
                break
            at = r.randrange(len(data))
            kind = r.randrange(11)
            if kind == 0:
                data[at] ^= 1 << r.randrange(8)
            elif kind == 1:
                data[at] = r.choice(TELLING)
            elif kind == 2:
                del data[at:]
            elif kind == 3:
                data += r.randbytes(r.choice((1, 2, 11, 40)))
            elif kind == 4 and len(data) >= HEADER_BYTES:
                position = r.choice((4, 6, 8, 10))
                data[position : position + 2] = r.choice(
                    (b"\0\0", b"\0\1", b"\0\2", b"\0\x40", b"\xff\xff")
                )
            elif kind == 5:
                # A compression pointer to anywhere, the place itself among them.
                target = at if r.random() < 0.3 else r.randrange(r.choice((12, 64, 1 << 14)))
                data[at : at + 2] = struct.pack("!H", 0xC000 | target & 0x3FFF)
            elif kind == 6:
                end = min(len(data), at + r.randrange(1, 40))
                data[at:at] = data[at:end]
            elif kind == 7:
                del data[at : at + r.randrange(1, 12)]
            elif kind == 8:
                for _again in range(r.choice((1,) * 8 + (2, 100))):
                    data[:] = self._appended(bytes(data), self.opt())
            elif kind == 9 and len(data) > HEADER_BYTES:
                # A second question that says it is there, or does not.
                data += data[HEADER_BYTES:]
                if r.random() < 0.5:
                    data[4:6] = b"\0\2"
            elif len(data) > 2:
                # A response, another kind of query, or one cut already.
                data[2] ^= r.choice((0x80, 0x78, 0x08, 0x02, 0x04))
        return bytes(data)

    def spliced(self, one: bytes, other: bytes) -> bytes:
        """The beginning of one packet and the end of another."""
        r = self._random
        return one[: r.randrange(len(one) + 1)] + other[r.randrange(len(other) + 1) :]

    def noise(self) -> bytes:
        """Bytes that are no message, or a header and then none."""
        r = self._random
        length = r.choice((0, 1, 2, 11, 12, 13, 17, 40, 100, 511, 1500, 9000))
        if r.random() < 0.5:
            return r.randbytes(length)
        counts = r.choice((b"\0\1\0\0\0\0\0\0", b"\0\1\0\0\0\0\0\1", b"\0\0\0\0\0\0\0\0"))
        return r.randbytes(2) + b"\1\0" + counts + r.randbytes(length)

    def learn(self, response: bytes) -> None:
        """Remember the server cookie of a response, to come back with it."""
        at = response.find(b"\0\x0a\0\x18", HEADER_BYTES)
        if at >= 0 and len(response) >= at + 28:
            self._cookies.append(response[at + 4 : at + 28])
            del self._cookies[:-16]

    def stream(self, messages: t.Sequence[bytes]) -> list[bytes]:
        """The messages as TCP carries them (RFC 1035 section 4.2.2), in pieces of any size."""
        r = self._random
        data = b"".join(struct.pack("!H", len(message)) + message for message in messages)
        if r.random() < 0.3:
            # One that never becomes whole.
            data += struct.pack("!H", r.choice((1, 12, 100, 65535))) + r.randbytes(
                r.choice((0, 0, 9))
            )
        pieces = []
        while data:
            size = r.choice((1, 2, 3, 14, 100, 1460, 1460, 65536))
            pieces.append(data[:size])
            data = data[size:]
        return pieces
