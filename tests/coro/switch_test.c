/* The switch, the same cases for every backend and architecture. */
#include "cases.h"

#include "coro/fpu.h"
#include "coro/switch.h"

#include <fenv.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unwind.h>

enum { STACK_SIZE = 64 << 10 };

struct coroutine {
    struct switch_frame frame;
    struct switch_frame *back;
    char *stack;
    void (*run)(struct coroutine *self);
    intptr_t arg;
    intptr_t steps;
};

static struct switch_frame own;

static void enter(void *arg)
{
    struct coroutine *self = arg;

    self->run(self);
    gyre_switch_final(&self->frame, self->back);
    abort();
}

static void prepare(struct coroutine *c, void (*run)(struct coroutine *self), intptr_t arg)
{
    if (!c->stack)
        c->stack = aligned_alloc(4096, STACK_SIZE);
    c->run = run;
    c->arg = arg;
    c->steps = 0;
    c->back = &own;
    gyre_switch_prepare(&c->frame, c->stack, c->stack + STACK_SIZE, enter, c);
}

static void finish(struct coroutine *c)
{
    gyre_switch_release(&c->frame);
    free(c->stack);
    c->stack = NULL;
}

/* Another function than the caller's: what it must keep by the calling convention is seen. */
static __attribute__((noinline)) void resume(struct coroutine *c)
{
    gyre_switch(c->back, &c->frame);
    __asm__ __volatile__("");
}

static __attribute__((noinline)) void leave(struct coroutine *self)
{
    gyre_switch(&self->frame, self->back);
    __asm__ __volatile__("");
}

static void count_to_arg(struct coroutine *self)
{
    for (intptr_t i = 0; i < self->arg; i++) {
        self->steps++;
        leave(self);
    }
}

Test(switch, entry_gets_its_argument_and_runs_step_by_step)
{
    struct coroutine c = {0};

    gyre_switch_adopt(&own);
    prepare(&c, count_to_arg, 3);
    for (int i = 1; i <= 3; i++) {
        resume(&c);
        cr_assert_eq(c.steps, i);
    }
    resume(&c);
    cr_assert_eq(c.steps, 3);
    finish(&c);
}

static void note_stack(struct coroutine *self)
{
    char here[64] __attribute__((aligned(64)));
    uintptr_t at = (uintptr_t)__builtin_frame_address(0);

    memset(here, 1, sizeof here);
    __asm__ __volatile__("" : : "r"(here) : "memory");
    self->steps = at > (uintptr_t)self->stack && at < (uintptr_t)self->stack + STACK_SIZE;
    /* The ABI: the stack pointer is a multiple of 16 at the call. A frame address is that minus the
     * return address and the saved frame pointer. */
    self->arg = (intptr_t)(at % 16);
}

Test(switch, entry_runs_on_its_stack_aligned)
{
    struct coroutine c = {0};

    gyre_switch_adopt(&own);
    prepare(&c, note_stack, 1);
    resume(&c);
    cr_assert_eq(c.steps, 1);
    cr_assert_eq(c.arg, 0);
    finish(&c);
}

#if defined(__x86_64__)

/* Fills every register that a callee keeps, calls fn(arg), and tells whether they still hold that.
 */
static __attribute__((noinline)) int keeps(uint64_t seed, void (*fn)(struct coroutine *),
                                           struct coroutine *arg)
{
    uint64_t wrong = 0;

    /* Past the red zone, and aligned: the compiler takes this function for one that calls none. */
    __asm__ __volatile__("movq %%rsp, %%rax\n\t"
                         "leaq -128(%%rsp), %%rsp\n\t"
                         "andq $-16, %%rsp\n\t"
                         "pushq %%rax\n\t"
                         "pushq %%rbp\n\t"
                         "pushq %%rbp\n\t"
                         "pushq %[seed]\n\t"
                         "movq %[seed], %%rbp\n\t"
                         "leaq 1(%[seed]), %%rbx\n\t"
                         "leaq 2(%[seed]), %%r12\n\t"
                         "leaq 3(%[seed]), %%r13\n\t"
                         "leaq 4(%[seed]), %%r14\n\t"
                         "leaq 5(%[seed]), %%r15\n\t"
                         "call *%[fn]\n\t"
                         "popq %%rax\n\t"
                         "subq %%rax, %%rbp\n\t"
                         "subq %%rax, %%rbx\n\t"
                         "subq %%rax, %%r12\n\t"
                         "subq %%rax, %%r13\n\t"
                         "subq %%rax, %%r14\n\t"
                         "subq %%rax, %%r15\n\t"
                         "decq %%rbx\n\t"
                         "subq $2, %%r12\n\t"
                         "subq $3, %%r13\n\t"
                         "subq $4, %%r14\n\t"
                         "subq $5, %%r15\n\t"
                         "movq %%rbp, %%rax\n\t"
                         "orq %%rbx, %%rax\n\t"
                         "orq %%r12, %%rax\n\t"
                         "orq %%r13, %%rax\n\t"
                         "orq %%r14, %%rax\n\t"
                         "orq %%r15, %%rax\n\t"
                         "popq %%rbp\n\t"
                         "popq %%rbp\n\t"
                         "popq %%rsp\n\t"
                         : "=&a"(wrong), "+D"(arg), [seed] "+S"(seed), [fn] "+d"(fn)
                         :
                         : "rbx", "rcx", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
                           "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",
                           "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc",
                           "memory");
    return wrong == 0;
}

#elif defined(__aarch64__)

static __attribute__((noinline)) int keeps(uint64_t seed, void (*fn)(struct coroutine *),
                                           struct coroutine *arg)
{
    register struct coroutine *x0 __asm__("x0") = arg;
    register uint64_t x1 __asm__("x1") = seed;
    register void (*x2)(struct coroutine *) __asm__("x2") = fn;
    uint64_t wrong;

    __asm__ __volatile__("stp x29, x1, [sp, #-16]!\n\t"
                         "mov x29, x1\n\t"
                         "add x19, x1, #1\n\tadd x20, x1, #2\n\tadd x21, x1, #3\n\t"
                         "add x22, x1, #4\n\tadd x23, x1, #5\n\tadd x24, x1, #6\n\t"
                         "add x25, x1, #7\n\tadd x26, x1, #8\n\tadd x27, x1, #9\n\t"
                         "add x28, x1, #10\n\t"
                         "fmov d8, x19\n\tfmov d9, x20\n\tfmov d10, x21\n\tfmov d11, x22\n\t"
                         "fmov d12, x23\n\tfmov d13, x24\n\tfmov d14, x25\n\tfmov d15, x26\n\t"
                         "blr x2\n\t"
                         "ldr x1, [sp, #8]\n\t"
                         "eor x9, x29, x1\n\t"
                         "ldr x29, [sp], #16\n\t"
                         "fmov x10, d8\n\teor x10, x10, x19\n\torr x9, x9, x10\n\t"
                         "fmov x10, d9\n\teor x10, x10, x20\n\torr x9, x9, x10\n\t"
                         "fmov x10, d10\n\teor x10, x10, x21\n\torr x9, x9, x10\n\t"
                         "fmov x10, d11\n\teor x10, x10, x22\n\torr x9, x9, x10\n\t"
                         "fmov x10, d12\n\teor x10, x10, x23\n\torr x9, x9, x10\n\t"
                         "fmov x10, d13\n\teor x10, x10, x24\n\torr x9, x9, x10\n\t"
                         "fmov x10, d14\n\teor x10, x10, x25\n\torr x9, x9, x10\n\t"
                         "fmov x10, d15\n\teor x10, x10, x26\n\torr x9, x9, x10\n\t"
                         "sub x10, x19, #1\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x20, #2\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x21, #3\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x22, #4\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x23, #5\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x24, #6\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x25, #7\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x26, #8\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x27, #9\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "sub x10, x28, #10\n\teor x10, x10, x1\n\torr x9, x9, x10\n\t"
                         "mov %[wrong], x9\n\t"
                         : [wrong] "=r"(wrong), "+r"(x0), "+r"(x1), "+r"(x2)
                         :
                         : "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13",
                           "x14", "x15", "x16", "x17", "x19", "x20", "x21", "x22", "x23", "x24",
                           "x25", "x26", "x27", "x28", "x30", "v0", "v1", "v2", "v3", "v4", "v5",
                           "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", "v14", "v15", "v16",
                           "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26",
                           "v27", "v28", "v29", "v30", "v31", "cc", "memory");
    return wrong == 0;
}

#endif

#if defined(__x86_64__) || defined(__aarch64__)

static void check_registers(struct coroutine *self)
{
    for (int i = 0; i < 10; i++)
        self->steps += keeps(0x1111111100000000u + (uint64_t)self->arg * 1000, leave, self);
}

Test(switch, registers_of_both_sides_are_kept)
{
    struct coroutine a = {0}, b = {0};

    gyre_switch_adopt(&own);
    prepare(&a, check_registers, 1);
    prepare(&b, check_registers, 2);
    for (uint64_t i = 0; i <= 10; i++) {
        cr_assert(keeps(0x7777777700000000u + i, resume, &a));
        cr_assert(keeps(0x8888888800000000u + i, resume, &b));
    }
    cr_assert_eq(a.steps, 10);
    cr_assert_eq(b.steps, 10);
    finish(&a);
    finish(&b);
}

#endif

/* More live values than there are registers, of all kinds. */
static double churn(struct coroutine *self, int rounds)
{
    double d[12];
    long n[12];
    long double extended = (long double)self->arg;
    double sum = 0;

    for (int i = 0; i < 12; i++) {
        d[i] = (double)(self->arg + i);
        n[i] = self->arg * 100 + i;
    }
    for (int r = 0; r < rounds; r++) {
        for (int i = 0; i < 12; i++) {
            d[i] += 1;
            n[i] += 2;
        }
        extended += 0.5L;
        gyre_switch(&self->frame, self->back);
    }
    for (int i = 0; i < 12; i++)
        sum += d[i] + (double)n[i];
    return sum + (double)extended;
}

static void churn_here(struct coroutine *self)
{
    double want = 0;

    for (int i = 0; i < 12; i++)
        want += (double)(self->arg + i + 50) + (double)(self->arg * 100 + i + 100);
    want += (double)self->arg + 25;
    self->steps = churn(self, 50) == want;
}

Test(switch, live_values_of_many_survive)
{
    enum { COUNT = 20 };
    static struct coroutine c[COUNT];

    gyre_switch_adopt(&own);
    for (int i = 0; i < COUNT; i++)
        prepare(&c[i], churn_here, i + 1);
    for (int r = 0; r <= 50; r++)
        for (int i = 0; i < COUNT; i++)
            resume(&c[i]);
    for (int i = 0; i < COUNT; i++) {
        cr_assert_eq(c[i].steps, 1);
        finish(&c[i]);
    }
}

static struct coroutine chain[5];

static void nest(struct coroutine *self)
{
    struct coroutine *inner = self + 1;

    if (self->arg > 0) {
        prepare(inner, nest, self->arg - 1);
        inner->back = &self->frame;
        gyre_switch(&self->frame, &inner->frame);
        self->steps = inner->steps + 1;
        finish(inner);
    } else {
        self->steps = 1;
    }
}

Test(switch, nests)
{
    gyre_switch_adopt(&own);
    prepare(&chain[0], nest, 4);
    resume(&chain[0]);
    cr_assert_eq(chain[0].steps, 5);
    finish(&chain[0]);
}

enum { RING = 1000, RING_SWITCHES = 100000 };
static struct coroutine ring[RING];
static int ring_left;

static void pass_round(struct coroutine *self)
{
    struct coroutine *next = self == &ring[RING - 1] ? ring : self + 1;

    for (;;) {
        self->steps++;
        if (--ring_left < 0)
            gyre_switch(&self->frame, &own);
        gyre_switch(&self->frame, &next->frame);
    }
}

Test(switch, round_robin_of_many)
{
    intptr_t sum = 0;

    gyre_switch_adopt(&own);
    for (int i = 0; i < RING; i++)
        prepare(&ring[i], pass_round, 0);
    ring_left = RING_SWITCHES;
    gyre_switch(&own, &ring[0].frame);
    for (int i = 0; i < RING; i++) {
        sum += ring[i].steps;
        cr_assert(ring[i].steps >= RING_SWITCHES / RING);
        finish(&ring[i]);
    }
    cr_assert_eq(sum, RING_SWITCHES + 1);
}

Test(switch, frame_and_stack_serve_the_next_one)
{
    struct coroutine c = {0};

    gyre_switch_adopt(&own);
    for (int i = 0; i < 1000; i++) {
        prepare(&c, count_to_arg, i % 3);
        for (int s = 0; s <= i % 3; s++)
            resume(&c);
        cr_assert_eq(c.steps, i % 3);
        gyre_switch_release(&c.frame);
    }
    prepare(&c, count_to_arg, 0);
    resume(&c);
    finish(&c);
}

static struct coroutine traveller;

static void *carry(void *arg)
{
    struct switch_frame here;

    (void)arg;
    gyre_switch_adopt(&here);
    traveller.back = &here;
    resume(&traveller);
    return NULL;
}

static void travel(struct coroutine *self)
{
    for (;;) {
        self->steps++;
        leave(self);
    }
}

Test(switch, goes_on_in_another_thread)
{
    gyre_switch_adopt(&own);
    prepare(&traveller, travel, 0);
    for (int i = 1; i <= 10; i++) {
        pthread_t thread;

        cr_assert_eq(pthread_create(&thread, NULL, carry, NULL), 0);
        pthread_join(thread, NULL);
        cr_assert_eq(traveller.steps, i);
    }
    finish(&traveller);
}

static void round_up_once(struct coroutine *self)
{
    struct fpu_control mine;

    fesetround(FE_UPWARD);
    fpu_control_save(&mine);
    leave(self);
    fpu_control_restore(&mine);
    self->steps = fegetround() == FE_UPWARD;
}

Test(switch, control_words_can_be_carried)
{
    struct coroutine c = {0};
    struct fpu_control mine;

    gyre_switch_adopt(&own);
    fpu_control_save(&mine);
    prepare(&c, round_up_once, 0);
    resume(&c);
    fpu_control_restore(&mine);
    cr_assert_eq(fegetround(), FE_TONEAREST);
    resume(&c);
    fpu_control_restore(&mine);
    cr_assert_eq(fegetround(), FE_TONEAREST);
    cr_assert_eq(c.steps, 1);
    finish(&c);
}

static void note_mask(struct coroutine *self)
{
    sigset_t mask;

    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    self->steps = sigismember(&mask, SIGUSR1);
    sigaddset(&mask, SIGUSR2);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    leave(self);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    self->steps = sigismember(&mask, SIGUSR1);
}

Test(switch, signal_mask_belongs_to_the_thread)
{
    struct coroutine c = {0};
    sigset_t before, mask;

    gyre_switch_adopt(&own);
    prepare(&c, note_mask, 0);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &mask, &before);
    resume(&c);
    cr_assert_eq(c.steps, 1);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    cr_assert(sigismember(&mask, SIGUSR2));
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    resume(&c);
    cr_assert_eq(c.steps, 0);
    finish(&c);
}

enum { TRACE_MAX = 64, TRACE_DEPTH = 7 };
static void *trace[TRACE_MAX];
static int trace_count;

static _Unwind_Reason_Code note_frame(struct _Unwind_Context *context, void *arg)
{
    (void)arg;
    if (trace_count == TRACE_MAX)
        return _URC_END_OF_STACK;
    if (_Unwind_GetIP(context) != 0) /* libgcc's way to tell the end */
        trace[trace_count++] = (void *)_Unwind_GetIP(context);
    return _URC_NO_REASON;
}

static __attribute__((noinline)) int trace_at_depth(int depth)
{
    int n = depth > 0 ? trace_at_depth(depth - 1) + 1 : 0;

    if (depth == 0)
        _Unwind_Backtrace(note_frame, NULL);
    __asm__ __volatile__("" : "+r"(n));
    return n;
}

static void trace_here(struct coroutine *self)
{
    self->steps = trace_at_depth(TRACE_DEPTH);
    leave(self);
    trace_count = 0;
    self->steps = trace_at_depth(TRACE_DEPTH);
}

Test(switch, unwinding_ends_at_the_entry)
{
    struct coroutine c = {0};

    gyre_switch_adopt(&own);
    prepare(&c, trace_here, 0);
    for (int i = 0; i < 2; i++) {
        resume(&c);
        /* trace_at_depth's frames, trace_here, enter, and a few of the backend's and a sanitizer's.
         */
        cr_assert(trace_count >= TRACE_DEPTH + 3 && trace_count <= TRACE_DEPTH + 7, "%d frames",
                  trace_count);
#ifndef GYRE_SWITCH_UCONTEXT
        cr_assert((uintptr_t)trace[trace_count - 1] - (uintptr_t)gyre_switch_start < 96);
#endif
    }
    finish(&c);
}
