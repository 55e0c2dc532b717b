#!/usr/bin/env python3
"""Prints the public symbols, sorted: those that headers declare with GYRE_API, that a version
script names, or that a built library exports. Argument: folder of headers, .map or .so file."""
import pathlib
import re
import subprocess
import sys


def of_headers(folder):
    for header in pathlib.Path(folder).rglob('*.h'):
        text = re.sub(r'/\*.*?\*/', '', header.read_text(), flags=re.S)
        text = re.sub(r'^[ \t]*#.*(?:\\\n.*)*', '', text, flags=re.M)
        for declaration in re.findall(r'\bGYRE_API\b([^;{]*)', text):
            name = re.search(r'\b(gyre_\w+)\s*(?:\(|\[|$)', declaration.strip())
            if not name:
                sys.exit(f'{header}: not understood: GYRE_API{declaration}')
            yield name.group(1)


def of_map(path):
    text = re.sub(r'/\*.*?\*/', '', pathlib.Path(path).read_text(), flags=re.S)
    yield from re.findall(r'\b(gyre_\w+)\s*;', text)


def of_library(path):
    output = subprocess.run(['nm', '-D', '--defined-only', path], check=True,
                            capture_output=True, text=True).stdout
    for line in output.splitlines():
        _, kind, name = line.split()
        if kind != 'A':  # the version node itself
            yield name.split('@')[0]


def main():
    path = sys.argv[1]
    if path.endswith('.map'):
        names = of_map(path)
    elif '.so' in path:
        names = of_library(path)
    else:
        names = of_headers(path)
    print(*sorted(set(names)), sep='\n')


main()
