# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The next keys of this host's peers: made known to the device, and in the end put into the file.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import hashlib
import typing as t

from ._wg_file import WgQuickFile
from .wgsd.errors import UsageError
from .wgsd.keys import PublicKey
from .wgsd.model import Device, Peer, PeerChange
from .wgsd.names import check_label
from .wgsd.takeover import Pair, announcement, succession

#: Where the modules of the daemons put the engine.
ENGINE = "/usr/local/bin/wgsd"


@dataclasses.dataclass(frozen=True)
class Successor:
    """A peer's key and the next one.

    Attributes:
        name: The peer's name in the file, by which an even older key of it is found.
    """

    old: PublicKey
    new: PublicKey
    name: str | None = None

    @property
    def title(self) -> str:
        """How messages call the peer."""
        return self.name or f"{self.old.short}…"


def parse(options: t.Sequence[t.Mapping[str, t.Any]]) -> list[Successor]:
    """Check the option ``successors``.

    Raises:
        UsageError: one cannot be used; the message names it.
    """
    found = []
    for index, option in enumerate(options):
        where = f"successors[{index}]"
        try:
            found.append(
                Successor(
                    PublicKey.from_base64(option["old"]),
                    PublicKey.from_base64(option["new"]),
                    check_label(option["name"]) if option.get("name") else None,
                )
            )
        except UsageError as exc:
            raise UsageError(f"{where}: {exc.message}", exc.remedy) from None
    keys = [key for s in found for key in dict.fromkeys((s.old, s.new))]
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise UsageError(f"successors: {twice} is there twice", "give each host once")
    return found


def others(
    successors: t.Iterable[Successor], own: t.Container[PublicKey | None]
) -> list[Successor]:
    """Leave out this host itself.

    A host that has switched before its switch was told comes after itself: who still has an older
    key of it knows it by its name.
    """
    return [s for s in successors if s.old not in own and s.new not in own]


def pairs(
    successors: t.Iterable[Successor], file: WgQuickFile, device: Device
) -> tuple[list[tuple[Successor, Pair]], list[Successor]]:
    """Return whose place each new key is to take on *device*, and the peers that it does not have.

    A peer that has missed rotations before is there under an older key.
    """
    names = {peer.name: key for key, peer in file.peers().items() if peer.name}
    found, unknown = [], []
    for successor in successors:
        candidates = (successor.old, names.get(successor.name))
        old = next((key for key in candidates if key in device.peers), None)
        live = device.peers.get(successor.new)
        if old is not None and old != successor.new:
            found.append((successor, Pair(old, successor.new)))
        elif live is None:
            unknown.append(successor)
    return found, unknown


def announcements(
    found: t.Iterable[tuple[Successor, Pair]], device: Device
) -> list[tuple[Successor, PeerChange]]:
    """Return the changes that make *device* know the keys that it does not."""
    return [
        (successor, announcement(device.peers[pair.old], pair.new))
        for successor, pair in found
        if pair.new not in device.peers
    ]


def note(found: t.Iterable[tuple[Successor, Pair]], file: WgQuickFile) -> None:
    """Note in *file* which keys come after which, until that is settled.

    A run may break off after a host has switched. Whatever comes then can tell by this whose key
    has taken the old one's place on the device.
    """
    sections = file.peer_sections()
    for _successor, pair in found:
        if pair.old in sections:
            sections[pair.old].set_successor(pair.new)


def follow(
    file: WgQuickFile,
    live: t.Mapping[PublicKey, Peer] | None,
    told: t.Container[PublicKey] = (),
    certain: t.Container[PublicKey] = (),
) -> list[Pair]:
    """Put next keys that count by now into *file*, though nobody has settled them.

    Args:
        live: The peers of the device; None if they cannot be read.
        told: Keys that somebody says are those of his peers; none is older than a next key is.
        certain: Those of them that the peers themselves have told.

    Returns:
        The old keys, and those that have their sections now.
    """
    followed = []
    for old, section in file.peer_sections().items():
        new = section.successor
        if new is None:
            continue
        heir = live.get(new) if live else None
        # While it waits it has no allowed IPs.
        took_over = live is not None and old not in live and heir is not None and heir.allowed_ips
        if new in told or took_over:
            _succeed(file, old, new)
            followed.append(Pair(old, new))
        elif old in certain and live is not None and heir is None:
            section.set_successor(None)
    return followed


def inherit(
    file: WgQuickFile,
    former: t.Mapping[PublicKey, t.Iterable[PublicKey]],
    spared: t.Container[PublicKey],
) -> list[Pair]:
    """Give the sections of former keys to those that came after them.

    This host was off when a peer changed to its next key. That one still has the preshared key that
    the two shared, which a peer that was installed anew has not.

    Args:
        former: For each key of a peer the ones that it has had, the last one first.
        spared: Former keys that keep their sections, or are to go with them.

    Returns:
        The old keys, and those that have their sections now.
    """
    inherited = []
    sections = file.peer_sections()
    for new, keys in former.items():
        old = next((k for k in keys if k in sections and k not in spared), None)
        if old is not None and new not in sections:
            # A clone has had the same keys: the section goes to the first of the two.
            del sections[old]
            _succeed(file, old, new)
            inherited.append(Pair(old, new))
    return inherited


def unit_name(interface: str, found: t.Iterable[Pair]) -> str:
    """Return the name of the unit that watches for *found*: another one for others."""
    text = " ".join(sorted(map(str, found)))
    return f"wgsd-takeover-{interface}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.service"


def command(unit: str, interface: str, found: t.Iterable[Pair], seconds: int) -> list[str]:
    """Return the command line that starts the unit, and ends when the watcher has begun."""
    properties = (
        "NotifyAccess=main",
        "TimeoutStartSec=60",
        # What the socket of a userspace device takes, beside what the kernel's does.
        "CapabilityBoundingSet=CAP_NET_ADMIN CAP_DAC_OVERRIDE",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "ProtectHome=yes",
        "InaccessiblePaths=-/etc/wireguard -/etc/shadow -/etc/ssh",
        "PrivateDevices=yes",
        "ProtectKernelModules=yes",
        "RestrictNamespaces=yes",
    )
    return [
        "systemd-run",
        "--collect",
        "--quiet",
        f"--unit={unit}",
        f"--description=Next keys of the WireGuard peers of {interface}",
        "--service-type=notify",
        *(f"--property={text}" for text in properties),
        ENGINE,
        "takeover",
        f"--interface={interface}",
        f"--seconds={seconds}",
        *map(str, found),
    ]


@dataclasses.dataclass(frozen=True)
class Settlement:
    """What makes the new keys the ones that count: of the running interface, and in its file."""

    changes: tuple[PeerChange, ...] = ()
    steps: tuple[str, ...] = ()


def settle(
    successors: t.Iterable[Successor], file: WgQuickFile, device: Device | None
) -> Settlement:
    """Put the new keys into *file*, in the old ones' sections, and plan the same for *device*.

    All that the sections say stays: allowed IPs, preshared keys, comments. A device that still has
    an old entry, since nothing came by the new key yet, gets the new one in its place.
    """
    steps: list[str] = []
    changes: list[PeerChange] = []
    successors = list(successors)
    if device is not None:
        for successor, pair in pairs(successors, file, device)[0]:
            live = device.peers.get(pair.new)
            changes += succession(device.peers[pair.old], live, pair)
            steps.append(f"replace peer {successor.title}: {pair.old} by {pair.new}")
    for successor in successors:
        sections, settings = file.peer_sections(), file.peers()
        names = {peer.name: key for key, peer in settings.items() if peer.name}
        old = next((k for k in (successor.old, names.get(successor.name)) if k in sections), None)
        if old is None or old == successor.new:
            continue
        _succeed(file, old, successor.new)
    return Settlement(tuple(changes), tuple(steps))


def _succeed(file: WgQuickFile, old: PublicKey, new: PublicKey) -> None:
    """Give the section of *old* to *new*, or do without it if *new* has one."""
    sections = file.peer_sections()
    if new in sections:
        file.remove_peers([old])
    else:
        sections[old].set("PublicKey", new.base64)
        sections[old].set_successor(None)
