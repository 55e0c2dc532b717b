"""Builds perf/go with the distribution's Go (scripts/setup bench), where there is one."""

import glob
import os
import shutil
import subprocess

X_SYNC = "golang.org/x/sync@v0.10.0"  # Go's own, outside its standard library: group, semaphore

PACKAGES = {"vocabulary": ".", "hogs": "./hogs"}


def _go(folder, *words):
    # The toolchain that is installed, and its own language version: an older one in go.mod would
    # bring that version's timers back.
    environment = dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="", CGO_ENABLED="0")
    try:
        return subprocess.run(["go", *words], cwd=folder, env=environment, timeout=120,
                              capture_output=True, text=True, check=False)
    except subprocess.TimeoutExpired as expired:
        return subprocess.CompletedProcess(expired.cmd, 1, "", "go: no answer")


def build(root, folder, say):
    """The programs' paths by name; none where Go is missing."""
    if not shutil.which("go"):
        say("bench: Go is not installed (scripts/setup bench): gyre is measured alone")
        return {}
    os.makedirs(folder, exist_ok=True)
    for source in glob.glob(os.path.join(root, "perf", "go", "*.*")):
        shutil.copy(source, folder)
    shutil.copytree(os.path.join(root, "perf", "go", "hogs"), os.path.join(folder, "hogs"),
                    dirs_exist_ok=True)
    tags = []
    if not os.path.exists(os.path.join(folder, "go.mod")):
        _go(folder, "mod", "init", "vocabulary")
        done = _go(folder, "get", X_SYNC)
        if done.returncode:
            say(f"bench: no {X_SYNC}, group_member and semaphore have no counterpart:\n"
                f"{done.stderr[-500:]}")
    with open(os.path.join(folder, "go.mod"), encoding="utf-8") as file:
        if X_SYNC.partition("@")[0] in file.read():
            tags = ["-tags", "xsync"]
    programs = {}
    for name, package in PACKAGES.items():
        path = os.path.join(folder, "bin", name)
        done = _go(folder, "build", *tags, "-o", path, package)
        if done.returncode:
            say(f"bench: perf/go does not build:\n{done.stderr[-2000:]}")
        else:
            programs[f"go/{name}"] = path
    return programs


def version():
    """E.g. "go1.26.8", or None."""
    if not shutil.which("go"):
        return None
    done = _go(None, "env", "GOVERSION")
    return done.stdout.strip() or None
