# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BIND and Knot learn from the catalog zone which zones there are, as the examples set them up."""

from __future__ import annotations

import pathlib
import re
import signal
import typing as t

import pytest

from .bare import BareHost, BareLab
from .nameservers import Key, folder_of, serial_of, serving, transfer
from .nat import Nat
from .responder import ALICE, PUBLIC, PYTHONS, SERVICE, TUNNEL, ZONE, Bed
from .topology import Site

pytestmark = pytest.mark.lab

PREFIX = "wgca"
CATALOG = "catalog.example.com."
OTHER = "other.example."
KEY = Key("ns2.example.com.", "bm9yIHRoaXMgb25lLCBtYWtlIG9uZSBvZiB5b3VyIG93bg==")
EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "examples"
#: What the examples leave to the host, and what it is here.
HERE = {
    "named": {
        "/var/cache/bind": folder_of("named"),
        "recursion no;": """
    recursion no;
    listen-on-v6 { none; };
    pid-file none;
    lock-file none;
    session-keyfile none;
    dnssec-validation no;""",
        # It waits that long before it heeds one more change of a catalog.
        'key "ns2.example.com."; };\n    };': """
            key "ns2.example.com."; } min-update-interval 1;
    };""",
        "};\noptions {": """};
controls { };
logging { channel what { stderr; severity info; }; category default { what; }; };
options {""",
    },
    "knot": {
        "/var/lib/knot": folder_of("knot"),
        "server:": f"""server:
    rundir: "{folder_of("knot")}"
    user: root
    udp-workers: 1
    tcp-workers: 2
    background-workers: 1""",
        "database:": "log:\n  - target: stdout\n    any: info\ndatabase:",
    },
}


@pytest.fixture(scope="module")
def lab() -> t.Iterator[BareLab]:
    with BareLab(PREFIX, [Site("field", Nat("none"), hosts=("named", "knot"))]) as built:
        yield built


@pytest.fixture
def bed(lab: BareLab, tmp_path: pathlib.Path) -> t.Iterator[Bed]:
    one = Bed(lab, tmp_path, PYTHONS["newest"])
    try:
        one.start_device()
        yield one
    finally:
        one.close()


def settings(address: str, *zones: str) -> dict[str, t.Any]:
    """A configuration with these zones, whose secondary is at that address."""
    allowed = {"allow_transfer": ["tunnel", f"key {KEY.name}"]}
    told = {**allowed, "notify": [f"{address} key {KEY.name}"]}
    return {
        "listen": [TUNNEL, PUBLIC],
        "zones": [{"zone": zone, "device": "wg0", **told} for zone in zones],
        "catalog": {"zone": CATALOG, **told},
        "keys": {KEY.name: {"secret": KEY.secret}},
    }


def config_of(make: str, address: str) -> str:
    """Return the example of a configuration, changed for a host of the lab."""
    name = {"named": "bind"}.get(make, make)
    text = (EXAMPLES / f"{name}-secondary.conf").read_text()
    text = re.sub(r'(secret:? "?)[^"\n;]+', lambda found: found[1] + KEY.secret, text)
    for before, after in {**HERE[make], "198.51.100.53": address}.items():
        assert before in text
        text = text.replace(before, after)
    return text


@pytest.mark.parametrize("make", HERE)
def test_a_secondary_follows_the_members_as_they_come_and_go(
    lab: BareLab, bed: Bed, make: str
) -> None:
    host: BareHost = lab.host(make)
    address = lab.router("field").site.public_address(make)
    responder = bed.start(**settings(address, ZONE))
    bed.until(lambda: bed.port_of(ALICE) == 41414)

    def become(*zones: str) -> None:
        responder.configure(**settings(address, *zones))
        responder.process.send_signal(signal.SIGHUP)

    def served(zone: str) -> int | None:
        return serial_of(host, address, zone)

    with serving(host, make, address, config_of(make, address)):
        bed.until(lambda: served(ZONE) == serial_of(bed.host, TUNNEL, ZONE))
        assert any(
            line[0] == f"{ALICE.label}.{SERVICE}" for line in transfer(host, PUBLIC, ZONE, KEY)
        )
        # Knot tries again after 10 s if a reload has cut its connection before its query came.
        become(ZONE, OTHER)
        bed.until(lambda: served(OTHER) is not None, patience=20)
        become(OTHER)
        bed.until(lambda: served(ZONE) is None, patience=20)
        assert served(OTHER) is not None


def test_a_restart_gives_the_catalog_no_new_serial(bed: Bed) -> None:
    responder = bed.start(**settings("198.51.100.53", ZONE))
    bed.until(lambda: serial_of(bed.host, TUNNEL, CATALOG) is not None)
    first = serial_of(bed.host, TUNNEL, CATALOG)
    responder.restart()
    bed.until(lambda: serial_of(bed.host, TUNNEL, CATALOG) is not None)
    assert serial_of(bed.host, TUNNEL, CATALOG) == first
