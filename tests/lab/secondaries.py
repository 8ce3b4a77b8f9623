# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Knot, BIND, NSD and PowerDNS as secondaries: their configurations from one description."""

from __future__ import annotations

import contextlib
import dataclasses
import sqlite3
import typing as t

from .bare import BareHost
from .nameservers import Key, NameServer, folder_of, root_of, serving


@dataclasses.dataclass(frozen=True)
class Follow:
    """What a secondary follows, and where it answers.

    Attributes:
        address: Its own, on which it listens.
        primary: The address that it transfers from and that may notify it.
        zones: Those that its configuration names.
        catalog: A catalog zone, whose members it follows as well (Knot only).
    """

    address: str
    primary: str
    zones: tuple[str, ...] = ()
    key: Key | None = None
    catalog: str | None = None


KNOT = """
server:
    rundir: "{folder}"
    user: root
    listen: "{address}@53"
    udp-workers: 1
    tcp-workers: 2
    # In milliseconds: the tests read its transfers, and are not as quick as a server.
    tcp-io-timeout: 5000
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
    check-names secondary ignore;
    max-records-per-type 0;
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
# Names with "=" are queries of 8 bits to it, and its caches outlive a transfer.
PDNS = """
launch=gsqlite3
gsqlite3-database={folder}/zones
gsqlite3-dnssec=yes
module-dir={modules}
local-address={address}
socket-dir={folder}
security-poll-suffix=
secondary=yes
allow-axfr-ips=0.0.0.0/0
8bit-dns=yes
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
loglevel=6
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


def pdns_config(follow: Follow, folder: str) -> str:
    """Return the configuration of PowerDNS, which has what it follows in a database."""
    (backend,) = root_of("pdns").glob("usr/lib/*/pdns/libgsqlite3backend.so")
    return PDNS.format(folder=folder, address=follow.address, modules=backend.parent)


def pdns_database(follow: Follow) -> bytes:
    """Return PowerDNS's database as it is before the first transfer."""
    (schema,) = root_of("pdns").glob("usr/share/*/schema/schema.sqlite3.sql")
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(schema.read_text(encoding="utf-8"))
        for number, zone in enumerate(follow.zones, 1):
            database.execute(
                "INSERT INTO domains (id, name, type, master) VALUES (?, ?, 'SLAVE', ?)",
                (number, zone.rstrip("."), follow.primary),
            )
            if follow.key:
                name = follow.key.name.rstrip(".")
                database.execute(
                    "INSERT OR IGNORE INTO tsigkeys (name, algorithm, secret) VALUES (?, ?, ?)",
                    (name, "hmac-sha256", follow.key.secret),
                )
                database.execute(
                    "INSERT INTO domainmetadata (domain_id, kind, content) VALUES (?, ?, ?)",
                    (number, "AXFR-MASTER-TSIG", name),
                )
        database.commit()
        return database.serialize()


CONFIGS = {"knot": knot_config, "named": named_config, "nsd": nsd_config, "pdns": pdns_config}


@contextlib.contextmanager
def running(host: BareHost, make: str, follow: Follow) -> t.Iterator[NameServer]:
    """Run a secondary on a host until the block is left; what it had before, it still has."""
    config = CONFIGS[make](follow, folder_of(make))
    database = host.path(f"{folder_of(make)}/zones")
    if make == "pdns" and not database.exists():
        database.parent.mkdir()
        database.write_bytes(pdns_database(follow))
    with serving(host, make, follow.address, config) as server:
        yield server
