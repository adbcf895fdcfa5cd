"""The program: `python -m tercel_worker <snapshot> <id> [<directory with sibling folders> …]`."""

import argparse
import os
import sys
from pathlib import Path

from tercel_worker import calls, output, serve


def main() -> None:
    parser = argparse.ArgumentParser(prog="tercel_worker", description="Serves one integration folder to Tercel.")
    parser.add_argument("snapshot", type=Path, help="directory that holds integrations/<id>")
    parser.add_argument("id", help="the integration's id")
    parser.add_argument("siblings", type=Path, nargs="*", help="directories that hold other folders, by id")
    given = parser.parse_args()
    descriptor = os.environ.get("TERCEL_SOCKET", "")
    if not descriptor.isdecimal():
        parser.error("TERCEL_SOCKET is not the number of an inherited socket; this program is started by Tercel")
    output.prepare()
    status = serve.run(given.snapshot.resolve(), given.id, [path.resolve() for path in given.siblings], int(descriptor))
    if calls.threads_end():
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    # An ordinary exit would wait for a thread that does not end.
    os._exit(status)


main()
