"""The programs in the documents: all compile under the project's warnings, and those that are
followed by a block of text print just that."""

import os
import re
import subprocess
import sys
import tempfile

from harness import PATIENCE, Skip, main

# The compiler's command; taken from the command line, before the harness looks at it.
end = sys.argv.index("--")
SOURCE, LIBRARY, COMPILER = sys.argv[1], sys.argv[2], sys.argv[3:end]
sys.argv[1:] = sys.argv[end + 1:]

STRICT = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Wconversion",
          "-Wno-sign-conversion", "-Werror", "-fstack-clash-protection"]


def programs(document):
    """(code, what it prints or None) of each complete program."""
    with open(os.path.join(SOURCE, document), encoding="utf-8") as file:
        blocks = re.findall(r"^```(\w*)\n(.*?)^```$", file.read(), re.M | re.S)
    for number, (kind, code) in enumerate(blocks):
        if kind == "c" and "int main(" in code:
            following = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
            yield code, following[1] if following[0] == "text" else None


def check(document):
    count = 0
    for code, expected in programs(document):
        count += 1
        with tempfile.TemporaryDirectory() as folder:
            program = os.path.join(folder, "program")
            with open(program + ".c", "w", encoding="utf-8") as file:
                file.write(code)
            done = subprocess.run([*COMPILER, *STRICT, "-I", os.path.join(SOURCE, "include"),
                                   program + ".c", "-o", program, "-L", LIBRARY, "-lgyre",
                                   "-Wl,-rpath," + LIBRARY, "-pthread"],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{document}, program {count}: {done.stderr}"
            if expected is None:
                continue
            done = subprocess.run([program], capture_output=True, text=True, check=False,
                                  timeout=PATIENCE, stdin=subprocess.DEVNULL)
            if "cannot start" in done.stderr and "io_uring" in done.stderr:
                raise Skip("io_uring is not available here")
            assert (done.returncode, done.stdout, done.stderr) == (0, expected, ""), \
                f"{document}, program {count}: {done}"
    assert count > 0, f"no program in {document}"


def test_readme():
    check("README.md")


def test_tutorial():
    check("docs/tutorial.md")


main(globals())
