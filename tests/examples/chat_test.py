"""examples/chat: who hears what, who is sent away, and how it ends."""

import random
import re
import socket
import threading

from harness import Program, command_line, end_by_reset, ended, main


class Guest:
    def __init__(self, program):
        self.connection = program.connect()
        self.file = self.connection.makefile("r", newline="\n")
        self.name = re.match(r"\* you are (\S+),", self.hear()).group(1)

    def say(self, line):
        self.connection.sendall(line.encode() + b"\n")

    def hear(self):
        """The next line; "" when it is over."""
        return self.file.readline().rstrip("\n")

    def hear_until(self, line):
        heard = []
        while not heard or heard[-1] != line:
            heard.append(self.hear())
            assert heard[-1] != "", f"over before {line!r}: {heard}"
        return heard

    def leave(self):
        self.file.close()
        self.connection.close()


def test_all_hear_what_one_says_in_order():
    with Program("chat") as program:
        guests = [Guest(program) for _ in range(10)]
        for number in range(100):
            guests[0].say(f"line {number}")
        for guest in guests:
            wanted = [f"{guests[0].name}: line {number}" for number in range(100)]
            heard = guest.hear_until(wanted[-1])
            assert [line for line in heard if not line.startswith("*")] == wanted
        for guest in guests:
            guest.leave()
        program.nothing_leaks()


def test_everybody_hears_the_same_order():
    each = 30  # with 8 guests less than the backlog: nobody is too slow
    with Program("chat", workers=4) as program:
        guests = [Guest(program) for _ in range(8)]

        def talk(guest, number):
            for turn in range(each):
                guest.say(f"{number} {turn}")

        threads = [threading.Thread(target=talk, args=[guest, number])
                   for number, guest in enumerate(guests)]
        heard = []
        for thread in threads:
            thread.start()
        for guest in guests:
            lines = []
            while len(lines) < 8 * each:
                line = guest.hear()
                if not line.startswith("*"):
                    lines.append(line)
            heard.append(lines)
        for thread in threads:
            thread.join()
        assert all(lines == heard[0] for lines in heard)


def test_comings_goings_and_names():
    with Program("chat") as program:
        first, second = Guest(program), Guest(program)
        assert first.hear() == f"* {second.name} is here"
        second.say("/name ada")
        assert first.hear() == f"* {second.name} is now ada"
        assert second.hear() == f"* {second.name} is now ada"
        first.say("/name ada")
        assert first.hear() == "* there is a ada already"
        first.say("/name not a name")
        assert first.hear().startswith("* a name has")
        first.say("/who")
        assert {first.hear(), first.hear()} == {f"* {first.name}", "* ada"}
        second.say("/quit")
        assert second.hear() == ""
        assert first.hear() == "* ada has left"
        first.leave()


def test_a_last_line_without_a_newline_counts():
    with Program("chat") as program:
        first, second = Guest(program), Guest(program)
        first.hear()
        second.connection.sendall(b"no newline")
        second.connection.shutdown(socket.SHUT_WR)
        assert first.hear() == f"{second.name}: no newline"
        assert first.hear() == f"* {second.name} has left"


def test_one_who_does_not_read_is_sent_away_and_holds_nobody_up():
    with Program("chat") as program:
        deaf = program.connect()
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        talker = Guest(program)
        heard = []
        while not any(re.match(r"\* guest-\d+ has left", line) for line in heard):
            talker.say("x" * 1000)
            heard = talker.hear_until(f"{talker.name}: " + "x" * 1000)
        end_by_reset(deaf)


def test_a_line_too_long_and_silence_end_it():
    with Program("chat", "--idle-timeout", "0.3") as program:
        loud, quiet = Guest(program), Guest(program)
        loud.connection.sendall(b"x" * 1100)
        ended(loud.connection)
        ended(quiet.connection)


def test_signal_says_goodbye_and_delivers_what_was_said():
    with Program("chat") as program:
        guests = [Guest(program) for _ in range(20)]
        guests[3].say("one more thing")
        guests[3].hear_until(f"{guests[3].name}: one more thing")
        program.process.terminate()
        for guest in guests:
            heard = guest.hear_until("* the room closes")
            assert f"{guests[3].name}: one more thing" in heard or guest is guests[3]
            assert guest.hear() == ""
        assert program.wait() == (0, "")


def test_visitors_that_misbehave_leave_nothing_behind():
    with Program("chat", workers=4) as program:
        choice = random.Random(random.randrange(1 << 32))
        for _ in range(300):
            with program.connect() as connection:
                connection.sendall(choice.randbytes(choice.randrange(3000)).replace(b"\n", b"\n/"))
                if choice.random() < 0.5:
                    end_by_reset(connection)
        program.nothing_leaks()


def test_wrong_options_are_named():
    status, _, error = command_line("chat", "--grace", "soon")
    assert status == 2 and "--grace takes seconds" in error


main(globals())
