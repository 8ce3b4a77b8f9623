# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A configuration that is valid but would be of no use is warned about before it is run."""

from __future__ import annotations

import ipaddress
import pathlib
import re
import typing as t

import pytest

from wgsd import responder
from wgsd.config import Access, ResponderSettings, ZoneSettings
from wgsd.errors import NoDeviceError
from wgsd.model import Endpoint

pytestmark = pytest.mark.unit


class Opened:
    """A device that can be opened."""

    def close(self) -> None:
        """Nothing to free."""


@pytest.fixture(autouse=True)
def wg0(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with the device wg0 at 10.0.0.254, and no other."""

    def open_device(name: str) -> Opened:
        if name != "wg0":
            raise NoDeviceError(f"there is no WireGuard device {name}")
        return Opened()

    monkeypatch.setattr(responder, "open_device", open_device)
    interface = ipaddress.ip_interface("10.0.0.254/24")
    monkeypatch.setattr(responder, "addresses", lambda _name: (interface,))


def warnings(
    folder: pathlib.Path, *listen: Endpoint, zone: str = "example.com.", **fields: t.Any
) -> list[str]:
    """What is said about one zone of wg0."""
    zones = (ZoneSettings(zone, **{"device": "wg0", **fields}),)
    return responder.check(ResponderSettings(zones, listen, state_dir=folder))


@pytest.mark.parametrize(
    ("listen", "fields"),
    [
        ((), {}),
        ((Endpoint("10.0.0.254", 53),), {}),
        ((Endpoint("0.0.0.0", 53),), {}),
        ((Endpoint("192.0.2.1", 53),), {"allow_query": Access(("10.0.0.0/24",))}),
    ],
)
def test_a_zone_that_can_be_asked_is_fine(
    listen: tuple[Endpoint, ...], fields: dict[str, t.Any], tmp_path: pathlib.Path
) -> None:
    assert warnings(tmp_path, *listen, **fields) == []


def test_an_address_where_every_query_would_be_refused_is_told(tmp_path: pathlib.Path) -> None:
    (warning,) = warnings(tmp_path, Endpoint("192.0.2.1", 53))
    assert re.search(r"192\.0\.2\.1:53 is not a tunnel address of wg0.*allow_query", warning)


def test_a_device_that_is_not_there_yet_is_told(tmp_path: pathlib.Path) -> None:
    (warning,) = warnings(tmp_path, device="wg7")
    assert "no WireGuard device wg7" in warning


def test_a_zone_too_long_for_old_clients_is_told(tmp_path: pathlib.Path) -> None:
    (warning,) = warnings(tmp_path, zone="a" * 60 + "." + "b" * 60 + ".")
    assert "512 bytes" in warning


def test_a_state_directory_that_is_a_file_is_told(tmp_path: pathlib.Path) -> None:
    (tmp_path / "file").touch()
    (warning,) = warnings(tmp_path / "file")
    assert "serials start from the clock" in warning


def test_a_state_directory_that_the_unit_is_to_make_is_no_trouble(tmp_path: pathlib.Path) -> None:
    assert list(warnings(tmp_path / "none")) == []


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.254"])
def test_metrics_for_the_host_or_the_tunnel_are_fine(address: str, tmp_path: pathlib.Path) -> None:
    zones = (ZoneSettings("example.com.", "wg0"),)
    settings = ResponderSettings(zones, metrics=Endpoint(address, 9586), state_dir=tmp_path)
    assert responder.check(settings) == []


def test_metrics_that_others_can_read_are_told(tmp_path: pathlib.Path) -> None:
    zones = (ZoneSettings("example.com.", "wg0"),)
    settings = ResponderSettings(zones, metrics=Endpoint("192.0.2.1", 9586), state_dir=tmp_path)
    (warning,) = responder.check(settings)
    assert "192.0.2.1:9586 is neither loopback nor a tunnel address" in warning
