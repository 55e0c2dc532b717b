"""examples/tls_echo, end to end; the client is Python's."""

import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile

from harness import (PATIENCE, Program, command_line, end_by_reset, ended, main, read_all,
                     read_exactly)

directory = tempfile.TemporaryDirectory()
CERTIFICATE, KEY = (os.path.join(directory.name, name) for name in ["certificate", "key"])
if not shutil.which("openssl"):
    print("1..0 # SKIP no openssl(1) to make a certificate")
    sys.exit()
subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost", "-keyout", KEY, "-out", CERTIFICATE],
               check=True, capture_output=True, timeout=PATIENCE)


def server(*arguments, workers=2):
    return Program("tls_echo", "--certificate", CERTIFICATE, "--key", KEY, *arguments,
                   workers=workers)


def over_tls(connection, **settings):
    context = ssl.create_default_context(cafile=CERTIFICATE)
    for name, value in settings.items():
        setattr(context, name, value)
    return context.wrap_socket(connection, server_hostname="localhost",
                               suppress_ragged_eofs=False)


def echoed(connection, size):
    """No more at once than the sockets hold: only one thread may use a connection."""
    for done in range(0, size, 50000):
        data = random.randbytes(min(size - done, 50000))
        connection.sendall(data)
        if read_exactly(connection, len(data)) != data:
            return False
    return True


def test_round_trips_of_all_sizes_and_versions():
    with server() as program:
        for version in [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]:
            with over_tls(program.connect(), maximum_version=version) as connection:
                for size in [1, 4095, 16383, 16384, 16385, 1 << 20]:
                    assert echoed(connection, size)
        program.nothing_leaks()


def test_each_end_is_told_from_a_cut():
    with server() as program:
        with over_tls(program.connect()) as connection:
            assert echoed(connection, 100)
            connection.unwrap()  # raises where the answer is missing
        program.nothing_leaks()


def test_garbage_in_one_connection_is_no_error_of_another():
    with server(workers=1) as program:
        connections = [over_tls(program.connect()) for _ in range(8)]
        for turn in range(50):
            with program.connect() as stranger:
                stranger.sendall(b"GET / HTTP/1.0\r\n\r\n")
                for connection in connections:
                    assert echoed(connection, 10 + turn)
                ended(stranger)
        for connection in connections:
            connection.close()
        program.nothing_leaks()


def test_peers_that_leave_leave_nothing_behind():
    with server() as program:
        for step in range(20):
            connection = program.connect()
            if step % 2:
                connection = over_tls(connection)
            connection.sendall(b"x" * 100000 if step % 2 else b"\x16\x03\x01")
            if step % 4 < 2:
                end_by_reset(connection)
            else:
                connection.close()
        with over_tls(program.connect()) as connection:
            assert echoed(connection, 11)
        program.nothing_leaks()


def test_who_says_nothing_is_sent_away():
    with server("--timeout", "0.2") as program:
        with program.connect() as silent:
            ended(silent)
        with over_tls(program.connect()) as silent:
            assert echoed(silent, 5)
            try:
                read_all(silent)
            except (ssl.SSLError, ConnectionResetError):
                pass
        program.nothing_leaks()


def test_a_signal_ends_it_with_connections_open():
    with server() as program:
        connections = [program.connect()] + [over_tls(program.connect()) for _ in range(5)]
        assert echoed(connections[1], 5)
        program.process.send_signal(signal.SIGTERM)
        assert program.wait() == (0, "")
        for connection in connections:
            socket.socket.close(connection)


def test_a_missing_certificate_is_named():
    status, _, error = command_line("tls_echo", "--certificate", "/nowhere", "--key", KEY)
    assert status == 1 and "/nowhere" in error


main(globals())
