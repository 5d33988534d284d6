"""The witness as a service: durable before it answers, silent when the disk refuses, and clear about bad options."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import socket
from pathlib import Path

import pytest

from avance.core.model import NodeId
from avance.core.register import WINDOW_S, Known, Register
from avance.errors import ConfigError
from avance.wire.rejected import Rejected
from avance.wire.witness import Ask, Look, Question, Reply, Sender, Teach, decode_reply, encode, keys
from avance.witness import Options, WitnessLife, _run, encode_state, load_state, main, options, serve
from tests.playbook import A, B
from tests.unit.avance.adapters.tools import until

SECRET = bytes.fromhex("5e" * 32)
KEYS = keys(SECRET)


class Desk:
    """A witness without sockets: its disk, what it says, and the next number of each question."""

    def __init__(self, known: Known = Known()) -> None:  # noqa: B008 - a frozen value
        self.saved: list[Register] = []
        self.said: list[str] = []
        self.full = False
        self.witness = WitnessLife(KEYS, Register(known), self._save, self.said.append)
        self._number = 0

    def _save(self, register: Register) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        self.saved.append(register)

    def sender(self, node: NodeId, life: str | None = None) -> Sender:
        """Return a sender with a number that was not used."""
        self._number += 1
        return Sender(node, f"{node}-boot", self._number, self.witness.life if life is None else life)

    def put(self, question: Question, now_s: float = 0.0) -> Reply | None:
        """Put one question and return the answer."""
        raw = self.witness.answer(encode(KEYS, question), now_s)
        if raw is None:
            return None
        reply = decode_reply(KEYS, raw)
        assert not isinstance(reply, Rejected)
        assert (reply.boot, reply.number, reply.life) == (
            question.sender.boot,
            question.sender.number,
            self.witness.life,
        )
        return reply

    def teach(self, epoch: int = 4, owner: NodeId = A) -> None:
        """Let both nodes teach it."""
        for node in (A, B):
            assert self.put(Teach(self.sender(node), epoch, owner, paired=True)) is not None

    def ask(self, node: NodeId, epoch: int) -> str:
        """Return the word for a question, or `silent`."""
        reply = self.put(Ask(self.sender(node), epoch, "n"))
        return "silent" if reply is None else reply.word


def test_a_grant_is_durable_before_it_is_said() -> None:
    """What was granted is on the disk; a refusal and a repetition write nothing."""
    desk = Desk()
    desk.teach()
    assert [desk.ask(B, 5), desk.ask(A, 5), desk.ask(B, 5)] == ["granted", "refused", "granted"]
    stored = [(one.known, one.taught) for one in desk.saved]
    assert stored == [(Known(4, A), False), (Known(4, A), True), (Known(5, B, "n"), True)]
    assert any("granted epoch 5 to b" in line for line in desk.said)


def test_what_the_disk_refuses_was_never_said() -> None:
    """A full disk makes the witness silent, and leaves the epoch to whoever asks when it has room again."""
    desk = Desk()
    desk.teach()
    desk.full = True
    assert desk.ask(A, 5) == "silent"
    assert "No space left" in desk.said[-1]
    assert desk.witness.register.known == Known(4, A)
    desk.full = False
    assert [desk.ask(B, 5), desk.ask(A, 5)] == ["granted", "refused"]


def test_another_life_is_told_and_nothing_is_done() -> None:
    """A question for an earlier life gets `again`, with what is known and the name of this life."""
    desk = Desk(Known(4, A))
    before = desk.witness.register
    for question in (Ask(desk.sender(A, "old"), 9, "n"), Teach(desk.sender(A, ""), 9, A, paired=True)):
        reply = desk.put(question)
        assert reply is not None
        assert (reply.word, reply.epoch, reply.owner) == ("again", 4, A)
    assert desk.witness.register == before


def test_to_look_changes_nothing() -> None:
    """Anybody with the secret reads what is known."""
    desk = Desk(Known(4, A))
    before = desk.witness.register
    reply = desk.put(Look(desk.sender(NodeId("bed"), "")))
    assert reply is not None
    assert (reply.word, reply.epoch, reply.owner) == ("untaught", 4, A)
    assert desk.witness.register == before


def test_refused_datagrams_are_counted_and_the_first_of_a_kind_is_said() -> None:
    """A flood of forgeries does not fill the log."""
    desk = Desk()
    for _ in range(3):
        assert desk.witness.answer(b"noise", 0.0) is None
    assert desk.witness.guard.rejected == {"not a datagram of a witness": 3}
    assert len(desk.said) == 1


@pytest.mark.parametrize("taught", [True, False])
@pytest.mark.parametrize("known", [Known(), Known(7, A, "n-1")])
def test_state_round_trip(tmp_path: Path, known: Known, taught: bool) -> None:
    """What was stored is what is loaded; after a start of the machine it is untaught, because it may be older."""
    path = tmp_path / "state"
    path.write_bytes(encode_state(KEYS, Register(known, taught=taught), "this boot"))
    assert load_state(path, KEYS, "this boot")[0] == Register(known, taught=taught)
    assert load_state(path, KEYS, "another boot")[0] == Register(known)


def test_state_of_an_earlier_release_is_untaught(tmp_path: Path) -> None:
    """It says neither whether it was taught nor on which start of the machine it was stored."""
    path = tmp_path / "state"
    fields = {"schema": "avance.witness-state/1", "cluster": KEYS.cluster.hex(), "epoch": 7, "owner": "a", "nonce": "n"}
    data = json.dumps(fields, sort_keys=True)
    path.write_text(f"{hashlib.sha256(data.encode()).hexdigest()} {data}\n")
    assert load_state(path, KEYS, "this boot")[0] == Register(Known(7, A, "n"))


def test_a_damaged_state_counts_as_lost(tmp_path: Path) -> None:
    """The register is untaught anyway, so nothing is granted that it forgot; what was found is said."""
    path = tmp_path / "state"
    assert load_state(path, KEYS, "boot") == (Register(), "no state was stored")
    whole = encode_state(KEYS, Register(Known(7, A), taught=True), "boot")
    for index in range(len(whole)):
        path.write_bytes(whole[:index])
        stored, found = load_state(path, KEYS, "boot")
        assert stored == (Register(Known(7, A), taught=True) if index == len(whole) - 1 else Register())
        assert index == len(whole) - 1 or "damaged" in found


def test_the_state_of_another_site_is_refused(tmp_path: Path) -> None:
    """It may be somebody's only copy: nothing is overwritten."""
    path = tmp_path / "state"
    path.write_bytes(encode_state(keys(b"t" * 32), Register(Known(7, A)), "boot"))
    with pytest.raises(ConfigError, match="belongs to another site"):
        load_state(path, KEYS, "boot")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_state(tmp_path, KEYS, "boot")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"listen": "7790"}, "--listen is '7790'"),
        ({"listen": "w1.example:7790"}, "IPv4 address and port"),
        ({"listen": "127.0.0.1:65536"}, "from 0 to 65535"),
        ({"listen": "127.0.0.1:x"}, "from 0 to 65535"),
        ({"state": "no-such-directory/state"}, "a directory that exists"),
        ({"state": "."}, "must be a file"),
        ({"secret": "5e" * 31}, "`avance secret witness NAME` prints"),
        ({"secret": "5E" * 32}, "`avance secret witness NAME` prints"),
        ({"secret": None}, "cannot be read"),
        ({"dilation": float("nan")}, "a number from 1 to 40"),
        ({"dilation": 0.5}, "a number from 1 to 40"),
    ],
)
def test_bad_options_are_refused(tmp_path: Path, change: dict[str, object], said: str) -> None:
    """One sentence says which option, and what is possible."""
    chosen: dict[str, object] = {"listen": "127.0.0.1:0", "state": "state", "secret": "5e" * 32 + "\n", "dilation": 1.0}
    chosen |= change
    secret = tmp_path / "secret"
    if chosen["secret"] is not None:
        secret.write_text(str(chosen["secret"]))
    assert isinstance(chosen["dilation"], float)
    with pytest.raises(ConfigError) as refused:
        options(str(chosen["listen"]), tmp_path / str(chosen["state"]), secret, chosen["dilation"])
    assert said in str(refused.value)


def test_it_serves_until_the_signal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Over a real socket: answers, keeps what it learned, ends at SIGTERM with its counters, and knows it next time."""
    state = tmp_path / "state"

    async def life(epoch: int) -> Reply:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port: int = free.getsockname()[1]
        async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
            tasks.create_task(_run(Options("127.0.0.1", port, state, SECRET, 2.0)))
            await asyncio.sleep(0)  # it binds in its first turn
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.connect(("127.0.0.1", port))
                first = await put(sock, Look(Sender(A, "x", 1)))
                sock.send(b"noise")
                last = await put(sock, Teach(Sender(A, "x", 2, first.life), epoch, A, paired=False, alone=True))
            os.kill(os.getpid(), signal.SIGTERM)
        return last

    async def put(sock: socket.socket, question: Question) -> Reply:
        sock.send(encode(KEYS, question))
        reply = decode_reply(KEYS, await asyncio.get_running_loop().sock_recv(sock, 4096))
        assert not isinstance(reply, Rejected)
        return reply

    assert asyncio.run(life(4)).epoch == 4
    assert asyncio.run(life(2)).epoch == 4
    assert json.loads(state.read_text().partition(" ")[2])["epoch"] == 4
    said = capsys.readouterr().out.splitlines()
    assert f"no state was stored; grants nothing until both nodes, paired and within {2 * WINDOW_S:g} s" in said[0]
    assert "'not a datagram of a witness': 1" in "".join(line for line in said if "ended" in line)
    assert any("epoch 4 of a was stored; goes on as it was" in line for line in said)


class Mute(socket.socket):
    """A socket whose network takes nothing."""

    def sendto(self, *_arguments: object) -> int:
        """Refuse."""
        raise OSError(101, "Network is unreachable")


def test_an_answer_that_cannot_be_sent_is_lost() -> None:
    """The service goes on, and says so."""

    async def story() -> list[str]:
        desk, stop = Desk(), asyncio.Event()
        with Mute(socket.AF_INET, socket.SOCK_DGRAM) as ours, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as them:
            ours.setblocking(False)
            ours.bind(("127.0.0.1", 0))
            them.sendto(encode(KEYS, Look(Sender(A, "x", 1))), ours.getsockname())
            async with asyncio.timeout(100), asyncio.TaskGroup() as tasks:
                tasks.create_task(serve(desk.witness, ours, stop))
                await until(lambda: bool(desk.said))
                stop.set()
        return desk.said

    assert asyncio.run(story()) == ["an answer to 127.0.0.1 was not sent: [Errno 101] Network is unreachable"]


def test_an_address_of_another_machine_is_refused(tmp_path: Path) -> None:
    """The sentence names the option."""
    secret = tmp_path / "secret"
    secret.write_text("5e" * 32)
    with pytest.raises(ConfigError, match=r"--listen 192\.0\.2\.1:7790 is not possible here"):
        main("192.0.2.1:7790", tmp_path / "state", secret, 1.0)
