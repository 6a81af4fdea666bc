"""What is fetched is what was pinned, whole, or nothing."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from common.errors import UserError
from lab.kind.tools import SHA256, Artifact, artifacts, fetch

PROGRAM = b"#!/bin/sh\necho kind v0.0.0\n"


class Site:
    """An HTTP server of a folder; counts what it was asked."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: list[str] = []
        site = self

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, format: str, *args: object) -> None:  # noqa: ARG002
                site.asked.append(self.path)

        handler = partial(Handler, directory=str(folder))
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def put(self, name: str, content: bytes, program: str = "kind", member: str = "") -> Artifact:
        (self.folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        return Artifact(program, "v0.0.0", f"{self.url}/{name}", digest, member)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    folder = tmp_path / "site"
    folder.mkdir()
    site = Site(folder)
    thread = threading.Thread(target=site.server.serve_forever, args=(0.05,))
    thread.start()
    yield site
    site.server.shutdown()
    thread.join()
    site.server.server_close()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_a_program_is_fetched_once_and_can_be_run(site: Site, tmp_path: Path) -> None:
    artifact = site.put("kind-linux", PROGRAM)
    path = fetch(artifact, tmp_path / "tools")
    assert path.read_bytes() == PROGRAM
    assert path.stat().st_mode & 0o111
    assert fetch(artifact, tmp_path / "tools") == path
    assert site.asked == ["/kind-linux"]
    assert left(tmp_path / "tools") == [".kind.sha256", "kind"]


def test_another_release_takes_the_place_of_the_former(site: Site, tmp_path: Path) -> None:
    fetch(site.put("one", PROGRAM), tmp_path / "tools")
    path = fetch(site.put("two", PROGRAM + b"# newer\n"), tmp_path / "tools")
    assert path.read_bytes().endswith(b"# newer\n")


def test_a_program_is_taken_out_of_its_archive(site: Site, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in (("linux-amd64/LICENSE", b"no"), ("linux-amd64/helm", PROGRAM)):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    artifact = site.put("helm.tar.gz", packed.getvalue(), "helm", "linux-amd64/helm")
    assert fetch(artifact, tmp_path / "tools").read_bytes() == PROGRAM
    assert left(tmp_path / "tools") == [".helm.sha256", "helm"]


def test_what_is_not_what_was_pinned_is_refused_and_leaves_nothing(
    site: Site, tmp_path: Path
) -> None:
    artifact = site.put("kind-linux", PROGRAM)
    (site.folder / "kind-linux").write_bytes(b"<html>Sign in to this network</html>")
    with pytest.raises(UserError, match=f"its sha256 is .*, not {artifact.sha256}"):
        fetch(artifact, tmp_path / "tools")
    assert left(tmp_path / "tools") == []


def test_a_failure_keeps_the_program_that_was_there(site: Site, tmp_path: Path) -> None:
    path = fetch(site.put("one", PROGRAM), tmp_path / "tools")
    newer = Artifact("kind", "v9", f"{site.url}/none", "0" * 64)
    with pytest.raises(UserError, match=r"v9 could not be fetched .*: the server answered 404"):
        fetch(newer, tmp_path / "tools")
    assert path.read_bytes() == PROGRAM


def test_a_site_out_of_reach_is_said_in_one_line(site: Site, tmp_path: Path) -> None:
    gone = site.put("kind-linux", PROGRAM)
    site.server.shutdown()
    site.server.server_close()
    with pytest.raises(UserError) as told:
        fetch(gone, tmp_path / "tools")
    assert "it cannot be reached from here" in told.value.message
    assert "\n" not in str(told.value)
    assert left(tmp_path / "tools") == []


@pytest.mark.parametrize("system", ["linux", "darwin"])
@pytest.mark.parametrize(("machine", "arch"), [("x86_64", "amd64"), ("aarch64", "arm64")])
def test_both_programs_are_pinned_for_every_machine(system: str, machine: str, arch: str) -> None:
    kind, helm = artifacts(system, machine)
    assert kind.url.endswith(f"/kind-{system}-{arch}")
    assert helm.url.endswith(f"-{system}-{arch}.tar.gz")
    assert helm.member == f"{system}-{arch}/helm"
    assert {kind.sha256, helm.sha256} <= set(SHA256.values())


def test_no_checksum_serves_two_files() -> None:
    assert len(set(SHA256.values())) == len(SHA256) == 8
    assert all(len(bytes.fromhex(digest)) == 32 for digest in SHA256.values())


def test_another_machine_is_told_to_bring_its_own() -> None:
    with pytest.raises(UserError, match="pinned for win32 on AMD64"):
        artifacts("win32", "AMD64")
