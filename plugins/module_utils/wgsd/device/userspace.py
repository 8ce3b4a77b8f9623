# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Userspace WireGuard (wireguard-go, boringtun) through its text protocol on a Unix socket.

The protocol is the one of https://www.wireguard.com/xplatform/.
"""

from __future__ import annotations

import binascii
import errno
import hashlib
import os
import pathlib
import re
import socket
import time
import typing as t

from ..errors import DeviceError, SlowDeviceError, UsageError
from ..keys import KEY_BYTES, PublicKey
from ..model import Device, Endpoint, Peer, PeerChange
from . import addresses, base, x25519
from .memory import Counters, PeerMemory

SOCKET_FOLDER = pathlib.Path("/var/run/wireguard")
#: Seconds that a device has for one whole operation; a loaded one was seen to take 3.5 s.
TIMEOUT = 10.0

_RECEIVE_BYTES = 1 << 18
_PEER_START = b"\npublic_key="
_HEX_KEY = 2 * KEY_BYTES
#: The lines that traffic changes, as wireguard-go orders them.
_COUNTERS = re.compile(
    rb"\nlast_handshake_time_sec=(\d+)\nlast_handshake_time_nsec=(\d+)"
    rb"\ntx_bytes=(\d+)\nrx_bytes=(\d+)\n"
)
_ZONE = re.compile(rb"%([^]\n]*)\]")


class UserspaceBackend:
    """A device of a userspace implementation; each operation is one connection to its socket.

    Raises:
        NoDeviceError: nobody listens on the socket.
        DeviceError: the socket cannot be reached.
    """

    kind = "userspace"

    def __init__(
        self,
        name: str,
        *,
        folder: pathlib.Path = SOCKET_FOLDER,
        timeout: float = TIMEOUT,
        patience: float | None = None,
    ) -> None:
        """Open the device.

        Args:
            timeout: Seconds for one whole operation.
            patience: Seconds without a sign of the device after which `read` raises
                `SlowDeviceError`; called again, it goes on without waiting. None: it waits.
        """
        self._name = name
        self._path = folder / f"{name}.sock"
        self._timeout = timeout
        self._patience = patience
        #: What `read` has asked for and not got yet.
        self._pending: _Request | None = None
        # The public key, found by a digest of the private key, which is not kept.
        self._known_key: tuple[bytes, PublicKey] | None = None
        self._memory = PeerMemory(parse_peer, counters)
        self._connect().close()

    def read(self) -> Device:
        """Take a snapshot. See `base.Backend.read`."""
        reply = self._read_reply()
        try:
            return self._parse(reply)
        except (ValueError, OverflowError, UsageError) as exc:
            # The cause is left out of the traceback: it may hold the line with the private key.
            raise self._garbage(str(exc) if isinstance(exc, _BadReplyError) else "") from None

    def apply(self, changes: t.Sequence[PeerChange]) -> None:
        """Change peers in one operation. See `base.Backend.apply`."""
        base.check_distinct(changes)
        if not changes:
            return
        # Debian's wireguard-go (2022) sends a keepalive to every peer that comes in a set after
        # one whose keepalive was switched on. For a peer without an endpoint this burns the only
        # handshake initiation of the next 5 s, so those that are to send one anyway come last.
        # After them only removals: an allowed IP passes to another peer before its holder goes.
        ordered = sorted(changes, key=lambda c: (c.remove, bool(c.persistent_keepalive)))
        lines = ["set=1"]
        for change in ordered:
            lines += _change_lines(change)
        self._exchange("\n".join(lines) + "\n\n")

    def configure(
        self,
        *,
        private_key: bytes | None = None,
        listen_port: int | None = None,
        fwmark: int | None = None,
    ) -> None:
        """Change the interface itself. See `base.Backend.configure`."""
        lines = ["set=1"]
        if private_key is not None:
            lines.append(f"private_key={private_key.hex()}")
        if listen_port is not None:
            lines.append(f"listen_port={listen_port}")
        if fwmark is not None:
            lines.append(f"fwmark={fwmark}")
        if len(lines) > 1:
            self._exchange("\n".join(lines) + "\n\n")

    def close(self) -> None:
        """Forget the peers with their keys, and what has been asked for."""
        self._drop_pending()
        self._memory.forget()

    def __enter__(self) -> UserspaceBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout)
        try:
            connection.connect(os.fspath(self._path))
        except OSError as exc:
            connection.close()
            if exc.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTDIR):
                raise base.no_device(self._name) from None
            raise self._failure("cannot be reached", exc) from None
        return connection

    def _exchange(self, request: str) -> bytes:
        """Send *request* and return its reply, as `_receive` does."""
        asked = self._ask(request)
        with asked.connection:
            return self._receive(asked, None)

    def _read_reply(self) -> bytes:
        first, patience = self._patience, self._patience
        if self._pending is None:
            self._pending = self._ask("get=1\n\n")
        elif patience is not None:
            first = 0.0
        try:
            reply = self._receive(self._pending, patience, first)
        except SlowDeviceError:
            raise
        except DeviceError:
            self._drop_pending()
            raise
        self._drop_pending()
        return reply

    def _drop_pending(self) -> None:
        if self._pending is not None:
            self._pending.connection.close()
        self._pending = None

    def _ask(self, request: str) -> _Request:
        deadline = time.monotonic() + self._timeout
        connection = self._connect()
        try:
            connection.sendall(request.encode("ascii"))
        except OSError as exc:
            connection.close()
            raise self._broken(exc) from None
        return _Request(connection, deadline)

    def _receive(
        self, request: _Request, patience: float | None, first: float | None = None
    ) -> bytes:
        """Return the reply's lines without the last one, ``errno=0``.

        Each line has its newline in front, so that a peer always starts in the same way.

        Args:
            patience: Seconds that it may be silent; None for all that are left to it.
            first: The same, before its first part.
        """
        connection, reply = request.connection, request.reply
        wait = first
        try:
            # The connection stays open for more requests: an empty line ends the reply.
            while not reply.endswith(b"\n\n"):
                left = request.deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                connection.settimeout(left if wait is None else min(left, wait))
                size = connection.recv_into(request.buffer)
                if not size:
                    raise self._garbage("it ends in the middle")
                reply += request.buffer[:size]
                wait = patience
        except OSError as exc:
            is_silent = isinstance(exc, (BlockingIOError, socket.timeout, TimeoutError))
            if is_silent and patience is not None and time.monotonic() < request.deadline:
                raise SlowDeviceError(f"the device {self._name} has not replied yet") from None
            if is_silent:
                raise self._failure("gives no reply", TimeoutError()) from None
            raise self._broken(exc) from None
        end = reply.rfind(b"\n", 0, -2)
        name, _equals, value = reply[end + 1 : -2].partition(b"=")
        if name != b"errno" or not value.lstrip(b"-").isdigit():
            raise self._garbage("it has no errno= at its end")
        # The protocol has positive and wireguard-go negative numbers.
        code = abs(int(value))
        if code:
            raise _refusal(self._name, code)
        return bytes(memoryview(reply)[:end])

    def _broken(self, exc: OSError) -> DeviceError:
        if isinstance(exc, (ConnectionResetError, BrokenPipeError)):
            return base.no_device(self._name)
        return self._failure("gives no reply", exc)

    def _parse(self, reply: bytes) -> Device:
        if b"%" in reply:
            reply = _with_scope_ids(reply)
        head, *descriptions = reply.split(_PEER_START)
        keys = [binascii.unhexlify(description[:_HEX_KEY]) for description in descriptions]
        top = dict(_fields(head))
        return Device(
            name=self._name,
            public_key=self._public_key(top),
            listen_port=int(top.get("listen_port", 0)),
            fwmark=int(top.get("fwmark", 0)),
            peers=self._memory.peers(dict(zip(keys, descriptions))),
        )

    def _public_key(self, top: t.Mapping[str, str]) -> PublicKey | None:
        # boringtun tells the public key itself.
        if "own_public_key" in top:
            return PublicKey.from_hex(top["own_public_key"])
        private_key = _secret(top.get("private_key", ""))
        if private_key is None:
            return None
        digest = hashlib.sha256(private_key).digest()
        if self._known_key is None or self._known_key[0] != digest:
            self._known_key = (digest, x25519.public_key(private_key))
        return self._known_key[1]

    def _garbage(self, detail: str) -> DeviceError:
        return DeviceError(
            f"{self._path}: the reply of {self._name} cannot be understood"
            + (f": {detail}" if detail else ""),
            f"see whether 'wg show {self._name}' can read the device; if not, restart it",
        )

    def _failure(self, what: str, exc: OSError) -> DeviceError:
        if exc.errno in (errno.EACCES, errno.EPERM):
            remedy = "run as root, or with the capability CAP_DAC_OVERRIDE"
        else:
            remedy = "see whether its WireGuard process still works"
        reason = exc.strerror or f"no answer within {self._timeout:g} s"
        return DeviceError(f"{self._path}: the device {self._name} {what}: {reason}", remedy)


class _Request:
    """One request and what has come of its reply.

    Attributes:
        deadline: When it is given up, in the monotonic clock's seconds.
    """

    def __init__(self, connection: socket.socket, deadline: float) -> None:
        self.connection = connection
        self.deadline = deadline
        self.reply = bytearray(b"\n")
        self.buffer = memoryview(bytearray(_RECEIVE_BYTES))


class _BadReplyError(ValueError):
    """A reply against the protocol; its message holds nothing of the reply's values."""


def _refusal(name: str, code: int) -> DeviceError:
    if code == errno.EADDRINUSE:
        remedy = "another program has the listen port: give another one"
    else:
        remedy = "see the log of its WireGuard process"
    return DeviceError(f"{name}: the device refuses: {os.strerror(code)} (errno {code})", remedy)


def _change_lines(change: PeerChange) -> t.Iterator[str]:
    key_line = f"public_key={change.public_key.hex()}"
    yield key_line
    if change.remove or change.fresh:
        yield "remove=true"
        if change.remove:
            return
        yield key_line
    elif not change.create:
        yield "update_only=true"
    if change.preshared_key is not None:
        yield f"preshared_key={change.preshared_key.hex()}"
    if change.endpoint is not None:
        yield f"endpoint={change.endpoint}"
    if change.allowed_ips is not None:
        yield "replace_allowed_ips=true"
        for block in change.allowed_ips:
            yield f"allowed_ip={block}"
    # After the endpoint: some versions send the first keepalive as they read the line.
    if change.persistent_keepalive is not None:
        yield f"persistent_keepalive_interval={change.persistent_keepalive}"


def _fields(lines: bytes) -> t.Iterator[tuple[str, str]]:
    """Split lines, each with its newline in front, into names and values."""
    try:
        text = lines.decode("ascii")
    except UnicodeDecodeError:
        raise _BadReplyError("it is not text") from None
    for line in text.split("\n")[1:]:
        name, equals, value = line.partition("=")
        if not equals:
            raise _BadReplyError("a line of it is not of the form name=value")
        yield name, value


def parse_peer(description: bytes) -> Peer:
    """Make a peer of what follows `_PEER_START`: its key in hex, and its other lines."""
    key, newline, lines = description.partition(b"\n")
    allowed: list[str] = []
    fields: dict[str, str] = {}
    for name, value in _fields(newline + lines):
        if name == "allowed_ip":
            allowed.append(_network(value))
        else:
            fields[name] = value
    endpoint = fields.get("endpoint")
    return Peer(
        public_key=PublicKey.from_hex(key.decode("ascii", "replace")),
        endpoint=None if endpoint is None else _endpoint(endpoint),
        allowed_ips=tuple(allowed),
        last_handshake=int(fields.get("last_handshake_time_sec", 0))
        + int(fields.get("last_handshake_time_nsec", 0)) / 1e9,
        rx_bytes=int(fields.get("rx_bytes", 0)),
        tx_bytes=int(fields.get("tx_bytes", 0)),
        persistent_keepalive=int(fields.get("persistent_keepalive_interval", 0)),
        preshared_key=_secret(fields.get("preshared_key", "")),
    )


def counters(description: bytes, earlier: bytes) -> Counters | None:
    """Return the counters of *description* if it and *earlier* differ in nothing else."""
    new, old = _COUNTERS.search(description), _COUNTERS.search(earlier)
    if (
        new is None
        or old is None
        or description[: new.start()] != earlier[: old.start()]
        or description[new.end() :] != earlier[old.end() :]
    ):
        return None
    seconds, nanoseconds, tx_bytes, rx_bytes = map(int, new.groups())
    return Counters(seconds + nanoseconds / 1e9, rx_bytes, tx_bytes)


def _secret(text: str) -> bytes | None:
    """Read a private or preshared key; all zeros stand for none."""
    raw = bytes.fromhex(text)
    if raw and len(raw) != KEY_BYTES:
        raise _BadReplyError(f"it has a key of {len(raw)} bytes")
    return raw if raw.strip(b"\0") else None


def _network(text: str) -> str:
    host, _slash, length = text.partition("/")
    return addresses.network(_packed(host), int(length))


def _endpoint(text: str) -> Endpoint:
    host, _colon, port = text.rpartition(":")
    host, _percent, scope_id = host.strip("[]").partition("%")
    return addresses.endpoint(_packed(host), int(port), int(scope_id or 0))


def _packed(host: str) -> bytes:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.inet_pton(family, host)
    except OSError:
        raise _BadReplyError("it has an address that is none") from None


def _with_scope_ids(reply: bytes) -> bytes:
    """Put interface indexes in the place of the names in zones of link-local addresses.

    What a name stands for may change between reads, and the same text must mean the same peer.
    """
    known: dict[bytes, bytes] = {}

    def replacement(match: re.Match[bytes]) -> bytes:
        zone = match[1]
        if zone not in known:
            known[zone] = b"%%%d]" % _scope_id(zone)
        return known[zone]

    return _ZONE.sub(replacement, reply)


def _scope_id(zone: bytes) -> int:
    """Turn the zone of a link-local address, an index or a name, into an interface index."""
    if zone.isdigit():
        return int(zone)
    try:
        return socket.if_nametoindex(os.fsdecode(zone))
    except OSError:
        # The interface went away after the packet came in: no zone of ours can say where.
        return 0
