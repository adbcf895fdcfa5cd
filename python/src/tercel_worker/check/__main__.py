"""The program: `python -m tercel_worker.check <folder>` prints what is wrong with it as JSON."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tercel_worker.check import check


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print("usage: python -m tercel_worker.check <folder>", file=sys.stderr)
        sys.exit(2)
    json.dump({"problems": [asdict(problem) for problem in check(Path(sys.argv[1]))]}, sys.stdout)


main()
