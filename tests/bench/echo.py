# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The floor: processes that send each datagram back as it came, and do nothing else.

Run by itself: ``python3 echo.py ADDRESS PORT PROCESSES``. The processes share one socket, as the
responder's workers do.
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    """Echo until it is killed."""
    address, port, processes = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((address, port))
    for _number in range(processes - 1):
        if os.fork() == 0:
            break
    while True:
        data, source = sock.recvfrom(4096)
        sock.sendto(data, source)


if __name__ == "__main__":
    main()
