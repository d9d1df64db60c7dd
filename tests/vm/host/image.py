"""The guest's initial file system: busybox, our program, the tools and the Python that the tests need."""

import os
import re
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import BinaryIO, Iterator

from harness.pki import Authority

from .kernel import Kernel, Unavailable

_TESTS = Path(__file__).resolve().parents[2]

# The stock programs that the tests use, besides busybox.
TOOLS = ("ip", "wg", "ping", "setpriv")
# Modules that the tests need, each with all that it depends on.
MODULES = ("wireguard", "tun", "veth", "tls", "gcm", "ctr", "ghash-generic", "aesni-intel")

# Debian's own, whatever other Python may come first in this machine's path: its parts lie where the
# package has them, and need nothing that the guest does not have.
PYTHON = Path("/usr/bin/python3")
# Python's compiled modules that tests and harness use; others would bring libraries of their own.
_PYTHON_EXTENSIONS = ("_contextvars", "_ctypes", "_hashlib", "_json", "_queue", "_ssl", "mmap", "resource", "termios")
# Parts of its library that no test needs: half of its size.
_PYTHON_WITHOUT = {"test", "idlelib", "lib2to3", "distutils", "ensurepip", "lib-dynload", "pydoc_data", "tkinter",
                   "turtledemo", "sqlite3", "curses"}


def build(image: Path, kernel: Kernel, binary: Path, tests: list[str]) -> None:
    """Writes the initial file system of a guest that runs these tests of `binary`."""
    with image.open("wb") as file:
        archive = _Archive(file)
        for folder in ("dev", "proc", "sys", "run", "tmp", "root", "var/run", "etc"):
            archive.folder(folder)
        # As on a Debian machine, where old paths lead to /usr.
        for name in ("bin", "sbin", "lib", "lib64"):
            archive.folder(f"usr/{name}")
            archive.link(name, f"usr/{name}")
        archive.text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n")
        archive.text("etc/hosts", "127.0.0.1 localhost\n")
        archive.text("etc/hostname", "guest\n")
        archive.program(_tool("busybox"), "usr/bin/busybox", with_libraries=False)
        archive.copy(_TESTS / "vm/guest/init", "init")
        modules = kernel.modules(*MODULES)
        for module in modules:
            archive.copy(module, f"modules/{module.name}")
        archive.text("modules/order", "".join(f"{module.name}\n" for module in modules))
        archive.program(binary, "usr/bin/sluice")
        for name in TOOLS:
            archive.program(_tool(name), f"usr/bin/{name}")
        _add_python(archive)
        _add_certificate(archive)
        for folder in ("netns/harness", "vm/guest"):
            for path in sorted((_TESTS / folder).rglob("*.py")):
                archive.copy(path, f"tests/{path.relative_to(_TESTS)}")
        # Not on the kernel's command line, which holds 2 KiB.
        archive.text("tests/chosen", "".join(f"{test}\n" for test in tests))
        archive.end()


def _add_certificate(archive: "_Archive") -> None:
    """Made out here, where openssl has all that it wants."""
    with tempfile.TemporaryDirectory(prefix="sluice-vm-") as directory:
        certificate, key = Authority(Path(directory)).issue("server", ["site.test"])
        archive.copy(certificate, "tests/server.crt")
        archive.copy(key, "tests/server.key")


def _add_python(archive: "_Archive") -> None:
    if not PYTHON.exists():
        raise Unavailable(f"{PYTHON} is not there (package python3)")
    real = PYTHON.resolve()
    library = Path("/usr/lib", real.name)
    archive.program(real, "usr/bin/python3")
    for folder, folders, files in os.walk(library):
        folders[:] = sorted(set(folders) - _PYTHON_WITHOUT)
        for name in sorted(files):
            archive.copy(Path(folder, name), str(Path(folder, name).relative_to("/")))
    for name in _PYTHON_EXTENSIONS:
        for path in sorted((library / "lib-dynload").glob(f"{name}.*.so")):
            archive.program(path, str(path.relative_to("/")))


def _tool(name: str) -> Path:
    found = shutil.which(name)
    if found is None:
        raise Unavailable(f"{name} is not here, which the guest needs (scripts/packages.txt names its package)")
    return Path(found).resolve()


def _libraries(program: Path) -> Iterator[Path]:
    """What the dynamic linker loads for a program, and the linker, by the paths under which it looks for them."""
    done = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=False)
    if "not found" in done.stdout:
        raise Unavailable(f"libraries of {program} are missing: {done.stdout}")
    for found in re.finditer(r"(?:=> )?(/\S+) \(0x", done.stdout):
        yield Path(found[1])


class _Archive:
    """Writes files as cpio's "newc" form, which the kernel unpacks (its documentation: buffer-format)."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self._written: set[str] = set()

    def folder(self, path: str) -> None:
        self._parents(path)
        self._add(path, stat.S_IFDIR | 0o755, b"")

    def link(self, path: str, target: str) -> None:
        self._add(path, stat.S_IFLNK | 0o777, target.encode())

    def text(self, path: str, content: str) -> None:
        self._parents(path)
        self._add(path, stat.S_IFREG | 0o644, content.encode())

    def copy(self, source: Path, path: str) -> None:
        self._parents(path)
        self._add(path, stat.S_IFREG | (0o755 if os.access(source, os.X_OK) else 0o644), source.read_bytes())

    def program(self, source: Path, path: str, with_libraries: bool = True) -> None:
        self.copy(source, path)
        for library in _libraries(source) if with_libraries else ():
            # /lib is a link to /usr/lib in the guest, so that nothing may be put into a folder of that name.
            place = library.relative_to("/")
            self.copy(library, str(place if place.parts[0] == "usr" else "usr" / place))

    def end(self) -> None:
        self._add("TRAILER!!!", 0, b"")

    def _parents(self, path: str) -> None:
        for parent in reversed(Path(path).parents):
            if str(parent) != ".":
                self._add(str(parent), stat.S_IFDIR | 0o755, b"")

    def _add(self, path: str, mode: int, content: bytes) -> None:
        if path in self._written:
            return
        self._written.add(path)
        name = path.encode() + b"\0"
        fields = (len(self._written), mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (header + name, content):
            self._file.write(part + b"\0" * (-len(part) % 4))
