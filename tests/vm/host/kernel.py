"""Debian's cloud kernel and its modules, taken out of the package and never installed."""

import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

META_PACKAGE = "linux-image-cloud-amd64"
# A mirror that answers nothing must not hold up everybody's tests.
_DOWNLOAD_SECONDS = 300


class Unavailable(Exception):
    """Something that the guest needs cannot be had on this machine; says what and why."""


@dataclass(frozen=True)
class Kernel:
    folder: Path

    @property
    def image(self) -> Path:
        return next(self.folder.glob("vmlinuz-*"))

    @property
    def release(self) -> str:
        return self.image.name.removeprefix("vmlinuz-")

    def modules(self, *names: str) -> list[Path]:
        """These modules and what they need, in the order in which they are loaded."""
        files = {_module_name(path.stem): path for path in (self.folder / "modules").rglob("*.ko")}
        order: dict[str, Path] = {}

        def add(name: str) -> None:
            if name in order:
                return
            if name not in files:
                raise Unavailable(f"the kernel {self.release} has no module {name}")
            for needed in _depends(files[name]):
                add(needed)
            order[name] = files[name]

        for name in names:
            add(_module_name(name))
        return list(order.values())


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "sluice-vm"


def kernel() -> Kernel:
    """The kernel in the cache, or else one that is fetched into it."""
    cached = sorted(cache_folder().glob("linux-image-*/complete"))
    if cached:
        return Kernel(cached[-1].parent)
    return _fetch()


def _fetch() -> Kernel:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=cache_folder()) as temporary:
        package = _download(Path(temporary))
        tree = Path(temporary, "tree")
        _run(["dpkg-deb", "-x", str(package), str(tree)])
        folder = Path(temporary, package.stem)
        folder.mkdir()
        shutil.move(next(tree.glob("boot/vmlinuz-*")), folder)
        shutil.move(next(tree.glob("lib/modules/*/kernel")), folder / "modules")
        (folder / "complete").touch()
        target = cache_folder() / folder.name
        try:
            folder.rename(target)
        except OSError:  # somebody else was quicker
            if not (target / "complete").exists():
                raise
        return Kernel(target)


def _download(into: Path) -> Path:
    """The package file. Nothing is installed, and apt checks what it fetched."""
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise Unavailable(f"{tool} is not here, with which Debian's kernel is fetched")
    name = _package_name()
    if name is None:
        # A fresh machine has no lists of packages yet.
        _run(["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", "update"])
        name = _package_name()
    if name is None:
        raise Unavailable(f"apt knows no package {META_PACKAGE}")
    _run(["apt-get", "-q", "download", name], folder=into)
    return next(into.glob("*.deb"))


def _package_name() -> str | None:
    """What the package that always means the newest one means today."""
    listed = subprocess.run(["apt-cache", "depends", META_PACKAGE], capture_output=True, text=True, check=False)
    found = re.search(r"Depends: (linux-image-\S+)", listed.stdout)
    return found[1] if found else None


def _run(command: list[str], folder: Path | None = None) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False,
                              timeout=_DOWNLOAD_SECONDS)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{' '.join(command)} took longer than {_DOWNLOAD_SECONDS} s") from None
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{' '.join(command)} failed: {said[-1] if said else done.returncode}")


def _module_name(text: str) -> str:
    return text.replace("-", "_")


def _depends(module: Path) -> list[str]:
    """Names of the modules that this one says it needs."""
    found = re.search(rb"\0depends=([^\0]*)\0", module.read_bytes())
    return [_module_name(name) for name in found[1].decode().split(",") if name] if found else []
