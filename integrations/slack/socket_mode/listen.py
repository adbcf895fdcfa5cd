"""Takes events of Slack by a connection that is opened from here, and gives them to the webhook of this integration.

What comes that way is what the Events API sends: verified, known by its event id, stored and answered the same. An
event is acknowledged when the server has it; one that it could not take is sent again by Slack.
"""

import json
import logging
import os
import sys
import time
from typing import NoReturn

import httpx
from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.socket_mode import SocketModeClient
from slack_sdk.socket_mode.client import BaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

# Asked again, Slack says the same to these.
REFUSALS = {
    "access_denied",
    "account_inactive",
    "app_not_found",
    "forbidden_team",
    "invalid_auth",
    "missing_scope",
    "no_permission",
    "not_allowed_token_type",
    "not_authed",
    "org_login_required",
    "socket_mode_not_enabled",
    "team_access_not_granted",
    "token_expired",
    "token_revoked",
}
# What the server says to these it says again.
NEVER = {400, 413, 415, 422}
# In seconds: the longest rest before another connection, and how long one that was good has lasted.
LONGEST_REST = 60.0
GOOD = 60.0


def say(words: str) -> None:
    print(words, flush=True)


def give_up(words: str) -> NoReturn:
    """Ends all threads. The server starts this a few times more, and then tells its operator these words."""
    say(words)
    sys.stdout.flush()
    os._exit(1)


class Rests:
    """Before each connection but the first of a series that does not last, a rest twice as long as before."""

    def __init__(self) -> None:
        self.attempts = 0
        self.begun: float | None = None

    def begins(self) -> None:
        """A connection is good now."""
        self.begun = time.monotonic()

    def next(self) -> float:
        if self.begun is not None and time.monotonic() - self.begun >= GOOD:
            self.attempts = 0
        self.begun = None
        self.attempts += 1
        return 0.0 if self.attempts == 1 else min(LONGEST_REST, 2.0 ** (self.attempts - 2))


class Client(SocketModeClient):
    """With rests between connections, and an end where another would not help."""

    rests: Rests

    def issue_new_wss_url(self) -> str:
        while True:
            rest = self.rests.next()
            if rest:
                say(f"The next connection to Slack is made in {rest:.0f} s")
                time.sleep(rest)
            try:
                return super().issue_new_wss_url()
            except SlackApiError as error:
                code = error.response.get("error")
                if code in REFUSALS:
                    give_up(
                        f"Slack does not open a connection for SLACK_APP_TOKEN ({code}): make an app-level token with "
                        "the scope connections:write in the app's settings, Basic Information, and have Socket Mode on"
                    )
                say(f"Slack opens no connection now ({code})")
            except Exception as error:
                say(f"Slack cannot be reached: {type(error).__name__}")


class Door:
    """The server's own webhook."""

    def __init__(self, server: str, secret: str) -> None:
        self.client = httpx.Client(base_url=server, timeout=30, trust_env=False)
        self.verifier = SignatureVerifier(secret)

    def takes(self, request: SocketModeRequest) -> bool:
        """Whether Slack is not to send this again."""
        body = json.dumps(request.payload)
        now = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "X-Slack-Request-Timestamp": now,
            "X-Slack-Signature": str(self.verifier.generate_signature(timestamp=now, body=body)),
        }
        if request.retry_attempt:
            headers |= {"X-Slack-Retry-Num": str(request.retry_attempt)}
        try:
            answer = self.client.post("/integrations/slack/webhook", content=body.encode(), headers=headers)
        except httpx.HTTPError as error:
            say(f"The server did not take an event, which Slack sends again: {type(error).__name__}")
            return False
        if not answer.is_success:
            again = ", and does not want it again" if answer.status_code in NEVER else ", which Slack sends again"
            say(f"The server did not take an event ({answer.status_code}){again}")
        return answer.is_success or answer.status_code in NEVER


def main() -> None:
    logging.basicConfig(level=logging.CRITICAL)
    web = WebClient(base_url=os.environ["SLACK_API_URL"].rstrip("/") + "/", timeout=30)
    door = Door(os.environ["AGENT_SERVER_URL"], os.environ["SLACK_SIGNING_SECRET"])
    # One after the other, as they were written.
    client = Client(app_token=os.environ["SLACK_APP_TOKEN"], web_client=web, concurrency=1)
    client.rests = Rests()

    def hear(_: BaseSocketModeClient, message: dict[str, object], __: str | None) -> None:
        if message.get("type") == "hello":
            client.rests.begins()
            say("Connected to Slack")

    def take(_: BaseSocketModeClient, request: SocketModeRequest) -> None:
        # Commands and buttons are not for this server: unanswered, Slack would send them again.
        if request.type != "events_api" or door.takes(request):
            client.send_socket_mode_response({"envelope_id": request.envelope_id})

    client.message_listeners.append(hear)
    client.socket_mode_request_listeners.append(take)
    client.connect()
    # The client keeps the connection from here on, in threads of its own.
    while True:
        time.sleep(3600)


if __name__ == "__main__":
    main()
