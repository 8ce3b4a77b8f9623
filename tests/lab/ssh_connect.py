# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""ssh's ProxyCommand for a lab host: connect to its Unix socket and hand the connection to ssh.

``python3 ssh_connect.py SOCKET``, under ``ProxyUseFdpass yes``: no process stays in between.
"""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path


def main() -> None:
    path = Path(sys.argv[1])
    with socket.socket(socket.AF_UNIX) as door, socket.socket(fileno=os.dup(1)) as ssh:
        try:
            door.connect(str(path))
        except OSError as error:
            sys.exit(f"lab host {path.parent.name} is off or unknown ({error.strerror})")
        socket.send_fds(ssh, [b"\0"], [door.fileno()])


if __name__ == "__main__":
    main()
