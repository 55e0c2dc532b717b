/*
 * Each condition of the gate is needed: what is right with all of them goes wrong when one is left
 * out. docs/preemption.md says what goes wrong, by the names at the end.
 *
 * lib/sched/gate.c is compiled into this program so that conditions can be left out. Nothing is
 * left to chance. The quantum is 10 s; a tick is sent while SIGURG is blocked, and delivered at the
 * one instruction that matters, by a system call in line (deliver). In malloc and in the runtime it
 * comes at each instruction in turn.
 *
 * A victim starts its intruder (enter), is interrupted where it must not be, and then looks whether
 * all is well. The intruder can run only when the victim was interrupted, or has ended (leave).
 *
 *   usage: proof PLUGIN [NAME]     PLUGIN: proof_library.c as a module, loaded at run time
 */
#include "proof.h"
#include "proof_library.h"

#include "coro/preempt_x86_64.h"
#include "sched/park.h"

#include <gyre.h>

#include <alloca.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>
#include <unistd.h>

/* gate.c's own, and conditions that are elsewhere. */
enum {
    WITHOUT_ROOM = 16,
    WITHOUT_WHOLE_SCAN,
    WITHOUT_CONFIRMATION,
    WITHOUT_FRESH_MAP = 24, /* what was loaded meanwhile goes unnoticed */
    WITHOUT_MODE,           /* the process as a whole is not looked at */
    WITHOUT_ERRNO,          /* gyre_preempt_here does not keep it */
    WITHOUT_OWN_WORKER,     /* who was interrupted goes on anywhere */
};

enum { TRIES = 8 };

extern unsigned gate_without;
unsigned gate_without;

static const struct scenario *scenario;
static const char *plugin;

static bool leaves_out(unsigned condition)
{
    return gate_without & BIT(condition);
}

/* --- being interrupted ------------------------------------------------------------------------ */

static __attribute__((noinline)) void arm(sigset_t *before)
{
    sigset_t urgent;

    sigemptyset(&urgent);
    sigaddset(&urgent, SIGURG);
    pthread_sigmask(SIG_BLOCK, &urgent, before);
    gyre_tick_signal(worker_current(), false);
}

static __attribute__((noinline)) void interrupt_here(void)
{
    for (int i = 0; i < TRIES && !proof_intruded(); i++) {
        sigset_t before = {{0}}; /* the kernel writes a part, and what is stale would be found */

        arm(&before);
        deliver(&before);
    }
}

static int intrude(void *unused)
{
    (void)unused;
    if (atomic_load(&proof_shared->inside))
        atomic_store(&proof_shared->intruded, true);
    return scenario->intruder ? scenario->intruder() : 0;
}

/* The intruder is the only other one that can run, from here on. */
static gyre_handle enter(void)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;
    gyre_handle handle;

    options.flags = GYRE_SPAWN_PINNED;
    if (gyre_spawn_options(&handle, intrude, NULL, &options))
        abort();
    atomic_store(&proof_shared->inside, true);
    return handle;
}

/* From here on it may be interrupted: an end of a section or a lock makes up for the tick. */
static void end_window(void)
{
    atomic_store(&proof_shared->inside, false);
}

/* What was wrong with the intruder. */
static int leave(gyre_handle handle)
{
    int result = -1;

    end_window();
    return gyre_join(handle, &result) ? -1 : result;
}

/* --- where the interrupted instruction is ------------------------------------------------------
 */

static unsigned number_of_intruder;

static int draws_number(void)
{
    number_of_intruder = library_number(NULL);
    return 0;
}

static int in_library(void)
{
    gyre_handle handle = enter();
    unsigned number;
    sigset_t before;

    arm(&before);
    number = library_number(&before);
    return leave(handle) || number == number_of_intruder;
}

/*
 * Calls by single steps, and sends the tick at the n-th instruction of that kind. False: there are
 * not so many. int3 turns stepping on and off.
 */
static struct {
    enum text_kind kind;
    unsigned left;
    bool on;
} steps;

static void on_trap(int signal, siginfo_t *info, void *argument)
{
    enum { FLAG_TF = 1 << 8 };
    greg_t *registers = ((ucontext_t *)argument)->uc_mcontext.gregs;
    const struct text_map *map = atomic_load(&gyre_runtime_instance->text);

    (void)signal;
    if (info->si_code != TRAP_TRACE) {
        steps.on = !steps.on;
    } else if (text_kind_at(map, (uintptr_t)registers[REG_RIP]) == steps.kind && !--steps.left) {
        steps.on = false;
        gyre_tick_signal(worker_current(), false); /* blocked until the handler returns */
    }
    if (steps.on)
        registers[REG_EFL] |= FLAG_TF;
    else
        registers[REG_EFL] &= ~(greg_t)FLAG_TF;
}

static bool interrupt_at(unsigned n, enum text_kind kind, void (*call)(void))
{
    struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigaddset(&action.sa_mask, SIGURG);
    sigaction(SIGTRAP, &action, NULL);
    steps.kind = kind;
    steps.left = n;
    __asm__ volatile("int3" ::: "memory");
    call();
    if (!steps.left)
        return true;
    __asm__ volatile("int3" ::: "memory");
    return false;
}

enum { BLOCK = 96 };

static void *volatile block, *volatile block_of_intruder;

static void allocate(void)
{
    block = malloc(BLOCK);
}

static int allocates(void)
{
    block_of_intruder = malloc(BLOCK);
    return 0;
}

static int in_malloc(void)
{
    bool sent = true, right = true;

    for (unsigned n = 1; sent && right; n++) {
        gyre_handle handle = enter();

        sent = interrupt_at(n, TEXT_LIBRARY, allocate);
        right = leave(handle) == 0 && block != block_of_intruder;
        if (right) {
            free(block);
            free(block_of_intruder);
        }
    }
    return !right;
}

static gyre_handle child, child_of_intruder;

static int gives(void *number)
{
    return *(int *)number;
}

static void spawn(void)
{
    static int one = 1;

    if (gyre_spawn(&child, gives, &one))
        abort();
}

static int spawns(void)
{
    static int two = 2;

    return gyre_spawn(&child_of_intruder, gives, &two);
}

static int in_runtime(void)
{
    bool sent = true;
    int one = 1, two = 2;

    for (unsigned n = 1; sent && one == 1 && two == 2; n++) {
        gyre_handle handle = enter();

        sent = interrupt_at(n, TEXT_RUNTIME, spawn);
        if (leave(handle) || gyre_join(child, &one) || gyre_join(child_of_intruder, &two))
            return 1;
    }
    return one != 1 || two != 2;
}

/* --- what the program says, and holds ----------------------------------------------------------
 */

static _Thread_local unsigned counter;

static __attribute__((noinline)) unsigned count_one(void)
{
    return ++counter;
}

static int counts(void)
{
    count_one();
    return 0;
}

static int in_section(void)
{
    gyre_handle handle = enter();
    unsigned before;

    gyre_preempt_off();
    before = counter;
    interrupt_here();
    counter = before + 1;
    end_window();
    gyre_preempt_on();
    return leave(handle) || count_one() != before + 3;
}

GYRE_NO_PREEMPT static unsigned count_guarded(void)
{
    unsigned before = counter;

    for (int i = 0; i < TRIES; i++) {
        sigset_t mask;

        arm(&mask);
        deliver(&mask);
    }
    counter = before + 1;
    return before;
}

static int in_guarded_function(void)
{
    gyre_handle handle = enter();
    unsigned before = count_guarded();

    return leave(handle) || count_one() != before + 3;
}

GYRE_NO_PREEMPT static unsigned count_around(void (*call)(void))
{
    unsigned before = counter;

    call();
    counter = before + 1;
    return before;
}

static int under_guarded_function(void)
{
    gyre_handle handle = enter();
    unsigned before = count_around(interrupt_here);

    return leave(handle) || count_one() != before + 3;
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static int locks(void)
{
    return pthread_mutex_lock(&mutex) || pthread_mutex_unlock(&mutex);
}

static int with_lock(void)
{
    gyre_handle handle = enter();

    pthread_mutex_lock(&mutex);
    interrupt_here();
    end_window();
    pthread_mutex_unlock(&mutex);
    return leave(handle);
}

static int mask_is_changed(void)
{
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    return sigismember(&mask, SIGUSR1);
}

static int with_mask(void)
{
    gyre_handle handle = enter();
    sigset_t set, before;

    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    interrupt_here();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return leave(handle);
}

/* --- the stack ---------------------------------------------------------------------------------
 */

static bool spoiled;

static void computes_on_signal_stack(int signal)
{
    volatile unsigned char pattern[2048];
    unsigned char mine = atomic_load(&proof_shared->intruded) ? 2 : 1;

    (void)signal;
    for (size_t i = 0; i < sizeof pattern; i++)
        pattern[i] = mine;
    interrupt_here();
    for (size_t i = 0; i < sizeof pattern; i++)
        spoiled |= pattern[i] != mine;
}

static int raises(void)
{
    raise(SIGUSR2);
    return 0;
}

static int on_signal_stack(void)
{
    gyre_handle handle = enter();
    struct sigaction action = {.sa_handler = computes_on_signal_stack,
                               .sa_flags = SA_ONSTACK | SA_NODEFER};

    sigaction(SIGUSR2, &action, NULL);
    raises();
    return leave(handle) || spoiled;
}

/* A stack that is as large as it has to be. */
static struct {
    unsigned char data[8192];
    _Alignas(16) char stack[1024];
} small;
static ucontext_t small_context, back;
static sigset_t small_mask;

static void computes_on_small_stack(void)
{
    deliver(&small_mask);
}

static int on_other_stack(void)
{
    gyre_handle handle = enter();

    arm(&small_mask);
    getcontext(&small_context);
    small_context.uc_stack.ss_sp = small.stack;
    small_context.uc_stack.ss_size = sizeof small.stack;
    small_context.uc_link = &back;
    makecontext(&small_context, computes_on_small_stack, 0);
    swapcontext(&back, &small_context);
    pthread_sigmask(SIG_SETMASK, &small_mask, NULL);
    for (size_t i = 0; i < sizeof small.data; i++)
        spoiled |= small.data[i];
    return leave(handle) || spoiled;
}

/* Where so much is left that one more call goes well, but nothing else. */
static __attribute__((noinline)) void interrupt_at_the_end(const sigset_t *mask)
{
    enum { LEFT = 512 };
    uintptr_t low = (uintptr_t)worker_current()->running->stack.low;
    size_t size = (uintptr_t)__builtin_frame_address(0) - low - LEFT;
    volatile char *rest = alloca(size);

    for (size_t i = 0; i < size; i++)
        rest[i] = 1; /* nothing stale */
    deliver(mask);
    rest[0] = 2;
}

static int at_the_end_of_the_stack(void)
{
    gyre_handle handle = enter();
    sigset_t before;

    arm(&before);
    interrupt_at_the_end(&before);
    return leave(handle);
}

/* --- registers ---------------------------------------------------------------------------------
 */

enum { AVX = 1 << 2 };

/* All of ymm7 is x; after a tick, whether it still is. */
static __attribute__((noinline)) bool keeps_vector(uint64_t x, const sigset_t *mask)
{
    uint64_t in[4] = {x, x, x, x}, out[4];
    long result = SYS_rt_sigprocmask;
    register long size __asm__("r10") = 8;

    __asm__ volatile("vmovdqu %[in], %%ymm7\n\t"
                     "syscall\n\t"
                     "vmovdqu %%ymm7, %[out]\n\t"
                     "vzeroupper"
                     : "+a"(result), [out] "=m"(out)
                     : [in] "m"(in), "D"((long)SIG_SETMASK), "S"(mask), "d"(0L), "r"(size)
                     : "rcx", "r11", "xmm7", "memory");
    return memcmp(in, out, sizeof in) == 0;
}

static int uses_vectors(void)
{
    sigset_t mask;

    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    return !keeps_vector(0x2222222222222222, &mask);
}

/* The processors with AMX are few. Here AVX is what is not saved, as AMX is there. */
static int with_state(void)
{
    gyre_handle handle;
    bool kept = true;

    gyre_preempt_state.components &= ~(uint64_t)AVX;
    handle = enter();
    for (int i = 0; i < TRIES && !proof_intruded(); i++) {
        sigset_t before;

        arm(&before);
        kept &= keeps_vector(0x1111111111111111, &before);
    }
    gyre_preempt_state.components |= AVX;
    return leave(handle) || !kept;
}

/* --- callers -----------------------------------------------------------------------------------
 */

static pthread_once_t once = PTHREAD_ONCE_INIT;

static int begins(void)
{
    return pthread_once(&once, interrupt_here);
}

static int under_pthread_once(void)
{
    gyre_handle handle = enter();
    int error = begins();

    return leave(handle) || error;
}

static void nothing(void)
{
}

static int visits(void)
{
    return !library_visit("intruder", nothing);
}

static int under_library(void)
{
    gyre_handle handle = enter();
    bool right = library_visit("victim", interrupt_here);

    return leave(handle) || !right;
}

static void interrupt_under_large_frame(void)
{
    volatile char frame[32 << 10];

    for (size_t i = 0; i < sizeof frame; i++)
        frame[i] = 1;
    interrupt_here();
    frame[0] = 2;
}

static int under_large_frame(void)
{
    gyre_handle handle = enter();
    bool right = library_visit("victim", interrupt_under_large_frame);

    return leave(handle) || !right;
}

static int (*plugin_visit)(const char *name, void (*visit)(void));

static int visits_plugin(void)
{
    return !plugin_visit("intruder", nothing);
}

static int under_new_library(void)
{
    void *library = dlopen(plugin, RTLD_NOW | RTLD_LOCAL);
    gyre_handle handle;
    bool right;

    plugin_visit =
        library ? (int (*)(const char *, void (*)(void)))dlsym(library, "library_visit") : NULL;
    if (!plugin_visit) {
        fprintf(stderr, "%s\n", dlerror());
        abort();
    }
    handle = enter();
    right = plugin_visit("victim", interrupt_here);
    return leave(handle) || !right;
}

/* Only the handler looks: what the watchdog does about it would come at some time or other. */
bool __real_gyre_text_map_stale(const struct text_map *map);
bool __wrap_gyre_text_map_stale(const struct text_map *map);
bool __wrap_gyre_text_map_stale(const struct text_map *map)
{
    return worker_current() && !leaves_out(WITHOUT_FRESH_MAP) && __real_gyre_text_map_stale(map);
}

/* Nobody wrote this buffer since something of the C library's was here. */
static int above_stale_address(void)
{
    gyre_handle handle = enter();
    volatile uintptr_t buffer[64];

    buffer[20] = (uintptr_t)malloc + 1;
    interrupt_here();
    return leave(handle) || !buffer[20] || !proof_intruded();
}

/* --- going on ----------------------------------------------------------------------------------
 */

static void commit_anywhere(struct worker *worker, struct gyre_coro *self, void *unused)
{
    (void)unused;
    gyre_ready_later(worker, self);
    full_barrier();
    gyre_wake_one();
}

static __attribute__((noinline)) void set_errno(int value)
{
    errno = value;
}

void __real_gyre_preempt_here(void);
void __wrap_gyre_preempt_here(void);
void __wrap_gyre_preempt_here(void)
{
    int saved = errno;

    if (!leaves_out(WITHOUT_ERRNO) && !leaves_out(WITHOUT_OWN_WORKER)) {
        __real_gyre_preempt_here();
        return;
    }
    gyre_park(worker_current(), PARK_PREEMPTED, commit_anywhere, NULL);
    if (!leaves_out(WITHOUT_ERRNO))
        set_errno(saved);
}

static int fails_call(void)
{
    set_errno(EINTR);
    return 0;
}

static int keeps_errno(void)
{
    gyre_handle handle = enter();
    sigset_t before;
    int found;

    arm(&before);
    errno = EXDEV;
    deliver(&before);
    found = errno;
    return leave(handle) || found != EXDEV;
}

static atomic_bool went_on;

/* Until the other worker has taken who waits here, or long enough for that. */
static int computes(void)
{
    int64_t end = gyre_now() + 20 * GYRE_MILLISECOND;

    while (!atomic_load(&went_on) && gyre_now() < end)
        ;
    return 0;
}

/* Where this thread's variables are; compilers take it for the same in a whole function. */
static uintptr_t thread_pointer(void)
{
    uintptr_t pointer;

    __asm__ volatile("movq %%fs:0, %0" : "=r"(pointer));
    return pointer;
}

static int keeps_thread(void)
{
    enum { ROUNDS = 10 };
    uintptr_t address = thread_pointer();

    for (int i = 0; i < ROUNDS; i++) {
        gyre_handle handle = enter();
        sigset_t before;
        bool same;

        atomic_store(&went_on, false);
        arm(&before);
        deliver(&before);
        atomic_store(&went_on, true);
        same = thread_pointer() == address;
        if (leave(handle) || !same)
            return 1;
        address = thread_pointer(); /* it may have parked */
    }
    return 0;
}

/* --- the scenarios -------------------------------------------------------------------------- */

#define CALLER BIT(GYRE_REFUSED_CALLER)

/* In malloc and in the runtime the scan of the stack would find what the pc tells; on another stack
 * than its own, that there is no way to the entry. So these leave out both. */
static const struct scenario scenarios[] = {
    {"in_library", BIT(GYRE_REFUSED_LIBRARY), WRONG, GYRE_REFUSED_LIBRARY, in_library,
     draws_number},
    {"in_malloc", BIT(GYRE_REFUSED_LIBRARY) | CALLER, WRONG | CRASHES, GYRE_REFUSED_LIBRARY,
     in_malloc, allocates},
    {"in_runtime", BIT(GYRE_REFUSED_RUNTIME) | CALLER, WRONG | CRASHES, GYRE_REFUSED_RUNTIME,
     in_runtime, spawns},
    {"in_section", BIT(GYRE_REFUSED_SECTION), WRONG, GYRE_REFUSED_SECTION, in_section, counts},
    {"in_guarded_function", BIT(GYRE_REFUSED_SECTION), WRONG, GYRE_REFUSED_SECTION,
     in_guarded_function, counts},
    {"under_guarded_function", CALLER, WRONG, GYRE_REFUSED_CALLER, under_guarded_function, counts},
    {"with_lock", BIT(GYRE_REFUSED_LOCK), HANGS, GYRE_REFUSED_LOCK, with_lock, locks},
    {"with_uncounted_lock", BIT(WITHOUT_MODE), HANGS, GYRE_REFUSED_MODE, with_lock, locks,
     .cooperative = true},
    {"with_mask", BIT(GYRE_REFUSED_MASK), WRONG, GYRE_REFUSED_MASK, with_mask, mask_is_changed},
    {"on_signal_stack", BIT(GYRE_REFUSED_STACK) | CALLER, WRONG | CRASHES, GYRE_REFUSED_STACK,
     on_signal_stack, raises},
    {"on_other_stack", BIT(GYRE_REFUSED_STACK) | CALLER, WRONG | CRASHES, GYRE_REFUSED_STACK,
     on_other_stack},
    {"at_the_end_of_the_stack", BIT(WITHOUT_ROOM), CRASHES, GYRE_REFUSED_STACK,
     at_the_end_of_the_stack},
    {"with_state", BIT(GYRE_REFUSED_STATE), WRONG, GYRE_REFUSED_STATE, with_state, uses_vectors},
    {"under_pthread_once", CALLER, HANGS, GYRE_REFUSED_CALLER, under_pthread_once, begins},
    {"under_library", CALLER, WRONG, GYRE_REFUSED_CALLER, under_library, visits},
    {"under_large_frame", BIT(WITHOUT_WHOLE_SCAN), WRONG, GYRE_REFUSED_CALLER, under_large_frame,
     visits},
    {"under_new_library", BIT(WITHOUT_FRESH_MAP), WRONG, GYRE_REFUSED_MODE, under_new_library,
     visits_plugin},
    {"above_stale_address", BIT(WITHOUT_CONFIRMATION), WRONG, REFUSED_NOT, above_stale_address},
    {"keeps_errno", BIT(WITHOUT_ERRNO), WRONG, REFUSED_NOT, keeps_errno, fails_call},
    {"keeps_thread", BIT(WITHOUT_OWN_WORKER), WRONG, REFUSED_NOT, keeps_thread, computes,
     .workers = 2},
};

static int play(void *unused)
{
    (void)unused;
    return scenario->victim();
}

static int begin(void *unused)
{
    gyre_handle handle;
    int result;

    (void)unused;
    if (leaves_out(WITHOUT_MODE))
        atomic_store(&gyre_runtime_instance->cooperative, NULL);
    if (gyre_spawn(&handle, play, NULL) || gyre_join(handle, &result))
        abort();
    return result || (!gate_without && !proof_was_refused(scenario));
}

void proof_child(const struct scenario *which, unsigned without)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;

    scenario = which;
    gate_without = without;
    options.workers = scenario->workers ? scenario->workers : 1;
    options.quantum = 10 * GYRE_SECOND;
    _exit(gyre_run_options(begin, NULL, &options) ? 1 : 0);
}

int main(int argc, char **argv)
{
    plugin = argc > 1 ? argv[1] : "";
    return proof(scenarios, ARRAY_SIZE(scenarios), argc > 2 ? argv[2] : NULL);
}
