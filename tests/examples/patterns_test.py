"""examples/patterns: each prints what its comment promises, by several numbers of workers."""

import os
import re
import socket
import subprocess

from harness import PATIENCE, PROGRAMS, Program, Skip, ended, main, read_all


def run(name, *arguments, workers=None, said=""):
    """Standard output of a pattern that ends well; what it says beside that matches `said`."""
    if name not in PROGRAMS:
        raise Skip(f"{name} is not built")
    environment = {**os.environ, "GYRE_DEBUG": "checks"}
    if workers:
        environment["GYRE_WORKERS"] = str(workers)
    done = subprocess.run([PROGRAMS[name], *arguments], stdin=subprocess.DEVNULL, env=environment,
                          capture_output=True, text=True, timeout=PATIENCE * 2, check=False)
    if "io_uring" in done.stderr and "cannot start" in done.stderr:
        raise Skip("io_uring is not available here")
    assert done.returncode == 0, f"{done}"
    assert re.fullmatch(said, done.stderr, re.S), f"{done.stderr}"
    return done.stdout


def prints(name, expected, *arguments):
    for workers in [1, 2, 5]:
        output = run(name, *arguments, workers=workers)
        assert output == expected, f"{workers} workers: {output!r}"


def test_hello():
    prints("hello", "hello from a coroutine, gopher\nand from main\n")


def test_fan_out_fan_in():
    prints("fan_out_fan_in", "the squares of 1 to 100 add up to 338350\n")


def test_pipeline():
    prints("pipeline", "4\n16\n36\n64\n100\n")


def test_worker_pool():
    prints("worker_pool", "".join(f"{n} squared is {n * n}\n" for n in range(1, 10)))


def test_worker_ids():
    for workers in [1, 2, 5]:
        output = run("worker_ids", workers=workers)
        jobs = re.findall(r"^worker ([123]) does job (\d+)$", output, re.M)
        assert sorted(int(job) for _, job in jobs) == list(range(1, 13)), output
        for worker, count in re.findall(r"^worker (\d) did (\d+)$", output, re.M):
            assert int(count) == sum(by == worker for by, _ in jobs), output
        assert output.count("\n") == 12 + 3


def test_semaphore_bounded():
    for workers in [1, 2, 5]:
        output = run("semaphore_bounded", workers=workers)
        assert re.fullmatch(r"20 tasks done, at most [123] at once\n", output), output


def test_leak():
    output = run("leak", said=r".*\bask\b.*leak\.c:\d+.*")
    assert output == ("no room: leaks\nroom for both: nothing left behind\n"
                      "a group: nothing left behind\n")


def test_rate_limiter():
    output = run("rate_limiter")
    found = re.findall(r"^(steady|bursty) request (\d) after (\d+) ms$", output, re.M)
    assert [(kind, int(number)) for kind, number, _ in found] == \
        [(kind, number) for kind in ["steady", "bursty"] for number in range(1, 6)], output
    for kind, number, after in found:
        periods = int(number) if kind == "steady" else max(0, int(number) - 3)
        assert int(after) >= 20 * periods, output


def test_request_values():
    prints("request_values", "[a7] looking up ada\n[a7] answered\n[b3] looking up grace\n"
           "[b3] answered\n[-] no request here\n")


def test_guarded_map():
    prints("guarded_map", "728 apples are left, and no cherries\n")


def test_process_all():
    prints("process_all", "5 every\n4 word\n2 is\n8 measured\n")


def test_lazy_pool():
    prints("lazy_pool", "db: opened 1 time, 4 connections, 10 served, 0 refused\n"
           "nowhere: opened 1 time, 0 connections, 0 served, 10 refused\n")


def test_buffer_pool():
    for workers in [1, 2, 5]:
        output = run("buffer_pool", workers=workers)
        found = re.fullmatch(r"1000 answers took (\d+) buffers\n", output)
        assert found and 1 <= int(found.group(1)) <= 100, output


def test_tight_loop():
    assert run("tight_loop") == "1723519 takes longest, and the clock ticked\n"


def test_directions():
    prints("directions", "passed on\n")


def test_nested_select():
    prints("nested_select", "1\n2\n3\nstopped\n")


def test_racy_counter():
    for workers in [1, 2, 5]:
        output = run("racy_counter", workers=workers)
        found = re.fullmatch(r"racy: (\d+) of 10000\nmutex: 10000\nchannel: 10000\natomic: 10000\n",
                             output)
        assert found and int(found.group(1)) <= 10000, output


def test_monitor():
    prints("monitor", "warning: more than 50 coroutines\nno more than 50\n")


def test_prime_sieve():
    prints("prime_sieve", "2 3 5 7 11 13 17 19 23 29 31 37 41 43 47 53 59 61 67 71 73 79 83 89 97\n")


def test_ring_of_100000():
    assert run("ring") == "300000 hops in 3 laps\n"


def test_small_rings():
    prints("ring", "50 hops in 50 laps\n", "1", "50")
    prints("ring", "2000 hops in 1000 laps\n", "2", "1000")


def server(name, *arguments):
    if name not in PROGRAMS:
        raise Skip(f"{name} is not built")
    return Program(name, *arguments)


def request(target):
    return b"GET %s HTTP/1.1\r\nHost: test\r\n\r\n" % target


def test_http_timeout():
    for timeout, target, status, body in [("60", b"/0", b"200 OK", b"done\n"),
                                          ("0.05", b"/60", b"504 Gateway Timeout", b"too late\n")]:
        with server("http_timeout", "--timeout", timeout) as program:
            with program.connect() as client:
                client.sendall(request(target))
                answer = read_all(client)
                assert answer.startswith(b"HTTP/1.1 " + status + b"\r\n"), answer
                assert answer.endswith(b"\r\n\r\n" + body), answer
            program.nothing_leaks()


class Service:
    """One that http_cancel calls; the test decides when and what it answers."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(PATIENCE)
        self.address = f"127.0.0.1:{self.socket.getsockname()[1]}"

    def call(self):
        """The connection of the next call, its line read."""
        connection = self.socket.accept()[0]
        connection.settimeout(PATIENCE)
        line = b""
        while not line.endswith(b"\n"):
            piece = connection.recv(100)
            assert piece, "the call ended early"
            line += piece
        assert line == b"get\n"
        return connection


def http_cancel(users, orders):
    return server("http_cancel", "--users", users.address, "--orders", orders.address)


def test_http_cancel_answers_when_both_do():
    users, orders = Service(), Service()
    with http_cancel(users, orders) as program:
        with program.connect() as client:
            client.sendall(request(b"/"))
            for service, text in [(orders, b"3 orders\n"), (users, b"ada\n")]:
                with service.call() as call:
                    call.sendall(text)
            answer = read_all(client)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
            assert answer.endswith(b"\r\n\r\nada\n3 orders\n"), answer
        program.nothing_leaks()


def test_http_cancel_cuts_both_calls_when_the_client_leaves():
    users, orders = Service(), Service()
    with http_cancel(users, orders) as program:
        client = program.connect()
        client.sendall(request(b"/"))
        with users.call() as first, orders.call() as second:
            client.close()
            ended(first)
            ended(second)
        line = program.process.stdout.readline().decode()
        assert line == "the client left, and both calls with it\n", line
        program.nothing_leaks()


def test_http_cancel_cuts_one_call_when_the_other_fails():
    users, orders = Service(), Service()
    orders.socket.close()  # nobody listens any more
    with http_cancel(users, orders) as program:
        with program.connect() as client:
            client.sendall(request(b"/"))
            answer = read_all(client)
            assert answer.startswith(b"HTTP/1.1 502 Bad Gateway\r\n"), answer
        program.nothing_leaks()


main(globals())
