# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The lookup wgsd from a controller outside of the mesh, of a real responder."""

from __future__ import annotations

import json
import pathlib
import time
import typing as t

import pytest

from .bare import BareLab
from .controller import KEY, NAME, PUBLIC6, WRONG, Controller, registry_for_controllers
from .responder import ALICE, BOB, CAROL, DAVE, PUBLIC, TUNNEL

pytestmark = pytest.mark.lab

ALICE_AT, BOB_AT = "198.51.100.1:41414", "[2001:db8::b]:51821"
#: Where nobody answers: nothing listens at that port, and there is nobody at that address.
CLOSED, NOBODY = f"{PUBLIC}:5353", "203.0.113.5"


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Controller]:
    folder: pathlib.Path = tmp_path_factory.mktemp("registry")
    names = {str(ALICE): "alice", str(CAROL): "carol"}
    with (
        BareLab("wglk") as lab,
        registry_for_controllers(lab, folder, names=names) as (_bed, one),
    ):
        yield one


def lookup(*terms: object, **options: t.Any) -> str:
    """The expression for a lookup."""
    named = [f"{name}={json.dumps(value)}" for name, value in options.items()]
    words = ["'wgsd.mesh.wgsd'", *(repr(str(term)) for term in terms), *named]
    return f"query({', '.join(words)})".replace("true", "True")


def test_with_the_key_a_controller_gets_its_answers_by_every_way(controller):
    ways = [
        {"server": [PUBLIC]},
        {"server": [PUBLIC], "tcp": True},
        {"server": [f"[{PUBLIC6}]:53"]},
        {"server": [PUBLIC6], "tcp": True},
        {"server": [NAME]},
        {"server": [f"{NAME}:53"]},
        {"server": NAME, "port": 53},
        {"server": [CLOSED, PUBLIC]},
        {"server": [NOBODY, PUBLIC], "timeout": 0.3},
        {"server": ["nowhere.example.net", PUBLIC]},
    ]
    expressions = [lookup(BOB.label, ALICE, **way) for way in ways]
    assert controller.lookup(*expressions, wgsd_tsig=KEY) == [[BOB_AT, ALICE_AT]] * len(ways)
    assert "the server nowhere.example.net cannot be found" in controller.warnings


def test_the_whole_zone_is_browsed_since_the_key_does_not_let_it_be_transferred(controller):
    names, records, selected = controller.lookup(
        lookup(),
        lookup(want="record"),
        lookup(query="[?name].{name: name, port: port}"),
        wgsd_tsig=KEY,
        wgsd_server=[NOBODY, NAME],
        wgsd_timeout=0.3,
    )
    # Carol is a member, and nobody knows where she is.
    assert names == [ALICE_AT, BOB_AT]
    assert [record["public_key"] for record in records] == [str(ALICE), str(BOB)]
    assert records[0]["allowed_ips"] == ["10.0.0.1/32", "10.1.0.0/24"]
    assert selected == [{"name": "alice", "port": 41414}]


def test_who_is_missing_is_an_error_a_warning_or_left_out(controller):
    options = {"wgsd_tsig": KEY, "wgsd_server": [PUBLIC]}
    expressions = [lookup(CAROL, DAVE, BOB, on_missing=policy) for policy in ("skip", "warn")]
    assert controller.lookup(*expressions, **options) == [[BOB_AT]] * 2
    for key in (CAROL, DAVE):
        assert f"the zone example.com. has no peer {key}" in controller.warnings
    said = controller.lookup(lookup(CAROL, DAVE, BOB), **options)
    assert f"the zone example.com. has no peer {CAROL} with an endpoint" in said
    assert "on_missing=skip" in said


@pytest.mark.parametrize(
    ("key", "terms", "problem", "remedy"),
    [
        (None, [BOB], "REFUSED", "allow_query"),
        (None, [], "REFUSED", "allow_query"),
        (WRONG, [BOB], "like the signature", "check the key on both sides"),
        ({**KEY, "algorithm": "hmac-sha512"}, [BOB], "know the key", "check the key on both sides"),
    ],
    ids=["unsigned", "unsigned-zone", "wrong-secret", "wrong-algorithm"],
)
def test_without_the_right_key_a_controller_is_told_what_to_do(
    controller, key, terms, problem, remedy
):
    said = controller.lookup(
        lookup(*terms, on_missing="skip"), wgsd_tsig=key or {}, wgsd_server=[PUBLIC]
    )
    assert problem in said
    assert remedy in said
    assert not key or key["secret"] not in said.replace(json.dumps(key), "")


def test_if_nobody_answers_it_is_said_after_the_time_that_was_given(controller):
    before = time.monotonic()
    said = controller.lookup(
        lookup(BOB, server=[NOBODY, TUNNEL], timeout=0.3, retries=1, on_missing="skip")
    )
    assert f"{NOBODY}:53: " in said
    assert "no answer within 0.3 s" in said
    # Two servers, twice each; the rest is Ansible's own.
    assert time.monotonic() - before < 15
