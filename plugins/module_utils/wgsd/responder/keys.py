# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The DNSSEC keys of a zone: made on the registry, kept there, and rolled over in two steps.

A zone has one key that signs everything (a CSK). For a rollover a successor is added, which signs
nothing but the keys until its DS record stands in the parent zone and all caches know it. Then it
takes over, and the key before it stays in the zone for as long as anything that it signed may be
in a cache, or in a secondary that has lost touch.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import json
import logging
import math
import os
import pathlib
import tempfile
import time
import typing as t

from ..config import ResponderSettings
from ..errors import UsageError, WgsdError
from ..thirdparty import cryptography, dns, dnssec
from ..zone.records import APEX_TTL, EXPIRE
from ..zone.signing import ALGORITHM, Signer, ZoneKey
from .disk import sync_folder

log = logging.getLogger(__name__)

FOLDER = "keys"
#: Seconds for which a successor is in the zone before it may take over: every cache has it then.
ANNOUNCED = 2 * APEX_TTL
#: Seconds for which the key before stays: a secondary that has lost touch goes on for EXPIRE.
RETIRED = EXPIRE + APEX_TTL
#: SHA-256, as the digest of a DS record (RFC 4509).
DIGEST = "SHA256"
#: Zone key and secure entry point (RFC 4034 section 2.1.1).
_FLAGS = 257
#: Bytes of either half of a signature (RFC 6605 section 4).
_HALF = 32
_RESTORE = "restore the folder from a backup, or remove it: new keys are made, and need a new DS"


class Role(enum.Enum):
    """What a key does."""

    ACTIVE = "active"
    SUCCESSOR = "successor"
    RETIRED = "retired"


@dataclasses.dataclass(frozen=True)
class Key:
    """What everybody may know of a key.

    Attributes:
        tag: Its key tag (RFC 4034 appendix B).
        since: Seconds since the epoch at which it got its role.
        dnskey: The data of its DNSKEY record.
    """

    tag: int
    role: Role
    since: int
    dnskey: bytes

    def ds(self, zone: str) -> str:
        """Return the data of the DS record for the parent zone, as text.

        Args:
            zone: Absolute.
        """
        rdata = _dnskey(self.dnskey)
        return str(dnssec.make_ds(dns.name.from_text(zone), rdata, DIGEST))


class KeyStore:
    """The keys of one zone in the state directory: a PEM file each, and an index of their roles.

    One process changes it at a time, the module wgsd_dnssec; others read it, or make the first key.
    """

    def __init__(
        self,
        state_dir: pathlib.Path,
        zone: str,
        *,
        dry: bool = False,
        wall: t.Callable[[], float] = time.time,
    ) -> None:
        """Make a store; nothing is read or written yet.

        Args:
            zone: As `wgsd.names.check_zone` returns it.
            dry: Whether nothing is to be written at all.
            wall: Seconds since the epoch.
        """
        self._folder = state_dir / FOLDER
        self._zone = zone
        self._dry = dry
        self._wall = wall
        self._index = self._folder / f"{zone}json"

    def read(self) -> list[Key]:
        """Return the keys, the active one first; none if none was made yet.

        Raises:
            UsageError: the index cannot be read, or is not what was written.
        """
        try:
            keys = [
                Key(one["tag"], Role(one["role"]), one["since"], bytes.fromhex(one["dnskey"]))
                for one in json.loads(self._index.read_bytes())
            ]
        except FileNotFoundError:
            return []
        except OSError as exc:
            raise UsageError(f"{self._index}: {exc.strerror}", "run as root") from None
        except (ValueError, KeyError, TypeError) as exc:
            raise UsageError(f"{self._index} is damaged ({exc})", _RESTORE) from None
        keys.sort(key=lambda key: key.role is not Role.ACTIVE)
        if not keys or [key.role for key in keys].count(Role.ACTIVE) != 1:
            raise UsageError(f"{self._index} does not name one active key", _RESTORE)
        return keys

    def have(self) -> list[Key]:
        """Return the keys as `read` does, after making the first one if there is none.

        Raises:
            UsageError: as `read`, or nothing can be written.
        """
        keys = self.read()
        if keys or self._dry:
            return keys
        with self._writing():
            first = self._make(Role.ACTIVE, ())
            text = _encoded([first])
            # Another process may be just as far.
            with _temporary(self._index, text) as path, contextlib.suppress(FileExistsError):
                os.link(path, self._index)
            keys = self.read()
            if first not in keys:
                self._pem(first.tag).unlink()
        return keys

    @property
    def changed_at(self) -> float:
        """When the keys last changed, in seconds since the epoch; 0 if there are none.

        Raises:
            UsageError: that cannot be seen.
        """
        try:
            return self._index.stat().st_mtime
        except FileNotFoundError:
            return 0.0
        except OSError as exc:
            raise UsageError(f"{self._index}: {exc.strerror}", "run as root") from None

    def announce(self, *, anew: bool = False) -> bool:
        """Have a successor; return whether anything was written for that.

        Args:
            anew: The responder has not read the successor yet that there may be.

        Raises:
            UsageError: as `have`; the key before has not left the zone yet.
        """
        keys = self.have()
        known = [key for key in keys if key.role is not Role.SUCCESSOR]
        if len(known) < len(keys):
            now = int(self._wall())
            waiting = [dataclasses.replace(key, since=now) for key in keys if key not in known]
            if anew:
                self._write(known + waiting)
            return anew
        if any(key.role is Role.RETIRED for key in keys):
            raise UsageError(
                f"{self._zone}: the last rollover is not over, its old key is still in the zone",
                f"start the next one {RETIRED // 3600} hours after it, and see to state=present",
            )
        if not self._dry:
            with self._writing():
                successor = self._make(Role.SUCCESSOR, [key.tag for key in keys])
            self._write([*keys, successor])
        return True

    def promote(self) -> bool:
        """Let the successor take over, if there is one; return whether there was.

        Raises:
            UsageError: as `have`; not every cache can know the successor yet.
        """
        keys = self.have()
        now = int(self._wall())
        successor = next((key for key in keys if key.role is Role.SUCCESSOR), None)
        if successor is None:
            return False
        wait = successor.since + ANNOUNCED - now
        if wait > 0:
            raise UsageError(
                f"{self._zone}: caches may not know key {successor.tag} yet",
                f"try again in {wait} s",
            )
        roles = {Role.SUCCESSOR: Role.ACTIVE, Role.ACTIVE: Role.RETIRED}
        self._write([dataclasses.replace(key, role=roles[key.role], since=now) for key in keys])
        return True

    def forget(self) -> bool:
        """Remove keys that have left the zone; return whether there were any.

        Raises:
            UsageError: as `have`.
        """
        keys = self.have()
        gone = [key for key in keys if (_until(key) or math.inf) <= self._wall()]
        if not gone:
            return False
        self._write([key for key in keys if key not in gone])
        if not self._dry:
            with self._writing():
                for key in gone:
                    self._pem(key.tag).unlink(missing_ok=True)
        return True

    def signing(self) -> list[ZoneKey]:
        """Return the keys with their private parts for a `wgsd.zone.signing.Signer`.

        Raises:
            UsageError: as `have`, or a private part cannot be read.
            DependencyError: the library cryptography is missing.
        """
        return [
            ZoneKey(key.dnskey, key.tag, self._sign_with(key.tag), _until(key))
            for key in self.have()
        ]

    def _sign_with(self, tag: int) -> t.Callable[[bytes], bytes]:
        path = self._pem(tag)
        primitives = cryptography.hazmat.primitives
        try:
            private = primitives.serialization.load_pem_private_key(path.read_bytes(), None)
        except OSError as exc:
            raise UsageError(f"{path}: {exc.strerror}", _RESTORE) from None
        except (ValueError, TypeError) as exc:
            raise UsageError(f"{path} is not a private key ({exc})", _RESTORE) from None
        if not isinstance(private, primitives.asymmetric.ec.EllipticCurvePrivateKey):
            raise UsageError(f"{path} is not a key for ECDSA", _RESTORE)
        algorithm = primitives.asymmetric.ec.ECDSA(primitives.hashes.SHA256())
        decode = primitives.asymmetric.utils.decode_dss_signature

        def sign(data: bytes) -> bytes:
            r, s = decode(private.sign(data, algorithm))
            return r.to_bytes(_HALF, "big") + s.to_bytes(_HALF, "big")

        return sign

    def _make(self, role: Role, taken: t.Collection[int]) -> Key:
        """Make a key and write its private part."""
        primitives = cryptography.hazmat.primitives
        while True:
            private = primitives.asymmetric.ec.generate_private_key(
                primitives.asymmetric.ec.SECP256R1()
            )
            rdata = dnssec.make_dnskey(private.public_key(), ALGORITHM, _FLAGS)
            tag = dnssec.key_id(rdata)
            if tag not in taken:
                break
        pem = private.private_bytes(
            primitives.serialization.Encoding.PEM,
            primitives.serialization.PrivateFormat.PKCS8,
            primitives.serialization.NoEncryption(),
        )
        self._folder.mkdir(mode=0o700, exist_ok=True)
        with _temporary(self._pem(tag), pem) as path:
            path.replace(self._pem(tag))
        return Key(tag, role, int(self._wall()), rdata.to_wire() or b"")

    def _write(self, keys: t.Sequence[Key]) -> None:
        if not self._dry:
            with self._writing(), _temporary(self._index, _encoded(keys)) as path:
                path.replace(self._index)

    @contextlib.contextmanager
    def _writing(self) -> t.Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise UsageError(
                f"{exc.filename or self._folder}: {exc.strerror}",
                "make the state directory writable, and have room on its disk",
            ) from None

    def _pem(self, tag: int) -> pathlib.Path:
        return self._folder / f"{self._zone}{tag}.pem"


def signers(
    settings: ResponderSettings, alive: t.Callable[[], None] = lambda: None
) -> dict[str, Signer]:
    """Return a signer for each zone that is to be signed, by zone; makes keys at the first time.

    A zone whose keys cannot be had is served without signatures: to resolvers that validate it is
    lost either way, and nobody else is to suffer.

    Args:
        alive: As for a `Signer`.
    """
    found = {}
    for zone in settings.zones:
        if zone.dnssec is not None:
            try:
                keys = KeyStore(settings.state_dir, zone.zone).signing()
            except WgsdError as exc:
                log.error("zone %s is not signed: %s", zone.zone, exc)
            else:
                found[zone.zone] = Signer(zone.zone, keys, zone.dnssec.validity, alive=alive)
    return found


def check(settings: ResponderSettings) -> None:
    """See that what signing takes is there, if a zone is to be signed.

    Raises:
        DependencyError: a library is missing.
    """
    if any(zone.dnssec for zone in settings.zones):
        # It is loaded at its first use.
        cryptography.hazmat.primitives.hashes.SHA256()


def _until(key: Key) -> float | None:
    """Return when a key leaves the zone, in seconds since the epoch."""
    return key.since + RETIRED if key.role is Role.RETIRED else None


def _dnskey(wire: bytes) -> t.Any:
    return dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.DNSKEY, wire, 0, len(wire))


def _encoded(keys: t.Iterable[Key]) -> bytes:
    fields = [
        {"tag": k.tag, "role": k.role.value, "since": k.since, "dnskey": k.dnskey.hex()}
        for k in keys
    ]
    return json.dumps(fields, indent=1).encode() + b"\n"


@contextlib.contextmanager
def _temporary(target: pathlib.Path, content: bytes) -> t.Iterator[pathlib.Path]:
    """Write a file beside *target* that others cannot read, and remove it if it is still there."""
    descriptor, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    path = pathlib.Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        yield path
        sync_folder(target.parent)
    finally:
        path.unlink(missing_ok=True)
