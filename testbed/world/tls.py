"""The service centre's identity: a small certificate authority and one server certificate, made once and kept.

Nodes restored from a snapshot have an old wall clock, so the certificate must be older than the snapshot: it is
backdated, valid for ten years, and its `fingerprint` belongs into the key of every snapshot. It must never publish a
half-made set of files, and never keep the authority's own key: nothing else may ever be signed with it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from testbed.errors import HostError
from testbed.process import run

CENTRE_ADDRESS = "10.77.0.4"
AUTHORITY, CERTIFICATE, KEY = "authority.pem", "server.pem", "server.key"
BACKDATED = timedelta(days=2)
VALID = timedelta(days=3652)
OPENSSL_S = 20.0

_CONFIG = """
[ca]
default_ca = site
[site]
database = {directory}/index.txt
new_certs_dir = {directory}
unique_subject = no
rand_serial = yes
default_md = sha256
policy = any
x509_extensions = server
[any]
commonName = supplied
[req]
distinguished_name = name
prompt = no
[name]
commonName = Service centre of the test bed
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
subjectAltName = IP:{address}
"""


@dataclass(frozen=True)
class Credentials:
    """The files of the service centre; `fingerprint` changes whenever a node would have to trust something new."""

    directory: Path
    fingerprint: str

    @property
    def authority(self) -> Path:
        """The PEM file that a node must trust."""
        return self.directory / AUTHORITY

    def server_context(self) -> ssl.SSLContext:
        """A fresh context for the service centre's side."""
        return _server_context(self.directory)

    def client_context(self) -> ssl.SSLContext:
        """A fresh context that trusts this authority and nothing else."""
        return ssl.create_default_context(cafile=str(self.authority))


async def ensure_credentials(cache: Path, *, address: str = CENTRE_ADDRESS, say: Callable[[str], None]) -> Credentials:
    """Give the credentials in `<cache>/service-centre/`, making them when they are missing or unusable.

    Two callers at once are safe; both get the set that was published first. `say` gets a sentence when files are made.
    """
    directory = cache / "service-centre"
    damage = _damage(directory, address)
    if damage is None:
        return _credentials(directory)
    work = _work_directory(cache)
    try:
        made = work / "made"
        await _make(work, made, address)
        fresh = _damage(made, address)
        if fresh is not None:
            raise HostError(
                f"openssl made an unusable certificate: {fresh}. Nothing was kept. Check openssl and the host's clock."
            )
        damage = _damage(directory, address)  # another process may have published meanwhile
        if damage is not None:
            _publish(made, directory, work / "old")
            say(
                f"Made new credentials of the service centre in {directory}, because {damage}. "
                "Snapshots that know older ones are not used any more."
            )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return _credentials(directory)


def _work_directory(cache: Path) -> Path:
    cache.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=".service-centre-", dir=cache))


def _publish(made: Path, directory: Path, aside: Path) -> None:
    try:
        if directory.exists():
            directory.rename(aside)
        made.rename(directory)
    except OSError as error:
        if not directory.exists():
            raise HostError(
                f"{directory} could not be written: {error}. Nothing is there now. Check the directory's owner."
            ) from error
        # another process published between the two steps: its set is as good as ours


def _credentials(directory: Path) -> Credentials:
    digest = hashlib.sha256()
    for name in (AUTHORITY, CERTIFICATE):
        digest.update(ssl.PEM_cert_to_DER_cert((directory / name).read_text()))
    return Credentials(directory, digest.hexdigest())


def _server_context(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(directory / CERTIFICATE, directory / KEY)
    return context


def _damage(directory: Path, address: str) -> str | None:
    """What is wrong with the files, or None after a complete handshake between a trusting client and the server."""
    if not directory.exists():
        return "there were none"
    for name in (AUTHORITY, CERTIFICATE, KEY):
        if not (directory / name).is_file():
            return f"{name} was missing"
    if (directory / KEY).stat().st_mode & 0o077:
        return f"{KEY} could be read by other users"
    try:
        client = ssl.create_default_context(cafile=str(directory / AUTHORITY))
        _handshake(client, _server_context(directory), address)
    except (ssl.SSLError, ValueError, OSError) as error:
        return f"the files there did not work ({error})"
    return None


def _handshake(client: ssl.SSLContext, server: ssl.SSLContext, address: str) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=address),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(8):  # far more than the flights of a handshake
        for end in tuple(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
    if ends:
        raise ssl.SSLError("the handshake did not come to an end")


def _prepare(work: Path, made: Path, address: str) -> Path:
    made.mkdir(mode=0o700)
    (work / "index.txt").touch()
    config = work / "openssl.cnf"
    config.write_text(_CONFIG.format(directory=work, address=address))
    return config


async def _make(work: Path, made: Path, address: str) -> None:
    config = _prepare(work, made, address)
    now = datetime.now(UTC)
    dates = [f"{moment:%Y%m%d%H%M%SZ}" for moment in (now - BACKDATED, now + VALID)]
    authority_key = work / "authority.key"  # stays in the work directory, which is removed
    # `ca` and not `x509`: only it can set the first day of validity in OpenSSL 3.0
    for subject, key, output, extra in (
        ("Authority of the test bed", authority_key, made / AUTHORITY, ["-selfsign", "-extensions", "authority"]),
        (address, made / KEY, made / CERTIFICATE, ["-cert", str(made / AUTHORITY), "-extensions", "server"]),
    ):
        request = work / "request.pem"
        curve = ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]  # cheap: the client's side is emulated
        await _openssl("genpkey", *curve, "-out", str(key))
        key.chmod(0o600)
        names = ["-config", str(config), "-subj", f"/CN={subject}"]
        await _openssl("req", "-new", *names, "-key", str(key), "-out", str(request))
        files = ["-config", str(config), "-keyfile", str(authority_key), "-in", str(request), "-out", str(output)]
        await _openssl("ca", "-batch", "-notext", "-startdate", dates[0], "-enddate", dates[1], *files, *extra)
    for path in (made / AUTHORITY, made / CERTIFICATE, made / KEY, made):
        _sync(path)


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


async def _openssl(*arguments: str) -> None:
    await run(["openssl", *arguments], timeout_s=OPENSSL_S)
