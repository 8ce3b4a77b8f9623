# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The usual causes, each recognised by what was found. Pure: from a case to causes.

Each function looks for one kind of cause, and yields it with the evidence and the remedy. What it
does not know it passes over. Which symptoms a cause explains decides about the order in which
people read them.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
import typing as t

from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.table import age

from ._findings import Case, Host, address_of, dig, port_of, question

#: Symptoms. Those of one host have its name after them.
PAIR, LARGE = "pair", "large"
TUNNEL, ZONE, BACK = "tunnel to the registry of ", "zone for ", "way back to "

#: Seconds that a clock may be away from the others' before it is a cause of anything.
CLOCK_TOLERANCE = 30.0
#: The same for a handshake that is dated later than now: WireGuard knows no tolerance, yet to ask
#: two hosts takes time.
REPLAY_TOLERANCE = 2.0
#: Seconds after which a report of the responder is old; it is written each second.
REPORT_STALE = 10.0
#: The header of an IPv4 or IPv6 packet, UDP's and WireGuard's: what a tunnel adds (IPv6).
OVERHEAD = 80
#: What WireGuard counts for a handshake's first message.
_INITIATION_BYTES = 148


@dataclasses.dataclass(frozen=True)
class Cause:
    """One thing that is wrong.

    Attributes:
        code: What it is called in the documentation.
        text: What is wrong, in a sentence.
        evidence: What was seen, with figures.
        remedy: What to do, with the command or the line of the inventory.
        explains: The symptoms that follow from it.
    """

    code: str
    text: str
    evidence: tuple[str, ...]
    remedy: str
    explains: frozenset[str] = frozenset()


Causes = t.Iterator[Cause]


def link_symptoms(case: Case, one: Host, other: Host) -> frozenset[str]:
    """Return what follows if there is no tunnel between two hosts."""
    if case.registry not in (one, other):
        return frozenset({PAIR})
    peers = [host for host in (one, other) if host is not case.registry]
    found = {PAIR}
    for host in peers:
        found |= {TUNNEL + host.name, ZONE + host.name, BACK + host.name}
    return frozenset(found)


def host_symptoms(case: Case, host: Host) -> frozenset[str]:
    """Return what follows if a host has no tunnel at all."""
    links = [link_symptoms(case, *link) for link in case.links if host in link]
    return frozenset().union(*links)


def is_dead(case: Case, one: Host, other: Host) -> bool:
    """Whether no packet passes between two hosts, as far as that was tried."""
    return case.reached(one, other) is not True


def interface(case: Case) -> Causes:
    """A host without its WireGuard interface, or with one that is switched off."""
    for host in case.hosts:
        found = dig(host.latest, "interface", default={})
        name = found.get("name", case.interface_name)
        up = f"on {host.name}: systemctl start wg-quick@{name}"
        again = f"ansible-playbook wgsd.mesh.site --limit {host.name}"
        if host.is_examined and not host.has_device:
            yield Cause(
                "interface",
                f"{host.name} has no WireGuard interface {name}",
                (str(found.get("error") or "there is no such interface"),),
                f"{up}; if that fails, {again}",
                host_symptoms(case, host),
            )
        elif host.has_device and found.get("is_up") is False:
            yield Cause(
                "interface",
                f"the interface {name} of {host.name} is switched off",
                (f"ip link shows {name} down",),
                f"on {host.name}: ip link set {name} up",
                host_symptoms(case, host),
            )


def clock(case: Case) -> Causes:
    """A clock that is behind what it has dated its handshakes with, or far from the others'."""
    told = set()
    for one, other in case.links:
        for sender, receiver in ((one, other), (other, one)):
            if is_dead(case, one, other) and sender.now is not None:
                for cause in _replay(case, sender, receiver):
                    told.add(sender.name)
                    yield cause
    known = [host for host in case.hosts if host.offset is not None]
    if len(known) < 2:
        return
    middle = statistics.median_low(host.offset for host in known)
    if len(known) == 2:
        # Of two that differ nobody knows which is right; the controller has a clock too.
        middle = min((host.offset for host in known), key=abs)
    for host in known:
        away = host.offset - middle
        if abs(away) > CLOCK_TOLERANCE and host.name not in told:
            yield Cause(
                "clock",
                f"the clock of {host.name} is {_away(away)} the others'",
                tuple(f"{h.name} is {_away(h.offset)} the controller's clock" for h in known),
                _set_clock(host),
                # Hosts try again at moments of the clock, and signed queries must not be old.
                frozenset({PAIR, ZONE + host.name}),
            )


def _replay(case: Case, sender: Host, receiver: Host) -> Causes:
    dated = receiver.peer(sender.key).get("last_handshake") or 0
    own = sender.peer(receiver.key).get("last_handshake") or 0
    # A receiver whose clock is wrong dates wrongly what was stamped by another clock.
    dated -= receiver.offset or 0
    latest, whose = max((dated, receiver.name), (own, sender.name))
    behind = latest - (sender.now or 0)
    if behind < REPLAY_TOLERANCE or sender.has_session(receiver):
        return
    evidence = [
        f"the last handshake of the two is dated {age(behind)} later than {sender.name}'s clock is"
        f" now (by {whose})"
    ]
    came = _counted(case.arrivals(receiver, sender), "initiation")
    if came and not receiver.moved(sender, "rx"):
        evidence.append(
            f"{_number(came, 'initiation')} of {sender.name} came to {receiver.name}, which counted"
            " none of them"
        )
    if sender.offset is not None and abs(sender.offset) > REPLAY_TOLERANCE:
        evidence.append(f"{sender.name} is {_away(sender.offset)} the controller's clock")
    yield Cause(
        "clock",
        f"the clock of {sender.name} has been set back, or has not been set since it booted:"
        " WireGuard drops handshakes that are dated before the last one that it has had of a host",
        tuple(evidence),
        _set_clock(sender) + f"; or, if it is right now, have {receiver.name} forget the date:"
        f" wg set {case.interface_name} peer {sender.key} remove &&"
        f" systemctl reload wg-quick@{case.interface_name}",
        link_symptoms(case, sender, receiver),
    )


def _set_clock(host: Host) -> str:
    return f"on {host.name}: timedatectl set-ntp true, and see that 'timedatectl' says synchronized"


def _away(seconds: float) -> str:
    return f"{age(abs(seconds))} {'ahead of' if seconds > 0 else 'behind'}"


def keys(case: Case) -> Causes:
    """A device that has another key for a host than the host has, or does not know it."""
    for one, other in case.links:
        for at, of in ((one, other), (other, one)):
            if not (at.has_device and of.address):
                continue
            held = at.holder(of.address).get("public_key")
            if of.key is None:
                yield from _keys_by_hearsay(case, at, of, held)
            elif held != of.key and not at.peer(of.key):
                yield _wrong_key(case, at, of, held)
            elif is_dead(case, one, other):
                yield from _misaddressed(case, at, of)


def _wrong_key(case: Case, at: Host, of: Host, held: str | None) -> Cause:
    other_owner = next((h.name for h in case.hosts if held and h.key == held and h is not of), "")
    if other_owner:
        text = f"{at.name} does not know {of.name}, and sends its address to {other_owner}"
    elif held:
        text = f"{at.name} has a wrong public key for {of.name}"
    else:
        text = f"{at.name} does not know {of.name}"
    evidence = [f"{of.name} has {of.key}"]
    if held:
        evidence.append(f"{at.name} has {held} for {of.address}")
    else:
        evidence.append(
            f"{case.interface_name} of {at.name} has no peer with that key ({len(at.peers)} peers)"
        )
    strange = sum(
        seen["count"]
        for seen in case.arrivals(of, at)
        if seen["kind"] == "initiation" and seen.get("ours") is False
    )
    if strange:
        evidence.append(
            f"{_number(strange, 'initiation')} of {at.name} came to {of.name}, made for another key"
        )
    return Cause(
        "wrong_key",
        text,
        tuple(evidence),
        f"ansible-playbook wgsd.mesh.site --limit {at.name},{of.name}",
        link_symptoms(case, at, of),
    )


def _keys_by_hearsay(case: Case, at: Host, of: Host, held: str | None) -> Causes:
    """Compare what two hosts have as the key of a third one that nobody could ask."""
    for witness in case.hosts:
        if witness in (at, of) or not witness.has_device or witness.name < at.name:
            continue
        other = witness.holder(of.address).get("public_key")
        if held and other and held != other:
            yield Cause(
                "wrong_key",
                f"{at.name} and {witness.name} have different public keys for {of.name}",
                (f"{at.name} has {held}", f"{witness.name} has {other}"),
                f"compare with 'wg show {case.interface_name} public-key' on {of.name}, then"
                f" ansible-playbook wgsd.mesh.site",
                link_symptoms(case, at, of) | link_symptoms(case, witness, of),
            )


def _misaddressed(case: Case, at: Host, to: Host) -> Causes:
    """Packets for a registry that go elsewhere than it listens."""
    if to is not case.registry:
        return
    port, entry = to.interface.get("listen_port"), at.peer(to.key)
    endpoint = entry.get("endpoint")
    if not endpoint and entry:
        yield Cause(
            "endpoint",
            f"{at.name} has no endpoint for {to.name}",
            (f"peer {to.key} of {case.interface_name} has none",),
            f"ansible-playbook wgsd.mesh.site --limit {at.name},{to.name}",
            link_symptoms(case, at, to),
        )
    elif endpoint and port and port not in (port_of(endpoint), port_of(to.endpoint)):
        yield Cause(
            "endpoint",
            f"{at.name} sends to another port than {to.name} listens on",
            (f"{at.name} sends to {endpoint}", f"{to.name} listens on port {port}"),
            f"inventory: wgsd_endpoint of {to.name} must be {address_of(endpoint)}:{port}; then"
            " ansible-playbook wgsd.mesh.site",
            link_symptoms(case, at, to),
        )


def preshared_keys(case: Case) -> Causes:
    """Two hosts that do not have the same preshared key for one another."""
    for one, other in case.links:
        entries = [(one, one.peer(other.key)), (other, other.peer(one.key))]
        if not all(entry for _host, entry in entries):
            continue
        digests = [entry.get("preshared_digest") for _host, entry in entries]
        if digests[0] == digests[1]:
            continue
        if all(digests):
            text = f"{one.name} and {other.name} have different preshared keys for one another"
        else:
            has, lacks = (one, other) if digests[0] else (other, one)
            text = f"{has.name} has a preshared key for {lacks.name}, and {lacks.name} has none"
        evidence = [
            f"digest on {host.name}: {digest or 'no key'}"
            for (host, _entry), digest in zip(entries, digests)
        ]
        for near, far in ((one, other), (other, one)):
            came = _counted(case.arrivals(near, far), "response")
            if came and not near.has_session(far):
                evidence.append(
                    f"{_number(came, 'response')} of {far.name} came to {near.name}, and no"
                    " handshake followed"
                )
        yield Cause(
            "preshared_key",
            text,
            tuple(evidence),
            f"ansible-playbook wgsd.mesh.site --limit {one.name},{other.name} with"
            " wgsd_preshared_keys: true for both, which makes them share one",
            link_symptoms(case, one, other),
        )


def addresses(case: Case) -> Causes:
    """A tunnel address that two hosts have, or that a device sends to somebody else."""
    yield from _claimed_twice(case)
    for one, other in case.links:
        for at, of in ((one, other), (other, one)):
            held = at.holder(of.address) if of.address else {}
            if not (at.has_device and at.peer(of.key)) or held.get("public_key") == of.key:
                continue
            yield _held_by_another(case, at, of, held)


def _held_by_another(case: Case, at: Host, of: Host, held: t.Mapping[str, t.Any]) -> Cause:
    own = ", ".join(at.peer(of.key).get("allowed_ips", ())) or "none"
    symptoms = link_symptoms(case, at, of)
    if not held:
        return Cause(
            "allowed_ips",
            f"the allowed IPs that {at.name} has for {of.name} lack its address {of.address}",
            (f"peer {of.key} has {own}",),
            f"ansible-playbook wgsd.mesh.site --limit {at.name},{of.name}",
            symptoms,
        )
    who = held.get("name") or held["public_key"]
    blocks = ", ".join(held.get("allowed_ips", ()))
    evidence = (f"{who} has the allowed IPs {blocks}", f"{of.name} has {own}")
    alone = f"{of.address}/{128 if ':' in of.address else 32}"
    if at is case.registry and alone in held.get("allowed_ips", ()):
        return Cause(
            "duplicate_address",
            f"two peers of {at.name} have the tunnel address {of.address}: {of.name} and {who}",
            evidence,
            f"inventory: give {of.name} or {who} another wgsd_address, then"
            " ansible-playbook wgsd.mesh.site",
            symptoms,
        )
    return Cause(
        "allowed_ips",
        f"{at.name} sends {of.address}, the address of {of.name}, to another peer: {who}",
        evidence,
        f"inventory: take what has {of.address} out of wgsd_allowed_ips of {who}; then"
        f" ansible-playbook wgsd.mesh.site --limit {at.name}",
        symptoms,
    )


def _claimed_twice(case: Case) -> Causes:
    names = {host.name for host in case.hosts}
    owners: dict[str, list[str]] = {}
    for name, claimed in case.addresses.items():
        for address in claimed:
            owners.setdefault(address, []).append(name)
    for address, claimants in sorted(owners.items()):
        if len(claimants) > 1 and names & set(claimants):
            yield Cause(
                "duplicate_address",
                f"the inventory gives {' and '.join(claimants)} the same tunnel address {address}",
                tuple(f"wgsd_address of {name} has {address}" for name in claimants),
                "inventory: give one of them another wgsd_address, then"
                " ansible-playbook wgsd.mesh.site",
                frozenset().union(
                    *(host_symptoms(case, h) for h in case.hosts if h.name in claimants)
                ),
            )
    on_hosts: dict[str, list[Host]] = {}
    for host in case.hosts:
        for address in host.interface.get("addresses", ()):
            if not address.lower().startswith("fe80:"):
                on_hosts.setdefault(address.partition("/")[0], []).append(host)
    for address, hosts in on_hosts.items():
        if len(hosts) > 1:
            who = " and ".join(host.name for host in hosts)
            wrong = [host.name for host in hosts if host.address and host.address != address]
            remedy = (
                f"ansible-playbook wgsd.mesh.site --limit {','.join(wrong)}: the inventory gives it"
                " another address"
                if wrong
                else "inventory: give one of them another wgsd_address, then"
                " ansible-playbook wgsd.mesh.site"
            )
            yield Cause(
                "duplicate_address",
                f"{who} have the same tunnel address {address}",
                tuple(f"{case.interface_name} of {host.name} has {address}" for host in hosts),
                remedy,
                _all_of(case, hosts),
            )


def _all_of(case: Case, hosts: t.Iterable[Host]) -> frozenset[str]:
    return frozenset().union(*(host_symptoms(case, host) for host in hosts))


def wires(case: Case) -> Causes:
    """Packets that leave, and do not arrive; or arrive, and do not get to WireGuard."""
    for one, other in case.links:
        if not is_dead(case, one, other):
            continue
        for sender, receiver in ((one, other), (other, one)):
            yield from _held_up(case, sender, receiver)


def _held_up(case: Case, sender: Host, receiver: Host) -> Causes:
    came = case.arrivals(receiver, sender)
    # Data of a session that the receiver has lost is not counted either; handshakes always are.
    ours = [seen for seen in came if seen.get("ours") is True]
    # Who answers an initiation has got it.
    answered = case.departures(receiver, sender, kind="response")
    counted = receiver.moved(sender, "rx") or answered
    sent = case.departures(sender, receiver)
    if ours and counted == 0 and receiver.peer(sender.key):
        yield _dropped_here(case, sender, receiver, sum(seen["count"] for seen in ours))
    elif sender.is_watching and not sent:
        yield from _never_left(case, sender, receiver)
    elif (
        receiver is case.registry
        and sent
        and not came
        and receiver.probe
        and case.listened_together(sender, receiver)
    ):
        yield _lost_before_registry(case, sender, receiver, sent)
    elif (
        receiver is case.registry
        and sent
        and not receiver.is_examined
        and not _answered(case, sender, receiver)
    ):
        yield _silent_registry(case, sender, receiver, sent)


def _answered(case: Case, sender: Host, receiver: Host) -> bool:
    """Whether anything of *receiver* has come to WireGuard at *sender* but initiations.

    A host that gets no reply for 15 s begins anew by itself, and that comes through the NAT of the
    other end. It tells nothing of what came to it.
    """
    begun = _counted(case.arrivals(sender, receiver), "initiation")
    return (sender.moved(receiver, "rx") or 0) > begun * _INITIATION_BYTES


def _silent_registry(case: Case, sender: Host, registry: Host, sent: int) -> Cause:
    endpoint = sender.toward(registry).get("endpoint")
    return Cause(
        "registry_port",
        f"{registry.name} does not answer on WireGuard's port, and could not be examined",
        (f"{_number(sent, 'packet')} left {sender.name} for {endpoint}, and no answer came back",),
        f"see that {registry.name} is up, and lets UDP port {port_of(endpoint or '')} in",
        link_symptoms(case, sender, registry),
    )


def _dropped_here(case: Case, sender: Host, receiver: Host, came: int) -> Cause:
    port = receiver.interface.get("listen_port")
    evidence = [
        f"{_number(came, 'handshake message')} of {sender.name} for port {port} came to the network"
        f" interface of {receiver.name}, and WireGuard counted none of them (rx +0 bytes)"
    ]
    evidence += _rules(receiver)
    at_registry = receiver is case.registry
    text = (
        f"WireGuard's port {port} is closed on {receiver.name}: a firewall there drops packets"
        if at_registry
        else f"a firewall on {receiver.name} drops what {sender.name} sends to WireGuard's port"
        f" {port}"
    )
    return Cause(
        "registry_port" if at_registry else "firewall",
        text,
        tuple(evidence),
        f"inventory: wgsd_firewall: nftables (or ufw, firewalld) for {receiver.name}, then"
        f" ansible-playbook wgsd.mesh.site --limit {receiver.name}; or by hand there:"
        f" accept udp dport {port}",
        link_symptoms(case, sender, receiver),
    )


def _never_left(case: Case, sender: Host, receiver: Host) -> Causes:
    toward = sender.toward(receiver)
    endpoint = toward.get("endpoint")
    if not endpoint or endpoint != toward.get("endpoint_before"):
        # Nothing could be sent all the time.
        return
    if toward.get("route") is None:
        yield Cause(
            "route",
            f"{sender.name} has no route to {receiver.name}'s endpoint",
            (f"ip route get {address_of(endpoint)}: unreachable",),
            f"give {sender.name} a route to {address_of(endpoint)}",
            link_symptoms(case, sender, receiver),
        )
        return
    pings = dig(toward, "small", "sent", default=0)
    evidence = [
        f"{_number(pings, 'ping')} had WireGuard send to {endpoint}, and no packet left by a"
        " network interface"
    ]
    evidence += _rules(sender)
    yield Cause(
        "firewall",
        f"a firewall on {sender.name} keeps WireGuard's packets for {receiver.name} from leaving",
        tuple(evidence),
        f"on {sender.name}: let UDP out to {endpoint}",
        link_symptoms(case, sender, receiver),
    )


def _rules(host: Host) -> list[str]:
    """Return what a host's firewall drops, as evidence."""
    return [f"nftables: {rule}" for rule in dig(host.latest, "firewall", default=())[:3]]


def _lost_before_registry(case: Case, sender: Host, registry: Host, sent: int) -> Cause:
    endpoint = sender.toward(registry).get("endpoint")
    evidence = [f"{_number(sent, 'packet')} left {sender.name} for {endpoint}, none came there"]
    from_others = sum(
        seen["count"]
        for seen in registry.wire("in")
        if seen["kind"] != "other" and address_of(seen["remote"]) not in case.outside(sender)
    )
    port = port_of(endpoint or "")
    if from_others:
        evidence.append(f"{_number(from_others, 'packet')} of others came to {registry.name}")
        return Cause(
            "registry_port",
            f"WireGuard's packets get lost between {sender.name} and {registry.name}, on"
            f" {sender.name}'s side: others get through",
            tuple(evidence),
            f"let UDP out to {endpoint} in the router or firewall in front of {sender.name}; if its"
            f" provider drops UDP, wgsd_endpoint of {registry.name} with port 443 may pass",
            link_symptoms(case, sender, registry),
        )
    return Cause(
        "registry_port",
        f"WireGuard's port {port} is closed in front of {registry.name}: packets do not even get to"
        " it",
        tuple(evidence),
        f"let UDP port {port} in at the firewall in front of {registry.name} (its provider's, or"
        f" its router's), and check wgsd_endpoint of {registry.name}"
        f" ({registry.endpoint or endpoint})",
        link_symptoms(case, sender, registry),
    )


def keepalive(case: Case) -> Causes:
    """A host behind a NAT that lets the NAT forget it."""
    for host in case.peers:
        entry = host.peer(case.registry.key)
        if not entry or entry.get("persistent_keepalive") or not case.is_translated(host):
            continue
        tried = dig(case.registry.alone, "peers", host.name, "small", default={})
        if not tried.get("sent") or tried.get("received"):
            continue
        if not case.reached(host, case.registry):
            continue
        before = case.registry.peer_before(host.key)
        evidence = [
            f"persistent keepalive of {host.name} for {case.registry.name}: off, and"
            f" {host.name} is behind a NAT",
            f"{case.registry.name} has {host.name} at {before.get('endpoint')}, where"
            f" {_number(tried['sent'], 'ping')} got no answer; once {host.name} had sent something,"
            f" pings passed",
        ]
        if before.get("handshake_age") is not None:
            evidence.append(f"their handshake was {age(before['handshake_age'])} old")
        yield Cause(
            "keepalive",
            f"{host.name} sends no keepalive to {case.registry.name}, so its NAT forgets it, and"
            " the endpoint that the zone has for it is of no use",
            tuple(evidence),
            f"inventory: wgsd_keepalive: 25 for {host.name}, then"
            f" ansible-playbook wgsd.mesh.site --limit {host.name}",
            frozenset({BACK + host.name, PAIR}),
        )


def symmetric_nat(case: Case) -> Causes:
    """NATs that give a host another port for each destination."""
    if len(case.peers) < 2 or not is_dead(case, case.a, case.b):
        return
    found = [(host, *mapping(case, host)) for host in case.peers]
    symmetric = [host for host, is_symmetric, _seen in found if is_symmetric]
    if not symmetric:
        return
    names = " and ".join(host.name for host in symmetric)
    if len(symmetric) == 2:
        text = f"the NATs of {names} are both symmetric, and two such cannot be punched"
    else:
        text = f"the NAT of {names} is symmetric, and the other one lets in only what it knows"
    open_one = next((host for host in case.peers if host not in symmetric), symmetric[0])
    port = open_one.interface.get("listen_port", 51820)
    outside = next(iter(sorted(case.translated(open_one))), "PUBLIC ADDRESS")
    remedy = (
        f"forward UDP port {port} to {open_one.name} in its router, and in the inventory give"
        f" {open_one.name} wgsd_endpoint: {outside}:{port}; then ansible-playbook wgsd.mesh.site"
    )
    if _has_no_nat(case, open_one):
        sender = symmetric[0]
        # It can be reached from any port, unless something in front of it keeps packets out; what
        # has got to it was dropped there, which `wires` tells.
        if not case.departures(sender, open_one) or case.arrivals(open_one, sender):
            return
        text = (
            f"the NAT of {names} is symmetric, and a firewall in front of {open_one.name} lets in"
            " only what it knows"
        )
        remedy = f"let UDP port {port} in at the firewall in front of {open_one.name}"
    yield Cause(
        "symmetric_nat",
        text,
        tuple(f"{host.name}: {seen}" for host, _symmetric, seen in found),
        remedy,
        frozenset({PAIR}),
    )


def mapping(case: Case, host: Host) -> tuple[bool | None, str]:
    """Return whether the NAT of a host is symmetric, None if that cannot be told, and why."""
    sources = case.sources(host)
    if len(sources) < 2:
        ports = dig(case.registry.probe, "watched", default=())
        unseen = ", ".join(str(port) for port in ports if port not in sources)
        return (
            None,
            f"could not be told, since nothing came to {case.registry.name} by UDP port"
            + (f" {unseen}" if unseen else "s that it watched"),
        )
    seen = ", ".join(f"port {port} saw {source}" for port, source in sorted(sources.items()))
    told = f"of one socket, {case.registry.name}'s {seen}"
    if len(set(sources.values())) > 1:
        return True, told
    return False, f"no NAT ({told})" if _has_no_nat(case, host) else told


def _has_no_nat(case: Case, host: Host) -> bool:
    """Whether what it sends comes to the registry from an address and a port of its own."""
    sources = set(case.sources(host).values())
    return len(sources) == 1 and address_of(sources.pop()) in host.own


def responder(case: Case) -> Causes:
    """A registry that does not answer for the zone, although its tunnel is up."""
    registry = case.registry
    found = dig(registry.latest, "responder", default={})
    asked = {host: question(host) for host in case.hosts}
    bad = {
        host: asked[host]
        for host in case.peers
        if asked[host] and asked[host].status != "ok" and not is_dead(case, host, registry)
    }
    down = registry.is_examined and found and not found.get("running", True)
    if not bad and not down:
        return
    symptoms = frozenset({PAIR} | {ZONE + host.name for host in bad})
    evidence = [
        f"{host.name} asks {registry.name} for {case.zone}: {_answer(told)}"
        for host, told in bad.items()
    ]
    own = asked.get(registry)
    if own:
        evidence.append(f"{registry.name} asks itself: {_answer(own)}")
    unit = registry.unit("responder")
    if down:
        yield Cause(
            "responder",
            f"the responder on {registry.name} does not run",
            (str(found.get("problem") or f"{unit} is not active"), *evidence),
            f"on {registry.name}: systemctl start {unit}; why it ended: journalctl -u {unit}",
            symptoms,
        )
        return
    kinds: dict[str, list[Host]] = {}
    for host, told in bad.items():
        kinds.setdefault(_KINDS.get(told.status, told.status), []).append(host)
    if list(kinds) == [_SILENT] and own and own.status == "ok":
        evidence.append("pings to it pass through the tunnel")
        evidence += [
            f"nftables: {rule}" for rule in dig(registry.latest, "firewall", default=())[:3]
        ]
        yield Cause(
            "responder",
            f"queries do not get to the responder on {registry.name}: a firewall there drops DNS"
            " from the tunnel",
            tuple(evidence),
            f"inventory: wgsd_firewall: nftables (or ufw, firewalld) for {registry.name}, then"
            f" ansible-playbook wgsd.mesh.site --limit {registry.name}; or by hand there: accept"
            f" port 53 (udp, tcp) from {case.interface_name}",
            symptoms,
        )
        return
    for kind, hosts in kinds.items():
        text, remedy = _bad_answer(case, kind, hosts, len(kinds) == 1)
        yield Cause(
            "responder",
            text,
            tuple(evidence),
            remedy,
            frozenset({PAIR} | {ZONE + host.name for host in hosts}),
        )


#: Kinds of answers that have one cause each; any other status is a kind of its own.
_SILENT, _REFUSED, _SIGNATURE = "silent", "REFUSED", "signature"
_KINDS = {"timeout": _SILENT, "refused": _SILENT, "NOTAUTH": _REFUSED}


def _bad_answer(case: Case, kind: str, hosts: list[Host], is_only: bool) -> tuple[str, str]:
    """Return what is wrong with how the registry answers hosts, and what to do.

    Args:
        is_only: Whether it has bad answers of this kind alone.
    """
    registry = case.registry.name
    look = f"on {registry}: wgsd status, and journalctl -u {case.registry.unit('responder')}"
    if kind == _SIGNATURE:
        owners = " and ".join(f"{host.name}'s" for host in hosts)
        limit = ",".join([*(host.name for host in hosts), registry])
        return (
            f"the responder on {registry} rejects the signature of {owners} queries",
            f"ansible-playbook wgsd.mesh.site --limit {limit}, which gives them one key"
            " (wgsd_client_key); and see that their clocks agree: it takes no query that is"
            " dated five minutes off",
        )
    if kind == _REFUSED:
        return (
            f"the responder on {registry} refuses to answer for {case.zone}",
            f"see that wgsd_zone is the same for all hosts, and whom allow_query on {registry}"
            " lets ask; then ansible-playbook wgsd.mesh.site",
        )
    if kind == _SILENT:
        whom = "" if is_only else f" {' and '.join(host.name for host in hosts)}"
        return f"the responder on {registry} does not answer{whom}", look
    return f"the responder on {registry} answers with: {kind}", look


def _answer(told: t.Any) -> str:
    words = {
        "timeout": "no answer",
        "refused": "nobody listens there",
        "ok": "answered",
        "signature": f"signature rejected ({told.said})",
    }
    text = words.get(told.status, told.status)
    if told.milliseconds is None:
        return text
    return f"{text} {'within' if told.status == 'timeout' else 'in'} {told.milliseconds:.0f} ms"


def client(case: Case) -> Causes:
    """A client that does not do its work: it is off, hangs, or looks elsewhere."""
    for host in case.peers:
        found = dig(host.latest, "client", default={})
        if not found:
            continue
        unit = host.unit("client")
        restart = f"on {host.name}: systemctl restart {unit}; see journalctl -u {unit}"
        site = f"ansible-playbook wgsd.mesh.site --limit {host.name}"
        explains = frozenset({PAIR})
        report = found.get("report") or {}
        state = found.get("process_state")
        if not found.get("running") and not found.get("other_version"):
            evidence = [str(found.get("problem") or f"{unit} is not active")]
            if report.get("age") is not None:
                evidence.append(f"its last report is {age(report['age'])} old")
            yield Cause(
                "client",
                f"the client on {host.name} does not run",
                tuple(evidence),
                restart,
                explains,
            )
            continue
        if state in ("T", "t"):
            yield Cause(
                "client",
                f"the client on {host.name} hangs",
                (
                    f"process {report.get('pid')} is stopped (state {state})",
                    f"its last report is {age(report.get('age') or 0)} old",
                ),
                f"{restart}; or kill -CONT {report.get('pid')}",
                explains,
            )
            continue
        if found.get("other_version"):
            yield Cause(
                "client",
                f"the client on {host.name} is of another version",
                (
                    f"it is {found['other_version']}, this collection is"
                    f" {host.latest.get('version')}",
                ),
                site,
                explains,
            )
        yield from _elsewhere(case, host, report, site, restart, explains)


def _elsewhere(
    case: Case,
    host: Host,
    report: t.Mapping[str, t.Any],
    site: str,
    restart: str,
    explains: frozenset[str],
) -> Causes:
    zone, servers = report.get("zone"), report.get("servers") or []
    if zone and case.zone and zone.lower() != case.zone.lower():
        yield Cause(
            "client",
            f"the client on {host.name} follows another zone",
            (f"it follows {zone}, the mesh is {case.zone}",),
            f"inventory: wgsd_zone: {case.zone} for {host.name}; then {site}",
            explains,
        )
    elif servers and case.registry.address not in {address_of(server) for server in servers}:
        yield Cause(
            "client",
            f"the client on {host.name} asks another registry",
            (f"it asks {', '.join(servers)}, {case.registry.name} is {case.registry.address}",),
            site,
            explains,
        )
    told = dig(host.probe, "zone", default={})
    seen, serial = report.get("serial"), told.get("serial")
    # Each registry has serials of its own; and of one whose zone it has no copy of, the client
    # knows the serial of when it had to ask.
    is_same = bool(told.get("server")) and report.get("follows") == told.get("server")
    if (
        seen is not None
        and serial is not None
        and is_same
        and told.get("status") == "ok"
        and _less(seen, serial)
    ):
        yield Cause(
            "client",
            f"the client on {host.name} hangs: it is behind the zone",
            (
                f"it has serial {seen}, {case.registry.name} serves {serial}",
                f"its last report is {age(report.get('age') or 0)} old",
            ),
            restart,
            explains,
        )


def silence(case: Case) -> Causes:
    """Clients that have tried in vain, and wait for the moment at which both try again.

    Nothing shows meanwhile, so this is no more than a reason to look again.
    """
    found = {
        host: told
        for host, other in ((case.a, case.b), (case.b, case.a))
        if (told := host.silence(other)) is not None
    }
    if not found:
        return
    # Together they try when the later one begins.
    last = max(found.values(), key=lambda told: told.until)
    again = ""
    if last.seconds:
        moment = time.strftime("%H:%M:%S", time.gmtime(last.until))
        again = f" at {moment} UTC, when they try for 20 s; or"
    rest = f"for another {age(last.seconds)}" if last.seconds else "for a minute or so"
    names = " and ".join(host.name for host in found)
    who = f"the clients on {names} have" if len(found) > 1 else f"the client on {names} has"
    are = "are" if len(found) > 1 else "is"
    yield Cause(
        "silence",
        f"{who} tried in vain, and {are} silent {rest} so that routers forget",
        tuple(f"the client on {host.name}: {told.reason}" for host, told in found.items()),
        f"run this again{again} with -e wgsd_doctor_seconds=120, which is longer than any such"
        " silence: what then becomes of their packets shows the cause",
        frozenset({PAIR}),
    )


def not_set(case: Case) -> Causes:
    """An endpoint that the zone has and a client has not set, for no better reason."""
    for host, other in ((case.a, case.b), (case.b, case.a)):
        told, toward = dig(host.probe, "zone", "peers", other.name), host.toward(other)
        is_missing = toward.get("public_key") and not toward.get("endpoint")
        if told and is_missing and host.silence(other) is None:
            yield Cause(
                "client",
                f"the client on {host.name} has not set the endpoint of {other.name}",
                (
                    f"the zone has {other.name} at {told}, and {case.interface_name} of {host.name}"
                    " has no endpoint for it",
                ),
                f"on {host.name}: wgsd status --verbose, and journalctl -u {host.unit('client')}",
                frozenset({PAIR}),
            )


def _less(one: int, other: int) -> bool:
    """Whether a serial is before another one (RFC 1982)."""
    return one != other and (other - one) % 2**32 < 2**31


def large_packets(case: Case) -> Causes:
    """A path that small packets pass, and large ones do not."""
    for near, far in ((case.a, case.b), (case.b, case.a)):
        toward = near.toward(far)
        small, large = toward.get("small") or {}, toward.get("large") or {}
        tried, size = large.get("sent"), large.get("size")
        if not (small.get("received") and tried and size) or large.get("received"):
            continue
        # MTUs are multiples of four by custom.
        passes = (toward.get("largest") or 0) // 4 * 4
        evidence = [
            f"{near.name} to {far.name}: {small['received']} of {small.get('sent')} small pings"
            f" answered, 0 of {tried} of {size} bytes"
        ]
        if passes:
            evidence.append(f"the largest packet that passes has {passes} bytes")
        else:
            passes = 1280
        yield Cause(
            "mtu",
            f"large packets get lost between {near.name} and {far.name}: the MTU of"
            f" {case.interface_name} is too large for the path",
            tuple(evidence),
            f"inventory: wgsd_mtu: {passes} for {case.a.name} and {case.b.name}, then"
            f" ansible-playbook wgsd.mesh.site --limit {case.a.name},{case.b.name}",
            frozenset({LARGE}),
        )
        return


def inside(case: Case) -> Causes:
    """A tunnel that carries packets to a host which does not answer them."""
    for near, far in ((case.a, case.b), (case.b, case.a)):
        if near.answers(far) != 0:
            continue
        leaves = near.toward(far).get("tunnel_route")
        if leaves and leaves != near.interface.get("name"):
            yield Cause(
                "route",
                f"{near.name} sends {far.address}, the address of {far.name}, out by {leaves}",
                (f"ip route get {far.address}: dev {leaves}",),
                f"on {near.name}: remove that route; or"
                f" ansible-playbook wgsd.mesh.site --limit {near.name}",
                frozenset({PAIR}),
            )
    yield from _swallowed(case)


def _swallowed(case: Case) -> Causes:
    """Pings that get through the tunnel, and have no answer.

    Both ping. Who answers sends twice as much as who does not.
    """
    a, b = case.a, case.b
    got = {host: host.moved(other, "rx") or 0 for host, other in ((a, b), (b, a))}
    pings = [dig(x.toward(y), "small", "sent", default=0) for x, y in ((a, b), (b, a))]
    is_carried = a.has_session(b) and b.has_session(a) and all(pings)
    # A ping makes a data packet of 128 bytes, a keepalive is one of 32.
    if case.is_reached is not False or not is_carried or min(got.values()) < 100 * max(pings):
        return
    silent = [host for host, other in ((a, b), (b, a)) if got[host] > 1.5 * got[other]] or [a, b]
    names = " and ".join(host.name for host in silent)
    evidence = [
        f"{host.name} has had {got[host]} bytes of {other.name} by the tunnel meanwhile"
        for host, other in ((a, b), (b, a))
    ]
    evidence += [f"{line} ({host.name})" for host in silent for line in _rules(host)]
    yield Cause(
        "firewall",
        f"the tunnel carries packets both ways, and a firewall on {names} drops what comes by"
        f" {case.interface_name}",
        tuple(evidence),
        f"on {names}: let in what comes by {case.interface_name}",
        frozenset({PAIR}),
    )


def _counted(seen: t.Iterable[t.Mapping[str, t.Any]], kind: str) -> int:
    return sum(one["count"] for one in seen if one["kind"] == kind and one.get("ours") is not False)


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


#: In the order in which they are told when they explain equally much.
ALL = (
    interface,
    clock,
    keys,
    preshared_keys,
    addresses,
    wires,
    responder,
    keepalive,
    client,
    inside,
    symmetric_nat,
    large_packets,
)
