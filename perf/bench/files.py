"""Works on files, next to the programs that people use for them: fio, grep, ripgrep, nginx. Each
makes its files in a folder of build/bench, which goes with it; all of it is in the page cache."""

import glob
import json
import os
import random
import re
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.request

from subjects import Failure, Server, Subject, environment, placed
from works import Micro, Target

BUILD = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))),
                     "build", "bench")


class OnFiles:
    """A work whose subjects are programs of ours and of the system; it runs them itself."""

    quick = 2
    most = 20
    brief = False  # part of --quick when nothing is named
    rate = None

    def __init__(self, name, works, programs, targets):
        self.name = name
        self.works = works
        self.programs = programs  # subject: what must be there
        self.targets = targets

    def subjects(self, built, say):
        found = []
        for name, program in self.programs.items():
            path = built.get(program) or (program and shutil.which(
                program, path=os.environ.get("PATH", "") + ":/usr/sbin"))
            if path:
                found.append(Subject(name, "", path))
            else:
                say(f"{self.name}: {name} is skipped, {program} is missing (scripts/setup bench)")
        return found

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="files-", dir=BUILD)
        try:
            self.prepare()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder, ignore_errors=True)


def run(plan, command, cpus, subject, output=subprocess.PIPE, seconds=60):
    try:
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=output,
                              stderr=subprocess.PIPE, timeout=seconds, check=False,
                              preexec_fn=placed(cpus, plan.nice), env=environment(subject))
    except subprocess.TimeoutExpired:
        raise Failure("did not end") from None


def last_line(done):
    lines = done.stderr.decode("utf-8", "replace").strip().split("\n")
    return lines[-1] or f"ended with {done.returncode}"


class RandomReads(OnFiles):
    """4 KiB reads at random, 64 at a time, by one thread on one CPU. fio counts with everything
    that it can leave out left out."""

    SIZE = 256 << 20

    def __init__(self, direct, registered):
        self.kind = "direct" if direct else "cached"
        self.registered = registered
        name = f"random_reads_{self.kind}" + ("_registered" if registered else "")
        super().__init__(
            name, {f"{name}_iops": ("reads/s", "iops"), f"{name}_cpu": ("us", "cpu_us")},
            {"gyre": "perf/random_reads", "raw_io_uring": "perf/random_reads", "fio": "fio"},
            [Target(f"{name}_iops", of="fio", at_least=0.97)])

    def prepare(self):
        self.file = os.path.join(self.folder, "file")
        with open(self.file, "wb") as file:
            for _ in range(self.SIZE >> 20):
                file.write(os.urandom(1 << 20))
            os.fsync(file.fileno())

    def run(self, plan, subject):
        if subject.name == "fio":
            return self.run_fio(plan, subject)
        done = run(plan, [subject.program, "gyre" if subject.name == "gyre" else "raw", self.kind,
                          "registered" if self.registered else "plain", self.file,
                          str(plan.seconds)], plan.server_cpus, subject)
        if done.returncode:
            raise Failure(last_line(done))
        return json.loads(done.stdout)

    def run_fio(self, plan, subject):
        done = run(plan, [
            subject.program, "--name=reads", f"--filename={self.file}", "--rw=randread", "--bs=4k",
            "--ioengine=io_uring", "--iodepth=64", f"--direct={int(self.kind == 'direct')}",
            f"--fixedbufs={int(self.registered)}", "--invalidate=0", "--norandommap",
            "--randrepeat=0", "--gtod_reduce=1", "--time_based",
            "--thread",  # a process of its own would have a session, and so a priority, of its own
            f"--runtime={round(plan.seconds * 1000)}ms", "--output-format=json"],
            plan.server_cpus, subject)
        if done.returncode:
            raise Failure(last_line(done))
        job = json.loads(done.stdout)["jobs"][0]
        busy = (job["usr_cpu"] + job["sys_cpu"]) / 100 * job["job_runtime"] * 1000
        return {"iops": job["read"]["iops"], "cpu_us": busy / job["read"]["total_ios"]}


class Grep(OnFiles):
    """A word in a tree of 20,000 files of source text, 10 KiB each on average, on all CPUs."""

    FILES = 20000
    MEAN = 10 << 10
    EACH = 20  # files a folder
    WORD = "io_uring_prep_send"

    def __init__(self):
        super().__init__(
            "grep_tree", {"grep_tree": ("s", "seconds"), "grep_tree_cpu": ("s", "cpu_seconds")},
            {"gyre": "examples/grep", "xargs_grep": "xargs", "grep_r": "grep", "ripgrep": "rg"},
            [Target("grep_tree", 1, "xargs_grep"), Target("grep_tree", 1, "ripgrep")])

    def prepare(self):
        """The same for the same sources: pieces of them, most small and a few large."""
        root = os.path.dirname(os.path.dirname(BUILD))
        text = b""
        for path in sorted(glob.glob(os.path.join(root, "lib", "**", "*.[ch]"), recursive=True)):
            with open(path, "rb") as file:
                text += file.read()
        generator = random.Random(1)
        self.tree = os.path.join(self.folder, "tree")
        for i in range(self.FILES):
            folder = os.path.join(self.tree, f"{i // self.EACH // 25}", f"{i // self.EACH % 25}")
            if i % self.EACH == 0:
                os.makedirs(folder)
            start = text.index(b"\n", generator.randrange(len(text) - 1000)) + 1
            size = min(int(generator.expovariate(1 / self.MEAN)) + 1, 256 << 10)
            with open(os.path.join(folder, f"{i % self.EACH}.c"), "wb") as file:
                file.write(text[start:start + size].rpartition(b"\n")[0] + b"\n")
        self.answer = None

    def command(self, subject, cpus):
        path = subject.program
        if subject.name == "xargs_grep":
            return ["sh", "-c", f"find '{self.tree}' -type f -print0 | {path} -0 -P{len(cpus)} -n64 "
                    f"grep -HF '{self.WORD}' || [ $? = 123 ]"]  # some found nothing
        return [path, *{"gyre": [], "grep_r": ["-rF"],
                        "ripgrep": ["-F", "--no-ignore", "--no-config", "--no-heading",
                                    "--with-filename", "--color=never", "--no-line-number"],
                        }[subject.name], self.WORD, self.tree]

    def run(self, plan, subject):
        cpus = os.sched_getaffinity(0)
        with tempfile.TemporaryFile(dir=self.folder) as output:
            before, start = os.times(), time.monotonic()
            done = run(plan, self.command(subject, cpus), cpus, subject, output)
            seconds, after = time.monotonic() - start, os.times()
            if done.returncode:
                raise Failure(last_line(done))
            output.seek(0)
            lines = sorted(output.read().split(b"\n"))
        if self.answer is None:
            self.answer = lines
        if lines != self.answer:
            raise Failure(f"{len(lines)} lines, and they differ from those of the first")
        cpu = (after.children_user - before.children_user
               + after.children_system - before.children_system)
        return {"seconds": seconds, "cpu_seconds": cpu}


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error; worker_processes {workers};
{user}
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


class Nginx(Server):
    def __init__(self, subject, plan, folder, root):
        super().__init__(subject, plan.server_cpus, plan.nice, 0)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        path = os.path.join(folder, "nginx.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(NGINX.format(folder=folder, root=root, port=self.port,
                                    workers=len(plan.server_cpus),
                                    user="user root;" if os.geteuid() == 0 else ""))
        self.command = [subject.program, "-c", path, "-e", os.path.join(folder, "error")]

    def _wait_for_port(self):
        end = time.monotonic() + 10
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self.port
            except OSError:
                time.sleep(0.02)
        self.errors.seek(0)
        raise Failure("nginx did not start: " + self.errors.read(500).decode("utf-8", "replace"))


def cpu_ns(process):
    """CPU time of a process and its children so far, kernel workers included."""
    pids = [process]
    with open(f"/proc/{process}/task/{process}/children", encoding="ascii") as file:
        pids += file.read().split()
    total = 0
    for path in (p for pid in pids for p in glob.glob(f"/proc/{pid}/task/*/schedstat")):
        try:
            with open(path, encoding="ascii") as file:
                total += int(file.read().split()[0])
        except OSError:
            pass  # a thread that has ended
    return total


class FileServer(OnFiles):
    """wrk, 64 connections, one file; as many workers as the server has CPUs."""

    def __init__(self, size, text):
        name = f"http_file_{text}"
        super().__init__(
            name, {f"{name}_rps": ("requests/s", "rps"), f"{name}_cpu": ("us", "cpu_us"),
                   f"{name}_p99": ("us", "p99_us")},
            {"gyre": "examples/http", "nginx": "nginx"},
            [Target(f"{name}_rps", of="nginx", at_least=1)])
        self.size = size

    def prepare(self):
        self.wrk = shutil.which("wrk")
        self.root = os.path.join(self.folder, "root")
        os.mkdir(self.root)
        self.bytes = os.urandom(self.size)
        with open(os.path.join(self.root, "file"), "wb") as file:
            file.write(self.bytes)

    def run(self, plan, subject):
        if not self.wrk:
            raise Failure("wrk is missing (scripts/setup bench)")
        server = (Nginx(subject, plan, self.folder, self.root) if subject.name == "nginx" else
                  Server(subject, plan.server_cpus, plan.nice, 0, ["--root", self.root]))
        with server:
            url = f"http://127.0.0.1:{server.port}/file"
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.read() != self.bytes:
                    raise Failure("a wrong answer")
            seconds = max(1, round(plan.seconds * 2))
            before = cpu_ns(server.process.pid)
            done = run(plan, [self.wrk, "-t1", "-c64", f"-d{seconds}s", "--latency", url],
                       plan.load_cpus, subject)
            cpu = cpu_ns(server.process.pid) - before
        return self.figures(done, cpu)

    def figures(self, done, cpu):
        text = done.stdout.decode("ascii", "replace")
        found = re.search(r"(\d+) requests in ([\d.]+)s", text)
        tail = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text)
        if done.returncode or not found or not tail or "errors" in text or "Non-2xx" in text:
            raise Failure(text.strip() or last_line(done))
        count = int(found[1])
        return {"rps": count / float(found[2]), "cpu_us": cpu / 1000 / count,
                "p99_us": float(tail[1]) * {"us": 1, "ms": 1e3, "s": 1e6}[tail[2]]}


class Sendfile(Micro):
    """A file to a TCP connection, by each way there is."""

    def __init__(self, size, text):
        name = f"sendfile_{text}"
        super().__init__(name, {f"{name}_cpu": ("us", "cpu_us"), f"{name}_rate": ("MiB/s", "rate")},
                         ["perf/sendfile", "sendfile_all", str(size)])
        for subject, way in (("read_send_64k", "small_buffer"), ("read_send_256k", "large_buffer"),
                             ("splice", "splice"), ("zero_copy", "zero_copy")):
            self.commands[subject] = ["perf/sendfile", way, str(size)]
        self.timed = True
        self.least = 0.1
        self.brief = False


FILES = [
    *(RandomReads(direct, registered) for direct in (False, True) for registered in (False, True)),
    Grep(),
    *(FileServer(size << 10, text) for size, text in ((4, "4k"), (64, "64k"), (1024, "1m"))),
    *(Sendfile(size << 10, text) for size, text in ((16, "16k"), (64, "64k"), (256, "256k"),
                                                    (1024, "1m"))),
]
