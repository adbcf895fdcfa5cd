"""Checks requests of hooks as docs/hooks.md says: with the library of Standard Webhooks.

webhooks.py CODE SECRET HEADERS BODY: prints the event that the code finds, or the name of the refusal, as JSON.
"""

import json
import sys

from standardwebhooks import WebhookVerificationError

code, secret, headers, body = sys.argv[1:]
names = {"secret": secret, "headers": json.loads(headers), "body": body}
try:
    exec(code, names)
    print(json.dumps(names["event"]["event"]))
except WebhookVerificationError as refusal:
    print(json.dumps(type(refusal).__name__))
