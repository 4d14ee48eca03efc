"""TLS settings: which files are taken, which are refused with a reason, and nothing of the environment."""

import asyncio
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from fake_http import ENGINES, OK, RawServer, answers, engine

from smsgwd.errors import SubmitError
from smsgwd.outcome import Reason
from smsgwd.providers._net.tls import Tls, TlsFileError, load_system_authorities


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority."""
    return trustme.CA()


@pytest.fixture
def pems(authority: trustme.CA, tmp_path: Path) -> Path:
    """A folder with all sorts of files."""
    client = authority.issue_cert("client.example.com")
    other = authority.issue_cert("other.example.com")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    client.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "both.pem"))
    other.private_key_pem.write_to_path(str(tmp_path / "other-key.pem"))
    key = serialization.load_pem_private_key(client.private_key_pem.bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    (tmp_path / "locked.pem").write_bytes(locked)
    (tmp_path / "empty.pem").write_text("")
    return tmp_path


@pytest.mark.parametrize(
    "names",
    [
        {},
        {"ca_file": "ca.pem"},
        {"client_cert": "cert.pem", "client_key": "key.pem"},
        {"client_cert": "both.pem"},
        {"ca_file": "ca.pem", "client_cert": "both.pem"},
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_files_that_fit(pems: Path, names: dict[str, str], verify: bool) -> None:
    """Each sensible combination gives a context that verifies, host names too, or does not."""
    context = Tls(verify=verify, **{key: pems / name for key, name in names.items()}).context
    assert context.verify_mode is (ssl.CERT_REQUIRED if verify else ssl.CERT_NONE)
    assert context.check_hostname is verify
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@pytest.mark.parametrize(
    ("names", "key", "why"),
    [
        ({"ca_file": "none.pem"}, "ca_file", "No such file"),
        ({"ca_file": "key.pem"}, "ca_file", "no certificate in PEM format"),
        ({"ca_file": "empty.pem"}, "ca_file", "no certificate in PEM format"),
        ({"ca_file": "."}, "ca_file", "."),
        ({"client_cert": "none.pem"}, "client_cert", "No such file"),
        ({"client_cert": "empty.pem"}, "client_cert", "cannot be used"),
        ({"client_cert": "cert.pem"}, "client_cert", "cannot be used"),
        ({"client_cert": "cert.pem", "client_key": "none.pem"}, "client_key", "No such file"),
        ({"client_cert": "cert.pem", "client_key": "other-key.pem"}, "client_key", "key values mismatch"),
        ({"client_cert": "cert.pem", "client_key": "locked.pem"}, "client_key", "encrypted"),
    ],
)
def test_files_that_do_not_fit(pems: Path, names: dict[str, str], key: str, why: str) -> None:
    """A file that cannot be used is told with its setting; an encrypted key is refused, and nobody is asked."""
    tls = Tls(True, **{name: pems / value for name, value in names.items()})
    with pytest.raises(TlsFileError, match=why) as caught:
        _ = tls.context
    assert caught.value.key == key


@pytest.mark.parametrize("choice", ENGINES)
def test_a_file_that_vanished_is_unsent(choice: str, pems: Path) -> None:
    """A file that is gone when the first message comes is a fault of the configuration: nothing left."""

    async def go(server: RawServer) -> object:
        async with engine(choice, server.endpoint(scheme="https", tls=Tls(ca_file=pems / "gone.pem"))) as sends:
            return await sends.one()

    with RawServer(answers(OK)) as server:
        result = asyncio.run(go(server))
    assert isinstance(result, SubmitError)
    assert (result.handed_over, result.reason, result.retryable) == (False, Reason.CONFIG, False)


def test_the_systems_authorities(monkeypatch: pytest.MonkeyPatch, pems: Path) -> None:
    """The system's list is loaded, whatever the environment says."""
    monkeypatch.setenv("SSL_CERT_FILE", str(pems / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(pems))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    load_system_authorities(context)
    assert context.cert_store_stats()["x509_ca"] > 10
