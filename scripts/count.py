#!/usr/bin/env python3
"""Counts what ran: reads meson's testlog.json or TAP files, prints `passed failed skipped`, then
a line for each failed or skipped test. A TAP program counts by its test cases."""
import json
import re
import sys

CASE = re.compile(r'^(not )?ok\b\s*(?:\d+)?\s*-?\s*(.*)$')
BAD = {'FAIL', 'ERROR', 'TIMEOUT', 'INTERRUPT', 'UNEXPECTEDPASS'}


def cases(text):
    """Yields (verdict, name) for each line of a TAP report."""
    for line in text.splitlines():
        match = CASE.match(line)
        if not match:
            continue
        name, _, directive = match.group(2).partition('#')
        name = re.sub(r'\s*\(\d+\.\d+s\)\s*$', '', name.strip())
        directive = directive.strip()
        if match.group(1):
            yield 'failed', name
        elif directive.upper().startswith('SKIP'):
            yield 'skipped', f'{name}: {directive[4:].strip()}'
        else:
            yield 'passed', name


def verdicts(path):
    if not path.endswith('.json'):
        with open(path, encoding='utf-8', errors='replace') as report:
            yield from cases(report.read())
        return
    with open(path, encoding='utf-8', errors='replace') as log:
        for line in log:
            test = json.loads(line)
            name = test['name'].split(' / ')[-1].split(':')[-1].strip()
            output = test.get('stdout') or ''
            found = list(cases(output)) if re.search(r'^1\.\.\d+', output, re.M) else []
            for verdict, case in found:
                yield verdict, f'{name} {case}'
            if test['result'] in BAD:
                # a leak report or a crash after the last case is a failure of its own
                if not any(verdict == 'failed' for verdict, _ in found):
                    yield 'failed', f'{name} ({test["result"].lower()})'
            elif not found:
                if test['result'] == 'SKIP':
                    last = (output + (test.get('stderr') or '')).strip().splitlines()
                    yield 'skipped', f'{name}: {last[-1]}' if last else name
                else:
                    yield 'passed', name


def main():
    all_verdicts = [verdict for path in sys.argv[1:] for verdict in verdicts(path)]
    print(*(sum(v == kind for v, _ in all_verdicts) for kind in ('passed', 'failed', 'skipped')))
    for verdict, name in all_verdicts:
        if verdict != 'passed':
            print(verdict, name)


main()
