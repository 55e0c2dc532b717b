"""How far the hogs of perf/preempt/hogs.c and perf/go/hogs are: they count into a file that is
mapped here, for a server that is starved could not be asked."""

import mmap
import struct
import tempfile
import time

SLOT = 64
SLOTS = 1024


class Counters:
    """The counters of so many hogs, between two calls of start and rows."""

    def __init__(self, hogs):
        self.hogs = hogs
        self.file = tempfile.NamedTemporaryFile(prefix="gyre-hogs-")
        self.file.truncate(SLOT * SLOTS)
        self.memory = mmap.mmap(self.file.fileno(), SLOT * SLOTS)
        self.arguments = ["--counters", self.file.name]

    def start(self):
        self.time, self.loops = time.monotonic(), self._read()

    def figures(self):
        """Since start: loops a second of all, most over least, (most - least) / mean."""
        if not self.hogs:
            return {}
        seconds = time.monotonic() - self.time
        done = [now - then for now, then in zip(self._read(), self.loops)]
        figures = {"hog_loops": sum(done) / seconds, "hog_each": done}
        if self.hogs > 1 and sum(done):
            figures["hog_fairness"] = max(done) / max(min(done), 1)
            figures["hog_spread"] = (max(done) - min(done)) * self.hogs / sum(done)
        return figures

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.memory.close()
        self.file.close()

    def _read(self):
        return [struct.unpack_from("Q", self.memory, SLOT * i)[0] for i in range(self.hogs)]
