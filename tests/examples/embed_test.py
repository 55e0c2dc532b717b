"""examples/embed, end to end: a loop of epoll's or libuv's, and gyre in the background."""

import contextlib
import signal
import socket
import threading

from harness import PATIENCE, PROGRAMS, Program, main, read_all

LOOPS = ["embed_epoll", "embed_libuv"]


class Backend:
    """Answers each connection with what it read, in capitals; or never."""

    def __init__(self, silent=False):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.silent = silent
        self.held = []
        self.asked = threading.Semaphore(0)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection = self.listener.accept()[0]
                self.asked.release()
                if self.silent:
                    self.held.append(connection)
                    continue
                with connection:
                    connection.sendall(read_all(connection).upper())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for connection in self.held:
            connection.close()


def ask(program, port, text):
    connection = program.connect()
    connection.sendall(f"127.0.0.1:{port} {text}\n".encode())
    return connection


def answer(connection):
    with connection:
        return read_all(connection).decode()


def on_each(check):
    for name in LOOPS:
        if name in PROGRAMS:
            with Program(name) as program:
                check(program)


def test_answers_come_back():
    def check(program):
        with Backend() as backend:
            waiting = [ask(program, backend.port, f"hello {i}") for i in range(50)]
            for number, connection in enumerate(waiting):
                assert answer(connection) == f"HELLO {number}"
        program.nothing_leaks()
    on_each(check)


def test_who_is_not_there_is_an_error():
    def check(program):
        with socket.create_server(("127.0.0.1", 0)) as gone:
            port = gone.getsockname()[1]
        assert answer(ask(program, port, "x")) == "error: Connection refused\n"
        connection = program.connect()
        connection.sendall(b"nonsense\n")
        assert answer(connection) == "error: Invalid argument\n"
    on_each(check)


def test_a_silent_backend_is_given_up_and_holds_up_nobody():
    def check(program):
        with Backend(silent=True) as silent, Backend() as backend:
            slow = ask(program, silent.port, "x")
            assert answer(ask(program, backend.port, "y")) == "Y"
            assert answer(slow) == "error: Connection timed out\n"
    on_each(check)


def test_a_client_that_leaves_does_no_harm():
    def check(program):
        with Backend(silent=True) as silent, Backend() as backend:
            ask(program, silent.port, "x").close()
            with program.connect() as half:
                half.sendall(b"127.0.0.1:1 half a l")
            assert answer(ask(program, backend.port, "y")) == "Y"
            silent.asked.acquire(timeout=PATIENCE)
        program.nothing_leaks()
    on_each(check)


def test_an_end_in_the_middle_cancels():
    for name in LOOPS:
        if name not in PROGRAMS:
            continue
        with Program(name) as program, Backend(silent=True) as silent:
            connection, idle = ask(program, silent.port, "x"), program.connect()
            assert silent.asked.acquire(timeout=PATIENCE)
            program.process.send_signal(signal.SIGTERM)
            assert answer(connection) == "error: Operation canceled\n"
            assert read_all(idle) == b""
            idle.close()
            assert program.wait() == (0, "")


main(globals())
