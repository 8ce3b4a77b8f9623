# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Messages on a stream between the responder's processes: a length of four bytes, then the data."""

from __future__ import annotations

import struct

_LENGTH = struct.Struct("!I")


def frame(data: bytes) -> bytes:
    """Return *data* as it goes over the stream."""
    return _LENGTH.pack(len(data)) + data


def take(buffer: bytearray) -> bytes | None:
    """Take the first whole message out of *buffer*; None if there is none yet."""
    if len(buffer) < _LENGTH.size:
        return None
    end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
    if len(buffer) < end:
        return None
    data = bytes(buffer[_LENGTH.size : end])
    del buffer[:end]
    return data
