# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line as a process: exit codes and messages."""

from __future__ import annotations

import json
import os
import pathlib
import socket
import subprocess
import sys

import pytest

from tests.unit.collection import MODULE_UTILS
from tests.unit.plugins.module_utils.wgsd.scripted_dns import ScriptedServer, respond
from wgsd import client
from wgsd.client import lock, report
from wgsd.config import ClientSettings
from wgsd.errors import UsageError
from wgsd.keys import PublicKey
from wgsd.model import Endpoint
from wgsd.names import instance_name, txt_strings
from wgsd.responder.keys import KeyStore

pytestmark = pytest.mark.unit

BOB = PublicKey(b"b" * 32)
NAME = instance_name(BOB, "example.com")


def wgsd(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "wgsd.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(MODULE_UTILS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def records_of_bob(port=51820):
    txt = " ".join(f'"{s}"' for s in txt_strings(BOB, ["10.0.0.2/32"], "bob"))
    return {
        "PTR": [("_wireguard._udp.example.com.", "PTR", NAME)],
        "SRV": [(NAME, "SRV", f"0 0 {port} {NAME}")],
        "A": [(NAME, "A", "192.0.2.20")],
        "TXT": [(NAME, "TXT", txt)],
    }


def zone_of_bob(port=51820):
    records = records_of_bob(port)
    return lambda query, _tcp: respond(
        query, records.get(query.question[0].to_text().split()[-1], [])
    )


def test_peers_come_by_one_transfer_where_the_server_gives_it():
    soa = ("example.com.", "SOA", "ns1.example.com. hostmaster.example.com. 7 60 60 600 5")
    records = [record for found in records_of_bob().values() for record in found]

    def transferred(query, tcp):
        assert tcp
        return respond(query, [soa, *records, soa])

    with ScriptedServer(transferred) as server:
        done = wgsd("peers", "--dns", str(server.endpoint), "--zone", "example.com")
    assert done.stdout.split()[-4:] == ["bob", BOB.base64, "192.0.2.20:51820", "10.0.0.2/32"]
    assert server.asked == ["example.com. IN AXFR"]


def test_peers_are_listed_for_people():
    with ScriptedServer(zone_of_bob()) as server:
        done = wgsd("peers", "--dns", str(server.endpoint), "--zone", "example.com")
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.splitlines()
    assert header.split() == ["NAME", "PUBLIC", "KEY", "ENDPOINT", "ALLOWED", "IPS"]
    assert row.split() == ["bob", BOB.base64, "192.0.2.20:51820", "10.0.0.2/32"]


def test_peers_are_listed_for_machines():
    with ScriptedServer(zone_of_bob()) as server:
        done = wgsd("peers", "-dns", str(server.endpoint), "-zone", "example.com", "--json")
    assert json.loads(done.stdout) == [
        {
            "name": "bob",
            "public_key": BOB.base64,
            "endpoint": "192.0.2.20:51820",
            "allowed_ips": ["10.0.0.2/32"],
        }
    ]


def test_one_unusable_peer_is_named_and_gives_exit_code_1():
    with ScriptedServer(zone_of_bob(port=0)) as server:
        done = wgsd("peers", "--dns", str(server.endpoint), "--zone", "example.com")
    assert done.returncode == 1
    assert BOB.base64 in done.stderr
    assert "port 0" in done.stderr


def test_a_server_out_of_reach_gives_exit_code_3():
    with ScriptedServer(zone_of_bob()) as server:
        closed = str(server.endpoint)
    done = wgsd("peers", "--dns", closed, "--zone", "example.com")
    assert done.returncode == 3
    assert done.stderr.startswith("wgsd peers: ")
    assert closed in done.stderr


def test_a_device_that_is_not_there_gives_exit_code_3():
    for arguments in (
        ["client", "-device", "nodevice0", "-dns", "127.0.0.1:1", "-zone", "example.com", "--once"],
        ["status", "--interface", "nodevice0"],
    ):
        done = wgsd(*arguments)
        assert done.returncode == 3, done.stderr
        assert "nodevice0" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["client", "--device", "wg0", "--zone", "example.com"], "--dns is missing"),
        (["client", "--config", "x", "--device", "wg0"], "exclude each other"),
        (["client", "--device", "wg0", "--dns", "a:1", "--zone", "b"], "'a' is not an IP address"),
        (["client", "--device", "w/g", "--dns", "10.0.0.1", "--zone", "b"], "'w/g'"),
        (["client", "--config", "/nonexistent.yml"], "/nonexistent.yml: cannot be read"),
        (["responder", "--config", "/nonexistent.yml"], "/nonexistent.yml: cannot be read"),
        (["peers", "--dns", "10.0.0.1:0", "--zone", "b"], "port 0"),
        (["peers", "--dns", "10.0.0.1", "--zone", "b..c"], "bad label"),
        (["peers", "--zone", "b"], "--dns"),
        (["client", "-dveice", "wg0"], "wgsd client: error: unknown: -dveice wg0"),
        (["client", "-device"], "-device: expected one argument"),
        (["peers", "--dns", "10.0.0.1", "--zone", "b", "--color"], "unknown: --color"),
        (["frobnicate"], "frobnicate"),
        ([], "COMMAND"),
    ],
)
def test_bad_usage_gives_exit_code_2_and_says_what_is_wrong(arguments, problem):
    done = wgsd(*arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("dashes", ["-", "--"])
@pytest.mark.parametrize("joined", [False, True])
def test_the_old_clients_flags_are_taken_as_go_takes_them(dashes, joined):
    flags = {"device": "wg0", "dns": "10.0.0.254:53", "zone": "example.com."}
    arguments = []
    for name, value in flags.items():
        flag = f"{dashes}{name}"
        arguments += [f"{flag}={value}"] if joined else [flag, value]
    done = wgsd("client", *arguments, "--check")
    assert (done.returncode, done.stdout) == (0, "command line: good\n"), done.stderr


def test_a_second_client_on_an_interface_ends_and_names_the_first(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "RUNTIME_DIR", tmp_path)
    settings = ClientSettings("wg0", "example.com.", (Endpoint("10.0.0.254", 53),))
    with (
        lock.alone("wg0"),
        pytest.raises(UsageError, match=f"process {os.getpid()} looks after wg0 already; .*--once"),
    ):
        client.run(settings)


def test_the_service_manager_hears_that_a_client_without_a_device_is_alive(tmp_path):
    flags = ["--device", "nodevice0", "--dns", "127.0.0.1:1", "--zone", "example.com"]
    environment = {"PYTHONPATH": str(MODULE_UTILS), "NOTIFY_SOCKET": str(tmp_path / "notify")}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(30)
        manager.bind(environment["NOTIFY_SOCKET"])
        with subprocess.Popen(
            [sys.executable, "-m", "wgsd.cli", "client", *flags],
            env={**os.environ, **environment, "WATCHDOG_USEC": "400000"},
            stderr=subprocess.DEVNULL,
        ) as process:
            told: list[str] = []
            try:
                while told.count("WATCHDOG=1") < 3:
                    told += manager.recv(1000).decode().split("\n")
            finally:
                process.terminate()
            assert process.wait(30) == 0
            while "STOPPING=1" not in told:
                told += manager.recv(1000).decode().split("\n")
    lock.lock_path("nodevice0").unlink(missing_ok=True)
    assert told[:2] == ["READY=1", "STATUS=starting"]
    assert any(line.startswith("STATUS=") and "nodevice0" in line for line in told)


def test_a_configuration_can_be_checked_without_a_device(tmp_path):
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text("interface: wg0\nzone: example.com\nregistries: [10.0.0.254]\n")
    bad.write_text("interface: wg0\nzone: example.com\nregistries: [10.0.0.254:99999]\n")
    assert wgsd("client", "--config", str(good), "--check").returncode == 0
    done = wgsd("client", "--config", str(bad), "--check")
    assert done.returncode == 2
    assert f"{bad}:3: field registries[0]: port 99999" in done.stderr


def test_secrets_that_everyone_can_read_are_warned_about(tmp_path):
    path = tmp_path / "responder.yml"
    path.write_text(
        "zones: [{zone: example.com, device: wgnone0, allow_query: [key ops.]}]\n"
        "keys: {ops.: {secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}}\n"
    )
    for mode, warned in ((0o644, True), (0o640, False)):
        path.chmod(mode)
        done = wgsd("responder", "--config", str(path), "--check")
        assert done.returncode == 0, done.stderr
        assert ("holds secrets" in done.stderr) is warned
        assert "MDEy" not in done.stderr


def signing_config(folder: pathlib.Path, **zone: object) -> pathlib.Path:
    path = folder / "responder.yml"
    settings = {"zones": [{"zone": "example.com", "device": "wg0", **zone}]}
    path.write_text(json.dumps({**settings, "state_dir": str(folder)}))
    return path


def test_the_ds_records_of_signed_zones_are_shown_as_in_a_zone_file(tmp_path):
    path = signing_config(tmp_path, dnssec=True)
    (key,) = KeyStore(tmp_path, "example.com.").have()
    done = wgsd("keys", "--config", str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"example.com. IN DS {key.ds('example.com.')} ; active\n"
    (row,) = json.loads(wgsd("keys", "--config", str(path), "--json").stdout)
    assert row == {
        "zone": "example.com.",
        "tag": key.tag,
        "role": "active",
        "since": key.since,
        "ds": key.ds("example.com."),
    }


def test_a_zone_that_has_no_key_yet_is_told(tmp_path):
    done = wgsd("keys", "--config", str(signing_config(tmp_path, dnssec=True)))
    assert done.returncode == 1
    assert "example.com. has no key yet" in done.stderr


def test_zones_that_are_not_signed_have_no_keys_to_show(tmp_path):
    done = wgsd("keys", "--config", str(signing_config(tmp_path)))
    assert done.returncode == 2
    assert "no zone is signed" in done.stderr
