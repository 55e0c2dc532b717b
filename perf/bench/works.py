"""What can be measured: the works, by name, grouped by the run that measures them together."""


class Load:
    """One load on a server; every run of it gives a sample of each of its works."""

    generator = "perf/load"

    def __init__(self, name, kind, arguments, connections, half=None):
        self.name = name  # e.g. echo_64b_64c
        self.kind = kind  # which servers: echo or http
        self.arguments = arguments
        self.connections = connections
        self.half = half  # the saturated load whose rate this one offers half of
        self.most = 1000  # rounds at most
        self.scale = 1  # of --seconds
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
        self.scale = 3


class Pairs(Load):
    """A load on servers that are no variants of each other: no trials before the pairs."""

    subjects = {}  # by name: program, environment, and arguments if need be
    rate = None
    brief = False  # part of --quick when nothing is named


class Hogs(Pairs):
    """An echo server beside coroutines that compute without end, so many for each worker. rate:
    of an open loop."""

    subjects = {"gyre": ("perf/hogs", {}), "go": ("go/hogs", {})}

    def __init__(self, hogs, workers, connections, rate=None, brief=False):
        name = f"hogs{hogs}_{workers}w_" + ("open" if rate else f"{connections}c")
        super().__init__(name, "hogs", ["--size", "64", "--connections", str(connections)],
                         connections)
        self.most = 10
        self.brief = brief
        self.rate = rate
        self.workers = workers
        self.hogs = hogs
        self.scale = 3
        self.targets = []
        del self.works[f"{name}_cpu"]
        if rate:
            del self.works[f"{name}_rps"]
        if hogs:
            self.targets.append(Target(f"{name}_p99", 1, "go"))
            # In a closed loop who answers sooner is asked more: at most half of a worker.
            self._count_hogs(0.95 if rate else 0.5)

    def _count_hogs(self, at_least):
        self.works[f"{self.name}_loops"] = ("loops/s", "hog_loops")
        self.targets.append(Target(f"{self.name}_loops", of="go", at_least=at_least))
        if self.hogs * self.workers > 1:
            self.works[f"{self.name}_fairness"] = ("most/least", "hog_fairness")


class Fairness(Hogs):
    """Hogs alone, so many in all."""

    def __init__(self, hogs, workers):
        super().__init__(hogs // workers, workers, 0, brief=True)
        self.name = f"fairness{hogs}_{workers}w"
        self.scale = 8.4
        self.works = {f"{self.name}_spread": ("spread", "hog_spread")}
        self.targets = [Target(f"{self.name}_spread", 0.1)]
        self._count_hogs(0.95)


class CostOfEcho(Pairs):
    """The same server with preemption and without."""

    subjects = {"gyre": ("examples/echo", {}),
                "preempt_off": ("examples/echo", {"GYRE_QUANTUM": "off"})}

    def __init__(self, connections):
        name = f"preempt_cost_echo_{connections}c"
        arguments = ["--size", "64", "--connections", str(connections)]
        super().__init__(name, "echo", arguments, connections)
        self.works = {f"{name}_cpu": ("us", "cpu_us"), f"{name}_p50": ("us", "p50_us")}
        self.most = 40
        self.brief = True
        self.targets = [Target(f"{name}_cpu", 1.01, "preempt_off")]


class Udp(Pairs):
    """An echo of datagrams: so many flows with so many on their way each."""

    generator = "perf/udp_load"
    subjects = {"gyre": ("perf/udp_echo", {}, ["--variant", "feed"]),
                "gyre_recvfrom": ("perf/udp_echo", {}, ["--variant", "recvfrom"]),
                "raw_io_uring": ("perf/udp_raw", {}, ["--variant", "io_uring"]),
                "raw_mmsg": ("perf/udp_raw", {}, ["--variant", "mmsg"]),
                "raw_single": ("perf/udp_raw", {}, ["--variant", "single"])}

    def __init__(self, flows, window):
        name = f"udp_echo_64b_{flows}x{window}"
        arguments = ["--size", "64", "--flows", str(flows), "--window", str(window)]
        super().__init__(name, "udp", arguments, flows)
        self.works = {f"{name}_cpu": ("us", "cpu_us"), f"{name}_rps": ("packets/s", "rps")}
        self.targets = [Target(f"{name}_cpu", 1.05, "raw_io_uring")]


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
        self.environments = {}  # by subject
        self.timed = False  # takes the seconds of its loop as an argument


class Cost(Micro):
    """A measure with preemption, and with it switched off."""

    def __init__(self, name, command):
        super().__init__(f"preempt_cost_{name}", {f"preempt_cost_{name}": ("ns", "value")}, command,
                         most=40)
        self.quick = 6
        self.least = 0.4
        self.timed = True
        self.commands["preempt_off"] = command
        self.environments["preempt_off"] = {"GYRE_QUANTUM": "off"}
        self.targets = [Target(f"preempt_cost_{name}", 1.01, "preempt_off")]


class Plain(Micro):
    """What preemption adds to a program: of gyre alone."""

    def __init__(self, name, command, unlinked=None, at_most=None):
        super().__init__(name, {name: ("ns", "value")}, command)
        self.least = 0.2
        self.timed = True
        self.targets = []
        if unlinked:
            self.commands["unlinked"] = unlinked
        if at_most:
            self.targets.append(Target(name, at_most))


class Target:
    """At most, or at least, so much: of another subject's figure in the same rounds, or in the
    work's unit."""

    def __init__(self, work, at_most=None, of=None, at_least=None):
        self.work = work
        self.at_most = at_most
        self.at_least = at_least
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
        self.timed = True
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


def _hogs():
    for workers in (1, 2):
        for hogs in (0, 1, 2, 8):
            yield Hogs(hogs, workers, 64, brief=hogs == 8 or (hogs == 1 and workers == 1))
            yield Hogs(hogs, workers, 16)
            yield Hogs(hogs, workers, 64, rate=250)
        yield Fairness(8, workers)


class IdleMemory(Micro):
    """What a connection costs that waits for its next message, by a feed and in gyre_read."""

    def __init__(self):
        super().__init__("idle_connection", {"idle_connection_memory": ("bytes", "bytes_later")},
                         ["perf/idle_memory", "feed"], most=3)
        self.commands["gyre_read"] = ["perf/idle_memory", "read"]


DATAGRAMS = [
    Udp(32, 16),
    Udp(64, 1),
    IdleMemory(),
]

PREEMPTION = [
    Cost("compute", ["perf/preempt_cost", "compute"]),
    Cost("chan", ["perf/preempt_cost", "chan"]),
    CostOfEcho(64),
    Plain("checkpoint", ["perf/preempt_cost", "checkpoint"], at_most=1),
    Plain("pthread_mutex", ["perf/lock_counted", "mutex"], unlinked=["perf/lock", "mutex"]),
    *_hogs(),
]

MEASURES = [
    Micro("switch", {"switch": ("ns", "value")}, command=["perf/switch"]),
    Micro("wake_other_worker", {"wake_other_worker": ("ns", "value")}),
    Micro("parked_1m", {"parked_1m_bytes": ("bytes", "bytes"),
                        "parked_1m_seconds": ("s", "seconds")},
          floor=["perf/touch"], most=5),
    *VOCABULARY,
    *_loads(),
    *DATAGRAMS,
    *PREEMPTION,
]
