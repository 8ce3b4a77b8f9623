# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The notifier's process: real messages to real sockets, acknowledged by dnspython."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pathlib
import selectors
import signal
import socket
import time
import typing as t

import dns.message
import dns.name
import dns.rcode
import dns.tsig
import pytest

from tests.unit.plugins.module_utils.wgsd.responder.test_crew import status
from wgsd.config import CatalogSettings, Remote, ResponderSettings, TsigKey, ZoneSettings
from wgsd.model import Endpoint
from wgsd.responder import followers, notices, notifier
from wgsd.responder import notification as module
from wgsd.responder.followers import Follower
from wgsd.responder.notification import FILE, HOLD_MAX, Notification
from wgsd.responder.stats import Board, Notifying

pytestmark = pytest.mark.unit

ZONE, CATALOG = "example.com.", "catalog.invalid."
KEY = TsigKey("tsig.", "hmac-sha256", bytes(range(32)))
SECRETS = {dns.name.from_text(KEY.name): dns.tsig.Key(KEY.name, KEY.secret, KEY.algorithm)}


class Secondary:
    """Who is notified: a socket of its own, on an address of the loopback interface."""

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((address, port))
        self.socket.setblocking(False)
        self.address, self.port = self.socket.getsockname()[:2]

    def follower(self, **fields: t.Any) -> Follower:
        return Follower(**{"zone": ZONE, "address": self.address, "port": self.port, **fields})

    def receive(self) -> tuple[dns.message.Message, tuple[t.Any, ...]] | None:
        """Take what is there, and check it if it is signed."""
        try:
            wire, source = self.socket.recvfrom(4096)
        except BlockingIOError:
            return None
        return dns.message.from_wire(wire, keyring=SECRETS), source

    def respond(
        self, request: dns.message.Message, to: tuple[t.Any, ...], rcode: int = dns.rcode.NOERROR
    ) -> None:
        response = dns.message.make_response(request)
        response.set_rcode(rcode)
        self.socket.sendto(response.to_wire(), to)


class Bed:
    """A notifier's process and the loop that a supervisor runs around it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.secondaries: list[Secondary] = []
        self.notification: Notification | None = None
        self.selector = selectors.DefaultSelector()
        self.board = Board.create([ZONE], 1)
        self.serving = True

    def secondary(self, address: str = "127.0.0.1", port: int = 0) -> Secondary:
        self.secondaries.append(Secondary(address, port))
        return self.secondaries[-1]

    def start(
        self, *remotes: Remote, serials: t.Mapping[str, int] | None = None, **settings: t.Any
    ) -> Notification:
        self.notification = Notification(
            ResponderSettings(
                (ZoneSettings(ZONE, "wg0", notify=remotes),),
                keys={KEY.name: KEY},
                state_dir=self.folder,
                **settings,
            ),
            {} if serials is None else serials,
            self.board.notifier,
            self.selector,
            lambda: None,
        )
        return self.notification

    def tell(self, follower: Follower) -> None:
        """Say what a worker says of who has transferred the zone."""
        assert self.notification
        self.notification.told.send(followers.encode(follower))

    def turn(self) -> None:
        assert self.notification
        self.notification.keep(self.serving)
        for key, mask in self.selector.select(0.01):
            key.data.handle(mask)

    def until(self, condition: t.Callable[[], t.Any], patience: float = 10.0) -> t.Any:
        deadline = time.monotonic() + patience
        while not (found := condition()):
            assert time.monotonic() < deadline
            self.turn()
        return found

    def stays(self, condition: t.Callable[[], object], seconds: float) -> bool:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if not condition():
                return False
            self.turn()
        return True

    def figures(self) -> dict[str, int]:
        return {figure.name: self.board.notifier.get(figure) for figure in Notifying}

    def children(self, name: str) -> list[int]:
        """Return the processes of that name."""
        children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        found = []
        for child in children:
            with contextlib.suppress(OSError):
                if pathlib.Path(f"/proc/{child}/comm").read_text() == f"wgsd-{name}\n":
                    found.append(int(child))
        return found

    def pid(self) -> int:
        """Return the notifier's process; 0 while there is none."""
        return next(iter(self.children("notifier")), 0)

    def close(self) -> None:
        if self.notification:
            self.notification.stop()
            self.notification.close()
        for secondary in self.secondaries:
            secondary.socket.close()
        self.selector.close()


@pytest.fixture
def told(capfd: pytest.CaptureFixture[str]) -> t.Iterator[t.Callable[[], str]]:
    """Returns what has been logged, also by other processes."""
    with open(2, "w", closefd=False, encoding="utf-8") as stream:
        handler = logging.StreamHandler(stream)
        logging.getLogger("wgsd").addHandler(handler)
        try:
            yield lambda: capfd.readouterr().err
        finally:
            logging.getLogger("wgsd").removeHandler(handler)


@pytest.fixture
def bed(tmp_path: pathlib.Path) -> t.Iterator[Bed]:
    one = Bed(tmp_path)
    try:
        yield one
    finally:
        one.close()


def remote(secondary: Secondary, key: str | None = None) -> Remote:
    return Remote(Endpoint(secondary.address, secondary.port), key)


def serial_of(message: dns.message.Message) -> int:
    return int(message.answer[0][0].serial)


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_configured_secondary_is_told_of_each_change_until_it_acknowledges(
    bed: Bed, address: str
) -> None:
    secondary = bed.secondary(address)
    notification = bed.start(remote(secondary), serials={ZONE: 7})
    request, source = bed.until(secondary.receive)
    assert serial_of(request) == 7
    again, _source = bed.until(secondary.receive)
    assert again.to_wire() == request.to_wire()
    secondary.respond(again, source)
    bed.until(lambda: bed.figures()["ACKNOWLEDGED"] == 1)
    assert bed.stays(lambda: secondary.receive() is None, notices.WAITS[1] + 0.2)
    notification.publish(ZONE, 8)
    request, source = bed.until(secondary.receive)
    assert serial_of(request) == 8
    secondary.respond(request, source)
    bed.until(lambda: bed.figures()["ACKNOWLEDGED"] == 2)
    assert bed.figures() == {"FOLLOWERS": 1, "SENT": 3, "ACKNOWLEDGED": 2, "FAILED": 0}


@pytest.mark.parametrize(
    ("listen", "source"),
    [
        (["127.0.3.1"], "127.0.3.1"),
        (["127.0.3.1", "::1"], "127.0.3.1"),
        (["127.0.3.1", "127.0.3.2"], "127.0.0.1"),
        (["0.0.0.0"], "127.0.0.1"),
    ],
)
def test_a_configured_secondary_hears_from_the_one_address_that_it_can_know_us_by(
    bed: Bed, listen: list[str], source: str
) -> None:
    secondary = bed.secondary()
    addresses = tuple(Endpoint(address, 53) for address in listen)
    bed.start(remote(secondary), serials={ZONE: 7}, listen=addresses)
    assert bed.until(secondary.receive)[1][0] == source


def test_who_transferred_the_zone_is_told_from_the_address_that_it_asked(bed: Bed) -> None:
    clients = [bed.secondary("127.0.1.1"), bed.secondary("127.0.1.2")]
    notification = bed.start(serials={ZONE: 7})
    for number, client in enumerate(clients):
        bed.tell(client.follower(local=f"127.0.2.{number}"))
    bed.until(lambda: bed.figures()["FOLLOWERS"] == 2)
    notification.publish(ZONE, 8)
    for number, client in enumerate(clients):
        request, source = bed.until(client.receive)
        assert source[0] == f"127.0.2.{number}"
        client.respond(request, source)
    bed.until(lambda: bed.figures()["ACKNOWLEDGED"] >= 2)


def test_a_signed_notification_takes_a_signed_acknowledgement(bed: Bed) -> None:
    secondary = bed.secondary()
    bed.start(remote(secondary, KEY.name), serials={ZONE: 7})
    request, source = bed.until(secondary.receive)
    assert request.had_tsig
    assert request.keyname == dns.name.from_text(KEY.name)
    unsigned = dns.message.make_query(ZONE, "SOA", id=request.id)
    unsigned.set_opcode(request.opcode())
    secondary.respond(unsigned, source)
    again, _source = bed.until(secondary.receive)
    # The very same one, so that the acknowledgement of either is good. (To ask for its wire makes
    # dnspython before 2.8 sign it anew.)
    assert (again.id, again.mac) == (request.id, request.mac)
    assert bed.figures()["ACKNOWLEDGED"] == 0
    secondary.respond(again, source)
    bed.until(lambda: bed.figures()["ACKNOWLEDGED"] == 1)


def test_who_signed_its_transfer_is_told_signed_with_the_same_key(bed: Bed) -> None:
    client = bed.secondary()
    notification = bed.start(serials={ZONE: 7})
    bed.tell(client.follower(local="127.0.0.1", tsig=KEY.name))
    bed.until(lambda: bed.figures()["FOLLOWERS"] == 1)
    notification.publish(ZONE, 8)
    request, source = bed.until(lambda: of_serial(client, 8))
    assert request.keyname == dns.name.from_text(KEY.name)
    client.respond(request, source)
    bed.until(lambda: bed.figures()["ACKNOWLEDGED"] >= 1)


@pytest.mark.parametrize("forged", ["another source", "another id", "another zone", "a request"])
def test_a_forged_acknowledgement_does_not_count(bed: Bed, forged: str) -> None:
    secondary = bed.secondary()
    bed.start(remote(secondary), serials={ZONE: 7})
    request, source = bed.until(secondary.receive)
    response = dns.message.make_response(request)
    sender = secondary
    if forged == "another source":
        sender = bed.secondary()
    elif forged == "another id":
        response.id ^= 1
    elif forged == "another zone":
        response.question[0].name = dns.name.from_text("example.net.")
    else:
        response = request
    sender.socket.sendto(response.to_wire(), source)
    bed.until(secondary.receive)
    assert bed.figures()["ACKNOWLEDGED"] == 0


def test_a_secondary_that_refuses_is_told_in_the_log_and_not_asked_again(
    bed: Bed, told: t.Callable[[], str]
) -> None:
    secondary = bed.secondary()
    bed.start(remote(secondary), serials={ZONE: 7})
    request, source = bed.until(secondary.receive)
    secondary.respond(request, source, dns.rcode.NOTAUTH)
    bed.until(lambda: bed.figures()["FAILED"] == 1)
    assert bed.stays(lambda: secondary.receive() is None, notices.WAITS[0] + 0.2)
    warning = told()
    assert f"cannot notify 127.0.0.1 port {secondary.port} of changes of {ZONE}" in warning
    assert "it answers with NOTAUTH" in warning


def test_who_follows_the_catalog_zone_is_told_its_own_soa(bed: Bed) -> None:
    secondary = bed.secondary()
    catalog = CatalogSettings(CATALOG, notify=(remote(secondary),))
    bed.start(serials={ZONE: 7, CATALOG: 3}, catalog=catalog)
    request, _source = bed.until(secondary.receive)
    assert request.question[0].name == dns.name.from_text(CATALOG)
    assert serial_of(request) == 3
    assert request.answer[0][0].mname == dns.name.from_text("invalid.")


def test_nobody_is_told_before_the_workers_serve_what_is_new(bed: Bed) -> None:
    secondary = bed.secondary()
    bed.serving = False
    notification = bed.start(remote(secondary), serials={ZONE: 7})
    assert bed.stays(lambda: secondary.receive() is None, 0.1)
    bed.serving = True
    request, source = bed.until(secondary.receive)
    secondary.respond(request, source)
    bed.until(lambda: bed.figures()["ACKNOWLEDGED"] == 1)
    bed.serving = False
    notification.publish(ZONE, 8)
    started = time.monotonic()
    request, source = bed.until(secondary.receive)
    assert serial_of(request) == 8
    assert time.monotonic() - started >= HOLD_MAX
    secondary.respond(request, source)


def test_a_notifier_that_dies_is_replaced_by_one_that_knows_all_followers(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "DUMP_PERIOD", 0.05)
    monkeypatch.setattr("wgsd.responder.children.RESTART_PERIOD", 0.1)
    client = bed.secondary()
    notification = bed.start(serials={ZONE: 7})
    bed.tell(client.follower(local="127.0.0.1"))
    kept = bed.folder / FILE
    bed.until(lambda: kept.exists() and json.loads(kept.read_bytes()))
    os.kill(bed.pid(), signal.SIGKILL)
    notification.publish(ZONE, 8)
    request, source = bed.until(lambda: of_serial(client, 8))
    client.respond(request, source)
    bed.until(lambda: bed.figures()["ACKNOWLEDGED"] >= 1)


def of_serial(client: Secondary, serial: int) -> t.Any:
    found = client.receive()
    return found if found and serial_of(found[0]) == serial else None


def test_followers_outlive_a_restart_of_the_responder(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "DUMP_PERIOD", 0.05)
    client = bed.secondary()
    first = bed.start(serials={ZONE: 7})
    bed.tell(client.follower(local="127.0.0.1"))
    kept = bed.folder / FILE
    bed.until(lambda: kept.exists() and json.loads(kept.read_bytes()))
    first.stop()
    first.close()
    bed.start(serials={ZONE: 9})
    bed.until(lambda: of_serial(client, 9))


def test_a_file_that_is_not_ours_is_told_and_left_behind(
    bed: Bed, told: t.Callable[[], str]
) -> None:
    (bed.folder / FILE).write_text("{")
    secondary = bed.secondary()
    bed.start(remote(secondary), serials={ZONE: 7})
    bed.until(secondary.receive)
    assert f"{bed.folder / FILE}: not what was written there" in told()


def test_a_notifier_has_no_rights(bed: Bed) -> None:
    bed.start()
    pid = bed.until(bed.pid)
    bed.until(lambda: int(status(pid)["CapPrm"], 16) == 0)
    assert status(pid)["NoNewPrivs"] == "1"
    assert "0" not in status(pid)["Uid"].split()


def test_an_address_that_this_host_has_not_keeps_nobody_else_waiting(bed: Bed) -> None:
    client, other = bed.secondary("127.0.1.1"), bed.secondary("127.0.1.2")
    notification = bed.start(serials={ZONE: 7})
    bed.tell(client.follower(local="192.0.2.1"))
    bed.tell(other.follower(local="127.0.0.1"))
    bed.until(lambda: bed.figures()["FOLLOWERS"] == 2)
    notification.publish(ZONE, 8)
    bed.until(lambda: of_serial(other, 8))
    assert client.receive() is None


def test_followers_are_written_without_the_supervisor_having_to_wait_for_the_disk(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_PATIENCE", 0.1)
    # Whoever opens it for writing waits for a reader, as one who writes waits for a disk.
    new = bed.folder / f"{FILE}.new"
    os.mkfifo(new)
    notification = bed.start(serials={ZONE: 7})
    for port in (4000, 4001, 4002):
        bed.tell(Follower(ZONE, "127.0.0.1", port, "127.0.0.1"))
        begun = time.monotonic()
        assert bed.stays(lambda: True, 0.3)
        assert time.monotonic() - begun < 1
    assert len(bed.children("keeper")) == 1
    begun = time.monotonic()
    notification.stop()
    assert time.monotonic() - begun < 2
    assert bed.children("keeper") == []


def test_what_has_changed_while_followers_were_written_is_written_next(bed: Bed) -> None:
    new = bed.folder / f"{FILE}.new"
    os.mkfifo(new)
    bed.start(serials={ZONE: 7})
    bed.tell(Follower(ZONE, "127.0.0.1", 4000, "127.0.0.1"))
    bed.until(lambda: bed.children("keeper"))
    bed.tell(Follower(ZONE, "127.0.0.1", 4001, "127.0.0.1"))
    bed.stays(lambda: True, 0.3)
    with new.open("rb") as disk:
        disk.read()
    new.unlink(missing_ok=True)
    written = bed.folder / FILE
    bed.until(lambda: written.is_file() and b"4001" in written.read_bytes())


def test_followers_that_cannot_be_written_are_told_once(
    bed: Bed, told: t.Callable[[], str]
) -> None:
    (bed.folder / FILE).mkdir()
    (bed.folder / FILE / "in the way").touch()
    bed.start(serials={ZONE: 7})
    for port in (4000, 4001):
        bed.tell(Follower(ZONE, "127.0.0.1", port, "127.0.0.1"))
        bed.stays(lambda: True, 0.5)
    assert told().count("Make the folder writable") == 1
