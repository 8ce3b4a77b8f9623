# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The keys of a zone on the disk: made once, for root alone, and rolled over step by step."""

from __future__ import annotations

import logging
import os
import pathlib
import stat
import subprocess
import sys

import dns.dnssec
import dns.name
import dns.rdata
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils

from tests.unit.collection import MODULE_UTILS
from wgsd.config import DnssecSettings, ResponderSettings, ZoneSettings
from wgsd.errors import UsageError
from wgsd.responder import keys
from wgsd.responder.keys import ANNOUNCED, RETIRED, KeyStore, Role
from wgsd.zone.signing import ZoneKey
from wgsd.zone.version import Content, Version

pytestmark = pytest.mark.unit

ZONE = "example.com."
NOW = 1_800_000_000


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """What the registry's clock shows."""
    return Clock()


@pytest.fixture
def store(tmp_path: pathlib.Path, clock: Clock) -> KeyStore:
    """The store of a zone that has no key yet."""
    return KeyStore(tmp_path, ZONE, wall=clock)


def roles(store: KeyStore) -> list[Role]:
    return [key.role for key in store.read()]


def verifies(key: ZoneKey, data: bytes, signature: bytes) -> bool:
    """Whether the public part of a key knows the signature."""
    numbers = (int.from_bytes(key.dnskey[start : start + 32], "big") for start in (4, 36))
    public = ec.EllipticCurvePublicNumbers(*numbers, ec.SECP256R1()).public_key()
    r, s = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    try:
        public.verify(utils.encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def test_the_first_key_is_made_once(store: KeyStore, tmp_path: pathlib.Path) -> None:
    assert store.read() == []
    (first,) = store.have()
    assert (first.role, first.since) == (Role.ACTIVE, NOW)
    assert store.have() == store.read() == [first]
    assert KeyStore(tmp_path, ZONE).have() == [first]
    assert KeyStore(tmp_path, "other.example.").have() != [first]


def test_what_is_private_is_for_the_owner_alone(store: KeyStore, tmp_path: pathlib.Path) -> None:
    store.have()
    paths = [tmp_path / "keys", *(tmp_path / "keys").iterdir()]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o700, 0o600, 0o600]


def test_a_key_signs_what_its_public_part_verifies(store: KeyStore) -> None:
    (key,) = store.signing()
    for number in range(50):
        signature = key.sign(b"%d" % number)
        assert len(signature) == 64
        assert verifies(key, b"%d" % number, signature)
        assert not verifies(key, b"else", signature)


def test_tag_and_ds_are_those_that_dnspython_computes(store: KeyStore) -> None:
    (key,) = store.have()
    rdata = dns.rdata.from_wire(1, 48, key.dnskey, 0, len(key.dnskey))
    assert (rdata.flags, rdata.protocol, rdata.algorithm) == (257, 3, 13)
    assert key.tag == dns.dnssec.key_id(rdata)
    assert key.ds(ZONE) == str(dns.dnssec.make_ds(dns.name.from_text(ZONE), rdata, "SHA256"))


def test_of_two_processes_that_make_the_first_key_both_use_the_same(
    store: KeyStore, tmp_path: pathlib.Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = KeyStore(tmp_path, ZONE, wall=clock)
    link = os.link

    def link_second(source: pathlib.Path, target: pathlib.Path) -> None:
        monkeypatch.setattr(os, "link", link)
        other.have()
        link(source, target)

    monkeypatch.setattr(os, "link", link_second)
    assert store.have() == other.read()
    assert len(list((tmp_path / "keys").iterdir())) == 2


def test_a_rollover_goes_step_by_step(store: KeyStore, clock: Clock) -> None:
    (first,) = store.have()
    assert store.announce()
    assert not store.announce()
    assert roles(store) == [Role.ACTIVE, Role.SUCCESSOR]
    assert store.signing()[0].tag == first.tag

    clock.now += ANNOUNCED
    assert store.promote()
    assert not store.promote()
    assert roles(store) == [Role.ACTIVE, Role.RETIRED]
    active, retired = store.signing()
    assert retired.tag == first.tag
    assert (active.until, retired.until) == (None, clock.now + RETIRED)

    assert not store.forget()
    clock.now += RETIRED
    assert store.forget()
    assert roles(store) == [Role.ACTIVE]
    assert [key.tag for key in store.signing()] == [active.tag]


def test_a_successor_that_caches_may_not_know_does_not_sign(store: KeyStore, clock: Clock) -> None:
    store.announce()
    clock.now += ANNOUNCED - 7
    with pytest.raises(UsageError, match="try again in 7 s"):
        store.promote()
    assert roles(store) == [Role.ACTIVE, Role.SUCCESSOR]


def test_a_successor_that_was_not_read_is_announced_anew(store: KeyStore, clock: Clock) -> None:
    store.announce()
    clock.now += ANNOUNCED
    assert store.announce(anew=True)
    with pytest.raises(UsageError, match=f"try again in {ANNOUNCED} s"):
        store.promote()
    assert len(store.read()) == 2


def test_a_rollover_does_not_begin_before_the_last_is_over(store: KeyStore, clock: Clock) -> None:
    store.announce()
    clock.now += ANNOUNCED
    store.promote()
    with pytest.raises(UsageError, match="the last rollover is not over"):
        store.announce()


def test_without_a_successor_nothing_takes_over(store: KeyStore) -> None:
    (key,) = store.have()
    assert not store.promote()
    assert store.read() == [key]


def test_a_dry_store_says_what_would_change_and_changes_nothing(
    store: KeyStore, tmp_path: pathlib.Path, clock: Clock
) -> None:
    dry = KeyStore(tmp_path, ZONE, dry=True, wall=clock)
    assert dry.have() == []
    assert not (tmp_path / "keys").exists()
    (key,) = store.have()
    assert dry.announce()
    assert store.read() == [key]
    store.announce()
    clock.now += ANNOUNCED
    assert dry.promote()
    assert roles(store) == [Role.ACTIVE, Role.SUCCESSOR]


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "[1]", '[{"tag": 1}]', '[{"tag":1,"role":"x","since":1}]']
)
def test_a_damaged_index_is_told_with_its_name_and_the_remedy(
    store: KeyStore, tmp_path: pathlib.Path, content: str
) -> None:
    store.have()
    (tmp_path / "keys" / f"{ZONE}json").write_text(content)
    with pytest.raises(UsageError, match=r"example\.com\.json .*restore the folder"):
        store.have()


def test_a_private_part_that_is_gone_or_damaged_is_told(
    store: KeyStore, tmp_path: pathlib.Path
) -> None:
    (key,) = store.have()
    path = tmp_path / "keys" / f"{ZONE}{key.tag}.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\n")
    with pytest.raises(UsageError, match="is not a private key"):
        store.signing()
    path.unlink()
    with pytest.raises(UsageError, match="No such file"):
        store.signing()


def test_a_key_that_cannot_be_written_is_told(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UsageError, match="make the state directory writable"):
        KeyStore(tmp_path / "missing", ZONE).have()


def settings(folder: pathlib.Path, *zones: ZoneSettings) -> ResponderSettings:
    return ResponderSettings(zones, state_dir=folder)


SIGNED = ZoneSettings(ZONE, "wg0", dnssec=DnssecSettings(7 * 86400))
PLAIN = ZoneSettings("plain.example.", "wg0")


def test_zones_that_are_to_be_signed_get_a_signer(tmp_path: pathlib.Path) -> None:
    assert set(keys.signers(settings(tmp_path, SIGNED, PLAIN))) == {ZONE}
    assert [path.suffix for path in sorted((tmp_path / "keys").iterdir())] == [".pem", ".json"]


def test_a_signer_says_that_it_lives_at_each_name(tmp_path: pathlib.Path) -> None:
    beats: list[None] = []
    signer = keys.signers(settings(tmp_path, SIGNED), lambda: beats.append(None))[ZONE]
    delta = signer.seal(Version(ZONE, 1), Version(ZONE, 2, Content((), {})).whole())
    assert len(beats) == len(delta.seals) + 2  # Empty non-terminals have no seal.


def test_a_zone_whose_key_is_lost_is_told_and_served_without_signatures(
    tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / f"{ZONE}json").write_text("damage")
    with caplog.at_level(logging.ERROR):
        assert keys.signers(settings(tmp_path, SIGNED)) == {}
    assert "zone example.com. is not signed" in caplog.text


def run(code: str) -> str:
    """Run Python with the engine; what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(MODULE_UTILS)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


def test_cryptography_is_not_loaded_where_nothing_is_signed() -> None:
    code = """
import sys, pathlib
from wgsd import cli
from wgsd.config import ResponderSettings, ZoneSettings
from wgsd.responder import keys
keys.signers(ResponderSettings((ZoneSettings("example.com.", "wg0"),)))
keys.check(ResponderSettings((ZoneSettings("example.com.", "wg0"),)))
print(sorted({name.partition(".")[0] for name in sys.modules} & {"cryptography"}))
print("dns.dnssec" in sys.modules)
"""
    assert run(code) == "[]\nFalse\n"


def test_a_check_names_the_package_that_signing_needs() -> None:
    code = """
import sys
sys.modules["cryptography"] = None
from wgsd.config import DnssecSettings, ResponderSettings, ZoneSettings
from wgsd.errors import DependencyError
from wgsd.responder import keys
zone = ZoneSettings("example.com.", "wg0", dnssec=DnssecSettings(86400))
try:
    keys.check(ResponderSettings((zone,)))
except DependencyError as exc:
    print(exc)
"""
    assert "apt install python3-cryptography" in run(code)
