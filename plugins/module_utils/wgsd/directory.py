# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The client's view of a zone: one peer by its key, all peers by browsing, the zone's serial."""

from __future__ import annotations

import dataclasses
import typing as t

from .config import TsigKey
from .errors import ServerError, UsageError, WgsdError
from .keys import PublicKey
from .model import Endpoint, Member, PeerRecord, is_near
from .names import check_zone, instance_name, parse_txt, service_name
from .thirdparty import dns, dns_asyncquery

#: Queries under way at once: enough to fill a round trip, too few to overrun a socket buffer.
CONCURRENT_QUERIES = 64
#: What fits every path without fragments (DNS flag day 2020, RFC 9715).
UDP_PAYLOAD = 1232

T = t.TypeVar("T")


@dataclasses.dataclass(frozen=True)
class ZoneVersion:
    """A version of the zone: its serial, and the server that said so."""

    server: Endpoint
    serial: int


class Directory:
    """Reads a zone from its servers, in the given order, each try bounded in time.

    Attributes:
        is_copy: Whether the zone is here, so that looking up costs neither time nor a query.
        version: The version of that copy.
        is_settled: Whether there is somebody to ask.
        failures: Why the last `lookup` or `browse` has no record for a peer although the zone
            may have one: an answer that is malformed or cannot be used.
        unanswered: Those of the failures that are about the servers, not about the peer's records.
    """

    is_copy = False
    version: ZoneVersion | None = None
    is_settled = True

    def __init__(
        self,
        zone: str,
        servers: t.Sequence[Endpoint],
        *,
        timeout: float = 1.0,
        retries: int = 2,
        tcp: bool = False,
        key: TsigKey | None = None,
    ) -> None:
        """Prepare, without a packet.

        Args:
            zone: The zone's name.
            servers: Its DNS servers, the preferred one first.
            timeout: Seconds for each try at a server.
            retries: How often all servers are tried again after the first time.
            tcp: Use TCP from the start.
            key: What to sign queries with; answers must then be signed too (RFC 8945).

        Raises:
            UsageError: no server or a bad zone name.
        """
        if not servers:
            raise UsageError("there is no DNS server to ask", "name at least one server")
        self.zone = check_zone(zone)
        self.failures: dict[PublicKey, str] = {}
        self.unanswered: dict[PublicKey, ServerError] = {}
        self._servers = tuple(servers)
        self._timeout = timeout
        self._tries = retries + 1
        self._tcp = tcp
        self._key = key

    def lookup(self, keys: t.Iterable[PublicKey]) -> dict[PublicKey, PeerRecord | None]:
        """Look up peers by SRV, several at once.

        Returns:
            A record for each key, None where the zone says that it has none. A key whose answer
            is of no use is missing; `failures` says why.

        Raises:
            ServerError: no server answered at all.
        """
        return _run(self._lookup(list(keys)))

    def members(self) -> t.Mapping[PublicKey, Member] | None:
        """Return the members of the zone; None, since only a copy of the zone tells all of them."""
        return None

    def browse(self) -> list[PeerRecord]:
        """List the peers of the zone (RFC 6763 section 4), sorted by name, then key.

        Raises:
            ServerError: no server answered.
        """
        return _run(self._browse())

    def serial(self, timeout: float | None = None) -> ZoneVersion | None:
        """Return the version of the zone, None if the server keeps no SOA at its apex.

        Args:
            timeout: Seconds for each try, if not the usual ones.

        Raises:
            ServerError: no server answered.
        """
        return _run(self._serial(timeout))

    async def _serial(self, timeout: float | None) -> ZoneVersion | None:
        answer = await self._ask(self.zone, "SOA", timeout)
        for rdata in answer.find(dns.name.from_text(self.zone), "SOA"):
            return ZoneVersion(answer.server, rdata.serial)
        return None

    async def _browse(self) -> list[PeerRecord]:
        name = dns.name.from_text(service_name(self.zone))
        answer = await self._ask(str(name), "PTR")
        targets = [rdata.target for rdata in answer.find(name, "PTR")]
        found = await self._lookup([key for key in map(instance_key, targets) if key])
        return by_name(record for record in found.values() if record is not None)

    async def _lookup(self, keys: t.Sequence[PublicKey]) -> dict[PublicKey, PeerRecord | None]:
        import asyncio

        self.failures, self.unanswered = {}, {}
        records: dict[PublicKey, PeerRecord | None] = {}
        gate = asyncio.Semaphore(CONCURRENT_QUERIES)
        answered: list[PublicKey] = []
        silences: list[NoAnswerError] = []

        async def one(key: PublicKey) -> None:
            async with gate:
                # Servers that never answered will not answer the rest of a long list either.
                if silences and not answered:
                    return
                try:
                    records[key] = await self._peer(key)
                except WgsdError as exc:
                    self.failures[key] = str(exc)
                    if isinstance(exc, ServerError):
                        self.unanswered[key] = exc
                    if isinstance(exc, NoAnswerError):
                        silences.append(exc)
                        return
                answered.append(key)

        await asyncio.gather(*(one(key) for key in dict.fromkeys(keys)))
        if silences and not answered:
            raise silences[0]
        return records

    async def _peer(self, key: PublicKey) -> PeerRecord | None:
        name = dns.name.from_text(instance_name(key, self.zone))
        answer = await self._ask(str(name), "SRV")
        services = answer.find(name, "SRV")
        if not services:
            return None
        targets = {service.target for service in services}
        addresses = {target: await self._addresses(answer, target) for target in targets}
        return peer_record(key, name, services, addresses, await self._text(answer, name))

    async def _addresses(self, answer: Answer, target: dns.name.Name) -> list[str]:
        for source in (answer, None):
            addresses: list[str] = []
            for rdtype in ("A", "AAAA"):
                where = source or await self._ask(str(target), rdtype)
                addresses += [rdata.address for rdata in where.find(target, rdtype)]
            if addresses:
                return addresses
        return []

    async def _text(self, answer: Answer, name: dns.name.Name) -> list[t.Any]:
        return answer.find(name, "TXT") or (await self._ask(str(name), "TXT")).find(name, "TXT")

    async def _ask(self, name: str, rdtype: str, timeout: float | None = None) -> Answer:
        """Ask the servers in turn until one gives an answer that can be used.

        Raises:
            NoAnswerError: none of them answered.
            ServerError: those that answered gave an error.
        """
        query = dns.message.make_query(name, rdtype, use_edns=0, payload=UDP_PAYLOAD)
        if self._key is not None:
            query.use_tsig(signing_key(self._key))
        silent: dict[Endpoint, ServerError] = {}
        unfit: dict[Endpoint, ServerError] = {}
        for _try in range(self._tries):
            for server in self._servers:
                if server in unfit:
                    continue
                try:
                    response = await self._exchange(server, query, timeout or self._timeout)
                    return Answer(server, response)
                except NoAnswerError as exc:
                    silent[server] = exc
                except ServerError as exc:
                    unfit[server] = exc
        raise next(iter([*unfit.values(), *silent.values()]))

    async def _exchange(
        self, server: Endpoint, query: dns.message.Message, timeout: float
    ) -> dns.message.Message:
        where: dict[str, t.Any] = {"port": server.port, "timeout": timeout}
        question = f"{server}: {query.question[0].to_text()}"
        try:
            if self._tcp:
                response = await dns_asyncquery.tcp(query, server.host, **where)
            else:
                response, _used_tcp = await dns_asyncquery.udp_with_fallback(
                    query, server.host, ignore_unexpected=True, **where
                )
        except dns.exception.Timeout:
            raise NoAnswerError(
                f"{question}: no answer within {timeout:g} s",
                "check the tunnel to the registry and that its responder runs",
            ) from None
        except (OSError, EOFError) as exc:
            raise NoAnswerError(
                f"{question}: {exc or type(exc).__name__}",
                "check the tunnel to the registry and that its responder runs",
            ) from None
        except (dns.tsig.PeerError, dns.tsig.BadSignature, dns.tsig.BadTime) as exc:
            raise SignatureError(
                f"{question}: {exc}", "check the key on both sides, and their clocks"
            ) from None
        except dns.exception.DNSException as exc:
            raise ServerError(
                f"{question}: the answer is malformed or to another question ({exc})",
                "check what listens at that address",
            ) from None
        rcode = response.rcode()
        if rcode == dns.rcode.REFUSED:
            raise ServerError(
                f"{question}: REFUSED", "check the server's zones and its allow_query"
            )
        if rcode not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise ServerError(f"{question}: {dns.rcode.to_text(rcode)}", "see the server's log")
        if query.had_tsig and not response.had_tsig:
            raise ServerError(
                f"{question}: the answer is not signed", "check what listens at that address"
            )
        return response


def _run(work: t.Coroutine[t.Any, t.Any, T]) -> T:
    """Return what *work* comes to.

    Who follows the zone never gets here, and saves the 2 MB of memory that asyncio takes.
    """
    import asyncio

    return asyncio.run(work)


def peer_record(
    key: PublicKey,
    name: dns.name.Name,
    services: t.Iterable[t.Any],
    addresses: t.Mapping[dns.name.Name, t.Sequence[str]],
    texts: t.Sequence[t.Any],
) -> PeerRecord:
    """Make of a peer's DNS records what they say.

    Args:
        key: The peer.
        name: Its instance name.
        services: SRV rdatas at that name.
        addresses: Those of the targets of *services*.
        texts: TXT rdatas at that name.

    Raises:
        UsageError: no endpoint in them can be used, or they are about another peer.
    """
    problem = f"{name} has an SRV record without an address"
    # RFC 2782: the lowest priority first; the rest of the order is ours, to be repeatable.
    for service in sorted(services, key=lambda r: (r.priority, -r.weight, r.port, r.target)):
        # What all can send to first; IPv4 before IPv6, for the same reason.
        for address in sorted(addresses[service.target], key=lambda a: (is_near(a), ":" in a, a)):
            try:
                endpoint = Endpoint.make(address, service.port)
            except UsageError as exc:
                problem = f"{name} has an endpoint that cannot be used: {exc}"
                continue
            text = parse_txt(texts[0].strings) if texts else None
            if text and text.public_key != key:
                raise UsageError(f"the TXT record of {name} is about another key")
            return PeerRecord(
                key, endpoint, text.allowed_ips if text else (), text.name if text else None
            )
    raise UsageError(problem, f"look at it with: dig SRV {name}")


def unusable(record: PeerRecord | None) -> str:
    """Return why no tunnel can be set up to where the zone has a peer; empty if one can.

    The registry sees a peer on its own host or link at an address that leads others elsewhere: to
    themselves, or onto whatever link they have. The zone has no scope for it either.
    """
    if record is None or not record.endpoint.is_near:
        return ""
    return (
        f"the zone has it at {record.endpoint}, which only the registry can send to; have the peer"
        " reach the registry at an address of another kind"
    )


def signing_key(key: TsigKey) -> dns.tsig.Key:
    """Return *key* as dnspython wants it."""
    return dns.tsig.Key(key.name, key.secret, key.algorithm)


_Named = t.TypeVar("_Named", PeerRecord, Member)


def by_name(records: t.Iterable[_Named]) -> list[_Named]:
    """Return *records* sorted by name, then key; those without a name come last."""
    return sorted(records, key=lambda r: (r.name is None, r.name or "", r.public_key))


def instance_key(target: dns.name.Name) -> PublicKey | None:
    """Return the key that an instance name stands for; None for services of another kind."""
    try:
        return PublicKey.from_label(target.labels[0])
    except UsageError:
        return None


class NoAnswerError(ServerError):
    """A server that cannot be reached or stays silent."""


class SignatureError(ServerError):
    """A server that rejects our signature, or whose own one is not right (RFC 8945)."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """A response and the server that gave it."""

    server: Endpoint
    message: dns.message.Message

    def find(self, name: dns.name.Name, rdtype: str) -> list[t.Any]:
        """Return the rdatas of *name* and *rdtype* in the answer and additional sections."""
        wanted = dns.rdatatype.from_text(rdtype)
        return [
            rdata
            for section in (self.message.answer, self.message.additional)
            for rrset in section
            if rrset.name == name and rrset.rdtype == wanted and rrset.rdclass == dns.rdataclass.IN
            for rdata in rrset
        ]
