# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Public keys and the ways they are written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgsd.errors import UsageError
from wgsd.keys import PublicKey, decode_base64_key

pytestmark = pytest.mark.unit

RAW = bytes(range(32))
BASE64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
LABEL = "aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq===="


def test_a_key_is_written_in_all_three_ways():
    key = PublicKey(RAW)
    assert key.base64 == str(key) == BASE64
    assert key.label == LABEL
    assert key.unpadded_label == LABEL.rstrip("=")
    assert key.hex() == RAW.hex()


@pytest.mark.parametrize("label", [LABEL, LABEL.upper(), LABEL.rstrip("="), LABEL.title().encode()])
def test_a_label_is_read_in_any_case_and_without_padding(label):
    assert PublicKey.from_label(label) == RAW


@given(st.binary(min_size=32, max_size=32))
def test_every_key_survives_every_spelling(raw):
    key = PublicKey(raw)
    assert PublicKey.from_base64(key.base64) == raw
    assert PublicKey.from_label(key.label) == raw
    assert PublicKey.from_label(key.unpadded_label) == raw
    assert PublicKey.from_hex(key.hex()) == raw


@given(st.text(max_size=60))
def test_a_text_that_is_read_as_a_label_is_that_keys_label(text):
    try:
        key = PublicKey.from_label(text)
    except UsageError:
        return
    assert text.lower() in (key.label, key.unpadded_label)


@pytest.mark.parametrize(
    "label",
    [
        "",
        "alice",
        LABEL[:-1],
        LABEL.rstrip("=")[:-1] + "r====",  # the same 32 bytes with a spare bit set
        LABEL.replace("a", "1", 1),
        b"\xff" * 56,
    ],
)
def test_a_label_that_is_not_the_canonical_base32_of_a_key_is_refused(label):
    with pytest.raises(UsageError):
        PublicKey.from_label(label)


@pytest.mark.parametrize("text", ["", "x", BASE64[:-1], BASE64 + "=", "é" * 44, BASE64[:-2] + "9="])
def test_a_bad_base64_key_is_refused_with_a_remedy(text):
    with pytest.raises(UsageError) as caught:
        PublicKey.from_base64(text)
    assert "wg show" in caught.value.remedy


def test_an_error_about_a_secret_key_does_not_tell_it():
    secret = "c2VjcmV0" * 5
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is tested
        decode_base64_key(secret)
    assert "c2Vj" not in str(caught.value)
