"""Runs the works, round after round, and keeps the samples."""

import json
import os
import subprocess
import time

from hogs import Counters
from stats import median
from subjects import Failure, Server, environment, placed
from works import Hogs, Idle, Micro


class Plan:
    """How long, how often and where."""

    def __init__(self, options, programs):
        self.server_cpus = options.server_cpus
        self.load_cpus = options.load_cpus
        self.nice = options.nice
        self.seconds = options.seconds
        self.warm_up = options.warm_up
        self.trials = options.trials
        self.rounds = options.rounds
        self.loop = options.loop
        # Of a generator that shares its CPU with hogs: without it, it would measure how the kernel
        # shares that out.
        self.urgent = -20 if os.geteuid() == 0 else options.nice
        self.programs = programs  # paths by "folder/name"

    def split(self, workers):
        """CPUs of a server with so many workers, and of the load: all where none is left for it."""
        usable = os.sched_getaffinity(0)
        server = self.server_cpus
        if len(server) != workers:
            server = set(sorted(usable)[-workers:])
        return server, (usable - server) or usable


class Samples:
    """Rows of figures by load and subject name; row i of all subjects is round i, None: failed."""

    def __init__(self):
        self.rows = {}

    def add(self, group, subject, row):
        self.rows.setdefault((group, subject), []).append(row)

    def column(self, group, subject, field):
        return [row and row.get(field) for row in self.rows.get((group, subject), [])]

    def median(self, group, subject, field):
        values = [v for v in self.column(group, subject, field) if v is not None]
        return median(values) if values else None


def run_load(plan, load, subject, rate):
    if not isinstance(load, Hogs):
        with Server(subject, plan.server_cpus, plan.nice, load.connections) as server:
            return generate(plan, load, server, rate, plan.load_cpus, plan.nice)
    server_cpus, load_cpus = plan.split(load.workers)
    shared = bool(server_cpus & load_cpus)
    with Counters(load.hogs * load.workers) as counters, \
            Server(subject, server_cpus, plan.nice, load.connections,
                   ["--hogs", str(load.hogs), *counters.arguments]) as server:
        time.sleep(plan.warm_up)  # each hog has its first turn before the load comes
        counters.start()
        row = {}
        if load.connections:
            row = generate(plan, load, server, rate, load_cpus,
                           plan.urgent if shared else plan.nice, ["--sleep"] if shared else ())
        else:
            time.sleep(load.scale * plan.seconds)
        return row | counters.figures()


def generate(plan, load, server, rate, cpus, nice, more=()):
    """Runs the load generator; returns its figures."""
    warm_up = plan.warm_up * (3 if load.connections >= 4096 else 1)
    seconds = load.scale * plan.seconds
    command = [plan.programs[load.generator], "--json", "--port", str(server.port),
               "--pid", str(server.process.pid), "--seconds", str(seconds),
               "--warm-up", str(warm_up), *load.arguments, *more]
    if rate:
        command += ["--rate", str(rate)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=seconds + warm_up + 40,
            preexec_fn=placed(cpus, nice))
    except subprocess.TimeoutExpired:
        raise Failure("the load generator did not end") from None
    if done.returncode:
        raise Failure(done.stderr.strip() or f"load ended with {done.returncode}")
    row = json.loads(done.stdout)
    row["idle_percent"] = 100 * row["server_busy"]
    return row


def run_micro(plan, micro, subject):
    program, *arguments = micro.commands[subject.name]
    if micro.timed:
        arguments.append(str(max(plan.loop, micro.least)))
    cpus = os.sched_getaffinity(0)
    try:
        done = subprocess.run(
            [plan.programs[program], *arguments], capture_output=True, text=True, timeout=60,
            preexec_fn=placed(cpus, plan.nice), env=environment(subject))
    except subprocess.TimeoutExpired:
        raise Failure("did not end") from None
    if done.returncode:
        raise Failure(done.stderr.strip().split("\n")[-1] or f"ended with {done.returncode}")
    return json.loads(done.stdout)


class Runner:
    """Rounds of all subjects in a rotated order, until the rounds or the time are used up."""

    def __init__(self, plan, samples, say):
        self.plan = plan
        self.samples = samples
        self.say = say
        self.failures = {}

    def rounds(self, group, subjects, count, deadline, rate=None):
        done = 0
        longest = 0.0
        while done < count and (done == 0 or time.monotonic() + longest < deadline):
            start = time.monotonic()
            turn = done % max(len(subjects), 1)
            for subject in subjects[turn:] + subjects[:turn]:
                self._one(group, subject, rate)
            longest = max(longest, time.monotonic() - start)
            done += 1
        return done

    def _one(self, group, subject, rate):
        row = None
        try:
            if hasattr(group, "run"):
                row = group.run(self.plan, subject)
            elif isinstance(group, Micro):
                row = run_micro(self.plan, group, subject)
            else:
                row = run_load(self.plan, group, subject, rate)
        except Failure as failure:
            self.failures.setdefault((group.name, subject.name), str(failure))
        self.samples.add(group.name, subject.name, row)

    def best(self, group, subjects):
        """Of the variants of one family, the one with the least CPU time a request."""
        field = "idle_percent" if isinstance(group, Idle) else "cpu_us"
        figures = [(self.samples.median(group.name, s.name, field), s) for s in subjects]
        figures = [(figure, s) for figure, s in figures if figure is not None]
        return min(figures, key=lambda pair: pair[0])[1] if figures else None
