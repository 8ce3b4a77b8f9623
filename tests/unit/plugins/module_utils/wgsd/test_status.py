# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""``wgsd status`` of a registry: the responder first, then peers; every gap with a remedy."""

from __future__ import annotations

import contextlib
import json
import re
import time

import pytest

from wgsd import cli, config
from wgsd.config import instances, load_responder
from wgsd.errors import NoDeviceError
from wgsd.keys import PublicKey
from wgsd.model import Device, Endpoint, Peer
from wgsd.responder import report, stats
from wgsd.responder.stats import Board, Main, Reading, ZoneFigure, slot
from wgsd.status import peers

pytestmark = pytest.mark.unit

ALICE, BOB = PublicKey(b"a" * 32), PublicKey(b"b" * 32)
CONFIGURATION = f"""
zones:
  - zone: example.com
    device: wg0
    names: {{"{ALICE.base64}": alice}}
"""


class Registry:
    """A registry with one device, on which all that status reads can be made or broken."""

    def __init__(self, folder, monkeypatch) -> None:
        self.responder_config = folder / "responder.yml"
        self.client_config = folder / "client.yml"
        self.responder_config.write_text(CONFIGURATION)
        self.devices = {
            "wg0": {
                ALICE: Peer(
                    ALICE,
                    Endpoint("192.0.2.10", 51820),
                    ("10.0.0.1/32",),
                    last_handshake=time.time() - 30,
                ),
                BOB: Peer(BOB, allowed_ips=("10.0.0.2/32",)),
            }
        }
        self.path = folder / "wgsd-responder/status.json"
        self.path.parent.mkdir()
        monkeypatch.setattr(config, "CONFIG_FOLDER", folder)
        monkeypatch.setattr(instances, "RUNTIME_FOLDER", folder)
        monkeypatch.setattr(peers, "open_device", self.open)
        self.board = Board.create(["example.com."], 2, ["wg0"])
        zone, device = self.board.zones["example.com."], self.board.devices["wg0"]
        zone.set(ZoneFigure.SERIAL, 1_800_000_017)
        zone.set(ZoneFigure.KNOWN, 1)
        zone.set(ZoneFigure.INSTANCES, 1)
        device.set(Reading.PEERS, 2)
        device.set(Reading.PEERS_WITH_ENDPOINT, 1)
        device.set(Reading.CPU_NS, 900_000)
        device.set(Reading.WALL_NS, 1_200_000)
        device.set(Reading.LAST_GOOD_NS, time.time_ns())
        self.board.supervisor.set(Main.STARTED_NS, time.time_ns() - 7_500_000_000_000)
        self.board.supervisor.set(Main.WORKERS, 2)
        recorder = self.board.worker(0)
        recorder.counts[slot(33, 0, True)] = 100
        recorder.counts[slot(33, 5, False)] = 7
        recorder.counts[stats.TRUNCATED] = 3
        recorder.publish()

    def report(self, age=0.0, trouble=()) -> None:
        """Write the responder's report as it was *age* seconds ago."""
        settings = load_responder(self.responder_config)
        now = time.time() - age
        listening = [Endpoint("10.0.0.254", 53)]
        before = report.snapshot(self.board, settings, listening, trouble, now - 2)
        before["queries"]["answered"] -= 25
        report.write(
            self.path,
            report.snapshot(self.board, settings, listening, trouble, now, before),
        )

    @contextlib.contextmanager
    def open(self, name):
        if name not in self.devices:
            raise NoDeviceError(f"{name}: no such device")
        self._opened = name
        yield self

    kind = "kernel"

    def read(self):
        name = self._opened
        return Device(name, PublicKey(b"r" * 32), 51820, 0, self.devices[name])


@pytest.fixture
def registry(tmp_path, monkeypatch) -> Registry:
    return Registry(tmp_path, monkeypatch)


def test_the_responder_comes_first_then_the_peers_by_name(registry, capsys):
    registry.report()
    assert cli.main(["status"]) == 0
    out, err = capsys.readouterr()
    first, second = out.split("\n\n")
    head, columns, zone, queries, notify, processes = first.splitlines()
    assert head.startswith("responder ")
    assert head.endswith("serving for 2 h 5 m on 10.0.0.254:53")
    assert columns.split("  ")[0] == "ZONE"
    assert re.fullmatch(
        r"example\.com\. 1800000017 1 peers wg0 2 \d s ago 1\.2 ms 0\.9 ms", " ".join(zone.split())
    )
    assert queries == (
        "queries: 12 a second, 107 answered (100 of them fast), 7 refused, 3 truncated,"
        " 0 rate-limited, 0 ignored, 0 lost in the kernel"
    )
    assert notify == ("notify: 0 followers, 0 messages sent, 0 acknowledged, 0 followers failed")
    assert processes == "workers: 2 of 2; restarts: 0 of workers, 0 of the watcher; reloads: 0"
    device, client_line, header, bob, alice = second.splitlines()
    assert device.startswith("wg0 (kernel), port 51820, ")
    assert client_line == "no client has reported: what follows is the device's view alone"
    assert header.split()[:3] == ["NAME", "STATE", "SINCE"]
    assert alice.split()[:3] == ["alice", "direct", "-"]
    assert re.search(r"  3\d s ago   -    192\.0\.2\.10:51820  -     10\.0\.0\.1/32", alice)
    assert bob.split()[:4] == [f"{BOB.base64[:12]}...", "unknown", "-", "never"]
    assert err == ""


def test_a_trouble_and_a_zone_that_fails_are_told(registry, capsys):
    registry.board.zones["example.com."].set(ZoneFigure.KNOWN, 0)
    registry.board.devices["wg0"].set(Reading.LAST_GOOD_NS, 0)
    registry.report(trouble=["wg0: no such device"])
    assert cli.main(["status"]) == 0
    out = capsys.readouterr().out
    assert "1800000017  fails   wg0     2      never" in out
    assert "\ntrouble: wg0: no such device\n" in out


def test_machines_find_the_responder_in_its_interface(registry, capsys):
    registry.report()
    assert cli.main(["status", "--json"]) == 0
    (interface,) = json.loads(capsys.readouterr().out)
    assert interface["interface"] == "wg0"
    assert interface["error"] is None
    assert [peer["name"] for peer in interface["peers"]] == [None, "alice"]
    assert interface["responder"]["problem"] is None
    assert interface["responder"]["report"]["zones"][0]["peers_served"] == 1


def test_a_stale_report_is_shown_with_its_age_and_gives_exit_code_3(registry, capsys):
    registry.report(age=75)
    assert cli.main(["status"]) == 3
    out, err = capsys.readouterr()
    assert out.splitlines()[0].endswith(", as of 1 m 15 s ago")
    assert "alice" in out
    assert "was killed or hangs; see: systemctl status wgsd-responder" in err


def test_without_a_report_the_peers_are_shown_and_the_exit_code_is_3(registry, capsys):
    for spoil in (lambda: None, lambda: registry.path.write_text("nonsense")):
        spoil()
        assert cli.main(["status"]) == 3
        out, err = capsys.readouterr()
        assert "alice" in out
        assert "responder" not in out
        assert err.startswith("wgsd status: ")
        assert str(registry.path) in err
        assert len(err.splitlines()) == 1


def test_without_a_report_machines_find_the_problem(registry, capsys):
    assert cli.main(["status", "--json"]) == 3
    (interface,) = json.loads(capsys.readouterr().out)
    assert interface["responder"]["report"] is None
    assert "systemctl status wgsd-responder" in interface["responder"]["problem"]


def test_a_device_out_of_reach_hides_nothing_else(registry, capsys):
    registry.report()
    registry.devices.clear()
    assert cli.main(["status"]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("responder ")
    assert err == "wgsd status: wg0: no such device\n"
    assert cli.main(["status", "--json"]) == 3
    (interface,) = json.loads(capsys.readouterr().out)
    assert (interface["interface"], interface["peers"]) == ("wg0", [])
    assert interface["error"] == "wg0: no such device"
    assert interface["responder"]["report"]["workers"] == 2


def test_an_interface_that_is_named_is_shown_whatever_the_configurations_say(registry, capsys):
    registry.responder_config.write_text("not: [good")
    assert cli.main(["status", "--interface", "wg0"]) == 0
    out = capsys.readouterr().out
    assert "alice" not in out
    assert f"{ALICE.base64[:12]}...  direct" in out
    assert cli.main(["status", "--interface", "wg0", "--json"]) == 0
    (interface,) = json.loads(capsys.readouterr().out)
    assert interface["responder"] is None


def test_a_peer_s_device_is_shown_without_its_client_which_is_missed(registry, capsys):
    registry.responder_config.unlink()
    registry.client_config.write_text(
        "interface: wg0\nzone: example.com\nregistries: [10.0.0.254]\n"
    )
    assert cli.main(["status"]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("wg0 (kernel), ")
    assert err == (
        f"wgsd status: wg0: no client has reported, and {registry.client_config} is there;"
        " see: systemctl status wgsd-client; journalctl -u wgsd-client\n"
    )


def test_a_host_without_configurations_is_told_to_name_an_interface(registry, capsys):
    registry.responder_config.unlink()
    assert cli.main(["status"]) == 2
    assert "give --interface" in capsys.readouterr().err


def lab_of(registry):
    """Have a second mesh there: its responder on wg1, which reports, and its client."""
    folder = registry.responder_config.parent
    (folder / "responder-lab.yml").write_text(
        f'zones: [{{zone: example.com, device: wg1, names: {{"{BOB.base64}": bob}}}}]\n'
    )
    (folder / "client-lab.yml").write_text(
        "interface: wg1\nzone: example.com\nregistries: [10.1.0.254]\n"
    )
    registry.devices["wg1"] = {BOB: Peer(BOB, allowed_ips=("10.1.0.2/32",))}
    (folder / "wgsd-responder-lab").mkdir()
    told = json.loads(registry.path.read_text())
    for part in (*told["zones"], *told["devices"]):
        part["device"] = "wg1"
    (folder / "wgsd-responder-lab/status.json").write_text(json.dumps(told))


def test_all_meshes_of_a_host_are_shown_each_with_its_responder(registry, capsys):
    registry.report()
    lab_of(registry)
    assert cli.main(["status"]) == 3
    out, err = capsys.readouterr()
    first, second, *interfaces = out.split("\n\n")
    assert first.startswith("responder 0.")
    assert second.startswith("responder@lab 0.")
    assert [text.split()[0] for text in interfaces] == ["wg1", "wg0"]
    assert "\nbob " in interfaces[0]
    assert "\nalice " in interfaces[1]
    assert "client-lab.yml is there; see: systemctl status wgsd-client@lab; journalctl -u " in err
    assert cli.main(["status", "--json"]) == 3
    found = {part["interface"]: part for part in json.loads(capsys.readouterr().out)}
    for interface, instance in (("wg0", None), ("wg1", "lab")):
        told = found[interface]["responder"]
        assert told["instance"] == instance
        assert told["report"]["zones"][0]["device"] == interface
    assert found["wg0"]["problems"] == []
    (problem,) = found["wg1"]["problems"]
    assert err == f"wgsd status: {problem}\n"


def test_a_responder_without_a_report_is_named_by_its_instance(registry, capsys):
    registry.report()
    lab_of(registry)
    (registry.responder_config.parent / "wgsd-responder-lab/status.json").unlink()
    assert cli.main(["status"]) == 3
    out, err = capsys.readouterr()
    assert out.startswith("responder 0.")
    assert "responder@lab" not in out
    assert "see whether it runs: systemctl status wgsd-responder@lab\n" in err
    registry.devices.pop("wg1")
    assert cli.main(["status", "--json"]) == 3
    out, err = capsys.readouterr()
    found = {part["interface"]: part["problems"] for part in json.loads(out)}
    assert found["wg0"] == []
    assert {f"wgsd status: {problem}" for problem in found["wg1"]} == set(err.splitlines())


def test_a_bad_configuration_of_one_mesh_hides_no_other(registry, capsys):
    registry.report()
    bad = registry.responder_config.with_name("client-lab.yml")
    bad.write_text("interface: wg1\n")
    assert cli.main(["status"]) == 2
    out, err = capsys.readouterr()
    assert "\nalice " in out
    assert err.startswith(f"wgsd status: {bad}:1: registries is missing")
