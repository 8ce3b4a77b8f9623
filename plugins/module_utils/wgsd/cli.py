# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line: ``wgsd responder | client | peers | status | keys | takeover``.

Exit codes: 0 all done, 1 some peers failed, 2 bad usage or configuration, 3 device or server out
of reach.

Each command imports its own part of the engine: a client has no use for a responder in its memory.
"""

from __future__ import annotations

import argparse
import json
import logging
import pathlib
import stat
import sys
import time
import typing as t

from . import __version__, config, systemd, table
from .errors import DeviceError, ServerError, UsageError, WgsdError
from .names import check_zone
from .replica import list_peers

ALL_DONE = 0
SOME_PEERS_FAILED = 1

CLIENT_CONFIG = config.CONFIG_FOLDER / config.Instance("client").config_name
RESPONDER_CONFIG = config.CONFIG_FOLDER / config.Instance("responder").config_name


def main(argv: t.Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code. Errors go to standard error, in one line each."""
    arguments, unknown = _parser().parse_known_args(argv)
    if unknown:
        arguments.error(f"unknown: {' '.join(unknown)}; see 'wgsd {arguments.command} --help'")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(systemd.log_formatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        return int(arguments.run(arguments))
    except WgsdError as exc:
        _complain(f"wgsd {arguments.command}: {exc}")
        return exc.exit_code
    except BrokenPipeError:
        return ALL_DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wgsd", description="Direct WireGuard tunnels between hosts behind NATs, by DNS-SD."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    sub = commands.add_parser("responder", help="serve the endpoints of a device's peers by DNS")
    sub.add_argument("--config", type=pathlib.Path, default=RESPONDER_CONFIG, metavar="FILE")
    sub.add_argument("--check", action="store_true", help="check the configuration and stop")
    sub.set_defaults(run=_responder)

    sub = commands.add_parser("client", help="set the endpoints of a device's peers")
    sub.add_argument("--config", type=pathlib.Path, metavar="FILE")
    sub.add_argument("--check", action="store_true", help="check the configuration and stop")
    sub.add_argument("--once", action="store_true", help="look once and stop")
    # One dash as well: the flags of the client that this one replaces.
    sub.add_argument("--device", "-device", metavar="INTERFACE", help="instead of --config")
    sub.add_argument("--dns", "-dns", metavar="IP[:PORT]", help="instead of --config")
    sub.add_argument("--zone", "-zone", help="instead of --config")
    sub.set_defaults(run=_client)

    sub = commands.add_parser("peers", help="list the peers that a zone has")
    sub.add_argument("--dns", "-dns", metavar="IP[:PORT]", required=True)
    sub.add_argument("--zone", "-zone", required=True)
    sub.add_argument("--json", action="store_true", help="for machines")
    sub.set_defaults(run=_peers)

    sub = commands.add_parser("status", help="show how the responder is and how peers are reached")
    sub.add_argument("--interface", help="default: those of all configurations in /etc/wgsd")
    sub.add_argument("--verbose", action="store_true", help="explain every peer")
    sub.add_argument("--json", action="store_true", help="for machines")
    sub.set_defaults(run=_status)

    sub = commands.add_parser("keys", help="show what the parents of signed zones have to say")
    sub.add_argument("--config", type=pathlib.Path, default=RESPONDER_CONFIG, metavar="FILE")
    sub.add_argument("--json", action="store_true", help="for machines")
    sub.set_defaults(run=_keys)

    sub = commands.add_parser("takeover", help="let peers that rotate their keys go on at once")
    sub.add_argument("--interface", required=True)
    sub.add_argument(
        "--seconds", type=float, default=600.0, help="how long to wait for them; default: 600"
    )
    sub.add_argument("pairs", nargs="+", metavar="OLD=NEW", help="a peer's key and the next one")
    sub.set_defaults(run=_takeover)
    for sub in commands.choices.values():
        # So that it is the command's own usage that is shown.
        sub.set_defaults(error=sub.error)
    return parser


def _say(text: str) -> None:
    """Write lines that a user asked for."""
    sys.stdout.write(f"{text}\n")


def _complain(text: str) -> None:
    """Write a line that a user should know of."""
    sys.stderr.write(f"{text}\n")


def _responder(arguments: argparse.Namespace) -> int:
    from . import responder

    settings = config.load_responder(arguments.config)
    if not arguments.check:
        return responder.run(settings)
    warnings = responder.check(settings)
    if settings.keys and arguments.config.stat().st_mode & stat.S_IRWXO:
        warnings.append(f"{arguments.config} holds secrets; take it from others: chmod o= FILE")
    for warning in warnings:
        _complain(f"wgsd responder: warning: {warning}")
    _say(f"{arguments.config}: good, {len(settings.zones)} zone(s)")
    return ALL_DONE


def _client(arguments: argparse.Namespace) -> int:
    from . import client

    settings = _client_settings(arguments)
    if arguments.check:
        _say(f"{arguments.config or 'command line'}: good")
        return ALL_DONE
    if not arguments.once:
        return client.run(settings)
    look = client.run_once(settings)
    rows = [
        (
            decision.public_key.base64,
            decision.state.value,
            str(decision.after or "-"),
            look.failures.get(decision.public_key, decision.reason),
        )
        for decision in look.decisions
    ]
    _say(table.render(("PEER", "STATE", "ENDPOINT", "REASON"), rows))
    return SOME_PEERS_FAILED if look.failures else ALL_DONE


def _client_settings(arguments: argparse.Namespace) -> config.ClientSettings:
    flags = {"--device": arguments.device, "--dns": arguments.dns, "--zone": arguments.zone}
    given = [flag for flag, value in flags.items() if value is not None]
    if not given:
        return config.load_client(arguments.config or CLIENT_CONFIG)
    if arguments.config:
        raise UsageError(f"--config and {given[0]} exclude each other", "give one of them")
    missing = [flag for flag, value in flags.items() if value is None]
    if missing:
        raise UsageError(f"{missing[0]} is missing", f"give {', '.join(flags)} together")
    return config.ClientSettings(
        interface=config.check_interface(arguments.device),
        zone=check_zone(arguments.zone),
        registries=(config.server_address(arguments.dns),),
    )


def _peers(arguments: argparse.Namespace) -> int:
    source = list_peers(arguments.zone, [config.server_address(arguments.dns)])
    records = source.records
    if arguments.json:
        _say(
            json.dumps(
                [
                    {
                        "name": record.name,
                        "public_key": record.public_key.base64,
                        "endpoint": str(record.endpoint),
                        "allowed_ips": list(record.allowed_ips),
                    }
                    for record in records
                ],
                indent=2,
            )
        )
    else:
        rows = [
            (r.name or "-", r.public_key.base64, str(r.endpoint), ", ".join(r.allowed_ips) or "-")
            for r in records
        ]
        _say(table.render(("NAME", "PUBLIC KEY", "ENDPOINT", "ALLOWED IPS"), rows))
    for key, failure in source.failures.items():
        _complain(f"wgsd peers: {key}: {failure}")
    return SOME_PEERS_FAILED if source.failures else ALL_DONE


def _status(arguments: argparse.Namespace) -> int:
    from . import client, status
    from .responder import report

    now = time.time()
    if arguments.interface is None:
        places = status.find_places(config.CONFIG_FOLDER)
    else:
        places = status.Places((config.check_interface(arguments.interface),))
    found = {
        instance: report.read(report.path_of(instance), now, instance.service)
        for instance in places.responders
    }
    problems: list[WgsdError] = [*places.problems]
    problems += [each.problem for each in found.values() if each.problem]
    parts = []
    for interface in places.interfaces:
        names = places.names(interface)
        mine: list[WgsdError] = []
        try:
            part = status.collect(interface, client.report_path(interface), now, names)
        except DeviceError as exc:
            part = status.out_of_reach(interface, exc)
            mine.append(exc)
        else:
            if interface in places.clients and part["client"]["problem"]:
                mine.append(_no_client(part, *places.clients[interface]))
        problems += mine
        server = places.server(interface)
        part["responder"] = status.responder(found[server], server) if server else None
        if server and (reported := found[server].problem):
            mine.append(reported)
        # Who asks for one mesh of several must know which complaints are about it.
        part["problems"] = [str(problem) for problem in mine]
        parts.append(part)
    if arguments.json:
        _say(json.dumps(parts, indent=2))
    else:
        texts = [
            status.render_responder(each.report, now, instance)
            for instance, each in found.items()
            if each.report
        ]
        texts += [
            status.render(part, now, verbose=arguments.verbose)
            for part in parts
            if part["error"] is None
        ]
        if texts:
            _say("\n\n".join(texts))
    for problem in problems:
        _complain(f"wgsd status: {problem}")
    return max((problem.exit_code for problem in problems), default=ALL_DONE)


def _no_client(
    part: t.Mapping[str, t.Any], instance: config.Instance, path: pathlib.Path
) -> ServerError:
    return ServerError(
        f"{part['interface']}: {part['client']['problem']}, and {path} is there",
        f"see: systemctl status {instance.service}; journalctl -u {instance.service}",
    )


def _keys(arguments: argparse.Namespace) -> int:
    """Show the DS records of signed zones, as lines of a zone file for people."""
    from .responder import keys

    settings = config.load_responder(arguments.config)
    signed = [zone.zone for zone in settings.zones if zone.dnssec]
    if not signed:
        raise UsageError(f"{arguments.config}: no zone is signed", "give a zone 'dnssec: true'")
    stored = {zone: keys.KeyStore(settings.state_dir, zone).read() for zone in signed}
    told = [(zone, key, key.ds(zone)) for zone in signed for key in stored[zone]]
    if arguments.json:
        rows = [
            {"zone": zone, "tag": key.tag, "role": key.role.value, "since": key.since, "ds": ds}
            for zone, key, ds in told
        ]
        _say(json.dumps(rows, indent=2))
    else:
        for zone, key, ds in told:
            if key.role is not keys.Role.RETIRED:
                _say(f"{zone} IN DS {ds} ; {key.role.value}")
    missing = [zone for zone in signed if not stored[zone]]
    for zone in missing:
        _complain(f"wgsd keys: {zone} has no key yet; the responder makes it when it starts")
    return SOME_PEERS_FAILED if missing else ALL_DONE


def _takeover(arguments: argparse.Namespace) -> int:
    from . import takeover

    interface = config.check_interface(arguments.interface)
    pairs = [takeover.Pair.parse(text) for text in arguments.pairs]
    unused = takeover.run(interface, pairs, arguments.seconds)
    for pair in unused:
        _complain(f"wgsd takeover: {pair.old} has not been followed by {pair.new}")
    return SOME_PEERS_FAILED if unused else ALL_DONE


if __name__ == "__main__":
    raise SystemExit(main())
