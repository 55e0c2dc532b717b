"""Turns samples into the table and build/bench/latest.json."""

import json
import os
import platform
import subprocess

import golang
from stats import median, paired_ratio, spread

BASELINES = ("raw_io_uring", "raw_epoll")
FLOORS = (*BASELINES, "raw_mmsg", "raw_single", "raw_touch", "go", "preempt_off", "unlinked",
          "gyre_recvfrom", "gyre_read", "fio", "xargs_grep", "grep_r", "ripgrep", "nginx",
          "read_send_64k", "read_send_256k", "splice", "zero_copy", "other")
NO_RATIO = ("share", "times", "most/least", "spread")  # are ratios already


def machine():
    model = ""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
        for line in file:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    mitigations = {}
    folder = "/sys/devices/system/cpu/vulnerabilities"
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        with open(os.path.join(folder, name), encoding="ascii", errors="replace") as file:
            text = file.read().strip()
        if text != "Not affected":
            mitigations[name] = text
    with open("/proc/sys/net/ipv4/tcp_congestion_control", encoding="ascii") as file:
        congestion = file.read().strip()
    return {
        "cpu": model,
        "cpus": len(os.sched_getaffinity(0)),
        "memory_kb": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1024,
        "kernel": platform.release(),
        "mitigations": mitigations,
        "congestion_control": congestion,
        "go": golang.version(),
    }


def commit(root):
    """The commit, with -dirty when the tree differs from it."""
    done = subprocess.run(
        ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],
        capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def results(groups, samples):
    """One entry per work and subject, in the order they were measured."""
    entries = []
    for group in groups:
        names = [subject for name, subject in samples.rows if name == group.name]
        for work, (unit, field) in group.works.items():
            for name in names:
                values = [v for v in samples.column(group.name, name, field) if v is not None]
                if not values:
                    continue
                low, high = spread(values)
                entry = {"work": work, "subject": name, "unit": unit, "samples": values,
                         "median": median(values), "low": low, "high": high}
                variant = samples.variants.get((group.name, name))
                if variant:
                    entry["variant"] = variant
                entries.append(entry)
    return entries


def ratios(groups, samples):
    entries = []
    for group in groups:
        for work, (unit, field) in group.works.items():
            if unit in NO_RATIO:
                continue
            for subject in ("gyre", "raw_io_uring"):
                for baseline in FLOORS:
                    if subject == baseline:
                        continue
                    ratio = paired_ratio(samples.column(group.name, subject, field),
                                         samples.column(group.name, baseline, field))
                    if ratio:
                        entries.append({"work": work, "subject": subject, "baseline": baseline,
                                        **ratio})
    return entries


def targets(groups, entries, ratio_entries):
    """One entry per target of what was measured: met or missed, judged by the median."""
    ours = {e["work"]: e for e in entries if e["subject"] == "gyre"}
    against = {(r["work"], r["baseline"]): r for r in ratio_entries if r["subject"] == "gyre"}
    found = []
    for group in groups:
        for target in getattr(group, "targets", ()):
            measured = against.get((target.work, target.of)) if target.of else ours.get(target.work)
            if measured:
                met = (measured["median"] >= target.at_least if target.at_least
                       else measured["median"] <= target.at_most)
                found.append({
                    "work": target.work, "of": target.of, "at_most": target.at_most,
                    "at_least": target.at_least,
                    "unit": None if target.of else measured["unit"],
                    "median": measured["median"], "low": measured["low"], "high": measured["high"],
                    "verdict": "met" if met else "missed"})
    return found


def number(value):
    if value == 0 or 0.01 <= abs(value) < 1000:
        return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2g}"


def _rows(entries, ratio_entries):
    by_work = {}
    for entry in entries:
        by_work.setdefault(entry["work"], []).append(entry)
    for work, subjects in by_work.items():
        for entry in subjects:
            against = []
            for ratio in ratio_entries:
                if ratio["work"] == work and ratio["subject"] == entry["subject"]:
                    interval = ("too few pairs" if ratio["low"] is None
                                else f"{ratio['low']:.3f} {ratio['high']:.3f}")
                    against.append(f"{ratio['median']:.3f} of {ratio['baseline']} [{interval}]")
            name = entry["subject"]
            if "variant" in entry:
                name += f" ({entry['variant']})"
            yield (work, name, number(entry["median"]), entry["unit"],
                   f"{number(entry['low'])} .. {number(entry['high'])}",
                   str(len(entry["samples"])), ", ".join(against))


def table(entries, ratio_entries):
    """The chosen subjects first, with ratios and their 95 % intervals; then all variants' CPU."""
    chosen = [e for e in entries if e["subject"] in ("gyre", *FLOORS)]
    others = [e for e in entries if e not in chosen and e["work"].endswith("_cpu")]
    head = ("work", "subject", "median", "unit", "quartiles", "n", "ratio in pairs [95 %]")
    rows = [head, *_rows(chosen, ratio_entries)]
    if others:
        rows += [("", "", "", "", "", "", ""), ("every variant", "", "", "", "", "", "")]
        rows += _rows(others, [])
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines, last = [], None
    for row in rows:
        shown = ("" if row[0] == last else row[0], *row[1:])
        last = row[0]
        lines.append("  ".join(
            cell.rjust(width) if i in (2, 5) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(shown, widths))).rstrip())
    return "\n".join(lines)


def verdicts(target_entries):
    """A line per target; with the quartiles of a figure, the 95 % interval of a ratio."""
    rows = [("target", "", "measured", "", "")]
    for entry in target_entries:
        what = f"of {entry['of']}" if entry["of"] else entry["unit"]
        spread_text = ("" if entry["low"] is None
                       else f"[{number(entry['low'])} {number(entry['high'])}]")
        limit = (f"at least {number(entry['at_least'])}" if entry["at_least"]
                 else f"at most {number(entry['at_most'])}")
        rows.append((entry["work"], f"{limit} {what}",
                     number(entry["median"]), spread_text, entry["verdict"]))
    widths = [max(len(row[i]) for row in rows) for i in range(5)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
                     for row in rows)


def write(path, document):
    temporary = path + ".new"
    with open(temporary, "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
        file.write("\n")
    os.replace(temporary, path)
