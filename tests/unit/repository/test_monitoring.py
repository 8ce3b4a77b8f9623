# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Alerts, dashboard and documentation against the metrics that there are."""

from __future__ import annotations

import json
import re
import time

import pytest
import yaml

from tests.unit.collection import ROOT
from wgsd.client import metrics
from wgsd.responder import exporter
from wgsd.responder.stats import Board, Reading

pytestmark = pytest.mark.unit

DOCS = ROOT / "docs"
ALERTS, TESTS, DASHBOARD = (
    DOCS / "examples" / name for name in ("alerts.yml", "alerts_test.yml", "dashboard.json")
)
NAME = re.compile(r"\bwgsd_[a-z_]+")


@pytest.fixture(scope="module")
def there() -> set[str]:
    """Return the names of all samples."""
    board = Board.create(["example.com."], 2, ["wg0"])
    # The age is that of a read, so before the first one there is none.
    board.devices["wg0"].set(Reading.LAST_GOOD_NS, 1)
    served = {
        sample.name
        for family in exporter._Collector(board, time.time).collect()
        for sample in family.samples
    }
    # Of counters without labels, and of those that nothing has counted in yet.
    served |= {"wgsd_queries_total"}
    written = {f"wgsd_client_{name}" for name in metrics._METRICS} | {"wgsd_client_build_info"}
    return served | written


def test_alerts_ask_for_metrics_that_are_there(there):
    asked = set(NAME.findall(ALERTS.read_text()))
    assert len(asked) > 15
    assert asked <= there


def test_the_dashboard_asks_for_metrics_that_are_there(there):
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel.get("targets", [])
        for name in NAME.findall(target["expr"])
    }
    assert len(asked) > 25
    assert asked <= there


def test_every_metric_is_documented_and_none_that_is_not_there(there):
    documented = set()
    for line in (DOCS / "monitoring.md").read_text().splitlines():
        if line.startswith("| `wgsd_"):
            documented |= set(NAME.findall(line.split("|")[1]))
    assert documented == there


def test_every_alert_is_tried_when_it_is_to_be_raised_and_when_it_is_not():
    alerts = {
        rule["alert"]
        for group in yaml.safe_load(ALERTS.read_text())["groups"]
        for rule in group["rules"]
    }
    tried = {
        (case["alertname"], bool(case["exp_alerts"]))
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
    }
    assert tried == {(name, raised) for name in alerts for raised in (True, False)}


def test_panels_of_the_dashboard_lie_beside_one_another():
    taken: dict[tuple[int, int], str] = {}
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken[x, y])
                taken[x, y] = panel["title"]
