"""The shipped nginx configuration on a port of the loopback, in front of relays of the test."""

from __future__ import annotations

import grp
import os
import pwd
import shutil
import socket
import ssl
import subprocess
from collections.abc import Sequence
from pathlib import Path

from local_stack.binaries import UNPRIVILEGED_USER
from local_stack.errors import PartMissingError
from local_stack.http_server import HttpServer
from local_stack.process import GuardedProcess

CONFIGURATION = Path(__file__).parent.parent.parent / "deploy" / "nginx.conf"
NAME = "relay.example.com"
MISSING = "nginx is not installed; on Debian `make deploy-test` as root installs it (apt-get install nginx-light)"

# What a distribution's own nginx.conf says around the file. One worker of each keeps it small.
AROUND = """\
daemon off;
{user}
worker_processes 2;
pid {home}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {home}/body;
    proxy_temp_path {home}/proxy;
    fastcgi_temp_path {home}/fastcgi;
    uwsgi_temp_path {home}/uwsgi;
    scgi_temp_path {home}/scgi;
    include {home}/relay.conf;
}}
"""


def program() -> str:
    """nginx of this machine; a login shell's PATH knows /usr/sbin, a CI's may not. Raises PartMissingError."""
    found = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if found is None:
        raise PartMissingError(MISSING)
    return found


class Nginx(HttpServer):
    """Terminates TLS with a certificate of its own making. `changes` are replacements in the shipped file."""

    name = "nginx"

    def __init__(self, home: Path, relay_ports: Sequence[int], *, changes: dict[str, str]) -> None:
        super().__init__(log=home / "nginx.log")
        self._home = home
        self._relay_ports = relay_ports
        self._changes = changes

    @property
    def url(self) -> str:
        """Where Stripe would find it, if the name were resolved to the loopback."""
        return f"https://{self.host}:{self.port}"

    def trust(self) -> ssl.SSLContext:
        """A client that believes in this certificate alone. The certificate is for the name, we call the address."""
        context = ssl.create_default_context(cafile=str(self._home / "fullchain.pem"))
        context.check_hostname = False
        return context

    def launch(self) -> GuardedProcess:
        """Write the configuration for this port, have nginx check it, start."""
        self._make_certificate()
        text = CONFIGURATION.read_text()
        for old, new in self._replacements().items():
            if old not in text:
                raise AssertionError(f"deploy/nginx.conf does not hold {old!r} any more")
            text = text.replace(old, new)
        (self._home / "relay.conf").write_text(text)
        (self._home / "nginx.conf").write_text(AROUND.format(home=self._home, user=_workers_user()))
        command = [program(), "-c", str(self._home / "nginx.conf"), "-p", str(self._home), "-e", "stderr"]
        subprocess.run([*command, "-t"], check=True, capture_output=True)
        return GuardedProcess(command, log=self.log, cwd=self._home)

    def is_ready(self) -> bool:
        """It shows our certificate."""
        try:
            with (
                socket.create_connection((self.host, self.port), timeout=5) as plain,
                self.trust().wrap_socket(plain) as _,
            ):
                return True
        except OSError:
            return False

    def _replacements(self) -> dict[str, str]:
        first, second = self._relay_ports
        return {
            "listen 443 ssl;": f"listen {self.host}:{self.port} ssl;",
            "    listen [::]:443 ssl;\n": "",
            "127.0.0.1:8081": f"127.0.0.1:{first}",
            "127.0.0.1:8082": f"127.0.0.1:{second}",
            "/etc/ssl/relay/": f"{self._home}/",
            **self._changes,
        }

    def _make_certificate(self) -> None:
        if (self._home / "fullchain.pem").exists():
            return
        options = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        files = ["-keyout", str(self._home / "privkey.pem"), "-out", str(self._home / "fullchain.pem")]
        subject = ["-subj", f"/CN={NAME}", "-addext", f"subjectAltName=DNS:{NAME}"]
        subprocess.run(["openssl", "req", "-x509", *options, *files, *subject], check=True, capture_output=True)


def _workers_user() -> str:
    """As root, nginx must be told under whose name its workers run."""
    if os.geteuid() != 0:
        return ""
    nobody = pwd.getpwnam(UNPRIVILEGED_USER)
    return f"user {nobody.pw_name} {grp.getgrgid(nobody.pw_gid).gr_name};"
