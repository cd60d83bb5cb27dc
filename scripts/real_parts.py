"""Builds a Debian 13 root with PostgreSQL 17 and the extensions that hosted projects have, as far as Debian has them.

`python scripts/real_parts.py` prints the folder of its programs, for LOCAL_STACK_PG_BIN. They run on this machine
without a chroot: each is started by that root's own loader with that root's own libraries.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SUITE = "trixie"
MAJOR = "17"
PACKAGES = [
    f"postgresql-{MAJOR}",
    *(f"postgresql-{MAJOR}-{name}" for name in ("cron", "plpgsql-check", "pgtap", "pgaudit", "plproxy")),
]
HOME = ROOT / ".real-parts"
SYSTEM = HOME / "system"
PROGRAMS = SYSTEM / "usr" / "lib" / "postgresql" / MAJOR / "bin"
# A program finds its files by the path that it is called by, so the wrapper has the program's own place.
BEHIND = PROGRAMS.with_name("programs")
WRAPPER = """\
#!/bin/sh
exec "{loader}" --library-path "{libraries}" --argv0 "{programs}/{name}" "{behind}/{name}" "$@"
"""


def main() -> None:
    """Build what is missing, and say where it is."""
    if any(not (SYSTEM / "var/lib/dpkg/info" / f"{package}.list").exists() for package in PACKAGES):
        shutil.rmtree(SYSTEM, ignore_errors=True)
        build()
    if not BEHIND.exists():
        wrap()
    print(PROGRAMS)


def build() -> None:
    """Fill the root with debootstrap, as root; a minute."""
    if os.geteuid() != 0 or shutil.which("debootstrap", path=f"{os.environ['PATH']}:/usr/sbin") is None:
        sys.exit("real parts need debootstrap, as root (on Debian: apt-get install debootstrap)")
    half = HOME / "half"
    # A run of debootstrap that was killed leaves the kernel's own files mounted there.
    subprocess.run(["umount", str(half / "proc"), str(half / "sys")], stderr=subprocess.DEVNULL, check=False)
    shutil.rmtree(half, ignore_errors=True)
    HOME.mkdir(exist_ok=True)
    print(f"building Debian {SUITE} with {', '.join(PACKAGES)} in {SYSTEM} (a minute) ...", file=sys.stderr)
    command = ["debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, str(half)]
    with (HOME / "debootstrap.log").open("w") as log:
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        done = subprocess.run(command, env={**os.environ, "PATH": path}, stdout=log, stderr=log, check=False)
    if done.returncode != 0:
        sys.exit(f"debootstrap failed; {HOME / 'debootstrap.log'} says why")
    half.rename(SYSTEM)


def wrap() -> None:
    """Put a wrapper in the place of each program."""
    (libc,) = SYSTEM.glob("usr/lib/*-linux-gnu/libc.so.6")
    (loader,) = libc.parent.glob("ld-linux*.so.*")
    wrappers = HOME / "wrappers"
    shutil.rmtree(wrappers, ignore_errors=True)
    wrappers.mkdir()
    for program in PROGRAMS.iterdir():
        names = {"programs": PROGRAMS, "behind": BEHIND, "loader": loader, "libraries": libc.parent}
        wrapper = wrappers / program.name
        wrapper.write_text(WRAPPER.format(name=program.name, **names))
        wrapper.chmod(0o755)
    PROGRAMS.rename(BEHIND)
    wrappers.rename(PROGRAMS)


if __name__ == "__main__":
    main()
