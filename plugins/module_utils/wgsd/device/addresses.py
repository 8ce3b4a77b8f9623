# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses as devices report them, in the one spelling that the engine compares."""

from __future__ import annotations

import ipaddress
import socket

from ..model import Endpoint

_MAPPED_PREFIX = bytes(10) + b"\xff\xff"


def endpoint(packed: bytes, port: int, scope_id: int = 0) -> Endpoint:
    """Make an endpoint of 4 or 16 bytes of address; an IPv4-mapped one becomes IPv4.

    It says what the device has, so it is not checked for use as `Endpoint.make` does.
    """
    if len(packed) == 16 and packed.startswith(_MAPPED_PREFIX):
        packed = packed[12:]
    return Endpoint(_spell(packed), port, scope_id)


def network(packed: bytes, length: int) -> str:
    """Make a CIDR block of 4 or 16 bytes of address, spelled as `parse_network` does."""
    return f"{_spell(packed)}/{length}"


def _spell(packed: bytes) -> str:
    if len(packed) == 4:
        return socket.inet_ntop(socket.AF_INET, packed)
    text = socket.inet_ntop(socket.AF_INET6, packed)
    # libc writes the last 32 bits of some addresses as IPv4; the ipaddress module, slower, not.
    return str(ipaddress.IPv6Address(packed)) if "." in text else text
