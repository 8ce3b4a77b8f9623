# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The kinds of NAT that a lab's router can do, as nftables rules (RFC 4787 behaviours).

IPv6 is never translated: a router that does NAT has a stateful firewall for it (RFC 6092).
Pure: from a description to the text of a ruleset. Routers apply it.
"""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("none", "full-cone", "address-restricted", "port-restricted", "symmetric", "double")
_TABLE = "wgsd_lab"
_LOSS_TABLE = "wgsd_lab_loss"
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
    :param hairpin: hosts behind the router reach each other by their mappings, and see each
        other's mapping as the source (RFC 4787 section 6). Who is inside needs no invitation.
    """

    kind: str = "port-restricted"
    drop_inbound: bool = True
    loss: int = 0
    hairpin: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of NAT {self.kind!r}; one of: {', '.join(KINDS)}")
        _check_loss(self.loss)


def ruleset(nat: Nat, shift: int = 0) -> str:
    """The ``nft -f`` script that makes a router with interfaces ``lan`` and ``wan`` do ``nat``.

    Loss has a script of its own (:func:`loss_ruleset`), so that it changes while mappings stay.

    :param shift: every UDP port of a host is mapped as if it were the port with these bits
        inverted: another shift gives another port, and still one for all destinations
    """
    chains = [_forward(nat)]
    if nat.kind != "none":
        chains.append(_translate_source(nat))
        if nat.drop_inbound:
            chains.append(_drop_inbound())
        if nat.hairpin:
            chains.append(_hairpin())
        if shift:
            chains.append(_shift_ports(shift))
    if nat.kind in _CONES:
        chains.append(_cone(_CONES[nat.kind]))
    return _table(_TABLE, chains)


def loss_ruleset(percent: int) -> str:
    """The ``nft -f`` script that makes a router lose packets and leaves what it does alone.

    :raises ValueError: for what is no percentage
    """
    _check_loss(percent)
    which = f"numgen random mod 100 < {percent}" if percent < 100 else ""
    chain = f"""
  chain lose {{
    type filter hook forward priority filter - 1; policy accept;
    {which} drop
  }}"""
    return _table(_LOSS_TABLE, [chain] if percent else [])


def _check_loss(percent: int) -> None:
    if not 0 <= percent <= 100:
        raise ValueError(f"loss is a percentage from 0 to 100, not {percent}")


def _table(name: str, chains: list[str]) -> str:
    body = "\n".join(chains)
    return f"table inet {name}\ndelete table inet {name}\ntable inet {name} {{\n{body}\n}}\n"


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
_LEARNABLE = 'oifname "wan" meta nfproto ipv4 meta l4proto udp ct direction original'
_INSIDE = "ct original ip saddr . ct original proto-src"


def _forward(nat: Nat) -> str:
    if nat.kind == "none":
        return """
  chain forward {
    type filter hook forward priority filter; policy accept;
  }"""
    return """
  chain forward {
    type filter hook forward priority filter; policy drop;
    iifname "lan" accept
    ct state established,related accept
    ct status dnat accept
  }"""


def _translate_source(nat: Nat) -> str:
    how = "masquerade random,fully-random" if nat.kind == "symmetric" else "masquerade"
    return f"""
  chain translate_source {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "wan" meta nfproto ipv4 {how}
  }}"""


def _drop_inbound() -> str:
    return """
  chain input {
    type filter hook input priority filter; policy accept;
    iifname "wan" meta l4proto udp ct state new drop
  }"""


def _shift_ports(shift: int) -> str:
    # Before connection tracking sees a packet and after it has seen it: for it, and so for all
    # other rules, the host simply has another port.
    return f"""
  chain shift_leaving {{
    type filter hook prerouting priority raw; policy accept;
    iifname "lan" meta nfproto ipv4 udp sport set udp sport ^ {shift}
  }}
  chain shift_arriving {{
    type filter hook postrouting priority srcnat + 2; policy accept;
    oifname "lan" meta nfproto ipv4 udp dport set udp dport ^ {shift}
  }}"""


def _cone(cone: _Cone) -> str:
    return f"""
{_map("mappings", f"{cone.key_type} : ipv4_addr . inet_service")}
  chain learn {{
    type filter hook postrouting priority srcnat + 1; policy accept;
    {_LEARNABLE} update @mappings {{ {cone.learnt} : {_INSIDE} }}
  }}
  chain let_in {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "wan" meta l4proto udp dnat ip to {cone.arriving} map @mappings
  }}"""


def _hairpin() -> str:
    return f"""
{_map("inside", "inet_service : ipv4_addr . inet_service")}
{_map("outside", "ipv4_addr . inet_service : ipv4_addr . inet_service")}
  chain learn_both_ways {{
    type filter hook postrouting priority srcnat + 1; policy accept;
    {_LEARNABLE} update @inside {{ ct reply proto-dst : {_INSIDE} }}
    {_LEARNABLE} update @outside {{ {_INSIDE} : ct reply ip daddr . ct reply proto-dst }}
  }}
  chain turn_destination {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "lan" fib daddr type local dnat ip to udp dport map @inside
  }}
  chain turn_source {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "lan" ct status dnat snat ip to ip saddr . udp sport map @outside
  }}"""


def _map(name: str, types: str) -> str:
    return f"""  map {name} {{
    type {types}
    size 65535
    flags dynamic,timeout
    timeout {_MAPPING_LIFETIME}
  }}"""
