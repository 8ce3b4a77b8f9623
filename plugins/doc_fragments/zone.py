# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How plugins on the controller reach the DNS servers of a zone, for their documentation.

What modules are given for the same is in `asking`.
"""

from __future__ import annotations


class ModuleDocFragment:
    """The options that lookup and inventory share."""

    DOCUMENTATION = r"""
requirements:
  - dnspython >= 2.3.0
options:
  zone:
    description: Name of the zone.
    type: string
    required: true
    vars:
      - name: wgsd_zone
    env:
      - name: WGSD_ZONE
    ini:
      - section: wgsd_lookup
        key: zone
      - section: wgsd
        key: zone
  server:
    description:
      - DNS servers of the zone, asked in this order, as C(ADDRESS), C(ADDRESS:PORT),
        C([ADDRESS]:PORT), or with a host name in place of the address.
      - A host name stands for all its addresses. One that cannot be resolved is left out with a
        warning if there is another server.
    type: list
    elements: string
    required: true
    vars:
      - name: wgsd_server
    env:
      - name: WGSD_SERVER
    ini:
      - section: wgsd_lookup
        key: server
      - section: wgsd
        key: server
  port:
    description: Port of the servers that are given without one.
    type: integer
    default: 53
    vars:
      - name: wgsd_port
    ini:
      - section: wgsd_lookup
        key: port
      - section: wgsd
        key: port
  tcp:
    description: Ask by TCP from the start. Without it, TCP is used for what UDP cannot carry.
    type: boolean
    default: false
    vars:
      - name: wgsd_tcp
    ini:
      - section: wgsd_lookup
        key: tcp
      - section: wgsd
        key: tcp
  timeout:
    description: Seconds to wait for a server each time.
    type: float
    default: 1.0
    vars:
      - name: wgsd_timeout
    ini:
      - section: wgsd_lookup
        key: timeout
      - section: wgsd
        key: timeout
  retries:
    description: How often to ask all servers again, if none of them answers.
    type: integer
    default: 2
    vars:
      - name: wgsd_retries
    ini:
      - section: wgsd_lookup
        key: retries
      - section: wgsd
        key: retries
  tsig:
    description:
      - The TSIG key (RFC 8945) that queries are signed with. Answers must be signed with it, too.
      - A dictionary of C(name), C(secret) (in Base64) and, if it is not C(hmac-sha256),
        C(algorithm), one of C(hmac-sha224), C(hmac-sha256), C(hmac-sha384) and C(hmac-sha512).
      - Or a string as C(dig -y) takes it, C(NAME:SECRET) or C(ALGORITHM:NAME:SECRET).
      - Queries are not signed if omitted.
    type: raw
    vars:
      - name: wgsd_tsig
    ini:
      - section: wgsd
        key: tsig
"""
