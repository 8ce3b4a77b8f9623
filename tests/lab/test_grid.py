# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A part of the NAT grid that shows most for its time; `make grid` measures the whole."""

from __future__ import annotations

import json
import time

import pytest

from tests.lab.bare import BareLab
from tests.lab.grid import report
from tests.lab.grid.events import Event
from tests.lab.grid.expectations import Expectation, Verdict, expect
from tests.lab.grid.flow import LATE, Flow, longest_gap
from tests.lab.grid.measured import Measured, agrees
from tests.lab.grid.rows import (
    ADDRESS,
    FIREWALL,
    FULL_CONE,
    HAIRPIN,
    NO_DROP,
    NONE,
    PORT,
    ROWS,
    SYMMETRIC,
    Row,
)
from tests.lab.grid.runner import Result, run
from tests.lab.mesh import Mesh
from tests.lab.topology import REGISTRY

PREFIX = "tgrid"
WORKERS = 6
QUICK = (
    Event.ALICE_MOVES,
    Event.BOB_MOVES,
    Event.BOTH_MOVE,
    Event.REBOOT,
    Event.RESTART,
    Event.LOSS_10,
    Event.DELAY,
)


@pytest.mark.lab
@pytest.mark.alone
def test_pairs_of_all_kinds_start_and_the_usual_one_outlives_every_quick_event():
    cells = [(row, Event.COLD_START) for row in ROWS]
    # A lost race ends minutes later; `make grid` waits for that.
    cells = [cell for cell in cells if expect(*cell).verdict is not Verdict.MEETING]
    cells += [(Row(PORT, PORT), event) for event in QUICK]
    results = run(cells, WORKERS, PREFIX, lambda _result: None)
    wrong = [result for result in results if not result.is_right]
    assert not wrong, report.faults(wrong)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("row", "event", "verdict"),
    [
        (Row(NONE, NONE), Event.COLD_START, Verdict.DIRECT),
        (Row(PORT, PORT), Event.BOTH_MOVE, Verdict.DIRECT),
        (Row(SYMMETRIC, ADDRESS), Event.COLD_START, Verdict.DIRECT),
        (Row(SYMMETRIC, FULL_CONE), Event.COLD_START, Verdict.DIRECT),
        (Row(SYMMETRIC, PORT), Event.DELAY, Verdict.UNPUNCHABLE),
        (Row(SYMMETRIC, SYMMETRIC), Event.BOTH_MOVE, Verdict.UNPUNCHABLE),
        (Row(SYMMETRIC, SYMMETRIC), Event.OUTAGE, Verdict.NOTHING),
        (Row(NONE, NONE), Event.REBOOT, Verdict.NOTHING),
        (Row(HAIRPIN, HAIRPIN, shared=True), Event.COLD_START, Verdict.DIRECT),
        (Row(PORT, PORT, shared=True), Event.COLD_START, Verdict.UNPUNCHABLE),
        (Row(PORT, PORT, shared=True), Event.BOB_MOVES, Verdict.DIRECT),
        (Row(PORT, PORT, shared=True), Event.BOTH_MOVE, Verdict.UNPUNCHABLE),
        (Row(FIREWALL, FIREWALL), Event.REBOOT, Verdict.DIRECT),
        (Row(NO_DROP, NO_DROP), Event.COLD_START, Verdict.RACE),
        (Row(PORT, NO_DROP), Event.COLD_START, Verdict.MEETING),
        (Row(PORT, NO_DROP), Event.ALICE_MOVES, Verdict.RACE),
        (Row(FULL_CONE, PORT), Event.RESTART, Verdict.UNHARMED),
    ],
)
def test_theory_says_what_the_mappings_and_filters_of_two_nats_lead_to(row, event, verdict):
    expected = expect(row, event)
    assert expected.verdict is verdict
    assert expected.reason


@pytest.mark.unit
def test_a_cell_is_right_only_if_it_does_what_it_should_and_both_ends_say_so():
    direct = Expectation(Verdict.DIRECT, 1.0, "")
    assert agrees(direct, Measured(gap=0.9))
    assert not agrees(direct, Measured(gap=1.1))
    assert not agrees(direct, Measured(gap=0.9, fault="no lab"))
    told = Expectation(Verdict.UNPUNCHABLE, 30.0, "")
    reasons = {"alice": "no handshake", "bob": "no handshake"}
    assert agrees(told, Measured(told=20.0, why=reasons))
    assert not agrees(told, Measured(told=31.0, why=reasons))
    assert not agrees(told, Measured(told=20.0, why={"alice": "no handshake"}))
    assert not agrees(told, Measured(gap=5.0))
    meeting = Expectation(Verdict.MEETING, 1.0, "")
    assert agrees(meeting, Measured(gap=0.9))
    assert agrees(meeting, Measured(gap=200.0, told=20.0))
    assert not agrees(meeting, Measured(gap=200.0))
    assert not agrees(meeting, Measured(told=20.0, why=reasons))
    unharmed = Expectation(Verdict.UNHARMED, 60.0, "")
    assert agrees(unharmed, Measured(lost=0, registry=9.0))
    assert not agrees(unharmed, Measured(lost=1, registry=9.0))
    assert not agrees(unharmed, Measured(lost=0))
    assert agrees(unharmed, Measured(told=20.0, why=reasons)), "there was no tunnel to be harmed"


@pytest.mark.unit
def test_the_longest_gap_counts_from_the_event_and_to_the_end():
    assert longest_gap([1.0, 2.0, 9.0], begin=1.5, end=3.0) == 1.0
    assert longest_gap([1.0], begin=2.0, end=5.0) == 3.0
    assert longest_gap([3.0, 4.0], begin=1.0, end=4.5) == 2.0


@pytest.mark.unit
def test_reports_tell_a_wrong_cell_in_words_and_load_nothing_from_elsewhere(tmp_path):
    row = Row(PORT, SYMMETRIC)
    told = Measured(told=20.2, why={"alice": "a <reason>", "bob": "another"})
    results = [
        Result(row, Event.COLD_START, expect(row, Event.COLD_START), told),
        Result(row, Event.DELAY, expect(row, Event.DELAY), Measured(logs={"alice": "a line"})),
        Result(row, Event.OUTAGE, expect(row, Event.OUTAGE), Measured()),
    ]
    report.write(results, tmp_path)
    text = (tmp_path / "grid.txt").read_text(encoding="utf-8")
    page = (tmp_path / "grid.html").read_text(encoding="utf-8")
    for each in (text, page, (tmp_path / "grid.md").read_text(encoding="utf-8")):
        assert "port-restricted x symmetric" in each
        assert "told 20 s" in each
        assert "told ≤ 30 s" in each
        assert "WRONG: nothing" in each
        assert "1 of 2 cells are as they should be" in each
    assert "a &lt;reason&gt;" in page
    assert not any(word in page for word in ("http", "src=", "href="))
    cells = json.loads((tmp_path / "grid.json").read_text(encoding="utf-8"))["cells"]
    assert [cell["right"] for cell in cells] == [True, False, True]
    assert [cell["measured"].get("logs") for cell in cells] == [None, {"alice": "a line"}, None]


@pytest.mark.lab
def test_a_flow_counts_what_a_tunnel_loses_and_for_how_long():
    with BareLab(f"{PREFIX}flow") as lab, Mesh(lab) as mesh:
        mesh.connect("alice")
        mesh.wait(lambda: mesh.peer(REGISTRY, "alice").last_handshake, "handshake")
        ends = [(lab.host(name), mesh.addresses[name]) for name in ("alice", REGISTRY)]
        with Flow(*ends) as flow:
            mesh.wait(lambda: flow.is_steady(0.5), "packets")
            calm = time.monotonic()
            time.sleep(0.3)
            begin = time.monotonic()
            lab.router("alice").set_loss(100)
            time.sleep(0.3)
            lab.router("alice").set_loss(0)
            mesh.wait(lambda: flow.is_steady(0.3), "packets")
            end = time.monotonic()
            time.sleep(LATE)
        assert flow.lost(calm, begin - 0.05) == 0
        assert flow.lost(begin, end) >= 5
        assert flow.longest_gap(begin, end) >= 0.3
