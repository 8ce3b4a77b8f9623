# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Four peers, and a way to ask a zone of theirs questions without a socket."""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

import dns.message
import dns.name
import dns.rdatatype

from wgsd.config import Access, ResponderSettings, TsigKey, ZoneSettings
from wgsd.keys import PublicKey
from wgsd.zone.answers import Authority, Reply
from wgsd.zone.message import lowered
from wgsd.zone.prepared import Shelf
from wgsd.zone.records import build
from wgsd.zone.served import Context
from wgsd.zone.signing import Signer
from wgsd.zone.version import Content, Delta, Instance, Version

ZONE = "example.com."
SERVICE = "_wireguard._udp.example.com."
TUNNEL = "10.0.0.254"
TUNNEL6 = "fd00::254"


def key(name: str) -> PublicKey:
    """The same key for the same name in every run."""
    return PublicKey(hashlib.sha256(name.encode()).digest())


def content(*instances: Instance, addresses: t.Sequence[str] = (TUNNEL, TUNNEL6)) -> Content:
    """A zone's content."""
    return Content(tuple(addresses), {instance.public_key: instance for instance in instances})


def many(number: int) -> list[Instance]:
    """That many peers with an endpoint each."""
    return [
        Instance(
            key(f"peer {i}"), f"198.51.{100 + i // 250}.{1 + i % 250}", 51820, ("10.1.0.1/32",)
        )
        for i in range(number)
    ]


ALICE = Instance(
    key("alice"), "203.0.113.1", 41414, ("10.0.0.1/32", "192.168.1.0/24"), name="alice"
)
BOB = Instance(key("bob"), "2001:db8::b", 51821, ("10.0.0.2/32",))
CAROL = Instance(key("carol"), "203.0.113.3", 51822, tuple(f"10.77.{i}.0/24" for i in range(30)))
REGISTRY = Instance(key("registry"), None, 51820, ("10.0.0.254/32",))
#: A member that the registry has no endpoint of yet.
JOINING = Instance(key("joining"), None, None, ("10.0.0.5/32",), name="joining")


def without_endpoint(instance: Instance) -> Instance:
    """The same member before it has an endpoint."""
    return dataclasses.replace(instance, address=None, port=None)


#: The indexes of the interfaces on the registry.
INTERFACES = {"lo": 1, "eth0": 2, "wg0": 3, "wg1": 4}
#: What the registry's clock shows.
NOW = 1_800_000_000


def interface_index(name: str) -> int:
    """What `socket.if_nametoindex` does."""
    try:
        return INTERFACES[name]
    except KeyError:
        raise OSError(f"no interface {name}") from None


class Asker:
    """Asks the way a client on the network would and parses what comes back."""

    def __init__(
        self,
        *contents: Content,
        allow_query: Access | None = None,
        keys: t.Sequence[TsigKey] = (),
    ) -> None:
        self._zones: dict[str, tuple[ZoneSettings, int, Content | None]] = {}
        self._keys = {key.name: key for key in keys}
        self.now = float(NOW)
        for one in contents:
            self.serve(ZONE, one, allow_query=allow_query)

    def serve(
        self,
        origin: str,
        one: Content | None,
        serial: int = 7,
        allow_query: Access | None = None,
        device: str = "wg0",
    ) -> None:
        """Serve one more zone."""
        settings = ZoneSettings(origin, device, allow_query=allow_query)
        self._zones[origin] = (settings, serial, one)
        zones = tuple(settings for settings, _serial, _one in self._zones.values())
        self.authority = Authority(
            ResponderSettings(zones, keys=self._keys),
            cookie_secret=bytes(range(16)),
            wall=lambda: self.now,
            interface_index=interface_index,
        )
        for settings, number, some in self._zones.values():
            zone = build(settings.zone, number, some) if some else None
            self.authority.serve(dns.name.from_text(settings.zone), zone)

    def reply(
        self,
        wire: bytes,
        *,
        source: str = "10.0.0.1",
        local: str = TUNNEL,
        tcp: bool = False,
        ingress: int | None = None,
    ) -> Reply | None:
        """Hand over bytes as they are, and return what is known of the reply."""
        return self.authority.respond(wire, Context(source, local, tcp, ingress))

    def raw(self, wire: bytes, **context: t.Any) -> bytes | None:
        """Hand over bytes as they are."""
        reply = self.reply(wire, **context)
        return reply.wire if reply else None

    def __call__(
        self,
        name: str,
        rdtype: str,
        *,
        size: int | None = None,
        rdclass: str = "IN",
        tcp: bool = False,
        **context: t.Any,
    ) -> dns.message.Message:
        """Ask for *name*, with EDNS and that UDP size if one is given."""
        query = dns.message.make_query(name, rdtype, rdclass, use_edns=0 if size else False)
        if size:
            query.use_edns(0, payload=size)
        wire = self.raw(query.to_wire(), tcp=tcp, **context)
        assert wire is not None
        response = dns.message.from_wire(wire)
        assert query.is_response(response)
        if not tcp:
            assert len(wire) <= min(max(size or 512, 512), 1232)
        return response


class Ready:
    """The complete path and, before it, answers that lie ready: as a worker puts them together."""

    def __init__(
        self,
        contents: t.Mapping[str, Content | None],
        local: str = TUNNEL,
        allow_query: Access | None = None,
        signers: t.Mapping[str, Signer] | None = None,
    ) -> None:
        self._local = local
        self.signers = signers or {}
        self._versions = {zone: Version(zone, 0) for zone in contents}
        self._authority = Authority(
            ResponderSettings(
                tuple(ZoneSettings(zone, "wg0", allow_query=allow_query) for zone in contents)
            ),
            cookie_secret=bytes(16),
            interface_index=interface_index,
        )
        self._shelf = Shelf(
            [lowered(origin) for origin in self._authority.zones],
            lambda local: {lowered(origin) for origin in self._authority.open_zones(local)},
            slot=lambda rdtype, rcode: rdtype << 4 | rcode,
        )
        for zone, one in contents.items():
            self.step(one, zone)

    @property
    def size(self) -> int:
        """What the views think they take."""
        return sum(self._shelf.view(self._local, tcp).size for tcp in (False, True))

    def step(self, one: Content | None, zone: str = ZONE) -> None:
        """Hand over the delta to that content."""
        before = self._versions[zone]
        delta = before.delta_to(before.serial + 1, one)
        if delta is not None:
            self.take(delta)

    def take(self, delta: Delta) -> None:
        """Hand over a delta, sealed if the zone is to be signed."""
        zone = delta.zone
        before = self._versions[zone]
        if zone in self.signers:
            delta = self.signers[zone].seal(before, delta)
        self._versions[zone] = before.after(delta)
        origin = dns.name.from_text(zone)
        known = self._shelf.zones[lowered(origin)]
        one = self._versions[zone].content
        if one is None:
            after = None
        elif known is None:
            after = build(zone, delta.serial, one, delta.seals)
        else:
            after = known.after(delta)
        self._authority.serve(origin, after)
        self._shelf.step(lowered(origin), after, delta)

    def find(self, wire: bytes, tcp: bool = False) -> tuple[bytes, int, int] | None:
        """The response that lies ready, and what it is counted as: type and rcode."""
        found = self._shelf.view(self._local, tcp).find(wire)
        return found and (found[0], found[1] >> 4, found[1] & 0xF)

    def version(self, zone: str = ZONE) -> Version:
        """What is being served."""
        return self._versions[zone]

    def complete(self, wire: bytes, tcp: bool = False) -> bytes | None:
        """The response of the complete path."""
        reply = self._authority.respond(wire, Context("10.0.0.1", self._local, tcp))
        return reply and reply.wire

    def ask(self, wire: bytes, tcp: bool = False) -> bytes | None:
        """The response that lies ready, or that of the complete path, which then does."""
        found = self.find(wire, tcp)
        if found:
            return found[0]
        response = self.complete(wire, tcp)
        if response is not None:
            self._shelf.learn(self._shelf.view(self._local, tcp), wire, response)
        return response


def query(name: str, rdtype: str, size: int | None = None, ident: int = 0x1234) -> bytes:
    """A query on the wire, with EDNS and that UDP size if one is given."""
    asked = dns.message.make_query(name, rdtype, use_edns=False, id=ident)
    if size is not None:
        asked.use_edns(0, payload=size)
    return asked.to_wire()


def texts(section: t.Iterable[t.Any]) -> list[str]:
    """RRsets without their TTLs, one string a record: ``owner TYPE data``."""
    return [
        f"{rrset.name} {dns.rdatatype.to_text(rrset.rdtype)} {rdata}"
        for rrset in section
        for rdata in rrset
    ]
