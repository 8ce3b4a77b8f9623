# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names under a zone and the TXT record of a peer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgsd.errors import UsageError
from wgsd.keys import PublicKey
from wgsd.names import check_label, check_zone, instance_name, parse_txt, txt_strings

pytestmark = pytest.mark.unit

KEY = PublicKey(bytes(range(32)))


def test_an_instance_name_is_key_service_zone():
    assert instance_name(KEY, "Example.COM") == f"{KEY.label}._wireguard._udp.example.com."


def test_one_allowed_ip_gives_the_old_servers_strings():
    assert txt_strings(KEY, ["10.0.0.1/32", "10.0.0.2/32"]) == [
        "txtvers=1",
        f"pub={KEY.base64}",
        "allowed=10.0.0.1/32,10.0.0.2/32",
    ]


@given(
    st.lists(st.ip_addresses(v=4).map(str), max_size=60),
    st.lists(st.ip_addresses(v=6).map(str), max_size=60),
)
def test_any_number_of_allowed_ips_comes_back_whole(four, six):
    allowed = [f"{a}/32" for a in four] + [f"{a}/128" for a in six]
    strings = [s.encode() for s in txt_strings(KEY, allowed, "alice")]
    assert all(len(s) <= 255 for s in strings)
    attributes = [s.partition(b"=")[0] for s in strings]
    assert len(set(attributes)) == len(attributes), "RFC 6763: readers drop a repeated key"
    record = parse_txt(strings)
    assert record.public_key == KEY
    assert list(record.allowed_ips) == allowed
    assert record.name == "alice"


def test_txt_keys_match_in_any_case_and_strangers_are_skipped():
    record = parse_txt([b"TxtVers=1", f"PUB={KEY.base64}".encode(), b"x", b"", b"Allowed=10.0.0.1"])
    assert record.allowed_ips == ("10.0.0.1/32",)
    assert record.name is None


def test_the_first_of_repeated_txt_keys_counts():
    other = PublicKey(bytes(32)).base64
    assert parse_txt([f"pub={KEY.base64}".encode(), f"pub={other}".encode()]).public_key == KEY


@pytest.mark.parametrize(
    "strings", [[], [b"txtvers=1"], [b"pub=x"], [f"pub={KEY.base64}".encode(), b"allowed=nonsense"]]
)
def test_a_txt_record_that_says_nothing_of_use_is_refused(strings):
    with pytest.raises(UsageError):
        parse_txt(strings)


@pytest.mark.parametrize("zone", ["", ".", "a..b", "x" * 64, "bad name.", "é.example."])
def test_a_zone_that_is_no_domain_name_is_refused(zone):
    with pytest.raises(UsageError):
        check_zone(zone)


def test_a_zone_under_which_instance_names_do_not_fit_is_refused():
    labels = ".".join(["x" * 59] * 3)  # 180 bytes and the root
    assert check_zone(labels) == labels + "."
    with pytest.raises(UsageError, match="too long"):
        check_zone("y." + labels)


def test_friendly_names_are_host_name_labels():
    assert check_label("Alice-1") == "alice-1"
    for bad in ("", "-a", "a-", "a.b", "a_b", "x" * 64, "é"):
        with pytest.raises(UsageError):
            check_label(bad)


def test_more_allowed_ips_than_a_message_holds_are_left_out_whole_blocks_at_a_time():
    allowed = [f"10.{number // 256}.{number % 256}.0/24" for number in range(20_000)]
    strings = [string.encode() for string in txt_strings(KEY, allowed, "alice")]
    assert sum(1 + len(string) for string in strings) < 62_000
    record = parse_txt(strings)
    assert record.name == "alice"
    assert 3_000 < len(record.allowed_ips) < len(allowed)
    assert list(record.allowed_ips) == allowed[: len(record.allowed_ips)]
