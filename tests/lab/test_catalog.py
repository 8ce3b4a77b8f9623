# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BIND learns from the catalog zone which zones there are."""

from __future__ import annotations

import os
import pathlib
import signal
import typing as t

import pytest

from .bare import BareLab
from .nameservers import folder_of, serial_of, serving
from .responder import PUBLIC, PYTHONS, TUNNEL, ZONE, Bed

pytestmark = pytest.mark.lab

PREFIX = "wgca"
CATALOG = "catalog.example."
OTHER = "other.example."
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
    allow-new-zones yes;
    catalog-zones {{
        zone "{catalog}" default-primaries {{ {primary}; }} in-memory yes min-update-interval 1;
    }};
}};
controls {{ }};
logging {{
    channel what {{ stderr; severity info; }};
    category default {{ what; }};
}};
zone "{catalog}" {{
    type secondary;
    file "{catalog}zone";
    primaries {{ {primary}; }};
    # What goes from the host to itself has the address that it goes to.
    allow-notify {{ {address}; }};
}};
"""


@pytest.fixture
def bed(tmp_path: pathlib.Path) -> t.Iterator[Bed]:
    with BareLab(PREFIX, ()) as lab:
        one = Bed(lab, tmp_path, PYTHONS["newest"])
        try:
            yield one
        finally:
            one.close()


def settings(*zones: str) -> dict[str, t.Any]:
    """A configuration with these zones, whose catalog BIND is told of."""
    return {
        "zones": [{"zone": zone, "device": "wg0"} for zone in zones],
        "catalog": {"zone": CATALOG, "notify": [PUBLIC]},
    }


def test_bind_follows_the_members_as_they_come_and_go(bed: Bed) -> None:
    bed.start_device()
    responder = bed.start(**settings(ZONE))
    bed.until(lambda: serial_of(bed.host, TUNNEL, CATALOG) is not None)
    config = NAMED.format(
        folder=folder_of("named"), address=PUBLIC, primary=TUNNEL, catalog=CATALOG
    )
    with serving(bed.host, "named", PUBLIC, config):

        def served(zone: str) -> bool:
            return serial_of(bed.host, PUBLIC, zone) == serial_of(bed.host, TUNNEL, zone)

        bed.until(lambda: served(CATALOG) and served(ZONE))
        first = serial_of(bed.host, PUBLIC, CATALOG)
        responder.configure(**settings(ZONE, OTHER))
        os.kill(responder.process.pid, signal.SIGHUP)
        bed.until(lambda: serial_of(bed.host, PUBLIC, OTHER) is not None)
        second = serial_of(bed.host, PUBLIC, CATALOG)
        assert first
        assert second
        assert second > first
        responder.configure(**settings(OTHER))
        os.kill(responder.process.pid, signal.SIGHUP)
        bed.until(lambda: serial_of(bed.host, PUBLIC, ZONE) is None)
        assert served(OTHER)


def test_a_restart_gives_the_catalog_no_new_serial(bed: Bed) -> None:
    bed.start_device()
    responder = bed.start(**settings(ZONE))
    bed.until(lambda: serial_of(bed.host, TUNNEL, CATALOG) is not None)
    first = serial_of(bed.host, TUNNEL, CATALOG)
    responder.restart()
    bed.until(lambda: serial_of(bed.host, TUNNEL, CATALOG) is not None)
    assert serial_of(bed.host, TUNNEL, CATALOG) == first
