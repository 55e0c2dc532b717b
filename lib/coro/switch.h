/*
 * Switching stacks: the only thing a coroutine needs from the architecture.
 *
 * gyre_switch leaves what the calling convention says a function keeps on the stack that it leaves,
 * and continues where the other frame was left. It saves neither the signal mask nor the
 * floating-point control words (coro/fpu.h has those, for who asks), nor anything thread-local:
 * after it returns the caller may be on another thread.
 *
 * Invariants: a frame is filled by gyre_switch_prepare or by being the `from` of a switch, and used
 * up by being the `to` of one. Two threads may hand a frame over only with a release after the
 * switch away from it and an acquire before the switch to it: that is the scheduler's part (a
 * coroutine is made runnable by whoever runs after it, never by itself).
 *
 * A coroutine's outermost frame has an undefined return address, so every unwinder ends there, and
 * a personality routine that turns an exception (or pthread_exit) that gets so far into a panic.
 *
 * Backends: asm for x86-64 and aarch64; ucontext, the reference, for everything else. With
 * ucontext the saved registers live on the stack that is left (a ucontext_t is 1 KiB on x86-64 and
 * 4.5 KiB on aarch64, too much for a control block).
 *
 * The asm is inline and names all other registers as clobbered, so the compiler saves those that
 * are live, by code that it knows the CFI of. Rejected: a function that pushes the callee-saved
 * ones and ends in ret (3 times slower: the return stack predicts its caller, the one place it
 * never goes to) or in a jump (2 times: one indirect jump for all places, and its target, an
 * ordinary return address, can't be a landing pad under IBT or BTI).
 */
#ifndef GYRE_LIB_CORO_SWITCH_H
#define GYRE_LIB_CORO_SWITCH_H

#include "base/macros.h"

#include <stddef.h>
#include <stdint.h>

#if !defined(GYRE_SWITCH_UCONTEXT) && !defined(__x86_64__) && !defined(__aarch64__)
#define GYRE_SWITCH_UCONTEXT 1
#endif

struct switch_frame {
#ifdef GYRE_SWITCH_UCONTEXT
    void *context; /* the ucontext_t, itself on the stack that was left */
#else
    void *sp, *fp, *pc;
#endif
#if defined(GYRE_ASAN) || defined(GYRE_TSAN)
    void (*entry)(void *arg);
    void *arg;
    const void *low; /* ASan: bounds of the stack */
    size_t size;
    void *fake_stack; /* ASan: of a frame that is not running */
    void *fiber;      /* TSan: NULL for none */
#endif
};

/* gyre_switch_registers is the bare switch, without telling a sanitizer. */
#ifdef GYRE_SWITCH_UCONTEXT

void gyre_switch_registers(struct switch_frame *from, struct switch_frame *to);
void gyre_switch_prepare_registers(struct switch_frame *frame, void *low, void *top,
                                   void (*entry)(void *arg), void *arg);

#else

/* Where a coroutine starts (switch_*.S): not callable. Finds entry and arg at its sp. */
void gyre_switch_start(void);

static inline void gyre_switch_prepare_registers(struct switch_frame *frame, void *low, void *top,
                                                 void (*entry)(void *arg), void *arg)
{
    uintptr_t *sp = (uintptr_t *)((uintptr_t)top & ~(uintptr_t)15) - 2;

    (void)low;
    sp[0] = (uintptr_t)entry;
    sp[1] = (uintptr_t)arg;
    frame->sp = sp;
    frame->fp = NULL; /* ends a chain of frame pointers */
    frame->pc = (void *)(uintptr_t)gyre_switch_start;
}

/*
 * The CFI: until sp changes the function's own is right. In the two instructions between that and
 * the jump the caller is what `to` holds. A return address is looked up by the byte before it, so a
 * nop stands before the label under which the function goes on.
 */
#if defined(__x86_64__)

#ifdef __AVX512F__
#define SWITCH_CLOBBERS_AVX512                                                                     \
    , "xmm16", "xmm17", "xmm18", "xmm19", "xmm20", "xmm21", "xmm22", "xmm23", "xmm24", "xmm25",    \
        "xmm26", "xmm27", "xmm28", "xmm29", "xmm30", "xmm31", "k0", "k1", "k2", "k3", "k4", "k5",  \
        "k6", "k7"
#else
#define SWITCH_CLOBBERS_AVX512
#endif

static inline __attribute__((always_inline)) void gyre_switch_registers(struct switch_frame *from,
                                                                        struct switch_frame *to)
{
    __asm__ __volatile__("leaq 1f(%%rip), %%rax\n\t"
                         "movq %%rsp, (%%rdi)\n\t"
                         "movq %%rbp, 8(%%rdi)\n\t"
                         "movq %%rax, 16(%%rdi)\n\t"
                         "movq (%%rsi), %%rsp\n\t"
                         ".cfi_remember_state\n\t"
                         ".cfi_def_cfa %%rsi, 0\n\t"
                         ".cfi_offset %%rsp, 0\n\t"
                         ".cfi_offset %%rbp, 8\n\t"
                         ".cfi_offset %%rip, 16\n\t"
                         "movq 8(%%rsi), %%rbp\n\t"
                         "jmp *16(%%rsi)\n\t"
                         ".cfi_restore_state\n\t"
                         "nop\n"
                         "1:\tendbr64"
                         : "+D"(from), "+S"(to)
                         :
                         : "rax", "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "r12", "r13",
                           "r14", "r15", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6",
                           "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14",
                           "xmm15", "mm0", "mm1", "mm2", "mm3", "mm4", "mm5", "mm6", "mm7", "st",
                           "st(1)", "st(2)", "st(3)", "st(4)", "st(5)", "st(6)", "st(7)", "cc",
                           "memory" SWITCH_CLOBBERS_AVX512);
}

#elif defined(__aarch64__)

#ifdef __ARM_FEATURE_SVE
#define SWITCH_CLOBBERS_SVE                                                                        \
    , "p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8", "p9", "p10", "p11", "p12", "p13",      \
        "p14", "p15"
#else
#define SWITCH_CLOBBERS_SVE
#endif

/* x18 is scratch on Linux. A jump by x16 may land on any kind of pad. */
static inline __attribute__((always_inline)) void gyre_switch_registers(struct switch_frame *from,
                                                                        struct switch_frame *to)
{
    register struct switch_frame *x0 __asm__("x0") = from;
    register struct switch_frame *x1 __asm__("x1") = to;

    __asm__ __volatile__(
        "adr x9, 1f\n\t"
        "mov x10, sp\n\t"
        "stp x10, x29, [x0]\n\t"
        "str x9, [x0, #16]\n\t"
        "ldr x10, [x1]\n\t"
        "ldr x16, [x1, #16]\n\t"
        "mov sp, x10\n\t"
        ".cfi_remember_state\n\t"
        ".cfi_def_cfa x1, 0\n\t"
        ".cfi_offset sp, 0\n\t"
        ".cfi_offset x29, 8\n\t"
        ".cfi_offset x30, 16\n\t"
        "ldr x29, [x1, #8]\n\t"
        "br x16\n\t"
        ".cfi_restore_state\n\t"
        "nop\n"
        "1:\thint #36" /* bti j */
        : "+r"(x0), "+r"(x1)
        :
        : "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15",
          "x16", "x17", "x18", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28",
          "x30", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12",
          "v13", "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25",
          "v26", "v27", "v28", "v29", "v30", "v31", "cc", "memory" SWITCH_CLOBBERS_SVE);
}

#endif
#endif

#if defined(GYRE_ASAN) || defined(GYRE_TSAN)

void gyre_switch_prepare(struct switch_frame *frame, void *low, void *top, void (*entry)(void *arg),
                         void *arg);
void gyre_switch(struct switch_frame *from, struct switch_frame *to);
void gyre_switch_final(struct switch_frame *from, struct switch_frame *to);
void gyre_switch_adopt(struct switch_frame *frame);
void gyre_switch_release(struct switch_frame *frame);

#else

/*
 * Lets entry(arg) start on the stack [low, top) at the first switch to the frame. entry must not
 * return. The frame may be one that a finished coroutine used.
 */
static inline void gyre_switch_prepare(struct switch_frame *frame, void *low, void *top,
                                       void (*entry)(void *arg), void *arg)
{
    gyre_switch_prepare_registers(frame, low, top, entry, arg);
}

/* Leaves `from`, continues `to`; returns when someone switches to `from`. */
static inline void gyre_switch(struct switch_frame *from, struct switch_frame *to)
{
    gyre_switch_registers(from, to);
}

/* The same for who never comes back; does not return. Its stack is free once `to` runs. */
static inline void gyre_switch_final(struct switch_frame *from, struct switch_frame *to)
{
    gyre_switch_registers(from, to);
}

/* Makes the frame stand for the calling thread's own stack, before it is first a `from`. */
static inline void gyre_switch_adopt(struct switch_frame *frame)
{
    (void)frame; /* the first switch away from it fills it */
}

/* To be called for the frame of a finished coroutine, from another stack, once. */
static inline void gyre_switch_release(struct switch_frame *frame)
{
    (void)frame;
}

#endif
/*
 * For a function that parks and returns to its caller's caller of all kinds. The processor guesses
 * a ret by the calls that were made last, and these were another coroutine's: the guess is wrong
 * wherever the two came from different places, at 20 cycles. An indirect jump is guessed by what
 * was jumped to before. Only where the way out has parked: each such return leaves the guesses for
 * the rets that follow one too many.
 */
#ifdef GYRE_RETURN_THUNK
#define RETURNS_BY_JUMP __attribute__((noinline, function_return("thunk-extern")))
#else
#define RETURNS_BY_JUMP __attribute__((noinline))
#endif

#endif
