# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a version costs the watcher: its signatures, and its place in the journal, with the floors.

Run by itself with the engine in its path: ``python3 sealing.py PEERS TIMES FOLDER``; it prints
JSON. The floor of a signing is to make as many signatures with the library; that of keeping a
version is to append as many bytes to a file and have them on the disk.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pathlib
import random
import sys
import time
import typing as t

from wgsd.config import DEFAULT_VALIDITY
from wgsd.keys import PublicKey
from wgsd.responder.keys import KeyStore
from wgsd.responder.state import Journal
from wgsd.zone.seals import RRSIG
from wgsd.zone.signing import Signer
from wgsd.zone.version import Chain, Content, Delta, Instance, Record, Version, unpack

ZONE = "example.com."


def signatures_of(
    seals: t.Mapping[str, bytes], owners: t.Iterable[str] | None = None
) -> set[tuple[str, Record]]:
    """Return the signatures at some owners, or at all."""
    return {
        (owner, record)
        for owner in (seals if owners is None else owners)
        for record in unpack(seals.get(owner, b""))
        if record.rdtype == RRSIG
    }


def main() -> None:
    """Make versions."""
    peers, times, folder = int(sys.argv[1]), int(sys.argv[2]), pathlib.Path(sys.argv[3])
    chance = random.Random(peers)
    instances = [
        Instance(
            PublicKey(chance.randbytes(32)), "198.51.100.1", 10_000, (f"10.64.0.{i % 250}/32",)
        )
        for i in range(peers)
    ]
    content = Content(("10.0.0.254",), {one.public_key: one for one in instances})
    keys = KeyStore(folder, ZONE).signing()
    signer = Signer(ZONE, keys, DEFAULT_VALIDITY)
    began = time.perf_counter()
    first = signer.seal(Version(ZONE, 0), Version(ZONE, 1, content).whole())
    found = {"first": time.perf_counter() - began}
    chain = Chain(Version(ZONE, 0))
    chain.step(first)
    journal = Journal(folder, ZONE)
    began = time.perf_counter()
    journal.keep(chain, first)
    found["begin"] = time.perf_counter() - began
    plain = folder / "plain"
    file = os.open(plain, os.O_WRONLY | os.O_CREAT)
    series = {"sign": [], "signatures": [], "bare_sign": [], "keep": [], "bare_keep": []}
    for number in range(times):
        moved = dataclasses.replace(chance.choice(instances), port=20_000 + number)
        step = Delta(ZONE, 2 + number, content.addresses, (moved,))
        began = time.perf_counter()
        step = signer.seal(chain.newest, step)
        series["sign"].append(time.perf_counter() - began)
        made = len(signatures_of(step.seals) - signatures_of(chain.newest.seals, step.seals))
        series["signatures"].append(made)
        began = time.perf_counter()
        for _signature in range(made):
            keys[0].sign(b"x" * 200)
        series["bare_sign"].append(time.perf_counter() - began)
        chain.step(step)
        size = (folder / f"{ZONE}journal").stat().st_size
        began = time.perf_counter()
        journal.keep(chain, step)
        series["keep"].append(time.perf_counter() - began)
        line = b"x" * ((folder / f"{ZONE}journal").stat().st_size - size)
        began = time.perf_counter()
        os.write(file, line)
        os.fsync(file)
        series["bare_keep"].append(time.perf_counter() - began)
    journal.close()
    os.close(file)
    found["bytes"] = (folder / f"{ZONE}journal").stat().st_size
    began = time.perf_counter()
    loaded = Journal(folder, ZONE).load()
    found["load"] = time.perf_counter() - began
    if loaded is None or loaded.newest != chain.newest:
        raise SystemExit("the journal does not give back what it was given")
    print(json.dumps({**found, **series}))


if __name__ == "__main__":
    main()
