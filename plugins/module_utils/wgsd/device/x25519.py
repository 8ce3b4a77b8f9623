# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The public key of a private key: X25519 (RFC 7748 section 5), for userspace devices.

The userspace protocol tells only the private key, and Debian's Python has no curve arithmetic of
its own. The code does not run in constant time: whoever could time it is root on this host, and
root can read the key itself.
"""

from __future__ import annotations

from ..keys import PublicKey

_PRIME = 2**255 - 19
_A24 = 121665
_BASE_POINT = 9


def public_key(private_key: bytes) -> PublicKey:
    """Return the public key that belongs to the 32 bytes of *private_key*; takes about 1 ms."""
    scalar = int.from_bytes(private_key, "little")
    scalar = (scalar & ~7 & ~(1 << 255)) | (1 << 254)
    x2, z2, x3, z3 = 1, 0, _BASE_POINT, 1
    swapped = 0
    for position in range(254, -1, -1):
        bit = (scalar >> position) & 1
        if bit != swapped:
            x2, z2, x3, z3 = x3, z3, x2, z2
            swapped = bit
        total2, gap2, total3, gap3 = x2 + z2, x2 - z2, x3 + z3, x3 - z3
        cross_a, cross_b = gap3 * total2 % _PRIME, total3 * gap2 % _PRIME
        square_a, square_b = total2 * total2 % _PRIME, gap2 * gap2 % _PRIME
        spread = square_a - square_b
        x3 = pow(cross_a + cross_b, 2, _PRIME)
        z3 = _BASE_POINT * pow(cross_a - cross_b, 2, _PRIME) % _PRIME
        x2 = square_a * square_b % _PRIME
        z2 = spread * (square_a + _A24 * spread) % _PRIME
    if swapped:
        x2, z2 = x3, z3
    return PublicKey((x2 * pow(z2, -1, _PRIME) % _PRIME).to_bytes(32, "little"))
