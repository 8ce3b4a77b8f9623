# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever a worker is sent, over UDP or TCP, it answers as the complete path does."""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import time

import dns.exception
import dns.message
import dns.name
import dns.opcode
import pytest

from tests.fuzz.pair import run, signed_at

#: Bytes by which a worker may grow in the second half of a run.
GROWTH = 8 << 20


@pytest.mark.alone
def test_a_worker_answers_any_packets_as_the_complete_path_does_and_does_not_grow(
    fuzz_seed: str, fuzz_inputs: int
) -> None:
    """Two workers, one that has to look at who asks and one that has not, on a core each."""
    start = time.monotonic()
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        runs = [
            pool.submit(run, f"{fuzz_seed} {guarded}", fuzz_inputs // 2, guarded=guarded)
            for guarded in (False, True)
        ]
        results = [one.result() for one in concurrent.futures.as_completed(runs)]
    for figures in results:
        print(figures)
        assert figures.end - figures.halfway < GROWTH
    # Else the fast path would not have been looked at. A run has few zones, and where one is large
    # or changes all the time most of what is asked for it takes the other path: both runs count.
    assert sum(figures.answered["fast"] for figures in results) > fuzz_inputs / 40
    assert sum(f.transfers.get("difference", 0) for f in results) >= fuzz_inputs // 20_000
    assert sum(figures.validated for figures in results) > fuzz_inputs / 1_000
    seconds = time.monotonic() - start
    print(f"{fuzz_inputs} packets in {seconds:.0f} s: {fuzz_inputs / seconds:.0f} a second")


def test_an_update_that_is_refused_is_no_answer_that_cannot_be_read() -> None:
    """Its question comes back, and need not be the SOA that dnspython wants in a real one."""
    query = dns.message.make_query("example.com.", "A")
    query.use_tsig({dns.name.from_text("key."): b"secret"})
    query.set_opcode(dns.opcode.UPDATE)
    with pytest.raises(dns.exception.FormError):
        dns.message.from_wire(query.to_wire(), keyring=False)
    assert signed_at(query.to_wire()) == query.tsig[0].time_signed
