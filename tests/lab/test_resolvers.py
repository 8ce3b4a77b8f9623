# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Resolvers, stub resolvers and browsers that hosts have, on a peer, with the responder behind.

All ask the responder through a tunnel to a real device: unbound (minimised query names, random
case, EDNS of 512 bytes, and once more over TCP alone), knot-resolver, systemd-resolved, glibc's
getaddrinfo, avahi, dig, kdig and delv.
"""

from __future__ import annotations

import contextlib
import pathlib
import socket
import subprocess
import time
import typing as t

import dns.flags
import dns.message
import dns.query
import dns.rcode
import pytest

from wgsd.keys import PublicKey

from .bare import BareHost, BareLab
from .mesh import INTERFACE, SERVER, ZONE, Mesh
from .topology import REGISTRY, REGISTRY_ADDRESS, Site
from .unpacked import unpacked

pytestmark = pytest.mark.lab

PREFIX = "wgtz"
SERVICE = f"_wireguard._udp.{ZONE}"
BOB, CAROL, DAVE, ERIN = (PublicKey(bytes([number]) * 32) for number in range(1, 5))
CROWD = [PublicKey(bytes([number, 7]) * 16) for number in range(60)]
#: Seconds that an instance, and a missing name, may be cached.
INSTANCE_TTL, NEGATIVE_TTL = 10, 5
#: Seconds that a change on the device takes to be served, and a resolver takes to ask again.
SLACK = 2.0

UNBOUND = """
server:
  do-daemonize: no
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  verbosity: 4
  interface: {address}
  do-not-query-localhost: no
  module-config: "iterator"
  qname-minimisation: yes
  qname-minimisation-strict: yes
  use-caps-for-id: yes
  harden-below-nxdomain: yes
  edns-buffer-size: 512
  tcp-upstream: {tcp}
stub-zone:
  name: {zone}
  stub-addr: {server}
remote-control:
  control-enable: no
"""
KRESD = """
net.listen('{address}', 53, {{ kind = 'dns' }})
cache.size = 10 * MB
trust_anchors.remove('.')
modules = {{ 'policy' }}
policy.add(policy.suffix(policy.STUB('{server}'), policy.todnames({{ '{zone}' }})))
"""
RESOLVED = """
[Resolve]
FallbackDNS=
MulticastDNS=no
LLMNR=no
"""
AVAHI = """
[server]
use-ipv6=no
[wide-area]
enable-wide-area=yes
[publish]
disable-publishing=yes
"""
# A bus on which everybody may do everything: all of them run in a namespace of their own.
DBUS = """
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
  "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=/run/dbus/system_bus_socket</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/> <allow own="*"/> <allow send_type="method_call"/>
    <allow send_type="method_return"/> <allow send_type="error"/> <allow send_type="signal"/>
    <allow receive_type="method_call"/> <allow receive_type="method_return"/>
    <allow receive_type="error"/> <allow receive_type="signal"/>
  </policy>
</busconfig>
"""
# systemd-resolved wants to be this user, which its package would make.
RESOLVED_USER = {
    "passwd": "systemd-resolve:x:64999:64999::/:/usr/sbin/nologin\n",
    "group": "systemd-resolve:x:64999:\n",
}
#: Where each resolver listens, on port 53.
ADDRESSES = {
    "unbound": "127.0.0.11",
    "unbound-tcp": "127.0.0.12",
    "kresd": "127.0.0.13",
    "resolved": "127.0.0.53",
}


def instance(key: PublicKey) -> str:
    """The instance name of a peer."""
    return f"{key.label}.{SERVICE}"


def unpadded(key: PublicKey) -> str:
    """The instance name as getaddrinfo takes it."""
    return f"{key.unpadded_label}.{SERVICE}"


class Bed:
    """A registry with its responder, and a peer on which resolvers run."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.registry = mesh.devices[REGISTRY]
        self.peer: BareHost = mesh.lab.host("alice")
        self.alice, self.own = mesh.key("alice"), mesh.key(REGISTRY)
        self.peer.path("/run/resolv.conf").touch()
        self.peer.run(["mount", "--bind", "/run/resolv.conf", "/etc/resolv.conf"])

    def set(self, key: PublicKey, *arguments: str) -> None:
        """``wg set wg0 peer KEY …`` on the registry."""
        self.registry.set("peer", key.base64, *arguments)

    def write(self, path: str, text: str) -> str:
        """Put a file on the peer and return its path."""
        self.peer.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.peer.path(path).write_text(text)
        return path

    def name_servers(self, *addresses: str) -> None:
        """Make these the peer's name servers, as glibc and avahi see them."""
        self.write("/run/resolv.conf", "".join(f"nameserver {a}\n" for a in addresses))

    @contextlib.contextmanager
    def running(self, name: str, *command: str) -> t.Iterator[subprocess.Popen[t.Any]]:
        """Keep a daemon running on the peer, its output in /run/NAME.log."""
        with self.peer.path(f"/run/{name}.log").open("wb") as log:
            process = self.peer.popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            yield process
        finally:
            process.kill()
            process.wait()
            # Shown by pytest if a test fails.
            print(f"the end of {name}'s log:\n{self.log(name)[-1000:]}")

    def log(self, name: str) -> str:
        """What a daemon on the peer has written."""
        return self.peer.path(f"/run/{name}.log").read_text(errors="replace")

    def ask(self, server: str, *questions: tuple[str, str]) -> list[dns.message.Message]:
        """Ask a server on the peer all questions at once, over UDP, over TCP if it says so."""
        answers = []
        with self.peer.network(), contextlib.ExitStack() as stack:
            asked = []
            for name, rdtype in questions:
                sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                query = dns.message.make_query(name, rdtype, use_edns=0, payload=1232)
                sock.connect((server, 53))
                sock.settimeout(10)
                sock.send(query.to_wire())
                asked.append((sock, query))
            for sock, query in asked:
                answer = dns.message.from_wire(sock.recv(4096))
                if answer.flags & dns.flags.TC:
                    answer = dns.query.tcp(query, server, timeout=10)
                assert query.is_response(answer)
                answers.append(answer)
        return answers

    def records(self, server: str, name: str, rdtype: str) -> list[str]:
        """The sorted records of an answer, without TTLs."""
        (answer,) = self.ask(server, (name, rdtype))
        assert answer.rcode() == dns.rcode.NOERROR, answer
        return sorted(f"{rrset.name} {rdata}".lower() for rrset in answer.answer for rdata in rrset)

    def wait(self, what: str, condition: t.Callable[[], object], patience: float = 10) -> float:
        """Wait until *condition* holds and return the seconds that this took."""
        start = time.monotonic()
        while not condition():
            assert time.monotonic() - start < patience, f"no {what} within {patience} s"
            time.sleep(0.02)
        return time.monotonic() - start

    def run(self, *command: str) -> str:
        """What a command on the peer prints; it must end well, within 10 seconds."""
        return self.peer.run(command, timeout=10).stdout

    def port_of(self, server: str, key: PublicKey) -> int | None:
        """The port in the SRV record of a peer, None if it has none."""
        answer = self.ask(server, (instance(key), "SRV"))[0].answer
        return answer[0][0].port if answer else None


@pytest.fixture(scope="module")
def bed() -> t.Iterator[Bed]:
    with BareLab(PREFIX, [Site("alice")]) as lab, Mesh(lab) as mesh:
        mesh.connect("alice")
        one = Bed(mesh)
        one.set(BOB, "endpoint", "198.51.100.2:41414", "allowed-ips", "10.0.0.2/32")
        one.set(CAROL, "endpoint", "[2001:db8::c]:51821", "allowed-ips", "10.0.0.3/32")
        zone = {
            "zone": ZONE,
            "device": INTERFACE,
            "self": {"endpoint": f"{REGISTRY_ADDRESS}:51820", "allowed_ips": [f"{SERVER}/32"]},
            "names": {BOB.base64: "bob"},
        }
        mesh.start_responder(zones=[zone])
        one.wait("tunnel", lambda: mesh.handshake("alice", REGISTRY))
        one.wait("endpoint of alice", lambda: one.port_of(SERVER, one.alice))
        yield one


@pytest.fixture(scope="module")
def bus(bed: Bed) -> t.Iterator[None]:
    """The system's message bus, as far as the peer is concerned."""
    path = bed.write("/run/dbus.conf", DBUS.strip())
    bed.write("/run/dbus/.keep", "")
    with bed.running("dbus", "dbus-daemon", f"--config-file={path}", "--nofork", "--nopidfile"):
        bed.wait("bus", bed.peer.path("/run/dbus/system_bus_socket").exists)
        yield


def resolved_command(bed: Bed) -> list[str]:
    """Make the peer ready for systemd-resolved and return how it is started."""
    for file, line in RESOLVED_USER.items():
        before = pathlib.Path("/etc", file).read_text()
        if "systemd-resolve:" not in before:
            path = bed.write(f"/run/{file}", before + line)
            bed.run("mount", "--bind", path, f"/etc/{file}")
    bed.write("/run/systemd/resolved.conf.d/mesh.conf", RESOLVED)
    return systemd_command("systemd/systemd-resolved")


def systemd_command(program: str) -> list[str]:
    """Return how a program of systemd-resolved's package, by the end of its path, is started."""
    folder = unpacked("systemd-resolved", "libsystemd-shared")
    (path,) = folder.glob(f"**/{program}")
    (library,) = folder.glob("**/libsystemd-shared-*.so")
    return ["env", f"LD_LIBRARY_PATH={library.parent}", str(path)]


def name_server_of_interface(bed: Bed) -> bool:
    """Make the responder the interface's name server, for its zone alone; False: not yet."""
    for setting in (["dns", INTERFACE, SERVER], ["domain", INTERFACE, f"~{ZONE}"]):
        command = [*systemd_command("bin/resolvectl"), *setting]
        if bed.peer.run(command, check=False, timeout=10).returncode:
            return False
    return True


@pytest.fixture(scope="module")
def resolvers(bed: Bed, bus: None) -> t.Iterator[Bed]:
    """The bed with all resolvers at work."""
    commands = {"resolved": resolved_command(bed)}
    for name, tcp in (("unbound", "no"), ("unbound-tcp", "yes")):
        folder = f"/run/{name}"
        config = UNBOUND.format(
            folder=folder, address=ADDRESSES[name], tcp=tcp, zone=ZONE, server=SERVER
        )
        commands[name] = ["unbound", "-d", "-c", bed.write(f"{folder}/unbound.conf", config)]
    config = KRESD.format(address=ADDRESSES["kresd"], zone=ZONE, server=SERVER)
    path = bed.write("/run/kresd/kresd.conf", config)
    commands["kresd"] = ["kresd", "-n", "-c", path, "/run/kresd"]
    with contextlib.ExitStack() as stack:
        for name, command in commands.items():
            stack.enter_context(bed.running(name, *command))
        bed.wait("bus for systemd-resolved", lambda: name_server_of_interface(bed))
        for name, address in ADDRESSES.items():
            bed.wait(f"answer of {name}", lambda address=address: is_up(bed, address))
        yield bed


def is_up(bed: Bed, address: str) -> bool:
    try:
        return bool(bed.ask(address, (ZONE, "SOA"))[0].answer)
    except OSError:
        return False


@pytest.fixture(params=ADDRESSES)
def resolver(resolvers: Bed, request: pytest.FixtureRequest) -> str:
    """The address of one resolver after the other."""
    return ADDRESSES[request.param]


@pytest.fixture
def crowd(bed: Bed) -> t.Iterator[None]:
    """So many peers that their list fits no datagram."""
    changes = [
        word
        for number, key in enumerate(CROWD)
        for word in ("peer", key.base64, "endpoint", f"198.51.100.{100 + number}:{4000 + number}")
    ]
    bed.registry.set(*changes)
    try:
        yield
    finally:
        bed.registry.set(*(word for key in CROWD for word in ("peer", key.base64, "remove")))


def test_a_resolver_hands_on_every_record_of_a_peer(resolver: str, bed: Bed) -> None:
    questions = [
        (SERVICE, "PTR"),
        *((name, rdtype) for name in (instance(BOB), unpadded(BOB)) for rdtype in ("SRV", "A")),
        (instance(BOB), "TXT"),
        (instance(CAROL), "SRV"),
        (instance(CAROL), "AAAA"),
        (f"bob.{SERVICE}", "SRV"),
        (ZONE, "NS"),
        (f"ns1.{ZONE}", "A"),
    ]
    for question in questions:
        records = bed.records(resolver, *question)
        assert records
        assert records == bed.records(SERVER, *question)


def test_a_resolver_gets_a_list_that_fits_no_datagram(resolver: str, bed: Bed, crowd: None) -> None:
    def everybody() -> bool:
        return len(bed.records(SERVER, SERVICE, "PTR")) == 4 + len(CROWD)

    bed.wait("long list", everybody)
    whole = bed.records(SERVER, SERVICE, "PTR")
    bed.wait(
        "long list by the resolver",
        lambda: bed.records(resolver, SERVICE, "PTR") == whole,
        INSTANCE_TTL + SLACK,
    )


def test_what_is_missing_hides_nothing_that_is_there(resolver: str, bed: Bed) -> None:
    absent = [(f"{'a' * 52}.{SERVICE}", "SRV"), (f"_tcp.{ZONE}", "A"), (f"x.{ZONE}", "AAAA")]
    empty = [(ZONE, "TXT"), (f"_udp.{ZONE}", "A"), (SERVICE, "A"), (instance(BOB), "AAAA")]
    for _time in range(2):
        answers = bed.ask(resolver, *absent, *empty)
        rcodes = [dns.rcode.to_text(answer.rcode()) for answer in answers]
        assert rcodes == ["NXDOMAIN"] * len(absent) + ["NOERROR"] * len(empty)
        assert not any(answer.answer for answer in answers)
        assert bed.records(resolver, instance(BOB), "SRV")
        assert bed.records(resolver, unpadded(BOB), "A")
        assert bed.records(resolver, SERVICE, "PTR")


def test_a_cache_holds_nothing_longer_than_its_short_time_to_live(resolvers: Bed) -> None:
    def ports(key: PublicKey) -> set[int | None]:
        return {resolvers.port_of(address, key) for address in ADDRESSES.values()}

    resolvers.set(ERIN, "endpoint", "198.51.100.5:5")
    try:
        resolvers.wait("ERIN", lambda: resolvers.port_of(SERVER, ERIN) == 5)
        assert ports(ERIN) == {5}
        assert ports(DAVE) == {None}
        for address in ADDRESSES.values():
            answers = resolvers.ask(address, (instance(ERIN), "SRV"), (instance(DAVE), "SRV"))
            assert 0 <= answers[0].answer[0].ttl <= INSTANCE_TTL
            assert 0 <= answers[1].authority[0].ttl <= NEGATIVE_TTL
        resolvers.set(DAVE, "endpoint", "198.51.100.4:4")
        resolvers.set(ERIN, "endpoint", "198.51.100.5:55")
        joined = resolvers.wait("DAVE", lambda: ports(DAVE) == {4}, NEGATIVE_TTL + SLACK)
        moved = resolvers.wait("ERIN", lambda: ports(ERIN) == {55}, INSTANCE_TTL + SLACK)
        print(f"a peer that joined was seen after {joined:.1f} s, one that moved {moved:.1f} later")
    finally:
        for key in (DAVE, ERIN):
            resolvers.set(key, "remove")


def test_unbound_minimises_names_and_its_random_case_comes_back(resolvers: Bed) -> None:
    resolvers.records(ADDRESSES["unbound"], instance(resolvers.own), "SRV")
    log = resolvers.log("unbound")
    assert f"sending query: _udp.{ZONE} A IN" in log
    assert f"sending query: {SERVICE} A IN" in log
    assert "good 0x20-ID in reply qname" in log
    assert "wrong 0x20-ID" not in log


def test_queries_of_a_resolver_over_tcp_share_connections(resolvers: Bed, crowd: None) -> None:
    address = ADDRESSES["unbound-tcp"]
    resolvers.wait("crowd", lambda: resolvers.port_of(SERVER, CROWD[-1]))
    answers = resolvers.ask(address, *((instance(key), "SRV") for key in CROWD))
    assert [a.answer[0][0].port for a in answers] == [4000 + n for n in range(len(CROWD))]
    # Said for a query on a connection that has carried another one.
    assert resolvers.log("unbound-tcp").count("outnet tcp setup next pkt") > len(CROWD) / 2


@pytest.mark.parametrize("server", [SERVER, *ADDRESSES.values()])
def test_getaddrinfo_takes_the_unpadded_name(resolvers: Bed, server: str) -> None:
    resolvers.name_servers(server)
    for key, address in ((BOB, "198.51.100.2"), (CAROL, "2001:db8::c")):
        shown = resolvers.run("getent", "ahosts", unpadded(key))
        assert {line.split()[0] for line in shown.splitlines()} == {address}


def test_delv_validates_nothing_in_an_unsigned_zone_and_takes_its_answers(
    resolver: str, bed: Bed, tmp_path: pathlib.Path
) -> None:
    # An anchor elsewhere: there is no signed root here, and below no anchor all is insecure.
    anchors = tmp_path / "anchors"
    anchors.write_text('trust-anchors { "example.net" static-ds 1 8 2 "' + "00" * 32 + '"; };\n')
    validate = ["delv", f"@{resolver}", "-a", str(anchors), "+root=example.net"]
    for rdtype in ("SRV", "TXT", "A"):
        shown = bed.run(*validate, instance(BOB), rdtype)
        assert "; unsigned answer" in shown
        assert instance(BOB) in shown


def test_the_steps_of_browsing_lead_from_the_domain_to_every_peer(bed: Bed) -> None:
    def dig(name: str, rdtype: str) -> list[str]:
        return bed.run("dig", "+short", f"@{SERVER}", name, rdtype).splitlines()

    (domain,) = dig(f"b._dns-sd._udp.{ZONE}", "PTR")
    (service,) = dig(f"_services._dns-sd._udp.{domain}", "PTR")
    instances = dig(service, "PTR")
    assert set(instances) == {instance(k) for k in (bed.alice, bed.own, BOB, CAROL)}
    for name in instances:
        (srv,) = dig(name, "SRV")
        (txt,) = dig(name, "TXT")
        target = srv.split()[3]
        assert dig(target, "A") + dig(target, "AAAA")
        assert txt.startswith('"txtvers=1"')


def test_systemd_resolves_a_peer_as_the_service_that_it_is(resolvers: Bed) -> None:
    command = [*systemd_command("bin/resolvectl"), "service", BOB.label, "_wireguard._udp", ZONE]
    # It breaks lines where a terminal would end.
    shown = "".join(resolvers.run(*command).split())
    for found in (":41414", "198.51.100.2", "txtvers=1", f"pub={BOB.base64}", "name=bob"):
        assert found in shown


def test_avahi_browses_a_small_mesh_and_resolves_its_peers(bed: Bed, bus: None) -> None:
    """Avahi asks over UDP without EDNS and never over TCP: six peers are all that it can list."""
    bed.name_servers(SERVER)
    bed.write("/run/avahi-daemon/.keep", "")
    flags = ["-f", bed.write("/run/avahi.conf", AVAHI), "--no-drop-root", "--no-chroot"]
    browse = ["avahi-browse", "--parsable", "--terminate", f"--domain={ZONE}"]
    with bed.running("avahi", "avahi-daemon", *flags):
        bed.wait("avahi", lambda: "Server startup complete" in bed.log("avahi"))
        assert "example.com" in bed.run(*browse, "--browse-domains")
        assert "_wireguard._udp" in bed.run(*browse, "--all")
        shown = bed.run(*browse, "--resolve", "_wireguard._udp").splitlines()
    found = [line.split(";") for line in shown if line.startswith("=")]
    assert {fields[3].replace("\\061", "=") for fields in found} == {
        key.label for key in (bed.alice, bed.own, BOB, CAROL)
    }
    bob = next(fields for fields in found if fields[3].startswith(BOB.unpadded_label))
    assert bob[7:9] == ["198.51.100.2", "41414"]
    assert f'"pub={BOB.base64}"' in bob[9]


@pytest.mark.parametrize("command", ["dig", "kdig"])
def test_a_client_gets_a_cookie_and_is_known_by_it(bed: Bed, command: str) -> None:
    shown = bed.run(command, f"@{SERVER}", "+cookie", instance(BOB), "SRV")
    assert "NOERROR" in shown
    assert "COOKIE" in shown.upper()
    if command == "dig":
        assert "(good)" in shown


def test_small_and_large_datagrams_are_enough_or_lead_to_tcp(bed: Bed, crowd: None) -> None:
    bed.wait("crowd", lambda: bed.port_of(SERVER, CROWD[-1]))
    for size in ("+noedns", "+bufsize=512", "+bufsize=1232", "+bufsize=4096"):
        for command in ("dig", "kdig"):
            shown = bed.run(command, f"@{SERVER}", size, "+noall", "+answer", SERVICE, "PTR")
            assert shown.count("PTR") == 4 + len(CROWD)
            shown = bed.run(command, f"@{SERVER}", size, "+noall", "+answer", instance(BOB), "SRV")
            assert shown.count("41414") == 1
        shown = bed.run("dig", f"@{SERVER}", size, "+ignore", SERVICE, "PTR")
        assert " tc " in shown.partition("flags:")[2].replace(";", " ")


@pytest.mark.parametrize("command", ["dig", "kdig"])
def test_many_queries_go_over_one_connection(bed: Bed, command: str) -> None:
    question = [f"@{SERVER}", "+tcp", "+keepopen", "+norecurse", instance(BOB), "SRV"]
    shown = bed.run(command, *question * 20)
    assert shown.count("41414") >= 20
    assert "WARNING" not in shown


def test_idle_connections_of_one_client_keep_nobody_from_being_served(bed: Bed) -> None:
    with contextlib.ExitStack() as stack, bed.peer.network():
        for _time in range(300):
            stack.enter_context(socket.create_connection((SERVER, 53), timeout=5))
        for _time in range(5):
            assert "41414" in bed.run("dig", f"@{SERVER}", "+tcp", instance(BOB), "SRV")
            assert bed.port_of(SERVER, BOB) == 41414
