# Run by gdb itself. Backtraces of a coroutine end at its entry: inside it, of a parked one by its
# saved registers, and at every instruction on the way through a switch.
import gdb


def names():
    frame, result = gdb.newest_frame(), []
    while frame is not None:
        result.append(frame.name() or '?')
        if len(result) > 30:
            fail('no end: %s' % result)
        older = frame.older()
        if older is None:
            reason = frame.unwind_stop_reason()
            if reason not in (gdb.FRAME_UNWIND_NO_REASON, gdb.FRAME_UNWIND_OUTERMOST):
                fail('%s: %s' % (result, gdb.frame_stop_reason_string(reason)))
        frame = older
    return result


def fail(message):
    print('FAIL: ' + message)
    gdb.execute('quit 1')


def is_inside(stack):
    """Whether that is the whole stack of the coroutine (with ucontext its start has other names)."""
    if 'entry' not in stack:
        return False
    at = stack.index('entry')
    below = [n for n in stack[at + 1:] if n not in ('gyre_switch_start', 'start_frame', 'start',
                                                    '__start_context')]
    return stack[at - 4:at] == ['parked_deep'] * 4 and not below


def is_outside(stack):
    return 'main' in stack and 'entry' not in stack


def check(condition, what, stack):
    if not condition:
        fail('%s: %s' % (what, ' < '.join(stack)))
    print('ok: %s: %s' % (what, ' < '.join(stack)))


gdb.execute('set pagination off')
gdb.execute('set confirm off')
gdb.execute('break parked_inside')
gdb.execute('break parked_outside')
gdb.execute('run')
check(is_inside(names()), 'inside', names())
gdb.execute('continue')
check(names()[0] == 'parked_outside' and is_outside(names()), 'outside', names())

frame = gdb.parse_and_eval('parked_frame')
if 'pc' in [f.name for f in frame.type.fields()]:
    registers = {'x86': ('$rsp', '$rbp'), 'aarch64': ('$sp', '$x29')}
    sp, fp = registers['aarch64' if 'aarch64' in gdb.selected_frame().architecture().name()
                       else 'x86']
    saved = {r: gdb.parse_and_eval('(unsigned long)' + r) for r in (sp, fp, '$pc')}
    for register, field in ((sp, 'sp'), (fp, 'fp'), ('$pc', 'pc')):
        gdb.execute('set %s = (unsigned long)parked_frame.%s' % (register, field))
    check('park' in names()[:3] and is_inside(names()), 'parked', names())
    for register in (sp, fp, '$pc'):
        gdb.execute('set %s = %d' % (register, int(saved[register])))

    # To the resume that follows, then one instruction at a time until the coroutine runs.
    gdb.execute('tbreak resume')
    gdb.execute('continue')
    for step in range(200):
        stack = names()
        if stack[0] == 'parked_deep':
            break
        if not is_outside(stack) and not is_inside(stack):
            fail('at %s: %s' % (gdb.parse_and_eval('$pc'), ' < '.join(stack)))
        gdb.execute('stepi', to_string=True)
    check(is_inside(names()), 'after %d instructions' % step, names())
gdb.execute('kill')
gdb.execute('quit 0')
