"""Run a command, and write what it took into a file: python -I -S meter.py FILE COMMAND...

Of its own, because the peak memory of a process on Linux counts from its parent's size on: this
parent is small.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

# getrusage(2) counts in kilobytes on Linux, in bytes on macOS.
BYTES_A_UNIT = 1 if sys.platform == "darwin" else 1024

if __name__ == "__main__":
    report, *command = sys.argv[1:]
    start = time.monotonic()
    status = subprocess.call(command)
    seconds = time.monotonic() - start
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "peak_megabytes": usage.ru_maxrss * BYTES_A_UNIT / 1e6,
    }
    Path(report).write_text(json.dumps(spent), encoding="utf-8")
    sys.exit(status)
