/*
 * Hypothesis: a function that is injected anywhere into running code leaves no trace in it,
 * whatever it does to registers, and though other code runs on the thread before it returns; and
 * unwinders find their way from it, and from each instruction on the way to it and back.
 *
 * Window: each of several fibers runs all canaries (preempt_canary.h). A timer interrupts them
 * every 100 us, wherever they are; the injected function spoils registers, and every other time
 * switches to the next fiber. Where the processor can step, it is injected before each single
 * instruction of each canary as well.
 *
 * preempt_test [interruptions of each canary] [seed]
 */
#include "base/random.h"
#include "coro/preempt.h"
#include "coro/switch.h"
#include "preempt_canary.h"
#ifdef __x86_64__
#include "coro/preempt_x86_64.h"
#endif

#include <fenv.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <unwind.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

enum {
    FIBERS = 3,
    CANARIES = 16, /* at most */
    STACK_SIZE = 256 << 10,
    PERIOD_NS = 100000,
    TRAP_FLAG = 1 << 8,
};

struct fiber {
    struct switch_frame frame;
    char *stack;
    const struct canary *canary; /* that it runs */
    uintptr_t pc;                /* at which it was interrupted last */
    uintptr_t stepped;           /* the same, until the trap that comes after it */
    bool finished;
};

static struct fiber fibers[FIBERS];
static struct fiber *current;
static struct switch_frame own;
static struct fpu_control control;
static struct random random_state;
static uint64_t seed;
static long wanted, counts[CANARIES];
static unsigned features;
static struct {
    long switches, walks;
} sum;

static void fail(const char *what, const char *name)
{
    fprintf(stderr, "preempt_test: %s (%s, seed %llu)\n", what, name ? name : "-",
            (unsigned long long)seed);
    _exit(1);
}

/* Walks */

static uintptr_t end_of_walk; /* the fiber's outermost function */

struct walk {
    uintptr_t pc; /* interrupted */
    bool saw_pc, saw_end;
    int frames;
};

static _Unwind_Reason_Code walk_one(struct _Unwind_Context *context, void *arg)
{
    struct walk *walk = arg;
    int before = 0;
    uintptr_t pc = _Unwind_GetIPInfo(context, &before);

    if (pc == walk->pc && before)
        walk->saw_pc = true;
    if (walk->saw_pc && _Unwind_FindEnclosingFunction((void *)(pc - 1)) == (void *)end_of_walk)
        walk->saw_end = true;
    return ++walk->frames > 40 ? _URC_END_OF_STACK : _URC_NO_REASON;
}

static void check_walk(uintptr_t pc)
{
    struct walk walk = {pc, false, false, 0};

    _Unwind_Backtrace(walk_one, &walk);
    sum.walks++;
    if (!walk.saw_pc)
        fail("no way to the interrupted instruction", current->canary->name);
    if (!walk.saw_end || walk.frames > 40)
        fail("no way from the interrupted function to its callers", current->canary->name);
}

/* What is injected */

static void next_fiber(void)
{
    struct fiber *from = current;

    do
        current = current + 1 == fibers + FIBERS ? fibers : current + 1;
    while (current->finished && current != from);
    if (current != from) {
        sum.switches++;
        gyre_switch(&from->frame, &current->frame);
    }
}

static void spoil(void)
{
    uintptr_t pc = current->pc;
    const char *complaint = canary_trash(&control);

    if (complaint)
        fail(complaint, current->canary->name);
    canary_tidy();
    counts[current->canary - canaries]++;
    if (random_below(&random_state, 8) == 0)
        check_walk(pc);
    if (random_below(&random_state, 2) == 0)
        next_fiber();
}

static bool in_canary(uintptr_t pc)
{
    return pc >= (uintptr_t)canary_begin && pc < (uintptr_t)canary_end;
}

/* With which an interrupted canary leaves us; what a compiler makes may not work with it. */
static inline void clear_alignment_flag(void)
{
#ifdef __x86_64__
    __asm__ __volatile__("pushfq\n\tandl $~0x40000, (%%rsp)\n\tpopfq" ::: "cc", "memory");
#endif
}

static void on_tick(int signal, siginfo_t *info, void *arg)
{
    ucontext_t *context = arg;

    (void)signal;
    (void)info;
    clear_alignment_flag();
    if (!in_canary(preempt_pc(context)))
        return;
    if (!gyre_preempt_can_save(context))
        fail("refused", current->canary->name);
    current->pc = preempt_pc(context);
    gyre_preempt_inject(context, spoil);
}

static void catch_signal(int signal, void (*handler)(int, siginfo_t *, void *))
{
    struct sigaction action = {.sa_sigaction = handler,
                               .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART};

    sigaction(signal, &action, NULL);
}

/* Fibers */

static void end_fiber(struct fiber *self)
{
    self->finished = true;
    next_fiber();
    gyre_switch_final(&self->frame, &own);
    abort();
}

static void run_fibers(void (*entry)(void *arg))
{
    end_of_walk = (uintptr_t)entry;
    for (struct fiber *f = fibers; f < fibers + FIBERS; f++) {
        if (!f->stack)
            f->stack = aligned_alloc(4096, STACK_SIZE);
        memset(f->stack, 0xa5, STACK_SIZE);
        f->finished = false;
        gyre_switch_prepare(&f->frame, f->stack, f->stack + STACK_SIZE, entry, f);
    }
    current = fibers;
    gyre_switch_adopt(&own);
    gyre_switch(&own, &current->frame);
    for (struct fiber *f = fibers; f < fibers + FIBERS; f++)
        gyre_switch_release(&f->frame);
}

/* By the timer */

static void run_canaries(void *arg)
{
    struct fiber *self = arg;

    for (const struct canary *c = canaries; c->name; c++) {
        self->canary = c;
        if ((features & c->needs) != c->needs)
            continue;
        while (counts[c - canaries] < wanted)
            if (c->run(200) != 0)
                fail("does not find what it left", c->name);
    }
    end_fiber(self);
}

static void start(const char *title, const char *save)
{
    if (gyre_preempt_prepare() != 0)
        fail("prepare", title);
    fpu_control_save(&control);
#ifdef __x86_64__
    control.mxcsr &= 0xffc0; /* without the exceptions that were seen */
    if (save && strcmp(save, "XSAVE") == 0) {
        gyre_preempt_state.save = SAVE_XSAVE;
        gyre_preempt_state.size = 4096;
    } else if (save) {
        gyre_preempt_state.save = SAVE_FXSAVE;
        gyre_preempt_state.components = 3;
        gyre_preempt_state.size = 512;
        features = 0;
    }
#else
    (void)save;
#endif
    memset(counts, 0, sizeof counts);
    memset(&sum, 0, sizeof sum);
}

static void finish(const char *title)
{
    printf("%s: %ld switches, %ld walks\n", title, sum.switches, sum.walks);
    for (const struct canary *c = canaries; c->name; c++)
        printf("  %-24s %ld\n", c->name, counts[c - canaries]);
}

static void by_timer(const char *title, const char *save)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGURG};
    struct itimerspec period = {{0, PERIOD_NS}, {0, PERIOD_NS}};
    timer_t timer;

    start(title, save);
    catch_signal(SIGURG, on_tick);
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_MONOTONIC, &event, &timer) != 0 ||
        timer_settime(timer, 0, &period, NULL) != 0)
        fail("timer", title);
    run_fibers(run_canaries);
    timer_delete(timer);
    finish(title);
}

#ifdef __x86_64__

/*
 * At each instruction. inject clears the trap flag for fn, and it is set again when fn is through:
 * one trap comes from the trampoline's last instruction, one at the same pc as before the
 * injection.
 */

static void set_trap_flag(bool set)
{
    if (set)
        __asm__ __volatile__("pushfq\n\torq $0x100, (%%rsp)\n\tpopfq" ::: "cc", "memory");
    else
        __asm__ __volatile__("pushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq" ::: "cc", "memory");
}

static void on_step(int signal, siginfo_t *info, void *arg)
{
    uintptr_t pc = preempt_pc(arg);

    clear_alignment_flag();
    if (!in_canary(pc))
        return;
    if (pc == current->stepped) {
        current->stepped = 0;
        return;
    }
    current->stepped = pc;
    on_tick(signal, info, arg);
}

static void step_canaries(void *arg)
{
    struct fiber *self = arg;

    for (const struct canary *c = canaries; c->name; c++) {
        int result;

        self->canary = c;
        if ((features & c->needs) != c->needs)
            continue;
        set_trap_flag(true);
        result = c->run(1);
        set_trap_flag(false);
        if (result != 0)
            fail("does not find what it left", c->name);
    }
    end_fiber(self);
}

static void by_step(const char *title, const char *save)
{
    start(title, save);
    catch_signal(SIGTRAP, on_step);
    run_fibers(step_canaries);
    finish(title);
    for (const struct canary *c = canaries; c->name; c++)
        if ((features & c->needs) == c->needs && counts[c - canaries] < 50)
            fail("not interrupted", c->name);
}

/* Once at each instruction, the trap flag stays set on the way to fn and back, and a walk starts
 * at each instruction of these as well. */

static bool walked[32768];

static void nothing(void)
{
    counts[current->canary - canaries]++;
}

static void on_step_walk(int signal, siginfo_t *info, void *arg)
{
    ucontext_t *context = arg;
    uintptr_t pc = preempt_pc(context);

    (void)signal;
    (void)info;
    clear_alignment_flag();
    if (pc >= (uintptr_t)gyre_preempt_trampoline && pc < (uintptr_t)gyre_preempt_trampoline_end) {
        check_walk(current->pc);
    } else if (in_canary(pc) && !walked[pc - (uintptr_t)canary_begin]) {
        walked[pc - (uintptr_t)canary_begin] = true;
        check_walk(pc);
        current->pc = pc;
        gyre_preempt_inject(context, nothing);
        context->uc_mcontext.gregs[REG_EFL] |= TRAP_FLAG;
    }
}

static void by_step_walking(const char *title)
{
    if ((size_t)(canary_end - canary_begin) > sizeof walked)
        fail("too much text", title);
    start(title, NULL);
    catch_signal(SIGTRAP, on_step_walk);
    run_fibers(step_canaries);
    finish(title);
}

#endif

/* What is refused, in a context of our own making: no machine at hand has all of it. */

static void expect(const ucontext_t *context, bool saved, const char *what)
{
    if (gyre_preempt_can_save(context) != saved)
        fail(saved ? "refused" : "not refused", what);
}

#ifdef __x86_64__

static void on_refusals(int signal, siginfo_t *info, void *arg)
{
    ucontext_t *context = arg;
    struct _xstate *state = (struct _xstate *)context->uc_mcontext.fpregs;
    struct _fpx_sw_bytes *description = (struct _fpx_sw_bytes *)((char *)state + 464);
    uint64_t components = state->xstate_hdr.xstate_bv;

    (void)signal;
    (void)info;
    expect(context, true, "as it came");
    state->xstate_hdr.xstate_bv = components | 1 << 17;
    expect(context, false, "AMX's configuration");
    state->xstate_hdr.xstate_bv = components | 1 << 18;
    expect(context, false, "AMX's tiles");
    state->xstate_hdr.xstate_bv = components | (uint64_t)1 << 62;
    expect(context, false, "a component of the future");
    state->xstate_hdr.xstate_bv = components;
    description->magic1++;
    expect(context, false, "no header");
    description->magic1--;
    context->uc_mcontext.fpregs = NULL;
    expect(context, false, "no state");
    context->uc_mcontext.fpregs = (fpregset_t)state;
}

#else

static void on_refusals(int signal, siginfo_t *info, void *arg)
{
    static const struct {
        uint32_t record[4]; /* magic, size, vector length and flags */
        bool saved;
        const char *name;
    } cases[] = {
        {{0x54366345, 16, 16, 0}, true, "ZA not live"},
        {{0x54366345, 32, 16, 0}, false, "ZA live"},
        {{0x53564501, 16, 16, 0}, true, "SVE"},
        {{0x53564501, 16, 16 | 1 << 16, 0}, false, "streaming mode"},
        {{0x47435300, 16, 0, 0}, false, "a guarded control stack"},
        {{0x12345678, 16, 0, 0}, false, "a record of the future"},
        {{0x54504902, 0, 0, 0}, false, "a record without a size"},
    };
    ucontext_t *context = arg;
    uint32_t *end = (uint32_t *)context->uc_mcontext.__reserved, kept[12];

    (void)signal;
    (void)info;
    expect(context, true, "as it came");
    while (end[0] && end[0] != 0x45585401) /* with an extra record it is that one's place */
        end += end[1] / sizeof *end;
    memcpy(kept, end, sizeof kept);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        memset(end, 0, sizeof kept);
        memcpy(end, cases[i].record, sizeof cases[i].record);
        expect(context, cases[i].saved, cases[i].name);
    }
    memcpy(end, kept, sizeof kept);
}

#endif

static void hang(int signal)
{
    static const char text[] = "preempt_test hangs\n";

    (void)signal;
    if (write(STDERR_FILENO, text, sizeof text - 1) > 0)
        _exit(1);
}

int main(int argc, char **argv)
{
    stack_t alternate = {.ss_size = 128 << 10};

    wanted = argc > 1 ? atol(argv[1]) : 100;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : (uint64_t)time(NULL);
    random_state.state = seed;
    printf("seed %llu, room %zu\n", (unsigned long long)seed,
           (gyre_preempt_prepare(), gyre_preempt_room()));
    fflush(stdout);
    signal(SIGALRM, hang);
    alarm(100);
    alternate.ss_sp = malloc(alternate.ss_size);
    sigaltstack(&alternate, NULL);
    features = canary_features();

    catch_signal(SIGUSR1, on_refusals);
    raise(SIGUSR1);
    by_timer("timer", NULL);
#ifdef __x86_64__
    by_step("step", NULL);
    by_step_walking("walk");
    by_step("step, XSAVE", "XSAVE");
#endif
    fesetround(FE_UPWARD); /* what a thread starts with is the program's choice */
    by_timer("timer, rounding up", NULL);
#ifdef __x86_64__
    by_step("step, FXSAVE", "FXSAVE");
#endif
    return 0;
}
