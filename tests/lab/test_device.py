# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a WireGuard device must do for the engine, tried on a real one.

`make test-lab` runs this on wireguard-go, `make test-kernel` on the kernel's WireGuard.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import os
import pathlib
import resource
import socket
import statistics
import subprocess
import time
import typing as t

import pytest

from tests.kernel import devices
from wgsd.device import link, open_device, userspace, wire
from wgsd.device.base import Backend
from wgsd.errors import DeviceError, NoDeviceError, WgsdError
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, Peer, PeerChange

pytestmark = pytest.mark.lab

ENDPOINT = Endpoint.make("192.0.2.7", 51820)
OTHER_ENDPOINT = Endpoint.make("198.51.100.9", 4500)
#: The first handshake must follow within this many seconds of the endpoint being set.
HANDSHAKE_LIMIT = 1.0
HANDSHAKES = 3
#: Peers of 10,000 that change between two reads: each sends a keepalive every 25 s.
CHANGED = 400
ROUNDS = 3


@pytest.fixture(autouse=True)
def namespace() -> t.Iterator[devices.Namespace]:
    with devices.namespace() as made, made.entered():
        yield made


@pytest.fixture
def wg(namespace: devices.Namespace) -> t.Iterator[devices.WireGuard]:
    with devices.device() as made:
        yield made


@pytest.fixture
def backend(wg: devices.WireGuard) -> t.Iterator[Backend]:
    with open_device(wg.name) as opened:
        yield opened


def only_peer(backend: Backend) -> Peer:
    (peer,) = backend.read().peers.values()
    return peer


def numbered_networks(count: int) -> tuple[str, ...]:
    """Return *count* networks, IPv4 and IPv6 by turns."""
    return tuple(
        f"10.{i >> 8}.{i & 255}.0/24" if i % 2 else f"2001:db8:{i + 1:x}::/48" for i in range(count)
    )


def test_the_backend_is_the_one_under_test(backend: Backend) -> None:
    assert backend.kind == devices.KIND


def test_a_new_device_has_no_key_and_no_peers(backend: Backend, wg: devices.WireGuard) -> None:
    device = backend.read()
    assert (device.name, device.public_key, device.fwmark) == (wg.name, None, 0)
    assert device.peers == {}


def test_read_tells_every_field_that_the_wg_tool_set(
    backend: Backend, wg: devices.WireGuard
) -> None:
    private, public = devices.keypair()
    key, psk = devices.some_key(), devices.secret()
    wg.set("private-key", "/dev/stdin", "listen-port", "51820", "fwmark", "0xca6c", given=private)
    wg.set(
        *("peer", str(key), "preshared-key", "/dev/stdin", "endpoint", str(ENDPOINT)),
        *("persistent-keepalive", "25", "allowed-ips", "10.0.0.2/32,fd00::2/128,192.168.0.0/16"),
        given=base64.b64encode(psk).decode(),
    )
    device = backend.read()
    assert (device.public_key, device.listen_port, device.fwmark) == (public, 51820, 0xCA6C)
    peer = device.peers[key]
    assert set(peer.allowed_ips) == {"10.0.0.2/32", "fd00::2/128", "192.168.0.0/16"}
    assert (peer.public_key, peer.endpoint, peer.persistent_keepalive) == (key, ENDPOINT, 25)
    assert peer.preshared_key == psk
    assert (peer.last_handshake, peer.rx_bytes, peer.tx_bytes) == (0.0, 0, 0)


def test_configure_changes_only_what_it_is_given(backend: Backend) -> None:
    private, public = devices.keypair()
    backend.configure(private_key=base64.b64decode(private), listen_port=51821, fwmark=7)
    backend.configure()
    backend.configure(fwmark=0)
    device = backend.read()
    assert (device.public_key, device.listen_port, device.fwmark) == (public, 51821, 0)
    backend.configure(listen_port=51822)
    assert (backend.read().public_key, backend.read().listen_port) == (public, 51822)


def test_a_listen_port_that_is_taken_is_refused(backend: Backend, wg: devices.WireGuard) -> None:
    wg.up()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("0.0.0.0", 0))
        with pytest.raises(DeviceError, match="port") as caught:
            backend.configure(listen_port=other.getsockname()[1])
    assert wg.name in str(caught.value)


def test_a_change_adds_a_peer_and_another_removes_it(
    backend: Backend, wg: devices.WireGuard
) -> None:
    key, psk = devices.some_key(), devices.secret()
    backend.apply([PeerChange(key, ENDPOINT, 25, ("10.0.0.2/32", "fd00::/64"), psk, create=True)])
    assert wg.show("endpoints") == {str(key): str(ENDPOINT)}
    assert wg.show("persistent-keepalive") == {str(key): "25"}
    assert set(wg.show("allowed-ips")[str(key)].split()) == {"10.0.0.2/32", "fd00::/64"}
    assert only_peer(backend).preshared_key == psk
    backend.apply([PeerChange(key, remove=True)])
    assert wg.show("endpoints") == {}
    backend.apply([PeerChange(key, remove=True)])


def test_a_change_of_the_endpoint_leaves_all_else_alone(backend: Backend) -> None:
    key, psk = devices.some_key(), devices.secret()
    backend.apply([PeerChange(key, ENDPOINT, 25, ("10.0.0.2/32", "fd00::/64"), psk, create=True)])
    before = only_peer(backend)
    backend.apply([PeerChange(key, OTHER_ENDPOINT)])
    after = only_peer(backend)
    assert after.endpoint == OTHER_ENDPOINT
    assert set(after.allowed_ips) == set(before.allowed_ips) == {"10.0.0.2/32", "fd00::/64"}
    assert (after.preshared_key, after.persistent_keepalive) == (psk, 25)


def test_a_change_of_the_keepalive_leaves_all_else_alone(backend: Backend) -> None:
    key, psk = devices.some_key(), devices.secret()
    backend.apply([PeerChange(key, ENDPOINT, 25, ("10.0.0.2/32",), psk, create=True)])
    for seconds in (15, 0, 65535):
        backend.apply([PeerChange(key, persistent_keepalive=seconds)])
        peer = only_peer(backend)
        assert peer.persistent_keepalive == seconds
        assert (peer.endpoint, peer.allowed_ips) == (ENDPOINT, ("10.0.0.2/32",))
        assert peer.preshared_key == psk


def test_allowed_ips_are_replaced_as_a_whole(backend: Backend) -> None:
    key = devices.some_key()
    backend.apply([PeerChange(key, ENDPOINT, allowed_ips=numbered_networks(30), create=True)])
    assert set(only_peer(backend).allowed_ips) == set(numbered_networks(30))
    backend.apply([PeerChange(key, allowed_ips=("10.1.0.0/16",))])
    assert only_peer(backend).allowed_ips == ("10.1.0.0/16",)
    backend.apply([PeerChange(key, allowed_ips=())])
    assert only_peer(backend).allowed_ips == ()
    assert only_peer(backend).endpoint == ENDPOINT


@pytest.mark.parametrize("fresh", [False, True], ids=["create", "fresh"])
def test_a_list_of_allowed_ips_beyond_any_message_arrives_whole(
    backend: Backend, fresh: bool
) -> None:
    key, neighbour = devices.some_key(), devices.some_key()
    backend.apply([PeerChange(key, allowed_ips=("10.255.0.0/24",), create=True)])
    networks = numbered_networks(3000)
    backend.apply(
        [
            PeerChange(key, allowed_ips=networks, fresh=fresh, create=True),
            PeerChange(neighbour, allowed_ips=("10.254.0.0/24",), create=True),
        ]
    )
    peers = backend.read().peers
    assert len(peers[key].allowed_ips) == 3000
    assert set(peers[key].allowed_ips) == set(networks)
    assert peers[neighbour].allowed_ips == ("10.254.0.0/24",)


def test_a_preshared_key_is_set_cleared_and_never_printed(backend: Backend) -> None:
    key, psk = devices.some_key(), devices.secret()
    change = PeerChange(key, preshared_key=psk, create=True)
    backend.apply([change])
    device = backend.read()
    assert device.peers[key].preshared_key == psk
    for text in (repr(change), repr(device), repr(vars(backend))):
        assert psk.hex() not in text
        assert repr(psk) not in text
        assert base64.b64encode(psk).decode() not in text
    backend.apply([PeerChange(key, preshared_key=bytes(32))])
    assert only_peer(backend).preshared_key is None


def test_an_update_of_an_absent_peer_is_ignored(backend: Backend) -> None:
    present, absent = devices.some_key(), devices.some_key()
    backend.apply([PeerChange(present, create=True)])
    backend.apply(
        [
            PeerChange(absent, ENDPOINT, 25, ("10.0.0.3/32",), devices.secret()),
            PeerChange(present, OTHER_ENDPOINT),
        ]
    )
    assert only_peer(backend).public_key == present
    assert only_peer(backend).endpoint == OTHER_ENDPOINT


def test_a_fresh_peer_is_what_the_change_describes(backend: Backend) -> None:
    key, absent = devices.some_key(), devices.some_key()
    backend.apply([PeerChange(key, ENDPOINT, 25, ("10.0.0.2/32",), devices.secret(), create=True)])
    backend.apply(
        [
            PeerChange(key, OTHER_ENDPOINT, 15, ("10.0.0.3/32",), fresh=True),
            PeerChange(absent, ENDPOINT, allowed_ips=("10.0.0.4/32",), fresh=True),
        ]
    )
    peers = backend.read().peers
    assert peers[key] == Peer(key, OTHER_ENDPOINT, ("10.0.0.3/32",), persistent_keepalive=15)
    assert peers[absent] == Peer(absent, ENDPOINT, ("10.0.0.4/32",))


def test_a_thousand_peers_are_added_read_changed_and_removed(backend: Backend) -> None:
    keys = [devices.some_key() for _time in range(1000)]
    wanted = {
        key: Peer(
            key, Endpoint.make("192.0.2.1", 1024 + i), (f"10.{i >> 8}.{i & 255}.0/24",), 0.0, 0, 0
        )
        for i, key in enumerate(keys)
    }
    backend.apply(
        [
            PeerChange(peer.public_key, peer.endpoint, 0, peer.allowed_ips, create=True)
            for peer in wanted.values()
        ]
    )
    assert backend.read().peers == wanted
    backend.apply([PeerChange(key, OTHER_ENDPOINT) for key in keys])
    after = backend.read().peers
    assert {peer.endpoint for peer in after.values()} == {OTHER_ENDPOINT}
    assert all(after[key].allowed_ips == wanted[key].allowed_ips for key in keys)
    backend.apply([PeerChange(key, remove=True) for key in keys])
    assert backend.read().peers == {}


def test_one_peer_cannot_be_changed_twice_at_once(backend: Backend) -> None:
    key = devices.some_key()
    with pytest.raises(ValueError, match="more than one"):
        backend.apply([PeerChange(key, create=True), PeerChange(key, remove=True)])


def test_no_change_is_no_operation(backend: Backend) -> None:
    backend.apply([])
    assert backend.read().peers == {}


def test_endpoints_may_be_ipv6(backend: Backend, wg: devices.WireGuard) -> None:
    key, endpoint = devices.some_key(), Endpoint.make("2001:db8::7", 51820)
    backend.apply([PeerChange(key, endpoint, create=True)])
    assert only_peer(backend).endpoint == endpoint
    assert wg.show("endpoints") == {str(key): "[2001:db8::7]:51820"}


def test_a_link_local_endpoint_reaches_the_device_with_its_scope(
    backend: Backend, wg: devices.WireGuard
) -> None:
    key, scope_id = devices.some_key(), socket.if_nametoindex("lo")
    backend.apply([PeerChange(key, Endpoint.make("fe80::7", 51820, scope_id), create=True)])
    if devices.KIND == "kernel":
        assert wg.show("endpoints") == {str(key): "[fe80::7%lo]:51820"}
        assert only_peer(backend).endpoint == Endpoint("fe80::7", 51820, scope_id)
    else:
        # wireguard-go keeps the scope for itself.
        assert only_peer(backend).endpoint == Endpoint("fe80::7", 51820)


def test_a_device_that_is_gone_is_reported_and_serves_again_when_it_is_back(
    backend: Backend, wg: devices.WireGuard
) -> None:
    wg.disappear()
    for operation in (
        backend.read,
        lambda: backend.apply([PeerChange(devices.some_key(), create=True)]),
        lambda: backend.configure(fwmark=1),
        lambda: open_device(wg.name),
    ):
        with pytest.raises(NoDeviceError, match=wg.name):
            operation()
    wg.appear()
    key = devices.some_key()
    backend.apply([PeerChange(key, create=True)])
    assert list(backend.read().peers) == [key]


def test_a_name_that_nobody_has_is_no_device() -> None:
    with pytest.raises(NoDeviceError, match="wgd-nobody") as caught:
        open_device("wgd-nobody")
    assert "wg-quick up wgd-nobody" in caught.value.remedy


def test_an_interface_that_is_not_wireguard_is_refused_with_a_reason() -> None:
    with pytest.raises(DeviceError, match="WireGuard") as caught:
        open_device("lo")
    assert not isinstance(caught.value, NoDeviceError)
    assert caught.value.remedy


def test_without_rights_the_error_names_the_capability(wg: devices.WireGuard) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        # In a process of its own, since rights that are given up do not come back.
        text = "no error"
        with contextlib.suppress(BaseException):
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            try:
                open_device(wg.name)
            except WgsdError as exc:
                text = f"{type(exc).__name__}: {exc}"
        os.write(writer, text.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    assert text.startswith("DeviceError: ")
    wanted = "CAP_NET_ADMIN" if devices.KIND == "kernel" else "CAP_DAC_OVERRIDE"
    assert wanted in text
    assert wg.name in text


def test_a_device_can_be_used_where_an_event_loop_runs(wg: devices.WireGuard) -> None:
    async def read() -> str:
        with open_device(wg.name) as backend:
            return backend.read().name

    assert asyncio.run(read()) == wg.name


def test_nothing_stays_open_however_often_a_device_is_read(
    backend: Backend, wg: devices.WireGuard
) -> None:
    def open_files() -> int:
        return len(list(pathlib.Path("/proc/self/fd").iterdir()))

    backend.read()
    before = open_files()
    for _time in range(5):
        backend.read()
        with contextlib.suppress(NoDeviceError):
            open_device("wgd-nobody")
        open_device(wg.name).close()
        link.addresses(wg.name)
    assert open_files() == before


def test_unchanged_peers_are_the_same_objects_from_read_to_read(
    backend: Backend, wg: devices.WireGuard
) -> None:
    keys = [devices.some_key() for _time in range(300)]
    networks = numbered_networks(3000)
    backend.apply(
        [
            PeerChange(key, ENDPOINT, allowed_ips=networks[i * 10 : i * 10 + 10], create=True)
            for i, key in enumerate(keys)
        ]
    )
    before = backend.read().peers
    backend.apply([PeerChange(keys[0], OTHER_ENDPOINT), PeerChange(keys[1], remove=True)])
    after = backend.read().peers
    assert after.keys() == before.keys() - {keys[1]}
    assert (before[keys[0]].endpoint, after[keys[0]].endpoint) == (ENDPOINT, OTHER_ENDPOINT)
    assert after[keys[0]].allowed_ips is before[keys[0]].allowed_ips
    assert all(after[key] is before[key] for key in keys[2:])
    with open_device(wg.name) as other:
        assert other.read().peers == after


def send_packets(addresses: t.Iterable[str]) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for address in addresses:
            sender.sendto(b"a packet", (address, 9))


def dump(wg: devices.WireGuard) -> None:
    """Let the tool ``wg`` read all that there is."""
    subprocess.run(("wg", "show", wg.name, "dump"), check=True, stdout=subprocess.DEVNULL)


def seconds_of(work: t.Callable[[], object], who: int = resource.RUSAGE_SELF) -> float:
    """Return the processor time, the kernel's part included, that *work* takes."""
    before = resource.getrusage(who)
    work()
    after = resource.getrusage(who)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_a_read_of_ten_thousand_peers_costs_at_most_twice_what_the_wg_tool_takes(
    backend: Backend, wg: devices.WireGuard, capsys: pytest.CaptureFixture[str]
) -> None:
    private, _public = devices.keypair()
    wg.set("private-key", "/dev/stdin", given=private)
    wg.up("10.255.0.1/8")
    # Nobody is there: to each packet for a peer the device sends an initiation, and counts it.
    peers = [
        PeerChange(
            devices.some_key(),
            Endpoint.make("::1" if i % 4 == 0 else "127.0.0.1", 1024 + i),
            allowed_ips=(f"10.{i >> 8}.{i & 255}.1/32", f"2001:db8:{i + 1:x}::/48"),
            preshared_key=os.urandom(32) if i % 2 else None,
            create=True,
        )
        for i in range(10_000)
    ]
    for start in range(0, len(peers), 1000):
        backend.apply(peers[start : start + 1000])
    cold = seconds_of(backend.read)
    reads, dumps = [], []
    for number in range(ROUNDS):
        before = backend.read().peers
        chosen = range(number * CHANGED, (number + 1) * CHANGED)
        send_packets(f"10.{i >> 8}.{i & 255}.1" for i in chosen)
        last = str(peers[chosen[-1]].public_key)
        devices.wait_until(
            lambda key=last: wg.show("transfer")[key] != "0\t0", "an initiation", 60.0
        )
        reads.append(seconds_of(backend.read))
        after = backend.read().peers
        assert len(after) == len(peers)
        assert sum(after[key] is not peer for key, peer in before.items()) > CHANGED / 2
        dumps.append(seconds_of(lambda: dump(wg), resource.RUSAGE_CHILDREN))
    ours, theirs = statistics.median(reads), statistics.median(dumps)
    with capsys.disabled():
        print(
            f"\n{devices.KIND}, {len(peers)} peers, processor time: read {ours * 1000:.0f} ms"
            f" (the first {cold * 1000:.0f} ms), wg show dump {theirs * 1000:.0f} ms;"
            f" {ours:.1%} of a core at one read a second"
        )
    assert ours <= 2 * theirs


@contextlib.contextmanager
def two_hosts(
    here: devices.Namespace,
) -> t.Iterator[tuple[devices.WireGuard, PublicKey]]:
    """Join this namespace, as 192.0.2.1, with another one, as 192.0.2.2, a device in each.

    Yields the device here and the public key of the one there.
    """
    with contextlib.ExitStack() as stack:
        there = stack.enter_context(devices.namespace())
        devices.run(
            *("ip", "link", "add", "name", "wgdcable", "type", "veth", "peer", "name", "wgdend"),
            *("netns", f"/proc/self/fd/{there.fd}"),
            keep=[there.fd],
        )
        ends = []
        for host, cable, number in ((here, "wgdcable", 1), (there, "wgdend", 2)):
            private, public = devices.keypair()
            with host.entered():
                devices.run("ip", "address", "add", f"192.0.2.{number}/24", "dev", cable)
                devices.run("ip", "link", "set", cable, "up")
                wg = stack.enter_context(devices.device())
                wg.set("private-key", "/dev/stdin", "listen-port", "51820", given=private)
                wg.up(f"10.0.0.{number}/24")
            ends.append((wg, public))
        (wg_here, key_here), (wg_there, key_there) = ends
        stack.callback(devices.run, "ip", "link", "del", "wgdcable")
        with there.entered():
            # The other side has what a peer has before it knows an endpoint.
            peer = ("peer", str(key_here), "allowed-ips", "10.0.0.1/32")
            wg_there.set(*peer, "persistent-keepalive", "25")
        yield wg_here, key_there


def test_a_fresh_peer_shakes_hands_at_once_and_its_traffic_is_counted(
    namespace: devices.Namespace,
) -> None:
    networks = ("10.0.0.2/32",)
    took = []
    for _round in range(HANDSHAKES):
        with two_hosts(namespace) as (wg, key), open_device(wg.name) as backend:
            # With a keepalive and no endpoint, the device spends its one initiation in 5 s on
            # nothing: the state that every peer is in before the directory knows it.
            backend.apply([PeerChange(key, None, 25, networks, create=True)])
            time.sleep(0.3)
            fresh = PeerChange(key, Endpoint.make("192.0.2.2", 51820), 25, networks, fresh=True)
            backend.apply([fresh])
            took.append(
                devices.wait_until(lambda: only_peer(backend).last_handshake > 0, "a handshake")
            )
            peer = only_peer(backend)
        assert abs(peer.last_handshake - time.time()) < 60
        assert peer.rx_bytes > 0
        assert peer.tx_bytes > 0
        assert peer.allowed_ips == networks
    print(f"first handshakes after {sorted(round(seconds * 1000) for seconds in took)} ms")
    assert max(took) < HANDSHAKE_LIMIT


def test_traffic_makes_a_new_peer_without_parsing_what_it_does_not_change(
    namespace: devices.Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[bytes] = []

    def noted(parse: t.Callable[[bytes], Peer]) -> t.Callable[[bytes], Peer]:
        def parse_and_note(description: bytes) -> Peer:
            parsed.append(description)
            return parse(description)

        return parse_and_note

    for module in (userspace, wire):
        monkeypatch.setattr(module, "parse_peer", noted(module.parse_peer))
    with two_hosts(namespace) as hosts, open_device(hosts[0].name) as backend:
        wg, key = hosts
        there = Endpoint.make("192.0.2.2", 51820)
        backend.apply([PeerChange(key, there, 25, ("10.0.0.2/32",), create=True)])
        devices.wait_until(lambda: only_peer(backend).last_handshake > 0, "a handshake")
        before = only_peer(backend)
        assert parsed
        parsed.clear()
        send_packets(["10.0.0.2"])
        devices.wait_until(lambda: only_peer(backend).tx_bytes > before.tx_bytes, "traffic")
        after = only_peer(backend)
        with open_device(wg.name) as other:
            # An answer to the packet may come between the two reads.
            devices.wait_until(lambda: other.read().peers[key] == only_peer(backend), "equality")
    assert len(parsed) == 1, "only the second backend had to"
    assert after.endpoint == there
    assert after.endpoint is before.endpoint
    assert after.allowed_ips is before.allowed_ips


def test_the_addresses_of_an_interface_become_the_wanted_ones(wg: devices.WireGuard) -> None:
    first = tuple(map(ipaddress.ip_interface, ("10.0.0.1/24", "10.0.0.9/24", "fd00::1/64")))
    assert link.set_addresses(wg.name, first) == (first, ())
    assert set(link.addresses(wg.name)) == set(first)
    assert not link.set_addresses(wg.name, first)
    # The address that goes is the first of its network, and the kernel takes the others with it.
    second = tuple(map(ipaddress.ip_interface, ("10.0.0.9/24", "10.0.0.2/24")))
    change = link.set_addresses(wg.name, second)
    assert change.added == second[1:]
    assert set(change.removed) == {first[0], first[2]}
    assert set(link.addresses(wg.name)) == set(second)


def test_routes_through_an_interface_are_added_read_and_removed(wg: devices.WireGuard) -> None:
    link.set_up(wg.name)
    link.set_addresses(wg.name, [ipaddress.ip_interface("10.0.0.1/24")])
    blocks = [ipaddress.ip_network(b) for b in ("10.1.0.0/16", "0.0.0.0/0", "fd01::/64", "::/0")]
    for block in blocks:
        link.add_route(wg.name, block)
    link.add_route(wg.name, ipaddress.ip_network("10.2.0.0/16"), table=51820)
    connected = ipaddress.ip_network("10.0.0.0/24")
    assert set(link.routes(wg.name)) >= {connected, *blocks}
    assert link.routes(wg.name, table=51820) == (ipaddress.ip_network("10.2.0.0/16"),)
    assert "10.1.0.0/16 scope link" in devices.run("ip", "route", "show", "dev", wg.name)
    with pytest.raises(DeviceError, match="File exists"):
        link.add_route(wg.name, blocks[0])
    for block in [*blocks, blocks[0]]:
        link.remove_route(wg.name, block)
    assert not set(link.routes(wg.name)) & set(blocks)
    assert link.routes("lo") == ()


def test_the_mtu_and_the_state_of_an_interface_are_set_and_read(wg: devices.WireGuard) -> None:
    assert link.is_up(wg.name) is False
    link.set_up(wg.name)
    link.set_mtu(wg.name, 1380)
    assert (link.is_up(wg.name), link.mtu(wg.name)) == (True, 1380)
    link.set_up(wg.name, up=False)
    assert link.is_up(wg.name) is False


def test_an_interface_that_is_not_there_has_no_addresses(wg: devices.WireGuard) -> None:
    for operation in (
        link.addresses,
        link.routes,
        link.mtu,
        link.is_up,
        lambda name: link.set_addresses(name, []),
    ):
        with pytest.raises(NoDeviceError, match="wgd-nobody"):
            operation("wgd-nobody")
