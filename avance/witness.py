"""The witness: a small service on a third machine that gives each epoch to one node; `avance witness`.

It answers datagrams (`wire/witness`) by the rule of `core/register`, and makes what it knows durable before it answers.
When the disk refuses, it gives no answer. It needs only the standard library, opens no connection and asks nobody.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import re
import signal
import socket
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from avance.core.model import NodeId
from avance.core.register import WINDOW_S, Known, Register, RegisterAnswer
from avance.errors import ConfigError
from avance.files import write_durably
from avance.parsed import Json
from avance.wire.rejected import Rejected
from avance.wire.witness import DATAGRAM_BYTES_MAX, AntiReplay, Ask, Keys, Look, Question, Reply, encode, keys

STATE_SCHEMA = "avance.witness-state/2"
_EARLIER_SCHEMA = "avance.witness-state/1"  # without `taught` and `machine`: such a state is untaught
MACHINE_BOOT = Path("/proc/sys/kernel/random/boot_id")  # proc(5): a new one at each start of the kernel
_BURST_MAX = 64  # datagrams before a signal gets its turn
_DILATION_MAX = 40.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says, checked."""

    address: str
    port: int
    state: Path
    secret: bytes = field(repr=False)
    dilation: float


def options(listen: str, state: Path, secret_file: Path, dilation: float) -> Options:
    """Check the command line.

    Raises:
        ConfigError: with one sentence that names the option and what is possible.
    """
    address, _, port = listen.rpartition(":")
    try:
        ipaddress.IPv4Address(address)
    except ValueError as error:
        raise ConfigError(f"--listen is {listen!r}; it must be an IPv4 address and port: 192.0.2.5:7790") from error
    if not port.isdecimal() or int(port) > 65535:
        raise ConfigError(f"--listen has the port {port!r}; it must be a number from 0 to 65535")
    if not state.parent.is_dir() or state.is_dir():
        raise ConfigError(f"--state is {state}; it must be a file in a directory that exists")
    if not 1.0 <= dilation <= _DILATION_MAX:
        raise ConfigError(f"--dilation is {dilation:g}; it must be a number from 1 to {_DILATION_MAX:g}")
    try:
        text = secret_file.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigError(f"--secret-file {secret_file} cannot be read: {error}") from error
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        possible = "64 hexadecimal digits, as `avance secret witness NAME` prints them"
        raise ConfigError(f"--secret-file {secret_file} must hold {possible}")
    return Options(address, int(port), state, bytes.fromhex(text), dilation)


def encode_state(pair: Keys, register: Register, machine: str) -> bytes:
    """Return what is written to the disk: a checksum and JSON; `machine` is the boot of this machine."""
    known = register.known
    fields = {
        "schema": STATE_SCHEMA,
        "cluster": pair.cluster.hex(),
        "epoch": known.epoch,
        "owner": known.owner,
        "nonce": known.nonce,
        "taught": register.taught,
        "machine": machine,
    }
    data = json.dumps(fields, sort_keys=True)
    return f"{hashlib.sha256(data.encode()).hexdigest()} {data}\n".encode()


def load_state(path: Path, pair: Keys, machine: str) -> tuple[Register, str]:
    """Return what is stored, and in words what was found; a damaged file counts as lost, as the register allows.

    What was stored since this machine started is the newest state: nobody puts an older one in its place while the
    machine runs. Across a start of the machine a disk may have been set back, so what it holds is untaught.

    Raises:
        ConfigError: it cannot be read, or belongs to another site; it was not changed.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return Register(), "no state was stored"
    except OSError as error:
        raise ConfigError(f"the state {path} cannot be read: {error}") from error
    checksum, _, data = raw.decode(errors="replace").rstrip("\n").partition(" ")
    if hashlib.sha256(data.encode()).hexdigest() != checksum:
        return Register(), "the stored state was damaged and counts as lost"
    fields: Json = json.loads(data)
    if fields.get("schema") not in (STATE_SCHEMA, _EARLIER_SCHEMA) or fields.get("cluster") != pair.cluster.hex():
        raise ConfigError(f"the state {path} belongs to another site or version; give this site a file of its own")
    owner = None if fields["owner"] is None else NodeId(fields["owner"])
    known = Known(fields["epoch"], owner, fields["nonce"])
    stored = Register(known, taught=bool(fields.get("taught")))
    found = f"epoch {known.epoch} of {known.owner or 'nobody'} was stored"
    return stored.restarted(newest=fields.get("machine") == machine), found


@dataclass(slots=True)
class WitnessLife:
    """One life of the witness: datagram in, datagram out; `save` makes a register durable, or raises OSError."""

    pair: Keys
    register: Register
    save: Callable[[Register], None]
    say: Callable[[str], None]
    life: str = field(default_factory=lambda: uuid.uuid4().hex)
    guard: AntiReplay = field(init=False)

    def __post_init__(self) -> None:
        self.guard = AntiReplay(self.pair, self.life)

    def answer(self, datagram: bytes, now_s: float) -> bytes | None:
        """Return the answer to one datagram, or None: it is refused, or the disk did not take what it asks for."""
        question = self.guard.accept(datagram)
        if isinstance(question, Rejected):
            if self.guard.rejected[question.reason] == 1:
                self.say(f"refused a datagram: {question.reason}")
            return None
        if not isinstance(question, Look) and not self.guard.knows_life(question):
            return self._reply(question, "again", self.register.answer())
        given = self._decide(question, now_s)
        return None if given is None else self._reply(question, given.word, given)

    def _decide(self, question: Question, now_s: float) -> RegisterAnswer | None:
        node = question.sender.node
        if isinstance(question, Look):
            return self.register.answer()
        if isinstance(question, Ask):
            after, given = self.register.ask(node, question.epoch, question.nonce)
        else:
            after, given = self.register.teach(
                node, question.epoch, question.owner, paired=question.paired, alone=question.alone, now_s=now_s
            )
        before = self.register
        if (after.known, after.taught) != (before.known, before.taught):
            try:
                self.save(after)
            except OSError as error:
                self.say(f"no answer, because the state was not stored: {error}")
                return None
        if isinstance(question, Ask):
            self.say(f"{given.word} epoch {question.epoch} to {node}; known is {given.epoch} of {given.owner}")
        elif (after.known, after.taught) != (before.known, before.taught):
            self.say(f"{given.word} by {node}: known is epoch {given.epoch} of {given.owner}")
        self.register = after
        return given

    def _reply(self, question: Question, word: str, given: RegisterAnswer) -> bytes:
        sender = question.sender
        return encode(self.pair, Reply(word, given.epoch, given.owner, self.life, sender.boot, sender.number))


async def serve(witness: WitnessLife, sock: socket.socket, stop: asyncio.Event) -> None:
    """Answer until `stop` is set."""
    loop = asyncio.get_running_loop()

    def readable() -> None:
        for _ in range(_BURST_MAX):
            try:
                datagram, sender = sock.recvfrom(DATAGRAM_BYTES_MAX + 1)
            except OSError:
                return  # nothing more, or an asynchronous network error of an earlier answer
            reply = witness.answer(datagram, time.monotonic())
            if reply is not None:
                try:
                    sock.sendto(reply, sender)
                except OSError as error:
                    witness.say(f"an answer to {sender[0]} was not sent: {error}")

    loop.add_reader(sock, readable)
    try:
        await stop.wait()
    finally:
        loop.remove_reader(sock)


def _say(text: str) -> None:
    print(f"avance witness: {text}", flush=True)


async def _run(chosen: Options) -> None:
    pair = keys(chosen.secret)
    machine = MACHINE_BOOT.read_text().strip()
    stored, found = load_state(chosen.state, pair, machine)
    window_s = WINDOW_S * chosen.dilation

    def save(fresh: Register) -> None:
        write_durably(chosen.state, encode_state(pair, fresh, machine))

    witness = WitnessLife(pair, replace(stored, window_s=window_s), save, _say)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        try:
            sock.bind((chosen.address, chosen.port))
        except OSError as error:
            raise ConfigError(f"--listen {chosen.address}:{chosen.port} is not possible here: {error}") from error
        port = sock.getsockname()[1]
        untaught = (
            f"grants nothing until both nodes, paired and within {window_s:g} s, have taught it, or one that alone has "
            "the right to write"
        )
        _say(
            f"listens on {chosen.address}:{port}, state {chosen.state}; {found}; "
            f"{'goes on as it was' if stored.taught else untaught}"
        )
        await serve(witness, sock, stop)
    _say(f"ended; refused datagrams: {witness.guard.rejected or 'none'}")


def main(listen: str, state: Path, secret_file: Path, dilation: float) -> int:
    """Run the witness until SIGTERM; raises ConfigError when it cannot begin."""
    asyncio.run(_run(options(listen, state, secret_file, dilation)))
    return 0
