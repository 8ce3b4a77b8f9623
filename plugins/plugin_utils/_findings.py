# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What wgsd_examine has found on the hosts of a case, asked by name. What is missing is no error.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import typing as t

#: Seconds that WireGuard keeps a session after its handshake.
SESSION = 180.0
#: Seconds that two hosts must have listened at the same time before silence says something. An
#: initiation is repeated every 5 s, and a clock is read half a second too late.
OVERLAP = 5.5
#: Seconds by which a client may be late, with what it does and with what it reports.
TARDINESS = 60.0

Facts = t.Mapping[str, t.Any]
NOTHING: Facts = {}


def dig(facts: t.Any, *path: str, default: t.Any = None) -> t.Any:
    """Return what lies at *path* in nested mappings, *default* if there is nothing."""
    for step in path:
        if not isinstance(facts, t.Mapping) or facts.get(step) is None:
            return default
        facts = facts[step]
    return facts


def without_nulls(value: t.Any) -> t.Any:
    """Return *value* without what is unknown: to be null and to be missing is the same."""
    if isinstance(value, t.Mapping):
        return {key: without_nulls(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [without_nulls(inner) for inner in value]
    return value


class Host:
    """One host of the case.

    Attributes:
        address: Its tunnel address by the inventory, as programs spell it, without a prefix
            length; empty if unknown.
        endpoint: Its ``wgsd_endpoint`` by the inventory; empty if it has none.
        trouble: Why it could not be examined; empty if it was.
        before: The result of its first examination, before any packet was sent.
        latest: The result of its last one.
        probe: What it has tried, and what came in meanwhile.
    """

    def __init__(self, name: str, facts: Facts) -> None:
        self.name = name
        self.address = canonical(facts.get("address") or "")
        self.endpoint = str(facts.get("endpoint") or "")
        self.trouble = str(facts.get("trouble") or "")
        self.before: Facts = facts.get("survey") or NOTHING
        self.latest: Facts = facts.get("probe") or self.before
        self.probe: Facts = dig(facts, "probe", "probe", default=NOTHING)
        #: What the registry has tried alone, while nobody else sent anything.
        self.alone: Facts = dig(facts, "alone", "probe", default=NOTHING)

    @property
    def is_examined(self) -> bool:
        return bool(self.latest)

    @property
    def is_watching(self) -> bool:
        """Whether it has seen what passed its network interfaces."""
        return bool(self.probe) and not self.probe.get("wire_error")

    @property
    def interface(self) -> Facts:
        found: Facts = dig(self.latest, "interface", default=NOTHING)
        return found

    @property
    def has_device(self) -> bool:
        return bool(self.interface.get("public_key"))

    @property
    def key(self) -> str | None:
        return self.interface.get("public_key")

    @property
    def peers(self) -> t.Sequence[Facts]:
        found: t.Sequence[Facts] = dig(self.latest, "interface", "peers", default=())
        return found

    @property
    def own(self) -> set[str]:
        """The addresses of its other interfaces."""
        return set(dig(self.latest, "addresses", default=()))

    def unit(self, daemon: str) -> str:
        """Return what the unit of its ``client`` or ``responder`` is called."""
        return str(dig(self.latest, daemon, "unit", default=f"wgsd-{daemon}"))

    @property
    def now(self) -> float | None:
        """Its own clock at the first examination, in seconds since the epoch."""
        return dig(self.before, "clock", "now")

    @property
    def offset(self) -> float | None:
        """Seconds that its clock is ahead of the controller's."""
        return dig(self.before, "clock", "offset")

    def peer(self, key: str | None) -> Facts:
        """Return the peer of its device with *key*."""
        return next((peer for peer in self.peers if key and peer["public_key"] == key), NOTHING)

    def peer_before(self, key: str | None) -> Facts:
        """Return the same as it was before any packet was sent."""
        peers = dig(self.before, "interface", "peers", default=())
        return next((peer for peer in peers if key and peer["public_key"] == key), NOTHING)

    def holder(self, address: str) -> Facts:
        """Return the peer to which its device sends *address*: that with the longest prefix."""
        best: tuple[int, Facts] = (-1, NOTHING)
        for peer in self.peers:
            for block in peer.get("allowed_ips", ()):
                length = prefix_length(block, address)
                if length > best[0]:
                    best = (length, peer)
        return best[1]

    def toward(self, other: Host) -> Facts:
        """Return what it has tried towards another host."""
        found: Facts = dig(self.probe, "peers", other.name, default=NOTHING)
        return found

    def answers(self, other: Host) -> int | None:
        """Return how many of its pings *other* has answered; None if it has sent none."""
        small = dig(self.toward(other), "small", default=NOTHING)
        return small.get("received") if small.get("sent") else None

    def moved(self, other: Host, counter: str) -> int | None:
        """Return by how much its ``rx`` or ``tx`` of *other* has grown while it probed."""
        return self.toward(other).get(counter)

    def wire(self, direction: str, **wanted: t.Any) -> list[Facts]:
        """Return the packets that it has seen on its network interfaces, grouped."""
        return [
            seen
            for seen in self.probe.get("wire", ())
            if seen.get("direction") == direction
            and all(seen.get(name) == value for name, value in wanted.items())
        ]

    def silence(self, other: Host) -> Silence | None:
        """Return why its client sends *other* nothing, if that is what it is to do just now.

        Such a peer has no endpoint, and one that is being tried always has. The report may be older
        than the silence.
        """
        toward = self.toward(other)
        key, end = toward.get("public_key"), dig(self.probe, "window", default=(0.0, 0.0))[1]
        seen = dig(self.latest, "client", "report", "peers", key or "", default=NOTHING)
        running = dig(self.latest, "client", "running")
        if toward.get("endpoint") or not running or seen.get("state") not in _TRIED_IN_VAIN:
            return None
        due = seen.get("due") or end
        if due < end - TARDINESS:
            return None
        reason = str(seen.get("reason") or seen["state"])
        return Silence(max(0.0, due - end), due - (self.offset or 0.0), reason)

    def has_session(self, other: Host) -> bool:
        """Whether its device has had a handshake with *other* lately."""
        age = self.peer(other.key).get("handshake_age")
        return age is not None and 0 <= age < SESSION


#: How a client calls a peer in whose silence it has fallen, or is about to say so.
_TRIED_IN_VAIN = frozenset(("unreachable", "punching"))


@dataclasses.dataclass(frozen=True)
class Silence:
    """A silence that a client keeps towards a peer, so that routers forget what went wrong.

    Attributes:
        seconds: How long it goes on after the examination; 0 if that is not known.
        until: When it ends, in seconds since the epoch by the controller's clock.
        reason: What the client says about it.
    """

    seconds: float
    until: float
    reason: str


class Case:
    """Two hosts of which the one does not reach the other, perhaps, and their registry.

    Attributes:
        links: The pairs that tunnels are looked for between.
    """

    def __init__(self, findings: Facts) -> None:
        findings = without_nulls(findings)
        facts = findings.get("hosts") or NOTHING
        self.zone = str(findings.get("zone") or "")
        self.interface_name = str(findings.get("interface") or "wg0")
        self.addresses: t.Mapping[str, t.Sequence[str]] = {
            name: [canonical(address) for address in addresses]
            for name, addresses in (findings.get("addresses") or {}).items()
        }
        hosts = {
            name: Host(name, facts.get(name) or NOTHING)
            for name in (findings["from"], findings["to"], findings["registry"])
        }
        self.a, self.b = hosts[findings["from"]], hosts[findings["to"]]
        self.registry = hosts[findings["registry"]]
        #: The two and the registry, each once.
        self.hosts = list(hosts.values())
        #: Those that are peers of the registry.
        self.peers = [host for host in (self.a, self.b) if host is not self.registry]
        self.links = [(peer, self.registry) for peer in self.peers]
        if len(self.peers) == 2:
            self.links.append((self.a, self.b))

    def reached(self, one: Host, other: Host) -> bool | None:
        """Whether pings pass between two hosts, either way; None if none was sent."""
        counts = [one.answers(other), other.answers(one)]
        known = [count for count in counts if count is not None]
        return any(known) if known else None

    @property
    def is_reached(self) -> bool | None:
        """Whether pings pass between the two of the case."""
        return self.reached(self.a, self.b)

    def outside(self, host: Host) -> set[str]:
        """Return the addresses by which others may see *host*."""
        found = set(dig(host.latest, "addresses", default=()))
        for other in self.hosts:
            for result in (other.before, other.latest):
                for peer in dig(result, "interface", "peers", default=()):
                    if host.key and peer["public_key"] == host.key and peer.get("endpoint"):
                        found.add(address_of(peer["endpoint"]))
        found.update(address_of(seen) for seen in self.sources(host).values())
        if host is self.registry and host.endpoint:
            found.add(address_of(host.endpoint))
        found.discard(host.address)
        return found

    def translated(self, host: Host) -> set[str]:
        """Return the addresses by which others may see *host*, and which it does not have."""
        return self.outside(host) - host.own

    def sources(self, host: Host) -> dict[int, str]:
        """Return where the NAT probes of *host* came from, by the registry's port they came to."""
        return {
            seen["port"]: seen["source"]
            for seen in self.registry.probe.get("nat", ())
            if seen["name"] == host.name
        }

    def is_translated(self, host: Host) -> bool:
        """Whether the registry sees *host* by an address that is not its own."""
        return bool(host.own) and bool(self.translated(host))

    def arrivals(self, at: Host, of: Host) -> list[Facts]:
        """Return WireGuard's packets of one host that were seen on the wire of another.

        What the device there has no place for counts as well: a host that never got through has no
        known address outside.
        """
        known = self.outside(of)
        elsewhere: set[str] = set()
        for other in self.hosts:
            if other not in (at, of):
                elsewhere |= self.outside(other)
        for peer in at.peers:
            if peer.get("endpoint") and peer["public_key"] != of.key:
                elsewhere.add(address_of(peer["endpoint"]))
        return [
            seen
            for seen in at.wire("in")
            if seen["kind"] != "other"
            and (
                address_of(seen["remote"]) in known
                if known & {address_of(other["remote"]) for other in at.wire("in")}
                else address_of(seen["remote"]) not in elsewhere
            )
        ]

    def goals(self, at: Host, to: Host) -> list[str]:
        """Return where a device has sent packets for another host to, what is likeliest first."""
        toward = at.toward(to)
        # The zone's is what a client has tried between two silences.
        told = dig(at.probe, "zone", "peers", to.name)
        return list(filter(None, (toward.get("endpoint"), toward.get("endpoint_before"), told)))

    def departures(self, at: Host, to: Host, kind: str = "") -> int:
        """Return how many of WireGuard's packets for another host have left a host.

        Args:
            kind: Of which kind; all of WireGuard's if empty.
        """
        goals = self.goals(at, to)
        outside = self.outside(to)
        return sum(
            seen["count"]
            for seen in at.wire("out")
            if (seen["remote"] in goals or (kind and address_of(seen["remote"]) in outside))
            and seen["kind"] == (kind or seen["kind"]) != "other"
        )

    def listened_together(self, one: Host, other: Host) -> bool:
        """Whether two hosts probed at the same time, long enough for silence to mean something."""
        spans = []
        for host in (one, other):
            window = host.probe.get("window")
            if not window or host.offset is None or not host.is_watching:
                return False
            spans.append([moment - host.offset for moment in window])
        return min(span[1] for span in spans) - max(span[0] for span in spans) >= OVERLAP


@dataclasses.dataclass(frozen=True)
class Question:
    """What a host was told when it asked the registry for the zone.

    Attributes:
        status: ``ok``, ``timeout``, ``refused`` (nobody listens), ``signature`` (it is rejected),
            or the DNS status.
        said: What is wrong with the signature.
    """

    status: str
    milliseconds: float | None
    peers: Facts
    said: str = ""


def question(host: Host) -> Question | None:
    """Return how *host* was answered; None if it has not asked."""
    zone = host.probe.get("zone")
    if not zone or not zone.get("status"):
        return None
    peers = zone.get("peers") or NOTHING
    return Question(zone["status"], zone.get("ms"), peers, str(zone.get("said") or ""))


def canonical(address: t.Any) -> str:
    """Return *address* without a prefix length, spelled as the kernel does; else as it is."""
    text = str(address).partition("/")[0].strip()
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def address_of(endpoint: str) -> str:
    """Return the address in ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
    return endpoint.rpartition(":")[0].strip("[]").partition("%")[0]


def port_of(endpoint: str) -> int:
    """Return the port in ``ADDRESS:PORT``; 0 if there is none."""
    port = endpoint.rpartition(":")[2]
    return int(port) if port.isdigit() else 0


def prefix_length(block: str, address: str) -> int:
    """Return the prefix length of *block* if *address* lies in it, else -1."""
    try:
        network, host = ipaddress.ip_network(block, strict=False), ipaddress.ip_address(address)
    except ValueError:
        return -1
    return network.prefixlen if network.version == host.version and host in network else -1
