"""Booting a real etcd and kube-apiserver: what goes wrong is said in one line."""

from pathlib import Path

import psutil
import pytest

from common.errors import UserError
from lab.embedded.envtest import ASSETS_VARIABLE, EnvTest


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_without_the_variable_the_error_names_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(ASSETS_VARIABLE, raising=False)
    with pytest.raises(UserError, match=f"{ASSETS_VARIABLE} is not set"):
        EnvTest(tmp_path)


def test_a_missing_binary_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program(tmp_path / "etcd", "exit 0")
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match="no executable kube-apiserver"):
        EnvTest(tmp_path)


def test_a_server_that_ends_while_booting_is_quoted_and_nothing_is_left_running(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    note = 'case "$1" in --help) exit 0;; *) echo $$ > pid; exec sleep 60;; esac'
    program(tmp_path / "etcd", note)
    program(
        tmp_path / "kube-apiserver",
        "until [ -s pid ]; do sleep 0.05; done; echo starting; echo bind: no such address; exit 1",
    )
    monkeypatch.setenv(ASSETS_VARIABLE, str(tmp_path))
    booting = EnvTest(tmp_path / "data")
    with pytest.raises(UserError, match="kube-apiserver ended while it booted: bind: no such"):
        booting.start()
    assert booting.processes == {}
    etcd = int((tmp_path / "data" / "pid").read_text())
    assert not psutil.pid_exists(etcd)
