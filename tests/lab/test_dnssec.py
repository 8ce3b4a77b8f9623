# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A signed zone, validated by unbound, delv and ldns: from the responder and from secondaries."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import subprocess
import time
import typing as t

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import pytest

from wgsd.responder.keys import ANNOUNCED, KeyStore

from .bare import BareHost, BareLab
from .followed import FRESH, SITES, Followed
from .nameservers import Line
from .responder import ALICE, BOB, CAROL, DAVE, SERVICE, TUNNEL, ZONE, instance

pytestmark = pytest.mark.lab

PREFIX = "wgtd"
#: Where the validating resolver listens.
RESOLVER = "127.0.0.11"
UNBOUND = """
server:
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "/run"
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 1
  val-log-level: 2
  interface: {resolver}
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor: "{anchor}"
  harden-below-nxdomain: yes
  aggressive-nsec: {aggressive}
  cache-max-negative-ttl: 1
stub-zone:
  name: {zone}
  stub-addr: {server}
remote-control:
  control-enable: no
"""
#: What the zone has, and what it has not: names and types.
THERE = [
    (ZONE, "SOA"),
    (ZONE, "NS"),
    (ZONE, "DNSKEY"),
    (f"ns1.{ZONE}", "A"),
    (f"_services._dns-sd._udp.{ZONE}", "PTR"),
    (SERVICE, "PTR"),
    (instance(ALICE), "SRV"),
    (instance(ALICE), "A"),
    (instance(ALICE), "TXT"),
    (instance(BOB), "AAAA"),
    (f"{ALICE.unpadded_label}.{SERVICE}", "SRV"),
    (f"alice.{SERVICE}", "SRV"),
]
EMPTY = [(ZONE, "TXT"), (f"_udp.{ZONE}", "A"), (SERVICE, "SRV"), (instance(ALICE), "AAAA")]
EMPTY += [(instance(CAROL), rdtype) for rdtype in ("SRV", "A")]
MISSING = [(instance(DAVE), "SRV"), (f"x.{ZONE}", "A"), (f"x.y.{SERVICE}", "SRV")]


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Followed]:
    with BareLab(PREFIX, SITES) as lab, Followed(lab, tmp_path_factory.mktemp("signed")) as one:
        one.start(dnssec=True)
        one.wait_same()
        yield one


@pytest.fixture(params=["responder", "knot", "named", "nsd"])
def server(followed: Followed, request: pytest.FixtureRequest) -> str:
    """The address of one server of the zone after the other."""
    followed.wait_same()
    return address_of(followed, request.param)


def address_of(followed: Followed, name: str) -> str:
    """Where a server can be asked from Knot's host, in the tunnel."""
    return TUNNEL if name == "responder" else followed.servers[name].address


def store(followed: Followed, later: float = 0) -> KeyStore:
    """The keys of the zone, as seen *later*, in seconds."""
    folder = followed.responder.config.parent
    return KeyStore(folder, ZONE, wall=lambda: time.time() + later)


def anchors(followed: Followed) -> list[str]:
    """The DS records of all keys that sign or will sign, the active one's first."""
    return [f"{ZONE} IN DS {key.ds(ZONE)}" for key in store(followed).read()]


@contextlib.contextmanager
def resolver(
    host: BareHost, server: str, anchor: str, aggressive: str = "no"
) -> t.Iterator[t.Callable[[str, str], dns.message.Message]]:
    """Run unbound on a host, and give what asks it; answers are validated."""
    config = UNBOUND.format(
        resolver=RESOLVER, anchor=anchor, zone=ZONE, server=server, aggressive=aggressive
    )
    host.path("/run/unbound.conf").write_text(config)
    with host.path("/run/unbound.log").open("wb") as log:
        process = host.popen(
            ["unbound", "-d", "-c", "/run/unbound.conf"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )

    def ask(name: str, rdtype: str) -> dns.message.Message:
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        with host.network():
            return dns.query.udp_with_fallback(query, RESOLVER, timeout=5)[0]

    try:
        for _time in range(500):
            # A chaos query is answered without asking anybody.
            query = dns.message.make_query("id.server.", "TXT", "CH")
            with host.network(), contextlib.suppress(OSError, dns.query.BadResponse):
                dns.query.tcp(query, RESOLVER, timeout=1)
                break
            time.sleep(0.01)
        yield ask
    finally:
        process.kill()
        process.wait()
        print(host.path("/run/unbound.log").read_text()[-3000:])


def delv(host: BareHost, server: str, anchor: str, *question: str) -> str:
    """What delv says of an answer, with its trust in one key."""
    owner, _class, _type, tag, algorithm, digest, data = anchor.split()
    written = f'trust-anchors {{ {owner} static-ds {tag} {algorithm} {digest} "{data}"; }};'
    host.path("/run/delv.keys").write_text(written)
    command = ["delv", f"@{server}", "-a", "/run/delv.keys", f"+root={ZONE}", *question]
    done = host.run(command, check=False)
    return done.stdout + done.stderr


def verify(host: BareHost, zone: t.Iterable[Line], anchor: str) -> str:
    """What ldns says of a whole zone."""
    lines = [f"{owner} {ttl} IN {rdtype} {rdata}\n" for owner, rdtype, ttl, rdata in zone]
    # The SOA comes first in a zone file.
    lines.sort(key=lambda line: " IN SOA " not in line)
    host.path("/run/zone").write_text("".join(lines))
    host.path("/run/anchor").write_text(f"{anchor}\n")
    done = host.run(["ldns-verify-zone", "-k", "/run/anchor", "/run/zone"], check=False)
    return done.stdout + done.stderr


def reload(followed: Followed) -> None:
    """Make the responder look at its keys."""
    followed.responder.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in followed.responder.told()
    followed.responder.wait_ready()


def test_unbound_trusts_every_answer_by_the_ds_record(followed: Followed, server: str) -> None:
    (anchor,) = anchors(followed)
    with resolver(followed.lab.host("knot"), server, anchor) as ask:
        for questions, rcode, answered in (
            (THERE, dns.rcode.NOERROR, True),
            (EMPTY, dns.rcode.NOERROR, False),
            (MISSING, dns.rcode.NXDOMAIN, False),
        ):
            for question in questions:
                answer = ask(*question)
                assert answer.rcode() == rcode, (question, answer)
                assert bool(answer.answer) is answered, (question, answer)
                assert answer.flags & dns.flags.AD, (question, answer)


def test_unbound_that_makes_answers_up_from_nsec_makes_up_the_right_ones(
    followed: Followed,
) -> None:
    (anchor,) = anchors(followed)
    with resolver(followed.lab.host("knot"), TUNNEL, anchor, aggressive="yes") as ask:
        for question in [*MISSING, *EMPTY] * 2:
            assert not ask(*question).answer
        for question in THERE:
            assert ask(*question).answer, question


def test_unbound_trusts_nothing_by_another_ds_record(followed: Followed) -> None:
    (anchor,) = anchors(followed)
    *words, data = anchor.split()
    with resolver(followed.lab.host("knot"), TUNNEL, " ".join([*words, "00" * 32])) as ask:
        for question in (THERE[0], THERE[-1], EMPTY[0], MISSING[0]):
            assert ask(*question).rcode() == dns.rcode.SERVFAIL, question
    assert len(data) == 64


def test_delv_trusts_what_is_there_and_what_is_not(followed: Followed, server: str) -> None:
    (anchor,) = anchors(followed)
    host = followed.lab.host("knot")
    assert "; fully validated" in delv(host, server, anchor, instance(ALICE), "SRV")
    assert "; fully validated" in delv(host, server, anchor, SERVICE, "PTR")
    for name, rdtype in (*EMPTY, *MISSING):
        said = delv(host, server, anchor, name, rdtype)
        assert "; negative response, fully validated" in said


def test_ldns_finds_the_zone_whole_and_signed_throughout(followed: Followed) -> None:
    (anchor,) = anchors(followed)
    host = followed.lab.host("knot")
    assert "Zone is verified and complete" in verify(host, followed.wait_same(), anchor)
    for change in (("endpoint", "[2001:db8::c]:3"), ("remove",), ("allowed-ips", "10.0.0.3/32")):
        before = followed.serial()
        followed.bed.set(CAROL, *change)
        followed.wait("next version", lambda before=before: followed.serial() != before)
        assert "Zone is verified and complete" in verify(host, followed.wait_same(), anchor)


def test_kdig_sees_signatures_only_where_it_asks_for_them(followed: Followed) -> None:
    plain = followed.bed.dig("+noall", "+answer", instance(ALICE), "SRV", command="kdig")
    signed = followed.bed.dig(
        "+noall", "+answer", "+dnssec", instance(ALICE), "SRV", command="kdig"
    )
    assert [line.split()[3] for line in plain if line[0] != ";"] == ["SRV"]
    assert [line.split()[3] for line in signed if line[0] != ";"] == ["SRV", "RRSIG"]


@pytest.mark.alone
def test_a_moved_peer_is_signed_anew_and_nothing_else(followed: Followed) -> None:
    before = followed.wait_same()
    time.sleep(1.1)
    assert max(followed.change(ALICE, 6000).values()) < FRESH
    after = followed.wait_same()
    differing = {(owner, rdtype) for owner, rdtype, _ttl, _rdata in before ^ after}
    spelled = {instance(ALICE), f"{ALICE.unpadded_label}.{SERVICE}"}
    signed = {(owner, rdtype) for owner in spelled for rdtype in ("SRV", "RRSIG")}
    assert differing == {(ZONE, "SOA"), (ZONE, "RRSIG"), *signed}


def test_a_private_key_is_roots_alone_and_leaves_the_registry_in_no_answer(
    followed: Followed,
) -> None:
    folder = pathlib.Path(followed.responder.config.parent, "keys")
    pems = list(folder.glob("*.pem"))
    assert [path.stat().st_mode & 0o777 for path in (folder, *pems)] == [0o700, 0o600]
    assert not any("PRIVATE" in rdata for _owner, _rdtype, _ttl, rdata in followed.transfer())


def test_a_rollover_is_validated_by_old_and_new_trust_at_each_step(followed: Followed) -> None:
    """The last test: afterwards the zone has other keys."""
    host = followed.lab.host("knot")

    def trusted(anchor: str) -> bool:
        zone = followed.wait_same()
        said = verify(host, zone, anchor)
        with resolver(host, TUNNEL, anchor) as ask:
            flags = [bool(ask(*question).flags & dns.flags.AD) for question in (*THERE, *MISSING)]
        assert len(set(flags)) == 1, flags
        assert ("Zone is verified and complete" in said) is flags[0], said
        return flags[0]

    (old,) = anchors(followed)
    assert trusted(old)
    store(followed).announce()
    reload(followed)
    assert anchors(followed)[0] == old
    new = anchors(followed)[1]
    followed.wait("successor", lambda: len(followed.bed.ask(ZONE, "DNSKEY").answer[0]) == 2)
    assert (trusted(old), trusted(new)) == (True, True)
    store(followed, ANNOUNCED + 1).promote()
    reload(followed)
    assert anchors(followed)[0] == new
    assert (trusted(old), trusted(new)) == (True, True)
    store(followed, 10 * 86400).forget()
    reload(followed)
    followed.wait("end", lambda: len(followed.bed.ask(ZONE, "DNSKEY").answer[0]) == 1)
    assert (trusted(old), trusted(new)) == (False, True)
