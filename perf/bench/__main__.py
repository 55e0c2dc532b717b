"""The driver behind scripts/bench: builds, measures, prints a table, writes JSON.

A load runs in two phases. First every variant of the raw servers, in rounds, to find the best one of
each family for this load: the variant with the least CPU time a request. Then gyre and the two
winners, back to back in many rounds whose order rotates; the figures of `raw_io_uring` and
`raw_epoll` are from this phase alone, so that the luck that made a winner does not flatter it.
"""

import argparse
import fnmatch
import json
import os
import resource
import shlex
import subprocess
import sys
import time

import golang
import report
from run import Plan, Runner, Samples
from subjects import QUICK, RAW_EPOLL, RAW_IO_URING, Subject
from files import FILES, OnFiles
from works import DATAGRAMS, MEASURES, PREEMPTION, VOCABULARY, Idle, Micro, Pairs

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build", "bench")
GROUPS = [*MEASURES, *FILES]
NAMES = [work for group in GROUPS for work in group.works]
SETS = {name: [work for group in groups for work in group.works] for name, groups in (
    ("datagrams", DATAGRAMS), ("files", FILES), ("preemption", PREEMPTION),
    ("vocabulary", VOCABULARY))}
QUICK_SECONDS = 100  # of the two minutes; the rest is slack for what can't be cut short


def cpu_list(text):
    cpus = set()
    for part in text.split(","):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    if not cpus <= os.sched_getaffinity(0):
        raise argparse.ArgumentTypeError(f"not all of {text} may be used")
    return cpus


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description="Measures gyre next to raw io_uring and raw epoll. Builds a release into "
        "build/bench and writes build/bench/latest.json anew.",
        epilog="WORK is a name, a pattern (echo_64b_1000c_*), `vocabulary`, all that has a "
        "counterpart in Go, or `preemption`, `datagrams`, `files`; without any, all are measured. "
        "The server runs on one CPU and the load on another: on a machine with two, nothing else "
        "should run.")
    parser.add_argument("work", nargs="*", metavar="WORK")
    parser.add_argument("--quick", action="store_true", help="end within two minutes: fewer "
                        "variants, few rounds, wide intervals")
    parser.add_argument("--list", action="store_true", help="print the works and exit")
    parser.add_argument("--variants", type=lambda text: text.split(","), metavar="V,...",
                        help="of the raw servers, only these: recv,multishot,edge ...")
    parser.add_argument("--other", metavar="PROGRAM", help="another build of the same server, "
                        "measured beside gyre as subject `other`")
    parser.add_argument("--rounds", type=int, help="of the final pairs (30, quick 5)")
    parser.add_argument("--trials", type=int, help="rounds of all variants before (7, quick 1)")
    parser.add_argument("--seconds", type=float, help="each run (0.6, quick 0.3)")
    parser.add_argument("--warm-up", type=float, help="before each run (0.3, quick 0.15)")
    parser.add_argument("--server-cpus", type=cpu_list, help="e.g. 1 or 0-3 (the last one)")
    parser.add_argument("--load-cpus", type=cpu_list, help="(all others)")
    parser.add_argument("--nice", type=int, default=0,
                        help="added to the priority of server and load (0; below 0 needs root)")
    parser.add_argument("--no-build", action="store_true", help="measure what was built last")
    options = parser.parse_args(arguments)
    options.loop = None  # seconds of a loop in the vocabulary
    for name, full, quick in (("rounds", 30, 5), ("trials", 7, 1), ("seconds", 0.6, 0.3),
                              ("warm_up", 0.3, 0.15), ("loop", 0.2, 0.03)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else full)
    usable = os.sched_getaffinity(0)
    options.server_cpus = options.server_cpus or {max(usable)}
    options.load_cpus = options.load_cpus or (usable - options.server_cpus) or usable
    return parser, options


def choose_groups(parser, patterns, quick):
    """The groups to run, and the works to report."""
    wanted = set()
    if quick and not patterns:
        patterns = [work for group in GROUPS if getattr(group, "brief", True)
                    for work in group.works]
    for pattern in patterns or ["*"]:
        found = SETS.get(pattern) or fnmatch.filter(NAMES, pattern)
        if not found:
            parser.error(f"no such work: {pattern} (see --list)")
        wanted.update(found)
    return [group for group in GROUPS if wanted & set(group.works)], wanted


def command(*words):
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)


def build(groups, say):
    """Builds the programs that the groups need; returns their paths by "folder/name". What does not
    compile is named and left out: the others can be measured without it."""
    if not os.path.exists(os.path.join(BUILD, "build.ninja")):
        done = command("meson", "setup", BUILD, "--buildtype=release", "-Dtests=disabled")
        if done.returncode:
            sys.exit(f"bench: meson setup failed (scripts/setup installs what is missing)\n"
                     f"{done.stdout}{done.stderr}")
    command("ninja", "-C", BUILD, "build.ninja")  # takes in what changed in the build files
    programs, needed = {}, wanted_programs(groups)
    for target in targets():
        path = os.path.relpath(target["filename"][0], BUILD)
        if path not in needed:
            continue
        done = command("ninja", "-C", BUILD, "-j", str(len(os.sched_getaffinity(0))), path)
        if done.returncode:
            say(f"bench: {path} does not build:\n{done.stdout[-2000:]}")
        else:
            programs[path] = target["filename"][0]
    if any(program.startswith("go/") for program in needed):
        programs |= golang.build(ROOT, os.path.join(BUILD, "go"), say)
    return programs


def wanted_programs(groups):
    wanted = set()
    for group in groups:
        if isinstance(group, Micro):
            wanted.update(program for program, *_ in group.commands.values())
        elif isinstance(group, OnFiles):
            wanted.update(program for program in group.programs.values() if "/" in program)
        elif isinstance(group, Pairs):
            wanted.update(program for program, *_ in group.subjects.values())
            wanted.add(group.generator)
        else:
            wanted.update(("perf/load", "perf/raw_epoll", "perf/raw_io_uring",
                           f"examples/{group.kind}"))
    return wanted


def targets():
    done = command("meson", "introspect", BUILD, "--targets")
    wanted = wanted_programs(GROUPS)
    return [t for t in json.loads(done.stdout or "[]") if t["type"] == "executable"
            and os.path.relpath(t["filename"][0], BUILD) in wanted]


def built():
    paths = {os.path.relpath(t["filename"][0], BUILD): t["filename"][0] for t in targets()}
    for name in golang.PACKAGES:
        paths[f"go/{name}"] = os.path.join(BUILD, "go", "bin", name)
    return {name: path for name, path in paths.items() if os.path.exists(path)}


def families(kind, programs, options):
    """Subjects by family for one kind of load; families without a program are left out."""
    found = {}
    if f"examples/{kind}" in programs:
        found["gyre"] = [Subject("gyre", "", programs[f"examples/{kind}"])]
    if options.other:
        found["other"] = [Subject("other", "", options.other)]
    for family, variants in (("raw_io_uring", RAW_IO_URING), ("raw_epoll", RAW_EPOLL)):
        if options.quick:
            variants = variants[:QUICK]
        if options.variants:
            variants = [v for v in variants if v in options.variants]
        if f"perf/{family}" in programs and variants:
            more = ["--http"] if kind == "http" else []
            found[family] = [
                Subject(family, variant, programs[f"perf/{family}"], ["--variant", variant, *more])
                for variant in variants]
    return found


class Bench:
    def __init__(self, options, programs, say):
        self.options = options
        self.programs = programs
        self.say = say
        self.samples = Samples()
        self.samples.variants = {}
        self.runner = Runner(Plan(options, programs), self.samples, say)
        self.rates = {}

    def micro(self, group, deadline):
        subjects = []
        for name, (program, *_) in group.commands.items():
            if program in self.programs:
                subjects.append(Subject(name, "", program,
                                        environment=group.environments.get(name)))
            else:
                self.say(f"{group.name}: {name} is skipped, {program} is not built")
        rounds = group.quick if self.options.quick else group.most
        if subjects:
            self.runner.rounds(group, subjects, rounds, deadline)

    def pairs(self, group, deadline):
        subjects = []
        for name, (program, environment, *arguments) in group.subjects.items():
            if {program, group.generator} <= self.programs.keys():
                subjects.append(Subject(name, "", self.programs[program], *arguments,
                                        environment=environment))
            else:
                self.say(f"{group.name}: {name} is skipped, {program} or {group.generator} is not"
                         " built")
        rounds = min(group.most, self.options.rounds)
        if subjects:
            self.runner.rounds(group, subjects, rounds, deadline, group.rate)

    def on_files(self, group, deadline):
        subjects = group.subjects(self.programs, self.say)
        rounds = group.quick if self.options.quick else min(group.most, self.options.rounds)
        with group:
            self.runner.rounds(group, subjects, rounds, deadline)

    def load(self, group, deadline):
        if "perf/load" not in self.programs:
            self.say(f"{group.name}: skipped, perf/load is not built")
            return
        found = families(group.kind, self.programs, self.options)
        if "gyre" not in found:
            self.say(f"{group.name}: gyre is skipped, examples/{group.kind} is not built")
        if not found:
            return
        rate = self.rate(group, found) if group.half else None
        winners = self.trials(group, found, deadline, rate)
        rounds = min(group.most, self.options.rounds)
        self.runner.rounds(group, winners, rounds, deadline, rate)

    def trials(self, group, found, deadline, rate):
        """Finds the best variant of each family; returns one subject per family."""
        if isinstance(group, Idle):  # nothing to choose by
            found = {family: subjects[:1] for family, subjects in found.items()}
        variants = [s for family in found.values() if len(family) > 1 for s in family]
        middle = time.monotonic() + (deadline - time.monotonic()) / 2
        if variants:
            rounds = min(group.most, self.options.trials)
            self.runner.rounds(group, variants, rounds, middle, rate)
        winners = []
        for family, subjects in found.items():
            best = subjects[0] if len(subjects) == 1 else self.runner.best(group, subjects)
            if best:
                winner = Subject(family, "", best.program, best.arguments)
                winners.append(winner)
                self.samples.variants[group.name, family] = best.variant
        return winners

    def rate(self, group, found):
        """Half of what the slowest family's best does when saturated, measured before if it was
        not measured in this run; the same for all."""
        full = group.half.name
        names = [(family, f"{family}_") for family in found]
        if not any(self.samples.median(full, family, "rps") for family in found):
            calibration = [subjects[0] for subjects in found.values()]
            for _ in range(3):
                for subject in calibration:
                    self.runner._one(group.half, subject, None)
            names = [(s.name, "") for s in calibration]
        rates = [self.samples.median(full, name, "rps") for name, _ in names]
        slowest = min(rate for rate in rates if rate)
        self.rates[group.name] = round(slowest / 2, -2)
        return self.rates[group.name]

    def run(self, groups, end):
        for i, group in enumerate(groups):
            now = time.monotonic()
            deadline = now + (end - now) / (len(groups) - i) if end else float("inf")
            self.say(f"{group.name} ...")
            run = (self.micro if isinstance(group, Micro)
                   else self.on_files if isinstance(group, OnFiles)
                   else self.pairs if isinstance(group, Pairs) else self.load)
            run(group, deadline)
            self.say(f"{group.name}: {time.monotonic() - now:.1f} s")


def load_details(samples, rates):
    """How busy both sides were: who was the bottleneck, and how much was offered."""
    details = []
    for (group, subject), rows in samples.rows.items():
        rows = [row for row in rows if row and "server_busy" in row]
        if rows:
            details.append({
                "load": group, "subject": subject, "rate": rates.get(group),
                **{field: report.median([row.get(field, 0) for row in rows]) for field in (
                    "server_busy", "load_busy", "rps", "server_rss_kb", "server_threads")}})
    return details


def raise_descriptor_limit(need=20480):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, need), max(hard, need)))
    except (ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main():
    parser, options = parse_arguments(sys.argv[1:])
    if options.list:
        print("\n".join(NAMES))
        return 0
    start = time.monotonic()
    groups, wanted = choose_groups(parser, options.work, options.quick)

    def say(line):
        print(line, file=sys.stderr, flush=True)

    programs = built() if options.no_build else build(groups, say)
    raise_descriptor_limit()
    bench = Bench(options, programs, say)
    bench.run(groups, start + QUICK_SECONDS if options.quick else None)

    entries = [e for e in report.results(groups, bench.samples) if e["work"] in wanted]
    ratio_entries = [e for e in report.ratios(groups, bench.samples) if e["work"] in wanted]
    target_entries = report.targets(groups, entries, ratio_entries)
    failures = [{"load": load, "subject": subject, "reason": reason}
                for (load, subject), reason in bench.runner.failures.items()]
    document = {
        "machine": report.machine(),
        "commit": report.commit(ROOT),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "command": shlex.join(["scripts/bench", *sys.argv[1:]]),
        "placement": {"server_cpus": sorted(options.server_cpus),
                      "load_cpus": sorted(options.load_cpus), "nice": options.nice},
        "results": entries,
        "ratios": ratio_entries,
        "targets": target_entries,
        "loads": load_details(bench.samples, bench.rates),
        "failures": failures,
    }
    path = os.path.join(BUILD, "latest.json")
    report.write(path, document)
    print(report.table(entries, ratio_entries))
    if target_entries:
        print("\n" + report.verdicts(target_entries))
    for failure in failures:
        print(f"failed: {failure['load']} {failure['subject']}: {failure['reason']}")
    say(f"{time.monotonic() - start:.0f} s; {os.path.relpath(path, ROOT)}")
    return 0 if entries else 1


if __name__ == "__main__":
    sys.exit(main())
