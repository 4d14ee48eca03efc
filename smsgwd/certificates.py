"""What a TLS listener shows of itself: a certificate and its key, from files that somebody else renews."""

import hashlib
import os
import re
import ssl
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_MAX_OCTETS = 1 << 20  # of a chain, or of a key
_CERTIFICATE = re.compile(rb"-----BEGIN (?:TRUSTED |X509 )?CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN (ENCRYPTED |)(?:[A-Z0-9]+ )?PRIVATE KEY-----")


class CertificateError(Exception):
    """A file that cannot be used: `key` names its setting, the text says why."""

    def __init__(self, key: str, why: str) -> None:
        self.key = key
        super().__init__(why)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate with its key. Equal ones are made of equal files."""

    digest: str = field(repr=False)
    context: ssl.SSLContext = field(compare=False, repr=False)

    @classmethod
    def load(cls, cert_file: Path, key_file: Path) -> Self:
        """What the files hold (PEM; the certificate, with those that it needs above it). Raises CertificateError."""
        chain, key = _read("cert_file", cert_file), _read("key_file", key_file)
        if not _CERTIFICATE.search(chain):
            raise CertificateError("cert_file", f"{cert_file}: no certificate in PEM format")
        found = _KEY.search(key)
        if not found:
            raise CertificateError("key_file", f"{key_file}: no private key in PEM format")
        if found[1] or b"Proc-Type: 4,ENCRYPTED" in key:
            raise CertificateError("key_file", f"{key_file}: the key is encrypted, and nobody is there to be asked")
        return cls(hashlib.sha256(chain + b"\0" + key).hexdigest(), _context(cert_file, key_file))


def _read(key: str, path: Path) -> bytes:
    try:
        # O_NONBLOCK: a FIFO in the place of the file must not stop a reload
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise CertificateError(key, f"{path}: not a file")
            data = file.read(_MAX_OCTETS + 1)
    except OSError as error:
        raise CertificateError(key, f"{path}: {error.strerror}") from None
    if len(data) > _MAX_OCTETS:
        raise CertificateError(key, f"{path}: larger than 1 MiB")
    return data


def _context(cert_file: Path, key_file: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        # an empty password: OpenSSL would ask for one on the terminal
        context.load_cert_chain(cert_file, key_file, password="")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or ""
        if "MISMATCH" in reason:
            raise CertificateError("key_file", f"{key_file}: not the key of the certificate") from None
        raise _spoilt(cert_file, key_file) from None
    except OSError as error:  # it went away between two readings
        raise CertificateError("cert_file", f"{cert_file}: {error.strerror}") from None
    return context


def _spoilt(cert_file: Path, key_file: Path) -> CertificateError:
    """Which of the two files OpenSSL does not understand: it does not say so itself."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cert_file)
    except (OSError, ValueError):
        return CertificateError("cert_file", f"{cert_file}: the certificate is damaged, or too weak for TLS")
    return CertificateError("key_file", f"{key_file}: the key is damaged, or too weak for TLS")
