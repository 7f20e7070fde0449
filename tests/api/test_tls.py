"""New handshakes get the certificate that is on the disk; open connections stay."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from stepout.api.tls import Certificate
from stepout.certificates import Authority
from stepout.errors import SettingsError

NAME = "api.example.com"


class Files:
    """A chain and its key on the disk."""

    def __init__(self, directory: Path) -> None:
        self.chain, self.key = directory / "chain.pem", directory / "key.pem"
        self.authority = Authority.create("one")
        self.write()

    def write(self) -> None:
        leaf = self.authority.leaf(NAME)
        self.chain.write_bytes(leaf.chain_pem)
        self.key.write_bytes(leaf.key_pem)

    @property
    def serial(self) -> int:
        return x509.load_pem_x509_certificate(self.chain.read_bytes()).serial_number

    def load(self) -> Certificate:
        return Certificate(self.chain, self.key)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@asynccontextmanager
async def serving(certificate: Certificate) -> AsyncIterator[int]:
    """An echo server over TLS; its port."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(line)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=certificate.context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


class Peer:
    """An open connection to such a server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        der = tls.getpeercert(binary_form=True)
        assert der is not None
        self.serial = x509.load_der_x509_certificate(der).serial_number
        self.protocol = tls.selected_alpn_protocol()

    async def echo(self, line: bytes) -> bytes:
        self._writer.write(line)
        return await self._reader.readline()

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


async def connect(port: int, *, name: str | None = NAME, version: str = "TLSv1_3") -> Peer:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion[version]
    context.set_alpn_protocols(["h2", "http/1.1"])
    # An address is no server's name: none is sent.
    return Peer(
        *await asyncio.open_connection(
            "127.0.0.1", port, ssl=context, server_hostname=name or "127.0.0.1"
        )
    )


async def reload(certificate: Certificate) -> bool:
    await certificate.files.check()
    return await certificate.files.check()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
@pytest.mark.parametrize("name", [NAME, "other.example", None])
async def test_new_handshakes_get_the_new_certificate_and_open_connections_stay(
    files: Files, name: str | None, version: str
) -> None:
    certificate = files.load()
    async with serving(certificate) as port:
        before = await connect(port, name=name, version=version)
        assert before.serial == files.serial
        files.write()
        assert await reload(certificate)
        after = await connect(port, name=name, version=version)
        assert after.serial == files.serial != before.serial
        assert after.protocol == before.protocol == "http/1.1"
        assert await before.echo(b"still here\n") == b"still here\n"
        assert await after.echo(b"new\n") == b"new\n"
        await before.close()
        await after.close()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_another_type_of_key_replaces_the_old_one_altogether(
    files: Files, version: str
) -> None:
    """OpenSSL keeps one certificate for each type of key in a context, and prefers one of them."""
    certificate = files.load()
    async with serving(certificate) as port:
        key = rsa.generate_private_key(65_537, 2_048)
        leaf = x509.load_pem_x509_certificate(files.chain.read_bytes())
        signed = (
            x509.CertificateBuilder()
            .subject_name(leaf.issuer)
            .issuer_name(leaf.issuer)
            .public_key(key.public_key())
            .serial_number(4_711)
            .not_valid_before(leaf.not_valid_before_utc)
            .not_valid_after(leaf.not_valid_after_utc)
            .sign(key, hashes.SHA256())
        )
        files.chain.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        files.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        assert await reload(certificate)
        peer = await connect(port, version=version)
        assert peer.serial == 4_711
        await peer.close()


@pytest.mark.parametrize("fault", ["half", "mismatch", "missing", "empty"])
async def test_a_pair_that_does_not_fit_keeps_the_old_one_and_is_told_in_one_line(
    files: Files, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    certificate, serial = files.load(), files.serial
    key = files.key.read_bytes()
    files.write()
    match fault:
        case "half":
            files.chain.write_bytes(files.chain.read_bytes()[:200])
        case "mismatch":
            files.key.write_bytes(key)
        case "missing":
            files.key.unlink()
        case _:
            files.chain.write_bytes(b"")
    with caplog.at_level(logging.INFO, "stepout.reload"):
        for _ in range(4):
            assert not await certificate.files.check()
    (record,) = caplog.records
    assert record.getMessage() == "not reloaded"
    reason = vars(record)["fields"]["reason"]
    assert f"The certificate {files.chain} and key {files.key} cannot be loaded: " in reason
    assert "\n" not in reason
    async with serving(certificate) as port:
        peer = await connect(port)
        assert peer.serial == serial
        await peer.close()
        files.write()
        assert await reload(certificate)
        peer = await connect(port)
        assert peer.serial == files.serial
        await peer.close()


async def test_a_pair_that_is_written_one_after_the_other_is_taken_without_a_word(
    files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = files.load()
    leaf = files.authority.leaf(NAME)
    with caplog.at_level(logging.INFO, "stepout.reload"):
        files.chain.write_bytes(leaf.chain_pem)
        assert not await certificate.files.check()
        files.key.write_bytes(leaf.key_pem)
        assert await reload(certificate)
    assert [record.getMessage() for record in caplog.records] == ["reloaded"]


def test_at_the_start_a_pair_that_does_not_fit_is_an_error(files: Files) -> None:
    files.key.write_bytes(Authority.create("other").leaf(NAME).key_pem)
    with pytest.raises(SettingsError, match="cannot be loaded: .*mismatch"):
        files.load()


def test_nobody_is_asked_for_the_password_of_a_key(files: Files) -> None:
    key = serialization.load_pem_private_key(files.key.read_bytes(), None)
    files.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"sesame"),
        )
    )
    with pytest.raises(SettingsError, match="the key is encrypted, and a server cannot ask"):
        files.load()
