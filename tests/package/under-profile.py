#!/usr/bin/env python3
"""usage: under-profile.py PROFILE COMMAND...
Runs COMMAND under a seccomp profile as container runtimes read it, through libseccomp; exits 77
where that is missing. --without NAME before PROFILE takes a system call out of every rule."""
import ctypes
import json
import os
import sys

PR_SET_NO_NEW_PRIVS = 38
ALLOW = 0x7fff0000
ERRNO = 0x00050000
COMPARE = {'SCMP_CMP_NE': 1, 'SCMP_CMP_LT': 2, 'SCMP_CMP_LE': 3, 'SCMP_CMP_EQ': 4,
           'SCMP_CMP_GE': 5, 'SCMP_CMP_GT': 6, 'SCMP_CMP_MASKED_EQ': 7}


class Comparison(ctypes.Structure):
    _fields_ = [('index', ctypes.c_uint), ('op', ctypes.c_int),
                ('value', ctypes.c_uint64), ('value_two', ctypes.c_uint64)]


def action(name, error):
    return ALLOW if name == 'SCMP_ACT_ALLOW' else ERRNO | error


def install(profile, without):
    seccomp = ctypes.CDLL('libseccomp.so.2')
    seccomp.seccomp_init.restype = ctypes.c_void_p
    default = action(profile['defaultAction'], profile.get('defaultErrnoRet', 1))
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(default)))
    for rule in profile['syscalls']:
        comparisons = [Comparison(a['index'], COMPARE[a['op']], a['value'], a.get('valueTwo', 0))
                       for a in rule.get('args', [])]
        array = (Comparison * len(comparisons))(*comparisons)
        for name in rule['names']:
            number = seccomp.seccomp_syscall_resolve_name(name.encode())
            if number == -1 or name in without:  # runtimes, too, pass over what they don't know
                continue
            error = seccomp.seccomp_rule_add_array(
                context, ctypes.c_uint32(action(rule['action'], rule.get('errnoRet', 1))),
                number, len(comparisons), array)
            if error:
                sys.exit(f'{name}: {os.strerror(-error)}')
    if ctypes.CDLL(None).prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or seccomp.seccomp_load(context):
        sys.exit('the filter was refused')


def main():
    arguments, without = sys.argv[1:], set()
    while arguments[0] == '--without':
        without.add(arguments[1])
        arguments = arguments[2:]
    with open(arguments[0], encoding='utf-8') as file:
        profile = json.load(file)
    try:
        install(profile, without)
    except OSError:
        print('libseccomp is missing', file=sys.stderr)
        sys.exit(77)
    os.execvp(arguments[1], arguments[1:])


main()
