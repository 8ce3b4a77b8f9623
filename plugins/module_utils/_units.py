# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of the units and of the system user that the daemons run as.

Private to this collection.
"""

from __future__ import annotations

import pathlib
import typing as t

from .wgsd.config import Instance

USER = "wgsd"
SYSUSERS = f"""\
# Written by the Ansible collection wgsd.mesh.
u {USER} - "wgsd responder and client" - -
"""

_HEAD = """\
# Written by the Ansible collection wgsd.mesh. Put changes into a drop-in: systemctl edit {unit}
[Unit]
Description={description}
{order}After=network-online.target
Wants=network-online.target
# Never give up: the device, the network or the registry may come at any time.
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={command}
Restart=always
RestartSec=1
TimeoutStartSec=60
{slice}User={user}
Group={user}
"""
_RESPONDER = """\
# A reload goes no further where the engine on the disk does not like the configuration.
ExecReload={command} --check
ExecReload=/bin/sh -c "kill -HUP $$MAINPID"
KillMode=mixed
WatchdogSec=30
# While the daemon restarts, systemd keeps its sockets and queries wait in them: two per address.
FileDescriptorStoreMax=512
RuntimeDirectory={runtime}
RuntimeDirectoryMode=0755
StateDirectory={state}
StateDirectoryMode=0750
UMask=0022
# The tunnels come first, also where systemd shares the processor out by service.
CPUWeight=20
"""
# All clients of a host share the folder, which none takes away from another.
_CLIENT = """\
# It shows itself every 20 s at the latest, unless a device or a server keeps it waiting.
WatchdogSec=60
RuntimeDirectory={runtime}
RuntimeDirectoryMode=0755
# Large blocks of memory are given back at once: a read of a thousand peers is 400 KB.
Environment=MALLOC_MMAP_THRESHOLD_=65536
# What it has done to the peers outlives it, for 'wgsd status' and for the one that comes next.
RuntimeDirectoryPreserve=yes
UMask=0022
{writable}\
"""
#: By itself, systemd shares the processor out to all instances of a daemon as if they were one.
_INSTANCE_SLICE = "Slice=system.slice\n"
_SANDBOX = """\
AmbientCapabilities={capabilities}
CapabilityBoundingSet={capabilities}
NoNewPrivileges=yes
MemoryDenyWriteExecute=yes
ProtectSystem=strict
ProtectHome=yes
# CAP_DAC_OVERRIDE opens the sockets of userspace WireGuard, which only root may enter; the client
# gives it up where the device is the kernel's. These it must not open.
InaccessiblePaths=-/etc/wireguard -/etc/shadow -/etc/gshadow -/etc/ssh
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProcSubset=pid
RemoveIPC=yes
LockPersonality=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
{system_calls}SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def responder(
    command: str, devices: t.Iterable[str], state: pathlib.PurePath, instance: str = ""
) -> str:
    """Return the responder's unit.

    Args:
        command: The daemon's command line.
        devices: The interfaces that it reads.
        state: Its state directory, relative to /var/lib.
        instance: The name of the instance; empty for the one without a name.
    """
    own = Instance("responder", instance)
    return (
        _head(own, "DNS-SD responder for WireGuard peers", command, devices)
        + _RESPONDER.format(command=command, state=state, runtime=own.runtime_dir.name)
        + _SANDBOX.format(
            capabilities="CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_DAC_OVERRIDE",
            # Its processes give up rights, and workers stand back for others.
            system_calls="SystemCallFilter=capset setpriority sched_setscheduler\n",
        )
    )


def client(command: str, device: str, metrics_file: str | None = None, instance: str = "") -> str:
    """Return the client's unit. See `responder`.

    Args:
        metrics_file: Where it writes its metrics.
    """
    own = Instance("client", instance)
    # There it may write in any case.
    runtime = pathlib.PurePath(own.runtime_dir)
    folder = pathlib.PurePath(metrics_file).parent if metrics_file else runtime
    # systemd takes a blank for the end of a path, and a percent sign for the begin of a specifier.
    quoted = str(folder).replace("%", "%%")
    writable = "" if folder == runtime else f'ReadWritePaths="-{quoted}"\n'
    return (
        _head(own, "Endpoint client for WireGuard peers", command, [device])
        + _CLIENT.format(writable=writable, runtime=runtime.name)
        + _SANDBOX.format(
            capabilities="CAP_NET_ADMIN CAP_DAC_OVERRIDE",
            # It gives up rights.
            system_calls="SystemCallFilter=capset\n",
        )
    )


def _head(instance: Instance, description: str, command: str, devices: t.Iterable[str]) -> str:
    quick = " ".join(f"wg-quick@{device}.service" for device in dict.fromkeys(devices))
    return _HEAD.format(
        unit=instance.unit,
        description=f"{description} ({instance.name})" if instance.name else description,
        order=f"After={quick}\nWants={quick}\n",
        command=command,
        slice=_INSTANCE_SLICE if instance.name else "",
        user=USER,
    )
