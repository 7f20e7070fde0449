"""A certificate authority for development: it signs leaves for names and addresses.

In a directory it keeps `ca.pem` and `ca-key.pem`, and one leaf as `server.pem` and
`server-key.pem`. Keys are made once and linked into place, so that of many processes that begin
together all have the same; certificates are replaced whole.
"""

from __future__ import annotations

import os
import re
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from stepout.errors import SettingsError

__all__ = ["Authority", "KeptLeaf", "Leaf", "new_key"]

_LIFETIME: Final = timedelta(days=397)
"""The longest that browsers accept for a leaf (CA/Browser Forum baseline requirements)."""

_SLACK: Final = timedelta(hours=1)
"""Clocks differ: a certificate is good a little before it is made."""

_LEFT: Final = timedelta(days=30)
"""A certificate on disk that is good for less is made anew."""

CERTIFICATE_FILE: Final = "ca.pem"
KEY_FILE: Final = "ca-key.pem"
"""Holds the certificate, too, so that the two always belong together."""
LEAF_FILE: Final = "server.pem"
LEAF_KEY_FILE: Final = "server-key.pem"


def new_key() -> ec.EllipticCurvePrivateKey:
    """A private key for leaves."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, slots=True)
class Leaf:
    """A certificate with its chain, and its key; both PEM."""

    chain_pem: bytes
    key_pem: bytes = field(repr=False)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Serve a context with this certificate."""
        # ssl reads keys from files only: a private one, gone as soon as it is read.
        handle, name = tempfile.mkstemp()
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(self.key_pem + self.chain_pem)
            context.load_cert_chain(name)
        finally:
            Path(name).unlink()


@dataclass(frozen=True, slots=True)
class KeptLeaf:
    """A server's certificate in a directory."""

    chain: Path
    key: Path
    names: tuple[str, ...]
    ends: datetime
    """Its own end, or that of its authority where that is sooner."""
    is_new: bool


class Authority:
    """A certificate authority; its key stays in memory, unless it is kept in a directory."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def create(cls, common_name: str) -> Authority:
        """A new authority, good for a year and a month."""
        key = new_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        builder = (
            _builder(name, name, key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
        )
        return cls(key, builder.sign(key, hashes.SHA256()))

    @classmethod
    def kept_in(cls, directory: Path, common_name: str, *, is_shared: bool = True) -> Authority:
        """The authority of a directory, made where there is none or it ends within 30 days.

        `ca.pem` is for everyone who is to believe it; `ca-key.pem` is its owner's alone. Raises
        `SettingsError` where they cannot be read, or others can read the key; also where others can
        write the directory, unless it `is_shared`, such as the volume of a pod.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not is_shared:
                _refuse_shared(directory)
            found = _load(directory / KEY_FILE) or _keep(cls.create(common_name), directory)
            _write(directory / CERTIFICATE_FILE, found.certificate_pem, 0o644)
        except OSError as error:
            raise SettingsError(
                f"The certificate authority cannot be kept in {directory}: {error}."
            ) from None
        return found

    @property
    def certificate_pem(self) -> bytes:
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def leaf(
        self,
        *names: str,
        key: ec.EllipticCurvePrivateKey | None = None,
        lifetime: timedelta = _LIFETIME,
    ) -> Leaf:
        """A server's certificate for DNS names and IP addresses, at least one."""
        key = key or new_key()
        issuer_key = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _builder(x509.Name([]), self._certificate.subject, key, lifetime)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(issuer_key, critical=False)
            # Critical, because the subject is empty (RFC 5280, 4.2.1.6).
            .add_extension(x509.SubjectAlternativeName(map(_general_name, names)), critical=True)
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        return Leaf(
            chain_pem=certificate.public_bytes(serialization.Encoding.PEM) + self.certificate_pem,
            key_pem=_pem(key),
        )

    def leaf_kept_in(self, directory: Path, *names: str) -> KeptLeaf:
        """The server's certificate of a directory, made anew where it does not do.

        It does for 30 days more, for these names among others, signed by this authority. Its key
        stays the same, so that the new certificate fits it at every moment. Raises `SettingsError`
        as `kept_in` does for a directory that is not shared.
        """
        wanted = tuple(dict.fromkeys(map(_plain, names)))
        chain, path = directory / LEAF_FILE, directory / LEAF_KEY_FILE
        try:
            _refuse_shared(directory)
            key = _leaf_key(path)
            found = _certificate(chain)
            is_new = found is None or not self._does(found, chain, key, wanted)
            if found is None or is_new:
                pem = self.leaf(*wanted, key=key).chain_pem
                _write(chain, pem, 0o644)
                found = x509.load_pem_x509_certificate(pem)
        except OSError as error:
            raise SettingsError(
                f"The server's certificate cannot be kept in {directory}: {error}."
            ) from None
        ends = min(found.not_valid_after_utc, self._certificate.not_valid_after_utc)
        return KeptLeaf(chain, path, _names(found), ends, is_new)

    def _does(
        self,
        leaf: x509.Certificate,
        chain: Path,
        key: ec.EllipticCurvePrivateKey,
        names: tuple[str, ...],
    ) -> bool:
        """Whether a certificate on disk need not be made anew."""
        return (
            leaf.not_valid_after_utc >= datetime.now(UTC) + _LEFT
            and leaf.public_key() == key.public_key()
            and set(names) <= set(_names(leaf))
            and _is_signed_by(leaf, self._certificate)
            and chain.read_bytes().endswith(self.certificate_pem)
        )

    def server_context(
        self,
        *names: str,
        key: ec.EllipticCurvePrivateKey | None = None,
        lifetime: timedelta = _LIFETIME,
    ) -> ssl.SSLContext:
        """A TLS context of a server for names and addresses."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.leaf(*names, key=key, lifetime=lifetime).load_into(context)
        return context


def _refuse_shared(directory: Path) -> None:
    """Refuse a directory in which others could put certificates of their own to be believed."""
    # Windows has no such modes.
    if os.name != "posix":
        return
    status, link = directory.stat(), directory.lstat()
    if status.st_mode & 0o022 or {status.st_uid, link.st_uid} - {os.geteuid()}:
        raise SettingsError(
            f"Expected the directory {directory} to be this user's and writable by nobody else "
            f"(mode 0700 or 0755), found mode {status.st_mode & 0o7777:04o} and the user "
            f"{status.st_uid}: others could put their own certificates there."
        )


def _private(path: Path) -> bytes | None:
    """What is in a key's file; None where it is missing."""
    try:
        with path.open("rb") as file:
            pem, status = file.read(), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    mode = status.st_mode & 0o777
    if os.name == "posix" and (mode & 0o077 or status.st_uid != os.geteuid()):
        raise SettingsError(
            f"Expected the key {path} to be this user's and readable by nobody else (mode 0600), "
            f"found mode {mode:04o} and the user {status.st_uid}: others may have it. Delete it, "
            "and a new one is made."
        )
    return pem


def _load(path: Path) -> Authority | None:
    """The authority in a file of key and certificate; None where it is missing or nearly over."""
    pem = _private(path)
    if pem is None:
        return None
    key = _parsed(pem)
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        key = None
    if key is None:
        raise SettingsError(
            f"Expected {path} to hold the key and the certificate of an authority that stepout "
            "made, found something else. Delete it, and a new one is made."
        )
    if certificate.not_valid_after_utc < datetime.now(UTC) + _LEFT:
        path.unlink(missing_ok=True)
        return None
    return Authority(key, certificate)


def _parsed(pem: bytes) -> ec.EllipticCurvePrivateKey | None:
    """A key such as `new_key` makes; None where it is another, or none."""
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):
        return None
    return key if isinstance(key, ec.EllipticCurvePrivateKey) else None


def _leaf_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """The key of a directory's leaf, made where it is missing."""
    pem = _private(path)
    if pem is None:
        draft = _draft(path, _pem(new_key()), 0o600)
        try:
            os.link(draft, path)
        except FileExistsError:
            """Another process has made it meanwhile."""
        finally:
            draft.unlink()
        pem = _private(path) or b""
    key = _parsed(pem)
    if key is None:
        raise SettingsError(
            f"Expected {path} to hold a key that stepout made, found something else. Delete it, "
            "and a new one is made."
        )
    return key


def _certificate(path: Path) -> x509.Certificate | None:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None


def _is_signed_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(
        str(name.value) for name in names if isinstance(name, x509.DNSName | x509.IPAddress)
    )


def _plain(name: str) -> str:
    """A DNS name or address in the one form that certificates have."""
    try:
        return str(ip_address(name))
    except ValueError:
        pass
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"Expected a DNS name such as api.example.com, or an IP address, found {name!r}."
        )
    return name.lower()


_NAME: Final = re.compile(r"(?=.{1,253}\Z)(\*\.)?([A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}")


def _keep(authority: Authority, directory: Path) -> Authority:
    """Store an authority, or give the one that another process has stored meanwhile."""
    path = directory / KEY_FILE
    draft = _draft(path, _pem(authority._key) + authority.certificate_pem, 0o600)  # noqa: SLF001
    try:
        os.link(draft, path)
    except FileExistsError:
        found = _load(path)
        if found is None:
            raise SettingsError(
                f"Expected the key {path} to be a file, found a link to nowhere. Delete it."
            ) from None
        return found
    finally:
        draft.unlink()
    return authority


def _write(path: Path, content: bytes, mode: int) -> None:
    """Put a file in its place at once, so that nobody reads half of it."""
    if not path.exists() or path.read_bytes() != content:
        _draft(path, content, mode).replace(path)


def _draft(path: Path, content: bytes, mode: int) -> Path:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        draft.chmod(mode)
    except BaseException:
        draft.unlink()
        raise
    return draft


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    lifetime: timedelta = _LIFETIME,
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SLACK)
        .not_valid_after(now + lifetime)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
