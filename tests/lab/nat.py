# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of NAT that a lab's router can do, as nftables rules (RFC 4787 behaviours).

Pure: from a description to the text of a ruleset. Routers apply it.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric", "double")
TABLE = "wgsd_lab"
_MAPPING_LIFETIME = "5m"


@dataclass(frozen=True)
class Nat:
    """What one router does to the packets that pass it.

    :param kind: one of :data:`KINDS`; ``double`` is a port-restricted router behind a
        port-restricted NAT of its provider
    :param drop_inbound: drop uninvited UDP at the WAN before connection tracking keeps an entry
        of it. Without that drop, a packet that comes before ours leaves can push our mapping to
        another port.
    :param loss: percent of the forwarded packets that get lost
    """

    kind: str = "port-restricted"
    drop_inbound: bool = True
    loss: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of NAT {self.kind!r}; one of: {', '.join(KINDS)}")
        if not 0 <= self.loss <= 100:
            raise ValueError(f"loss is a percentage from 0 to 100, not {self.loss}")


def ruleset(nat: Nat) -> str:
    """The ``nft -f`` script that makes a router with interfaces ``lan`` and ``wan`` do ``nat``."""
    chains = [_forward(nat)]
    if nat.kind != "none":
        chains.append(_masquerade(nat))
        if nat.drop_inbound:
            chains.append(_drop_inbound())
    if nat.kind in _CONES:
        chains.append(_cone(_CONES[nat.kind]))
    body = "\n".join(chains)
    return f"table ip {TABLE}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n{body}\n}}\n"


@dataclass(frozen=True)
class _Cone:
    """A NAT that lets packets in by a mapping it has learnt: from whom, and as a map's key."""

    key_type: str
    learnt: str
    arriving: str


# Learnt after the source translation, so that the key is the port which the world sees.
_CONES = {
    "full-cone": _Cone(
        key_type="inet_service",
        learnt="ct reply proto-dst",
        arriving="udp dport",
    ),
    "address-restricted": _Cone(
        key_type="inet_service . ipv4_addr",
        learnt="ct reply proto-dst . ip daddr",
        arriving="udp dport . ip saddr",
    ),
}


def _forward(nat: Nat) -> str:
    lossy = f"numgen random mod 100 < {nat.loss} drop" if nat.loss else ""
    if nat.kind == "none":
        return f"""
  chain forward {{
    type filter hook forward priority filter; policy accept;
    {lossy}
  }}"""
    return f"""
  chain forward {{
    type filter hook forward priority filter; policy drop;
    {lossy}
    iifname "lan" accept
    ct state established,related accept
    ct status dnat accept
  }}"""


def _masquerade(nat: Nat) -> str:
    how = "masquerade random,fully-random" if nat.kind == "symmetric" else "masquerade"
    return f"""
  chain translate_source {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" {how}
  }}"""


def _drop_inbound() -> str:
    return """
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "wan" meta l4proto udp ct state new drop
  }"""


def _cone(cone: _Cone) -> str:
    return f"""
  map mappings {{
    type {cone.key_type} : ipv4_addr . inet_service
    size 65535
    flags dynamic,timeout
    timeout {_MAPPING_LIFETIME}
  }}
  chain learn {{
    type filter hook postrouting priority srcnat + 1; policy accept;
    oifname "wan" meta l4proto udp ct direction original update @mappings {{ \
{cone.learnt} : ct original ip saddr . ct original proto-src }}
  }}
  chain let_in {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "wan" meta l4proto udp dnat ip to {cone.arriving} map @mappings
  }}"""
