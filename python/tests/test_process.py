"""The worker as a process: how it ends, and how it is seen when it hangs."""

import http.client
import signal
import time

import pytest
from harness import Start, Worker

FILES = {
    "tools/bad.py": """
        import ctypes, subprocess, threading, time
        from integrations._register import register

        def tool(function):
            return register({"type": "function", "function": {"name": function.__name__}})(function)

        @tool
        async def blocks():
            print("blocking")
            time.sleep(60)

        @tool
        def crashes():
            ctypes.string_at(0)

        @tool
        def child():
            held = subprocess.run(["ls", "-l", "/proc/self/fd"], capture_output=True, text=True, close_fds=False)
            return held.stdout

        @tool
        def keeps_a_thread():
            threading.Thread(target=time.sleep, args=(60,)).start()

        @tool
        def floods():
            for number in range(20_000):
                print("x" * 50, number)
            print("\\udcff is no Unicode")
            print("the last words")
            return "done"

        import atexit
        atexit.register(lambda: print("the folder's last words"))

        @tool
        async def quick():
            return "quick"
    """,
}


def open_call(worker: Worker, tool: str) -> http.client.HTTPConnection:
    connection = worker.connect()
    connection.request("POST", "/v1/call", f'{{"call": "1", "part": "tool", "name": "{tool}", "deadline_ms": 60000}}')
    return connection


def test_a_blocked_loop_shows_the_line_that_blocks_it(start: Start) -> None:
    worker = start(FILES)
    connection = open_call(worker, "blocks")
    worker.wait_for_log("blocking")
    worker.process.send_signal(signal.SIGUSR1)
    log = worker.wait_for_log("in blocks")
    assert 'tools/bad.py", line 11 in blocks' in log
    assert worker.process.poll() is None
    connection.close()
    worker.process.kill()


def test_a_dump_can_be_asked_for_without_harm(start: Start) -> None:
    worker = start(FILES)
    assert worker.tool("quick") == {"result": "quick"}
    worker.process.send_signal(signal.SIGUSR1)
    worker.wait_for_log("Thread 0x")
    assert worker.tool("quick") == {"result": "quick"}


def test_a_crash_of_folder_code_ends_the_worker_and_the_log_says_where(start: Start) -> None:
    worker = start(FILES)
    connection = open_call(worker, "crashes")
    with pytest.raises((ConnectionError, http.client.RemoteDisconnected)):
        connection.getresponse()
    assert worker.process.wait(10) == -signal.SIGSEGV
    assert "in crashes" in worker.wait_for_log("Segmentation fault")


def test_a_child_of_the_folder_s_does_not_hold_the_socket(start: Start) -> None:
    worker = start(FILES)
    assert "socket:" not in worker.tool("child")["result"]


def test_the_worker_ends_when_its_standard_input_does(start: Start) -> None:
    worker = start(FILES)
    worker.tool("keeps_a_thread")
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    assert worker.process.wait(10) == 0


def test_a_blocked_worker_ends_when_its_standard_input_does(start: Start) -> None:
    worker = start(FILES)
    connection = open_call(worker, "blocks")
    worker.wait_for_log("blocking")
    begun = time.monotonic()
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    worker.process.wait(10)
    assert time.monotonic() - begun < 6
    connection.close()


def test_sigterm_ends_it_in_order(start: Start) -> None:
    worker = start(FILES)
    assert worker.tool("quick") == {"result": "quick"}
    worker.process.terminate()
    assert worker.process.wait(10) == 0
    assert "the folder's last words" in worker.log()


def test_a_flood_of_lines_is_only_a_log(start: Start) -> None:
    worker = start(FILES)
    assert worker.tool("floods") == {"result": "done"}
    log = worker.wait_for_log("the last words")
    assert log.count("x" * 50) == 20_000
    assert "\\udcff is no Unicode" in log
    assert worker.tool("quick") == {"result": "quick"}
