# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The notifier's process: tells followers of each new version of their zone (RFC 1996)."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import selectors
import socket
import time
import typing as t

from ..config import Remote, ResponderSettings
from ..thirdparty import dns
from ..zone import notify, tsig
from ..zone.catalog import Catalog
from ..zone.records import build
from ..zone.version import Content, Record
from . import followers, frames
from .followers import Follower, Followers, Key
from .notices import Lost, Notice, Notices
from .stats import Block, Notifying

log = logging.getLogger(__name__)

#: Seconds between two looks for followers to forget and sockets that nobody needs any more.
TIDY_PERIOD = 10.0
#: Seconds between two dumps of the followers: when there are others, and when they only asked. Who
#: is in no dump when this host dies is not told of changes until it asks again.
DUMP_PERIOD, REFRESH_PERIOD = 0.1, 60.0
#: The same, for each follower: a dump of many takes its time.
DUMP_PERIOD_EACH = 1e-4
#: Datagrams that are taken from a socket before others have their turn.
_TURN = 64
_DATAGRAM_BYTES = 4096
_CONTROL_BYTES = 1 << 16
_NOERROR = 0
#: What says that it is of no use to try again: FORMERR, NOTIMP, REFUSED and NOTAUTH.
_REFUSALS = {1: "FORMERR", 4: "NOTIMP", 5: "REFUSED", 9: "NOTAUTH"}


def configured(settings: ResponderSettings) -> dict[str, tuple[Remote, ...]]:
    """Return the secondaries of the configuration by zone; each zone is there."""
    found = {zone.zone: zone.notify for zone in settings.zones}
    if settings.catalog:
        found[settings.catalog.zone] = settings.catalog.notify
    return found


def usual_sources(settings: ResponderSettings) -> dict[int, str]:
    """Return by family the address that we listen on, where there is just one.

    A secondary takes NOTIFY only from the address that it knows us by.
    """
    found: dict[int, list[str]] = {}
    for endpoint in settings.listen:
        family = socket.AF_INET6 if endpoint.is_ipv6 else socket.AF_INET
        found.setdefault(family, []).append(endpoint.address)
    return {
        family: addresses[0]
        for family, addresses in found.items()
        if len(set(addresses)) == 1 and not ipaddress.ip_address(addresses[0]).is_unspecified
    }


def encode(zone: str, serial: int | None) -> bytes:
    """Return what to send to a notifier when a zone has changed; None: it is not served."""
    return json.dumps((zone, serial)).encode()


class Notifier:
    """Notifies until its supervisor closes the control socket."""

    def __init__(
        self,
        control: socket.socket,
        heard: socket.socket,
        settings: ResponderSettings,
        account: Block[Notifying],
        random_id: t.Callable[[], int],
        monotonic: t.Callable[[], float] = time.monotonic,
        wall: t.Callable[[], float] = time.time,
    ) -> None:
        """Make a notifier that knows the secondaries of the configuration.

        Args:
            control: Brings what `encode` returns in frames, and takes dumps of the followers.
            heard: Brings followers, a datagram each.
            account: Where to count.
            random_id: Returns an unpredictable number of 16 bits.
            monotonic: Seconds.
            wall: Seconds since the epoch.
        """
        self._control = control
        self._heard = heard
        self._keys = settings.keys
        self._catalog = settings.catalog.zone if settings.catalog else None
        self._usual_sources = usual_sources(settings)
        self._account = account
        self._monotonic = monotonic
        self._wall = wall
        self._followers = Followers(configured(settings), monotonic())
        self._notices = Notices(self._followers, random_id)
        self._incoming = bytearray()
        self._messages: dict[str, tuple[dns.name.Name, Record]] = {}
        #: What was sent signed, and its MAC: the same is sent again, so that any acknowledgement
        #: of it is good.
        self._signed: dict[Notice, tuple[bytes, bytes]] = {}
        #: What is wrong with responses that cannot be taken for acknowledgements.
        self._objections: dict[Key, str] = {}
        self._sockets: dict[tuple[int, str], socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._tidy_due = self._dump_due = self._refresh_due = 0.0

    def restore(self, dumped: bytes) -> None:
        """Take up the followers that were dumped by a notifier before this one.

        Raises:
            ValueError: they were not.
        """
        self._followers.restore(dumped, self._monotonic(), self._wall(), self._keys)

    def publish(self, zone: str, serial: int | None) -> None:
        """Have everyone told who follows *zone*; None: it is not served."""
        if serial is not None:
            self._messages[zone] = dns.name.from_text(zone), self._soa(zone, serial)
        self._notices.publish(zone, serial, self._monotonic())

    def run(self) -> None:
        """Notify until the control socket is closed."""
        for sock in (self._control, self._heard):
            self._selector.register(sock, selectors.EVENT_READ)
        try:
            while True:
                wait = self._work(self._monotonic())
                for key, _mask in self._selector.select(wait):
                    if key.fileobj is self._heard:
                        self._take_followers()
                    elif key.fileobj is not self._control:
                        self._take_responses(t.cast("socket.socket", key.fileobj))
                    elif not self._take_versions():
                        return
        finally:
            for sock in self._sockets.values():
                sock.close()
            self._selector.close()

    def _work(self, now: float) -> float:
        """Do what is due and return the seconds until there is more to do."""
        for lost in self._notices.expire(now):
            self._lose(lost, "does not acknowledge")
        for notice in self._notices.due(now):
            self._send(notice)
        if now >= self._tidy_due:
            self._tidy_due = now + TIDY_PERIOD
            self._tidy(now)
        if (self._followers.changed and now >= self._dump_due) or now >= self._refresh_due:
            self._dump_due = now + max(DUMP_PERIOD, len(self._followers) * DUMP_PERIOD_EACH)
            self._refresh_due = now + REFRESH_PERIOD
            # The supervisor always listens, and never waits for us.
            self._control.sendall(frames.frame(self._followers.dump(now, self._wall())))
        self._account.set(Notifying.FOLLOWERS, len(self._followers))
        waits = [self._tidy_due - now, self._notices.wait(now)]
        if self._followers.changed:
            waits.append(self._dump_due - now)
        return max(0.0, min(wait for wait in waits if wait is not None))

    def _take_versions(self) -> bool:
        """Take what the supervisor sends; False if it has closed its end."""
        chunk = b""
        # Whether it has closed the socket or has died comes to the same.
        with contextlib.suppress(ConnectionError):
            chunk = self._control.recv(_CONTROL_BYTES)
        self._incoming += chunk
        while (message := frames.take(self._incoming)) is not None:
            zone, serial = json.loads(message)
            self.publish(zone, serial)
        return bool(chunk)

    def _take_followers(self) -> None:
        for _turn in range(_TURN):
            try:
                message = self._heard.recv(_DATAGRAM_BYTES, socket.MSG_DONTWAIT)
            except OSError:
                return
            self._notices.follow(followers.decode(message), self._monotonic())

    def _take_responses(self, sock: socket.socket) -> None:
        for _turn in range(_TURN):
            try:
                wire, source = sock.recvfrom(_DATAGRAM_BYTES)
            except OSError:
                return
            self._heed(wire, source[0].partition("%")[0], source[1])

    def _heed(self, wire: bytes, address: str, port: int) -> None:
        """Take a response for what it is worth: anyone can send one."""
        try:
            response = notify.read_response(wire)
        except ValueError:
            return
        notice = self._notices.sent(address, port, response.id)
        if notice is None or response.zone != self._messages[notice.follower.zone][0]:
            return
        follower = notice.follower
        if follower.tsig is not None:
            try:
                mac = self._signed[notice][1]
                tsig.check_response(wire, self._keys[follower.tsig], mac, self._wall())
            except ValueError as exc:
                # Perhaps it is forged. If no other one comes, this is what to tell.
                self._objections[follower.key] = str(exc)
                return
        if response.rcode == _NOERROR:
            self._account.add(Notifying.ACKNOWLEDGED)
            self._objections.pop(follower.key, None)
            if self._notices.acknowledge(notice):
                log.info("%s acknowledges changes of %s again", follower, follower.zone)
        elif response.rcode in _REFUSALS:
            lost = self._notices.refuse(notice)
            if lost:
                self._lose(lost, f"answers with {_REFUSALS[response.rcode]}")

    def _lose(self, lost: Lost, why: str) -> None:
        self._account.add(Notifying.FAILED)
        objection = self._objections.pop(lost.follower.key, None)
        if lost.configured and not lost.again:
            log.warning(
                "cannot notify %s of changes of %s: it %s%s; see whether it runs, is a secondary of"
                " the zone, and takes NOTIFY from this address%s",
                lost.follower,
                lost.follower.zone,
                why,
                f" ({objection})" if objection else "",
                " with that key" if lost.follower.tsig else "",
            )

    def _send(self, notice: Notice) -> None:
        """Send it; what cannot be sent is lost, as the network may lose it too."""
        follower = notice.follower
        zone, soa = self._messages[follower.zone]
        if follower.tsig is None:
            wire = notify.request(notice.id, zone, soa)
        elif notice in self._signed:
            wire = self._signed[notice][0]
        else:
            unsigned = notify.request(notice.id, zone, soa)
            signed = tsig.sign_request(unsigned, self._keys[follower.tsig], self._wall())
            wire, self._signed[notice] = signed[0], signed
        self._account.add(Notifying.SENT)
        with contextlib.suppress(OSError):
            self._socket(follower).sendto(wire, (follower.address, follower.port))

    def _socket(self, follower: Follower) -> socket.socket:
        """Return the socket of the address that a follower is to hear from.

        Raises:
            OSError: this host has not that address, or not any more.
        """
        family = socket.AF_INET6 if ":" in follower.address else socket.AF_INET
        local = follower.local or self._usual_sources.get(family, "")
        place = family, local
        sock = self._sockets.get(place)
        if sock is None:
            sock = socket.socket(family, socket.SOCK_DGRAM)
            try:
                sock.setblocking(False)
                sock.bind((local, 0))
            except OSError:
                sock.close()
                raise
            self._sockets[place] = sock
            self._selector.register(sock, selectors.EVENT_READ)
        return sock

    def _tidy(self, now: float) -> None:
        self._followers.forget(now)
        used = self._followers.local_addresses() | set(self._usual_sources.values())
        for place in [place for place in self._sockets if place[1] not in used]:
            sock = self._sockets.pop(place)
            self._selector.unregister(sock)
            sock.close()
        self._signed = {
            notice: signed
            for notice, signed in self._signed.items()
            if self._notices.sent(notice.follower.address, notice.follower.port, notice.id)
            == notice
        }

    def _soa(self, zone: str, serial: int) -> Record:
        """Return the SOA record of *zone*: it depends on nothing else in it."""
        if zone == self._catalog:
            return Catalog(zone, serial, ()).records_at("")[0]
        return build(zone, serial, Content((), {})).records_at("")[0]
