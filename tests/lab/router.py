# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A site's router while the lab is up: its NAT, and the addresses of the hosts behind it."""

from __future__ import annotations

import dataclasses

from .errors import LabError
from .nat import Nat, loss_ruleset, ruleset
from .netns import Node
from .topology import LAN_GATEWAY, ROUTED_ADDRESSES, Attachment, SitePlan

# A reboot inverts some bits of the mapped ports, never of the lowest three: hosts of one site whose
# ports are neighbours do not get each other's old mappings.
_SHIFT_STEP, _SHIFT_END = 8, 1024


class Router:
    """A site's router, whose NAT can be changed while packets flow."""

    def __init__(self, site: SitePlan, nodes: dict[str, Node]) -> None:
        self.site = site
        self.node = nodes[site.router]
        self.nat = site.site.nat
        self._provider = nodes[site.provider] if site.is_double else None
        self._hosts = {name: nodes[name] for name in site.hosts}
        self._numbers = {name: number for number, name in enumerate(site.hosts)}
        self._next_number = len(self._numbers)
        self._shift = 0

    def set_nat(self, nat: Nat | str) -> None:
        """Do ``nat`` from now on (a kind's name keeps everything else) and forget all mappings.

        :raises ValueError: for an unknown kind, or none for more hosts than there are addresses
        :raises LabError: to ``double`` or from it, since a provider's NAT is a node more
        """
        if isinstance(nat, str):
            nat = dataclasses.replace(self.nat, kind=nat)
        if (nat.kind == "double") != self.site.is_double:
            raise LabError(
                f"{self.node.name} cannot become {nat.kind} while the lab is up: a double NAT has "
                f"a provider's router more. Build the lab with it for site {self.site.site.name}"
            )
        if nat.kind == "none" and len(self._hosts) > ROUTED_ADDRESSES:
            raise ValueError(f"without NAT there are addresses for {ROUTED_ADDRESSES} hosts")
        before, self.nat = self.nat, nat
        self.flush()
        if (before.kind == "none") != self.is_public:
            for node in self._hosts.values():
                self._set_public(node)

    @property
    def is_public(self) -> bool:
        """Whether hosts have public addresses, since there is no NAT."""
        return self.nat.kind == "none"

    def set_loss(self, percent: int) -> None:
        """Lose so many of the forwarded packets from now on; all mappings stay.

        :raises ValueError: for what is no percentage
        """
        self.nat = dataclasses.replace(self.nat, loss=percent)
        self.node.run(["nft", "-f", "-"], stdin=loss_ruleset(percent))

    def flush(self) -> None:
        """Forget all mappings. Where the kind of NAT keeps ports, new ones get the same ports."""
        if self._provider:
            provided = dataclasses.replace(self.nat, kind="port-restricted", loss=0)
            _translate(self._provider, provided, shift=0)
        _translate(self.node, self.nat, self._shift)

    def reboot(self) -> None:
        """Forget all mappings, and map every UDP port to another one than before.

        Where NAT is double, the provider's goes on; it sees other ports of the router, and so
        does the world.
        """
        self._shift = (self._shift + _SHIFT_STEP) % _SHIFT_END or _SHIFT_STEP
        _translate(self.node, self.nat, self._shift)

    def attachment(self, name: str) -> Attachment:
        """The addresses of a host that is here."""
        return self.site.attachment(self._numbers[name])

    def outside(self, name: str) -> str:
        """The IPv4 address under which the internet sees a host that is here."""
        if self.is_public:
            return self.site.routed_address(self._numbers[name])
        return self.site.wan_address

    def admit(self, node: Node) -> None:
        """Give a host that has no addresses some that none has had here for a while.

        :raises LabError: without NAT, when all public addresses are taken
        """
        others = [number for name, number in self._numbers.items() if name != node.name]
        routed = {number % ROUTED_ADDRESSES for number in others}
        if len(routed) < ROUTED_ADDRESSES:
            while self._next_number % ROUTED_ADDRESSES in routed:
                self._next_number += 1
        elif self.is_public:
            raise LabError(f"no public address is left for {node.name} behind {self.node.name}")
        self._hosts[node.name] = node
        self._numbers[node.name] = self._next_number
        self._next_number += 1
        self.configure(node)

    def dismiss(self, name: str) -> None:
        """Forget a host that is no longer here."""
        del self._hosts[name], self._numbers[name]

    def configure(self, node: Node) -> None:
        """Set the addresses and routes of a host that is here."""
        set_addresses(node, self.attachment(node.name))
        if self.is_public:
            self._set_public(node)

    def _set_public(self, node: Node) -> None:
        """Give a host its public address, or take it away; what it sends comes from there."""
        routed = self.site.routed_address(self._numbers[node.name])
        route = f"route replace default via {LAN_GATEWAY} dev eth0"
        if self.is_public:
            node.ip([f"address add {routed}/32 dev eth0", f"{route} src {routed}"])
        else:
            node.ip([f"address delete {routed}/32 dev eth0", route])


def set_addresses(node: Node, attachment: Attachment) -> None:
    """Set a host's addresses, and its ways out.

    Without nodad an IPv6 address cannot be used until a worker of the kernel has looked at it.
    """
    node.ip(
        [
            f"address add {attachment.ipv4} dev eth0",
            f"address add {attachment.ipv6} dev eth0 nodad",
            f"route replace default via {attachment.gateway} dev eth0",
            f"route replace default via {attachment.gateway6} dev eth0",
        ]
    )


def forget_addresses(node: Node) -> None:
    """Take a host's addresses away; the routes that need them go with them."""
    node.ip(["address flush dev eth0 scope global"])


def _translate(router: Node, nat: Nat, shift: int) -> None:
    router.run(["nft", "-f", "-"], stdin=ruleset(nat, shift) + loss_ruleset(nat.loss))
    router.run(["conntrack", "-F"])
