"""TLS for clients: one context per gateway, from its file alone.

Neither `SSL_CERT_FILE` nor `REQUESTS_CA_BUNDLE` nor `SSLKEYLOGFILE` of the environment is looked at.
"""

import ssl
import stat
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

# Where the systems keep their authorities, after the place that OpenSSL was built for.
_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine, Arch
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # openSUSE
    "/etc/ssl/cert.pem",  # BSD, macOS
)


class TlsFileError(Exception):
    """A file of the TLS settings that cannot be used: `key` names the setting, the text says why."""

    def __init__(self, key: str, why: str) -> None:
        self.key = key
        super().__init__(why)


@dataclass(frozen=True)
class Tls:
    """TLS settings. With a `ca_file` its authorities alone are trusted, else those of the system."""

    verify: bool = True
    ca_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None  # None: it stands in the file of the certificate

    @property
    def needs_files(self) -> bool:
        """Whether the settings name a file."""
        return bool(self.ca_file or self.client_cert)

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The context, made when first asked for. Raises TlsFileError."""
        if not self.needs_files:
            return _plain_context(self.verify)
        context = _new_context(verify=self.verify)
        self._trust(context)
        self._identify(context)
        return context

    def _trust(self, context: ssl.SSLContext) -> None:
        if self.ca_file is None:
            load_system_authorities(context)
            return
        _look_at("ca_file", self.ca_file)
        try:
            context.load_verify_locations(cafile=self.ca_file)
        except ssl.SSLError:
            raise TlsFileError("ca_file", f"{self.ca_file}: no certificate in PEM format") from None
        except OSError as error:
            raise TlsFileError("ca_file", f"{self.ca_file}: {error.strerror}") from error

    def _identify(self, context: ssl.SSLContext) -> None:
        if self.client_cert is None:
            return
        for key, path in (("client_cert", self.client_cert), ("client_key", self.client_key)):
            _look_at(key, path)
        try:
            # an empty password: OpenSSL would ask for one on the terminal
            context.load_cert_chain(self.client_cert, self.client_key, password="")
        except (ssl.SSLError, ValueError) as error:
            why = getattr(error, "reason", None) or "no certificate and key in PEM format"
            key = "client_key" if self.client_key else "client_cert"
            raise TlsFileError(key, f"{why.replace('_', ' ').lower()} (an encrypted key cannot be used)") from None


def load_system_authorities(context: ssl.SSLContext) -> None:
    """Trust what the system trusts; without any such list, what the package certifi brings."""
    paths = ssl.get_default_verify_paths()
    files = [path for path in (paths.openssl_cafile, *_BUNDLES) if Path(path).is_file()]
    folder = paths.openssl_capath if _has_certificates(paths.openssl_capath) else None
    if not files and not folder:
        import certifi  # noqa: PLC0415 - needed on few systems

        files = [certifi.where()]
    context.load_verify_locations(cafile=files[0] if files else None, capath=folder)


def _has_certificates(folder: str) -> bool:
    return Path(folder).is_dir() and any(Path(folder).glob("*.0"))  # OpenSSL finds them by hash names


def _look_at(key: str, path: Path | None) -> None:
    try:
        if path is not None:
            if not stat.S_ISREG(path.stat().st_mode):  # a FIFO would be waited for, a device may have no end
                raise TlsFileError(key, f"{path}: it is no file")
            path.open("rb").close()
    except OSError as error:
        raise TlsFileError(key, f"{path}: {error.strerror}") from error


def _new_context(*, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


@lru_cache(maxsize=2)
def _plain_context(verify: bool) -> ssl.SSLContext:  # shared: to read the system's list takes 20 ms
    context = _new_context(verify=verify)
    if verify:
        load_system_authorities(context)
    return context
