# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Prometheus' own checker says of the examples for it; needs a package and no lab."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.lab.unpacked import promtool

pytestmark = pytest.mark.lab

EXAMPLES = pathlib.Path(__file__).parents[2] / "docs" / "examples"


def test_it_has_nothing_to_say_against_the_alerts() -> None:
    assert promtool("check", "rules", str(EXAMPLES / "alerts.yml")) == ""


def test_it_takes_the_scrape_configuration() -> None:
    assert promtool("check", "config", str(EXAMPLES / "prometheus.yml")) == ""


def test_each_alert_is_raised_by_what_it_is_for_and_by_nothing_else() -> None:
    assert promtool("test", "rules", str(EXAMPLES / "alerts_test.yml")) == ""


def test_it_understands_what_the_dashboard_asks(tmp_path: pathlib.Path) -> None:
    panels = json.loads((EXAMPLES / "dashboard.json").read_text(encoding="utf-8"))["panels"]
    asked = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    rules = [{"record": f"asked:{n}", "expr": expr} for n, expr in enumerate(asked)]
    file = tmp_path / "rules.yml"
    # JSON is YAML.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert len(rules) > 25
    assert promtool("check", "rules", str(file)) == ""


def test_the_checker_complains_where_there_is_reason_to(tmp_path: pathlib.Path) -> None:
    wrong = (EXAMPLES / "alerts.yml").read_text(encoding="utf-8").replace("== 0", "> 0")
    (tmp_path / "alerts.yml").write_text(wrong, encoding="utf-8")
    tests = (EXAMPLES / "alerts_test.yml").read_text(encoding="utf-8")
    (tmp_path / "alerts_test.yml").write_text(tests, encoding="utf-8")
    assert "WgsdResponderDown" in promtool("test", "rules", str(tmp_path / "alerts_test.yml"))
