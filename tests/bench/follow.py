# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Follows a zone as a client does, with the engine's own copy of it, and tells what changed when.

Run by itself with the engine in its path: ``python3 follow.py SERVER ZONE``. For each version it
prints a line of JSON: when the copy had it, in nanoseconds since the epoch, and the ports that
changed, by instance name.
"""

from __future__ import annotations

import json
import selectors
import sys
import time

from wgsd.model import Endpoint
from wgsd.replica import Contents, Replica


def main() -> None:
    """Follow until it is killed."""
    server, zone = sys.argv[1:]
    selector = selectors.DefaultSelector()
    replica = Replica(zone, [Endpoint(server, 53)], selector=selector)
    version, ports = None, {}
    while True:
        for key, _mask in selector.select(replica.seconds_left()):
            key.data()
        replica.tick()
        if replica.version == version:
            continue
        now, version = time.time_ns(), replica.version
        before, ports = ports, ports_of(replica.contents)
        changed = {name: port for name, port in ports.items() if before.get(name) != port}
        print(json.dumps([now, changed]), flush=True)


def ports_of(contents: Contents) -> dict[str, int]:
    """Return the ports of all SRV records, by lower-case name."""
    found = {}
    for name, _ttl, rdata in contents.zone.iterate_rdatas("SRV"):
        found[str(name).lower()] = rdata.port
    return found


if __name__ == "__main__":
    main()
