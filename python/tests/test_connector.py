"""Connector classes: an honest outcome for a bare True or False, records one by one or all at once."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, Start, Worker

CONNECTOR = """
    from scripts.integrations.base import IntegrationBase
    from .words import GREETING

    class Service(IntegrationBase):
        name = "demo"
        label = "Demo"
        tier = "paid"

        def fields(self):
            return [{"key": "url", "label": "URL", "type": "url", "required": True}]

        def connect(self, config):
            self.url = config.get("url", "").strip()
            if self.url == "explode":
                raise RuntimeError("connect exploded")
            return bool(self.url)

        def test(self):
            print(f"[demo] {GREETING}")
            if self.url == "raise":
                raise ValueError("bad value")
            if self.url == "false":
                return False
            if self.url == "dict":
                return {"ok": False, "code": "auth", "message": "Expired", "hint": "Make a new one", "account": "me"}
            if self.url == "numbered":
                return {"ok": True, "account": "me", "account_id": 42}
            if self.url == "token":
                from app.services.integration_settings import get_access_token
                get_access_token("demo")
            if self.url == "leave":
                raise SystemExit(1)
            try:
                import requests
                return requests.get(self.url, timeout=1).ok and not self.url.endswith("no")
            except Exception:
                return False

        def sync(self, jobs):
            done = 0
            for job in jobs:
                if job.get("bad"):
                    print(f"[demo] {job['id']}: no title")
                elif job.get("worse"):
                    raise KeyError("title")
                elif job.get("to"):
                    done += self.push(job)
                elif job.get("nothing"):
                    return None
                else:
                    done += 1
            return done

        def push(self, job):
            import requests
            try:
                requests.post(job["to"], json=job, timeout=0.3).raise_for_status()
            except Exception as e:
                if job.get("raises"):
                    raise
                if job.get("says"):
                    print(f"[demo] {job['says']}")
                return 0
            return 1
"""

FILES = {"connector.py": CONNECTOR, "words.py": "GREETING = 'hello'\n"}


@pytest.fixture(scope="module")
def worker(start_once: Start, server_once: Server) -> Worker:
    return start_once(FILES, {"AGENT_SERVER_URL": server_once.url, "AGENT_API_KEY": "k"})


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/hang":
                threading.Event().wait(1)
                return
            self.send_response(int(self.path[1:4]))
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=lambda: listening.serve_forever(0.01))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def outcome_of(worker: Worker, url: str, part: str = "test") -> Any:
    return worker.call(part, "demo", {"values": {"url": url}})["result"]


def test_the_connector_is_described_with_its_form(worker: Worker) -> None:
    described = worker.describe()
    assert described["problems"] == []
    expected = {"name": "demo", "label": "Demo", "tier": "paid", "sync": True, "sync_results": False}
    assert described["connector"] == expected
    assert described["fields"] == [{"key": "url", "label": "URL", "type": "url", "required": True}]
    assert (described["name"], described["tier"]) == ("Demo", "paid")


@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/200", "ok", None),
        ("/401", "auth", 401),
        ("/403", "forbidden", 403),
        ("/404", "not_found", 404),
        ("/429", "rate_limited", 429),
        ("/500", "error", 500),
        ("/200no", "error", 200),
    ],
)
def test_a_no_has_the_reason_that_the_service_gave(
    worker: Worker, service: str, path: str, code: str, status: int | None
) -> None:
    outcome = outcome_of(worker, service + path)
    assert (outcome["ok"], outcome["code"], outcome["status"]) == (code == "ok", code, status)
    assert outcome["details"] == "[demo] hello"


def test_a_no_without_any_request_is_an_error(worker: Worker) -> None:
    assert outcome_of(worker, "false") == {
        "ok": False,
        "code": "error",
        "message": "The test says no and gives no reason",
        "hint": None,
        "account": None,
        "account_id": None,
        "status": None,
        "details": "[demo] hello",
    }


def test_an_account_has_a_name_and_an_id(worker: Worker) -> None:
    outcome = outcome_of(worker, "numbered")
    assert (outcome["ok"], outcome["account"], outcome["account_id"]) == (True, "me", "42")


@pytest.mark.parametrize(
    ("url", "code", "message"),
    [
        ("", "not_configured", "A field that is needed has no value"),
        ("raise", "error", "bad value"),
        ("leave", "error", "The code wanted to end the process: SystemExit: 1"),
        ("explode", "error", "connect exploded"),
        ("dict", "auth", "Expired"),
    ],
)
def test_other_outcomes_say_what_happened(worker: Worker, url: str, code: str, message: str) -> None:
    outcome = outcome_of(worker, url)
    assert (outcome["ok"], outcome["code"], outcome["message"]) == (False, code, message)


@pytest.mark.parametrize(("status", "code"), [(409, "auth"), (409, "not_configured"), (502, "network")])
def test_a_token_is_asked_for_in_the_call_and_without_one_the_server_s_reason_counts(
    worker: Worker, server_once: Server, status: int, code: str
) -> None:
    path = "GET /api/v1/admin/integrations/demo/connections/default/token"
    server_once.answers[path] = (status, {"detail": "Nobody has agreed", "code": code})
    outcome = outcome_of(worker, "token")
    expected = (False, code, "Nobody has agreed", None)
    assert (outcome["ok"], outcome["code"], outcome["message"], outcome["status"]) == expected
    assert server_once.last().headers["tercel-call"] == "c1"


def test_a_swallowed_connection_error_is_no_mystery(worker: Worker) -> None:
    outcome = outcome_of(worker, "http://127.0.0.1:1/")
    assert outcome["code"] == "network"
    assert outcome["message"].startswith("127.0.0.1:1: ")


def test_an_earlier_call_s_answer_is_no_reason_of_a_later_one(worker: Worker, service: str) -> None:
    outcome_of(worker, service + "/401")
    assert outcome_of(worker, "false")["code"] == "error"


def test_connecting_looks_at_the_values_only(worker: Worker) -> None:
    assert outcome_of(worker, "anything", "connect")["code"] == "ok"
    assert outcome_of(worker, " ", "connect")["code"] == "not_configured"


def test_records_are_synced_one_by_one_with_what_was_printed_as_reason(worker: Worker) -> None:
    records = [{"id": 1}, {"id": 2, "bad": True}, {"id": 3, "worse": True}, {"id": "x"}]
    answer = worker.call("sync", "demo", {"values": {"url": "u"}, "records": records, "collection": "jobs"})
    assert answer["result"]["results"] == [
        {"id": "1", "ok": True, "remote_id": None, "reason": None},
        not_done("2", "[demo] 2: no title", "schema"),
        not_done("3", "KeyError: 'title'", "unknown_outcome"),
        {"id": "x", "ok": True, "remote_id": None, "reason": None},
    ]
    error = worker.call("sync", "demo", {"values": {}, "records": records})["error"]
    assert error["code"] == "not_configured"


def not_done(id: str, reason: str, code: str, status: int | None = None) -> dict[str, Any]:
    return {"id": id, "ok": False, "remote_id": None, "reason": reason, "code": code, "status": status}


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/401", "auth", 401),
        ("/422", "schema", 422),
        ("/429", "rate_limited", 429),
        # The service may have it all the same.
        ("/500", "unknown_outcome", 500),
        ("/hang", "unknown_outcome", None),
        ("http://127.0.0.1:1/", "network", None),
    ],
)
def test_a_record_that_is_not_done_has_the_reason_that_the_service_gave(
    worker: Worker, service: str, path: str, code: str, status: int | None, raises: bool
) -> None:
    to = path if path.startswith("http") else service + path
    # Another record before it, whose answer is no reason for this one.
    records = [{"id": 1, "to": service + "/404"}, {"id": 2, "to": to, "raises": raises}, {"id": 3}]
    first, second, third = worker.call("sync", "demo", {"values": {"url": "u"}, "records": records})["result"][
        "results"
    ]
    assert (first["code"], third["ok"]) == ("not_found", True)
    assert (second["ok"], second["code"], second["status"]) == (False, code, status)
    assert second["reason"]


def test_what_the_class_prints_is_the_reason_and_nothing_is_no_count(worker: Worker, service: str) -> None:
    records = [{"id": 1, "to": service + "/403", "says": "this plan has no API"}, {"id": 2, "nothing": True}]
    first, second = worker.call("sync", "demo", {"values": {"url": "u"}, "records": records})["result"]["results"]
    assert first == not_done("1", "[demo] this plan has no API", "forbidden", 403)
    assert "returned None" in second["reason"]


def test_a_class_that_answers_results_gets_all_records_at_once(start: Start) -> None:
    worker = start(
        {},
        beside={
            "scripts/integrations/demo.py": """
                from scripts.integrations.base import IntegrationBase

                class Demo(IntegrationBase):
                    name = "demo"
                    label = "Demo"
                    sync_results = True

                    def fields(self):
                        return []

                    def connect(self, config):
                        return True

                    def test(self):
                        return True

                    def sync(self, jobs):
                        if jobs[0]["id"] == "odd":
                            return len(jobs)
                        self.n = len(jobs)
                        return [{"id": job["id"], "remote_id": self.n, "ok": job["id"] != 2, "reason": "odd"} for job in jobs[:2]]
            """
        },
    )
    described = worker.describe()
    assert (described["problems"], described["connector"]["sync_results"]) == ([], True)
    answer = worker.call("sync", "demo", {"values": {}, "records": [{"id": 1}, {"id": 2}, {"id": 3}]})
    assert answer["result"]["results"] == [
        {"id": "1", "ok": True, "remote_id": "3", "reason": "odd", "code": "ok"},
        {"id": "2", "ok": False, "remote_id": "3", "reason": "odd", "code": "schema"},
        not_done("3", "sync() said nothing about it", "unknown_outcome"),
    ]
    error = worker.call("sync", "demo", {"values": {}, "records": [{"id": "odd"}]})["error"]
    assert (error["code"], "what it did is not known" in error["message"]) == ("unknown_outcome", True)


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("post", "/200", "schema"),
        ("post", "/422", "schema"),
        ("get", "/500", "schema"),
        ("post", "/500", "unknown_outcome"),
        ("post", "/hang", "unknown_outcome"),
        ("post", "http://127.0.0.1:1/", "schema"),
    ],
)
def test_a_no_without_a_code_is_a_no_unless_what_was_written_may_have_arrived(
    start: Start, service: str, method: str, path: str, code: str
) -> None:
    worker = start(
        {},
        beside={
            "scripts/integrations/demo.py": """
                from scripts.integrations.base import IntegrationBase

                class Demo(IntegrationBase):
                    name = "demo"
                    label = "Demo"
                    sync_results = True

                    def fields(self):
                        return []

                    def connect(self, config):
                        return True

                    def test(self):
                        return True

                    def sync(self, jobs):
                        import requests
                        try:
                            requests.request(jobs[0]["method"], jobs[0]["to"], timeout=1)
                        except requests.RequestException:
                            pass
                        return [{"id": job["id"], "remote_id": None, "ok": False, "reason": "odd"} for job in jobs]
            """
        },
    )
    record = {"id": 1, "method": method, "to": path if path.startswith("http") else service + path}
    answer = worker.call("sync", "demo", {"values": {}, "records": [record]})["result"]
    assert answer["results"] == [{"id": "1", "ok": False, "remote_id": None, "reason": "odd", "code": code}]


def test_connectors_that_cannot_be_used_are_problems(start: Start) -> None:
    broken = start({"connector.py": "from scripts.integrations.base import IntegrationBase\nimport nothing_there\n"})
    assert [(p["file"], p["line"]) for p in broken.describe()["problems"]] == [("connector.py", 2)]
    hyphen = start({"connector.py": CONNECTOR.replace('"demo"', '"my-demo"'), "words.py": "GREETING = 1"})
    problem = hyphen.describe()["problems"][0]
    assert problem["file"] == "connector.py"
    assert "use _ for -" in problem["message"]
    assert hyphen.call("test", "demo", {"values": {}})["error"]["code"] == "unsupported"
