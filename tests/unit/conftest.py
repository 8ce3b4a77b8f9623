# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How hypothesis looks for examples: no matter how long one takes on a machine that is busy."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("wgsd", deadline=None)
hypothesis.settings.load_profile("wgsd")
