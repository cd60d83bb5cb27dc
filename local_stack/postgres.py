"""One PostgreSQL server of our own, throwaway or kept."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

import psycopg
import testing.postgresql
from psycopg import sql

from local_stack.binaries import Identity, find_bin_dir, may_enter, reachable_bin_dir, server_identity
from local_stack.errors import StartError
from local_stack.process import GuardedProcess

# On a hosted project `postgres` is no superuser; the platform's own superuser is this one.
SUPERUSER = "supabase_admin"
START_ATTEMPTS = 5  # another process may take the free port between our look and the server's bind
# Below the ports that Linux (32768), macOS and Windows (49152) hand out to connections: a server that stops finds its
# port again at the next start, whatever was connected meanwhile.
SERVER_PORTS = range(15_000, 32_768)
BOOT_SECONDS = 60.0  # generous: recovery after a crash on a busy two-core machine
# After a SIGKILL of the postmaster its sessions live on until they notice; the next one must wait for them.
STILL_DYING = "pre-existing shared memory block"
STILL_DYING_WITHIN = 600  # characters at the end of the log: this start's words, not those of an earlier one
THROWAWAY = ["-c", "fsync=off", "-c", "full_page_writes=off"]  # a crash of the machine loses nothing of value

MEMORY = "/dev/shm"  # noqa: S108  each home in it is closed to others
ROOM = 8 * 1024**3  # bytes; the suites' clusters take less than one eighth of it


def has_room(directory: str) -> bool:
    """Whether throwaway clusters may fill it, programs beside them; a container's `/dev/shm` has 64 MiB by default."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC


def free_port() -> int:
    """One of SERVER_PORTS, by chance, that nobody on the loopback has right now. Raises StartError for want of one."""
    for _ in range(100):
        port = secrets.choice(SERVER_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise StartError(f"no free port between {SERVER_PORTS[0]} and {SERVER_PORTS[-1]} of 127.0.0.1 was found")


def require_free_port(port: int, *, remedy: str) -> None:
    """Raises StartError, one line that ends with the remedy, where nobody can listen on this port of the loopback."""
    with socket.socket() as probe:
        # As the servers do: connections of the past do not count, a listener does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartError(f"cannot listen on port {port} of 127.0.0.1 ({error.strerror}): {remedy}") from None


class Postgres(testing.postgresql.Postgresql):  # type: ignore[misc]  # the library has no types
    """A server on the loopback; starts at once, ends with `stop()`, a `with` block, or our own death.

    `data` keeps the cluster in that directory, with the durability of the defaults; without it the cluster
    lives in a temporary directory and is gone afterwards. Every login needs `password`, because a trusting
    loopback would hand each local user a superuser. Raises StackError with the remedy.
    """

    host = "127.0.0.1"
    superuser = SUPERUSER
    _owner_pid = -1  # nothing to stop in an instance that could not even begin

    def __init__(
        self,
        *,
        data: Path | str | None = None,
        port: int | None = None,
        max_connections: int = 200,
        settings: dict[str, str] | None = None,
    ) -> None:
        bin_dir = find_bin_dir()
        self._kept = data is not None
        self._fixed_port = port
        self._server: GuardedProcess | None = None
        self._lock: IO[str] | None = None
        self._identity: Identity = {}
        self._settings = {
            "listen_addresses": self.host,
            # No socket file: its path may be 107 bytes at most, and a clone's path may be longer than that.
            "unix_socket_directories": "",
            "max_connections": str(max_connections),
            "shared_buffers": "128MB",
            "password_encryption": "scram-sha-256",
            "log_lock_waits": "on",
            "timezone": "UTC",
            "jit": "off",  # as on the hosted platform
            **(settings or {}),
        }
        home = Path(data).absolute() if data is not None else self._new_home()
        super().__init__(base_dir=str(home), initdb=str(bin_dir / "initdb"), postgres="", port=port)

    # --- what callers use ---------------------------------------------------------------------------------

    @property
    def home(self) -> Path:
        """The directory that holds the cluster, its log and its password."""
        return Path(self.base_dir)

    @property
    def port(self) -> int:
        """The TCP port; it can change when the server is started again."""
        port: int = self.settings["port"]
        return port

    @property
    def bin_dir(self) -> Path:
        """Where psql, pg_dump and pgbench are too, where the installation has them."""
        return Path(self.initdb).parent

    @property
    def server_pid(self) -> int | None:
        """The postmaster's process id while it runs."""
        return self._server.pid if self._server and self._server.poll() is None else None

    def dsn(self, *, user: str = SUPERUSER, dbname: str = "postgres", password: str | None = None) -> str:
        """A connection URL; `password` defaults to the cluster's own, which every login role shares."""
        secret = quote(self.password if password is None else password, safe="")
        return f"postgresql://{user}:{secret}@{self.host}:{self.port}/{quote(dbname)}?sslmode=disable"

    def create_database(self, name: str, *, template: str = "template1", owner: str | None = None) -> None:
        """Create a database; hosted projects' databases belong to `postgres`, whoever made them."""
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            statement = sql.SQL("create database {} template {}").format(*map(sql.Identifier, (name, template)))
            if owner is not None:
                statement += sql.SQL(" owner {}").format(sql.Identifier(owner))
            connection.execute(statement)

    def start(self) -> None:
        """Start the server; does nothing while it runs. The port stays the same after a `halt` or `kill`."""
        if self.server_pid is not None:
            return
        self._take_lock()
        fixed = self.settings["port"] or self._fixed_port
        deadline = time.monotonic() + BOOT_SECONDS
        for attempt in itertools.count(1):
            self.settings["port"] = fixed or free_port()
            self._server = GuardedProcess(
                self.get_server_commandline(),
                log=self._log,
                env=self._environment(),
                identity=self._identity,
                stop_signal=signal.SIGINT,  # "fast": open sessions are ended, the data is checkpointed
                remove=None if self._kept else self.home,
            )
            if self._wait_ready(deadline):
                return
            reason = self._server.log_tail()
            self._server.stop()
            if STILL_DYING in reason[-STILL_DYING_WITHIN:] and time.monotonic() < deadline:
                time.sleep(0.1)  # the dying server has no handle here to wait for
            elif fixed or "could not bind" not in reason or attempt == START_ATTEMPTS:
                raise StartError(f"PostgreSQL in {self.home} did not start:\n{reason}")

    def halt(self) -> None:
        """Stop the server in order and keep its data; `start()` continues with it."""
        if self._server is not None:
            self._server.stop()

    def kill(self) -> None:
        """SIGKILL the postmaster, as a crash would; `start()` recovers the data."""
        if self._server is not None:
            self._server.kill()

    def stop(self, _signal: int = signal.SIGINT) -> None:
        """Stop the server and remove what was throwaway. Safe to call twice, and in a forked child."""
        if self._owner_pid != os.getpid():
            return
        if self._server is not None:
            self._server.stop(keep=self._kept)
            self._server = None
        self.cleanup()

    # --- testing.postgresql's hooks -----------------------------------------------------------------------

    def setup(self) -> None:
        """Create the cluster unless the directory holds one."""
        self._prepare_home()
        self.initialize_database()

    def initialize_database(self) -> None:
        """initdb as the unprivileged user."""
        password_file = self.home / "password"
        if (self._data / "PG_VERSION").exists():
            self.password = password_file.read_text().strip()
            return
        self.password = secrets.token_urlsafe(24)
        with os.fdopen(os.open(password_file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w") as handle:
            handle.write(self.password)
        if self._identity:  # initdb reads it; afterwards it is ours again
            os.chown(password_file, self._identity["user"], -1)
        options = ["--username", SUPERUSER, "--auth", "scram-sha-256", "--pwfile", str(password_file)]
        # The C locale exists on every machine, so that sorting is the same everywhere.
        options += ["--encoding", "UTF8", "--locale", "C", "--no-instructions"]
        options += [] if self._kept else ["--no-sync"]
        done = subprocess.run(
            [self.initdb, "--pgdata", str(self._data), *options],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=self._environment(),
            **self._identity,
        )
        if done.returncode != 0:
            raise StartError(f"initdb failed in {self._data}:\n{done.stdout}{done.stderr}".rstrip())
        if self._identity:
            os.chown(password_file, os.geteuid(), -1)

    def get_server_commandline(self) -> list[str]:
        """The postmaster's command line."""
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.bin_dir / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        return command if self._kept else command + THROWAWAY

    def cleanup(self) -> None:
        """Remove the throwaway directory and give the lock back."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if not self._kept:
            shutil.rmtree(self.base_dir, ignore_errors=True)

    # --- our own ------------------------------------------------------------------------------------------

    @property
    def _data(self) -> Path:
        return self.home / "data"

    @property
    def _log(self) -> Path:
        return self.home / "postgres.log"

    def _new_home(self) -> Path:
        """A directory that the server's user may enter, though TMPDIR itself may be closed to it.

        In memory where there is plenty: a database is hundreds of files, made there much faster.
        """
        identity = server_identity(Path("/nonexistent"))
        first = [tempfile.gettempdir()] if "TMPDIR" in os.environ or not has_room(MEMORY) else [MEMORY]
        for parent in dict.fromkeys([*first, "/tmp", "/var/tmp"]):  # noqa: S108
            if not identity or may_enter(Path(parent), identity):
                return Path(tempfile.mkdtemp(prefix="local-stack-", dir=parent))
        raise StartError("no temporary directory can be entered by an unprivileged user; set TMPDIR to one")

    def _prepare_home(self) -> None:
        self.home.mkdir(parents=True, exist_ok=True)
        self._take_lock()
        self._identity = server_identity(self._data)
        self._data.mkdir(mode=0o700, exist_ok=True)
        if self._identity:
            # Ours stay the password and the log; only `data` belongs to the server's user.
            self.home.chmod(0o711)
            os.chown(self._data, self._identity["user"], self._identity["group"])
            if not may_enter(self._data, self._identity):
                raise StartError(
                    f"PostgreSQL does not run as root, and the unprivileged user that runs it may not enter "
                    f"{self._data}: keep the data below a directory that everybody may enter"
                )
        self.initdb = str(reachable_bin_dir(self.bin_dir, self._identity, self.home) / "initdb")

    def _take_lock(self) -> None:
        if self._lock is not None:
            return
        self._lock = (self.home / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            self._lock = None
            raise StartError(f"{self.home} is in use by another stack; stop that one first") from None

    def _environment(self) -> dict[str, str]:
        """The programs' environment: no PG* setting of the user's may redirect them."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        icu = self.bin_dir.parent / "share" / "icu"  # musl wheels carry ICU's data beside the programs
        return {**environment, "LC_ALL": "C", **({"ICU_DATA": str(icu)} if icu.is_dir() else {})}

    def _wait_ready(self, deadline: float) -> bool:
        """True once our own server answers; False where it ended before."""
        assert self._server is not None  # noqa: S101
        while self._server.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self.dsn()) as connection:
                row: Any = connection.execute("show data_directory").fetchone()
                # Somebody else's server may sit on the port that ours just failed to bind.
                return Path(row[0]).resolve() == self._data.resolve() and self._server.poll() is None
            time.sleep(0.02)
        return False
