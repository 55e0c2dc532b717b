"""What is measured: servers as child processes, each bound to its CPUs."""

import os
import re
import select
import signal
import subprocess
import tempfile
import time

# In the order of perf/peers/raw_io_uring.c; --quick chooses among the first of each list.
RAW_IO_URING = [
    "recv", "together", "multishot", "coop", "multishot_send2", "direct", "pollfirst", "link",
    "send2", "multishot_minwait", "coop_send2", "coop_multishot", "coop_multishot_send2",
]
RAW_EPOLL = ["edge", "level"]
QUICK = 3


class Subject:
    def __init__(self, family, variant, program, arguments=(), environment=None):
        self.family = family
        self.variant = variant
        self.name = f"{family}_{variant}" if variant else family
        self.program = program
        self.arguments = list(arguments)
        self.environment = environment or {}


class Failure(Exception):
    """A run that gave no figure, and why."""


def placed(cpus, nice):
    """A function for the child: bound to cpus, with the driver's priority offset by nice. Where the
    kernel shares CPUs out by session first (autogroup), a session of its own gets that weight."""

    def prepare():
        os.sched_setaffinity(0, cpus)
        if not nice:
            return
        os.setsid()
        os.nice(nice)
        try:
            with open("/proc/self/autogroup", "w", encoding="ascii") as file:
                file.write(str(max(-20, min(19, nice))))
        except OSError:
            pass  # no autogroups here: the priority alone decides

    return prepare


def environment(subject):
    """Without GYRE_*: what is measured is the default, but for what the subject asks for."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith("GYRE_")}
    return ours | subject.environment


class Server:
    """A server that runs inside a `with` block."""

    def __init__(self, subject, cpus, nice, connections, arguments=()):
        arguments = [*subject.arguments, *arguments]
        self.environment = environment(subject)
        if subject.family == "raw_io_uring" and connections >= 4096:
            arguments += ["--buffers", "16384"]
        self.command = [subject.program, "--port", "0", "--workers", str(len(cpus)), *arguments]
        self.prepare = placed(cpus, nice)

    def __enter__(self):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=self.errors, preexec_fn=self.prepare, env=self.environment)
        try:
            self.port = self._wait_for_port()
        except Failure:
            self.__exit__()
            raise
        return self

    def _wait_for_port(self):
        text, end = b"", time.monotonic() + 10
        output = self.process.stdout
        while time.monotonic() < end:
            if not select.select([output], [], [], 0.1)[0]:
                continue
            piece = os.read(output.fileno(), 4096)
            text += piece
            found = re.search(rb"listening on 127\.0\.0\.1:(\d+)\n", text)
            if found:
                return int(found.group(1))
            if not piece:
                break
        self.errors.seek(0)
        reason = self.errors.read(500).decode("utf-8", "replace").strip()
        raise Failure(f"{os.path.basename(self.command[0])} did not start listening: {reason}")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
