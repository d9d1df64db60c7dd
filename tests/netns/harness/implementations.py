"""The WireGuard implementations that a client can be. Debian has one; scripts/peers builds the others."""

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

_PEERS = Path(__file__).resolve().parents[3] / "scripts/peers"


def find_program(name: str, variable: str) -> tuple[str | None, str | None]:
    """A program that scripts/peers builds, or that the variable names: where it is, or why it is not there."""
    named = os.environ.get(variable)
    if named is not None:
        return (named, None) if os.access(named, os.X_OK) else (None, f"{variable} names no program: {named}")
    return _ask_peers(name)


def _ask_peers(name: str) -> tuple[str | None, str | None]:
    asked = subprocess.run([str(_PEERS), "--path", name], capture_output=True, text=True, check=False)
    program = asked.stdout.strip()
    if asked.returncode == 0 and Path(program).exists():
        return program, None
    return None, asked.stderr.strip() or f"scripts/peers knows no {name}"


@dataclass(frozen=True)
class Implementation:
    """A program that makes an interface with its only argument besides its options, and serves wg(8)."""
    name: str
    label: str  # in the names of tests
    options: tuple[str, ...] = ("-f",)
    from_debian: bool = False
    changes_peers: bool = True  # False: a peer can only be removed and made anew
    learns_endpoints: bool = True  # False: it has to be told where the other end is

    def command(self, interface: str) -> list[str]:
        program, reason = _find(self)
        if program is None:
            raise AssertionError(reason)
        return [program, *self.options, interface]

    def missing(self) -> str | None:
        """Why it cannot be had; None if it can."""
        return _find(self)[1]


@functools.cache
def _find(implementation: Implementation) -> tuple[str | None, str | None]:
    if implementation.from_debian:
        program = shutil.which(implementation.name)
        return program, None if program else f"{implementation.name} is not in the path"
    return _ask_peers(implementation.name)


DEBIAN_WIREGUARD_GO = Implementation("wireguard-go", "DebianWireguardGo", from_debian=True)
# boringtun gives its rights away to the user who logged in; where nobody did, it ends. In Tailscale's program the
# layer above knows where peers are.
IMPLEMENTATIONS = (
    DEBIAN_WIREGUARD_GO,
    Implementation("wireguard-go", "WireguardGo"),
    Implementation("tailscale-wireguard-go", "Tailscale", learns_endpoints=False),
    Implementation("boringtun-cli", "Boringtun", ("-f", "--disable-drop-privileges"), changes_peers=False),
    Implementation("gotatun-cli", "Gotatun", ("-f", "--disable-drop-privileges")),
)
