"""Addresses: the URLs of apprise, which are secrets, and how a message gets there."""

import hashlib
import logging
from dataclasses import dataclass
from typing import Any, Final

from relay.commands.endings import CommandError

# The database knows an address by this digest alone. It takes some 50 ms to make, so that nobody who reads the table
# guesses passwords that stand in URLs. https://docs.python.org/3/library/hashlib.html#hashlib.scrypt
_SALT: Final = b"relay notify"
_COST: Final = {"n": 2**14, "r": 8, "p": 1, "dklen": 32}


@dataclass(frozen=True, slots=True)
class Address:
    """Where messages go. `name` may be shown: the place on the command line, and the kind of service."""

    name: str
    digest: str
    _service: Any

    @classmethod
    def read(cls, url: str, *, place: int) -> "Address":
        """Read a URL. Raises CommandError, which does not show it."""
        import apprise  # imported here: it is the extra's library

        # Its log lines hold URLs.
        logging.getLogger("apprise").addHandler(logging.NullHandler())
        logging.getLogger("apprise").propagate = False
        service = apprise.Apprise()
        if not service.add(url):
            raise CommandError(
                f"--to, address {place}: apprise cannot read it; see https://github.com/caronc/apprise/wiki"
            )
        kind = url.partition(":")[0]
        return cls(f"{place} ({kind})", hashlib.scrypt(url.encode(), salt=_SALT, **_COST).hex(), service)

    def send(self, title: str, text: str) -> bool:
        """Send a message, and wait until the service has taken it. Returns whether it has."""
        return bool(self._service.notify(title=title, body=text, body_format="text"))
