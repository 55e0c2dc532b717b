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
    Micro("yield", {"yield": ("ns", "value")}),
    Micro("spawn_join", {"spawn_join": ("ns", "value")}),
    Micro("wake_other_worker", {"wake_other_worker": ("ns", "value")}),
    Micro("parked_1m", {"parked_1m_bytes": ("bytes", "bytes"),
                        "parked_1m_seconds": ("s", "seconds")},
          floor=["perf/touch"], most=5),
    *_loads(),
]

NAMES = [work for group in GROUPS for work in group.works]
