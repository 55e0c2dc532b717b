"""examples/echo, end to end."""

import random
import signal
import socket

from harness import (Program, command_line, end_by_reset, ended, exchange, main, read_all,
                     read_exactly)


def test_round_trips_of_all_sizes():
    with Program("echo") as echo, echo.connect() as connection:
        for size in [1, 2, 63, 4095, 4096, 4097, 10000, 65536]:
            data = random.randbytes(size)
            connection.sendall(data)
            assert read_exactly(connection, size) == data


def test_large_transfer_arrives_whole():
    data = random.randbytes(32 << 20)
    with Program("echo") as echo, echo.connect() as connection:
        assert exchange(connection, data) == data


def test_half_close_gets_the_rest_and_an_end():
    data = random.randbytes(100000)
    with Program("echo") as echo:
        with echo.connect() as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            assert read_all(connection) == data
        echo.nothing_leaks()


def test_many_connections_keep_their_bytes_apart():
    with Program("echo", workers=4) as echo:
        connections = [echo.connect() for _ in range(200)]
        for turn in range(5):
            for number, connection in enumerate(connections):
                connection.sendall(b"%d.%d" % (turn, number))
            for number, connection in enumerate(connections):
                expected = b"%d.%d" % (turn, number)
                assert read_exactly(connection, len(expected)) == expected
        for connection in connections:
            connection.close()
        echo.nothing_leaks()


def test_peer_that_resets_leaves_nothing_behind():
    with Program("echo") as echo:
        for _ in range(20):
            connection = echo.connect()
            connection.sendall(b"x" * 100000)
            end_by_reset(connection)
        with echo.connect() as connection:
            connection.sendall(b"still there")
            assert read_exactly(connection, 11) == b"still there"
        echo.nothing_leaks()


def test_connections_beyond_the_descriptor_limit_wait_their_turn():
    with Program("echo", descriptors=64) as echo:
        connections = [echo.connect() for _ in range(100)]
        for connection in connections:
            connection.sendall(b"hello")
        for connection in connections:
            assert read_exactly(connection, 5) == b"hello"
            connection.close()
        echo.nothing_leaks()


def test_each_signal_ends_it_with_connections_open():
    for number in [signal.SIGTERM, signal.SIGINT]:
        with Program("echo") as echo:
            connections = [echo.connect() for _ in range(20)]
            connections[0].sendall(b"hello")
            assert read_exactly(connections[0], 5) == b"hello"
            echo.process.send_signal(number)
            for connection in connections:
                ended(connection)
                connection.close()
            assert echo.wait() == (0, "")


def test_command_line_errors_are_named():
    status, output, _ = command_line("echo", "--help")
    assert status == 0 and "--workers N" in output
    for wrong in ["70000", "-1", "8x", ""]:
        status, _, error = command_line("echo", "--port", wrong)
        assert status == 2 and f"--port takes a number from 0 to 65535, not '{wrong}'" in error
    status, _, error = command_line("echo", "--nonsense")
    assert status == 2 and "nonsense" in error
    status, _, error = command_line("echo", "stray")
    assert status == 2 and "'stray'" in error


def test_port_in_use_is_an_error():
    with Program("echo") as echo:
        status, output, error = command_line("echo", "--port", str(echo.port))
        assert status == 1 and output == ""
        assert error == f"can't listen on 127.0.0.1:{echo.port}: Address already in use\n"


main(globals())
