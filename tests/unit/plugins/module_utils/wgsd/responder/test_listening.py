# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses that somebody else has keep the responder from no other, and end no service."""

from __future__ import annotations

import logging
import typing as t

import pytest

from tests.unit.plugins.module_utils.wgsd.responder.test_sockets import free_port
from wgsd.config import ResponderSettings, ZoneSettings
from wgsd.errors import UsageError
from wgsd.model import Endpoint
from wgsd.responder import listening as module
from wgsd.responder.listening import Listening
from wgsd.responder.lookout import Sighting
from wgsd.responder.sockets import Listener, listen

pytestmark = pytest.mark.unit

ZONES = (ZoneSettings("example.com.", "wg0"),)


@pytest.fixture
def opened() -> t.Iterator[list[t.Any]]:
    """What is to be closed at the end."""
    found: list[t.Any] = []
    yield found
    for one in found:
        one.close()


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """What stands for port 53."""
    number = free_port()
    monkeypatch.setattr(module, "DNS_PORT", number)
    return number


def taken(endpoint: Endpoint, opened: list[t.Any]) -> Listener:
    """Another server on *endpoint*."""
    server = listen(endpoint)
    opened.append(server)
    return server


def listening(
    opened: list[t.Any],
    *wanted: Endpoint,
    spare: t.Iterable[Listener] = (),
    shared: bool = False,
) -> Listening:
    settings = ResponderSettings(ZONES, wanted)
    found = Listening(settings, {one.endpoint: one for one in spare}, shared=shared)
    opened.append(found)
    return found


def places(one: Listening) -> set[str]:
    return {listener.endpoint.address for listener in one.listeners}


def test_of_the_tunnel_addresses_those_are_served_that_can_be_had(
    port: int, opened: list[t.Any], caplog: pytest.LogCaptureFixture
) -> None:
    other = taken(Endpoint("127.0.0.2", port), opened)
    one = listening(opened)
    seen = {"wg0": Sighting(1, ("127.0.0.1", "127.0.0.2"))}
    assert one.follow(seen)
    assert places(one) == {"127.0.0.1"}
    assert f"cannot listen on 127.0.0.2:{port}" in one.trouble
    assert not one.follow(seen), "nothing has changed"
    assert caplog.text.count("trying again") == 1

    seen = {"wg0": Sighting(1, ("127.0.0.1", "127.0.0.2", "127.0.0.3"))}
    assert one.follow(seen)
    assert places(one) == {"127.0.0.1", "127.0.0.3"}

    other.close()
    assert one.follow(seen)
    assert places(one) == {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
    assert one.trouble == ""


def test_an_address_that_is_not_wanted_any_more_is_no_trouble(
    port: int, opened: list[t.Any]
) -> None:
    taken(Endpoint("127.0.0.2", port), opened)
    one = listening(opened)
    one.follow({"wg0": Sighting(1, ("127.0.0.1", "127.0.0.2"))})
    assert one.trouble
    assert not one.follow({"wg0": Sighting(1, ("127.0.0.1",))})
    assert one.trouble == ""


def test_a_responder_that_starts_does_not_without_an_address_of_its_configuration(
    port: int, opened: list[t.Any]
) -> None:
    taken(Endpoint("127.0.0.2", port), opened)
    one = listening(opened, Endpoint("127.0.0.1", port), Endpoint("127.0.0.2", port))
    with pytest.raises(UsageError, match=r"cannot listen on 127\.0\.0\.2"):
        one.follow({})
    listen(Endpoint("127.0.0.1", port)).close()


@pytest.mark.parametrize("shared", [True, False], ids=["reloaded", "started again"])
def test_a_responder_that_goes_on_serves_what_it_can_have(
    port: int, opened: list[t.Any], caplog: pytest.LogCaptureFixture, shared: bool
) -> None:
    here, there = Endpoint("127.0.0.1", port), Endpoint("127.0.0.2", port)
    taken(there, opened)
    one = listening(opened, here, there, spare=[listen(here)], shared=shared)
    assert one.follow({})
    assert places(one) == {"127.0.0.1"}
    assert "127.0.0.2" in one.trouble
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


def test_who_can_have_nothing_of_what_is_wanted_keeps_what_there_was(
    port: int, opened: list[t.Any]
) -> None:
    here, there = Endpoint("127.0.0.1", port), Endpoint("127.0.0.2", port)
    other = taken(there, opened)
    one = listening(opened, there, spare=[listen(here)], shared=True)
    assert not one.follow({})
    assert one.endpoints() == [here]
    assert one.trouble
    other.close()
    assert one.follow({})
    assert one.endpoints() == [there]
    assert one.trouble == ""


def test_what_a_run_before_has_gives_way_to_the_unspecified_address_once_nobody_answers_there(
    port: int, opened: list[t.Any]
) -> None:
    here, everywhere = Endpoint("127.0.0.1", port), Endpoint("0.0.0.0", port)
    reloaded = listening(opened, everywhere, spare=[listen(here)], shared=True)
    assert not reloaded.follow({})
    assert reloaded.endpoints() == [here]
    reloaded.close()
    restarted = listening(opened, everywhere, spare=[listen(here)])
    assert restarted.follow({})
    assert restarted.endpoints() == [everywhere]
