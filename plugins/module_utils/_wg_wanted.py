# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What wg_interface is asked for, checked, and worked into a wg-quick file. Pure: no I/O.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import re
import typing as t

from ._wg_file import Address, InterfaceSettings, PeerSettings, WgQuickFile, parse_mark
from ._wg_successors import follow, inherit
from .wgsd.config import PERSISTENT_KEEPALIVE_MAX, check_instance, check_interface
from .wgsd.errors import UsageError
from .wgsd.keys import PublicKey, decode_base64_key
from .wgsd.model import PORT_MAX, HostPort, Peer, parse_network
from .wgsd.names import check_label

T = t.TypeVar("T")
#: The least that IPv6 needs is 1280; IPv4 alone works down to 576.
MTU_MIN, MTU_MAX = 576, 65535
TABLE_MAX = 2**32 - 1
#: Above Linux's usual net.ipv4.ip_local_port_range.
LASTING_PORTS = range(61000, PORT_MAX + 1)
#: What wg-quick takes as an interface name, from its own check.
_QUICK_NAME = re.compile(r"[a-zA-Z0-9_=+.-]{1,15}")


@dataclasses.dataclass(frozen=True)
class WantedPeer:
    """One item of the option peers. A field that is None is left as the file has it.

    Attributes:
        endpoint: Empty to take it away.
        persistent_keepalive: Seconds, 0 to take it away.
        preshared_key: Base64, empty to take it away. Never printed.
        former_keys: Those that the peer has had, the last one first.
        replace: Whether it takes the place of another peer of its name.
    """

    public_key: PublicKey
    name: str | None = None
    allowed_ips: tuple[str, ...] | None = None
    endpoint: str | None = None
    persistent_keepalive: int | None = None
    preshared_key: str | None = dataclasses.field(default=None, repr=False)
    former_keys: tuple[PublicKey, ...] | None = None
    replace: bool = True

    @property
    def title(self) -> str:
        """How messages call the peer."""
        return self.name or f"{self.public_key.short}…"


@dataclasses.dataclass(frozen=True)
class AbsentPeer:
    """One item of the option peers that is not to be there; named by its key, its name or both."""

    public_key: PublicKey | None = None
    name: str | None = None

    @property
    def title(self) -> str:
        """How messages call the peer."""
        return self.name or (f"{self.public_key.short}…" if self.public_key else "")


@dataclasses.dataclass(frozen=True)
class Wanted:
    """The options of the module. A field that is None is left as the file has it.

    Attributes:
        private_key: Base64. Never printed.
        fwmark: 0 to take it away.
        table: ``off``, ``auto`` or a number.
        instance: The mesh that the interface is for, on a host of several; None for any.
        peers: Those that are to be there.
        keepalive: Seconds, for those of them that have an endpoint and none of their own.
        absent: Those that are not.
    """

    name: str
    private_key: str | None = dataclasses.field(default=None, repr=False)
    addresses: tuple[Address, ...] | None = None
    listen_port: int | None = None
    mtu: int | None = None
    fwmark: int | None = None
    table: str | None = None
    instance: str | None = None
    peers: tuple[WantedPeer, ...] | None = None
    keepalive: int | None = None
    absent: tuple[AbsentPeer, ...] = ()
    purge: bool = False
    skip_own: bool = False

    @property
    def absent_keys(self) -> frozenset[PublicKey]:
        """The keys of the peers that are not to be there, as far as they are told."""
        return frozenset(peer.public_key for peer in self.absent if peer.public_key)

    @property
    def absent_names(self) -> frozenset[str]:
        """The names of the peers that are not to be there, as far as they are told."""
        return frozenset(peer.name for peer in self.absent if peer.name)

    def for_host(self, own_key: PublicKey | None) -> Wanted:
        """Return this as it is for one host.

        Without the peer that is the host itself, if such a one is to be left out, and with this
        host's keepalive.
        """
        if self.peers is None:
            return self
        peers = [p for p in self.peers if not (self.skip_own and p.public_key == own_key)]
        return dataclasses.replace(self, peers=tuple(map(self._kept_alive, peers)))

    def _kept_alive(self, peer: WantedPeer) -> WantedPeer:
        if self.keepalive is None or not peer.endpoint or peer.persistent_keepalive is not None:
            return peer
        return dataclasses.replace(peer, persistent_keepalive=self.keepalive)


@dataclasses.dataclass
class PeerEdits:
    """The peers whose sections came, changed and went."""

    added: list[PublicKey] = dataclasses.field(default_factory=list)
    changed: list[PublicKey] = dataclasses.field(default_factory=list)
    removed: list[PublicKey] = dataclasses.field(default_factory=list)


def check_options(options: t.Mapping[str, t.Any]) -> Wanted:
    """Check the module's options.

    Raises:
        UsageError: an option cannot be used; the message names it and the peer.
    """
    listed = [_peer(i, peer) for i, peer in enumerate(options["peers"] or ())]
    present = tuple(peer for peer in listed if isinstance(peer, WantedPeer))
    wanted = Wanted(
        name=_parsed("name", quick_name, options["name"]),
        private_key=_optional("private_key", _private_key, options["private_key"]),
        addresses=_each("address", _address, options["address"]),
        listen_port=_optional("listen_port", _range(1, PORT_MAX), options["listen_port"]),
        mtu=_optional("mtu", _range(MTU_MIN, MTU_MAX), options["mtu"]),
        fwmark=_optional("fw_mark", _mark, options["fw_mark"]),
        table=_optional("table", _table, options["table"]),
        instance=_optional("instance", check_instance, options["instance"]),
        peers=None if options["peers"] is None else present,
        absent=tuple(peer for peer in listed if isinstance(peer, AbsentPeer)),
        purge=options["purge"],
        skip_own=options["skip_own"],
        keepalive=_optional("keepalive", _range(0, PERSISTENT_KEEPALIVE_MAX), options["keepalive"]),
    )
    if wanted.purge and options["state"] == "present" and wanted.peers is None:
        raise UsageError("purge: there are no peers to compare with", "give peers, if only []")
    _refuse_twins(present)
    _refuse_contradictions(present, wanted)
    return wanted


def edit(
    file: WgQuickFile, wanted: Wanted, live: t.Mapping[PublicKey, Peer] | None = None
) -> PeerEdits:
    """Work *wanted* into *file*.

    A peer that has the name of one in the file, which is not wanted itself, takes its place: it is
    the same host with a new key. One that is to replace nobody is left out instead. A peer whose
    next key was announced, and has taken over on the running interface, has that key. A peer that
    is in the file by a former key gets all that the file says of it.

    Args:
        live: The peers of the running interface, none if it does not run; None if not known.

    Raises:
        UsageError: the outcome would have two peers with one allowed IP.
    """
    section, now = file.interface, file.interface_settings()
    if wanted.addresses is not None and set(wanted.addresses) != set(now.addresses):
        section.set("Address", ", ".join(map(str, wanted.addresses)) or None)
    if wanted.listen_port is not None and wanted.listen_port != now.listen_port:
        section.set("ListenPort", str(wanted.listen_port))
    if wanted.mtu is not None and wanted.mtu != now.mtu:
        section.set("MTU", str(wanted.mtu))
    if wanted.fwmark is not None and wanted.fwmark != (now.fwmark or 0):
        section.set("FwMark", f"{wanted.fwmark:#x}" if wanted.fwmark else None)
    if wanted.table is not None and wanted.table != (now.table or "auto").lower():
        section.set("Table", wanted.table if wanted.table != "auto" else None)
    edits = PeerEdits()
    told = {peer.public_key for peer in wanted.peers or ()}
    certain = {peer.public_key for peer in wanted.peers or () if peer.replace}
    pairs = follow(file, live, told, certain)
    pairs += inherit(
        file,
        {p.public_key: p.former_keys or () for p in wanted.peers or () if p.replace},
        told | wanted.absent_keys,
    )
    for pair in pairs:
        edits.removed.append(pair.old)
        edits.added.append(pair.new)
    if wanted.peers is not None:
        peers, spared = _without_hearsay(file, wanted, live or {})
        kept = {peer.public_key for peer in peers} | spared
        gone_keys = wanted.absent_keys
        gone_names = wanted.absent_names | {p.name for p in peers if p.name and p.replace}
        gone = [
            key
            for key, peer in file.peers().items()
            if key not in kept
            and (wanted.purge or key in gone_keys or (peer.name or "").lower() in gone_names)
        ]
        file.remove_peers(gone)
        edits.removed += gone
        edits.added = [key for key in edits.added if key not in gone]
        _edit_peers(file, peers, edits)
    _refuse_shared_ips(file.peers().values())
    return edits


def lasting_port(host: str, interface: str) -> int:
    """Return a UDP port for a new interface that was not given one.

    WireGuard would take another port at each start, and a host that boots again would have lost the
    holes in other hosts' NATs that were made for its old one. The port lies above those that Linux
    hands out, and hosts behind one NAT hardly ever get the same.

    Args:
        host: The name of this host.
        interface: The name of the interface.
    """
    digest = hashlib.sha256(f"{host}/{interface}".encode()).digest()
    return LASTING_PORTS[int.from_bytes(digest[:8], "big") % len(LASTING_PORTS)]


def check_own(file: WgQuickFile, own_key: PublicKey | None) -> None:
    """Refuse peers of *file* that are this host itself, by its key or by a tunnel address.

    Raises:
        UsageError: there is such a peer.
    """
    addresses = file.interface_settings().addresses
    own = {str(ipaddress.ip_network(address.ip)) for address in addresses}
    for peer in file.peers().values():
        if peer.public_key == own_key:
            raise UsageError(
                f"peer {peer.title} has the public key of this host's own interface",
                "leave this host out of its peers (skip_own does so), or, if the host was cloned, "
                "give it a new key",
            )
        for block in peer.allowed_ips:
            if block in own:
                raise UsageError(
                    f"peer {peer.title} has this host's own tunnel address {block} as allowed IP",
                    "give each host a tunnel address of its own",
                )


def check_private_key(
    source: str, settings: InterfaceSettings, own_key: PublicKey | None, wanted_key: PublicKey
) -> None:
    """Refuse to give an interface another key than its file has.

    Args:
        source: What messages call the file.
        settings: What it says.
        own_key: The public key that belongs to it; None if it has none.
        wanted_key: The public key of the option private_key.

    Raises:
        UsageError: the keys differ, or the file loads one that is not there.
    """
    if own_key is None and settings.private_key_file:
        raise UsageError(
            f"private_key: {source} loads its key from {settings.private_key_file}, and that file "
            "holds none",
            "put the key there, or remove the hook that loads it",
        )
    if own_key not in (None, wanted_key):
        raise UsageError(
            f"private_key: {source} has another key, whose public key is {own_key}; that of "
            f"private_key is {wanted_key}. To change it would drop all tunnels of the interface",
            "use the playbook wgsd.mesh.rotate_keys, or remove the interface first, with "
            "state=absent and purge=true",
        )


def _without_hearsay(
    file: WgQuickFile, wanted: Wanted, live: t.Mapping[PublicKey, Peer]
) -> tuple[list[WantedPeer], set[PublicKey]]:
    """Leave out the peers that could only be added in another one's place, and are not to.

    Returns:
        The other peers, and the keys of those in the file that stay for one that is left out.
    """
    listed: list[WantedPeer] = []
    spared: set[PublicKey] = set()
    there, going = file.peers(), wanted.absent_keys
    by_name: dict[str, set[PublicKey]] = {}
    for key, peer in there.items():
        if peer.name and key not in going:
            by_name.setdefault(peer.name.lower(), set()).add(key)
    # Whom the device alone has is there since the file was written, so it is the later one.
    holders = {
        block: key
        for key, other in live.items()
        if not wanted.purge and key not in there and key not in going
        for block in other.allowed_ips
    }
    for one in wanted.peers or ():
        key = one.public_key
        if not one.replace and key not in there:
            namesakes = by_name.get(one.name or "", set())
            if namesakes or any(holders.get(b, key) != key for b in one.allowed_ips or ()):
                spared |= namesakes
                continue
        listed.append(one)
    return listed, spared


def _edit_peers(file: WgQuickFile, wanted: t.Iterable[WantedPeer], edits: PeerEdits) -> None:
    sections, settings = file.peer_sections(), file.peers()
    for peer in wanted:
        key = peer.public_key
        now = settings.get(key)
        before: list[str] = []
        if now is None:
            now = PeerSettings(key)
            section = file.add_peer(key)
            edits.added.append(key)
        else:
            section = sections[key]
            before = section.lines()
        if peer.name is not None and peer.name != now.name:
            section.set_name(peer.name)
        if peer.preshared_key is not None and peer.preshared_key != (now.preshared_key or ""):
            section.set("PresharedKey", peer.preshared_key or None)
        if peer.allowed_ips is not None and set(peer.allowed_ips) != set(now.allowed_ips):
            section.set("AllowedIPs", ", ".join(peer.allowed_ips) or None)
        if peer.endpoint is not None and peer.endpoint != (now.endpoint or ""):
            section.set("Endpoint", peer.endpoint or None)
        keepalive = peer.persistent_keepalive
        if keepalive is not None and keepalive != (now.persistent_keepalive or 0):
            section.set("PersistentKeepalive", str(keepalive) if keepalive else None)
        if before and key not in edits.added and section.lines() != before:
            edits.changed.append(key)


def _refuse_twins(peers: t.Iterable[WantedPeer]) -> None:
    by_key: dict[PublicKey, WantedPeer] = {}
    for peer in peers:
        other = by_key.setdefault(peer.public_key, peer)
        if other is not peer:
            raise UsageError(
                f"peers: {other.title} and {peer.title} have the same public key {peer.public_key}",
                "give each key once; hosts cloned from one image need new keys",
            )


def _refuse_contradictions(present: t.Iterable[WantedPeer], wanted: Wanted) -> None:
    keys, names = wanted.absent_keys, wanted.absent_names
    for peer in present:
        if peer.public_key in keys or peer.name in names:
            raise UsageError(
                f"peers: {peer.title} is to be present and absent",
                "a host that has a new key needs no absent item: it takes the old one's place",
            )


def _refuse_shared_ips(peers: t.Iterable[PeerSettings]) -> None:
    owners: dict[str, PeerSettings] = {}
    for peer in peers:
        for block in peer.allowed_ips:
            other = owners.setdefault(block, peer)
            if other is not peer:
                raise UsageError(
                    f"peers {other.title} and {peer.title} both have the allowed IP {block}",
                    "WireGuard gives an allowed IP to one peer only: change one of them, or, if "
                    "one is no longer there, remove it with state=absent",
                )


def _peer(index: int, options: t.Mapping[str, t.Any]) -> WantedPeer | AbsentPeer:
    where = f"peers[{index}]"
    if options["name"]:
        where += f" ({options['name']})"
    if options["state"] == "absent":
        absent = AbsentPeer(
            public_key=_optional(
                f"{where}.public_key", PublicKey.from_base64, options["public_key"] or None
            ),
            name=_optional(f"{where}.name", check_label, options["name"] or None),
        )
        if not absent.title:
            raise UsageError(
                f"{where}: nothing tells which peer is to be absent", "give its public_key or name"
            )
        return absent
    if options["public_key"] is None:
        raise UsageError(
            f"{where}.public_key: it is missing", "give the key that 'wg show' prints on that peer"
        )
    return WantedPeer(
        public_key=_parsed(f"{where}.public_key", PublicKey.from_base64, options["public_key"]),
        name=_optional(f"{where}.name", check_label, options["name"]),
        allowed_ips=_each(f"{where}.allowed_ips", parse_network, options["allowed_ips"]),
        endpoint=_optional(f"{where}.endpoint", _endpoint, options["endpoint"]),
        persistent_keepalive=_optional(
            f"{where}.persistent_keepalive",
            _range(0, PERSISTENT_KEEPALIVE_MAX),
            options["persistent_keepalive"],
        ),
        preshared_key=_optional(f"{where}.preshared_key", _preshared_key, options["preshared_key"]),
        former_keys=_each(f"{where}.former_keys", PublicKey.from_base64, options["former_keys"]),
        replace=options["replace"],
    )


def _optional(where: str, parse: t.Callable[[t.Any], T], value: t.Any) -> T | None:
    return None if value is None else _parsed(where, parse, value)


def _parsed(where: str, parse: t.Callable[[t.Any], T], value: t.Any) -> T:
    try:
        return parse(value)
    except UsageError as exc:
        raise UsageError(f"{where}: {exc.message}", exc.remedy) from None


def _each(where: str, parse: t.Callable[[t.Any], T], values: t.Any) -> tuple[T, ...] | None:
    if values is None:
        return None
    parsed = [_parsed(f"{where}[{i}]", parse, value) for i, value in enumerate(values)]
    return tuple(dict.fromkeys(parsed))


def quick_name(name: str) -> str:
    """Return *name*, which wg-quick and the kernel take as the name of an interface.

    Raises:
        UsageError: one of them does not.
    """
    check_interface(name)
    if not _QUICK_NAME.fullmatch(name):
        raise UsageError(f"wg-quick does not take the name {name!r}", "use letters and digits")
    return name


def _address(text: str) -> Address:
    try:
        if "/" not in text:
            raise ValueError("it has no prefix length")
        return ipaddress.ip_interface(text)
    except ValueError as exc:
        raise UsageError(
            f"{text!r} is not an address in CIDR notation ({exc})", "write it as 10.0.0.1/24"
        ) from None


def _endpoint(text: str) -> str:
    """Return the canonical text of an endpoint; the host may be a name, which wg resolves."""
    return str(HostPort.parse(text)) if text else ""


def _mark(text: str) -> int:
    try:
        return parse_mark(_off(text))
    except ValueError as exc:
        raise UsageError(str(exc), "give a number up to 0xffffffff, or 'off'") from None


def _table(text: str) -> str:
    word = _off(text)
    if word in ("off", "auto"):
        return word
    if not (word.isascii() and word.isdigit() and 1 <= int(word) <= TABLE_MAX):
        raise UsageError(
            f"{text!r} is not a routing table",
            f"give 'off', 'auto' or a number from 1 to {TABLE_MAX}",
        )
    return str(int(word))


def _off(text: str) -> str:
    """Return *text* in lower case; YAML reads a bare ``off`` as false."""
    word = text.strip().lower()
    return "off" if word == "false" else word


def _private_key(text: str) -> str:
    try:
        if not decode_base64_key(text).strip(b"\0"):
            raise ValueError("all zeros")
    except ValueError as exc:
        raise UsageError(f"not a private key ({exc})", "give what 'wg genkey' prints") from None
    return text.strip()


def _preshared_key(text: str) -> str:
    if text:
        try:
            decode_base64_key(text)
        except ValueError as exc:
            raise UsageError(
                f"not a preshared key ({exc})", "give what 'wg genpsk' prints"
            ) from None
    return text.strip()


def _range(low: int, high: int) -> t.Callable[[int], int]:
    def check(number: int) -> int:
        if not low <= number <= high:
            raise UsageError(f"{number} is out of range", f"give a number from {low} to {high}")
        return number

    return check
