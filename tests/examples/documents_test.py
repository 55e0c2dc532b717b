"""The programs in the documents: all compile under the project's warnings, and those that are
followed by a block of text print just that.

In docs/from-go.md pieces of programs stand for the whole: what is outside of functions there is so in
the program, the rest is the inside of main's coroutine. They leave nothing behind. The Go beside a
piece of C is vetted and run as well, where there is a Go that knows all of it, and prints the same.
"""

import os
import re
import shutil
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
HEADERS = ["gyre.h", "dirent.h", "errno.h", "fcntl.h", "pthread.h", "stdbool.h", "stdio.h",
           "stdlib.h", "string.h"]
OUTSIDE = r"static |GYRE_CHAN_TYPE|struct \w+ \{$|enum \{"
GO_VERSION = (1, 25)  # WaitGroup.Go, testing/synctest


def blocks(document):
    """(kind, code, line of its first one) of each fenced block."""
    with open(os.path.join(SOURCE, document), encoding="utf-8") as file:
        text = file.read()
    return [(found[1], found[2], text.count("\n", 0, found.start(2)) + 1)
            for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]


def programs(document, kind):
    """(code, line, what it prints or None) of each block of a language. Two languages may stand
    before one text."""
    found = blocks(document)
    for number, (its_kind, code, line) in enumerate(found):
        if its_kind == kind:
            following = [k for k, _, _ in found[number + 1:number + 3]] + ["", ""]
            after = 1 if following[0] == "text" else 2 if following[:2] == ["c", "text"] else 0
            yield code, line, found[number + after][1] if after else None


def split(code, line, begins):
    """A piece's lines outside and inside of functions, each with its number."""
    outside, inside, within = [], [], False
    for number, text in enumerate(code.splitlines(), line):
        if text.startswith("#"):
            outside.append((number, text))
            continue
        starts = not within and re.match(begins, text)
        (outside if within or starts else inside).append((number, text))
        if starts:
            within = not text.endswith((";", "}"))
            if text.startswith("static") and "(" in text and not text.endswith(("{", ";", "}")):
                within = True  # the brace stands alone in the next line
        elif within and text.startswith("}"):
            within = False
    return outside, inside


def numbered(lines, document):
    return "".join(f'#line {number} "{document}"\n{text}\n' for number, text in lines if text)


def whole_c(code, line, document):
    if "int main(" in code:
        return f'#line {line} "{document}"\n{code}'

    outside, inside = split(code, line, OUTSIDE)
    return ("".join(f"#include <{header}>\n" for header in HEADERS) +
            numbered(outside, document) +
            "static int start(void *unused)\n{\n(void)unused;\n" + numbered(inside, document) +
            "return 0;\n}\nint main(void)\n{\nreturn gyre_run(start, NULL) < 0;\n}\n")


def runs(program, expected, what, checks):
    environment = {**os.environ, **({"GYRE_DEBUG": "checks"} if checks else {})}
    done = subprocess.run([program], capture_output=True, text=True, check=False,
                          timeout=PATIENCE, stdin=subprocess.DEVNULL, env=environment)
    if "cannot start" in done.stderr and "io_uring" in done.stderr:
        raise Skip("io_uring is not available here")
    assert (done.returncode, done.stdout, done.stderr) == (0, expected, ""), f"{what}: {done}"


def check(document, pieces=False):
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "program")
        for code, line, expected in programs(document, "c"):
            if not pieces and "int main(" not in code:
                continue
            count += 1
            with open(program + ".c", "w", encoding="utf-8") as file:
                file.write(whole_c(code, line, document))
            done = subprocess.run([*COMPILER, *STRICT, "-I", os.path.join(SOURCE, "include"),
                                   program + ".c", "-o", program, "-L", LIBRARY, "-lgyre",
                                   "-Wl,-rpath," + LIBRARY, "-pthread"],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{document}:{line}: {done.stderr}"
            if expected is not None:
                runs(program, expected, f"{document}:{line}", pieces)
    assert count > 0, f"no program in {document}"


def check_beside(document, headers, begin, libraries=()):
    """What stands beside gyre, in blocks of `C`: pieces of main; those that wait in a loop are
    run."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "program")
        found = list(programs(document, "C"))
        assert found, f"nothing in {document}"
        for code, line, expected in found:
            outside, inside = split(code, line, OUTSIDE)
            text = f'#line {line} "{document}"\n{code}'
            if "int main(" not in code:
                text = ("".join(f"#include <{header}>\n" for header in [*HEADERS[1:], *headers]) +
                        numbered(outside, document) + "int main(void)\n{\n" + begin + "\n" +
                        numbered(inside, document) + "return 0;\n}\n")
            with open(program + ".c", "w", encoding="utf-8") as file:
                file.write(text)
            done = subprocess.run([*COMPILER, *STRICT, "-D_GNU_SOURCE", "-Wno-unused-function", "-I",
                                   os.path.join(SOURCE, "include"), program + ".c", "-o", program,
                                   "-L", LIBRARY, "-lgyre", *libraries, "-Wl,-rpath," + LIBRARY,
                                   "-pthread"],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{document}:{line}: {done.stderr}"
            if expected is not None and re.search(r"\b(uv_run|epoll_wait)\(", code):
                runs(program, expected, f"{document}:{line}", False)


def check_criterion(document):
    """The programs that are Criterion's; the others are checked as all are."""
    with tempfile.TemporaryDirectory() as folder:
        program = os.path.join(folder, "program")
        found = [(code, line) for code, line, _ in programs(document, "c")
                 if "<criterion/criterion.h>" in code]
        assert found, f"no test in {document}"
        for code, line in found:
            with open(program + ".c", "w", encoding="utf-8") as file:
                file.write(f'#line {line} "{document}"\n{code}')
            done = subprocess.run([*COMPILER, *STRICT, "-Wno-conversion", "-I",
                                   os.path.join(SOURCE, "include"), program + ".c", "-o", program,
                                   "-L", LIBRARY, "-lgyre", "-lcriterion",
                                   "-Wl,-rpath," + LIBRARY, "-pthread"],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{document}:{line}: {done.stderr}"
            done = subprocess.run([program], capture_output=True, text=True, check=False,
                                  timeout=PATIENCE)
            assert done.returncode == 0 and "Failing: 0" in done.stderr, f"{document}:{line}: {done}"


def whole_go(code, document):
    outside, inside = split(code, 1, r"func |type |const \(")
    text = "\n".join(line for _, line in outside + [(0, "func main() {")] + inside) + "\n}\n"
    if "func Test" in code:
        text = code
    packages = ["bufio", "context", "errors", "fmt", "golang.org/x/sync/errgroup", "io/fs", "net",
                "net/netip", "os", "os/exec", "os/signal", "path/filepath", "strings", "sync",
                "syscall", "testing", "testing/synctest", "time"]
    imports = [f'import "{package}"\n' for package in packages
               if re.search(r"\b" + package.split("/")[-1] + r"\.", text)]
    return f"// {document}\npackage main\n" + "".join(imports) + text


def go(folder, *arguments):
    done = subprocess.run(["go", *arguments], cwd=folder, capture_output=True, text=True,
                          check=False, env={**os.environ, "GOPROXY": "off", "GOFLAGS": "-mod=mod",
                                            "GOTOOLCHAIN": "local", "GOWORK": "off"})
    assert done.returncode == 0, f"go {arguments[0]}: {done.stdout}{done.stderr}"
    return done.stdout


def check_go(document):
    if not shutil.which("go"):
        raise Skip("Go is not installed")
    with tempfile.TemporaryDirectory() as folder:
        found = re.match(r"go(\d+)\.(\d+)", go(folder, "env", "GOVERSION"))
        if not found or (int(found[1]), int(found[2])) < GO_VERSION:
            raise Skip("Go is older than %d.%d" % GO_VERSION)
        shutil.copytree(os.path.join(SOURCE, "tests/examples/errgroup"),
                        os.path.join(folder, "sync/errgroup"))
        for module, name in [("sync", "golang.org/x/sync"), (".", "document")]:
            with open(os.path.join(folder, module, "go.mod"), "w", encoding="utf-8") as file:
                file.write(f"module {name}\ngo %d.%d\n" % GO_VERSION)
                if module == ".":
                    file.write("require golang.org/x/sync v0.0.0\n"
                               "replace golang.org/x/sync => ./sync\n")
        expected = {}
        for code, line, text in programs(document, "go"):
            package = os.path.join(folder, f"line{line}")
            os.mkdir(package)
            test = "func Test" in code
            name = "main_test.go" if test else "main.go"
            with open(os.path.join(package, name), "w", encoding="utf-8") as file:
                file.write(whole_go(code, f"{document}:{line}"))
            if not test:
                expected[f"line{line}"] = text
        assert expected, f"no Go in {document}"
        go(folder, "vet", "./...")
        go(folder, "test", "./...")
        go(folder, "build", "-o", "bin/", *(f"./{name}" for name in expected))
        for name, text in expected.items():
            done = subprocess.run([os.path.join(folder, "bin", name)], capture_output=True,
                                  text=True, check=False, timeout=PATIENCE)
            assert (done.returncode, done.stdout) == (0, text), f"{document}, {name}: {done}"


def test_readme():
    check("README.md")


def test_tutorial():
    check("docs/tutorial.md")


def test_testing():
    check("docs/testing.md")


def test_testing_with_criterion():
    check_criterion("docs/testing.md")


def test_preemption():
    check("docs/preemption.md")


def test_from_go():
    check("docs/from-go.md", pieces=True)


def test_service():
    check("docs/service.md")


def test_from_libuv():
    check("docs/from-libuv.md", pieces=True)


def test_from_libuv_beside_it():
    if subprocess.run(["pkg-config", "--exists", "libuv"], check=False).returncode:
        raise Skip("libuv is not installed")
    check_beside("docs/from-libuv.md", ["netdb.h", "pthread.h", "signal.h", "uv.h"],
                 "uv_loop_t *loop = uv_default_loop();\n(void)loop;", ["-luv"])


def test_from_epoll():
    check("docs/from-epoll.md", pieces=True)


def test_from_epoll_beside_it():
    check_beside("docs/from-epoll.md",
                 ["pthread.h", "signal.h", "sys/epoll.h", "sys/eventfd.h", "sys/signalfd.h",
                  "sys/socket.h", "sys/timerfd.h", "unistd.h"],
                 "int epoll = epoll_create1(EPOLL_CLOEXEC);\n(void)epoll;")


def test_from_go_beside_it():
    check_go("docs/from-go.md")


main(globals())
