"""A private subnet on this machine: a Linux network namespace with no way out.

Why it proves isolation. A new network namespace has one interface, `lo`, and no route but loopback:
there is nothing to send a packet through, so a connection to any other address fails in the kernel
with ENETUNREACH, and 127.0.0.1 is the namespace's own, not the machine's. What leads out is only
what was handed in. A listening socket belongs to the namespace in which it was made, for ever, but
whoever holds it may accept on it: so a process inside makes the sockets, and passes them over a
Unix socket (SCM_RIGHTS) to this process, which stays outside with all its routes. To a program
inside, the server stands at 127.0.0.1 like an interface endpoint in its subnet.

Names are looked up in the subnet's own hosts file, in a mount namespace of its own: the machine's
resolver, and daemons that resolve for others, are out of sight, so an unknown name fails at once.

What it is not: a prison. Sockets in the file system can be reached through the file system, and in
mode "root" a program inside is root on this machine and could walk back. It shows that a program
that only uses the network has no way out.
"""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Final, Literal, Self, TypeAlias

__all__ = ["Mode", "Subnet", "Unavailable"]

Mode: TypeAlias = Literal["root", "rootless"]

AGENT: Final = Path(__file__).with_name("subnet_agent.py")

ANSWER_LIMIT_S: Final = 10.0
"""How long the agent may take to start and to hand its sockets over; it takes some 50 ms."""

END_LIMIT_S: Final = 5.0
"""How long the agent may take to notice that it should end, before it is killed."""

MAX_PORTS: Final = 250
"""A message can carry 253 file descriptors (Linux, SCM_MAX_FD)."""

UNSHARE: Final[Mapping[Mode, tuple[str, ...]]] = MappingProxyType(
    {
        "root": ("--net", "--mount"),
        "rootless": ("--user", "--map-root-user", "--net", "--mount"),
    }
)
"""How namespaces are made."""

NSENTER: Final[Mapping[Mode, tuple[str, ...]]] = MappingProxyType(
    {
        "root": ("--net", "--mount"),
        "rootless": ("--user", "--preserve-credentials", "--net", "--mount"),
    }
)
"""How they are entered; rootless, the kernel lets nobody change groups, so they are preserved."""


@dataclass(frozen=True, slots=True)
class Unavailable:
    """There can be no subnet here; `reason` says why, for each way that was tried."""

    reason: str


class Subnet:
    """A subnet that is open until it is closed.

    `listeners` are sockets that listen on 127.0.0.1 inside, in the order of the ports asked for;
    who serves on one may close it, and closing the subnet closes the rest. `command_prefix` stands
    before a command that shall run inside; it keeps the working directory and the environment.
    """

    def __init__(
        self,
        mode: Mode,
        listeners: tuple[socket.socket, ...],
        agent: subprocess.Popen[bytes],
        control: socket.socket,
    ) -> None:
        self.mode = mode
        self.listeners = listeners
        self.command_prefix = _command_prefix(mode, agent.pid)
        self._agent = agent
        self._control = control

    @classmethod
    def open(
        cls,
        ports: Sequence[int] = (),
        *,
        names: Sequence[str] = (),
        modes: Sequence[Mode] = ("root", "rootless"),
    ) -> Self | Unavailable:
        """Make a subnet with listeners on these ports (0: any), in the first mode that works here.

        `names` are host names that lead to 127.0.0.1 inside. Whether a mode works is decided by
        trying it: user id, capabilities and the kernel's settings do not tell.
        """
        if (missing := _missing()) is not None:
            return Unavailable(missing)
        reasons = []
        for mode in modes:
            opened = cls._try(mode, ports, names)
            if not isinstance(opened, Unavailable):
                return opened
            reasons.append(f"{mode}: {opened.reason}")
        return Unavailable("; ".join(reasons))

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of the listeners that are still open here."""
        return tuple(listener.getsockname()[1] for listener in self.listeners)

    def close(self) -> None:
        """End the agent; with the last program inside, the namespaces and all mounts are gone."""
        self._control.close()
        for listener in self.listeners:
            listener.close()
        _end(self._agent)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def _try(cls, mode: Mode, ports: Sequence[int], names: Sequence[str]) -> Self | Unavailable:
        control, inherited = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with inherited:
            agent = _start_agent(mode, inherited, {"ports": list(ports), "names": list(names)})
        listeners = _receive(control, agent)
        if isinstance(listeners, Unavailable):
            control.close()
            _end(agent)
            return listeners
        return cls(mode, listeners, agent, control)


def _missing() -> str | None:
    if sys.platform != "linux":
        return f"network namespaces need Linux, and this is {sys.platform}"
    for program in ("unshare", "nsenter"):
        if shutil.which(program) is None:
            return f"the program {program} of util-linux is not installed"
    return None


def _start_agent(
    mode: Mode, control: socket.socket, wanted: Mapping[str, object]
) -> subprocess.Popen[bytes]:
    number = control.fileno()
    # -I and -S: the agent needs nothing of the caller's environment, and starts in half the time.
    agent = [sys.executable, "-I", "-S", str(AGENT), str(number), json.dumps(wanted)]
    return subprocess.Popen(  # noqa: S603 - the command is ours
        [shutil.which("unshare") or "unshare", *UNSHARE[mode], "--", *agent],
        pass_fds=[number],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _receive(
    control: socket.socket, agent: subprocess.Popen[bytes]
) -> tuple[socket.socket, ...] | Unavailable:
    control.settimeout(ANSWER_LIMIT_S)
    try:
        message, descriptors, _, _ = socket.recv_fds(control, 65_536, MAX_PORTS)
    except TimeoutError:
        return Unavailable(f"the agent did not answer within {ANSWER_LIMIT_S:g} seconds")
    control.settimeout(None)
    if not message:
        return Unavailable(_last_words(agent))
    answer = json.loads(message)
    if "problem" in answer:
        return Unavailable(answer["problem"])
    return tuple(socket.socket(fileno=number) for number in descriptors)


def _last_words(agent: subprocess.Popen[bytes]) -> str:
    """Give the last line that a failed agent, or unshare in its place, wrote."""
    try:
        _, errors = agent.communicate(timeout=END_LIMIT_S)
    except subprocess.TimeoutExpired:
        return "the agent closed its socket but did not end"
    lines = errors.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"the agent ended with status {agent.returncode}"


def _end(agent: subprocess.Popen[bytes]) -> None:
    try:
        agent.wait(END_LIMIT_S)
    except subprocess.TimeoutExpired:
        agent.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.wait(END_LIMIT_S)
    if agent.stderr is not None:
        agent.stderr.close()


def _command_prefix(mode: Mode, agent: int) -> tuple[str, ...]:
    """Give the command that enters the namespaces of the agent and runs what follows it.

    Entering a mount namespace changes the working directory to `/`; the two shells carry it over.
    Each step replaces the one before it, so the process that is started is the program itself.
    """
    nsenter = shlex.quote(shutil.which("nsenter") or "nsenter")
    enter = f"{nsenter} {' '.join(NSENTER[mode])} --target {agent} --"
    inside = """/bin/sh -c 'cd "$0" && exec "$@"'"""
    return ("/bin/sh", "-c", f'exec {enter} {inside} "$(pwd)" "$@"', "subnet")
