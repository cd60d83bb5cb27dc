"""A server carries what it uses, and nothing else that its libraries would bring."""

import subprocess
import sys

import pytest

from relay.data_api.absent import absent


def test_a_package_is_missing_within_and_back_behind() -> None:
    sys.modules.pop("colorsys", None)
    with absent("colorsys"), pytest.raises(ModuleNotFoundError):
        import colorsys

    import colorsys

    assert colorsys.rgb_to_hsv(0, 0, 0) == (0, 0, 0)


def test_a_package_that_was_imported_before_stays() -> None:
    with absent("json"):
        import json
    assert json.loads("1") == 1


def test_a_server_imports_neither_stripe_nor_cryptography() -> None:
    heavy = "{'stripe', 'requests', 'cryptography', 'jwt'}"
    code = f"import sys, relay.commands.serve; print(*sorted({heavy} & sys.modules.keys()))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    # PyJWT does without cryptography, and is what would have brought it.
    assert done.stdout.split() == ["jwt"]
