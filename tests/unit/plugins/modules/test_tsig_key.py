# Copyright: (c) 2026, wgsd.mesh contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""TSIG keys made on a host: files, generations, and what a configuration makes of them."""

from __future__ import annotations

import base64
import json
import os
import types

import dns.tsigkeyring
import pytest

pytest.importorskip("ansible")

from ansible_collections.wgsd.mesh.plugins.module_utils import _files, _tsig_keys
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.config import TsigKey
from ansible_collections.wgsd.mesh.plugins.module_utils.wgsd.errors import UsageError, WgsdError
from ansible_collections.wgsd.mesh.plugins.modules.wgsd_client import signing_key
from ansible_collections.wgsd.mesh.plugins.modules.wgsd_tsig_key import run

pytestmark = pytest.mark.unit

NAME, SECOND = "mesh.example.com.", "2.mesh.example.com."


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where a host has its keys; whoever runs the tests stands for root."""
    own = _files.FileState
    monkeypatch.setattr(_tsig_keys, "FOLDER", tmp_path / "wgsd" / "keys")
    monkeypatch.setattr(
        _tsig_keys,
        "FileState",
        lambda content, mode: own(content, mode, os.geteuid(), os.getegid()),
    )
    return tmp_path / "wgsd" / "keys"


def task(state="present", check_mode=False, **options):
    """Run the module as a task does."""
    params = {
        "name": NAME,
        "algorithm": "hmac-sha256",
        "state": state,
        "copy_of": None,
        "return_secret": True,
        **options,
    }
    return run(types.SimpleNamespace(params=params, check_mode=check_mode))


def names(result):
    return [key["name"] for key in result["generations"]]


def test_makes_a_key_as_long_as_its_hash_that_root_alone_can_read(folder):
    result = task(algorithm="hmac-sha512")
    (key,) = result["generations"]
    path = folder / f"{NAME}key"
    assert result["changed"]
    assert len(base64.b64decode(key["secret"])) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    assert key["secret"] in path.read_text()


def test_the_same_again_changes_nothing_and_tells_the_same_secret(folder):
    first = task()
    again = task()
    assert not again["changed"]
    assert again["generations"] == first["generations"]


def test_a_key_that_is_there_keeps_its_algorithm(folder):
    task()
    assert not task(algorithm="hmac-sha512")["changed"]


def test_a_key_is_replaced_in_two_steps_each_of_which_can_be_repeated(folder):
    (old,) = task()["generations"]
    both = task("rolling")
    assert names(both) == [NAME, SECOND]
    assert both["generations"][0] == old
    assert both["generations"][1]["secret"] != old["secret"]
    for state in ("rolling", "present"):
        assert not task(state)["changed"]
    assert names(task("rolled")) == [SECOND]
    for state in ("rolled", "present"):
        assert not task(state)["changed"]
    assert names(task("rolling")) == [SECOND, "3.mesh.example.com."]
    assert [path.name for path in folder.iterdir() if path.name.startswith(NAME)] == []


def test_absent_removes_all_generations_and_nothing_else(folder):
    task("rolling")
    task("rolling")
    task(name="example.com.")
    task(name="other.mesh.example.com.")
    assert task("absent")["generations"] == []
    assert not task("absent")["changed"]
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["example.com.key", "other.mesh.example.com.key"]


def test_check_mode_foretells_names_without_a_secret_and_writes_nothing(folder):
    predicted = task(check_mode=True)
    assert names(predicted) == [NAME]
    assert "secret" not in predicted["generations"][0]
    assert not folder.exists()
    assert predicted["diff"] == task()["diff"]
    rolling = task("rolling", check_mode=True)
    assert rolling["changed"]
    assert ["secret" in key for key in rolling["generations"]] == [True, False]


def test_no_secret_is_in_a_diff_or_in_a_result_that_did_not_ask_for_it(folder):
    secrets = [task()["generations"][0]["secret"]]
    secrets.append(task("rolling")["generations"][1]["secret"])
    results = [task("rolled", return_secret=False), task("absent")]
    assert not any(secret in json.dumps(results) for secret in secrets)


def test_a_file_whose_mode_was_opened_is_closed_again(folder):
    task()
    (folder / f"{NAME}key").chmod(0o644)
    assert task()["diff"] == [{"prepared": f"{folder}/{NAME}key: a secret, its mode or owner\n"}]
    assert (folder / f"{NAME}key").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_no_key_is_an_error_that_names_it(folder):
    task()
    (folder / f"{NAME}key").write_text("nonsense")
    with pytest.raises(WgsdError, match=rf"{NAME}key: not a key .*; remove it"):
        task()


@pytest.mark.parametrize("name", ["../etc/passwd", "", "a b", "a..b", "x" * 64])
def test_a_name_that_is_no_domain_name_is_refused(folder, name):
    with pytest.raises(UsageError, match="cannot be the name of a key"):
        task(name=name)


def test_another_registry_gets_the_same_key(folder, tmp_path, monkeypatch):
    first = task("rolling")
    first = task("rolling")
    monkeypatch.setattr(_tsig_keys, "FOLDER", tmp_path / "other")
    task()
    copied = task(copy_of=first["generations"])
    assert copied["changed"]
    secrets = [[key["secret"] for key in one["generations"]] for one in (first, copied)]
    assert secrets[0] == secrets[1]
    assert not task(copy_of=first["generations"])["changed"]
    # Of a first registry that is not in this run nothing is known.
    assert not task(copy_of=[])["changed"]


def test_a_copy_of_what_is_nowhere_known_is_an_error_but_in_check_mode_a_prediction(folder):
    with pytest.raises(UsageError, match="run the play for the first registry too"):
        task(copy_of=[])
    unknown = [{"name": NAME, "algorithm": "hmac-sha256", "secret": None}]
    with pytest.raises(UsageError, match="run the play for the first registry too"):
        task(copy_of=unknown)
    assert task(copy_of=unknown, check_mode=True)["changed"]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"name": "other.example.com."}, "no generation of mesh"),
        ({"secret": '"; };'}, "is not Base64"),
    ],
)
def test_a_copy_of_something_else_is_refused(folder, change, complaint):
    good = {"name": NAME, "algorithm": "hmac-sha256", "secret": "b2xkIHNlY3JldCBvbGQgc2VjcmV0"}
    with pytest.raises(UsageError, match=complaint):
        task(copy_of=[{**good, **change}])


@pytest.mark.parametrize(
    ("candidate", "number"),
    [
        (NAME, 1),
        (SECOND, 2),
        ("17.mesh.example.com.", 17),
        ("1.mesh.example.com.", None),
        ("02.mesh.example.com.", None),
        ("example.com.", None),
        ("2.other.example.com.", None),
    ],
)
def test_tells_generations_of_a_key_from_other_keys(candidate, number):
    assert _tsig_keys.generation(candidate, NAME) == number


class TestKeyring:
    def test_has_the_secrets_of_keys_made_here_and_leaves_the_others_alone(self, folder):
        task("rolling")
        made = task("rolling")["generations"]
        given = {"algorithm": "hmac-sha512", "secret": "b2xkIHNlY3JldCBvbGQgc2VjcmV0"}
        keyring = _tsig_keys.Keyring({"ops.": given, NAME: None}, folder, predicting=False)
        assert keyring.settings["ops."] == given
        assert {
            name: key["secret"] for name, key in keyring.settings.items() if name != "ops."
        } == {key["name"]: key["secret"] for key in made}
        assert keyring.secrets == {key["secret"] for key in made}
        assert dns.tsigkeyring.from_text(
            {name: (key["algorithm"], key["secret"]) for name, key in keyring.settings.items()}
        )

    def test_accepts_every_generation_and_signs_with_the_oldest(self, folder):
        task("rolling")
        task("rolling")
        keyring = _tsig_keys.Keyring({NAME: {}}, folder, predicting=False)
        entries = ["tunnel", "198.51.100.0/24", "key Mesh.example.com", "key ops."]
        assert keyring.accepting(entries) == [
            *entries[:2],
            f"key {NAME}",
            f"key {SECOND}",
            "key ops.",
        ]
        assert keyring.signing("mesh.example.com") == NAME
        assert keyring.signing_to(f"192.0.2.1:53 key {NAME}") == f"192.0.2.1:53 key {NAME}"
        task("rolled")
        keyring = _tsig_keys.Keyring({NAME: {}}, folder, predicting=False)
        assert keyring.signing_to(f"192.0.2.1 key {NAME}") == f"192.0.2.1 key {SECOND}"
        assert keyring.signing_to("192.0.2.1") == "192.0.2.1"

    def test_a_key_that_was_not_made_is_an_error_and_in_check_mode_one_to_come(self, folder):
        with pytest.raises(WgsdError, match=r"the key ops\. has no secret.*wgsd_tsig_key"):
            _tsig_keys.Keyring({"ops": {}}, folder, predicting=False)
        keyring = _tsig_keys.Keyring({"ops": {"algorithm": "hmac-sha384"}}, folder, predicting=True)
        assert keyring.settings["ops."]["algorithm"] == "hmac-sha384"


class TestTheClientsKey:
    WANTED = {"name": "Mesh.example.com", "algorithm": "hmac-sha256", "secret": None}  # noqa: RUF012
    THERE = TsigKey(SECOND, "hmac-sha512", bytes(32))

    def test_is_the_one_that_is_given(self):
        given = {**self.WANTED, "secret": "c2VjcmV0"}
        assert signing_key(given, self.THERE, predicting=False) == {**given, "name": NAME}

    def test_stays_what_it_is_where_none_is_known(self):
        kept = signing_key(self.WANTED, self.THERE, predicting=False)
        assert kept["name"] == SECOND
        assert kept["algorithm"] == "hmac-sha512"
        assert base64.b64decode(kept["secret"]) == bytes(32)

    def test_is_an_error_where_none_is_known_and_none_is_there(self):
        for there in (None, TsigKey("other.", "hmac-sha256", bytes(32))):
            with pytest.raises(UsageError, match="not known in this run"):
                signing_key(self.WANTED, there, predicting=False)
            assert signing_key(self.WANTED, there, predicting=True)["name"] == NAME
