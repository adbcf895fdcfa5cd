"""Checks requests of hooks with the library of Standard Webhooks.

webhooks.py SECRET HEADERS BODY: prints the event, or the name of the refusal, as JSON.
"""

import json
import sys

from standardwebhooks import Webhook, WebhookVerificationError

secret, headers, body = sys.argv[1:]
try:
    print(json.dumps(Webhook(secret).verify(body, json.loads(headers))["event"]))
except WebhookVerificationError as refusal:
    print(json.dumps(type(refusal).__name__))
