"""The service centre's identity: a small certificate authority and one server certificate, made once and kept.

Nodes restored from a snapshot have an old wall clock, so the certificate must be older than the snapshot: it is
backdated, valid for ten years, and its `fingerprint` belongs into the key of every snapshot. It must never publish a
half-made set of files, and never keep the authority's own key: nothing else may ever be signed with it. The only file
that imports cryptography (docs/decisions/0021-libraries-of-the-checks.md).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import ssl
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from testbed.errors import HostError
from testbed.topology import Topology

CENTRE_ADDRESS = Topology().centre
AUTHORITY, CERTIFICATE, KEY = "authority.pem", "server.pem", "server.key"
BACKDATED = timedelta(days=2)
VALID = timedelta(days=3652)


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


def ensure_credentials(cache: Path, *, address: str = CENTRE_ADDRESS, say: Callable[[str], None]) -> Credentials:
    """Give the credentials in `<cache>/service-centre/`, making them when they are missing or unusable.

    Two callers at once are safe; both get the set that was published first. `say` gets a sentence when files are made.
    """
    directory = cache / "service-centre"
    if _damage(directory, address) is None:
        return _credentials(directory)
    cache.mkdir(parents=True, exist_ok=True)
    with _alone(cache):
        damage = _damage(directory, address)  # somebody else may have published while this one waited
        if damage is not None:
            _replace(cache, directory, address)
            say(
                f"Made new credentials of the service centre in {directory}, because {damage}. "
                "Snapshots that know older ones are not used any more."
            )
        return _credentials(directory)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Let one caller at a time look and publish, in this process or another; a lock ends with its owner (flock(2))."""
    lock = os.open(cache, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _replace(cache: Path, directory: Path, address: str) -> None:
    work = Path(tempfile.mkdtemp(prefix=".service-centre-", dir=cache))
    try:
        made = work / "made"
        _make(made, address)
        fresh = _damage(made, address)
        if fresh is not None:
            raise HostError(f"The new certificate cannot be used: {fresh}. Nothing was kept. Check the host's clock.")
        _publish(made, directory, work / "old")
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _publish(made: Path, directory: Path, aside: Path) -> None:
    try:
        if directory.exists():
            directory.rename(aside)
        made.rename(directory)
    except OSError as error:
        raise HostError(
            f"{directory} could not be written: {error}. What was there is not used. Check the directory's owner."
        ) from error


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


def _make(made: Path, address: str) -> None:
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))  # cheap: a client is emulated
    authority = _signed("Authority of the test bed", authority_key.public_key(), authority_key, None)
    server = _signed(address, key.public_key(), authority_key, authority)
    made.mkdir(mode=0o700)
    (made / AUTHORITY).write_bytes(authority.public_bytes(Encoding.PEM))
    (made / CERTIFICATE).write_bytes(server.public_bytes(Encoding.PEM))
    (made / KEY).touch(mode=0o600)  # before it has contents
    (made / KEY).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    for path in (made / AUTHORITY, made / CERTIFICATE, made / KEY, made):
        _sync(path)


def _signed(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    signer: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
) -> x509.Certificate:
    """A certificate: without an issuer that of the authority itself, otherwise that of a server at this address."""
    now = datetime.now(UTC)
    constraints = x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name if issuer is None else issuer.subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + VALID)
        .add_extension(constraints, critical=True)
        .add_extension(_usage(is_authority=issuer is None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if issuer is not None:
        of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address(subject))])
        builder = (
            builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(of_issuer, critical=False)
            .add_extension(names, critical=False)
        )
    return builder.sign(signer, hashes.SHA256())


def _usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority, key_cert_sign=is_authority, content_commitment=False, crl_sign=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
