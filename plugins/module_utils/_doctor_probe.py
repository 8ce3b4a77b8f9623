# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a host finds out by trying, while others of the mesh do the same.

For some seconds it pings the others through the tunnel, asks the registry for the zone, sends
datagrams to two ports of the registry from one socket, and watches WireGuard's packets meanwhile.

Private to this collection.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import threading
import time
import typing as t

from . import _doctor_survey as survey
from ._doctor_ping import SMALL, Pinger
from ._doctor_wire import Wire
from ._systemd import Run
from .wgsd.config import CONFIG_FOLDER, Instance, TsigKey, load_client
from .wgsd.device import open_device
from .wgsd.directory import Directory, NoAnswerError, SignatureError
from .wgsd.errors import DeviceError, UsageError, WgsdError
from .wgsd.keys import PublicKey
from .wgsd.model import Device, Endpoint, Peer
from .wgsd.plan import holders

Facts = dict[str, t.Any]

#: Seconds between two pings to one address, and two datagrams to one port.
_PING_EVERY, _SEND_EVERY = 1.0, 0.5
#: Seconds from the beginning until the zone is asked for: the tunnel may have to be made first.
_ASK_AFTER = 1.0
_ASK_TIMEOUT, _ASK_RETRIES = 2.0, 1
#: Seconds before the end after which nothing is sent any more.
_LISTEN_LAST = 1.0
_LARGE_PINGS = 3
#: The smallest MTU that every IPv4 path has, less what WireGuard adds.
_SMALLEST = 496
#: Seconds between two reads of the device at the least, and how many times longer than a read that
#: is. A client may start a peer over meanwhile, whose counters are zero then.
_READ_EVERY, _READ_SHARE = 0.5, 20.0
_DEVICE = re.compile(r"\bdev (\S+)")


@dataclasses.dataclass(frozen=True)
class Target:
    """Whom to try to reach.

    Attributes:
        address: In the tunnel.
        public_key: None if nobody knows it; then the device's peer with that address is meant.
    """

    name: str
    address: str
    public_key: PublicKey | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to try.

    Attributes:
        seconds: How long.
        large: Whether packets of the interface's MTU are tried too.
        servers: The zone's DNS servers; none to ask nobody.
        send_to: Ports of the registry for datagrams that show how a NAT maps them.
        watch: Ports that such datagrams of others come to, besides WireGuard's.
        nonce: What they begin with.
    """

    name: str
    interface: str
    seconds: float
    targets: t.Sequence[Target]
    large: bool
    zone: str
    servers: t.Sequence[Endpoint]
    send_to: t.Sequence[Endpoint]
    watch: t.Sequence[int]
    nonce: bytes
    instance: Instance
    salt: bytes


def probe(plan: Plan, run: Run) -> Facts:
    """Try, and return what was found as documented.

    Args:
        run: Runs a command.
    """
    found, device = survey.interface(plan.interface, plan.salt, time.time())
    port = device.listen_port if device else 0
    key = device.public_key if device else None
    tries = {target.name: _Try(target) for target in plan.targets}
    counters = _Counters(plan.interface, device)
    question = _Question(plan)
    pinger = Pinger(plan.interface)
    start = time.time()
    with (
        Wire(port, key, skip=plan.interface, nonce=plan.nonce, watched=plan.watch) as wire,
        _Sender(plan) as sender,
    ):
        deadline = time.monotonic() + plan.seconds
        while (now := time.monotonic()) < deadline:
            elapsed = plan.seconds - (deadline - now)
            if now < deadline - _LISTEN_LAST and device:
                for one in tries.values():
                    one.tick(pinger, now, found["mtu"] if plan.large else 0)
            sender.tick(now)
            counters.tick(now)
            if elapsed >= _ASK_AFTER and device:
                question.start()
            pinger.wait(0.05)
        window = [start, time.time()]
        after, device_after = survey.interface(plan.interface, plan.salt, time.time())
        counters.take(device_after)
    question.wait()
    result = {
        "window": window,
        "wire": wire.seen(),
        "wire_error": wire.error or None,
        "nat": [
            {"name": name, "source": source, "port": to} for name, source, to in sorted(wire.probes)
        ],
        "watched": sorted({port, *plan.watch}) if plan.watch else [],
        "zone": question.answer,
        "peers": {
            name: {
                **one.told(pinger),
                **_endpoints(one.target, device, device_after),
                **counters.grown(_peer(one.target, device_after)),
                **_routes(one.target, device_after, run),
            }
            for name, one in tries.items()
        },
    }
    if plan.large and after.get("mtu"):
        _find_largest(tries, pinger, after["mtu"], result["peers"])
    pinger.close()
    return result


class _Try:
    """The pings to one target."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self._small: list[int] = []
        self._large: list[int] = []
        self._error = ""
        self._size = 0
        self._due = 0.0
        self._large_due = 0.0

    def tick(self, pinger: Pinger, now: float, size: int) -> None:
        """Send what is due; large ones once a small one was answered."""
        if now >= self._due:
            self._due = now + _PING_EVERY
            number, self._error = pinger.send(self.target.address)
            self._small.append(number)
        answered = any(number in pinger.answers for number in self._small)
        if size > SMALL and answered and now >= self._large_due and len(self._large) < _LARGE_PINGS:
            self._size, self._large_due = size, now + _SEND_EVERY
            self._large.append(pinger.send(self.target.address, size)[0])

    def told(self, pinger: Pinger) -> Facts:
        times = [pinger.answers[number] for number in self._small if number in pinger.answers]
        return {
            "address": self.target.address,
            "small": {
                "sent": len(self._small),
                "received": len(times),
                "rtt": round(min(times), 6) if times else None,
                "error": self._error or None,
            },
            "large": {
                "sent": len(self._large),
                "received": sum(number in pinger.answers for number in self._large),
                "size": self._size,
            },
            "largest": None,
        }


def _find_largest(
    tries: t.Mapping[str, _Try], pinger: Pinger, mtu: int, told: dict[str, Facts]
) -> None:
    for name, one in tries.items():
        entry = told[name]
        if not (entry["small"]["received"] and entry["large"]["sent"]):
            continue
        if entry["large"]["received"]:
            continue
        patience = max(0.3, 4 * entry["small"]["rtt"])
        if pinger.passes(one.target.address, _SMALLEST, patience):
            entry["largest"] = pinger.largest(one.target.address, _SMALLEST, mtu, patience)


class _Sender:
    """Sends datagrams from one socket to several ports, so that a NAT shows how it maps them."""

    def __init__(self, plan: Plan) -> None:
        self._to = plan.send_to
        self._payload = plan.nonce + plan.name.encode("utf-8")[:64]
        self._due = 0.0
        self._socket: socket.socket | None = None

    def __enter__(self) -> _Sender:
        if self._to:
            family = socket.AF_INET6 if self._to[0].is_ipv6 else socket.AF_INET
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
        return self

    def __exit__(self, *_: object) -> None:
        if self._socket is not None:
            self._socket.close()

    def tick(self, now: float) -> None:
        if self._socket is None or now < self._due:
            return
        self._due = now + _SEND_EVERY
        for endpoint in self._to:
            # No route, or a firewall: the registry will not see it, which says enough.
            with contextlib.suppress(OSError):
                self._socket.sendto(self._payload, (endpoint.address, endpoint.port))


class _Question:
    """The question for the zone, in a thread of its own, since it may take a while."""

    def __init__(self, plan: Plan) -> None:
        self.answer: Facts | None = None
        self._plan = plan
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread is None and self._plan.servers:
            self._thread = threading.Thread(target=self._ask, daemon=True)
            self._thread.start()

    def wait(self) -> None:
        if self._thread is not None:
            self._thread.join(4 * _ASK_TIMEOUT)

    def _ask(self) -> None:
        plan = self._plan
        began = time.monotonic()
        serial, peers, said = None, {}, None
        try:
            directory = Directory(
                plan.zone,
                plan.servers,
                timeout=_ASK_TIMEOUT,
                retries=_ASK_RETRIES,
                key=_signing_key(plan.instance),
            )
            version = directory.serial()
            taken = time.monotonic() - began
            serial = version.serial if version else None
            status = "ok" if version else "no such zone"
            keys = {one.public_key: one.name for one in plan.targets if one.public_key}
            records = directory.lookup(keys) if version else {}
            peers = {
                name: str(record.endpoint) if (record := records.get(key)) else None
                for key, name in keys.items()
            }
        except NoAnswerError:
            taken = time.monotonic() - began
            status = "refused" if _is_refused(plan.servers[0]) else "timeout"
        except SignatureError as exc:
            taken = time.monotonic() - began
            status, said = "signature", exc.message.rpartition(": ")[2]
        except WgsdError as exc:
            taken = time.monotonic() - began
            status = exc.message.rpartition(": ")[2]
        self.answer = {
            "server": str(plan.servers[0]),
            "status": status,
            "said": said,
            "ms": round(taken * 1e3, 1),
            "serial": serial,
            "peers": peers,
        }


def _signing_key(instance: Instance) -> TsigKey | None:
    """Return the key that the client of this host signs with."""
    try:
        return load_client(CONFIG_FOLDER / instance.config_name).key
    except UsageError:
        return None


def _is_refused(server: Endpoint) -> bool:
    """Whether the server's kernel says that nobody listens."""
    family = socket.AF_INET6 if server.is_ipv6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.settimeout(1.0)
        try:
            sock.connect((server.address, server.port))
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def _peer(target: Target, device: Device | None) -> Peer | None:
    if device is None:
        return None
    if target.public_key is not None and target.public_key in device.peers:
        return device.peers[target.public_key]
    for key in holders(device, [target.address]):
        return device.peers[key]
    return None


def _endpoints(target: Target, before: Device | None, after: Device | None) -> Facts:
    old, new = _peer(target, before), _peer(target, after)
    return {
        "public_key": new.public_key.base64 if new else None,
        "endpoint_before": str(old.endpoint) if old and old.endpoint else None,
        "endpoint": str(new.endpoint) if new and new.endpoint else None,
    }


class _Counters:
    """What the device counts of each peer, from its reads one after the other."""

    def __init__(self, interface: str, device: Device | None) -> None:
        self._interface = interface
        self._last: dict[PublicKey, tuple[int, int]] = {}
        self._grown: dict[PublicKey, tuple[int, int]] = {}
        self._due = time.monotonic() + _READ_EVERY
        if device is not None:
            self._last = {key: _counts(peer) for key, peer in device.peers.items()}

    def tick(self, now: float) -> None:
        """Read the device if that is due."""
        if not self._last or now < self._due:
            return
        with contextlib.suppress(DeviceError), open_device(self._interface) as backend:
            self.take(backend.read())
        done = time.monotonic()
        self._due = done + max(_READ_EVERY, _READ_SHARE * (done - now))

    def take(self, device: Device | None) -> None:
        """Add what was counted since the last read; a counter that went back began at zero."""
        for key, peer in device.peers.items() if device else ():
            before, counts = self._last.get(key, (0, 0)), _counts(peer)
            grown = self._grown.get(key, (0, 0))
            rx, tx = (
                total + (now - then if now >= then else now)
                for total, then, now in zip(grown, before, counts)
            )
            self._last[key], self._grown[key] = counts, (rx, tx)

    def grown(self, peer: Peer | None) -> Facts:
        """Return by how much the counters of a peer have grown in all."""
        rx, tx = self._grown.get(peer.public_key, (None, None)) if peer else (None, None)
        return {"rx": rx, "tx": tx}


def _counts(peer: Peer) -> tuple[int, int]:
    return peer.rx_bytes, peer.tx_bytes


def _routes(target: Target, device: Device | None, run: Run) -> Facts:
    peer = _peer(target, device)
    endpoint = peer.endpoint if peer else None
    mark = ["mark", str(device.fwmark)] if device and device.fwmark else []
    route = None
    if endpoint is not None:
        code, output, _errors = run(["ip", "route", "get", endpoint.address, *mark])
        route = output.splitlines()[0].strip() if code == 0 and output.strip() else None
    code, output, _errors = run(["ip", "route", "get", target.address])
    leaves = _DEVICE.search(output) if code == 0 else None
    return {"route": route, "tunnel_route": leaves.group(1) if leaves else None}
