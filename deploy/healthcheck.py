"""Whether this container's relay serves: asks /healthz where `relay serve` listens, exit status 0 or 1."""

import http.client
import os
import sys


def value_of(name: str) -> str:
    """As relay/config.py reads it: blank is not set, nor is what Kubernetes sets for a Service called `relay`."""
    value = os.environ.get(name, "").strip()
    return "" if name == "RELAY_PORT" and value.startswith("tcp://") else value


PORT = value_of("RELAY_PORT") or value_of("PORT") or "8080"
# Where the relay listens if nobody says otherwise. Of several addresses the first says enough: it binds all or none.
HOST = (value_of("RELAY_HOST") or "0.0.0.0").split(",")[0].strip()  # noqa: S104  the default of RELAY_HOST
# Listening everywhere means here too.
HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  compared with, not listened on
CONNECTION = http.client.HTTPConnection(HERE.get(HOST, HOST), int(PORT), timeout=2)

try:
    CONNECTION.request("GET", "/healthz")
    sys.exit(CONNECTION.getresponse().status != 200)
except OSError as error:
    sys.exit(f"{HOST}:{PORT}: {error}")
