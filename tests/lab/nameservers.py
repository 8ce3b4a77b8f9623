# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Name servers of other makes on lab hosts, with any configuration: Knot, BIND, NSD, PowerDNS.

They come out of Debian's packages, run in the foreground, and end with the block that has started
them. What they write is in their host's own /run.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import pathlib
import socket
import subprocess
import time
import typing as t

import dns.exception
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.xfr
import dns.zone

from .bare import BareHost
from .machine import cache_dir
from .netns import Node
from .unpacked import unpacked

#: Seconds until a server that does not come up is an error.
PATIENCE = 10.0
#: A record of a zone: owner, type, TTL and data, as text.
Line = tuple[str, str, int, str]
#: The packages that a server comes from, its own first, and how it is started. BIND goes with one
#: version of its libraries alone.
MAKES = {
    "knot": (("knot",), ("knotd", "-c", "/run/knot.conf")),
    "named": (("bind9", "bind9-libs"), ("named", "-f", "-n", "1", "-c", "/run/named.conf")),
    "nsd": (("nsd",), ("nsd", "-d", "-c", "/run/nsd.conf")),
    # It is told the folder alone, and would keep a parent that starts it again.
    "pdns": (
        ("pdns-server", "pdns-backend-sqlite3"),
        ("pdns_server", "--config-dir=/run", "--daemon=no", "--guardian=no", "--disable-syslog"),
    ),
}


@dataclasses.dataclass(frozen=True)
class Key:
    """A TSIG key for hmac-sha256.

    Attributes:
        name: Absolute.
        secret: Base64.
    """

    name: str
    secret: str

    @property
    def ring(self) -> dict[dns.name.Name, dns.tsig.Key]:
        """The key as dnspython wants it."""
        name = dns.name.from_text(self.name)
        return {name: dns.tsig.Key(name, self.secret)}


class NameServer:
    """A running server."""

    def __init__(self, host: Node, make: str, address: str, process: subprocess.Popen[t.Any]):
        self.host = host
        self.make = make
        self.address = address
        self.process = process

    @property
    def log(self) -> str:
        """What it has written so far."""
        return _log(self.host, self.make).read_text(errors="replace")

    def ask(self, name: str, rdtype: str) -> dns.message.Message | None:
        """Ask it over UDP; None if it does not answer."""
        return ask(self.host, self.address, name, rdtype)

    def serial(self, zone: str) -> int | None:
        """The serial that it serves; None while it does not serve the zone."""
        return serial_of(self.host, self.address, zone)

    def transfer(self, zone: str) -> set[Line]:
        """The whole zone as it serves it."""
        return transfer(self.host, self.address, zone)

    def stop(self) -> None:
        """End it as a service manager does."""
        self.process.terminate()
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.kill()


def ask(node: Node, server: str, name: str, rdtype: str) -> dns.message.Message | None:
    """Ask a server over UDP from a host; None if there is no answer soon."""
    query = dns.message.make_query(name, rdtype)
    with node.network(), contextlib.suppress(dns.exception.Timeout, OSError):
        return dns.query.udp(query, server, timeout=0.5)
    return None


def serial_of(node: Node, server: str, zone: str) -> int | None:
    """The serial that a server gives with authority; None if it does not."""
    answer = ask(node, server, zone, "SOA")
    if answer is None or answer.rcode() != dns.rcode.NOERROR or not answer.answer:
        return None
    return int(answer.answer[0][0].serial)


def transfer(node: Node, server: str, zone: str, key: Key | None = None) -> set[Line]:
    """The whole zone by AXFR, with the SOA.

    :raises dns.xfr.TransferError: the server refuses
    """
    copy = dns.zone.Zone(zone, relativize=False)
    query, _serial = dns.xfr.make_query(copy, keyring=key.ring if key else None)
    with node.network():
        dns.query.inbound_xfr(server, copy, query, timeout=PATIENCE)
    return {
        (str(name), dns.rdatatype.to_text(rdataset.rdtype), rdataset.ttl, rdata.to_text())
        for name, rdataset in copy.iterate_rdatasets()
        for rdata in rdataset
    }


@contextlib.contextmanager
def serving(host: BareHost, make: str, address: str, config: str) -> t.Iterator[NameServer]:
    """Run a server with any configuration, and wait until it listens on *address*.

    It may keep files in `folder_of` its make.
    """
    name, *arguments = MAKES[make][1]
    host.path(folder_of(make)).mkdir(exist_ok=True)
    host.path(f"/run/{make}.conf").write_text(config, encoding="utf-8")
    root = root_of(make)
    (program,) = root.glob(f"usr/sbin/{name}")
    libraries = [str(folder) for folder in root.glob("usr/lib/*-linux-gnu")]
    with _log(host, make).open("ab") as log:
        process = host.popen(
            [str(program), *arguments],
            env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(libraries)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    server = NameServer(host, make, address, process)
    try:
        deadline = time.monotonic() + PATIENCE
        # By TCP: a port that nobody listens on yet says so at once.
        while not _listens(host, address):
            assert process.poll() is None, server.log
            assert time.monotonic() < deadline, server.log
            time.sleep(0.01)
        yield server
    finally:
        server.stop()
        # Shown by pytest if a test fails.
        print(f"the end of {make}'s log:\n{server.log[-3000:]}")


def root_of(make: str) -> pathlib.Path:
    """Return the folder in which a server is unpacked, with the libraries that are not here."""
    packages = MAKES[make][0]
    if (cache_dir() / packages[0] / "done").exists():
        return unpacked(*packages)
    simulate = ["apt-get", "install", "--simulate", "--no-install-recommends", *packages]
    shown = subprocess.run(simulate, check=True, stdout=subprocess.PIPE, text=True).stdout
    missing = [line.split()[1] for line in shown.splitlines() if line.startswith("Inst ")]
    return unpacked(*dict.fromkeys([*packages, *missing]))


def folder_of(make: str) -> str:
    """Return where a server keeps its zones on its host: what one leaves, the next one has."""
    return f"/run/{make}"


def _listens(host: Node, address: str) -> bool:
    with host.network(), socket.socket(socket.AF_INET) as tcp:
        return tcp.connect_ex((address, 53)) == 0


def _log(host: Node, make: str) -> pathlib.Path:
    return host.path(f"/run/{make}.log")
