# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""WireGuard public keys and the three ways they are written: base64, Base32 label, hex."""

from __future__ import annotations

import base64
import binascii

from .errors import UsageError

KEY_BYTES = 32
PADDED_LABEL_LENGTH = 56
UNPADDED_LABEL_LENGTH = 52


class PublicKey(bytes):
    """The 32 bytes of a Curve25519 public key; hashable, comparable, printed as base64."""

    __slots__ = ()

    def __new__(cls, raw: bytes) -> PublicKey:
        """Wrap *raw*.

        Raises:
            UsageError: *raw* is not 32 bytes long.
        """
        if len(raw) != KEY_BYTES:
            raise UsageError(f"a WireGuard key has {KEY_BYTES} bytes, this one has {len(raw)}")
        return super().__new__(cls, raw)

    @classmethod
    def from_base64(cls, text: str) -> PublicKey:
        """Parse the form that ``wg`` prints (44 characters, one ``=``).

        Raises:
            UsageError: *text* is not the base64 of 32 bytes.
        """
        try:
            return cls(decode_base64_key(text))
        except ValueError as exc:
            raise UsageError(
                f"{text!r} is not a WireGuard public key ({exc})",
                "give the 44 characters that 'wg show' or 'wg pubkey' prints",
            ) from None

    @classmethod
    def from_hex(cls, text: str) -> PublicKey:
        """Parse the form of the userspace protocol (64 hexadecimal digits).

        Raises:
            UsageError: *text* is not the hex form of 32 bytes.
        """
        try:
            return cls(bytes.fromhex(text))
        except ValueError as exc:
            raise UsageError(f"{text!r} is not a WireGuard key in hex ({exc})") from None

    @classmethod
    def from_label(cls, label: bytes | str) -> PublicKey:
        """Parse a DNS-SD instance label (RFC 4648 section 6 Base32, any case, padded or not).

        Raises:
            UsageError: *label* is not the canonical Base32 of 32 bytes.
        """
        raw = label.encode("ascii", "replace") if isinstance(label, str) else label
        text = raw.upper()
        if len(text) == UNPADDED_LABEL_LENGTH:
            text += b"===="
        try:
            decoded = base64.b32decode(text)
        except (binascii.Error, ValueError):
            decoded = b""
        # Base32 of 32 bytes has 4 spare bits: a label that sets them is another name.
        if len(decoded) != KEY_BYTES or base64.b32encode(decoded) != text:
            raise UsageError(f"{label!r} is not a WireGuard key in Base32")
        return cls(decoded)

    @property
    def base64(self) -> str:
        """The 44 characters that ``wg`` prints."""
        return base64.b64encode(self).decode("ascii")

    @property
    def label(self) -> str:
        """The instance label: 56 characters of lower-case Base32, padding kept."""
        return base64.b32encode(self).decode("ascii").lower()

    @property
    def unpadded_label(self) -> str:
        """`label` without ``====``, for resolvers that refuse ``=`` in a name."""
        return self.label[:UNPADDED_LABEL_LENGTH]

    @property
    def short(self) -> str:
        """The first 8 characters of `base64`, for tables and logs."""
        return self.base64[:8]

    def __str__(self) -> str:
        return self.base64

    def __repr__(self) -> str:
        return f"PublicKey({self.base64!r})"


def decode_base64_key(text: str) -> bytes:
    """Decode any WireGuard key (public, private or preshared) from base64.

    Raises:
        ValueError: *text* is not canonical base64 of 32 bytes. The message holds no part of
            *text*, which may be a secret.
    """
    try:
        raw = base64.b64decode(text.strip().encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise ValueError("not base64") from None
    if len(raw) != KEY_BYTES:
        raise ValueError(f"{len(raw)} bytes instead of {KEY_BYTES}")
    if base64.b64encode(raw).decode("ascii") != text.strip():
        raise ValueError("not canonical base64")
    return raw
