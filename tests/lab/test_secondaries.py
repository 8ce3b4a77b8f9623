# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Knot, BIND, NSD and PowerDNS follow the zone: by transfer, by increment, by notice."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import struct
import subprocess
import time
import typing as t

import pytest

from wgsd.keys import PublicKey
from wgsd.zone import serial

from .bare import BareLab
from .followed import CATALOG, FRESH, KEY, SITES, Followed, port_of
from .nameservers import Key
from .responder import ALICE, BOB, CAROL, PUBLIC, SERVICE, TUNNEL, ZONE, instance

pytestmark = pytest.mark.lab

PREFIX = "wgts"
#: What tells of one incoming transfer of the zone in a server's log: increments, whole zones.
INCREMENTS = {
    "knot": f"[{ZONE}] IXFR, incoming, remote {TUNNEL}@53, finished",
    "named": f"transfer of '{ZONE[:-1]}/IN' from {PUBLIC}#53: got incremental response",
}
WHOLES = {
    "knot": f"[{ZONE}] AXFR, incoming, remote {TUNNEL}@53, finished",
    "named": f"transfer of '{ZONE[:-1]}/IN' from {PUBLIC}#53: got nonincremental response",
}


@pytest.fixture(scope="module")
def followed(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Followed]:
    with BareLab(PREFIX, SITES) as lab, Followed(lab, tmp_path_factory.mktemp("followed")) as one:
        one.start()
        one.wait_same()
        yield one


@contextlib.contextmanager
def crowd(followed: Followed, count: int) -> t.Iterator[list[PublicKey]]:
    """So many more peers on the device, on ports from 4000 on."""
    assert followed.bed.device
    keys = [PublicKey(struct.pack("!H", 1000 + number) * 16) for number in range(count)]
    followed.bed.device.set(
        *(
            word
            for number, key in enumerate(keys)
            for word in ("peer", key.base64, "endpoint", f"198.51.100.100:{4000 + number}")
        )
    )
    try:
        followed.wait("last of them", lambda: followed.bed.port_of(keys[-1]) == 3999 + count)
        yield keys
    finally:
        followed.bed.device.set(*(word for key in keys for word in ("peer", key.base64, "remove")))
        followed.wait("end of them", lambda: followed.bed.port_of(keys[-1]) is None)


def counts(followed: Followed, told: dict[str, str]) -> dict[str, int]:
    """How often the logs of the secondaries have told of something."""
    return {make: followed.servers[make].log.count(line) for make, line in told.items()}


def reload(followed: Followed, **settings: t.Any) -> None:
    """Make the responder take up other settings."""
    followed.responder.configure(**settings)
    followed.responder.process.send_signal(signal.SIGHUP)
    assert "RELOADING" in followed.responder.told()
    followed.responder.wait_ready()


def test_each_secondary_serves_the_zone_record_for_record(followed: Followed) -> None:
    whole = followed.wait_same()
    owners = {owner for owner, rdtype, _ttl, _rdata in whole if rdtype != "TXT"}
    assert {ZONE, SERVICE, instance(ALICE), instance(BOB), f"alice.{SERVICE}"} <= owners
    assert instance(CAROL) not in owners
    assert instance(CAROL) in {owner for owner, _rdtype, _ttl, _rdata in whole}


@pytest.mark.alone
def test_each_secondary_serves_a_moved_peer_within_a_second(followed: Followed) -> None:
    followed.wait_same()
    before, wholes = counts(followed, INCREMENTS), counts(followed, WHOLES)
    delays = []
    for port in range(2000, 2006):
        # Knot and BIND both put off a refresh that comes within a second of the last one.
        time.sleep(1.1)
        delays.append(followed.change(ALICE, port))
    followed.wait_same()
    for make in followed.servers:
        print(make, sorted(round(delay[make], 3) for delay in delays))
    assert max(max(delay.values()) for delay in delays) < FRESH
    assert counts(followed, WHOLES) == wholes
    for make, count in counts(followed, INCREMENTS).items():
        assert count - before[make] >= len(delays)


def test_peers_that_come_and_go_are_followed_too(followed: Followed) -> None:
    followed.bed.set(CAROL, "endpoint", "[2001:db8::c]:3")
    followed.wait("Carol", lambda: followed.bed.port_of(CAROL) == 3)
    followed.wait_same()
    for make, server in followed.servers.items():
        assert port_of(server, CAROL) == 3, make
    followed.bed.set(CAROL, "remove")
    followed.wait("end of Carol", lambda: followed.bed.port_of(CAROL) is None)
    followed.wait_same()
    for make, server in followed.servers.items():
        answer = server.ask(instance(CAROL), "SRV")
        assert answer, make
        assert answer.rcode().name == "NXDOMAIN", make


def test_a_storm_of_changes_makes_few_versions_and_the_same_zone_everywhere(
    followed: Followed,
) -> None:
    followed.wait_same()
    first = followed.serial()
    for port in range(3000, 3100):
        followed.bed.set(ALICE, "endpoint", f"198.51.100.1:{port}")
    followed.wait("last change", lambda: followed.bed.port_of(ALICE) == 3099)
    followed.wait_same()
    last = followed.serial()
    assert first is not None
    assert last is not None
    assert 0 < last - first < 100


def test_bind_takes_more_peers_than_it_does_by_default_where_it_is_told_to(
    followed: Followed,
) -> None:
    with crowd(followed, 120):
        whole = followed.wait_same()
        assert len([line for line in whole if line[:2] == (SERVICE, "PTR")]) > 100


def test_knot_and_nsd_have_all_peers_where_no_message_can_hold_their_list(
    followed: Followed,
) -> None:
    # BIND keeps no more than 64 KB of one type at one name.
    followed.stop("named")
    try:
        with crowd(followed, 1000) as keys:
            for make, server in followed.servers.items():
                followed.wait(f"list at {make}", lambda s=server: port_of(s, keys[-1]) == 4999)
                for number in range(0, len(keys), 50):
                    assert port_of(server, keys[number]) == 4000 + number, make
            listed = [line for line in followed.transfer() if line[:2] == (SERVICE, "PTR")]
            assert sum(len(data) for _owner, _rdtype, _ttl, data in listed) > 65536
    finally:
        followed.follow("named")
    followed.wait_same()


@pytest.mark.alone
def test_powerdns_follows_by_whole_transfers_as_fast_as_it_looks(followed: Followed) -> None:
    """It looks at what it was notified of once a second, and its increments are known to fail."""
    followed.follow("pdns")
    try:
        followed.wait_same()
        delays = [followed.change(ALICE, port)["pdns"] for port in (4500, 4501, 4502)]
        followed.wait_same()
    finally:
        followed.stop("pdns")
    print(f"after {[round(delay, 3) for delay in delays]} s")
    assert max(delays) < FRESH + 1


def test_a_secondary_that_was_away_catches_up_by_increments(followed: Followed) -> None:
    followed.wait_same()
    for make in ("knot", "named"):
        before, wholes = counts(followed, INCREMENTS)[make], counts(followed, WHOLES)[make]
        followed.stop(make)
        for port in (4000, 4001, 4002):
            followed.change(ALICE, port)
        followed.follow(make)
        followed.wait_same()
        assert counts(followed, INCREMENTS)[make] > before
        assert counts(followed, WHOLES)[make] == wholes


@pytest.mark.alone
def test_increments_go_on_after_a_restart_of_the_responder(followed: Followed) -> None:
    followed.wait_same()
    before, wholes = followed.serial(), counts(followed, WHOLES)
    followed.responder.restart()
    followed.responder.wait_ready()
    assert followed.serial() == before
    assert max(followed.change(ALICE, 5000).values()) < FRESH
    followed.wait_same()
    assert counts(followed, WHOLES) == wholes


def lose(journal: pathlib.Path) -> None:
    """Have no journal any more."""
    journal.unlink()


def damage(journal: pathlib.Path) -> None:
    """Have another byte in the middle of the journal."""
    content = bytearray(journal.read_bytes())
    content[len(content) // 2] ^= 1
    journal.write_bytes(content)


@pytest.mark.parametrize("harm", [lose, damage])
def test_a_registry_that_has_lost_its_journal_is_followed_as_before(
    followed: Followed, harm: t.Callable[[pathlib.Path], None]
) -> None:
    followed.wait_same()
    before = followed.serial()
    harm(pathlib.Path(followed.responder.config.parent, f"{ZONE}journal"))
    followed.responder.restart()
    followed.responder.wait_ready()
    followed.wait("zone", lambda: followed.bed.port_of(ALICE))
    followed.change(ALICE, 5001 if harm is lose else 5002)
    followed.wait_same()
    now = followed.serial()
    assert before is not None
    assert now is not None
    assert serial.is_newer(now, before)
    assert ("its serial starts from the clock" in followed.responder.log) is (harm is damage)


def test_secondaries_answer_while_the_registry_is_down(followed: Followed) -> None:
    port = followed.bed.port_of(ALICE)
    for pid in (followed.responder.process.pid, *followed.responder.children()):
        os.kill(pid, signal.SIGSTOP)
    try:
        for make, server in followed.servers.items():
            assert port_of(server, ALICE) == port, make
    finally:
        for pid in (*followed.responder.children(), followed.responder.process.pid):
            os.kill(pid, signal.SIGCONT)


def test_a_zone_of_the_catalog_configures_itself_and_goes_again(followed: Followed) -> None:
    knot, other = followed.servers["knot"], "other.example.com."
    settings = followed.settings()
    zone = settings.pop("zone")
    entry = {"zone": ZONE, "device": "wg0", **zone}
    reload(followed, **settings, zones=[entry, {**entry, "zone": other, "notify": []}])
    followed.wait("zone from the catalog", lambda: knot.serial(other) is not None)
    followed.wait("its peers", lambda: knot.ask(f"_wireguard._udp.{other}", "PTR").answer)
    reload(followed, **followed.settings())
    followed.wait("end of the zone", lambda: knot.serial(other) is None)
    followed.wait_same()


@pytest.mark.parametrize(
    "key", [None, Key(KEY.name, "bm90IHRoZSByaWdodCBzZWNyZXQ="), Key("none.", KEY.secret)]
)
@pytest.mark.parametrize("zone", [ZONE, CATALOG])
def test_nobody_outside_transfers_without_the_key(
    followed: Followed, zone: str, key: Key | None
) -> None:
    signed = ["-y", f"hmac-sha256:{key.name}:{key.secret}"] if key else []
    for rdtype in ("AXFR", "IXFR=1"):
        done = subprocess.run(
            followed.lab.host("named").command(
                ["kdig", f"@{PUBLIC}", *signed, zone, rdtype, "+noall", "+answer", "+timeout=2"]
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "SOA" not in done.stdout
