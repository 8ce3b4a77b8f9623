# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs every benchmark, one after the other, and writes what they measured to a JSON file."""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from . import handshake

BENCHMARKS = {"handshake": handshake.measure}
OUTPUT = pathlib.Path("tests/output/bench.json")


def main() -> int:
    """Run the benchmarks named on the command line, all by default; always 0 if they ran."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    names = parser.parse_args().names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    results = {}
    for name in names:
        print(f"== {name}", flush=True)
        results[name] = BENCHMARKS[name]()
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    OUTPUT.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"written: {OUTPUT}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
