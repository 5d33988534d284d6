"""Tests of the workload service as an ordinary process on the loopback address; they must never need a guest."""

import os
import resource
import signal
import socket
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from images import guest, process

RECORD_BYTES = 512
SOURCES = Path(guest.SOURCES)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The service, compiled by the host's compiler."""
    if process.find("gcc") is None:
        pytest.skip("this host has no gcc; the image build compiles the service in its own Debian tree")
    built = tmp_path_factory.mktemp("workload") / "workload"
    sources = [str(SOURCES / name) for name in guest.SOURCE_NAMES if name.endswith(".c")]
    process.output_of(
        ["gcc", "-O1", "-Wall", "-Wextra", "-Wno-format-truncation", "-Werror", "-o", str(built), *sources]
    )
    return built


@dataclass
class Service:
    """A running service and a socket that talks to it."""

    pid: int
    output: IO[str]
    port: int
    tcp_port: int
    ready: str
    client: socket.socket

    def ask(self, request: str) -> str:
        """Send one request and return its answer."""
        self.send(request)
        return self.client.recv(2048).decode()

    def send(self, request: str) -> None:
        """Send one request without reading the answer."""
        self.client.sendto(request.encode(), ("127.0.0.1", self.port))

    def connect(self) -> socket.socket:
        """Open a TCP connection."""
        return socket.create_connection(("127.0.0.1", self.tcp_port), timeout=20)

    def kill(self) -> None:
        """End the service the hard way, as a power cut would."""
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.output.close()
            self.client.close()
            self.pid = 0


@dataclass
class Starter:
    """Starts services on one device file and ends them with the test."""

    program: Path
    device: Path
    running: list[Service]

    def start(self, *extra: str) -> Service:
        """Start the service and wait until it says that it is ready."""
        reader, writer = os.pipe()
        argv = [str(self.program), "--device", str(self.device), "--port", "0", *extra]
        actions = [(os.POSIX_SPAWN_DUP2, writer, 1), (os.POSIX_SPAWN_CLOSE, reader)]
        pid = os.posix_spawn(argv[0], argv, os.environ, file_actions=actions)
        os.close(writer)
        output = os.fdopen(reader, encoding="ascii")
        port, tcp_port = (int(output.readline().strip().rpartition("port=")[2]) for _ in range(2))
        ready = output.readline().strip()
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.settimeout(20)
        service = Service(pid, output, port, tcp_port, ready, client)
        self.running.append(service)
        return service


@pytest.fixture
def starter(program: Path, tmp_path: Path) -> Iterator[Starter]:
    """A starter on an empty device of 64 records."""
    device = tmp_path / "device"
    device.write_bytes(bytes(64 * RECORD_BYTES))
    made = Starter(program, device, [])
    yield made
    for service in made.running:
        service.kill()


def test_records_are_acknowledged_with_their_position(starter: Starter) -> None:
    """Each PUT gets the next index, and GET lists the ids in that order."""
    service = starter.start()
    assert service.ready == "workload ready total=0"
    assert [service.ask(f"PUT id-{n}") for n in range(3)] == [f"OK id-{n} {n}" for n in range(3)]
    assert service.ask("GET 1 10") == "IDS 3 1 id-1 id-2"


def test_ping_tells_boot_and_total(starter: Starter) -> None:
    """PONG repeats the token and tells the number of records; a restart has another boot id."""
    first = starter.start()
    first.ask("PUT one")
    words = first.ask("PING t1").split()
    first.kill()
    again = starter.start().ask("PING t2").split()
    assert words[:2] == ["PONG", "t1"]
    assert words[3] == again[3] == "1"
    assert words[2] != again[2]


def test_acknowledged_records_survive_a_kill(starter: Starter) -> None:
    """A service started again after SIGKILL finds every record that was acknowledged."""
    service = starter.start()
    for number in range(30):
        assert service.ask(f"PUT r{number}") == f"OK r{number} {number}"
    service.kill()
    again = starter.start()
    assert again.ready == "workload ready total=30"
    assert again.ask("GET 0 24") == "IDS 30 0 " + " ".join(f"r{n}" for n in range(24))
    assert again.ask("GET 24 24") == "IDS 30 24 " + " ".join(f"r{n}" for n in range(24, 30))


def test_the_record_on_disk_has_a_checksum_over_all_its_bytes(starter: Starter) -> None:
    """The stored sector carries the id, its index and a CRC-32 in its last four bytes."""
    starter.start().ask("PUT stored")
    sector = starter.device.read_bytes()[:RECORD_BYTES]
    magic, index = struct.unpack_from("<8sQ", sector)
    assert (magic, index) == (b"WORKLOG1", 0)
    assert sector[16:].startswith(b"stored\0")
    assert struct.unpack_from("<I", sector, RECORD_BYTES - 4)[0] == zlib.crc32(sector[:-4])


@pytest.mark.parametrize("offset", [0, 9, 20, 300, 511])
def test_a_torn_record_ends_the_log(starter: Starter, offset: int) -> None:
    """One wrong byte anywhere in a record makes it and what follows it unknown after a restart."""
    service = starter.start()
    for name in ("a", "b", "c"):
        service.ask(f"PUT {name}")
    service.kill()
    content = bytearray(starter.device.read_bytes())
    content[RECORD_BYTES + offset] ^= 0x40
    starter.device.write_bytes(content)
    again = starter.start()
    assert again.ready == "workload ready total=1"
    assert again.ask("PUT d") == "OK d 1"


def test_a_record_at_a_wrong_position_ends_the_log(starter: Starter) -> None:
    """A valid record that belongs elsewhere on the disk is not taken for the next one."""
    service = starter.start()
    service.ask("PUT a")
    service.kill()
    content = bytearray(starter.device.read_bytes())
    content[RECORD_BYTES : 2 * RECORD_BYTES] = content[:RECORD_BYTES]
    starter.device.write_bytes(content)
    assert starter.start().ready == "workload ready total=1"


def test_a_full_device_refuses(starter: Starter) -> None:
    """A PUT beyond the last sector gets ERR, and the records before it stay."""
    starter.device.write_bytes(bytes(2 * RECORD_BYTES))
    service = starter.start()
    assert [service.ask(f"PUT {name}").split()[0] for name in "abc"] == ["OK", "OK", "ERR"]
    assert service.ask("GET 0 9") == "IDS 2 0 a b"


def test_a_failed_write_is_never_acknowledged(starter: Starter) -> None:
    """When the disk refuses a write the answer is ERR and the total does not grow."""
    service = starter.start()
    service.ask("PUT a")
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (RECORD_BYTES, RECORD_BYTES))
    assert service.ask("PUT b").startswith("ERR ")
    assert service.ask("PING t").split()[3] == "1"
    assert service.ask("GET 0 9") == "IDS 1 0 a"


def test_many_waiting_requests_are_answered_in_order(starter: Starter) -> None:
    """Requests that wait together are one batch on disk, and each gets its own answer in order."""
    service = starter.start()
    os.kill(service.pid, signal.SIGSTOP)
    for number in range(40):
        service.send(f"PUT n{number}")
    os.kill(service.pid, signal.SIGCONT)
    assert [service.client.recv(2048).decode() for _ in range(40)] == [f"OK n{n} {n}" for n in range(40)]


@pytest.mark.parametrize(
    "request_text",
    [
        "",
        "PUT",
        "PUT ",
        "PUT a b",
        "PUT " + "x" * 41,
        "PUT ä",
        "GET 1",
        "GET -1 2",
        "GET a b",
        "PING",
        "PING a b",
        "HELLO",
    ],
)
def test_anything_else_is_an_error(starter: Starter, request_text: str) -> None:
    """Requests outside the protocol get ERR and write nothing."""
    service = starter.start()
    assert service.ask(request_text).startswith("ERR ")
    assert service.ask("GET 0 1") == "IDS 0 0"


def test_the_longest_id_is_kept_whole(starter: Starter) -> None:
    """An id of 40 characters is stored and listed unchanged."""
    service = starter.start()
    name = "A.b_9-" + "z" * 34
    assert service.ask(f"PUT {name}") == f"OK {name} 0"
    service.kill()
    assert starter.start().ask("GET 0 1") == f"IDS 1 0 {name}"


def test_without_the_flush_it_still_answers(starter: Starter) -> None:
    """The planted defect changes when data is safe, not what the protocol says."""
    assert starter.start("--nosync").ask("PUT a") == "OK a 0"


def lines(connection: socket.socket, count: int) -> list[str]:
    """The next answers of a TCP connection; fewer when the service ends it."""
    read = b""
    while read.count(b"\n") < count and (data := connection.recv(4096)):
        read += data
    return read.decode().splitlines()


def test_tcp_speaks_the_same_protocol_line_by_line(starter: Starter) -> None:
    """Requests that arrive together or in pieces are answered in order, and both ways lead to one log."""
    service = starter.start()
    with service.connect() as connection:
        connection.sendall(b"PUT a\nPUT b\nPI")
        assert lines(connection, 2) == ["OK a 0", "OK b 1"]
        connection.sendall(b"NG t\nHELLO\n")
        pong, error = lines(connection, 2)
    assert pong.split()[:2] == ["PONG", "t"]
    assert pong.split()[3] == "2"
    assert error.startswith("ERR ")
    assert service.ask("GET 0 9") == "IDS 2 0 a b"


def test_a_client_that_stops_sending_still_gets_its_answers(starter: Starter) -> None:
    """A half-closed connection is answered to the end and then closed."""
    service = starter.start()
    with service.connect() as connection:
        connection.sendall(b"PUT a\nPUT b\nPING torn")
        connection.shutdown(socket.SHUT_WR)
        assert lines(connection, 9) == ["OK a 0", "OK b 1"]


def test_one_round_takes_datagrams_and_lines_in_one_flush(starter: Starter) -> None:
    """What waits together on both ways is one batch: each gets its own place in the log."""
    service = starter.start()
    with service.connect() as one, service.connect() as other:
        os.kill(service.pid, signal.SIGSTOP)
        service.send("PUT datagram")
        one.sendall(b"PUT one\n")
        other.sendall(b"PUT other\n")
        os.kill(service.pid, signal.SIGCONT)
        answers = [service.client.recv(2048).decode(), *lines(one, 1), *lines(other, 1)]
    assert sorted(int(answer.split()[2]) for answer in answers) == [0, 1, 2]


def test_a_failed_write_is_never_acknowledged_over_tcp(starter: Starter) -> None:
    """The rule of the datagrams holds for lines too."""
    service = starter.start()
    resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (0, 0))
    with service.connect() as connection:
        connection.sendall(b"PUT a\n")
        assert lines(connection, 1)[0].startswith("ERR ")
    assert service.ask("GET 0 9") == "IDS 0 0"


def test_a_client_that_reads_nothing_holds_up_nobody(starter: Starter) -> None:
    """It loses its connection when its answers no longer fit, and datagrams are answered meanwhile."""
    service = starter.start()
    with service.connect() as deaf:
        deaf.setblocking(False)
        request = b"PING " + b"x" * 64 + b"\n"
        ended = False
        while not ended:
            try:
                deaf.send(request * 200)
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                ended = True
            assert service.ask("PING t").startswith("PONG t ")


def test_the_client_that_was_silent_for_longest_makes_room(starter: Starter) -> None:
    """More connections than there are places: the newest work, the oldest silent one is closed."""
    service = starter.start()
    connections = [service.connect() for _ in range(65)]
    try:
        for number, connection in enumerate(connections[1:]):
            connection.sendall(f"PUT n{number}\n".encode())
            assert lines(connection, 1) == [f"OK n{number} {number}"]
        assert connections[0].recv(100) == b""
    finally:
        for connection in connections:
            connection.close()


def test_a_line_without_end_is_refused(starter: Starter) -> None:
    """A request longer than any valid one gets ERR and ends its connection."""
    with starter.start().connect() as connection:
        connection.sendall(b"x" * 512)
        (answer,) = lines(connection, 9)
    assert answer.startswith("ERR ")
