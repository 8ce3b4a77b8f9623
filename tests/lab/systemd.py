# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The bed of systemd hosts: the network, a booted host at each of its ends, and the way in."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from . import image, inventory, machine, netns, network, podman
from .errors import LabError
from .lock import locked
from .names import check_prefix
from .nat import Nat
from .netns import Node
from .network import Network
from .podman import Host, Podman
from .progress import say, step
from .router import Router
from .signals import signals_raise
from .ssh import Access
from .topology import REGISTRY, Site, plan

DEFAULT_PREFIX = "wgsd"
DEFAULT_HOSTS = (REGISTRY, "alice", "bob")
DEFAULT_SUITE = "bookworm"


@dataclasses.dataclass(frozen=True)
class Description:
    """What a lab of systemd hosts was asked to be; kept in its state folder as ``lab.json``."""

    suite: str
    sites: tuple[Site, ...]

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Description:
        data: dict[str, Any] = json.loads(text)
        return cls(data["suite"], tuple(map(_site, data["sites"])))


class SystemdLab:
    """A lab of systemd hosts: a registry, and the other hosts behind routers.

    Every one has a router of its own unless ``sites`` says otherwise.

    As a context manager it is up inside the ``with`` block and gone afterwards. The command line
    calls :meth:`up` and :meth:`down` in different processes.

    :param prefix: tells this lab from others on the machine
    :param hosts: ``registry`` and the names of the peers
    :param nats: what the routers do, in the order of the peers; port-restricted by default
    :param suite: Debian release of the hosts
    :param state: folder for keys, ssh_config and inventory; by default in the cache
    :param sites: which hosts are behind which router, where some share one; it stands in for
        ``hosts`` and ``nats``
    """

    def __init__(
        self,
        prefix: str = DEFAULT_PREFIX,
        hosts: Sequence[str] = DEFAULT_HOSTS,
        nats: Sequence[Nat] = (),
        suite: str = DEFAULT_SUITE,
        state: Path | None = None,
        sites: Sequence[Site] = (),
    ) -> None:
        self.prefix = check_prefix(prefix)
        self.state = (state or default_state(prefix)).resolve()
        peers = [name for name in hosts if name != REGISTRY]
        padded = [*nats, *([Nat()] * (len(peers) - len(nats)))]
        self.description = Description(
            suite, tuple(sites) or tuple(Site(name, nat) for name, nat in zip(peers, padded))
        )
        self.access = Access(self.prefix, self.state)
        self._network: Network | None = None
        self._hosts: dict[str, Host] = {}
        self._stack = ExitStack()

    def __enter__(self) -> SystemdLab:
        machine.check()
        with ExitStack() as stack:
            stack.enter_context(signals_raise())
            stack.enter_context(locked(self.prefix))
            stack.callback(self.down)
            self.down()
            self.up()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def up(self) -> None:
        """Bring the lab up; one that is up already stays, and hosts that are off are started.

        :raises LabError: when it cannot, or another lab of this prefix is up
        """
        machine.check()
        say(podman.machine_kind())
        if self._keep():
            return
        self.down()
        machine.make_room(len(self._names()))
        rootfs = image.ensure(self.description.suite, machine.cache_dir())
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.access.create(self._names())
        with step("networks, routers and NAT"):
            self._network = network.build(self.prefix, self.description.sites)
        with step(f"booting {', '.join(self._names())} (Debian {self.description.suite})"):
            engine = Podman.create(self.prefix)
            for name, node in self._network.hosts.items():
                host = engine.boot(name, node, rootfs, self.access.host_files())
                self._hosts[name] = host
            for host in self._hosts.values():
                host.wait_until_running()
        self._write_state()

    def down(self) -> None:
        """Remove the lab, whatever is left of it, and its state; the image stays in the cache."""
        netns.remove(self.prefix)
        podman.remove_traces(self.prefix)
        shutil.rmtree(self.state, ignore_errors=True)
        self._network = None
        self._hosts = {}

    def attach(self) -> bool:
        """Take up the lab that another process has brought up; False if there is no whole one."""
        try:
            text = (self.state / "lab.json").read_text(encoding="utf-8")
            self.description = Description.from_json(text)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        self._network = network.attach(self.prefix, self.description.sites)
        engine = Podman.attach(self.prefix)
        if self._network is None or engine is None:
            return False
        self._hosts = {name: Host(engine, name, node) for name, node in self._network.hosts.items()}
        return True

    @property
    def hosts(self) -> dict[str, Host]:
        """All hosts, the registry first."""
        return self._hosts

    @property
    def inventory(self) -> Path:
        """The Ansible inventory."""
        return self.state / "inventory.yml"

    def host(self, name: str) -> Host:
        """A host by its name.

        :raises LabError: when there is none
        """
        if name not in self._hosts:
            raise LabError(f"no host {name!r} in lab {self.prefix}; it has {self._names()}")
        return self._hosts[name]

    def node(self, name: str) -> Node:
        """The network of a host, a router (``router-a``) or the ``internet``.

        :raises LabError: when there is none of this name
        """
        assert self._network, "the lab is not up"
        if name not in self._network.nodes:
            raise LabError(f"no node {name!r}; there are {', '.join(self._network.nodes)}")
        return self._network.nodes[name]

    def router(self, name: str) -> Router:
        """A router by its letter or its site's name; :meth:`set_nat` here outlives this process."""
        assert self._network, "the lab is not up"
        return self._network.router(name)

    def set_nat(self, router: str, nat: Nat | str) -> None:
        """Make a router do another NAT from now on, and remember it for :meth:`attach`."""
        changed = self.router(router)
        changed.set_nat(nat)
        sites = [
            dataclasses.replace(site, nat=changed.nat) if site == changed.site.site else site
            for site in self.description.sites
        ]
        self.description = dataclasses.replace(self.description, sites=tuple(sites))
        self._write_state()

    def _keep(self) -> bool:
        """Whether a lab like this is up already; if so, make it what was asked for."""
        wanted = self.description
        if not self.attach():
            self.description = wanted
            return False
        there, self.description = self.description, wanted
        if _without_nat(there) != _without_nat(wanted):
            raise LabError(
                f"lab {self.prefix} is up with other hosts ({there.suite}: "
                f"{', '.join(host for site in there.sites for host in site.host_names)}); "
                f"take it down first, "
                f"or use another prefix"
            )
        say(f"lab {self.prefix} is up already")
        for before, after in zip(there.sites, wanted.sites):
            if before.nat != after.nat:
                say(f"router of {after.name}: {after.nat.kind}")
                self.router(after.name).set_nat(after.nat)
        for host in self._hosts.values():
            if host.pid() is None:
                with step(f"starting {host.name}"):
                    host.start()
        self.access.create(self._names())
        self._write_state()
        return True

    def _names(self) -> list[str]:
        return [REGISTRY, *(name for site in self.description.sites for name in site.host_names)]

    def _write_state(self) -> None:
        data = inventory.inventory(self.access, plan(self.description.sites))
        self.inventory.write_text(inventory.render(data), encoding="utf-8")
        (self.state / "lab.json").write_text(self.description.to_json(), encoding="utf-8")


def default_state(prefix: str) -> Path:
    """The state folder of the lab ``prefix`` unless another is asked for."""
    return machine.cache_dir() / "state" / prefix


def _site(data: dict[str, Any]) -> Site:
    hosts = data["hosts"]
    shared = None if hosts is None else tuple(hosts)
    return Site(**{**data, "nat": Nat(**data["nat"]), "hosts": shared})


def _without_nat(description: Description) -> Description:
    """What cannot be changed while a lab is up; a double NAT is a router more."""
    plain, double = Nat(), Nat("double")
    sites = tuple(
        dataclasses.replace(site, nat=double if site.nat.kind == "double" else plain)
        for site in description.sites
    )
    return dataclasses.replace(description, sites=sites)
