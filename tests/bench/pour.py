# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The floor of a zone transfer: sends the bytes of a file over each TCP connection.

Run by itself: ``python3 pour.py ADDRESS PORT FILE``.
"""

from __future__ import annotations

import pathlib
import socket
import sys


def main() -> None:
    """Send until it is killed."""
    address, port, path = sys.argv[1:]
    data = pathlib.Path(path).read_bytes()
    with socket.create_server((address, int(port))) as listening:
        while True:
            connection = listening.accept()[0]
            with connection:
                # What was not read would reset the connection at its end.
                connection.recv(4096)
                connection.sendall(data)


if __name__ == "__main__":
    main()
