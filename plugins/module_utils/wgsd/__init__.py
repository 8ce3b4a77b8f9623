# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine of wgsd.mesh: pure Python, no Ansible.

Imports run one way only, from the faces (``cli``, ``responder``, ``client``) down to ``keys``.
"""

from __future__ import annotations

__version__ = "0.1.0"
