# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the modules of this collection have in common, for their documentation."""

from __future__ import annotations


class ModuleDocFragment:
    """Attributes that every module names, and requirements that several share."""

    DOCUMENTATION = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/wgsd.mesh.mesh) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - wgsd.mesh.mesh
  check_mode:
    description: Predicts what a run would change, and changes nothing.
  diff_mode:
    description: Shows what changes, or in check mode would change.
  platform:
    description: Systems that the module can run on.
    support: full
    platforms: debian
"""

    LIBRARIES = r"""
options: {}
requirements:
  - Python >= 3.9
  - pyroute2 >= 0.7.2 (Debian package python3-pyroute2)
  - dnspython >= 2.3.0 (Debian package python3-dnspython)
"""
