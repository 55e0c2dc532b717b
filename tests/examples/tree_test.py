"""examples/grep and examples/copy, beside the programs they are small versions of."""

import contextlib
import filecmp
import os
import random
import shutil
import signal
import subprocess
import tempfile

from harness import PATIENCE, PROGRAMS, command_line, main


@contextlib.contextmanager
def tree(files=400, seed=7):
    """A tree of text files of odd sizes: none, cut lines, lines longer than a piece."""
    choice = random.Random(seed)
    words = ["alpha", "beta", "Gamma", "needle", "x" * 70, "", "end."]
    with tempfile.TemporaryDirectory() as directory:
        for number in range(files):
            folder = os.path.join(directory, str(number % 7), str(number % 3))
            os.makedirs(folder, exist_ok=True)
            with open(os.path.join(folder, f"{number}.txt"), "w", encoding="ascii") as file:
                for _ in range(choice.choice([0, 1, 10, 1000, 20000])):
                    file.write(" ".join(choice.choices(words, k=choice.randrange(8))))
                    file.write(choice.choice(["\n", "\n", "\n", " "]))
        yield directory


def lines(text):
    return sorted(text.splitlines())


def same_as_grep(directory, pattern, ours, theirs):
    status, output, error = command_line("grep", *ours, pattern, directory)
    reference = subprocess.run(["grep", "-r", "-a", *theirs, "-e", pattern, directory],
                               capture_output=True, check=False)
    assert error == "", error
    assert lines(output) == lines(reference.stdout.decode())
    assert status == reference.returncode


def test_finds_what_grep_finds():
    with tree() as directory:
        same_as_grep(directory, "needle", [], ["-F"])
        same_as_grep(directory, "needle", ["--jobs", "1"], ["-F"])
        same_as_grep(directory, "not there at all", [], ["-F"])
        same_as_grep(directory, "GAMMA", ["--ignore-case"], ["-F", "-i"])
        same_as_grep(directory, "(alpha|beta) +needle", ["--regex"], ["-E"])
        same_as_grep(directory, "^end", ["--regex"], ["-E"])


def test_lines_longer_than_a_piece_and_without_an_end():
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "a"), "w", encoding="ascii") as file:
            file.write("y" * 131000 + "needle" + "z" * 200 + "\nlast needle")
        status, output, _ = command_line("grep", "--count", "needle", directory)
        assert (status, output) == (0, f"{directory}/a:2\n")


def test_binary_files_are_named():
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "b"), "wb") as file:
            file.write(b"\0needle\n")
        status, output, _ = command_line("grep", "needle", directory)
        assert (status, output) == (0, f"{directory}/b: binary file matches\n")


def test_what_cant_be_read_is_status_2():
    status, _, error = command_line("grep", "needle", "/nowhere/at/all")
    assert status == 2 and error == "grep: /nowhere/at/all: No such file or directory\n"
    status, _, error = command_line("grep", "--regex", "(", "/tmp")
    assert status == 2 and error.startswith("grep: '(': ")
    status, _, error = command_line("grep", "alone")
    assert status == 2 and "PATTERN PATH... is missing" in error


def different(comparison):
    return (comparison.left_only or comparison.right_only or comparison.diff_files or
            comparison.funny_files or any(map(different, comparison.subdirs.values())))


def test_copies_a_tree():
    with tree() as directory, tempfile.TemporaryDirectory() as to:
        os.symlink("0", os.path.join(directory, "link"))
        os.mkfifo(os.path.join(directory, "fifo"))
        os.chmod(os.path.join(directory, "1"), 0o750)
        os.chmod(os.path.join(directory, "0", "0", "0.txt"), 0o604)
        target = os.path.join(to, "copy")
        assert command_line("copy", directory, target) == (0, "", "")
        os.unlink(os.path.join(directory, "fifo"))
        assert not different(filecmp.dircmp(directory, target))
        assert os.readlink(os.path.join(target, "link")) == "0"
        assert os.stat(os.path.join(target, "1")).st_mode & 0o777 == 0o750
        assert os.stat(os.path.join(target, "0", "0", "0.txt")).st_mode & 0o777 == 0o604


def test_a_copy_that_is_interrupted_leaves_whole_files():
    with tree(files=100) as directory, tempfile.TemporaryDirectory() as to:
        with open(os.path.join(directory, "large"), "wb") as file:
            file.write(os.urandom(1 << 20) * 200)
        target = os.path.join(to, "copy")
        with subprocess.Popen([PROGRAMS["copy"], directory, target]) as process:
            while not os.path.exists(target) and process.poll() is None:
                pass
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE) in (0, 130)
        for folder, _, names in os.walk(target):
            for name in names:
                path = os.path.join(folder, name)
                assert filecmp.cmp(path, directory + path[len(target):], shallow=False), path


def test_errors_are_named_and_the_rest_is_copied():
    with tree(files=20) as directory, tempfile.TemporaryDirectory() as to:
        target = os.path.join(to, "missing", "copy")
        status, _, error = command_line("copy", directory, target)
        assert status == 1 and "No such file or directory" in error
        assert command_line("copy", directory, os.path.join(to, "copy"))[0] == 0
        shutil.rmtree(os.path.join(to, "copy"))


main(globals())
