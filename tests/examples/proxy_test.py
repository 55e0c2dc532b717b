"""examples/proxy, end to end; upstream is examples/echo, or a socket that the test holds."""

import contextlib
import random
import socket
import threading
import time

from harness import (PATIENCE, Program, command_line, end_by_reset, ended, exchange, main, misbehave,
                     read_all, read_exactly, was_reset)


def to(port):
    return ["--upstream", f"127.0.0.1:{port}"]


@contextlib.contextmanager
def before_echo(*arguments, workers=2):
    with Program("echo") as echo:
        with Program("proxy", *to(echo.port), *arguments, workers=workers) as proxy:
            yield proxy
            proxy.nothing_leaks()
        echo.nothing_leaks()


class Upstream:
    """A server of one connection, in the hands of the test."""

    def __init__(self, *arguments):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.proxy = Program("proxy", *to(self.listener.getsockname()[1]), *arguments)

    def __enter__(self):
        self.proxy.__enter__()
        self.client = self.proxy.connect()
        self.server = self.listener.accept()[0]
        self.server.settimeout(PATIENCE)
        return self

    def __exit__(self, *reason):
        self.client.close()
        self.server.close()
        if reason[0] is None and self.proxy.process.poll() is None:
            self.proxy.nothing_leaks()
        self.proxy.__exit__(*reason)
        self.listener.close()


def test_bytes_pass_both_ways():
    with before_echo() as proxy, proxy.connect() as connection:
        for size in [1, 16383, 16384, 16385, 300000]:
            data = random.randbytes(size)
            assert exchange(connection, data) == data


def test_large_transfer_arrives_whole():
    data = random.randbytes(32 << 20)
    with before_echo() as proxy, proxy.connect() as connection:
        assert exchange(connection, data) == data


def test_end_of_the_client_is_passed_on_and_the_answer_comes_back():
    with Upstream() as pair:
        pair.client.sendall(b"question")
        pair.client.shutdown(socket.SHUT_WR)
        assert read_all(pair.server) == b"question"
        answer = random.randbytes(1 << 20)
        sender = threading.Thread(target=lambda: (pair.server.sendall(answer),
                                                  pair.server.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(pair.client) == answer
        sender.join()


def test_end_of_the_server_is_passed_on_and_the_client_goes_on():
    with Upstream() as pair:
        pair.server.sendall(b"greeting")
        pair.server.shutdown(socket.SHUT_WR)
        assert read_all(pair.client) == b"greeting"
        data = random.randbytes(1 << 20)
        sender = threading.Thread(target=lambda: (pair.client.sendall(data),
                                                  pair.client.shutdown(socket.SHUT_WR)))
        sender.start()
        assert read_all(pair.server) == data
        sender.join()


def test_reset_of_the_client_is_passed_on():
    with Upstream() as pair:
        pair.client.sendall(b"hello")
        assert read_exactly(pair.server, 5) == b"hello"
        end_by_reset(pair.client)
        assert was_reset(pair.server)


def test_reset_of_the_server_is_passed_on():
    with Upstream() as pair:
        pair.client.sendall(b"hello")
        assert read_exactly(pair.server, 5) == b"hello"
        end_by_reset(pair.server)
        assert was_reset(pair.client)


def test_slow_reader_holds_the_writer_back():
    with Upstream() as pair:
        pair.client.settimeout(0.2)
        sent = 0
        try:
            while sent < 1 << 30:
                sent += pair.client.send(b"x" * 65536)
        except TimeoutError:
            pass
        assert sent < 1 << 30, "the proxy took a gigabyte for a peer that reads nothing"
        pair.client.shutdown(socket.SHUT_WR)
        assert len(read_all(pair.server)) == sent


def test_refused_upstream_closes_the_client():
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))  # and does not listen
    with Program("proxy", *to(closed.getsockname()[1])) as proxy:
        for _ in range(10):
            with contextlib.suppress(ConnectionResetError):  # as early as in connect
                with proxy.connect() as connection:
                    ended(connection)
        proxy.nothing_leaks()
    closed.close()


def test_upstream_that_does_not_answer_times_out():
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = []
    for _ in range(4):  # what its queue takes; the kernel then ignores attempts to connect
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(full.getsockname())
    with Program("proxy", *to(full.getsockname()[1]), "--connect-timeout", "0.2") as proxy:
        with proxy.connect() as connection:
            begin = time.monotonic()
            ended(connection)
            assert time.monotonic() - begin > 0.15
        proxy.nothing_leaks()
    for connection in waiting + [full]:
        connection.close()


def test_idle_connection_is_cut_on_both_sides():
    with Upstream("--idle-timeout", "0.2") as pair:
        pair.client.sendall(b"hello")
        assert read_exactly(pair.server, 5) == b"hello"
        assert was_reset(pair.client)
        assert was_reset(pair.server)


def test_bytes_one_way_keep_the_other_way_open():
    with Upstream("--idle-timeout", "2") as pair:
        for _ in range(12):  # three seconds, in steps far below the timeout
            pair.server.sendall(b"x")
            assert read_exactly(pair.client, 1) == b"x"
            time.sleep(0.25)
        pair.client.sendall(b"still here")
        assert read_exactly(pair.server, 10) == b"still here"


def test_write_that_stalled_goes_on_where_it_stopped():
    with Upstream("--idle-timeout", "3") as pair:
        data, sent = memoryview(random.randbytes(64 << 20)), 0
        pair.client.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            while sent < len(data):
                sent += pair.client.send(data[sent:sent + 65536])
        assert sent < len(data)
        for _ in range(20):  # for longer than the timeout: this one direction is all that moves
            pair.server.sendall(b"x")
            assert read_exactly(pair.client, 1) == b"x"
            time.sleep(0.2)
        pair.client.shutdown(socket.SHUT_WR)
        assert read_all(pair.server) == data[:sent]


def test_peer_that_takes_nothing_counts_as_idle():
    with Upstream("--idle-timeout", "0.3") as pair:
        pair.client.settimeout(PATIENCE)
        try:
            while True:
                pair.client.send(b"x" * 65536)
        except ConnectionError:
            pass


def test_two_hundred_connections_at_once():
    with before_echo(workers=4) as proxy:
        connections = [proxy.connect() for _ in range(200)]
        for turn in range(5):
            for number, connection in enumerate(connections):
                connection.sendall(b"%d.%d" % (turn, number))
            for number, connection in enumerate(connections):
                expected = b"%d.%d" % (turn, number)
                assert read_exactly(connection, len(expected)) == expected
        for connection in connections:
            connection.close()


def test_clients_that_misbehave_leave_nothing_behind():
    with before_echo("--idle-timeout", "1", workers=4) as proxy:
        misbehave(proxy, b"x" * 100000)


def test_signal_cuts_what_is_open():
    with Upstream() as pair:
        pair.client.sendall(b"hello")
        assert read_exactly(pair.server, 5) == b"hello"
        pair.proxy.process.terminate()
        assert was_reset(pair.client)
        assert was_reset(pair.server)
        assert pair.proxy.wait() == (0, "")


def test_signal_leaves_the_grace_to_end():
    with Upstream("--grace", "20") as pair:
        pair.client.sendall(b"hello")
        assert read_exactly(pair.server, 5) == b"hello"
        pair.proxy.terminate()
        data = random.randbytes(100000)
        pair.server.sendall(data)
        pair.server.shutdown(socket.SHUT_WR)
        assert read_all(pair.client) == data
        pair.client.shutdown(socket.SHUT_WR)
        assert read_all(pair.server) == b""
        assert pair.proxy.wait() == (0, "")


def test_signal_while_connecting_ends_it():
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = []
    for _ in range(4):
        waiting.append(socket.socket())
        waiting[-1].setblocking(False)
        waiting[-1].connect_ex(full.getsockname())
    with Program("proxy", *to(full.getsockname()[1])) as proxy, proxy.connect() as connection:
        proxy.process.terminate()
        ended(connection)
        assert proxy.wait() == (0, "")
    for connection in waiting + [full]:
        connection.close()


def test_upstream_must_be_given_and_make_sense():
    status, _, error = command_line("proxy", "--port", "0")
    assert status == 2 and "--upstream HOST:PORT is required" in error
    for wrong in ["", "nowhere", ":80", "127.0.0.1:http-or-so"]:
        status, _, error = command_line("proxy", "--port", "0", "--upstream", wrong)
        assert status == 2 and error.startswith(f"proxy: --upstream {wrong}: "), error


main(globals())
