# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and strings of the zone: owner names under it and the TXT record of a peer."""

from __future__ import annotations

import dataclasses
import typing as t

from .errors import UsageError
from .keys import PublicKey
from .model import parse_network

#: RFC 1035 section 3.3: a character-string holds at most 255 bytes.
TXT_STRING_MAX = 255
#: Strings of allowed IPs in a record: with each of 256 bytes on the wire it leaves room in a
#: message of 64 KiB for all else, a signature included.
TXT_STRINGS_MAX = 240
SERVICE = "_wireguard._udp"
TXT_VERSION = "1"


def service_name(zone: str) -> str:
    """Return the DNS-SD service name of *zone* (RFC 6763 section 4.1), absolute."""
    return f"{SERVICE}.{absolute(zone)}"


def instance_name(key: PublicKey, zone: str) -> str:
    """Return the instance name of a peer, absolute."""
    return f"{key.label}.{service_name(zone)}"


def absolute(zone: str) -> str:
    """Return *zone* in lower case, ending in one dot."""
    return zone.strip().lower().rstrip(".") + "."


def check_zone(zone: str) -> str:
    """Return *zone* as `absolute` writes it if names below it can exist.

    The longest name below it is an instance name: 57 bytes for the key, 16 for the service.

    Raises:
        UsageError: empty, an empty or overlong label, or too long for instance names.
    """
    name = absolute(zone)
    labels = name[:-1].split(".")
    if labels == [""]:
        raise UsageError("the zone is the DNS root", "give a domain name such as mesh.example.com.")
    for label in labels:
        good = 0 < len(label) <= 63 and label.isascii()
        if not good or not all(c.isalnum() or c in "-_" for c in label):
            raise UsageError(
                f"{zone!r} is not a domain name: bad label {label!r}",
                "write 1 to 63 letters, digits and hyphens between the dots",
            )
    longest = 57 + 1 + len(service_name(name))
    if longest > 255:
        raise UsageError(
            f"{zone!r} is too long: instance names would have {longest} bytes, not 255"
        )
    return name


def check_label(label: str) -> str:
    """Return a friendly name in lower case if it can be one DNS label.

    Raises:
        UsageError: empty, longer than 63 bytes, or with characters a host name has not.
    """
    text = label.lower()
    good = 0 < len(text) <= 63 and text.isascii()
    good = good and all(c.isalnum() or c == "-" for c in text) and text.strip("-") == text
    if not good:
        raise UsageError(
            f"{label!r} cannot be a name in the zone", "use letters, digits and inner hyphens"
        )
    return text


def txt_strings(key: PublicKey, allowed_ips: t.Sequence[str], name: str | None = None) -> list[str]:
    """Return the strings of a peer's TXT record (RFC 6763 section 6).

    What does not fit into ``allowed=`` goes on in ``allowed2=``, ``allowed3=`` …, since a reader
    must ignore all but the first string of one key (section 6.4). Each holds whole CIDR blocks.
    What does not fit into a message, some 3,000 blocks, is left out.
    A friendly *name* comes last, as ``name=``; without one the record is the old server's.
    """
    strings = [f"txtvers={TXT_VERSION}", f"pub={key.base64}"]
    number, prefix, blocks = 1, "allowed=", ""
    for block in allowed_ips:
        longer = f"{blocks},{block}" if blocks else block
        if len(prefix) + len(longer) > TXT_STRING_MAX:
            if number >= TXT_STRINGS_MAX:
                break
            strings.append(prefix + blocks)
            number += 1
            prefix, longer = f"allowed{number}=", block
        blocks = longer
    strings.append(prefix + blocks)
    if name:
        strings.append(f"name={name}")
    return strings


@dataclasses.dataclass(frozen=True)
class TxtRecord:
    """What the TXT record of a peer says."""

    public_key: PublicKey
    allowed_ips: tuple[str, ...]
    name: str | None


def parse_txt(strings: t.Iterable[bytes]) -> TxtRecord:
    """Read the TXT record of a peer.

    Keys match in any case, unknown and repeated ones are skipped (RFC 6763 section 6.4).

    Raises:
        UsageError: no ``pub``, a bad key, block or name.
    """
    pairs: dict[str, str] = {}
    for raw in strings:
        attribute, _equals, value = raw.decode("utf-8", "replace").partition("=")
        pairs.setdefault(attribute.lower(), value)
    if "pub" not in pairs:
        raise UsageError("the TXT record has no pub= string")
    blocks = pairs.get("allowed", "").split(",")
    number = 2
    while f"allowed{number}" in pairs:
        blocks += pairs[f"allowed{number}"].split(",")
        number += 1
    return TxtRecord(
        public_key=PublicKey.from_base64(pairs["pub"]),
        allowed_ips=tuple(parse_network(block) for block in blocks if block),
        name=check_label(pairs["name"]) if pairs.get("name") else None,
    )
