# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine as one executable file, built from the sources that this module came with.

Ansible ships a module with the files that it imports, in a zip file, so that file holds the
engine: no second way to the host is needed. Private to this collection.
"""

from __future__ import annotations

import importlib
import io
import pkgutil
import types
import typing as t
import zipfile

from . import wgsd

# Nothing of these is used here: an import is how Ansible learns that a file has to be shipped.
from .wgsd import cli as _engine_cli
from .wgsd.device import link as _engine_link

SHIPPED = (_engine_cli, _engine_link)
#: The system's Python, for which Debian packages the libraries.
SHEBANG = b"#!/usr/bin/python3\n"
_MAIN = b"""\
import sys

from wgsd.cli import main

sys.exit(main())
"""
#: The first moment that a zip file can tell.
_EPOCH = (1980, 1, 1, 0, 0, 0)


def build() -> bytes:
    """Return the engine as a zipapp. The same sources give the same bytes."""
    files = {**dict(sources(wgsd, "wgsd")), "__main__.py": _MAIN}
    buffer = io.BytesIO()
    # Not compressed, since what zlib makes of the same bytes differs between its versions.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.create_system = 3
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, files[name])
    return SHEBANG + buffer.getvalue()


def sources(package: types.ModuleType, folder: str) -> t.Iterator[tuple[str, bytes]]:
    """Yield the path and the source of each module of *package*, from a folder or a zip file."""
    yield f"{folder}/__init__.py", _source(package.__name__, "__init__.py")
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg:
            inner = importlib.import_module(f"{package.__name__}.{module.name}")
            yield from sources(inner, f"{folder}/{module.name}")
        else:
            file = f"{module.name}.py"
            yield f"{folder}/{file}", _source(package.__name__, file)


def _source(package: str, file: str) -> bytes:
    data = pkgutil.get_data(package, file)
    if data is None:
        raise FileNotFoundError(f"{package} was shipped without {file}")
    return data
