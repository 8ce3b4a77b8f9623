# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WireGuard of the kernel through generic netlink."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import typing as t

from ..errors import DeviceError
from ..keys import PublicKey
from ..model import Device, PeerChange
from . import base, netlink, wire
from .memory import PeerMemory

#: How often a read that the device's changes spoil is tried.
DUMP_ATTEMPTS = 10


def has_wireguard() -> bool:
    """Whether the kernel has WireGuard. To ask makes it load the module, if there is one."""
    try:
        netlink.GenericSocket(wire.FAMILY).close()
    except (OSError, ValueError):
        return False
    return True


class KernelBackend:
    """A device of the kernel.

    A netlink socket, of the network namespace that the thread was in when it was opened, serves all
    operations until one fails.

    Raises:
        NoDeviceError: there is no interface of that name.
        DeviceError: it is not WireGuard, or may not be read.
    """

    kind = "kernel"

    def __init__(self, name: str) -> None:
        self._name = name
        self._memory = PeerMemory(wire.parse_peer, wire.counters)
        self._socket: netlink.GenericSocket | None = None
        try:
            socket.if_nametoindex(name)
        except OSError:
            raise base.no_device(name) from None
        # The first message of a dump tells whether there will be more, whatever the device's size.
        with self._connection() as connection, contextlib.suppress(netlink.DumpInterrupted):
            next(connection.dump(wire.CMD_GET_DEVICE, wire.get_request(name)), None)
        # The rest of the dump is in the socket.
        self._hang_up()

    def read(self) -> Device:
        """Take a snapshot. See `base.Backend.read`."""
        for _attempt in range(DUMP_ATTEMPTS):
            snapshot = wire.Snapshot(self._name, self._memory)
            with contextlib.suppress(netlink.DumpInterrupted), self._connection() as connection:
                for message in connection.dump(wire.CMD_GET_DEVICE, wire.get_request(self._name)):
                    snapshot.add(message)
                return snapshot.device()
        raise DeviceError(
            f"{self._name}: the device was changed during each of {DUMP_ATTEMPTS} reads",
            "find out what changes it all the time, or try again later",
        )

    def apply(self, changes: t.Sequence[PeerChange]) -> None:
        """Change peers; up to some 200 fit one operation. See `base.Backend.apply`."""
        base.check_distinct(changes)
        if not changes:
            return
        requests = list(wire.change_requests(self._name, changes))
        with self._connection() as connection:
            for request in requests:
                with self._errors(request.peers):
                    connection.request(wire.CMD_SET_DEVICE, request.attributes)

    def configure(
        self,
        *,
        private_key: bytes | None = None,
        listen_port: int | None = None,
        fwmark: int | None = None,
    ) -> None:
        """Change the interface itself. See `base.Backend.configure`."""
        if private_key is None and listen_port is None and fwmark is None:
            return
        request = wire.device_request(self._name, private_key, listen_port, fwmark)
        with self._connection() as connection:
            connection.request(wire.CMD_SET_DEVICE, request)

    def close(self) -> None:
        """Close the socket and forget the peers with their keys."""
        self._hang_up()
        self._memory.forget()

    def __enter__(self) -> KernelBackend:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _connection(self) -> t.Iterator[netlink.GenericSocket]:
        """Lend the socket, and do not use it again if the block fails: more may be in it."""
        try:
            with self._errors():
                if self._socket is None:
                    self._socket = netlink.GenericSocket(wire.FAMILY)
                yield self._socket
        except BaseException:
            self._hang_up()
            raise

    def _hang_up(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    @contextlib.contextmanager
    def _errors(self, peers: t.Sequence[PublicKey] = ()) -> t.Iterator[None]:
        """Turn the kernel's errors into ours, naming the peer if only one is concerned."""
        try:
            yield
        except ValueError as exc:
            raise DeviceError(
                f"{self._name}: the kernel's answer cannot be understood: {exc}",
                "report this, with the version of the kernel",
            ) from None
        except OSError as exc:
            peer = f" for the peer {peers[0]}" if len(peers) == 1 else ""
            raise _error(self._name, exc, peer) from None


def _error(name: str, exc: OSError, peer: str) -> DeviceError:
    code = exc.errno
    if code in (errno.ENODEV, errno.ENXIO):
        return base.no_device(name)
    if code in (errno.EPERM, errno.EACCES):
        return DeviceError(
            f"{name}: the kernel does not let this process use WireGuard",
            "run as root, or with the capability CAP_NET_ADMIN",
        )
    if code == errno.EOPNOTSUPP:
        return DeviceError(
            f"{name} is an interface, but not a WireGuard one of the kernel",
            "give the name of a WireGuard interface; 'wg show interfaces' lists them",
        )
    if code == errno.ENOENT:
        return DeviceError(
            f"{name}: this kernel has no WireGuard",
            "load it with 'modprobe wireguard', or install wireguard-go and bring the device up",
        )
    if code == errno.EADDRINUSE:
        return DeviceError(
            f"{name}: the listen port is in use", "give another port, or stop who has it"
        )
    reason = os.strerror(code) if code else f"no answer within {netlink.TIMEOUT:g} s"
    return DeviceError(f"{name}: the kernel refuses the operation{peer}: {reason}", "see 'dmesg'")
