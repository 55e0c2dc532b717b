"""Runs the example programs as a user would: as processes, over sockets of this machine.

A test is a function whose name starts with `test_`; main() runs those of its module and reports in
TAP. Nothing waits for a fixed time: a test waits for what it expects, and a watchdog turns a hang into
a message that names the test.
"""

import contextlib
import os
import random
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback

PROGRAMS = {}  # name: path; from the command line
WATCHDOG = 100
PATIENCE = 20  # seconds for whatever a test expects


class Skip(Exception):
    pass


def eventually(condition, what):
    """Waits for a state that nothing announces."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"never happened: {what}")
        time.sleep(0.005)


class Program:
    """A server inside a `with` block; it must end with status 0, and say nothing on stderr."""

    def __init__(self, name, *arguments, workers=2, descriptors=None):
        self.name = name
        self.descriptors = descriptors
        self.command = [PROGRAMS[name], "--port", "0", "--workers", str(workers), *arguments]

    def _limit(self):
        if self.descriptors:
            resource.setrlimit(resource.RLIMIT_NOFILE, (self.descriptors, self.descriptors))

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        preexec_fn=self._limit)
        line = self.process.stdout.readline().decode()
        found = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", line)
        if not found:
            error = self.process.communicate()[1].decode()
            if "io_uring" in error and "cannot start" in error:
                raise Skip("io_uring is not available here")
            raise AssertionError(f"{self.name} did not start: {line!r} {error!r}")
        self.port = int(found.group(1))
        self.descriptors_at_start = self.open_descriptors()
        return self

    def __exit__(self, kind, value, trace):
        ended = self.process.poll()
        if ended is None:
            self.process.send_signal(signal.SIGTERM)
        status, error = self.wait()
        if kind is None and (status != 0 or error):
            raise AssertionError(f"{self.name} ended with status {status}: {error}")
        if error:
            print(f"# {self.name}: {error}")

    def wait(self):
        """Status and what was written to standard error, once the program has ended."""
        if not self.process.stderr.closed:
            try:
                self.error = self.process.communicate(timeout=PATIENCE)[1].decode()
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.error = self.process.communicate()[1].decode()
                raise AssertionError(f"{self.name} did not end") from None
        return self.process.returncode, self.error

    def terminate(self):
        """SIGTERM, and back when the listener is gone."""
        self.process.send_signal(signal.SIGTERM)
        eventually(self._refuses, "the listener closes")

    def _refuses(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as probe:
                end_by_reset(probe)  # one that was accepted all the same is over for everybody
        except ConnectionError:
            return True
        return False

    def connect(self):
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def open_descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def nothing_leaks(self):
        """Every connection's descriptors are closed again."""
        eventually(lambda: self.open_descriptors() <= self.descriptors_at_start,
                   f"{self.name} closes its descriptors")


def end_by_reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def taken(connection):
    """Waits until the peer, on this machine, has read all that was sent so far."""
    def queue():
        local = f"0100007F:{connection.getsockname()[1]:04X}"
        peer = f"0100007F:{connection.getpeername()[1]:04X}"
        with open("/proc/net/tcp", encoding="ascii") as table:
            for line in table:
                fields = line.split()
                if fields[1] == peer and fields[2] == local:
                    return int(fields[4].split(":")[1], 16)
        return 0
    eventually(lambda: queue() == 0, "the peer reads")


def read_all(connection):
    """Up to the end of the stream."""
    pieces = []
    while piece := connection.recv(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


def read_exactly(connection, count):
    pieces = []
    while count:
        piece = connection.recv(min(count, 1 << 16))
        if not piece:
            raise AssertionError(f"the stream ended {count} bytes early")
        pieces.append(piece)
        count -= len(piece)
    return b"".join(pieces)


def was_reset(connection):
    """Whether the stream ends by a reset (whatever data comes before)."""
    try:
        read_all(connection)
    except ConnectionResetError:
        return True
    return False


def ended(connection):
    """Waits for the stream's end, of either kind."""
    try:
        read_all(connection)
    except ConnectionResetError:
        pass


def exchange(connection, data):
    """Sends data while reading as much back, as a peer that echoes needs it."""
    view, received = memoryview(data), []
    count = 0
    connection.setblocking(False)
    while count < len(data):
        readable, writable, _ = select.select([connection], [connection] if view else [], [],
                                              PATIENCE)
        if not readable and not writable:
            raise AssertionError(f"stuck after {count} bytes")
        if writable:
            view = view[connection.send(view[:1 << 18]):]
        if readable:
            piece = connection.recv(1 << 18)
            if not piece:
                raise AssertionError(f"the stream ended after {count} bytes")
            received.append(piece)
            count += len(piece)
    connection.settimeout(PATIENCE)
    return b"".join(received)


def misbehave(program, data, clients=8, rounds=150):
    """Clients that send a part, don't wait for the rest, half-close, reset or just leave."""
    seed = random.randrange(1 << 32)
    print(f"# seed {seed}")

    def client(number):
        choice = random.Random(seed + number)
        for _ in range(rounds):
            with contextlib.suppress(ConnectionError), program.connect() as connection:
                connection.sendall(data[:choice.randrange(len(data) + 1)])
                if choice.random() < 0.3:
                    connection.shutdown(socket.SHUT_WR)
                    if choice.random() < 0.5:
                        read_all(connection)
                elif choice.random() < 0.5:
                    connection.recv(choice.choice([1, 100, 65536]))
                if choice.random() < 0.5:
                    end_by_reset(connection)

    threads = [threading.Thread(target=client, args=[number]) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def command_line(name, *arguments):
    """Runs a program that is expected to end by itself: status, stdout, stderr."""
    done = subprocess.run([PROGRAMS[name], *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def main(module):
    """usage: TEST.py NAME=PROGRAM... [TEST...]"""
    names = [name for name in module if name.startswith("test_")]
    only = []
    for argument in sys.argv[1:]:
        if "=" in argument:
            name, path = argument.split("=", 1)
            PROGRAMS[name] = path
        else:
            only.append(argument)
    names = [name for name in names if not only or name in only]
    current = None

    def bark(*_):
        print(f"Bail out! {current} hangs", flush=True)
        traceback.print_stack()
        os._exit(1)

    signal.signal(signal.SIGALRM, bark)
    print(f"1..{len(names)}", flush=True)
    failed = 0
    for number, current in enumerate(names, 1):
        signal.alarm(WATCHDOG)
        verdict, note = "ok", ""
        try:
            module[current]()
        except Skip as reason:
            note = f" # SKIP {reason}"
        except Exception:  # pylint: disable=broad-except
            verdict = "not ok"
            failed += 1
            for line in traceback.format_exc().splitlines():
                print(f"# {line}")
        print(f"{verdict} {number} {current[5:]}{note}", flush=True)
    signal.alarm(0)
    sys.exit(1 if failed else 0)
