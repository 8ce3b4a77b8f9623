# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options with which modules of this collection ask a zone, for their documentation.

``module_utils/_asking.py`` has their specifications.
"""

from __future__ import annotations


class ModuleDocFragment:
    """Servers, and a key whose secret is given or may be on the host already."""

    SERVERS = r"""
options:
  servers:
    description:
      - DNS servers of the zone, as C(ADDRESS) or C(ADDRESS:PORT), asked in this order.
    type: list
    elements: str
    required: true
  timeout:
    description: Seconds to wait for a server each time.
    type: float
    default: 1.0
"""

    # A module cannot change a suboption of a fragment, and ansible-test reads plain strings only.
    KEY = r"""
options:
  key:
    description:
      - The TSIG key (RFC 8945) that queries are signed with.
      - None are signed if omitted.
    type: dict
    suboptions:
      name:
        description: Name of the key.
        type: str
        required: true
      algorithm:
        description: Its algorithm.
        type: str
        choices: [hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512]
        default: hmac-sha256
      secret:
        description: Its secret in Base64.
        type: str
        required: true
"""

    KNOWN_KEY = r"""
options:
  key:
    description:
      - The TSIG key (RFC 8945) that queries are signed with.
      - None are signed if omitted.
    type: dict
    suboptions:
      name:
        description: Name of the key.
        type: str
        required: true
      algorithm:
        description: Its algorithm.
        type: str
        choices: [hmac-sha224, hmac-sha256, hmac-sha384, hmac-sha512]
        default: hmac-sha256
      secret:
        description:
          - Its secret in Base64.
          - If omitted, the client keeps the key that it has, if that is a generation of this one
            (see M(wgsd.mesh.wgsd_tsig_key)). It is an error if it has none.
          - The configuration file, which holds it, can be read by root and by the client alone.
        type: str
"""
