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

from tests.unit.plugins.module_utils.wgsd.responder.test_sockets import free_port
from wgsd import responder
from wgsd.config import (
    Access,
    CatalogSettings,
    DnssecSettings,
    PublishTarget,
    Remote,
    ResponderSettings,
    SelfSettings,
    ZoneSettings,
)
from wgsd.errors import NoDeviceError, UsageError
from wgsd.model import Endpoint
from wgsd.responder.reload import Bound
from wgsd.responder.sockets import listen

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
        ((Endpoint("192.0.2.1", 53),), {"allow_transfer": Access(keys=("a.",))}),
        ((Endpoint("192.0.2.1", 53),), {"allow_transfer": Access(("198.51.100.7/32",))}),
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


@pytest.mark.parametrize(
    ("fields", "what"),
    [
        ({"dnssec": DnssecSettings(7 * 86400)}, "what is signed"),
        ({"allow_transfer": Access(("198.51.100.0/24",))}, "a copy elsewhere"),
        ({"publish": (PublishTarget(Remote(Endpoint("198.51.100.9", 53)), "a.b."),)}, "a copy"),
    ],
)
def test_a_copy_that_cannot_say_where_the_registry_is_is_told(
    fields: dict[str, t.Any], what: str, tmp_path: pathlib.Path
) -> None:
    (warning,) = warnings(tmp_path, own=SelfSettings(), **fields)
    assert what in warning
    assert "set self.endpoint" in warning
    fixed = SelfSettings(Endpoint("203.0.113.4", 51820))
    assert warnings(tmp_path, own=fixed, **fields) == []


def test_clients_in_the_tunnel_may_have_a_copy_that_says_its_address(
    tmp_path: pathlib.Path,
) -> None:
    assert warnings(tmp_path, own=SelfSettings()) == []


OUTSIDE, INSIDE = Endpoint("198.51.100.7", 53), Endpoint("10.0.0.7", 53)
ELSEWHERE = Endpoint("0.0.0.0", 53)


@pytest.mark.parametrize(
    ("remote", "allowed"),
    [
        (Remote(OUTSIDE), Access(("198.51.100.0/24",))),
        (Remote(OUTSIDE, "a."), Access(keys=("a.",))),
        (Remote(INSIDE), Access(tunnel=True)),
    ],
)
def test_a_secondary_that_may_transfer_what_it_is_notified_of_is_fine(
    remote: Remote, allowed: Access, tmp_path: pathlib.Path
) -> None:
    assert warnings(tmp_path, ELSEWHERE, allow_transfer=allowed, notify=(remote,)) == []


@pytest.mark.parametrize(
    ("remote", "allowed"),
    [
        (Remote(OUTSIDE), Access(("192.0.2.0/24",))),
        (Remote(OUTSIDE, "b."), Access(keys=("a.",))),
        (Remote(OUTSIDE), Access(tunnel=True)),
        (Remote(INSIDE), Access(keys=("a.",))),
    ],
)
def test_a_secondary_that_is_notified_in_vain_is_told(
    remote: Remote, allowed: Access, tmp_path: pathlib.Path
) -> None:
    (warning,) = warnings(tmp_path, ELSEWHERE, allow_transfer=allowed, notify=(remote,))
    assert f"{remote.endpoint} is notified of changes, but may not transfer them" in warning


def test_a_secondary_that_cannot_reach_us_is_told(tmp_path: pathlib.Path) -> None:
    allowed = Access(("198.51.100.0/24",))
    (warning,) = warnings(tmp_path, allow_transfer=allowed, notify=(Remote(OUTSIDE),))
    assert "add an address that it can reach to listen" in warning


def test_the_same_goes_for_the_catalog(tmp_path: pathlib.Path) -> None:
    zones = (ZoneSettings("example.com.", "wg0"),)
    catalog = CatalogSettings("catalog.", notify=(Remote(OUTSIDE),))
    settings = ResponderSettings(zones, catalog=catalog, state_dir=tmp_path)
    (warning,) = responder.check(settings)
    assert warning.startswith("zone catalog.: 198.51.100.7:53 is notified")


PORT = free_port()
HERE, THERE = Endpoint("127.0.0.1", PORT), Endpoint("127.0.0.2", PORT)
EVERYWHERE = Endpoint("0.0.0.0", PORT)


def reloading(monkeypatch: pytest.MonkeyPatch, *bound: Endpoint, **settings: t.Any) -> None:
    """What the check says that a responder runs which is bound to *bound*."""
    held = Bound(bound, settings.pop("exported", ()))
    monkeypatch.setenv("WGSD_BOUND", held.encode())
    zone = ZoneSettings("example.com.", "wg0", allow_query=Access(("0.0.0.0/0",)))
    responder.check(ResponderSettings((zone,), **settings))


def test_an_address_that_is_taken_speaks_against_a_reload_and_not_against_a_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    other = listen(THERE)
    try:
        warnings(tmp_path, HERE, THERE)
        with pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.2.*change 'listen'"):
            reloading(monkeypatch, HERE, listen=(HERE, THERE))
        with pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.2.*change 'metrics'"):
            reloading(monkeypatch, HERE, listen=(HERE,), metrics=THERE)
    finally:
        other.close()
    reloading(monkeypatch, HERE, listen=(HERE, THERE))
    reloading(monkeypatch, HERE, listen=(HERE,), metrics=THERE)


def test_what_the_responder_has_itself_does_not_speak_against_its_reload(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own, exported = listen(HERE), listen(THERE)
    try:
        reloading(monkeypatch, HERE, exported=(THERE,), listen=(HERE,), metrics=THERE)
    finally:
        own.close()
        exported.close()


@pytest.mark.parametrize(
    ("bound", "wanted"), [(HERE, EVERYWHERE), (EVERYWHERE, HERE)], ids=["to all", "from all"]
)
def test_what_a_reload_cannot_change_is_told_before(
    bound: Endpoint, wanted: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="restart the service instead of reloading it"):
        reloading(monkeypatch, bound, listen=(wanted,))


def test_from_all_addresses_to_the_tunnel_alone_takes_a_restart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(UsageError, match=r"cannot listen on 10\.0\.0\.254:53 while"):
        reloading(monkeypatch, Endpoint("0.0.0.0", 53))
    reloading(monkeypatch, Endpoint("10.0.0.254", 53))
