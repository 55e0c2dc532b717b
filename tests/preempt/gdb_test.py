# Run by gdb itself. Stepping over a computation that is interrupted all the time, by line and by
# instruction, breakpoints with conditions, finish, and backtraces from inside an interruption.
import gdb

STEPS = 200


def fail(message):
    print('FAIL: ' + message)
    gdb.execute('bt 30')
    gdb.execute('quit 1')


def names():
    frame, result = gdb.newest_frame(), []
    while frame is not None and len(result) <= 40:
        result.append(frame.name() or '?')
        older = frame.older()
        if older is None and frame.unwind_stop_reason() not in (
                gdb.FRAME_UNWIND_NO_REASON, gdb.FRAME_UNWIND_OUTERMOST):
            fail('%s: %s' % (result, gdb.frame_stop_reason_string(frame.unwind_stop_reason())))
        frame = older
    return result


def value(expression):
    return int(gdb.parse_and_eval(expression)) % (1 << 64)


def squares(n):
    return sum(i * i for i in range(n)) % (1 << 64)


def run(command):
    gdb.execute(command, to_string=True)


def check_place():
    """In the coroutine that is stepped, with the sum that belongs to its count."""
    stack = names()
    if stack[0] == 'stepped_square':
        run('up')
        stack = stack[1:]
    if stack[:2] != ['stepped_loop', 'body'] or 'gyre_coro_entry' not in stack:
        fail('stepped to ' + ' < '.join(stack))
    i, total = value('i'), value('sum')
    run('frame 0')
    if total not in (squares(i), squares(i + 1)):
        fail('i is %d, the sum %d' % (i, total))
    return i


for setting in ('pagination off', 'confirm off', 'breakpoint pending on'):
    gdb.execute('set ' + setting)
run('handle SIGURG nostop noprint pass')
gdb.execute('tbreak stepped_loop')
gdb.execute('run')
run('next')
run('next')
first = check_place()
for step in range(STEPS):
    run('next')
    last = check_place()
if last - first < STEPS // 5:
    fail('%d steps led from %d to %d' % (STEPS, first, last))
print('ok: next: from %d to %d' % (first, last))

first = check_place()
for step in range(STEPS):
    run('step')
    last = check_place()
if last == first:
    fail('%d steps led nowhere' % STEPS)
print('ok: step: from %d to %d' % (first, last))

first = check_place()
for step in range(STEPS):
    run('stepi')
    last = check_place()
if last == first:
    fail('%d instructions led nowhere' % STEPS)
print('ok: stepi: from %d to %d' % (first, last))

# A condition on a line that others come to as well: it holds in one of them only.
line = [n for n, text in enumerate(open(gdb.selected_frame().find_sal().symtab.fullname()), 1)
        if 'stepped_line' in text and 'i++' in text][0]
target = last + 500
gdb.execute('tbreak stepped.c:%d if i == %d' % (line, target))
run('continue')
if names()[0] != 'stepped_loop' or value('i') != target or value('sum') != squares(target + 1):
    fail('at %d, with %d' % (value('i'), value('sum')))
print('ok: a condition')

gdb.execute('tbreak stepped_square if n == %d && $_caller_is("stepped_loop")' % (target + 100))
run('continue')
run('finish')
if value('$') != (target + 100) ** 2:
    fail('finish: %d' % value('$'))
check_place()
print('ok: finish')

# From where one has been interrupted, through what it did, to its entry; the others' too.
gdb.execute('break gyre_preempt_here')
for turn in range(20):
    run('continue')
    stack = names()
    # What begins it may be in line.
    if 'gyre_preempt_here' not in stack[:2] or 'gyre_coro_entry' not in stack:
        fail('interrupted: ' + ' < '.join(stack))
    if not [n for n in stack if n in ('stepped_loop', 'other')]:
        fail('interrupted: ' + ' < '.join(stack))
print('ok: interrupted: ' + ' < '.join(stack))
run('delete')
run('continue')
if value('$_exitcode') != 0:
    fail('the sum is wrong')
print('ok: the end')
gdb.execute('quit 0')
