"""A certificate authority for one control plane: pods get its certificate, so it has to be a real one."""

from __future__ import annotations

from pathlib import Path

from kube.binaries import distribution, succeed

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
#: What clients inside a cluster call the API server.
NAMES = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")
DAYS = "2"


class Authority:
    """The files of an authority, of the API server's certificate, and of the key that signs ServiceAccounts' tokens."""

    def __init__(self, directory: Path, addresses: set[str]) -> None:
        self.certificate, self.key = directory / "ca.crt", directory / "ca.key"
        self.server_certificate, self.server_key = directory / "api.crt", directory / "api.key"
        self.accounts_key = directory / "sa.key"
        self._directory = directory
        self._addresses = addresses

    def make(self) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        self._openssl(
            "req", "-x509", *EC, "-keyout", "ca.key", "-out", "ca.crt", "-days", DAYS, "-subj", "/CN=bowline-test",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign,digitalSignature",
        )  # fmt: skip
        names = [f"DNS:{name}" for name in NAMES] + [f"IP:{each}" for each in self._addresses]
        (self._directory / "api.ext").write_text(f"subjectAltName={','.join(names)}\n")
        self._openssl(
            "req", *EC, "-keyout", "api.key", "-out", "api.csr", "-subj", "/CN=kube-apiserver"
        )
        self._openssl(
            "x509", "-req", "-in", "api.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
            "-days", DAYS, "-extfile", "api.ext", "-out", "api.crt",
        )  # fmt: skip
        # RSA: the server does not find the public half in an elliptic key of this form.
        self._openssl("genpkey", "-algorithm", "RSA", "-out", "sa.key")

    def _openssl(self, *words: str) -> None:
        succeed(distribution("openssl", "openssl"), *words, cwd=self._directory)
