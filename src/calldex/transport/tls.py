"""The certificate of the public port: looked at before it is used, and read again while the server runs.

Versions and ciphers are what current browsers and clients of the last ten years speak; there is nothing to set.
"""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import structlog
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from calldex.clock import now
from calldex.errors import BadSettings, Problem
from calldex.settings import Settings

WARN_BEFORE: Final = timedelta(days=14)
FILE_LIMIT: Final = 1 << 20
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2; those of 1.3 are all good. All keep what was recorded secret when the key is lost later."""
_log = structlog.get_logger(__name__)


class Certificate:
    """A certificate with its key, from two files. `context` is for the server and always uses what was read last;
    `ends_at` is when that ends."""

    def __init__(self, cert: Path, key: Path) -> None:
        """Read both; `BadSettings` says which file is wrong, and how."""
        self._cert, self._key = cert, key
        self._current, self.ends_at = _context(cert, key)
        self.context = self._current
        self.context.sni_callback = self._use_current

    @classmethod
    def of(cls, settings: Settings) -> Certificate | None:
        """The one that the settings name; None without. `BadSettings` if only one of both files is named."""
        cert, key = settings.tls_cert, settings.tls_key
        if cert is not None and key is not None:
            return cls(cert, key)
        for missing, other in (("tls_cert", key), ("tls_key", cert)):
            if other is not None:
                raise BadSettings([Problem(missing, "", "is missing", "tls_cert and tls_key, or neither")])
        return None

    def reload(self) -> None:
        """Read both files again, for connections that begin from now on; `BadSettings` changes nothing."""
        self._current, self.ends_at = _context(self._cert, self._key)

    def _use_current(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        # A context of its own for each reading: into one that is in use, a bad pair would be read half, and a
        # certificate of another kind (RSA, EC) would come beside the old one instead of replacing it.
        connection.context = self._current


def _context(cert: Path, key: Path) -> tuple[ssl.SSLContext, datetime]:
    """The context of both files, and when the certificate ends."""
    ends_at = _check(cert, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:
        raise _bad("tls_cert", cert, f"cannot be used: {error}") from None
    return context, ends_at


def _check(cert: Path, key: Path) -> datetime:
    """Find what is wrong with the files, in words; the system's own library says no more than that something is. When
    the certificate ends."""
    try:
        certificate = x509.load_pem_x509_certificates(_bytes("tls_cert", cert))[0]
    except ValueError:
        raise _bad(
            "tls_cert", cert, "holds no certificate", "a PEM file, with the server's own certificate first"
        ) from None
    try:
        private = load_pem_private_key(_bytes("tls_key", key), None)
    except TypeError:
        raise _bad("tls_key", key, "is encrypted", "a PEM file with a private key that needs no password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _bad("tls_key", key, "holds no private key", "a PEM file with the private key") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise _bad("tls_key", key, f"is not the key of the certificate in {cert}", "the key that was made with it")
    begin, end, at = certificate.not_valid_before_utc, certificate.not_valid_after_utc, now()
    if at >= end:
        raise _bad("tls_cert", cert, f"expired at {end:%Y-%m-%d %H:%M:%S}Z", "a certificate that is valid now")
    if at < begin:
        raise _bad(
            "tls_cert", cert, f"is not valid before {begin:%Y-%m-%d %H:%M:%S}Z", "a certificate that is valid now"
        )
    if end - at < WARN_BEFORE:
        _log.warning("certificate_expires_soon", file=str(cert), at=f"{end:%Y-%m-%d %H:%M:%S}Z")
    return end


def _bytes(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(FILE_LIMIT)
    except OSError as error:
        raise _bad(setting, path, f"cannot be read: {error.strerror}", "a PEM file") from None


def _bad(setting: str, path: Path, message: str, valid: str = "") -> BadSettings:
    return BadSettings([Problem(setting, str(path)[:1000], message, valid)])
