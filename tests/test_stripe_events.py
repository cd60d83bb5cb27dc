"""What the suites take for Stripe's is Stripe's."""

import pytest
from stripe import WebhookSignature

from testkit.stripe_events import WEBHOOK_SECRET, completed, encode, sign


@pytest.mark.parametrize("body", [encode(completed()), b"", '{"größe": "\u00e9 \U0001f4b8"}\n'.encode()])
def test_signature_is_the_one_that_stripes_sdk_makes(body: bytes) -> None:
    made = WebhookSignature.generate_signature_header(body.decode(), WEBHOOK_SECRET, timestamp=1795400001)

    assert sign(body, at=1795400001) == made
