# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BIND and Knot as the servers that a zone is published in."""

from __future__ import annotations

import base64
import contextlib
import os
import pathlib
import re
import signal
import typing as t

import pytest

from wgsd.keys import PublicKey

from .bare import BareLab
from .nameservers import Key, Line, NameServer, folder_of, serving, transfer
from .responder import ALICE, BOB, CAROL, DAVE, PUBLIC, PYTHONS, Bed, Responder

pytestmark = pytest.mark.lab

PREFIX = "wgpu"
THERE = "corp.example."
SERVICE = f"_wireguard._udp.{THERE}"
KEY = Key("update.corp.example.", base64.b64encode(bytes(range(32))).decode())
WRONG = Key(KEY.name, base64.b64encode(bytes(32)).decode())
#: Seconds within which a change must be there: as long as rounds are apart, and some.
FRESH = 2.0

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "examples"
#: What the examples leave to the host, or to the reader, and what it is here.
NAMED_HERE = {
    "/var/cache/bind": folder_of("named"),
    "recursion no;": f"""
    recursion no;
    listen-on {{ {PUBLIC}; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    lock-file none;
    session-keyfile none;
    dnssec-validation no;
    notify no;""",
    "};\noptions {": """};
controls { };
logging { channel what { stderr; severity info; }; category default { what; }; };
options {""",
}
KNOT_HERE = {
    "/var/lib/knot": folder_of("knot"),
    "192.0.2.53@53": f"""{PUBLIC}@53
    rundir: "{folder_of("knot")}"
    user: root
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
log:
  - target: stdout
    any: info""",
}
#: What lets the key transfer the zone, and what does not.
TRANSFERS = {
    "named": ('allow-transfer { key "update.corp.example."; }', "allow-transfer { none; }"),
    "knot": ("[peers, copy]", "peers"),
}
#: A label as zone files of every make can have it.
LEFT = DAVE.label.replace("=", r"\061")
#: What is in the zone beside what is published there; the last two are left over.
OTHERS = f"""
@ 60 SOA ns1 admin 1 60 60 3600 60
@ 60 NS ns1
ns1 60 A {PUBLIC}
www 60 A 192.0.2.80
gone._wireguard._udp 10 CNAME {LEFT}._wireguard._udp
_wireguard._udp 10 PTR {LEFT}._wireguard._udp
"""


@pytest.fixture(scope="module")
def lab() -> t.Iterator[BareLab]:
    with BareLab(PREFIX, ()) as built:
        yield built


@pytest.fixture(params=["newest"])
def bed(lab: BareLab, request: pytest.FixtureRequest, tmp_path: pathlib.Path) -> t.Iterator[Bed]:
    one = Bed(lab, tmp_path, PYTHONS[request.param])
    try:
        yield one
    finally:
        one.close()


def config_of(make: str, changes: t.Mapping[str, str]) -> str:
    """Return the example of a configuration, changed for this host."""
    name, here = {"named": ("bind", NAMED_HERE), "knot": ("knot", KNOT_HERE)}[make]
    text = (EXAMPLES / f"{name}-publish.conf").read_text()
    text = re.sub(r'(secret:? "?)[^"\n;]+', lambda found: found[1] + KEY.secret, text)
    for before, after in {**here, **changes}.items():
        assert before in text
        text = text.replace(before, after)
    return text


@contextlib.contextmanager
def running(
    bed: Bed, make: str, *, without: str = "", transfers: bool = True, fresh: bool = True
) -> t.Iterator[NameServer]:
    """Run a primary server of another zone on the registry's public address.

    Args:
        without: A line to leave out of its configuration.
        fresh: Whether its zone starts anew.
    """
    changes = {without: ""} if without else {}
    if not transfers:
        changes.update([TRANSFERS[make]])
    config = config_of(make, changes)
    folder = bed.host.path(folder_of(make))
    folder.mkdir(exist_ok=True)
    if fresh:
        for old in folder.iterdir():
            if old.is_file():
                old.unlink()
        (folder / "corp.example.zone").write_text(f"$ORIGIN {THERE}\n{OTHERS}")
    with serving(bed.host, make, PUBLIC, config) as server:
        yield server


def start(bed: Bed, key: Key = KEY) -> Responder:
    """Start a responder that publishes its zone."""
    bed.start_device()
    target = {"server": PUBLIC, "zone": THERE, "key": key.name}
    return bed.start(
        zone={"names": {ALICE.base64: "alice"}, "publish": [target]},
        keys={key.name: {"secret": key.secret}},
    )


def published(bed: Bed) -> set[Line]:
    """What is in the zone there at and below the service name, without owner names' zone."""
    return {
        (owner.removesuffix(SERVICE).rstrip("."), rdtype, ttl, data)
        for owner, rdtype, ttl, data in transfer(bed.host, PUBLIC, THERE, KEY)
        if owner.endswith(SERVICE)
    }


def others(bed: Bed) -> set[Line]:
    """What else is in the zone there, but for the SOA, which every update changes."""
    return {
        line
        for line in transfer(bed.host, PUBLIC, THERE, KEY)
        if line[1] != "SOA" and not line[0].endswith(SERVICE)
    }


def lines(*peers: tuple[t.Any, str, int, str, str]) -> set[Line]:
    """What is to be there of peers: key, address, port, allowed IPs and name of each.

    Carol is a member without an endpoint, unless she is among them.
    """
    found: set[Line] = set()
    if CAROL not in (key for key, *_more in peers):
        text = f'"txtvers=1" "pub={CAROL.base64}" "allowed=10.0.0.3/32"'
        found = {(label, "TXT", 10, text) for label in (CAROL.label, CAROL.unpadded_label)}
    for key, address, port, allowed, name in peers:
        target = f"{key.label}.{SERVICE}"
        found.add(("", "PTR", 10, target))
        text = f'"txtvers=1" "pub={key.base64}" "allowed={allowed}"'
        for label in (key.label, key.unpadded_label):
            found.add((label, "SRV", 10, f"0 0 {port} {target}"))
            found.add((label, "AAAA" if ":" in address else "A", 10, address))
            found.add((label, "TXT", 10, text + (f' "name={name}"' if name else "")))
        if name:
            found.add((name, "CNAME", 10, target))
    return found


ALICES = (ALICE, "198.51.100.1", 41414, "10.0.0.1/32,10.1.0.0/24", "alice")
BOBS = (BOB, "2001:db8::b", 51821, "10.0.0.2/32", "")
MAKES = pytest.mark.parametrize(
    ("bed", "make"), [("newest", "named"), ("debian", "knot")], indirect=["bed"]
)


@MAKES
def test_a_server_gets_the_peers_and_loses_what_is_stale(bed: Bed, make: str) -> None:
    with running(bed, make):
        before = others(bed)
        start(bed)
        bed.until(lambda: published(bed) == lines(ALICES, BOBS))
        assert others(bed) == before
        assert (f"www.{THERE}", "A", 60, "192.0.2.80") in before


@MAKES
def test_a_reload_tells_the_server_nothing_that_it_knows(bed: Bed, make: str) -> None:
    with running(bed, make) as server:
        responder = start(bed)
        bed.until(lambda: published(bed) == lines(ALICES, BOBS))
        before, serial = responder.children("publisher"), server.serial(THERE)
        responder.process.send_signal(signal.SIGHUP)
        bed.until(lambda: responder.children("publisher") not in ([], before))
        bed.set(ALICE, "endpoint", "198.51.100.9:9")
        moved = (ALICE, "198.51.100.9", 9, *ALICES[3:])
        bed.until(lambda: published(bed) == lines(moved, BOBS))
        after = server.serial(THERE)
        assert serial
        assert after
        # One update for the change, and none before it.
        assert after == serial + 1


@MAKES
def test_changes_of_the_device_are_there_soon(bed: Bed, make: str) -> None:
    with running(bed, make):
        start(bed)
        bed.until(lambda: published(bed) == lines(ALICES, BOBS))
        bed.set(ALICE, "endpoint", "198.51.100.9:9")
        bed.set(CAROL, "endpoint", "198.51.100.3:3")
        bed.set(BOB, "remove")
        moved = (ALICE, "198.51.100.9", 9, *ALICES[3:])
        carol = (CAROL, "198.51.100.3", 3, "10.0.0.3/32", "")
        bed.until(lambda: published(bed) == lines(moved, carol), FRESH)


@MAKES
def test_a_server_that_forbids_transfers_is_told_by_the_list(bed: Bed, make: str) -> None:
    with running(bed, make, transfers=False) as server:
        responder = start(bed)
        bed.until(lambda: "cannot be transferred" in responder.log)

        def of(name: str, rdtype: str) -> set[str]:
            answer = server.ask(name, rdtype)
            return {str(rdata) for rrset in answer.answer for rdata in rrset} if answer else set()

        targets = {key: f"{key.label}.{SERVICE}" for key in (ALICE, BOB)}
        bed.until(lambda: of(SERVICE, "PTR") == set(targets.values()))
        assert of(targets[ALICE], "SRV") == {f"0 0 41414 {targets[ALICE]}"}


@MAKES
def test_what_changes_while_the_server_is_down_is_there_afterwards(bed: Bed, make: str) -> None:
    with running(bed, make):
        responder = start(bed)
        bed.until(lambda: published(bed) == lines(ALICES, BOBS))
    bed.set(ALICE, "remove")
    bed.until(lambda: "does not answer" in responder.log)
    assert responder.log.count("does not answer") == 1
    with running(bed, make, fresh=False):
        bed.until(lambda: published(bed) == lines(BOBS))
        bed.until(lambda: "takes updates again" in responder.log)
        bed.until(lambda: responder.report["trouble"] == [])


def test_a_publisher_that_is_killed_is_replaced(bed: Bed) -> None:
    with running(bed, "knot"):
        responder = start(bed)
        bed.until(lambda: published(bed) == lines(ALICES, BOBS))
        (before,) = responder.children("publisher")
        os.kill(before, signal.SIGKILL)
        bed.set(BOB, "remove")
        bed.until(lambda: published(bed) == lines(ALICES))
        assert responder.children("publisher") not in ([], [before])


def test_a_wrong_key_is_told_with_the_remedy_while_all_else_goes_on(bed: Bed) -> None:
    with running(bed, "named"):
        responder = start(bed, WRONG)
        bed.until(lambda: "the signature is not good" in responder.log)
        bed.until(lambda: bed.port_of(ALICE) == 41414)
        assert "same name, algorithm and secret" in responder.log
        bed.until(lambda: "the signature is not good" in "".join(responder.report["trouble"]))
        assert KEY.secret not in responder.log
        assert WRONG.secret not in responder.log


def test_bind_that_checks_names_is_told_with_the_remedy(bed: Bed) -> None:
    with running(bed, "named", without="check-names ignore;"):
        responder = start(bed)
        bed.until(lambda: "check-names ignore" in responder.log)


def test_bind_with_its_default_limit_and_many_peers_is_told_with_the_remedy(bed: Bed) -> None:
    with running(bed, "named", without="max-records-per-type 0;"):
        responder = start(bed)
        bed.until(lambda: published(bed) == lines(ALICES, BOBS))
        for number in range(120):
            bed.set(
                PublicKey(bytes([number, *range(31)])), "endpoint", f"198.51.100.{number + 1}:1"
            )
        bed.until(lambda: "max-records-per-type" in responder.log)
