# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The filter mesh_preshared: one host's peers, with the preshared keys that both sides share."""

from __future__ import annotations

DOCUMENTATION = r"""
name: mesh_preshared
short_description: Peers with the preshared keys of their pairs
version_added: 0.1.0
author:
  - wgsd.mesh contributors (@wgsd-mesh)
description:
  - Gives each peer of a host the preshared key of the two, as the hosts of a run have made or had
    it, see M(wgsd.mesh.wg_preshared_keys).
  - A pair of which one host is not in the run is left as it is. With a key on one side only, the
    two would lose each other.
  - Of a pair whose sides differ, the maker's key counts, which is the host with the lesser public
    key as text.
positional: own, pairs
options:
  _input:
    description: The peers, as P(wgsd.mesh.mesh_peers#filter) returns them.
    type: list
    elements: dictionary
    required: true
  own:
    description: The public key of the host whose peers they are.
    type: string
    required: true
  pairs:
    description:
      - For the public key of each host of the run, what M(wgsd.mesh.wg_preshared_keys) returned
        there as RV(wgsd.mesh.wg_preshared_keys#module:preshared_keys).
    type: dictionary
    required: true
"""

EXAMPLES = r"""
- name: Show Alice's peers with their preshared keys
  ansible.builtin.debug:
    msg: "{{ peers | wgsd.mesh.mesh_preshared('A', {'A': {'B': 'secret'}, 'B': {}}) }}"
  vars:
    peers: [{public_key: B, name: bob}, {public_key: C, name: carol}]
  # => [{"public_key": "B", "name": "bob", "preshared_key": "secret"},
  #     {"public_key": "C", "name": "carol"}]
"""

RETURN = r"""
_value:
  description: The peers, some of them with C(preshared_key).
  type: list
  elements: dictionary
"""

import typing as t


def mesh_preshared(
    peers: t.Iterable[t.Mapping[str, t.Any]],
    own: str,
    pairs: t.Mapping[str, t.Mapping[str, str]],
) -> list[dict[str, t.Any]]:
    """Return *peers*, with the keys that the host *own* shares with those that are in *pairs*."""
    return [_with_key(dict(peer), own, pairs) for peer in peers]


def _with_key(
    peer: dict[str, t.Any], own: str, pairs: t.Mapping[str, t.Mapping[str, str]]
) -> dict[str, t.Any]:
    other = peer.get("public_key")
    if other not in pairs or own not in pairs or "state" in peer:
        return peer
    maker, taker = sorted((own, str(other)))
    key = pairs[maker].get(taker) or pairs[taker].get(maker)
    return {**peer, "preshared_key": key} if key else peer


class FilterModule:
    """Where Ansible finds the filter."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"mesh_preshared": mesh_preshared}
