# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine as one file: whole, the same from everywhere, and runnable."""

from __future__ import annotations

import io
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

from tests.unit.collection import COLLECTIONS, MODULE_UTILS

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _zipapp

pytestmark = pytest.mark.unit

ENGINE = MODULE_UTILS / "wgsd"
BUILD = """
import sys
from ansible_collections.wgsd.mesh.plugins.module_utils import _zipapp
sys.stdout.buffer.write(_zipapp.build())
"""


def files_of(archive: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(archive)).namelist()


@pytest.fixture(scope="module")
def exploded(tmp_path_factory) -> pathlib.Path:
    """The module wgsd_client as it arrives on a host, unpacked by Ansible's own wrapper."""
    folder = tmp_path_factory.mktemp("payload")
    wrapper = folder / "wrapper.py"
    program = pathlib.Path(__file__).with_name("payload.py")
    with wrapper.open("wb") as output:
        command = [sys.executable, program, "wgsd.mesh.wgsd_client", COLLECTIONS]
        subprocess.run(command, stdout=output, check=True)
    subprocess.run([sys.executable, wrapper, "explode"], check=True, capture_output=True)
    return folder / "debug_dir"


def build_from(path: pathlib.Path) -> bytes:
    return subprocess.run(
        [sys.executable, "-c", BUILD],
        env={"PYTHONPATH": str(path)},
        capture_output=True,
        check=True,
    ).stdout


def test_holds_every_file_of_the_engine_and_its_start():
    on_disk = {str(path.relative_to(ENGINE.parent)) for path in ENGINE.rglob("*.py")}
    assert set(files_of(_zipapp.build())) == on_disk | {"__main__.py"}


def test_holds_the_sources_byte_for_byte():
    archive = zipfile.ZipFile(io.BytesIO(_zipapp.build()))
    assert archive.read("wgsd/client/agent.py") == (ENGINE / "client" / "agent.py").read_bytes()


def test_is_the_same_from_the_checkout_from_ansibles_payload_and_from_that_zipped(
    exploded, tmp_path
):
    zipped = shutil.make_archive(str(tmp_path / "payload"), "zip", exploded)
    here = _zipapp.build()
    assert build_from(exploded) == here
    assert build_from(pathlib.Path(zipped)) == here


def test_is_not_compressed_and_carries_no_time_so_that_the_same_sources_give_the_same_bytes():
    for entry in zipfile.ZipFile(io.BytesIO(_zipapp.build())).infolist():
        assert entry.compress_type == zipfile.ZIP_STORED
        assert entry.date_time == (1980, 1, 1, 0, 0, 0)


def test_runs_as_a_command(tmp_path):
    command = tmp_path / "wgsd"
    command.write_bytes(_zipapp.build())
    command.chmod(0o755)
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0.1.0"
