# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A daemon of the engine as a service: engine, configuration, system user, unit, in this order.

Private to this collection.
"""

from __future__ import annotations

import dataclasses
import grp
import json
import pathlib
import re
import tempfile
import time
import typing as t

from ansible.module_utils.basic import AnsibleModule

from . import _units, _zipapp
from ._files import FileState, read_file, remove_file, write_file
from ._instances import There, readable
from ._module import command_runner
from ._reload import reload, running_since
from ._systemd import Systemd, UnitState
from .wgsd.config import CONFIG_FOLDER, Instance, configured
from .wgsd.errors import DependencyError, UsageError, WgsdError

ENGINE = pathlib.Path("/usr/local/bin/wgsd")
UNIT_FOLDER = pathlib.Path("/etc/systemd/system")
SYSUSERS = pathlib.Path("/etc/sysusers.d/wgsd.conf")
PYTHON = "/usr/bin/python3"
#: What the engine imports, and the Debian packages that have it.
LIBRARIES = {
    "dns": "python3-dnspython",
    "pyroute2": "python3-pyroute2",
    "yaml": "python3-yaml",
}
_MISSING = """
import importlib.util, sys
print(*(name for name in sys.argv[1:] if importlib.util.find_spec(name) is None))
"""
#: Seconds after which a daemon that could not keep up has failed.
SETTLE = 1.0
#: Seconds between two looks at a daemon that is coming up.
PAUSE = 0.1
#: Units of daemons, with or without an instance.
_UNITS = tuple(f"wgsd-{d}{i}.service" for d in ("responder", "client") for i in ("", "@*"))
#: A secret in a configuration as `dump` writes it, and as anybody may have.
_SECRET = re.compile(r'^(\s*secret: )".*"$', re.MULTILINE)
_ANY_SECRET = re.compile(r"""secret["']?\s*(:|$)""", re.MULTILINE)
#: The owner of what nobody owns yet, which no file has.
_NO_GROUP = -1


@dataclasses.dataclass(frozen=True)
class Service:
    """A daemon and how it is to be.

    Attributes:
        instance: Which daemon, and for which mesh.
        settings: What goes into its configuration.
        load: Reads a configuration file as the daemon does; raises UsageError.
        unit_text: Makes the text of its unit of its command line.
        keep_apart: Raises UsageError if the settings take something from another configuration
            that is on the host, by instance, or if another mesh has this one's place.
        answers: Raises WgsdError if the daemon, which is said to be up, does not do its work.
        libraries: What it imports, and the Debian packages that have it.
        has_secrets: Whether others than root and the daemon must not read its configuration.
        report: Where a daemon that can reload says since when it runs on what it has read; None
            for one that can only be restarted.
        timeout: Seconds that a reload may take.
    """

    instance: Instance
    settings: t.Mapping[str, t.Any]
    load: t.Callable[[pathlib.Path], t.Any]
    unit_text: t.Callable[[str], str]
    keep_apart: t.Callable[[Instance, t.Any, There[t.Any]], None]
    answers: t.Callable[[], None]
    libraries: t.Mapping[str, str] = dataclasses.field(default_factory=lambda: LIBRARIES)
    has_secrets: bool = False
    report: pathlib.Path | None = None
    timeout: float = 0.0

    @property
    def unit(self) -> str:
        """The unit's name."""
        return self.instance.unit

    @property
    def config_path(self) -> pathlib.Path:
        """Where its configuration lies."""
        return CONFIG_FOLDER / self.instance.config_name

    @property
    def unit_path(self) -> pathlib.Path:
        """Where its unit lies."""
        return UNIT_FOLDER / self.unit

    def command(self, engine: pathlib.Path, config: pathlib.Path) -> str:
        """Return its command line."""
        return f"{engine} {self.instance.daemon} --config {config}"


def dump(settings: t.Mapping[str, t.Any]) -> str:
    """Write settings as YAML for people: blocks, each text in quotes.

    The library that could do so may be missing where a run is only predicted.
    """
    head = "# Written by the Ansible collection wgsd.mesh: changes will be lost.\n"
    return head + "".join(f"{line}\n" for line in _lines(settings))


def _lines(value: t.Any) -> t.Iterator[str]:
    if isinstance(value, t.Mapping) and value:
        for key, item in value.items():
            name = key if key.isidentifier() else json.dumps(key)
            if isinstance(item, (t.Mapping, list)) and item:
                yield f"{name}:"
                yield from (f"  {line}" for line in _lines(item))
            else:
                yield f"{name}: {json.dumps(item)}"
    elif isinstance(value, list) and value:
        for item in value:
            first, *rest = _lines(item)
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
    else:
        yield json.dumps(value)


def converge(module: AnsibleModule, service: Service) -> dict[str, t.Any]:
    """Bring the service into the state that the module's option ``state`` names.

    Raises:
        WgsdError: it cannot be; see the message.
    """
    host = _Host(module, service)
    if module.params["state"] == "absent":
        return host.absent()
    return host.installed(started=module.params["state"] == "started")


class _Host:
    """The service on this host."""

    def __init__(self, module: AnsibleModule, service: Service) -> None:
        self._module = module
        self._check_mode = bool(module.check_mode)
        self._service = service
        self._run = command_runner(module)
        self._systemd = Systemd(self._run)
        self._diff: list[dict[str, str]] = []
        self._steps: list[str] = []

    def installed(self, *, started: bool) -> dict[str, t.Any]:
        """Have everything in place and the service up, or, if not *started*, down."""
        service = self._service
        engine = _zipapp.build()
        config = dump(service.settings).encode()
        unit_text = service.unit_text(service.command(ENGINE, service.config_path)).encode()
        unit = self._unit()
        paths = (ENGINE, service.config_path, service.unit_path)
        now = {path: read_file(path) for path in paths}
        # To check again what runs would cost a host more than the rest of a run that changes
        # nothing.
        is_new = now[ENGINE].content != engine or now[service.config_path].content != config
        if is_new or not unit.is_up:
            self._validate(engine, config)
        files_changed = self._have_user()
        files = {
            ENGINE: FileState(engine, 0o755),
            service.config_path: (
                FileState(config, 0o640, gid=_group_id(_units.USER))
                if service.has_secrets
                else FileState(config, 0o644)
            ),
            service.unit_path: FileState(unit_text, 0o644),
        }
        due = {p: wanted for p, wanted in files.items() if self._differs(p, now[p], wanted)}
        daemon_reload = service.unit_path in due or unit.needs_reload
        if daemon_reload:
            self._steps.append("daemon-reload")
        verbs = _verbs(unit, started, self._renewal(unit, due))
        self._steps += [f"{verb} {service.unit}" for verb in verbs]
        if not self._check_mode:
            for path, state in due.items():
                path.parent.mkdir(mode=0o755, exist_ok=True)
                write_file(path, state)
            if daemon_reload:
                self._systemd.daemon_reload()
            for verb in verbs:
                if verb == "reload":
                    reload(self._systemd, service.unit, service.report, service.timeout)
                else:
                    self._systemd.do(verb, service.unit)
            if started:
                self._see_it_work(restarted="restart" in verbs)
        return self._result(files_changed or bool(due))

    def absent(self) -> dict[str, t.Any]:
        """Have neither the service nor its files; its state and the system user stay."""
        service = self._service
        unit = self._unit()
        verbs = _verbs(unit, False, None)
        paths = [service.unit_path, service.config_path]
        units = (path for pattern in _UNITS for path in UNIT_FOLDER.glob(pattern))
        if all(path == service.unit_path for path in units):
            paths += [ENGINE, SYSUSERS]
        due = [path for path in paths if path.exists()]
        self._steps += [f"{verb} {service.unit}" for verb in verbs]
        if service.unit_path in due:
            self._steps.append("daemon-reload")
        for path in due:
            text = "(the engine)\n" if path == ENGINE else self._shown(path, read_file(path))
            self._note(path, text, "")
        if not self._check_mode:
            for verb in verbs:
                self._systemd.do(verb, service.unit)
            for path in due:
                remove_file(path)
            if service.unit_path in due:
                self._systemd.daemon_reload()
        return self._result(bool(due))

    def _validate(self, engine: bytes, config: bytes) -> None:
        """Let the new engine check the new configuration, away from the ones in use.

        Check mode only reads it: interface and libraries may be part of what is predicted.
        """
        with tempfile.TemporaryDirectory(prefix="wgsd-") as folder:
            config_path = pathlib.Path(folder, self._service.config_path.name)
            config_path.write_bytes(config)
            try:
                self._keep_apart(config_path)
                if not self._check_mode:
                    self._require_libraries()
                    self._check_with(pathlib.Path(folder, "wgsd"), engine, config_path)
            except UsageError as exc:
                name = f"the new {self._service.config_path}"
                raise UsageError(str(exc).replace(str(config_path), name)) from None

    def _keep_apart(self, config_path: pathlib.Path) -> None:
        """See that the new configuration takes nothing from another mesh on this host."""
        service = self._service
        paths = configured(service.instance.daemon, CONFIG_FOLDER)
        try:
            wanted = service.load(config_path)
        except DependencyError as exc:
            # In a real run the engine, under a Python that may have it, has the last word.
            if self._check_mode:
                self._module.warn(f"the configuration was not checked: {exc}")
            elif paths.keys() - {service.instance}:
                self._module.warn(f"the configuration was not compared with the others': {exc}")
            return
        service.keep_apart(service.instance, wanted, readable(paths, service.load))

    def _require_libraries(self) -> None:
        libraries = self._service.libraries
        code, output, errors = self._run([PYTHON, "-c", _MISSING, *libraries])
        if code:
            raise WgsdError(f"{PYTHON} does not run: {errors.strip()}", "install python3")
        missing = output.split()
        if missing:
            packages = " ".join(libraries[name] for name in missing)
            raise WgsdError(
                f"{PYTHON} lacks the libraries {', '.join(missing)}",
                f"install them, on Debian with: apt install {packages}",
            )

    def _check_with(self, path: pathlib.Path, engine: bytes, config_path: pathlib.Path) -> None:
        path.write_bytes(engine)
        command = self._service.command(path, config_path)
        code, _output, errors = self._run([PYTHON, *command.split(), "--check"])
        if code:
            raise UsageError(errors.strip() or f"{command} --check ended with {code}")
        for line in errors.splitlines():
            self._module.warn(line.replace(str(config_path), str(self._service.config_path)))

    def _differs(self, path: pathlib.Path, now: FileState, wanted: FileState) -> bool:
        """Whether a file is not as it is to be, which the diff then shows."""
        if now == wanted:
            return False
        if now.content is not None and now.content == wanted.content:
            self._diff.append({"prepared": f"{path}: mode or owner\n"})
        elif path == ENGINE:
            old = "the engine, another version\n" if now.content is not None else ""
            self._note(path, old, "the engine that came with this collection\n")
        else:
            before, after = self._shown(path, now), self._shown(path, wanted)
            if before == after:
                self._diff.append({"prepared": f"{path}: a secret\n"})
            else:
                self._note(path, before, after)
        return True

    def _shown(self, path: pathlib.Path, state: FileState) -> str:
        return _shown(state.text) if path == self._service.config_path else state.text

    def _renewal(self, unit: UnitState, due: t.Container[pathlib.Path]) -> str | None:
        """Return how the daemon gets to run on the files as they will be; None if it does.

        What a run that broke off has written is newer than the daemon that still runs.
        """
        service = self._service
        # systemd tells whole seconds: it came up within the one that then began.
        up = unit.since + 1.0
        if not unit.is_up or service.unit_path in due or _is_newer(service.unit_path, up):
            return "restart"
        reported = running_since(unit, service.report)
        since = up if reported is None else reported
        if not any(p in due or _is_newer(p, since) for p in (ENGINE, service.config_path)):
            return None
        # The daemon that runs is the one to ask: an older one would die of the signal. One that
        # has not come to the end of a reload does not begin another.
        can_reload = unit.can_reload and unit.is_active and reported is not None
        return "reload" if can_reload else "restart"

    def _unit(self) -> UnitState:
        try:
            return self._systemd.unit(self._service.unit)
        except WgsdError:
            if not self._check_mode:
                raise
            return UnitState()

    def _have_user(self) -> bool:
        """Have the system user, to whose group files belong; return whether a file changed."""
        wanted = FileState(_units.SYSUSERS.encode(), 0o644)
        is_due = self._differs(SYSUSERS, read_file(SYSUSERS), wanted)
        is_missing = _group_id(_units.USER) == _NO_GROUP
        if is_missing:
            self._steps.append(f"make the system user {_units.USER}")
        if self._check_mode:
            return is_due
        if is_due:
            SYSUSERS.parent.mkdir(mode=0o755, exist_ok=True)
            write_file(SYSUSERS, wanted)
        if is_missing:
            self._make_user()
        return is_due

    def _make_user(self) -> None:
        code, output, errors = self._run(["systemd-sysusers", str(SYSUSERS)])
        if code or _group_id(_units.USER) == _NO_GROUP:
            raise WgsdError(
                f"systemd-sysusers did not make the user {_units.USER}: "
                f"{(errors or output).strip()}",
                f"make it: useradd --system --user-group --no-create-home {_units.USER}",
            )

    def _see_it_work(self, *, restarted: bool) -> None:
        unit = self._service.unit
        before = self._systemd.unit(unit)
        deadline = time.monotonic() + self._service.timeout
        while before.is_up and not before.is_active and time.monotonic() < deadline:
            time.sleep(PAUSE)
            before = self._systemd.unit(unit)
        if restarted:
            time.sleep(SETTLE)
        after = self._systemd.unit(unit)
        try:
            if not after.is_active or after.main_pid != before.main_pid:
                raise WgsdError(f"it did not stay up (it is {after.active})")
            self._service.answers()
        except WgsdError as exc:
            raise WgsdError(
                f"{unit} runs but does not do its work: {exc.message}\n"
                f"The last lines of its journal:\n{self._systemd.journal(unit)}\n",
                exc.remedy or f"see 'journalctl -u {unit}'",
            ) from None

    def _note(self, path: pathlib.Path, before: str, after: str) -> None:
        self._diff.append(
            {
                "before_header": str(path),
                "after_header": str(path),
                "before": before,
                "after": after,
            }
        )

    def _result(self, files_changed: bool) -> dict[str, t.Any]:
        if self._steps:
            self._diff.append({"prepared": "".join(f"{step}\n" for step in self._steps)})
        return {
            "changed": files_changed or bool(self._steps),
            "steps": self._steps,
            "diff": self._diff,
        }


def _verbs(unit: UnitState, started: bool, renewal: str | None) -> list[str]:
    """Return what systemctl has to do."""
    if started:
        return ["enable"] * (not unit.enabled) + [renewal] * (renewal is not None)
    due = {"stop": unit.active not in ("inactive", "failed"), "disable": unit.enabled}
    return [verb for verb, is_due in due.items() if is_due]


def _shown(config: str) -> str:
    """Return a configuration for a diff: without its secrets."""
    if _ANY_SECRET.search(_SECRET.sub("", config)):
        return "(not shown: somebody else has written it, and it has a secret)\n"
    return _SECRET.sub(r"\1(hidden)", config)


def _is_newer(path: pathlib.Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime >= moment
    except FileNotFoundError:
        return True


def _group_id(name: str) -> int:
    """Return the id of a group, `_NO_GROUP` if there is none."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        return _NO_GROUP
