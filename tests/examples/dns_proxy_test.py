"""examples/dns before scripted upstreams: who is asked what, how often, and what comes back."""

import contextlib
import random
import socket
import struct
import threading
import time

from harness import (PATIENCE, Program, command_line, ended, eventually, main, misbehave, read_all,
                     read_exactly)

A, NS, CNAME, SOA, TXT, AAAA, OPT, AXFR = 1, 2, 5, 6, 16, 28, 41, 252
QR, AA, TC, RD, RA, AD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0080, 0x0020, 0x0010
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
DO = 0x8000
ADDRESS = b"\xc0\x00\x02\x01"  # 192.0.2.1


def wire(name):
    labels = [label.encode() for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def record(kind, ttl, data, name=b"\xc0\x0c"):
    """Its name is the question's unless another is given."""
    return name + struct.pack("!HHIH", kind, 1, ttl, len(data)) + data


def soa(ttl, minimum):
    data = wire("ns.test") + wire("root.test") + struct.pack("!IIIII", 1, 2, 3, 4, minimum)
    return record(SOA, ttl, data, wire("test"))


def opt(size=1232, flags=0, version=0):
    return b"\0" + struct.pack("!HHBBHH", OPT, size, 0, version, flags, 0)


def message(number, flags, question, *sections):
    """question: on the wire, or none; sections: answers, authority, additional."""
    sections = [list(section) for section in sections] + [[]] * (3 - len(sections))
    return (struct.pack("!HHHHHH", number, flags, bool(question), *map(len, sections))
            + question + b"".join(b"".join(section) for section in sections))


def ask(name, kind=A, number=None, flags=RD, additional=()):
    number = random.randrange(1 << 16) if number is None else number
    return message(number, flags, wire(name) + struct.pack("!HH", kind, 1), [], [], additional)


class Message:
    """A message that was received, which must be well formed."""

    def __init__(self, data):
        self.data = data
        self.number, self.flags, questions, *counts = struct.unpack_from("!HHHHHH", data)
        self.code = self.flags & 15
        self.name, self.kind, self.question, self.opt, at = "", 0, b"", None, 12
        for _ in range(questions):
            self.name, at = self._name(at)
            self.kind = struct.unpack_from("!H", data, at)[0]
            at += 4
            self.question = data[12:at]
        self.answers, self.authority, self.additional = [], [], []
        for section, count in zip((self.answers, self.authority, self.additional), counts):
            for _ in range(count):
                name, at = self._name(at)
                kind, size, ttl, length = struct.unpack_from("!HHIH", data, at)
                at += 10 + length
                assert at <= len(data)
                if kind == OPT:
                    self.opt = (size, ttl & 0xffff, ttl >> 24)
                else:
                    section.append((name, kind, ttl, data[at - length:at]))
        assert at == len(data)

    def _name(self, at):
        labels, end = [], None
        while self.data[at]:
            if self.data[at] & 0xc0:
                end = end or at + 2
                at = struct.unpack_from("!H", self.data, at)[0] & 0x3fff
            else:
                labels.append(self.data[at + 1:at + 1 + self.data[at]].decode("latin-1"))
                at += 1 + self.data[at]
        return ".".join(labels), end or at + 1

    def ttls(self):
        return [ttl for _, _, ttl, _ in self.answers + self.authority]


def answer(query, answers=(), authority=(), additional=(), code=NOERROR, flags=0):
    return message(query.number, QR | RD | RA | flags | code, query.question, answers, authority,
                   additional)


def known(query, reply):
    reply(answer(query, [record(query.kind, 300, ADDRESS)]))


def silent(query, reply):
    pass


class Upstream:
    """A server whose script(query, reply) says reply(data), once, often or never; in `with`."""

    def __init__(self, script=None):
        self.script = script or known
        self.asked = []  # queries, with .peer and .stream
        while True:
            self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.datagrams.bind(("127.0.0.1", 0))
            self.port = self.datagrams.getsockname()[1]
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self.listener.bind(("127.0.0.1", self.port))
                self.listener.listen()
                break
            except OSError:  # the port is another's for TCP
                self.datagrams.close()
                self.listener.close()
        self.datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        self.address = f"127.0.0.1:{self.port}"
        self.over = False

    def __enter__(self):
        self.threads = [threading.Thread(target=self._serve_datagrams),
                        threading.Thread(target=self._serve_streams)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.over = True
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as wake:
            wake.sendto(b"", ("127.0.0.1", self.port))
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join()
        self.datagrams.close()
        self.listener.close()

    def _note(self, data, peer, stream):
        query = Message(data)
        query.peer, query.stream = peer, stream
        self.asked.append(query)
        return query

    def _serve_datagrams(self):
        while True:
            data, peer = self.datagrams.recvfrom(65536)
            if self.over:
                return

            def reply(answer, peer=peer):
                with contextlib.suppress(OSError):
                    self.datagrams.sendto(answer, peer)

            self.script(self._note(data, peer, False), reply)

    def _serve_streams(self):
        while True:
            try:
                connection, peer = self.listener.accept()
            except OSError:
                return
            with connection:
                def reply(answer, connection=connection):
                    connection.sendall(struct.pack("!H", len(answer)) + answer)

                size = struct.unpack("!H", read_exactly(connection, 2))[0]
                self.script(self._note(read_exactly(connection, size), peer, True), reply)

    def names(self):
        return [query.name for query in self.asked]


def proxy(*upstreams, options=(), **keywords):
    addresses = ",".join(upstream.address for upstream in upstreams)
    return Program("dns_proxy", "--upstream", addresses, *options, **keywords)


def client(program):
    connection = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    connection.settimeout(PATIENCE)
    connection.connect(("127.0.0.1", program.port))
    return connection


def exchange(program, query):
    with client(program) as connection:
        connection.send(query)
        received = Message(connection.recv(65536))
    assert received.number == struct.unpack_from("!H", query)[0] and received.flags & QR
    return received


def test_an_answer_is_remembered_and_each_gets_its_own_number_and_case():
    with Upstream() as upstream, proxy(upstream) as program:
        for number, name in enumerate(["example.test", "eXaMpLe.TEST", "EXAMPLE.test"]):
            received = exchange(program, ask(name, number=number))
            assert received.name == name and received.answers[0][:2] == (name, A)
            assert received.answers[0][3] == ADDRESS and received.opt is None
        assert upstream.names() == ["example.test"]


def test_what_changes_the_answer_is_asked_separately():
    with Upstream() as upstream, proxy(upstream) as program:
        for _ in range(2):
            for query in [ask("x.test"), ask("x.test", AAAA), ask("y.test"),
                          ask("x.test", additional=[opt(flags=DO)]), ask("x.test", flags=RD | CD),
                          ask("x.test", flags=RD | AD), ask("x.test", flags=0)]:
                exchange(program, query)
        assert len(upstream.asked) == 7
        assert [query.opt[1] for query in upstream.asked] == [0, 0, 0, DO, 0, 0, 0]
        # EDNS alone makes no difference, and is answered by EDNS
        assert exchange(program, ask("x.test", additional=[opt()])).opt == (1232, 0, 0)
        assert exchange(program, ask("x.test", additional=[opt(flags=DO)])).opt == (1232, DO, 0)
        assert len(upstream.asked) == 7


def test_the_opt_record_stays_on_its_hop():
    def script(query, reply):
        reply(answer(query, [record(A, 300, ADDRESS)], [], [record(A, 300, ADDRESS), opt(4096)]))

    with Upstream(script) as upstream, proxy(upstream) as program:
        for _ in range(2):
            plain = exchange(program, ask("x.test"))
            assert plain.opt is None and len(plain.additional) == 1
            edns = exchange(program, ask("x.test", additional=[opt()]))
            assert edns.opt == (1232, 0, 0) and len(edns.additional) == 1


def test_many_who_ask_the_same_cost_one_question():
    release = threading.Event()

    def script(query, reply):
        release.wait(PATIENCE)
        reply(answer(query, [record(A, 300, ADDRESS)]))

    def queued():
        with open("/proc/net/udp", encoding="ascii") as table:
            return any(line.split()[1] == f"0100007F:{program.port:04X}"
                       and int(line.split()[4].split(":")[1], 16)
                       for line in list(table)[1:])

    with Upstream(script) as upstream, proxy(upstream) as program, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(program)) for _ in range(500)]
        queries = []
        for number, connection in enumerate(clients):
            name = "".join(random.choice([c.upper(), c]) for c in "popular.test")
            queries.append((number, name))
            connection.send(ask(name, number=number))
            if number % 50 == 49:
                eventually(lambda: not queued(), "the proxy reads")
        release.set()
        for connection, query in zip(clients, queries):
            received = Message(connection.recv(65536))
            assert (received.number, received.name) == query
            assert received.answers[0][3] == ADDRESS
        assert upstream.names() == ["popular.test"]


def test_numbers_and_ports_can_not_be_guessed():
    with Upstream() as upstream, proxy(upstream) as program:
        for number in range(60):
            exchange(program, ask(f"{number}.test", number=7))
        numbers = [query.number for query in upstream.asked]
        ports = [query.peer[1] for query in upstream.asked]
        for values in (numbers, ports):
            assert len(set(values)) > 50
            assert len({b - a for a, b in zip(values, values[1:])}) > 50


def test_what_does_not_answer_the_question_is_no_answer():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        def script(query, reply):
            good = answer(query, [record(A, 300, ADDRESS)])
            bad = answer(query, [record(A, 300, b"\6\6\6\6")])
            stranger.sendto(bad, query.peer)
            reply(b"")
            reply(b"\0")
            reply(struct.pack("!H", query.number ^ 1) + bad[2:])
            reply(bad.replace(wire("right.test"), wire("wrong.test")))
            reply(bad[:2] + struct.pack("!H", RD) + bad[4:])  # a question
            reply(bad[:-1])
            reply(bad + b"\0")
            reply(random.randbytes(100))
            reply(good)
            reply(bad)

        with Upstream(script) as upstream, proxy(upstream) as program:
            for _ in range(2):
                assert exchange(program, ask("right.test")).answers[0][3] == ADDRESS
            assert len(upstream.asked) == 1


def test_the_next_upstream_is_asked_and_kept():
    with Upstream(silent) as first, Upstream() as second, \
            proxy(first, second, options=["--timeout", "0.2"]) as program:
        assert exchange(program, ask("a.test")).answers
        assert exchange(program, ask("b.test")).answers
        assert first.names() == ["a.test"] and second.names() == ["a.test", "b.test"]


def test_a_port_that_refuses_costs_no_timeout():
    with Upstream() as second:
        with Upstream() as first:
            pass
        with proxy(first, second, options=["--timeout", "60"]) as program:
            assert exchange(program, ask("a.test")).answers


def test_silence_is_a_failure_and_is_forgotten():
    with Upstream(silent) as first, Upstream(silent) as second, \
            proxy(first, second, options=["--timeout", "0.05"]) as program:
        for round_ in (1, 2):
            assert exchange(program, ask("a.test")).code == SERVFAIL
            assert len(first.asked) == len(second.asked) == 2 * round_
        first.script = known
        assert exchange(program, ask("a.test")).answers
        program.nothing_leaks()


def test_a_failure_is_passed_on_when_nobody_knows_better_and_is_forgotten():
    fails = {"code": SERVFAIL}

    def script(query, reply):
        reply(answer(query, **fails))

    with Upstream(script) as first, Upstream(script) as second, \
            proxy(first, second) as program:
        for count, code in enumerate([SERVFAIL, REFUSED, NOTIMP, SERVFAIL], 1):
            fails["code"] = code
            assert exchange(program, ask("a.test", additional=[opt()])).code == code
            # an upstream that answers without EDNS may not know that, and is asked without
            assert len(first.asked) == len(second.asked) == count + (count >= 3)
        second.script = known
        assert exchange(program, ask("a.test")).answers


def test_an_answer_that_comes_late_harms_nobody():
    late = []

    def script(query, reply):
        late.append(lambda: reply(answer(query, [record(A, 300, b"\6\6\6\6")])))

    with Upstream(script) as first, Upstream() as second, \
            proxy(first, second, options=["--timeout", "0.1"]) as program:
        for name in ("a.test", "b.test"):
            assert exchange(program, ask(name)).answers[0][3] == ADDRESS
        for reply in late:
            reply()
        for name in ("a.test", "b.test", "c.test"):
            assert exchange(program, ask(name)).answers[0][3] == ADDRESS


def test_an_upstream_without_edns_is_asked_without():
    def script(query, reply):
        if query.opt:
            reply(message(query.number, QR | FORMERR, b""))
        else:
            reply(answer(query, [record(A, 300, ADDRESS)]))

    with Upstream(script) as upstream, proxy(upstream) as program:
        assert exchange(program, ask("a.test", additional=[opt()])).answers
        assert len(upstream.asked) == 2


def long_answer(query, reply):
    if query.stream:
        reply(answer(query, [record(TXT, 300, b"\xff" + b"x" * 255) for _ in range(12)]))
    else:
        reply(answer(query, flags=TC))


def test_what_is_truncated_is_asked_by_tcp_and_truncated_for_who_takes_less():
    with Upstream(long_answer) as upstream, proxy(upstream) as program:
        for _ in range(2):
            for size in (None, 100, 512, 1232, 3000):
                short = exchange(program, ask("big.test", TXT,
                                              additional=[opt(size)] if size else []))
                assert short.flags & TC and not short.answers and len(short.data) <= 512
                assert bool(short.opt) == bool(size)
            whole = exchange(program, ask("big.test", TXT, additional=[opt(4096)]))
            assert not whole.flags & TC and len(whole.answers) == 12
            with program.connect() as connection:
                send(connection, ask("big.test", TXT))
                assert len(receive(connection).answers) == 12
        assert [query.stream for query in upstream.asked] == [False, True]


def test_an_upstream_that_fails_at_tcp_is_left_for_the_next():
    def script(query, reply):
        if not query.stream:
            reply(answer(query, flags=TC))

    with Upstream(script) as first, Upstream() as second, proxy(first, second) as program:
        assert exchange(program, ask("a.test")).answers


def test_additional_records_are_left_out_first():
    def script(query, reply):
        extra = [record(A, 300, ADDRESS, wire(f"ns{number}.test")) for number in range(20)]
        reply(answer(query, [record(A, 300, ADDRESS)], [], extra + [opt()]))

    with Upstream(script) as upstream, proxy(upstream) as program:
        short = exchange(program, ask("a.test"))
        assert not short.flags & TC and short.answers and not short.additional
        whole = exchange(program, ask("a.test", additional=[opt()]))
        assert whole.answers and len(whole.additional) == 20


def test_times_to_live_are_counted_down_until_the_least_is_over():
    def script(query, reply):
        reply(answer(query, [record(CNAME, 500, wire("other.test")),
                             record(A, 2, ADDRESS, wire("other.test"))]))

    with Upstream(script) as upstream, proxy(upstream) as program:
        assert exchange(program, ask("a.test")).ttls() == [500, 2]
        start = time.monotonic()
        eventually(lambda: exchange(program, ask("a.test")).ttls() == [499, 1], "a second passes")
        eventually(lambda: exchange(program, ask("a.test")).ttls() == [500, 2], "it is asked again")
        assert len(upstream.asked) == 2 and time.monotonic() - start > 1.8


def test_what_lives_for_no_time_is_not_kept():
    def script(query, reply):
        reply(answer(query, [record(A, ttl, ADDRESS)]))

    with Upstream(script) as upstream, proxy(upstream) as program:
        for ttl in (0, 1 << 31, 0xffffffff):
            assert exchange(program, ask("a.test")).ttls() == [ttl if ttl < 1 << 31 else 0]
        assert len(upstream.asked) == 3


def test_denials_live_as_the_soa_says():
    cases = {
        "none.test": dict(code=NXDOMAIN, authority=[soa(300, 1)]),
        "nodata.test": dict(authority=[soa(1, 300)]),
        "chain.test": dict(answers=[record(CNAME, 300, wire("x.test"))], authority=[soa(300, 1)]),
        "long.test": dict(code=NXDOMAIN, authority=[soa(300, 200)]),
        "nosoa.test": dict(code=NXDOMAIN),
        "referral.test": dict(authority=[record(NS, 300, wire("ns.test"))]),
    }
    with Upstream(lambda query, reply: reply(answer(query, **cases[query.name]))) as upstream, \
            proxy(upstream) as program:
        start = time.monotonic()
        for _ in range(2):
            for name, case in cases.items():
                received = exchange(program, ask(name))
                assert received.code == case.get("code", NOERROR)
                assert len(received.authority) == len(case.get("authority", []))
        if time.monotonic() - start < 0.9:
            names = upstream.names()
            assert [names.count(name) for name in cases] == [1, 1, 1, 1, 2, 2]
        eventually(lambda: exchange(program, ask("long.test")).ttls() == [199], "a second passes")
        for name in ("none.test", "nodata.test", "chain.test"):
            before = upstream.names().count(name)

            def again(name=name, before=before):
                exchange(program, ask(name))
                return upstream.names().count(name) > before
            eventually(again, "it is asked again")
        assert upstream.names().count("long.test") == 1


def test_chains_come_through():
    def script(query, reply):
        # both names point into others
        reply(answer(query, [record(CNAME, 300, b"\3two\xc0\x10"),
                             record(A, 300, ADDRESS, b"\xc0\x26")]))

    with Upstream(script) as upstream, proxy(upstream) as program:
        for name in ("one.test", "ONE.Test"):
            received = exchange(program, ask(name))
            assert [record[:2] for record in received.answers] == \
                [(name, CNAME), ("two." + name.split(".")[1], A)]
        assert len(upstream.asked) == 1


def test_the_least_recently_used_goes():
    with Upstream() as upstream, proxy(upstream, options=["--cache", "2"]) as program:
        for name in "abacab":
            exchange(program, ask(name))
        assert upstream.names() == ["a", "b", "c", "b"]
    with Upstream() as upstream, proxy(upstream, options=["--cache", "0"]) as program:
        for name in "aab":
            exchange(program, ask(name))
        assert upstream.names() == ["a", "a", "b"]


def send(connection, *queries):
    connection.sendall(b"".join(struct.pack("!H", len(query)) + query for query in queries))


def receive(connection):
    return Message(read_exactly(connection, struct.unpack("!H", read_exactly(connection, 2))[0]))


def test_a_connection_may_ask_many_at_once():
    with Upstream() as upstream, proxy(upstream) as program, program.connect() as connection:
        names = {number: f"{number % 150}.test" for number in range(300)}
        send(connection, *[ask(name, number=number) for number, name in names.items()])
        connection.shutdown(socket.SHUT_WR)
        for _ in range(300):
            received = receive(connection)
            assert names.pop(received.number) == received.name and received.answers
        assert connection.recv(1) == b""
        assert len(upstream.asked) == 150
    assert not names


def test_who_waits_for_another_is_not_waited_for():
    hold = threading.Event()

    def script(query, reply):
        if query.name == "slow.test":
            threading.Thread(target=lambda: hold.wait(PATIENCE) and reply(
                answer(query, [record(A, 300, ADDRESS)]))).start()
        else:
            reply(answer(query, [record(A, 300, ADDRESS)]))

    with Upstream(script) as upstream, \
            proxy(upstream, options=["--timeout", "20"]) as program, \
            program.connect() as connection:
        send(connection, ask("slow.test"), ask("quick.test"))
        assert receive(connection).name == "quick.test"
        hold.set()
        assert receive(connection).name == "slow.test"


def test_silent_and_slow_connections_are_closed():
    with Upstream() as upstream, \
            proxy(upstream, options=["--idle-timeout", "0.3"]) as program:
        with program.connect() as silent_one, program.connect() as half:
            half.sendall(b"\0\x20half")
            ended(silent_one)
            ended(half)
        program.nothing_leaks()


def test_one_who_does_not_read_is_sent_away():
    with Upstream(long_answer) as upstream, \
            proxy(upstream, options=["--idle-timeout", "0.5"]) as program:
        with program.connect() as deaf:
            with contextlib.suppress(ConnectionError):
                while True:
                    send(deaf, *[ask("big.test", TXT)] * 100)
        assert exchange(program, ask("a.test")).flags & TC
        program.nothing_leaks()


def test_refusals():
    good = ask("a.test", number=1)
    pairs = [
        (message(1, RD, b""), FORMERR),
        (good[:4] + b"\0\2" + good[6:], FORMERR),                # two questions
        (good[:-1], FORMERR),
        (good + b"x", FORMERR),
        (good[:12] + b"\xc0\x0c\0\1\0\1", FORMERR),              # a name that is itself
        (good[:12] + b"\xc0\0\0\1\0\1", FORMERR),
        (good[:12] + b"\x40a\0\0\1\0\1", FORMERR),
        (message(1, RD, b"\x3f" + b"x" * 63 + b"\0\0\1\0\1"), NOERROR),
        (message(1, RD, (b"\x3f" + b"x" * 63) * 4 + b"\0\0\1\0\1"), FORMERR),
        (message(1, RD, b"\0\0\1\0\1"), NOERROR),                # the root
        (ask("a.test", number=1, additional=[opt(), opt()]), FORMERR),
        (ask("a.test", number=1, flags=0x2800), NOTIMP),         # an update
        (ask("a.test", AXFR, number=1), REFUSED),
    ]
    with Upstream() as upstream, proxy(upstream) as program:
        with program.connect() as connection:
            for query, code in pairs:
                assert exchange(program, query).code == code, query
                send(connection, query)
                assert receive(connection).code == code, query
            send(connection, b"", good[:11], answer(Message(good)), good)  # three are not answered
            assert receive(connection).name == "a.test"
        late = exchange(program, ask("a.test", additional=[opt(version=1)]))
        assert late.code == 0 and late.opt[2] == 1 and not late.answers  # BADVERS
        with client(program) as connection:
            for datagram in (b"", good[:11], answer(Message(good))):
                connection.send(datagram)
            connection.send(good)
            assert Message(connection.recv(65536)).answers


def mutated(choice, data):
    data = bytearray(data)
    for _ in range(choice.randrange(1, 5)):
        data[choice.randrange(len(data))] = choice.choice([0, 1, 0xc0, 0xff, choice.randrange(256)])
    return bytes(data[:choice.randrange(len(data) + 1)] if choice.random() < 0.3 else data)


def test_nonsense_from_clients_does_no_harm():
    seed = random.randrange(1 << 32)
    print(f"# seed {seed}")
    choice = random.Random(seed)
    with Upstream() as upstream, \
            proxy(upstream, options=["--timeout", "0.05"]) as program, \
            client(program) as connection:
        for _ in range(2000):
            connection.send(mutated(choice, ask("some.name.test", additional=[opt()])))
        misbehave(program, b"".join(struct.pack("!H", len(query)) + query for query in
                                    [mutated(choice, ask("other.test")) for _ in range(50)]),
                  clients=4, rounds=20)
        eventually(lambda: exchange(program, ask("fine.test")).answers, "it answers")
        program.nothing_leaks()


def test_nonsense_from_upstreams_does_no_harm():
    seed = random.randrange(1 << 32)
    print(f"# seed {seed}")
    choice = random.Random(seed)

    def script(query, reply):
        if query.name == "fine.test":
            reply(answer(query, [record(A, 300, ADDRESS)]))
            return
        good = answer(query, [record(CNAME, 300, b"\1x\xc0\x0c"), record(A, 300, ADDRESS)],
                      [soa(300, 300)], [opt()])
        edge = 12 + len(query.question)
        for _ in range(5):
            reply(good[:2] + mutated(choice, good[2:]))
            reply(good[:edge] + mutated(choice, good[edge:]))
        reply(good)

    with Upstream(script) as upstream, \
            proxy(upstream, options=["--timeout", "0.05"]) as program:
        for number in range(300):
            with client(program) as connection:
                connection.send(ask(f"{number}.test", additional=[opt(4096)]))
                connection.recv(65536)
        assert exchange(program, ask("fine.test")).answers
        program.nothing_leaks()


def test_a_flood_is_bounded():
    with Upstream() as upstream, \
            proxy(upstream, options=["--questions", "10", "--timeout", "30", "--grace", "0.1"],
                  workers=1) as program, client(program) as connection:
        assert exchange(program, ask("known.test")).answers
        upstream.script = silent
        for number in range(200):
            connection.send(ask(f"{number}.test"))
        assert exchange(program, ask("known.test")).answers  # came after them all
        eventually(lambda: len(upstream.asked) == 11, "those within the bound are asked")
        assert exchange(program, ask("known.test")).answers
        assert len(upstream.asked) == 11


def test_a_want_of_descriptors_is_a_failure_and_passes():
    hold = threading.Event()

    def script(query, reply):
        hold.wait(PATIENCE)
        known(query, reply)

    with Upstream(script) as upstream, \
            proxy(upstream, options=["--timeout", "20"], descriptors=40) as program, \
            client(program) as connection:
        names = {f"{number}.test" for number in range(100)}
        for name in names:
            connection.send(ask(name))
        codes = []
        while len(codes) < 50:  # who can't ask fails at once, whoever can waits
            received = Message(connection.recv(65536))
            assert received.code == SERVFAIL and received.name in names
            codes.append(received.code)
        hold.set()
        while len(codes) < 100:
            codes.append(Message(connection.recv(65536)).code)
        assert codes.count(NOERROR) > 10
        for name in names:
            assert exchange(program, ask(name)).answers
        program.nothing_leaks()


def test_everything_at_once():
    """Names have addresses of their own, so that nobody gets another's answer; at the end a signal
    comes in the middle of it."""
    seed = random.randrange(1 << 32)
    print(f"# seed {seed}")
    moods = random.Random(seed)
    over = threading.Event()
    wrong = []

    def script(query, reply):
        data = bytes([10, 0, 0, int(query.name.split(".")[0])])
        mood = moods.random()
        if query.stream or mood < 0.6:
            reply(answer(query, [record(A, moods.choice([0, 1, 300]), data)]))
        elif mood < 0.7:
            reply(answer(query, code=SERVFAIL))
        elif mood < 0.8:
            reply(answer(query, flags=TC))
        elif mood < 0.9:
            reply(moods.randbytes(40))

    def check(query, received, number):
        if received.number != query or (received.answers and
                                        received.answers[0][3] != bytes([10, 0, 0, number])):
            wrong.append((query, number, received.data))

    def ask_often(choice, program):
        with contextlib.suppress(ConnectionError, socket.timeout), \
                client(program) as datagrams, program.connect() as stream:
            datagrams.settimeout(3)
            while not over.is_set():
                number, query = choice.randrange(30), choice.randrange(1 << 16)
                text = ask(f"{number}.test", number=query)
                if choice.random() < 0.5:
                    datagrams.send(text)
                    check(query, Message(datagrams.recv(65536)), number)
                else:
                    stream.sendall(struct.pack("!H", len(text)) + text)
                    size = stream.recv(2, socket.MSG_WAITALL)
                    if len(size) < 2:
                        return
                    text = stream.recv(struct.unpack("!H", size)[0], socket.MSG_WAITALL)
                    check(query, Message(text), number)

    with Upstream(script) as first, Upstream(script) as second, \
            proxy(first, second, options=["--timeout", "0.02", "--cache", "5"],
                  workers=4) as program:
        threads = [threading.Thread(target=ask_often, args=[random.Random(seed + number), program])
                   for number in range(16)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(first.asked) > 1000, "many are asked")
        program.process.terminate()
        assert program.wait() == (0, "")
        over.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong


def test_signal_lets_questions_be_answered():
    hold = threading.Event()

    def script(query, reply):
        hold.wait(PATIENCE)
        reply(answer(query, [record(A, 300, ADDRESS)]))

    with Upstream(script) as upstream, \
            proxy(upstream, options=["--timeout", "20", "--grace", "20"]) as program, \
            client(program) as connection, program.connect() as stream:
        connection.send(ask("a.test"))
        send(stream, ask("a.test"))
        eventually(lambda: upstream.asked, "it is asked")
        send(stream, message(1, 0, b""))
        assert receive(stream).code == FORMERR  # so the one before has been read
        program.terminate()
        hold.set()
        assert Message(connection.recv(65536)).answers
        assert receive(stream).answers and read_all(stream) == b""
        assert program.wait() == (0, "")


def test_the_grace_has_an_end():
    with Upstream(silent) as upstream, \
            proxy(upstream, options=["--timeout", "60", "--grace", "0.1"]) as program, \
            client(program) as connection, program.connect() as stream:
        connection.send(ask("a.test"))
        send(stream, ask("b.test"), ask("a.test"))
        eventually(lambda: len(upstream.asked) == 2, "both are asked")
        program.process.terminate()
        assert program.wait() == (0, "")


def test_wrong_options_are_named():
    for arguments, what in [([], "--upstream"), (["--upstream", "localhost"], "'localhost'"),
                            (["--upstream", ","], "--upstream"),
                            (["--upstream", "127.0.0.1:53", "--timeout", "soon"], "--timeout")]:
        status, _, error = command_line("dns_proxy", *arguments)
        assert status == 2 and what in error


main(globals())
