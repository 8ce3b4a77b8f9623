# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The responder as a service of a real systemd: changed under load, locked in, and its secrets."""

from __future__ import annotations

import base64
import json
import re
import shutil
import time
import typing as t
from pathlib import Path

import pytest

from tests.lab.inventory import ZONE
from tests.lab.podman import Host
from tests.lab.systemd import SystemdLab
from tests.roles.asking import UDP_RATE, Outcome, asking
from tests.roles.site_playbook import PROJECT, Site

pytestmark = pytest.mark.roles
SERVER = "10.0.0.254"
UNIT = "wgsd-responder.service"
UNIT_FILE = f"/etc/systemd/system/{UNIT}"
CONFIG = "/etc/wgsd/responder.yml"
ENGINE = "/usr/local/bin/wgsd"
CAP_NET_ADMIN = 1 << 12
#: Seconds in which a responder is there again, one of which systemd waits if it was killed, and
#: queries a second: the kernel's buffer has room for some 250.
RESTART, RESTART_RATE = 5.0, 50
#: The most that `systemd-analyze security` may say, in its unit of tenths.
EXPOSURE_MAX = 20


@pytest.fixture(scope="module", params=["bookworm", pytest.param("trixie", marks=pytest.mark.long)])
def site(request: pytest.FixtureRequest) -> t.Iterator[Site]:
    """A finished mesh of a registry and a peer."""
    with SystemdLab(
        prefix="roles-service", hosts=("registry", "alice"), suite=request.param
    ) as lab:
        built = Site(lab)
        built.build()
        yield built


@pytest.fixture
def registry(site: Site) -> t.Iterator[Host]:
    """The registry, whose responder is back to what the role has made of it afterwards."""
    host = site.lab.host("registry")
    host.run(["tar", "-cPf", "/root/made", ENGINE, CONFIG, UNIT_FILE])
    yield host
    host.run(["tar", "-xPf", "/root/made"])
    host.run(["systemctl", "daemon-reload"])
    host.run(["systemctl", "restart", UNIT])


def main_pid(host: Host) -> int:
    """Return the process that systemd takes for the responder."""
    return int(host.run(["systemctl", "show", "--property=MainPID", "--value", UNIT]).stdout)


def is_active(host: Host) -> bool:
    """Return whether systemd says that the responder is up, and neither starting nor reloading."""
    return host.run(["systemctl", "is-active", UNIT], check=False).stdout == "active\n"


def reloads(host: Host) -> int:
    """Return how often the responder has been reloaded since it was started."""
    report = json.loads(host.run(["cat", "/run/wgsd-responder/status.json"]).stdout)
    return int(report["reloads"])


def assert_none_failed(*outcomes: Outcome) -> None:
    """See that there were queries, that all were answered, and that these were enough."""
    for outcome in outcomes:
        assert outcome.answered > 0
        assert outcome.failures == [], f"{outcome.answered} others were answered"


def next_version(folder: Path) -> Path:
    """Return where there is a copy of this collection, with the engine changed by one line."""
    copy = folder / "ansible_collections/wgsd/mesh"
    left_out = shutil.ignore_patterns(".*", "tests", "__pycache__")
    shutil.copytree(PROJECT, copy, ignore=left_out)
    with (copy / "plugins/module_utils/wgsd/__init__.py").open("a") as file:
        file.write("# the next version\n")
    return folder


def test_an_upgrade_by_the_playbook_fails_no_query(
    site: Site, registry: Host, tmp_path: Path
) -> None:
    collections = next_version(tmp_path)
    before, pid = registry.run(["sha256sum", ENGINE]).stdout, main_pid(registry)
    with asking(registry.node, SERVER, ZONE) as outcomes:
        run = site.build(collections=collections)
    assert f"reload {UNIT}" in run.output
    assert registry.run(["sha256sum", ENGINE]).stdout != before
    assert main_pid(registry) == pid
    assert outcomes[0].answered > UDP_RATE
    assert_none_failed(*outcomes)


def test_another_configuration_by_the_playbook_fails_no_query_and_brings_metrics(
    site: Site, registry: Host
) -> None:
    pid, count = main_pid(registry), reloads(registry)
    options = ("--extra-vars", "wgsd_workers=3 wgsd_metrics=127.0.0.1")
    with asking(registry.node, SERVER, ZONE) as outcomes:
        run = site.build(*options)
    assert f"reload {UNIT}" in run.output
    assert main_pid(registry) == pid
    assert reloads(registry) == count + 1
    assert_none_failed(*outcomes)
    ask = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:9586/metrics').read())"
    assert "wgsd_" in registry.run(["python3", "-c", ask]).stdout
    again = site.run(*options)
    assert again.count("changed") == {"registry": 0, "alice": 0}, again.output


def test_queries_wait_for_the_responder_that_is_restarted(site: Site) -> None:
    registry = site.lab.host("registry")
    pid = main_pid(registry)
    with asking(registry.node, SERVER, ZONE, timeout=RESTART, rate=RESTART_RATE) as outcomes:
        for _time in range(3):
            registry.run(["systemctl", "restart", UNIT])
    assert main_pid(registry) != pid
    assert_none_failed(*outcomes)


def test_queries_wait_for_the_responder_that_was_killed(site: Site) -> None:
    registry = site.lab.host("registry")
    pid = main_pid(registry)
    with asking(registry.node, SERVER, ZONE, timeout=RESTART, rate=RESTART_RATE) as (udp, _tcp):
        registry.run(["kill", "-KILL", str(pid)])
        deadline = time.monotonic() + 20
        while main_pid(registry) in (0, pid) or not is_active(registry):
            assert time.monotonic() < deadline, "systemd did not start it again"
            time.sleep(0.1)
    # The one that a worker had in its hands may have died with it.
    assert len(udp.failures) <= 1, udp.failures
    assert udp.answered > 1


@pytest.mark.parametrize(
    ("damage", "complaint"),
    [
        (
            f"sed -i 's/^rate_limit.*//; s/device:/devise:/' {CONFIG}",
            r"responder\.yml:\d+: .*devise",
        ),
        (f"echo nonsense > {ENGINE}", "nonsense"),
    ],
    ids=["configuration", "engine"],
)
def test_a_reload_into_something_bad_fails_loudly_and_the_old_goes_on(
    site: Site, registry: Host, damage: str, complaint: str
) -> None:
    pid, count = main_pid(registry), reloads(registry)
    with asking(registry.node, SERVER, ZONE) as outcomes:
        registry.run(["sh", "-c", damage])
        reload = registry.run(["systemctl", "reload", UNIT], check=False)
        # Also when somebody sends the signal without the unit's own check before it.
        registry.run(["sh", "-c", f"kill -HUP {pid}; sleep 2"])
    journal = registry.run(["journalctl", "--output=cat", f"--unit={UNIT}"]).stdout
    assert reload.returncode != 0
    assert re.search(complaint, journal)
    assert "not reloaded" in journal
    assert is_active(registry)
    assert (main_pid(registry), reloads(registry)) == (pid, count)
    assert_none_failed(*outcomes)


def test_the_playbook_puts_back_what_was_changed_by_hand(site: Site, registry: Host) -> None:
    hashes = ["sha256sum", ENGINE, CONFIG, UNIT_FILE]
    before = registry.run(hashes).stdout
    registry.run(["sh", "-c", f"echo nonsense | tee {ENGINE} {CONFIG} {UNIT_FILE}"])
    site.build()
    assert registry.run(hashes).stdout == before
    assert is_active(registry)


@pytest.mark.parametrize(("host", "unit"), [("registry", UNIT), ("alice", "wgsd-client.service")])
def test_the_services_expose_little(site: Site, host: str, unit: str) -> None:
    analyze = ["systemd-analyze", "security", "--no-pager", f"--threshold={EXPOSURE_MAX}", unit]
    found = site.lab.host(host).run(analyze, check=False)
    assert found.returncode == 0, found.stdout


def test_the_watcher_alone_may_administer_the_network(site: Site) -> None:
    registry = site.lab.host("registry")
    script = (
        "for pid in $(cat /sys/fs/cgroup/system.slice/wgsd-responder.service/cgroup.procs); do "
        "echo $pid $(sed -n 's/^\\(Name\\|CapPrm\\|CapEff\\):\\t//p' /proc/$pid/status); done"
    )
    main = main_pid(registry)

    def rights_now():
        rights = {}
        for line in registry.run(["sh", "-c", script]).stdout.splitlines():
            pid, name, permitted, effective = line.split()
            kind = "supervisor" if int(pid) == main else name
            rights.setdefault(kind, []).append((int(permitted, 16), int(effective, 16)))
        return rights

    # Processes that have just been made still have to give theirs up.
    until = time.monotonic() + 10
    while {*(rights := rights_now()).get("wgsd-worker", ()), *rights.get("wgsd-notifier", ())} != {
        (0, 0)
    } and time.monotonic() < until:
        time.sleep(0.2)
    assert rights.keys() == {"supervisor", "wgsd-watcher", "wgsd-worker", "wgsd-notifier"}
    assert not any(effective & CAP_NET_ADMIN for _permitted, effective in rights["supervisor"])
    assert all(effective & CAP_NET_ADMIN for _permitted, effective in rights["wgsd-watcher"])
    assert {*rights["wgsd-worker"], *rights["wgsd-notifier"]} == {(0, 0)}


def test_a_secret_is_nowhere_but_where_it_is_used(
    site: Site, registry: Host, tmp_path: Path
) -> None:
    secrets = [base64.b64encode(bytes([number]) * 32).decode() for number in (1, 2)]
    variables = tmp_path / "variables.json"
    outputs = []
    for secret in secrets:
        keys = {"ops.example.com.": {"algorithm": "hmac-sha512", "secret": secret}}
        entry = "key ops.example.com."
        variables.write_text(json.dumps({"wgsd_tsig_keys": keys, "wgsd_allow_query": [entry]}))
        outputs.append(site.build("-vvv", "--extra-vars", f"@{variables}").output)
        dig = ["dig", "+noall", "+comments", f"@{SERVER}", ZONE, "SOA"]
        assert "REFUSED" in registry.run(dig).stdout
        signed = registry.run([*dig, "-y", f"hmac-sha512:ops.example.com.:{secret}"])
        assert "NOERROR" in signed.stdout
    assert f"{CONFIG}: a secret" in outputs[1]
    journal = registry.run(["journalctl", "--output=cat"]).stdout
    assert not any(secret in text for secret in secrets for text in (*outputs, journal))
    assert registry.run(["stat", "--format=%a %U %G", CONFIG]).stdout == "640 root wgsd\n"
