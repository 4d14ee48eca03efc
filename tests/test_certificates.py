"""Certificates of TLS listeners: what cannot be used is told at its place, and spoils nothing else."""

import os
from pathlib import Path

import pytest
import trustme
from command import run
from cryptography.hazmat.primitives import serialization

from smsgwd.certificates import Certificate
from smsgwd.compile import compile_site
from smsgwd.errors import Problem, Severity
from smsgwd.load import load
from smsgwd.registry import SiteConfig

TEXT = """\
listen:
  - tcp: 127.0.0.1:8443
    tls: {cert_file: cert.pem, key_file: key.pem}
    allow: [send]
"""


@pytest.fixture(scope="module")
def issued() -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


@pytest.fixture
def folder(tmp_path: Path, issued: trustme.LeafCert) -> Path:
    """A certificate and its key, as they should be."""
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    (tmp_path / "key.pem").chmod(0o640)
    (tmp_path / "smsgwd.yaml").write_text(TEXT)
    return tmp_path


def compiled(folder: Path, *, resolve: bool = True) -> tuple[SiteConfig, tuple[Problem, ...], set[Path]]:
    """smsgwd.yaml there, its findings, and the files that were looked at."""
    files: set[Path] = set()
    config, problems = compile_site(load(TEXT.encode(), "smsgwd.yaml"), folder, resolve=resolve, files=files)
    assert config is not None
    return config, problems, files


def test_a_good_certificate_is_taken(folder: Path, issued: trustme.LeafCert) -> None:
    """Equal files make equal certificates, so that a reload sees what has changed; both files are watched."""
    config, problems, files = compiled(folder)
    first = config.listen[0].certificate
    assert problems == ()
    assert first is not None
    assert first == compiled(folder)[0].listen[0].certificate
    assert files == {folder / "cert.pem", folder / "key.pem"}
    (folder / "cert.pem").write_bytes(issued.cert_chain_pems[0].bytes() + b"\n")
    assert compiled(folder)[0].listen[0].certificate != first
    assert "PRIVATE" not in repr(config)


def test_a_plain_check_reads_no_certificate(folder: Path) -> None:
    """As with secrets: a repository has none."""
    (folder / "key.pem").unlink()
    config, problems, _ = compiled(folder, resolve=False)
    assert (problems, config.listen[0].certificate, config.listen[0].tls) == ((), None, True)


def encrypted(issued: trustme.LeafCert) -> bytes:
    """The key, locked with a password."""
    key = serialization.load_pem_private_key(issued.private_key_pem.bytes(), None)
    locked = serialization.BestAvailableEncryption(b"hunter2")
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)


HALF = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
HALF_KEY = b"-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n"


def spoilt(how: str, issued: trustme.LeafCert) -> bytes:
    """What stands in the file then."""
    return {
        "no PEM": b"x",
        "too large": b"x" * 1_048_577,
        "the key": issued.private_key_pem.bytes(),
        "the certificate": issued.cert_chain_pems[0].bytes(),
        "damaged": HALF,
        "a damaged key": HALF_KEY,
        "another key": trustme.CA().issue_cert("x").private_key_pem.bytes(),
        "a locked key": encrypted(issued),
    }[how]


@pytest.mark.parametrize(
    ("key", "how", "words"),
    [
        ("cert_file", "no PEM", "no certificate in PEM format"),
        ("cert_file", "too large", "larger than 1 MiB"),
        ("cert_file", "the key", "no certificate in PEM format"),
        ("cert_file", "damaged", "the certificate is damaged"),
        ("key_file", "no PEM", "no private key in PEM format"),
        ("key_file", "the certificate", "no private key in PEM format"),
        ("key_file", "a damaged key", "the key is damaged"),
        ("key_file", "another key", "not the key of the certificate"),
        ("key_file", "a locked key", "the key is encrypted"),
    ],
)
def test_what_cannot_be_used_is_told_at_its_place(
    folder: Path, issued: trustme.LeafCert, key: str, how: str, words: str
) -> None:
    """The finding names the file and points at its key; the rest of smsgwd.yaml takes effect all the same."""
    (folder / key.replace("_file", ".pem")).write_bytes(spoilt(how, issued))
    check_told(folder, key, words)


def check_told(folder: Path, key: str, words: str) -> None:
    """There is this finding alone, and a listener without a certificate."""
    config, (problem,), files = compiled(folder)
    assert (problem.code, problem.severity) == ("bad-certificate", Severity.ERROR)
    assert (problem.line, problem.pointer) == (3, f"/listen/0/tls/{key}")
    assert words in problem.message
    assert str(folder) in problem.message
    assert config.listen[0].certificate is None
    assert config.listen[0].allow == {"send"}
    assert len(files) == 2


@pytest.mark.parametrize("key", ["cert_file", "key_file"])
def test_what_is_no_file_is_told_and_never_waited_for(folder: Path, key: str) -> None:
    """A missing file, a folder and a FIFO are findings."""
    path = folder / key.replace("_file", ".pem")
    path.unlink()
    check_told(folder, key, "No such file or directory")
    path.mkdir()
    check_told(folder, key, "directory")
    path.rmdir()
    os.mkfifo(path)
    check_told(folder, key, "not a file")


def test_a_key_that_others_can_read_is_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error; on a mount that nobody can change, such as those of Kubernetes, a warning and used."""
    (folder / "key.pem").chmod(0o644)
    config, (problem,), _ = compiled(folder)
    assert (problem.code, problem.severity) == ("exposed-secret", Severity.ERROR)
    assert problem.pointer == "/listen/0/tls/key_file"
    assert config.listen[0].certificate is None

    class ReadOnly:
        f_flag = os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: ReadOnly)
    config, (problem,), _ = compiled(folder)
    assert (problem.code, problem.severity) == ("exposed-secret", Severity.WARNING)
    assert config.listen[0].certificate is not None


def test_certificate_and_key_may_stand_in_one_file(folder: Path, issued: trustme.LeafCert) -> None:
    """As many tools write them."""
    (folder / "cert.pem").write_bytes(issued.private_key_and_cert_chain_pem.bytes())
    (folder / "cert.pem").chmod(0o600)
    assert Certificate.load(folder / "cert.pem", folder / "cert.pem").context.minimum_version.name == "TLSv1_2"


def test_check_looks_at_certificates_when_asked_for_secrets(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`check --secrets` finds what the daemon would; a plain check does not look."""
    (folder / "gateways.d").mkdir()
    (folder / "gateways.d/console.yaml").write_text("provider: console\n")
    (folder / "key.pem").unlink()
    assert run(capsys, "check", "--config", str(folder)).code == 0
    done = run(capsys, "check", "--config", str(folder), "--secrets")
    assert done.code == 1
    assert "smsgwd.yaml:3:42: error[bad-certificate]" in done.out
