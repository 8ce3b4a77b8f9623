# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TSIG keys as configuration files have them; errors do not show what they are about."""

from __future__ import annotations

import base64
import binascii

from ..errors import UsageError
from ..names import absolute
from .fields import Field
from .settings import TsigKey

TSIG_ALGORITHMS = ("hmac-sha224", "hmac-sha256", "hmac-sha384", "hmac-sha512")
DEFAULT_TSIG_ALGORITHM = "hmac-sha256"
#: Characters of an absolute domain name (RFC 1035 section 2.3.4 without its length bytes).
KEY_NAME_MAX = 254
#: Bytes; what is shorter can be guessed by trying.
TSIG_SECRET_MIN = 16


def read_keys(field: Field) -> dict[str, TsigKey]:
    """Return the keys of a mapping, by name."""
    keys: dict[str, TsigKey] = {}
    for text, value in field.entries():
        name = value.parse_with(key_name, text)
        if name in keys:
            value.fail(f"the key {name} is already there", "give each key a name of its own")
        value.only("algorithm", "secret")
        keys[name] = _tsig_key(name, value)
    return keys


def read_key(field: Field) -> TsigKey:
    """Return the key that a mapping describes, its name included."""
    field.only("name", "algorithm", "secret")
    return _tsig_key(field.required("name").parsed(key_name), field)


def _tsig_key(name: str, field: Field) -> TsigKey:
    algorithm = field.optional("algorithm", _algorithm, DEFAULT_TSIG_ALGORITHM)
    return TsigKey(name, algorithm, field.required("secret").parsed(key_secret))


def key_name(text: str) -> str:
    """Return the name of a TSIG key as `absolute` writes it.

    Raises:
        UsageError: no domain name.
    """
    name = absolute(text)
    labels = name[:-1].split(".")
    if len(name) > KEY_NAME_MAX or not all(_is_key_label(label) for label in labels):
        raise UsageError(
            f"{text!r} cannot be the name of a key", "write it like a domain name: a.example.com."
        )
    return name


def _is_key_label(label: str) -> bool:
    good = 0 < len(label) <= 63 and label.isascii()
    return good and all(c.isalnum() or c in "-_" for c in label)


def _algorithm(field: Field) -> str:
    name = field.text().lower().rstrip(".")
    if name in ("hmac-sha1", "hmac-md5", "hmac-md5.sig-alg.reg.int"):
        field.fail(f"{name} is too weak", f"make a key for one of: {', '.join(TSIG_ALGORITHMS)}")
    if name not in TSIG_ALGORITHMS:
        field.fail(f"{name!r} is not known", f"give one of: {', '.join(TSIG_ALGORITHMS)}")
    return name


def key_secret(text: str) -> bytes:
    """Return the secret of a TSIG key from Base64.

    Raises:
        UsageError: not Base64, or too short. What was written is not in the message: it may be a
            secret with a slip of the pen.
    """
    remedy = "make one with: openssl rand -base64 32"
    try:
        secret = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise UsageError("not Base64", remedy) from None
    if len(secret) < TSIG_SECRET_MIN:
        raise UsageError(
            f"the secret has {len(secret)} bytes, not {TSIG_SECRET_MIN} or more", remedy
        )
    return secret
