# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was measured in a cell, and whether it is what should happen."""

from __future__ import annotations

import dataclasses

from .expectations import MEETING_WITHIN, TOLD_WITHIN, Expectation, Verdict


@dataclasses.dataclass
class Measured:
    """What was seen in one cell. Times are seconds since the event.

    Attributes:
        gap: The longest time without an answer until packets flowed; None if they never did.
        lost: Packets that a tunnel lost that had nothing to do with the event.
        told: When both ends had said that the other is unreachable; None if not both did.
        why: What ``wgsd status`` gives as the reason, by host, where it says unreachable.
        registry: When the registry knew both again; None if it never did or was never gone.
        endpoints: What each host's device uses for the other.
        late: The longest time by which a packet left too late: what the machine did to it.
        load: The machine's load.
        fault: What kept the cell from being measured.
        logs: What the clients have written, by host.
    """

    gap: float | None = None
    lost: int | None = None
    told: float | None = None
    why: dict[str, str] = dataclasses.field(default_factory=dict)
    registry: float | None = None
    endpoints: dict[str, str] = dataclasses.field(default_factory=dict)
    late: float = 0.0
    load: float = 0.0
    fault: str = ""
    logs: dict[str, str] = dataclasses.field(default_factory=dict)


def agrees(expected: Expectation, measured: Measured) -> bool:
    """Whether what was measured is what should happen."""
    if measured.fault:
        return False
    direct = measured.gap is not None and measured.gap <= expected.within
    in_time = measured.told is not None and measured.told <= TOLD_WITHIN
    told = len(measured.why) == 2 and in_time
    later = in_time and measured.gap is not None and measured.gap <= MEETING_WITHIN
    if expected.verdict is Verdict.UNHARMED:
        back = measured.registry is not None and measured.registry <= expected.within
        # A race may have been lost before: then there was no tunnel.
        return measured.lost == 0 and back if measured.lost is not None else told
    return {
        Verdict.NOTHING: True,
        Verdict.DIRECT: direct,
        Verdict.UNPUNCHABLE: told and measured.gap is None,
        Verdict.RACE: direct or told,
        Verdict.MEETING: direct or later,
    }[expected.verdict]


def in_words(measured: Measured) -> str:
    """Return what was measured, as short as a cell."""
    if measured.fault:
        return "fault"
    if measured.lost is not None:
        return f"{measured.lost} lost"
    parts = []
    if measured.gap is not None:
        parts.append(f"{measured.gap:.2f} s")
    if measured.told is not None:
        parts.append(f"told {measured.told:.0f} s")
    return ", ".join(parts) or "nothing"
