# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration files: what is read, and how errors are told."""

from __future__ import annotations

import base64
import os
import pathlib

import pytest

from wgsd import config
from wgsd.errors import UsageError
from wgsd.keys import PublicKey
from wgsd.model import Endpoint, HostPort

pytestmark = pytest.mark.unit

KEY = PublicKey(bytes(range(32))).base64

SECRET = base64.b64encode(bytes(range(32))).decode()

RESPONDER = f"""\
listen: ["10.0.0.254:53", "[fd00::1]"]
zones:
  - zone: Example.com
    device: wg0
    self: {{endpoint: "203.0.113.4:51820", allowed_ips: ["10.0.0.254"]}}
    names: {{"{KEY}": Alice}}
    allow_query: [tunnel, "10.0.0.0/24", "key Ops.example.com", fd00::/64]
    allow_transfer: []
    notify: ["198.51.100.7", "[2001:db8::7]:5353 key other"]
    dnssec: {{validity: 3}}
    publish:
      - {{server: "198.51.100.9", zone: Corp.example, key: ops.example.com.}}
      - {{server: "[2001:db8::9]:5353"}}
workers: 3
metrics: 127.0.0.1
keys:
  ops.Example.com: {{algorithm: HMAC-SHA512, secret: "{SECRET}"}}
  other.: {{secret: "{SECRET}"}}
catalog:
  zone: Catalog.example.com
  allow_transfer: [key other]
  notify: ["198.51.100.8 key ops.example.com"]
rate_limit: 0
state_dir: /var/lib/elsewhere
"""


@pytest.fixture
def write(tmp_path):
    def _write(text: str) -> pathlib.Path:
        path = tmp_path / "wgsd.yml"
        path.write_text(text)
        return path

    return _write


def test_every_field_of_the_responder_is_read(write):
    settings = config.load_responder(write(RESPONDER))
    assert settings.listen == (Endpoint("10.0.0.254", 53), Endpoint("fd00::1", 53))
    assert settings.state_dir == pathlib.Path("/var/lib/elsewhere")
    (zone,) = settings.zones
    assert (zone.zone, zone.device) == ("example.com.", "wg0")
    assert zone.own == config.SelfSettings(Endpoint("203.0.113.4", 51820), ("10.0.0.254/32",))
    assert zone.names == {PublicKey.from_base64(KEY): "alice"}
    assert zone.allow_query == config.Access(
        ("10.0.0.0/24", "fd00::/64"), ("ops.example.com.",), tunnel=True
    )
    assert zone.allow_transfer == config.Access()
    assert zone.notify == (
        config.Remote(Endpoint("198.51.100.7", 53)),
        config.Remote(Endpoint("2001:db8::7", 5353), "other."),
    )
    assert zone.dnssec == config.DnssecSettings(3 * 86400)
    assert zone.publish == (
        config.PublishTarget(
            config.Remote(Endpoint("198.51.100.9", 53), "ops.example.com."), "corp.example."
        ),
        config.PublishTarget(config.Remote(Endpoint("2001:db8::9", 5353)), "example.com."),
    )
    assert settings.catalog == config.CatalogSettings(
        "catalog.example.com.",
        config.Access(keys=("other.",)),
        (config.Remote(Endpoint("198.51.100.8", 53), "ops.example.com."),),
    )
    assert (settings.workers, settings.rate_limit) == (3, 0)
    assert settings.metrics == Endpoint("127.0.0.1", 9586)
    assert settings.keys == {
        "ops.example.com.": config.TsigKey("ops.example.com.", "hmac-sha512", bytes(range(32))),
        "other.": config.TsigKey("other.", "hmac-sha256", bytes(range(32))),
    }


def test_a_zone_and_a_device_are_enough(write):
    settings = config.load_responder(write("zones: [{zone: example.com., device: wg0}]"))
    assert settings.listen == ()
    assert settings.state_dir == pathlib.Path("/var/lib/wgsd")
    assert settings.zones[0].own is None
    assert settings.zones[0].allow_query is None
    assert settings.zones[0].allow_transfer == config.Access(tunnel=True)
    assert settings.zones[0].notify == settings.zones[0].publish == ()
    assert settings.zones[0].dnssec is None
    assert settings.catalog is None
    assert settings.workers == min(len(os.sched_getaffinity(0)), 64)
    assert settings.metrics is None
    assert settings.keys == {}
    assert settings.rate_limit == 50


@pytest.mark.parametrize(
    ("text", "own"),
    [("true", config.SelfSettings()), ("false", None), ("{}", config.SelfSettings())],
)
def test_self_is_a_yes_a_no_or_a_mapping(write, text, own):
    path = write(f"zones: [{{zone: example.com., device: wg0, self: {text}}}]")
    assert config.load_responder(path).zones[0].own == own


@pytest.mark.parametrize(
    ("text", "days"),
    [("true", 7), ("{}", 7), ("{validity: 2}", 2), ("{validity: 90}", 90)],
)
def test_a_zone_is_signed_for_a_week_or_for_days_of_choice(write, text, days):
    path = write(f"zones: [{{zone: example.com., device: wg0, dnssec: {text}}}]")
    assert config.load_responder(path).zones[0].dnssec == config.DnssecSettings(days * 86400)


def test_a_zone_may_say_that_it_is_not_signed(write):
    path = write("zones: [{zone: example.com., device: wg0, dnssec: false}]")
    assert config.load_responder(path).zones[0].dnssec is None


def test_a_catalog_is_for_the_tunnel_and_notifies_nobody_by_default(write):
    path = write("zones: [{zone: a.b, device: wg0}]\ncatalog: {zone: c.d}")
    assert config.load_responder(path).catalog == config.CatalogSettings(
        "c.d.", config.Access(tunnel=True), ()
    )


def test_all_addresses_may_be_listened_on(write):
    path = write('listen: ["0.0.0.0:5353", "[::]:5353", "::"]\nzones: [{zone: a.b, device: wg0}]')
    assert [str(e) for e in config.load_responder(path).listen] == [
        "0.0.0.0:5353",
        "[::]:5353",
        "[::]:53",
    ]


def test_every_field_of_the_client_is_read(write):
    path = write("interface: wg0\nzone: example.com.\nregistries: [10.0.0.254]\nkeepalive: 15\n")
    assert config.load_client(path) == config.ClientSettings(
        "wg0", "example.com.", (Endpoint("10.0.0.254", 53),), 15
    )


def test_a_client_discovers_members_only_when_it_is_told_to(write):
    text = "interface: wg0\nzone: example.com.\nregistries: [10.0.0.254]\n"
    assert not config.load_client(write(text)).discover
    assert config.load_client(write(text + "discover: true\n")).discover
    with pytest.raises(UsageError, match="discover"):
        config.load_client(write(text + "discover: some\n"))


def test_a_registry_may_say_where_its_wireguard_is_found(write):
    path = write(
        "interface: wg0\nzone: example.com.\nregistries:\n- 10.0.0.252\n- {address: 10.0.0.253}\n"
        "- {address: '10.0.0.254:5353', endpoint: registry.example.com:51820}\n"
        "- {address: 'fd00::254', endpoint: '[2001:db8::4]:51820'}\n"
    )
    first, second, third, fourth = config.load_client(path).registries
    assert config.load_client(path).anchors == {
        third: HostPort("registry.example.com", 51820),
        fourth: HostPort("2001:db8::4", 51820),
    }
    assert [first.port, second.port, third.port, fourth.port] == [53, 53, 5353, 53]


@pytest.mark.parametrize(
    ("text", "line", "field", "problem"),
    [
        ("zones: []", 1, "zones", "empty"),
        ("listen: []", 1, "", "zones is missing"),
        ("zones:\n- zone: a.b\n", 2, "zones[0]", "device is missing"),
        ("zones:\n- {zone: a.b, device: wg0}\ncolour: red\n", 3, "colour", "unknown key"),
        ("zones:\n- zone: a.b\n  device: wg0\n  dev: x\n", 4, "zones[0].dev", "unknown key"),
        ("zones:\n- {zone: a.b, device: waytoolonganame}\n", 2, "zones[0].device", ""),
        ("zones:\n- {zone: a..b, device: wg0}\n", 2, "zones[0].zone", "bad label"),
        (
            "zones:\n- {zone: a.b, device: wg0}\n- {zone: A.B., device: wg1}\n",
            3,
            "zones[1].zone",
            "already there",
        ),
        ("zones:\n- {zone: a.b, device: wg0}\nlisten: [10.0.0.1:0]", 3, "listen[0]", "port 0"),
        ("zones:\n- {zone: a.b, device: wg0}\nlisten: ['0.0.0.0:99999']", 3, "listen[0]", "99999"),
        ("zones:\n- {zone: a.b, device: wg0}\nlisten: 10.0.0.1", 3, "listen", "list is expected"),
        (
            "zones:\n- {zone: a.b, device: wg0}\nlisten:\n- 10.0.0.1\n- 10.0.0.1:53\n",
            5,
            "listen[1]",
            "10.0.0.1:53 is already there; give each address once",
        ),
        (
            "zones:\n- {zone: a.b, device: wg0}\nlisten:\n- 0.0.0.0\n- 10.0.0.1\n",
            5,
            "listen[1]",
            "0.0.0.0:53 and 10.0.0.1:53 overlap; leave one of them out",
        ),
        (
            "zones:\n- {zone: a.b, device: wg0}\nlisten:\n- fd00::1\n- '::'\n",
            5,
            "listen[1]",
            "[fd00::1]:53 and [::]:53 overlap; leave one of them out",
        ),
        (
            "zones:\n- {zone: a.b, device: wg0}\nlisten: ['0.0.0.0:99']\nmetrics: 127.0.0.1:99\n",
            4,
            "metrics",
            "127.0.0.1:99 overlaps with 0.0.0.0:99 in 'listen'; give another port",
        ),
        (
            "zones:\n- {zone: a.b, device: wg0, self: {endpoint: x}}",
            2,
            "zones[0].self.endpoint",
            "",
        ),
        ("zones:\n- {zone: a.b, device: wg0, names: {x: y}}", 2, "zones[0].names.x", "public key"),
        ("zones:\n- {zone: a.b, device: wg0, allow_query: [a]}", 2, "zones[0].allow_query[0]", ""),
        ("zones:\n- {zone: a.b, device: }", 2, "zones[0].device", "text is expected"),
        ("zones:\n- a\n", 2, "zones[0]", "mapping is expected"),
        (
            "zones:\n- zone: a.b\n  device: wg0\n  allow_query:\n  - key x.\n",
            5,
            "zones[0].allow_query[0]",
            "no key x.",
        ),
        (
            "zones:\n- {zone: a.b, device: wg0, allow_transfer: [key]}",
            2,
            "zones[0].allow_transfer[0]",
            "there is no key",
        ),
        (
            "zones:\n- {zone: a.b, device: wg0, allow_query: []}\n- {zone: c.d, device: wg1}\n",
            3,
            "zones[1]",
            "allow_query is missing",
        ),
        (
            "zones: [{zone: a.b, device: wg0, notify: [x]}]",
            1,
            "zones[0].notify[0]",
            "not an IP address",
        ),
        (
            "zones: [{zone: a.b, device: wg0, notify: [192.0.2.1 with x]}]",
            1,
            "zones[0].notify[0]",
            "write it as 'ADDRESS key NAME'",
        ),
        (
            "zones: [{zone: a.b, device: wg0, notify: [192.0.2.1 key]}]",
            1,
            "zones[0].notify[0]",
            "write it as 'ADDRESS key NAME'",
        ),
        (
            "zones: [{zone: a.b, device: wg0, notify: [192.0.2.1 key x]}]",
            1,
            "zones[0].notify[0]",
            "no key x.",
        ),
        ("zones: [{zone: a.b, device: wg0, dnssec: maybe}]", 1, "zones[0].dnssec", "mapping"),
        (
            "zones: [{zone: a.b, device: wg0, dnssec: {validity: 1}}]",
            1,
            "zones[0].dnssec.validity",
            "from 2 to 90",
        ),
        (
            "zones: [{zone: a.b, device: wg0, publish: [{zone: c.d}]}]",
            1,
            "zones[0].publish[0]",
            "server is missing",
        ),
        (
            "zones: [{zone: a.b, device: wg0, publish: [{server: 192.0.2.1, key: x}]}]",
            1,
            "zones[0].publish[0].key",
            "no key x.",
        ),
        (
            "zones: [{zone: a.b, device: wg0, publish: [{server: 192.0.2.1, zone: .}]}]",
            1,
            "zones[0].publish[0].zone",
            "the DNS root",
        ),
        (
            "zones: [{zone: a.b, device: wg0, allow_transfer: [tunnel x]}]",
            1,
            "zones[0].allow_transfer[0]",
            "not a network",
        ),
        (
            "zones: [{zone: a.b, device: wg0}]\ncatalog: {zone: A.b}",
            2,
            "catalog.zone",
            "is one of the zones",
        ),
        (
            "zones: [{zone: a.b, device: wg0}]\ncatalog: {zone: c.d, allow_query: []}",
            2,
            "catalog.allow_query",
            "unknown key",
        ),
        ("zones: [{zone: a.b, device: wg0}]\nworkers: 0", 2, "workers", "from 1 to 64"),
        ("zones: [{zone: a.b, device: wg0}]\nworkers: 65", 2, "workers", "from 1 to 64"),
        ("zones: [{zone: a.b, device: wg0}]\nrate_limit: -1", 2, "rate_limit", "not a number"),
        ("zones: [{zone: a.b, device: wg0}]\nmetrics: yes", 2, "metrics", "not an IP address"),
        ("zones: [{zone: a.b, device: wg0}]\nmetrics: 0.0.0.0", 2, "metrics", "everyone"),
        ("zones: [{zone: a.b, device: wg0}]\nmetrics: '[::]:99'", 2, "metrics", "everyone"),
        ("zones: [{zone: a.b, device: wg0}]\nmetrics: '::'", 2, "metrics", "everyone"),
        ("zones: [{zone: a.b, device: wg0}]\nstate_dir: x", 2, "state_dir", "absolute"),
        ("zones: [{zone: a.b, device: wg0}]\nzones: []", 2, "zones", "twice"),
        ("zones: [}", 1, "", "not valid YAML"),
    ],
)
def test_an_error_names_file_line_and_field(write, text, line, field, problem):
    if "waytoolong" in text:
        text = text.replace("waytoolonganame", "w" * 16)
    path = write(text)
    with pytest.raises(UsageError) as caught:
        config.load_responder(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert f"field {field}:" in message or not field
    assert problem in message


@pytest.mark.parametrize(
    ("key", "field", "problem"),
    [
        ("a..b: {secret: SECRET}", "keys.a..b", "cannot be the name of a key"),
        ("'a b': {secret: SECRET}", "keys.a b", "cannot be the name of a key"),
        (f"{'a.' * 127}b: {{secret: SECRET}}", f"keys.{'a.' * 127}b", "cannot be the name"),
        ("a: {algorithm: hmac-sha256}", "keys.a", "secret is missing"),
        ("a: {algorithm: hmac-sha1, secret: SECRET}", "keys.a.algorithm", "too weak"),
        ("a: {algorithm: hmac-md5, secret: SECRET}", "keys.a.algorithm", "too weak"),
        ("a: {algorithm: sha256, secret: SECRET}", "keys.a.algorithm", "not known"),
        ("a: {secret: SECRET!}", "keys.a.secret", "not Base64"),
        ("a: {secret: c2hvcnQ=}", "keys.a.secret", "has 5 bytes"),
        ("a: {secret: SECRET, colour: red}", "keys.a.colour", "unknown key"),
        ("{a: {secret: SECRET}, A.: {secret: SECRET}}", "keys.A.", "already there"),
        ("[a]", "keys", "mapping is expected"),
    ],
)
def test_a_wrong_key_is_told_without_its_secret(write, key, field, problem):
    zones = "zones: [{zone: a.b, device: wg0}]"
    path = write(f"{zones}\nkeys:\n  {key.replace('SECRET', SECRET)}\n")
    with pytest.raises(UsageError) as caught:
        config.load_responder(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:3: field {field}: ")
    assert problem in message
    assert SECRET not in message


def test_a_secret_is_not_shown_with_the_settings(write):
    settings = config.load_responder(write(RESPONDER))
    assert "hmac-sha512" in repr(settings)
    assert repr(bytes(range(32))) not in repr(settings)


def test_two_peers_cannot_have_one_name(write):
    other = PublicKey(bytes(32)).base64
    names = f'{{"{KEY}": a, "{other}": A}}'
    path = write(f"zones:\n- {{zone: a.b, device: wg0, names: {names}}}")
    with pytest.raises(UsageError, match="given twice"):
        config.load_responder(path)


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n"])
def test_an_empty_file_is_told_as_such(write, text):
    with pytest.raises(UsageError, match="the file is empty"):
        config.load_client(write(text))


def test_a_file_that_cannot_be_read_is_told_as_such(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        config.load_client(tmp_path / "absent.yml")


@pytest.mark.parametrize(
    ("path", "problem"),
    [("client.prom", "not absolute"), ("/run/wgsd/client.txt", "node_exporter")],
)
def test_metrics_go_where_the_collector_finds_them(write, path, problem):
    text = f"interface: wg0\nzone: a.b\nregistries: [10.0.0.1]\nmetrics_file: {path}"
    with pytest.raises(UsageError, match=f"field metrics_file: .*{problem}"):
        config.load_client(write(text))
    text = text.replace(path, "/run/wgsd/client.prom")
    assert config.load_client(write(text)).metrics_file.name == "client.prom"


@pytest.mark.parametrize("keepalive", ["-1", "65536", "soon", "[1]"])
def test_a_keepalive_is_a_number_that_wireguard_takes(write, keepalive):
    path = write(f"interface: wg0\nzone: a.b\nregistries: [10.0.0.1]\nkeepalive: {keepalive}")
    with pytest.raises(UsageError, match="field keepalive"):
        config.load_client(path)


@pytest.mark.parametrize(
    ("registry", "field", "problem"),
    [
        ("registry.example.com", "registries[1]", "not an IP address"),
        ("{endpoint: 'registry.example.com:51820'}", "registries[1]", "address is missing"),
        ("{address: a.b}", "registries[1].address", "not an IP address"),
        ("{address: 10.0.0.2, endpoint: a.b}", "registries[1].endpoint", "no port"),
        ("{address: 10.0.0.2, endpoint: 'a_b:1'}", "registries[1].endpoint", "neither a host name"),
        ("{address: 10.0.0.2, endpoint: '0.0.0.0:1'}", "registries[1].endpoint", "0.0.0.0"),
        ("{address: 10.0.0.2, endpoint: [a.b:1]}", "registries[1].endpoint", "text is expected"),
        ("{address: 10.0.0.2, name: a.b}", "registries[1].name", "unknown key"),
        ("[10.0.0.2]", "registries[1]", "text is expected"),
    ],
)
def test_a_wrong_registry_is_told_with_its_field(write, registry, field, problem):
    path = write(f"interface: wg0\nzone: a.b\nregistries:\n- 10.0.0.1\n- {registry}\n")
    with pytest.raises(UsageError) as caught:
        config.load_client(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:5: field {field}: ")
    assert problem in message


def test_the_key_of_a_client_is_read_and_not_shown(write):
    path = write(
        "interface: wg0\nzone: a.b\nregistries: [10.0.0.1]\n"
        f"key: {{name: Peers.example.com, secret: {SECRET}}}"
    )
    settings = config.load_client(path)
    assert settings.key == config.TsigKey("peers.example.com.", "hmac-sha256", bytes(range(32)))
    assert repr(bytes(range(32))) not in repr(settings)


@pytest.mark.parametrize(
    ("key", "field", "problem"),
    [
        (f"{{secret: {SECRET}}}", "key", "name is missing"),
        (f"{{name: a..b, secret: {SECRET}}}", "key.name", "cannot be the name of a key"),
        ("{name: a}", "key", "secret is missing"),
        (f"{{name: a, secret: {SECRET}!}}", "key.secret", "not Base64"),
        (f"{{name: a, algorithm: hmac-md5, secret: {SECRET}}}", "key.algorithm", "too weak"),
    ],
)
def test_a_wrong_key_of_a_client_is_told_without_its_secret(write, key, field, problem):
    path = write(f"interface: wg0\nzone: a.b\nregistries: [10.0.0.1]\nkey: {key}")
    with pytest.raises(UsageError) as caught:
        config.load_client(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:4: field {field}: ")
    assert problem in message
    assert SECRET not in message


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "a:b", "w" * 16])
def test_what_linux_would_not_take_for_an_interface_is_refused(name):
    with pytest.raises(UsageError):
        config.check_interface(name)
