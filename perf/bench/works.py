"""What can be measured: the works, by name, grouped by the run that measures them together."""


class Load:
    """One load on a server; every run of it gives a sample of each of its works."""

    def __init__(self, name, kind, arguments, connections, half=None):
        self.name = name  # e.g. echo_64b_64c
        self.kind = kind  # which servers: echo or http
        self.arguments = arguments
        self.connections = connections
        self.half = half  # the saturated load whose rate this one offers half of
        self.most = 1000  # rounds at most
        self.works = {
            f"{name}_cpu": ("us", "cpu_us"),
            f"{name}_rps": ("requests/s", "rps"),
            f"{name}_p50": ("us", "p50_us"),
            f"{name}_p99": ("us", "p99_us"),
            f"{name}_p999": ("us", "p999_us"),
        }
        if half:
            del self.works[f"{name}_rps"]


class Idle(Load):
    """Connections that were used once and are silent: the server should use no CPU."""

    def __init__(self, name, kind, arguments, connections):
        super().__init__(name, kind, arguments, connections)
        self.works = {f"{name}_cpu": ("percent", "idle_percent")}
        self.most = 3


class Micro:
    """A measure inside one process, which prints a JSON object."""

    def __init__(self, name, works, command=None, floor=None, most=10):
        self.name = name
        self.works = works
        self.commands = {"gyre": command or ["perf/micro", name]}
        if floor:
            self.commands["raw_touch"] = floor
        self.most = most  # rounds at most: some take seconds
        self.quick = min(most, 3)  # the same for --quick


class Target:
    """At most so much: of Go's figure in the same rounds, or in the work's unit."""

    def __init__(self, work, at_most, of=None):
        self.work = work
        self.at_most = at_most
        self.of = of


class Vocabulary(Micro):
    """One loop with gyre and with Go. faster: how many times as fast as Go it should be; at_most: its
    unit; more: further figures of the same runs, as name: (unit, at most); least: seconds that a
    loop needs at least."""

    def __init__(self, name, unit="ns", faster=None, at_most=None, more=None, most=20, quick=6,
                 least=0.0):
        super().__init__(name, {name: (unit, "value")}, ["perf/vocabulary", name], most=most)
        self.quick = quick
        self.least = least
        self.commands["go"] = ["go/vocabulary", name]
        self.targets = []
        if faster:
            self.targets.append(Target(name, 1 / faster, "go"))
        if at_most:
            self.targets.append(Target(name, at_most))
        for field, (unit, limit) in (more or {}).items():
            work = f"{name}_{field}"
            self.works[work] = (unit, field)
            if limit:
                self.targets.append(Target(work, limit))


APART = {"apart": ("share", None)}
FLAT = {"growth": ("times", 1.25)}

VOCABULARY = [
    Vocabulary("yield"),
    Vocabulary("spawn_join"),
    Vocabulary("chan_round_trip", faster=6, at_most=50),
    Vocabulary("chan_round_trip_2", faster=1, more=APART),
    Vocabulary("chan_buffered", faster=1.7, at_most=18),
    Vocabulary("chan_across", faster=2, more=APART),
    Vocabulary("chan_across_work", more=APART),
    Vocabulary("chan_across_bound", more=APART),
    Vocabulary("select_3", faster=4),
    Vocabulary("chan_idle", "bytes", at_most=96, most=3, quick=1),
    Vocabulary("mutex", faster=1.4, at_most=10),
    Vocabulary("mutex_contended", faster=1, quick=3, least=0.2,
               more={"fairness": ("most/least", 2), "both": ("share", None)}),
    Vocabulary("rwmutex_read"),
    Vocabulary("waitgroup"),
    Vocabulary("once"),
    Vocabulary("pool"),
    Vocabulary("cond_signal"),
    Vocabulary("semaphore"),
    Vocabulary("group_member"),
    Vocabulary("timer", faster=6),
    Vocabulary("timer_1m", faster=6, more=FLAT, most=10, quick=2),
    Vocabulary("after_func", faster=6),
    Vocabulary("after_func_1m", faster=6, more=FLAT, most=10, quick=2),
    Vocabulary("context_timeout", faster=5),
    Vocabulary("context_handle", faster=5),
    Vocabulary("skynet_1m", "ms", faster=7, most=10, quick=2),
    Vocabulary("skynet_1m_1", "ms", most=10, quick=2),
]


def _loads():
    for connections in (64, 1000, 10000):
        arguments = ["--size", "64", "--connections", str(connections)]
        full = Load(f"echo_64b_{connections}c", "echo", arguments, connections)
        yield full
        yield Load(f"{full.name}_half", "echo", arguments, connections, half=full)
    arguments = ["--http", "/hello", "--connections", "64"]
    full = Load("http_hello_64c", "http", arguments, 64)
    yield full
    yield Load(f"{full.name}_half", "http", arguments, 64, half=full)
    arguments = ["--size", "64", "--connections", "10000", "--idle"]
    yield Idle("idle_10000c", "echo", arguments, 10000)


GROUPS = [
    Micro("switch", {"switch": ("ns", "value")}, command=["perf/switch"]),
    Micro("wake_other_worker", {"wake_other_worker": ("ns", "value")}),
    Micro("parked_1m", {"parked_1m_bytes": ("bytes", "bytes"),
                        "parked_1m_seconds": ("s", "seconds")},
          floor=["perf/touch"], most=5),
    *VOCABULARY,
    *_loads(),
]

NAMES = [work for group in GROUPS for work in group.works]
SETS = {"vocabulary": [work for group in VOCABULARY for work in group.works]}
