"""examples/http, end to end."""

import contextlib
import os
import random
import re
import signal
import socket
import tempfile
import time

from harness import PATIENCE, Program, command_line, ended, main, misbehave, read_all, taken

HELLO = b"Hello, world!\n"
GET = b"GET /hello HTTP/1.1\r\nHost: here\r\n\r\n"


class Response:
    def __init__(self, version, status, headers, body):
        self.version, self.status, self.headers, self.body = version, status, headers, body


class Client:
    """A connection and what was received but not parsed yet."""

    def __init__(self, program):
        self.socket = program.connect()
        self.bytes = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def _need(self, enough):
        while not enough():
            piece = self.socket.recv(1 << 16)
            if not piece:
                raise AssertionError(f"the stream ended after {self.bytes[:200]!r}")
            self.bytes += piece

    def head(self):
        """Status and headers of the next response."""
        self._need(lambda: b"\r\n\r\n" in self.bytes)
        head, self.bytes = self.bytes.split(b"\r\n\r\n", 1)
        line, *fields = head.decode().split("\r\n")
        found = re.fullmatch(r"HTTP/(1\.1) (\d{3}) ([A-Za-z ]+)", line)
        assert found, line
        headers = {}
        for field in fields:
            name, value = field.split(": ", 1)
            assert name.lower() not in headers, field
            headers[name.lower()] = value
        return Response(found.group(1), int(found.group(2)), headers, b"")

    def response(self, method="GET"):
        response = self.head()
        if method != "HEAD" and response.status not in (100, 304):
            length = int(response.headers["content-length"])
            self._need(lambda: len(self.bytes) >= length)
            response.body, self.bytes = self.bytes[:length], self.bytes[length:]
        return response

    def get(self, target, *headers, method="GET"):
        self.send("\r\n".join([f"{method} {target} HTTP/1.1", "Host: here", *headers, "", ""])
                  .encode("latin-1"))
        return self.response(method)

    def at_end(self):
        """Nothing more comes, and the end is an orderly one."""
        return self.bytes + read_all(self.socket) == b""


@contextlib.contextmanager
def serving(*arguments, **options):
    with Program("http", *arguments, **options) as program:
        yield program
        if program.process.poll() is None:
            program.nothing_leaks()


@contextlib.contextmanager
def folder(files):
    with tempfile.TemporaryDirectory() as outside:
        root = os.path.join(outside, "root")
        os.mkdir(root)
        with open(os.path.join(outside, "secret"), "wb") as file:
            file.write(b"secret")
        for name, contents in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(contents)
        yield root


def one_answer(program, request):
    """The response to bytes after which the server closes."""
    with Client(program) as client:
        client.send(request)
        response = client.response()
        assert response.headers.get("connection") == "close", response.headers
        assert client.at_end()
        return response


# --- the protocol ---------------------------------------------------------------------------


def test_hello_over_one_connection_many_times():
    with serving() as http, Client(http) as client:
        for target in ["/", "/hello", "/hello?query=1", "http://here/hello", "/?"] * 10:
            response = client.get(target)
            assert response.status == 200 and response.body == HELLO, target
            assert response.headers["content-type"] == "text/plain"
            assert "connection" not in response.headers
            date = time.strptime(response.headers["date"], "%a, %d %b %Y %H:%M:%S GMT")
            assert abs(time.mktime(date) - time.mktime(time.gmtime())) < 5


def test_head_has_the_length_and_no_body():
    with serving() as http, Client(http) as client:
        for _ in range(3):
            response = client.get("/hello", method="HEAD")
            assert response.status == 200
            assert response.headers["content-length"] == str(len(HELLO))
        assert client.get("/nowhere", method="HEAD").status == 404
        assert client.get("/hello").body == HELLO


def test_connection_ends_when_asked():
    with serving() as http, Client(http) as client:
        response = client.get("/hello", "Connection: close")
        assert response.body == HELLO and response.headers["connection"] == "close"
        assert client.at_end()


def test_http_10_ends_unless_asked_to_stay():
    with serving() as http:
        response = one_answer(http, b"GET /hello HTTP/1.0\r\n\r\n")
        assert response.status == 200 and response.body == HELLO
        with Client(http) as client:
            for _ in range(3):
                client.send(b"GET /hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
                response = client.response()
                assert response.body == HELLO
                assert response.headers["connection"] == "keep-alive"


def test_pipelined_requests_are_answered_in_order():
    with serving() as http, Client(http) as client:
        client.send(b"".join(b"GET /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                             b"GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n"
                             b"HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n"
                             b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                             for _ in range(200)))
        for _ in range(200):
            assert client.response().body == HELLO
            assert client.response().status == 404
            assert client.response("HEAD").status == 200
            assert client.response().status == 405


def test_requests_split_at_every_byte():
    request = (GET + b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
               b"3\r\nabc\r\n0\r\nTrailer: 1\r\n\r\n" + GET)
    with serving() as http:
        for at in range(1, len(request), 13):
            with Client(http) as client:
                client.send(request[:at])
                taken(client.socket)
                client.send(request[at:])
                assert [client.response().status for _ in range(3)] == [200, 405, 200], at
        with Client(http) as client:
            for byte in request:
                client.send(bytes([byte]))
                taken(client.socket)
            assert [client.response().status for _ in range(3)] == [200, 405, 200]


def test_bodies_are_dropped():
    with serving() as http, Client(http) as client:
        body = random.randbytes(100000)
        client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + body)
        assert client.response().body == HELLO
        client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                    + b"".join(b"2710\r\n" + body[:10000] + b"\r\n" for _ in range(10))
                    + b"0\r\n\r\n")
        assert client.response().body == HELLO


def test_client_that_expects_it_is_told_to_continue():
    with serving() as http, Client(http) as client:
        client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n"
                    b"Content-Length: 3\r\n\r\n")
        assert client.head().status == 100
        client.send(b"abc")
        assert client.response().body == HELLO


def test_body_beyond_the_limit_is_413():
    with serving("--body-limit", "1000") as http:
        assert one_answer(http, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n"
                          + b"x" * 1001).status == 413
        assert one_answer(http, b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                          + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n").status == 413
        with Client(http) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n"
                        + b"x" * 1000)
            assert client.response().status == 405


def test_header_beyond_the_limit_is_431():
    with serving("--header-limit", "4096") as http:
        with Client(http) as client:
            assert client.get("/hello", "Long: " + "x" * 3900).body == HELLO
            assert client.get("/hello?" + "x" * 3900).body == HELLO
        for request in [b"GET /hello HTTP/1.1\r\nHost: a\r\nLong: " + b"x" * 4096,
                        b"GET /" + b"x" * 100000,
                        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 10000,
                        b"\r\n" * 10000]:
            assert one_answer(http, request).status == 431, request[:40]


def test_bad_requests_are_400():
    with serving() as http:
        for request in [b"\0\1\2\r\n\r\n", b"hello\r\n\r\n", b"GET\r\n\r\n",
                        b"GET / HTTP/1.1\r\n\r\n",  # no Host
                        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a\r\nNo colon\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a\r\nBad\x01name: x\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                        b"Content-Length: 2\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz",
                        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"]:  # TLS
            response = one_answer(http, request)
            assert response.status == 400, (request, response.status)
        assert one_answer(http, b"GET / HTTP/2.0\r\nHost: a\r\n\r\n").status == 505
        with Client(http) as client:
            client.send(GET + b"nonsense\r\n\r\n" + GET)
            assert [client.response().status, client.response().status] == [200, 400]
            assert client.at_end()


def test_refusal_reaches_a_client_that_is_still_sending():
    with serving("--body-limit", "10") as http, Client(http) as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n")
        for _ in range(50):
            client.send(b"x" * 10000)
        assert client.response().status == 413
        assert client.at_end()


def test_other_methods_are_405():
    with serving() as http, Client(http) as client:
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"]:
            response = client.get("/hello", method=method)
            assert response.status == 405 and response.headers["allow"] == "GET, HEAD"


def test_upgrade_is_passed_over():
    with serving() as http, Client(http) as client:
        response = client.get("/hello", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c",
                              "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA")
        assert response.status == 200 and response.body == HELLO
        assert client.get("/hello").body == HELLO


def test_many_connections():
    with serving(workers=4) as http:
        clients = [Client(http) for _ in range(200)]
        for _ in range(5):
            for client in clients:
                client.send(GET)
            for client in clients:
                assert client.response().body == HELLO
        for client in clients:
            client.socket.close()


# --- files ----------------------------------------------------------------------------------

SIZES = [0, 1, 100, 1023, 1024, 65535, 65536, 65537, 3 << 20]


def test_files_of_all_sizes():
    files = {f"{size}.bin": random.randbytes(size) for size in SIZES}
    with folder(files) as root, serving("--root", root) as http, Client(http) as client:
        for _ in range(2):
            for name, contents in files.items():
                response = client.get("/" + name)
                assert response.status == 200 and response.body == contents, name
                response = client.get("/" + name, method="HEAD")
                assert response.headers["content-length"] == str(len(contents)), name


def test_pipelined_files_of_all_sizes():
    files = {f"{size}.bin": random.randbytes(size) for size in SIZES}
    with folder(files) as root, serving("--root", root) as http, Client(http) as client:
        client.send(b"".join(f"GET /{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode() + GET
                             for name in files))
        for name, contents in files.items():
            assert client.response().body == contents, name
            assert client.response().body == HELLO


def test_content_types_and_encoded_names():
    files = {"a.html": b"1", "b.css": b"2", "c.json": b"3", "d": b"4", "e.PNG": b"5",
             "with space%.txt": b"6", "folder/index.html": b"7", "long" * 50 + "/x.md": b"8"}
    with folder(files) as root, serving("--root", root) as http, Client(http) as client:
        for target, kind, body in [
                ("/a.html", "text/html; charset=utf-8", b"1"),
                ("/b.css?version=3", "text/css; charset=utf-8", b"2"),
                ("/c.json", "application/json", b"3"),
                ("/d", "application/octet-stream", b"4"),
                ("/%65.PNG", "image/png", b"5"),
                ("/with%20space%25.txt", "text/plain; charset=utf-8", b"6"),
                ("/folder", "text/html; charset=utf-8", b"7"),
                ("/folder/", "text/html; charset=utf-8", b"7"),
                ("//folder/../a.html", "text/html; charset=utf-8", b"1"),
                ("/" + "long" * 50 + "%2fx.md", "text/markdown; charset=utf-8", b"8")]:
            response = client.get(target)
            assert response.status == 200, target
            assert response.headers["content-type"] == kind and response.body == body, target
        for target in ["/%", "/%4", "/%zz", "/a%00.html"]:
            assert client.get(target).status == 400, target


def test_nothing_outside_the_folder_is_reached():
    with folder({"inside/file": b"inside"}) as root:
        os.symlink("../secret", os.path.join(root, "out"))
        os.symlink(os.path.dirname(root), os.path.join(root, "up"))
        os.symlink("/proc/self", os.path.join(root, "proc"))
        os.symlink("inside/file", os.path.join(root, "in"))
        os.symlink("loop", os.path.join(root, "loop"))
        os.mkfifo(os.path.join(root, "fifo"))
        with serving("--root", root) as http, Client(http) as client:
            for target in ["/../secret", "/..%2fsecret", "/%2e%2e/secret", "/%2e%2e%2fsecret",
                           "/inside/../../secret", "/./../secret", "//../secret", "/..",
                           "/out", "/up/secret", "/up", "/proc/status", "/proc/root/etc/passwd",
                           "/..\\secret", "/....//secret", "/../root/../secret",
                           "http://here/../secret", "/etc/passwd", "//etc/passwd", "/loop",
                           "/fifo", "/inside", "/nowhere", "/inside/file/x", "/" + "x" * 300,
                           "/" + "x/" * 1000]:
                response = client.get(target)
                assert response.status == 404, (target, response.status)
                assert b"secret" not in response.body and b"root:" not in response.body
            assert client.get("/in").body == b"inside"
            assert client.get("/inside/file").body == b"inside"


def test_unchanged_files_are_not_sent_again():
    with folder({"file": b"contents"}) as root, serving("--root", root) as http, \
            Client(http) as client:
        modified = client.get("/file").headers["last-modified"]
        response = client.get("/file", f"If-Modified-Since: {modified}")
        assert response.status == 304 and "content-length" not in response.headers
        for other in ["Sun, 06 Nov 1994 08:49:37 GMT", "nonsense", "x" * 200, ""]:
            response = client.get("/file", f"If-Modified-Since: {other}")
            assert response.status == 200 and response.body == b"contents"


def test_ranges():
    contents = bytes(range(256)) * 1000
    size = len(contents)
    with folder({"file": contents, "empty": b""}) as root, serving("--root", root) as http, \
            Client(http) as client:
        whole = client.get("/file")
        assert whole.status == 200 and whole.headers["accept-ranges"] == "bytes"
        modified = whole.headers["last-modified"]
        for asked, first, last in [("0-0", 0, 0), ("0-", 0, size - 1), ("100-199", 100, 199),
                                   ("-1", size - 1, size - 1), (f"-{2 * size}", 0, size - 1),
                                   ("255000-99999999999999999999", 255000, size - 1),
                                   ("1000-200999", 1000, 200999)]:
            response = client.get("/file", f"Range: bytes={asked}")
            assert response.status == 206, asked
            assert response.headers["content-range"] == f"bytes {first}-{last}/{size}", asked
            assert response.body == contents[first:last + 1], asked
        for asked in [f"{size}-", "-0", "99999999999999999999-"]:
            response = client.get("/file", f"Range: bytes={asked}")
            assert response.status == 416, asked
            assert response.headers["content-range"] == f"bytes */{size}"
        for asked in ["bytes=", "bytes=-", "bytes=1", "bytes=2-1", "bytes=0-1,4-5", "bytes=+1-2",
                      "bytes= 1-2", "lines=1-2", "bytes=1-2x", "bytes=" + "1" * 60 + "-"]:
            response = client.get("/file", f"Range: {asked}")
            assert response.status == 200 and response.body == contents, asked
        assert client.get("/empty", "Range: bytes=0-").status == 416
        assert client.get("/file", "Range: bytes=0-9", f"If-Range: {modified}").status == 206
        for other in ["Sun, 06 Nov 1994 08:49:37 GMT", '"tag"', "x" * 100]:
            response = client.get("/file", "Range: bytes=0-9", f"If-Range: {other}")
            assert response.status == 200 and len(response.body) == size
        client.send(b"HEAD /file HTTP/1.1\r\nHost: a\r\nRange: bytes=5-9\r\n\r\n")
        head = client.response("HEAD")
        assert head.status == 206 and head.headers["content-length"] == "5"


def test_file_cut_while_it_is_sent_ends_the_connection():
    with folder({"file": b"x" * (64 << 20)}) as root, serving("--root", root) as http:
        with Client(http) as client:
            client.send(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.head().headers["content-length"] == str(64 << 20)
            os.truncate(os.path.join(root, "file"), 0)
            assert len(client.bytes + read_all(client.socket)) < 64 << 20


def test_root_must_be_a_folder():
    status, _, error = command_line("http", "--root", "/nowhere")
    assert status == 1 and error == "--root /nowhere: No such file or directory\n"


# --- slow clients ---------------------------------------------------------------------------


def test_idle_connections_are_closed():
    with serving("--idle-timeout", "0.2") as http:
        with Client(http) as client:
            assert client.at_end()
        with Client(http) as client:
            assert client.get("/hello").body == HELLO
            assert client.at_end()


def test_slow_header_is_408_however_it_trickles():
    with serving("--header-timeout", "0.3", "--idle-timeout", "60") as http, \
            Client(http) as client:
        begin = time.monotonic()
        client.send(b"GET /hello HTTP/1.1\r\nHost: here\r\n")
        client.socket.settimeout(0.05)
        while True:
            assert time.monotonic() - begin < PATIENCE
            try:
                client.send(b"A: b\r\n")
                client.bytes += client.socket.recv(1)
                break
            except TimeoutError:
                pass
        client.socket.settimeout(PATIENCE)
        assert time.monotonic() - begin > 0.25
        response = client.response()
        assert response.status == 408 and response.headers["connection"] == "close"
        assert client.at_end()


def test_slow_body_is_408():
    with serving("--body-timeout", "0.2", "--idle-timeout", "60") as http:
        assert one_answer(http, b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc"
                          ).status == 408


def test_blank_lines_do_not_keep_a_connection():
    with serving("--idle-timeout", "0.3") as http, Client(http) as client:
        client.socket.settimeout(0.05)
        with contextlib.suppress(ConnectionError):
            while True:
                client.send(b"\r\n")
                try:
                    assert client.socket.recv(100) == b""
                    break
                except TimeoutError:
                    pass


def test_client_that_does_not_read_is_let_go():
    with folder({"file": b"x" * (64 << 20)}) as root, \
            serving("--root", root, "--write-timeout", "0.3") as http, Client(http) as client:
        client.send(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        http.nothing_leaks()


def test_clients_that_misbehave_leave_nothing_behind():
    timeouts = ["--idle-timeout", "1", "--header-timeout", "1", "--body-timeout", "1",
                "--write-timeout", "1"]
    request = (GET + b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n"
               b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000)
    with folder({"file": b"x" * (1 << 20)}) as root, \
            serving("--root", root, *timeouts, workers=4) as http:
        misbehave(http, request * 3)


# --- the end --------------------------------------------------------------------------------


def test_signal_ends_idle_connections():
    for number in [signal.SIGTERM, signal.SIGINT]:
        with serving("--grace", "60") as http:
            clients = [Client(http) for _ in range(20)]
            for client in clients[:10]:
                assert client.get("/hello").body == HELLO
            http.process.send_signal(number)
            for client in clients[:10]:
                assert client.at_end()
            for client in clients:
                ended(client.socket)
                client.socket.close()
            assert http.wait() == (0, "")


def test_signal_lets_a_request_in_flight_finish():
    with serving("--grace", "60") as http, Client(http) as client:
        client.send(GET[:20])
        taken(client.socket)
        http.terminate()
        client.send(GET[20:])
        response = client.response()
        assert response.body == HELLO and response.headers["connection"] == "close"
        assert client.at_end()
        client.socket.close()
        assert http.wait() == (0, "")


def test_signal_lets_a_body_in_flight_finish():
    with serving("--grace", "60") as http, Client(http) as client:
        client.send(b"GET /hello HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        taken(client.socket)
        http.terminate()
        client.send(b"cd")
        assert client.response().body == HELLO
        assert client.at_end()
        client.socket.close()
        assert http.wait() == (0, "")


def test_signal_lets_a_file_in_flight_finish():
    contents = random.randbytes(48 << 20)
    with folder({"file": contents}) as root, \
            serving("--root", root, "--grace", "60") as http, Client(http) as client:
        client.send(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        http.terminate()
        assert client.bytes + read_all(client.socket) == contents
        client.socket.close()
        assert http.wait() == (0, "")


def test_signal_lets_stalled_responses_finish():
    with serving("--grace", "60") as http, Client(http) as client:
        client.socket.settimeout(0.3)
        with contextlib.suppress(TimeoutError):  # both directions are full
            while True:
                client.send(GET * 1000)
        client.socket.settimeout(PATIENCE)
        http.terminate()
        response = client.response()
        while "connection" not in response.headers:
            assert response.body == HELLO
            response = client.response()
        assert response.body == HELLO and response.headers["connection"] == "close"
        assert client.at_end()
        client.socket.close()
        assert http.wait() == (0, "")


def test_requests_sent_before_the_signal_are_answered():
    with serving("--grace", "60") as http:
        clients = [Client(http) for _ in range(50)]
        for client in clients:
            assert client.get("/hello").body == HELLO
        for client in clients:
            client.send(GET)
        http.process.send_signal(signal.SIGTERM)
        for client in clients:
            assert client.response().body == HELLO
            assert client.at_end()
            client.socket.close()
        assert http.wait() == (0, "")


def test_grace_bounds_what_does_not_finish():
    with folder({"file": b"x" * (64 << 20)}) as root, \
            serving("--root", root, "--grace", "0.3") as http:
        with Client(http) as slow, Client(http) as unread:
            slow.send(GET[:20])
            taken(slow.socket)
            unread.send(b"GET /file HTTP/1.1\r\nHost: a\r\n\r\n")
            unread.head()
            begin = time.monotonic()
            http.process.send_signal(signal.SIGTERM)
            assert http.wait() == (0, "")
            assert 0.25 < time.monotonic() - begin < 10
            ended(slow.socket)


def test_second_signal_ends_it_at_once():
    with Program("http", "--grace", "3600") as http:
        with Client(http) as client:
            client.send(GET[:20])
            taken(client.socket)
            http.terminate()
            http.process.send_signal(signal.SIGTERM)
            assert http.wait() == (-signal.SIGTERM, "")
        http.process.returncode = 0  # as it should be, for this once


main(globals())
