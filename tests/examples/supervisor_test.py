"""examples/supervisor, end to end."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile

from harness import PATIENCE, PROGRAMS, Skip, command_line, eventually, main


class Supervisor:
    """The supervisor inside a `with` block; it must end with status 0, and leave nobody behind."""

    def __init__(self, *lines, pause="0.01", longest="0.05", grace="5"):
        self.lines = lines
        self.options = ["--pause", pause, "--longest", longest, "--grace", grace]
        self.seen = []
        self.told = False

    def __enter__(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as file:
            self.config = file.name
            file.write("\n".join(self.lines) + "\n")
        self.process = subprocess.Popen(
            [PROGRAMS["supervisor"], "--config", self.config, *self.options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        return self

    def __exit__(self, kind, value, trace):
        os.unlink(self.config)
        if not self.told:
            self.end(signal.SIGTERM)
        try:
            rest, error = self.process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise AssertionError("the supervisor did not end") from None
        self.seen += rest.decode().splitlines()
        if "cannot start" in error.decode() and "io_uring" in error.decode():
            raise Skip("io_uring is not available here")
        if kind is None:
            assert (self.process.returncode, error) == (0, b""), (self.process.returncode, error)
            for pid in self.started():
                eventually(lambda pid=pid: not alive(pid), f"process {pid} is gone")

    def end(self, number):
        """Once: a second signal would end it where it stands."""
        self.told = True
        self.process.send_signal(number)

    def started(self):
        found = (re.fullmatch(r"\S+ \| started, process (\d+)", line) for line in self.seen)
        return [int(match.group(1)) for match in found if match]

    def sees(self, wanted):
        """Reads up to the line wanted, unless that was read already."""
        if not any(re.fullmatch(wanted, line) for line in self.seen):
            self.until(wanted)

    def until(self, wanted):
        """Reads up to the next line wanted, a regular expression."""
        while True:
            line = self.process.stdout.readline().decode()
            if not line:
                raise AssertionError(f"it ended before {wanted!r}: {self.seen}")
            self.seen.append(line.rstrip("\n"))
            if re.fullmatch(wanted, self.seen[-1]):
                return self.seen[-1]


def alive(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False


def test_lines_have_names():
    with Supervisor("# a comment", "", "one: echo first; echo second >&2; sleep 1000",
                    "two : printf unfinished") as supervisor:
        supervisor.until(r"one \| second")
        assert "one | first" in supervisor.seen
        supervisor.sees(r"two \| unfinished")
    assert "one | ended by signal 15" in supervisor.seen


def test_what_ends_is_started_again():
    with Supervisor("job: exit 3") as supervisor:
        pauses = []
        for _ in range(5):
            supervisor.until(r"job \| ended with status 3")
            pauses.append(supervisor.until(r"job \| starts again in .* s"))
        assert len(set(supervisor.started())) == 5
    with Supervisor("job: exit 0", pause="0.1", longest="0.4") as supervisor:
        pauses = [supervisor.until(r"job \| starts again in .* s").split()[-2] for _ in range(4)]
        assert pauses == ["0.1", "0.2", "0.4", "0.4"], pauses


def test_killed_one_is_started_again():
    with Supervisor("job: exec sleep 1000") as supervisor:
        supervisor.until(r"job \| started, process \d+")
        os.kill(supervisor.started()[0], signal.SIGKILL)
        supervisor.until(r"job \| ended by signal 9")
        supervisor.until(r"job \| started, process \d+")


def test_hangup_is_passed_on():
    script = "trap 'echo again' HUP; echo ready; while :; do sleep 0.01; done"
    with Supervisor(f"a: {script}", f"b: {script}") as supervisor:
        for name in "ab":
            supervisor.sees(rf"{name} \| ready")
        for _ in range(2):
            supervisor.process.send_signal(signal.SIGHUP)
            first = supervisor.until(r"[ab] \| again")
            other = {"a": "b", "b": "a"}[first[0]]
            supervisor.until(rf"{other} \| again")


def test_end_is_graceful():
    with Supervisor("job: trap 'echo saving; exit 5' TERM; echo ready;"
                    " while :; do sleep 0.01; done") as supervisor:
        supervisor.until(r"job \| ready")
        supervisor.end(signal.SIGINT)
        supervisor.until(r"job \| saving")
        supervisor.until(r"job \| ended with status 5")


def test_stubborn_ones_are_killed():
    with Supervisor("job: trap '' TERM; echo ready; while :; do sleep 0.01; done",
                    grace="0.1") as supervisor:
        supervisor.until(r"job \| ready")
        supervisor.end(signal.SIGTERM)
        supervisor.until(r"job \| ended by signal 9")


def test_second_signal_ends_it_where_it_stands():
    with Supervisor("job: trap '' TERM; echo $$; while :; do sleep 0.01; done") as supervisor:
        pid = int(supervisor.until(r"job \| \d+").split()[-1])
        supervisor.end(signal.SIGINT)

        def is_over():
            supervisor.process.send_signal(signal.SIGINT)
            return supervisor.process.poll() is not None

        eventually(is_over, "the second signal ends it")
        assert supervisor.process.returncode == -signal.SIGINT
        os.kill(pid, signal.SIGKILL)
        supervisor.process.returncode = 0  # which is what was wanted


def test_grandchildren_end_too():
    with Supervisor("job: sleep 1000 & echo $!; wait") as supervisor:
        pid = int(supervisor.until(r"job \| \d+").split()[-1])
    eventually(lambda: not alive(pid), "the grandchild is gone")


def test_long_lines_and_many():
    with Supervisor("job: seq 1 20000; head -c 10000 /dev/zero | tr '\\0' x; echo; echo done;"
                    " sleep 1000") as supervisor:
        supervisor.until(r"job \| done")
    numbers = [line[6:] for line in supervisor.seen if re.fullmatch(r"job \| \d+", line)]
    assert numbers == [str(number) for number in range(1, 20001)]
    assert sum(line.count("x") for line in supervisor.seen if "xx" in line) == 10000


def test_command_line_errors_are_named():
    status, output, _ = command_line("supervisor", "--help")
    assert status == 0 and "--config FILE" in output
    status, _, error = command_line("supervisor")
    assert status == 2 and "--config" in error
    status, _, error = command_line("supervisor", "--config", "/nowhere")
    assert status == 2 and error == "/nowhere: No such file or directory\n"
    for text, wanted in [("job", "1: no 'NAME: COMMAND'"), ("# x\njob:", "2: no command"),
                         (": ls", "1: no name"), ("# x", "1: nothing to run")]:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text + "\n")
            file.flush()
            status, _, error = command_line("supervisor", "--config", file.name)
            assert status == 2 and error == f"{file.name}:{wanted}\n", error


main(globals())
