# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a server that is published to may answer, and what is made of it."""

from __future__ import annotations

import contextlib
import logging
import socket
import struct
import threading
import typing as t

import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rrset
import dns.tsig
import pytest

from tests.unit.plugins.module_utils.wgsd.zone.asking import ALICE, BOB, content
from wgsd.config import PublishTarget, Remote, TsigKey
from wgsd.errors import ServerError
from wgsd.model import Endpoint
from wgsd.names import SERVICE
from wgsd.responder import updates
from wgsd.zone.publication import changes, list_of, names_of

pytestmark = pytest.mark.unit

ZONE = "corp.example."
KEY = TsigKey("update.example.", "hmac-sha256", bytes(range(32)))
RING = {dns.name.from_text(KEY.name): dns.tsig.Key(KEY.name, KEY.secret, KEY.algorithm)}
BATCH = changes({}, names_of(ZONE, content(ALICE)))

#: Makes the response to a message; None closes the connection.
Answer = t.Callable[[dns.message.Message], t.Optional[dns.message.Message]]


@contextlib.contextmanager
def serving(answer: Answer) -> t.Iterator[Endpoint]:
    """Serve one message per connection on loopback."""

    def serve(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _address = listening.accept()
                with connection, connection.makefile("rb") as stream:
                    (length,) = struct.unpack("!H", stream.read(2))
                    message = dns.message.from_wire(stream.read(length), keyring=RING)
                    response = answer(message)
                    if response is not None:
                        wire = response.to_wire()
                        connection.sendall(struct.pack("!H", len(wire)) + wire)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        try:
            yield Endpoint("127.0.0.1", listening.getsockname()[1])
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def target(endpoint: Endpoint, key: TsigKey | None = KEY) -> updates.Target:
    return updates.Target(PublishTarget(Remote(endpoint), ZONE), key)


def saying(rcode: int, *rrsets: dns.rrset.RRset) -> Answer:
    """Answer everything so."""

    def answer(message: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(message)
        response.set_rcode(rcode)
        response.answer = list(rrsets)
        return response

    return answer


def test_an_update_is_signed_and_names_its_zone() -> None:
    seen: list[dns.message.Message] = []

    def answer(message: dns.message.Message) -> dns.message.Message:
        seen.append(message)
        return dns.message.make_response(message)

    with serving(answer) as endpoint:
        target(endpoint).change(BATCH)
    (message,) = seen
    assert message.opcode() == dns.opcode.UPDATE
    assert message.had_tsig
    assert [str(rrset.name) for rrset in message.sections[0]] == [ZONE]


def test_without_a_key_nothing_is_signed() -> None:
    seen: list[bool] = []

    def answer(message: dns.message.Message) -> dns.message.Message:
        seen.append(message.had_tsig)
        return dns.message.make_response(message)

    with serving(answer) as endpoint:
        target(endpoint, None).change(BATCH)
    assert seen == [False]


@pytest.mark.parametrize(
    ("rcode", "remedy"),
    [
        (dns.rcode.REFUSED, "check-names ignore"),
        (dns.rcode.NOTAUTH, "primary server of that zone"),
        (dns.rcode.NOTIMP, "takes no dynamic updates"),
        (dns.rcode.SERVFAIL, "max-records-per-type"),
        (dns.rcode.FORMERR, "see its log"),
    ],
)
def test_a_refusal_is_told_with_its_remedy(rcode: dns.rcode.Rcode, remedy: str) -> None:
    with serving(saying(rcode)) as endpoint, pytest.raises(ServerError) as caught:
        target(endpoint).change(BATCH)
    assert f"zone {ZONE} at {endpoint} says {dns.rcode.to_text(rcode)}" in str(caught.value)
    assert remedy in str(caught.value)


def test_an_answer_that_is_not_signed_counts_for_nothing() -> None:
    def forge(message: dns.message.Message) -> dns.message.Message:
        response = dns.message.make_response(message)
        response.tsig = None
        response.keyring = None
        return response

    with (
        serving(forge) as endpoint,
        pytest.raises(ServerError, match=r"not signed|requires a TSIG"),
    ):
        target(endpoint).change(BATCH)


@pytest.mark.parametrize("key", [KEY, None])
def test_a_connection_that_is_closed_is_no_answer(key: TsigKey | None) -> None:
    with serving(lambda _message: None) as endpoint:
        with pytest.raises(ServerError, match="does not answer"):
            target(endpoint, key).change(BATCH)
        with pytest.raises(ServerError, match="does not answer"):
            target(endpoint, key).look()


def test_where_nobody_listens_there_is_no_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = Endpoint("127.0.0.1", listening.getsockname()[1])
    with pytest.raises(ServerError, match="Connection refused"):
        target(endpoint).change(BATCH)
    with pytest.raises(ServerError, match="Connection refused"):
        target(endpoint).look()


def test_a_server_that_says_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(updates, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        endpoint = Endpoint("127.0.0.1", listening.getsockname()[1])
        with pytest.raises(ServerError, match="does not answer"):
            target(endpoint).change(BATCH)


def test_where_a_transfer_is_refused_the_list_is_asked_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listed = dns.rrset.from_text_list(
        f"{SERVICE}.{ZONE}",
        10,
        "IN",
        "PTR",
        [f"{one.public_key.label}.{SERVICE}.{ZONE}" for one in (ALICE, BOB)],
    )

    def answer(message: dns.message.Message) -> dns.message.Message:
        is_list = message.question[0].rdtype == dns.rdatatype.PTR
        return (saying(0, listed) if is_list else saying(dns.rcode.REFUSED))(message)

    with serving(answer) as endpoint:
        server = target(endpoint)
        found = server.look()
        assert server.look() == found
    assert found[SERVICE] == list_of(ZONE, content(ALICE, BOB))
    assert {name.partition(".")[0] for name in found if name != SERVICE} == {
        label
        for one in (ALICE, BOB)
        for label in (one.public_key.label, one.public_key.unpadded_label)
    }
    assert caplog.text.count("cannot be transferred") == 1


def test_a_zone_without_the_list_has_none_of_our_names(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):

        def answer(message: dns.message.Message) -> dns.message.Message:
            refused = message.question[0].rdtype == dns.rdatatype.AXFR
            return saying(dns.rcode.REFUSED if refused else dns.rcode.NXDOMAIN)(message)

        with serving(answer) as endpoint:
            assert target(endpoint).look() == {}


def test_a_transfer_brings_our_names_as_they_are() -> None:
    soa = dns.rrset.from_text(ZONE, 60, "IN", "SOA", f"ns1.{ZONE} admin.{ZONE} 1 60 60 60 60")
    ours = dns.rrset.from_text(f"alice.{SERVICE}.{ZONE}", 10, "IN", "CNAME", f"x.{SERVICE}.{ZONE}")
    others = dns.rrset.from_text(f"www.{ZONE}", 10, "IN", "A", "192.0.2.1")
    with serving(saying(0, soa, others, ours, soa)) as endpoint:
        found = target(endpoint, None).look()
    assert set(found) == {f"alice.{SERVICE}"}
