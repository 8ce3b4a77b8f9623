# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Name servers of other makes on lab hosts, as secondaries of a zone: Knot, BIND and NSD.

They come out of Debian's packages, run in the foreground from a configuration made here, and end
with the block that has started them. Everything that they write is in their host's own /run.
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
from .netns import Node
from .unpacked import unpacked

#: Seconds until a server that does not come up is an error.
PATIENCE = 10.0
#: A record of a zone: owner, type, TTL and data, as text.
Line = tuple[str, str, int, str]


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


@dataclasses.dataclass(frozen=True)
class Follow:
    """What a secondary follows, and where it answers.

    Attributes:
        address: Its own, on which it listens.
        primary: The address that it transfers from and that may notify it.
        zones: Those that its configuration names.
        catalog: A catalog zone, whose members it follows as well (Knot only).
        most: Records of one type at one name that it takes (BIND only); None for its default.
    """

    address: str
    primary: str
    zones: tuple[str, ...] = ()
    key: Key | None = None
    catalog: str | None = None
    most: int | None = 0


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
    """The whole zone by AXFR, with TTLs and the SOA, names in lower case.

    :raises dns.xfr.TransferError: the server refuses
    """
    copy = dns.zone.Zone(zone, relativize=False)
    query, _serial = dns.xfr.make_query(copy, keyring=key.ring if key else None)
    with node.network():
        dns.query.inbound_xfr(server, copy, query, timeout=PATIENCE)
    return {
        (
            str(name).lower(),
            dns.rdatatype.to_text(rdataset.rdtype),
            rdataset.ttl,
            rdata.to_text().lower() if rdataset.rdtype == dns.rdatatype.SOA else rdata.to_text(),
        )
        for name, rdataset in copy.iterate_rdatasets()
        for rdata in rdataset
    }


KNOT = """
server:
    rundir: "{folder}"
    user: root
    listen: "{address}@53"
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1
log:
  - target: stdout
    any: info
database:
    storage: "{folder}"
{keys}
remote:
  - id: primary
    address: "{primary}@53"
    {key}
acl:
  - id: primary
    address: "{primary}"
    action: notify
    {key}
  - id: anybody
    address: "0.0.0.0/0"
    action: transfer
template:
  - id: default
    storage: "{folder}"
    master: primary
    acl: [primary, anybody]
zone:
{zones}
"""
# The third level of debugging tells whether a transfer was incremental.
NAMED = """
options {{
    directory "{folder}";
    listen-on {{ {address}; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    lock-file none;
    session-keyfile none;
    recursion no;
    dnssec-validation no;
    notify no;
    allow-transfer {{ any; }};
    {most}
}};
controls {{ }};
logging {{
    channel what {{ stderr; print-time iso8601; severity info; }};
    channel transfers {{ stderr; print-time iso8601; severity debug 3; }};
    category default {{ what; }};
    category lame-servers {{ null; }};
    category xfer-in {{ transfers; }};
}};
{keys}
{zones}
"""
NSD = """
server:
    server-count: 1
    ip-address: {address}
    username: ""
    chroot: ""
    database: ""
    pidfile: ""
    zonesdir: "{folder}"
    xfrdir: "{folder}"
    xfrdfile: "{folder}/xfrd.state"
    zonelistfile: "{folder}/zones.list"
    verbosity: 2
    xfrd-reload-timeout: 0
remote-control:
    control-enable: no
{keys}
{zones}
"""


def knot_config(follow: Follow, folder: str) -> str:
    """Return the configuration of Knot as a secondary."""
    key = follow.key
    zones = [f'  - domain: "{zone}"' for zone in follow.zones]
    if follow.catalog:
        zones.append(
            f'  - domain: "{follow.catalog}"\n'
            "    catalog-role: interpret\n    catalog-template: default"
        )
    return KNOT.format(
        folder=folder,
        address=follow.address,
        primary=follow.primary,
        key=f'key: "{key.name}"' if key else "",
        keys=f'key:\n  - id: "{key.name}"\n    algorithm: hmac-sha256\n    secret: "{key.secret}"'
        if key
        else "",
        zones="\n".join(zones),
    )


def named_config(follow: Follow, folder: str) -> str:
    """Return the configuration of BIND as a secondary."""
    key = follow.key
    signed = f' key "{key.name}"' if key else ""
    return NAMED.format(
        folder=folder,
        address=follow.address,
        most="" if follow.most is None else f"max-records-per-type {follow.most};",
        keys=f'key "{key.name}" {{ algorithm hmac-sha256; secret "{key.secret}"; }};'
        if key
        else "",
        zones="\n".join(
            f'zone "{zone}" {{ type secondary; file "{zone}zone"; '
            f"primaries {{ {follow.primary}{signed}; }}; }};"
            for zone in follow.zones
        ),
    )


def nsd_config(follow: Follow, folder: str) -> str:
    """Return the configuration of NSD as a secondary."""
    key = follow.key
    name = key.name if key else "NOKEY"
    return NSD.format(
        folder=folder,
        address=follow.address,
        keys=f'key:\n    name: "{key.name}"\n    algorithm: hmac-sha256\n    secret: "{key.secret}"'
        if key
        else "",
        zones="\n".join(
            f'zone:\n    name: "{zone}"\n    request-xfr: {follow.primary} {name}\n'
            f"    allow-notify: {follow.primary} {name}\n    provide-xfr: 0.0.0.0/0 NOKEY"
            for zone in follow.zones
        ),
    )


@dataclasses.dataclass(frozen=True)
class Make:
    """How a server is had and started.

    Attributes:
        packages: Those that it comes from, its own first.
        command: Its program and arguments; the path of the configuration is to follow.
    """

    packages: tuple[str, ...]
    command: tuple[str, ...]
    config: t.Callable[[Follow, str], str]


MAKES = {
    "knot": Make(("knot", "libknot13", "libzscanner4", "libdnssec9"), ("knotd", "-c"), knot_config),
    "named": Make(("bind9", "bind9-libs"), ("named", "-f", "-n", "1", "-c"), named_config),
    "nsd": Make(("nsd",), ("nsd", "-d", "-c"), nsd_config),
}


@contextlib.contextmanager
def running(host: BareHost, make: str, follow: Follow) -> t.Iterator[NameServer]:
    """Run a secondary on a host until the block is left; what it had before, it still has."""
    folder = f"/run/{make}"
    host.path(folder).mkdir(exist_ok=True)
    with serving(host, make, follow.address, MAKES[make].config(follow, folder)) as server:
        yield server


@contextlib.contextmanager
def serving(host: BareHost, make: str, address: str, config: str) -> t.Iterator[NameServer]:
    """Run a server with any configuration, and wait until it answers queries to *address*."""
    how = MAKES[make]
    path = f"/run/{make}.conf"
    host.path(path).write_text(config, encoding="utf-8")
    root = unpacked(*how.packages)
    (program,) = root.glob(f"usr/sbin/{how.command[0]}")
    libraries = [str(folder) for folder in root.glob("usr/lib/*-linux-gnu")]
    with _log(host, make).open("ab") as log:
        process = host.popen(
            [str(program), *how.command[1:], path],
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


def _listens(host: Node, address: str) -> bool:
    with host.network(), socket.socket(socket.AF_INET) as tcp:
        return tcp.connect_ex((address, 53)) == 0


def _log(host: Node, make: str) -> pathlib.Path:
    return host.path(f"/run/{make}.log")
