# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Ansible inventory of a lab: who is who in the mesh, and how Ansible reaches them."""

from __future__ import annotations

import json
from typing import Any

from .ssh import Access
from .topology import REGISTRY, REGISTRY_ADDRESS, SitePlan

ZONE = "example.com."
WIREGUARD_PORT = 51820
_TUNNEL = "10.0.0"


def inventory(access: Access, sites: list[SitePlan]) -> dict[str, Any]:
    """The inventory as data, in the shape of Ansible's YAML inventories."""
    peers = [host for site in sites for host in site.hosts]
    return {
        "all": {
            "vars": {
                "ansible_ssh_common_args": f'-F "{access.config}"',
                # Ansible names its sockets by host and user alone, so that two labs that each
                # have an alice would share a connection if they shared this folder.
                "ansible_control_path_dir": str(access.control_dir),
                "ansible_python_interpreter": "/usr/bin/python3",
                "wgsd_zone": ZONE,
            },
            "children": {
                "wgsd_registry": {
                    "hosts": {
                        REGISTRY: {
                            "wgsd_endpoint": f"{REGISTRY_ADDRESS}:{WIREGUARD_PORT}",
                            "wgsd_address": f"{_TUNNEL}.254/24",
                        }
                    }
                },
                "wgsd_peers": {
                    "hosts": {
                        name: {"wgsd_address": f"{_TUNNEL}.{number}/24"}
                        for number, name in enumerate(peers, start=1)
                    }
                },
            },
        }
    }


def render(data: dict[str, Any]) -> str:
    """``data`` as YAML. Plain mappings of strings need no YAML library to be written."""
    return "---\n" + "\n".join(_lines(data, "")) + "\n"


def _lines(data: dict[str, Any], indent: str) -> list[str]:
    lines = []
    for key, value in data.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_lines(value, indent + "  ")]
        else:
            lines.append(f"{indent}{key}: {json.dumps(value)}")
    return lines
