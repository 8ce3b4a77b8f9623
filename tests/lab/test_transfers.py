# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Zone transfers of a real responder, as dig and kdig see them."""

from __future__ import annotations

import base64
import pathlib
import typing as t

import pytest

from .bare import BareLab
from .responder import ALICE, BOB, PYTHONS, SERVICE, TUNNEL, ZONE, Bed

pytestmark = pytest.mark.lab

PREFIX = "wgtf"
SECRET = base64.b64encode(bytes(range(32))).decode()
WRONG = base64.b64encode(bytes(32)).decode()
#: Of the names that always are there: NS, the name server's address, four for browsing; the SOA
#: record comes twice.
FRAME = 2 + 1 + 1 + 4
#: Of a peer: its place in the list, and at both of its names SRV, address and TXT.
PEER = 1 + 2 * 3
#: Of one that has no endpoint yet: TXT, by both spellings.
UNSEEN = 2


@pytest.fixture(scope="module")
def lab() -> t.Iterator[BareLab]:
    with BareLab(PREFIX) as built:
        yield built


@pytest.fixture(params=PYTHONS)
def serving(
    lab: BareLab, request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> t.Iterator[Bed]:
    """A responder with two peers on its tunnel address, where the registry itself may ask."""
    bed = Bed(lab, tmp_path, PYTHONS[request.param])
    try:
        bed.start_device()
        bed.start(
            keys={"ops.": {"secret": SECRET}},
            zone={"allow_transfer": ["key ops.", "tunnel"]},
        )
        yield bed
    finally:
        bed.close()


def serial(bed: Bed) -> int:
    return int(bed.dig("+short", ZONE, "SOA")[0].split()[2])


def signed(secret: str = SECRET) -> list[str]:
    """What has dig and kdig sign a query."""
    return ["-y", f"hmac-sha256:ops.:{secret}"]


def answers(bed: Bed, command: str, *arguments: str) -> list[str]:
    """The records that it prints, without the signature."""
    shown = bed.dig(*arguments, "+noall", "+answer", command=command)
    return [line for line in shown if not line.startswith(";; ") and "TSIG" not in line]


def refusal(bed: Bed, server: str, *arguments: str) -> str:
    """What kdig has to say of a transfer that it does not get."""
    command = ["kdig", f"@{server}", "+timeout=5", *arguments]
    result = bed.host.run(command, check=False)
    assert result.returncode
    assert "SOA" not in result.stdout
    return result.stderr


def test_dig_and_kdig_get_all_of_the_zone(serving: Bed) -> None:
    for command in ("dig", "kdig"):
        for options in ([], signed()):
            shown = answers(serving, command, *options, ZONE, "AXFR")
            assert len(shown) == FRAME + 2 * PEER + UNSEEN
            assert shown[0].split()[3] == shown[-1].split()[3] == "SOA"
            assert sum(line.split()[0] == SERVICE for line in shown) == 2


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
def test_dig_and_kdig_get_what_has_changed(serving: Bed, transport: str) -> None:
    before = serial(serving)
    serving.set(ALICE, "endpoint", "198.51.100.1:4711")
    serving.until(lambda: serving.port_of(ALICE) == 4711)
    after = str(serial(serving))
    for command in ("dig", "kdig"):
        for options in ([], signed()):
            options = [*options, transport, "+bufsize=1232"]
            shown = answers(serving, command, *options, ZONE, f"IXFR={before}")
            words = [line.split() for line in shown]
            # At both names of the peer the SRV record: first as it was, then as it is.
            numbers = [word[6] for word in words if word[3] in ("SOA", "SRV")]
            assert len(numbers) == len(shown)
            assert numbers == [after, str(before), *["41414"] * 2, after, *["4711"] * 2, after]


@pytest.mark.parametrize("rdtype", ["AXFR", "IXFR=1"])
def test_a_wrong_secret_gets_nothing(serving: Bed, rdtype: str) -> None:
    assert "BADSIG" in refusal(serving, TUNNEL, *signed(WRONG), ZONE, rdtype)


def test_where_a_key_is_asked_for_the_tunnel_is_not_enough(serving: Bed) -> None:
    assert serving.responder
    serving.responder.stop()
    serving.start(keys={"ops.": {"secret": SECRET}}, zone={"allow_transfer": ["key ops."]})
    assert "REFUSED" in refusal(serving, TUNNEL, ZONE, "AXFR")
    assert "REFUSED" in refusal(serving, TUNNEL, ZONE, "IXFR=1")
    assert len(answers(serving, "kdig", *signed(), ZONE, "AXFR")) == FRAME + 2 * PEER + UNSEEN


def test_a_version_from_before_a_restart_still_leads_to_the_newest(serving: Bed) -> None:
    assert serving.responder
    before = serial(serving)
    serving.set(BOB, "endpoint", "[2001:db8::b]:4712")
    serving.until(lambda: serving.port_of(BOB) == 4712)
    serving.responder.restart()
    serving.until(lambda: serving.port_of(BOB) == 4712)
    shown = answers(serving, "dig", ZONE, f"IXFR={before}")
    assert [line.split()[3] for line in shown] == [
        *("SOA", "SOA", "SRV", "SRV"),
        *("SOA", "SRV", "SRV", "SOA"),
    ]


def test_transfers_are_counted_by_type_and_outcome(serving: Bed) -> None:
    answers(serving, "dig", ZONE, "AXFR")
    answers(serving, "dig", ZONE, "IXFR=1")
    assert serving.responder
    report = serving.responder
    serving.until(lambda: report.report["queries"]["by_type"].get("AXFR") == 1)
    serving.until(lambda: report.report["queries"]["by_type"].get("IXFR") == 1)


def test_nobody_transfers_by_another_address_than_the_tunnels(serving: Bed) -> None:
    assert serving.responder
    serving.responder.stop()
    serving.start(listen=[TUNNEL, "127.0.0.1"])
    assert len(answers(serving, "dig", ZONE, "AXFR")) == FRAME + 2 * PEER + UNSEEN
    assert "REFUSED" in refusal(serving, "127.0.0.1", ZONE, "AXFR")
