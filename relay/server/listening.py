"""Opens the sockets on which the relay listens: one for each address to which a host of RELAY_HOST leads."""

import os
import socket
from typing import Any, Final

from relay.config import Settings
from relay.core.errors import errno_name

# How many connections the kernel holds until they are accepted.
BACKLOG: Final = 1024


class CannotListen(Exception):
    """An address is taken, belongs to another machine, or is no address. The message names it, and the reason."""


def open_sockets(settings: Settings) -> list[socket.socket]:
    """Bind all addresses, or none; port 0 takes a free port, the same one for all of them. Raises CannotListen.

    The sockets are not listening yet: who serves on them starts that, with BACKLOG.
    """
    opened: list[socket.socket] = []
    port = settings.port
    for host in settings.hosts:
        try:
            for family, address in dict.fromkeys(_addresses(host)):
                opened.append(_bound(family, (address[0], port, *address[2:])))
                port = opened[0].getsockname()[1]
        except OSError as error:
            for one in opened:
                one.close()
            reason = ": ".join(filter(None, (errno_name(error), error.strerror or type(error).__name__)))
            raise CannotListen(f"cannot listen on {host_and_port(host, port)}: {reason}") from None
    return opened


def host_and_port(host: str, port: int) -> str:
    """As a URL has them: an IPv6 address stands in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _addresses(host: str) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    """Raises OSError where the name is not known."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    return [(family, address) for family, _, _, _, address in found]


def _bound(family: socket.AddressFamily, address: tuple[Any, ...]) -> socket.socket:
    """Raises OSError."""
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # elsewhere it would let another process take the port
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # Otherwise `::` would take IPv4 too, and `0.0.0.0` beside it would find the port taken.
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
    except OSError:
        listening.close()
        raise
    return listening
