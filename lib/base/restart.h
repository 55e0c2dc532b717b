/*
 * "Store this if that still stands there", in a word that others change by locked instructions,
 * without a locked instruction: a restartable sequence (rseq(2)). The kernel breaks a sequence off
 * when its thread loses the CPU or gets a signal, and when anyone calls gyre_restart_all.
 *
 * Only on x86-64, with a C library that registers each thread's struct rseq (glibc 2.35), and where
 * membarrier is allowed; not under TSan, which sees neither, nor for the explorer.
 */
#ifndef GYRE_LIB_BASE_RESTART_H
#define GYRE_LIB_BASE_RESTART_H

#include "base/macros.h"

#include <stdatomic.h>
#include <stdbool.h>

#if defined(__x86_64__) && defined(__LP64__) && !defined(GYRE_TSAN) && !defined(GYRE_EXPLORE)
#if __has_include(<sys/rseq.h>)
#define RESTART_SEQUENCES
#endif
#endif

/* Where a thread's struct rseq is, from its thread pointer; 0: no sequences. */
extern __attribute__((visibility("hidden"))) atomic_ptrdiff_t gyre_restart_offset;

/* When a runtime starts: from here on there may be sequences, if all they need is there. */
void gyre_restart_init(void);

/* No sequence that began before the call goes on after it: each has stored, which the caller
 * sees, or won't. Panics when there are no sequences. */
void gyre_restart_all(void);

static inline bool restart_possible(void)
{
#ifdef RESTART_SEQUENCES
    /* Acquire: pairs with the release in gyre_restart_init, for what calls gyre_restart_all. */
    return atomic_load_explicit(&gyre_restart_offset, memory_order_acquire);
#else
    return false;
#endif
}

/*
 * Where restart_possible was true once: *word = to (release) if it is `from`, then true, and
 * nothing is touched after the store. False also when it was broken off, or when this thread
 * has no struct rseq that the kernel knows of.
 */
static inline bool restart_store_if(_Atomic(uint32_t) *word, uint32_t from, uint32_t to)
{
#ifdef RESTART_SEQUENCES
    ptrdiff_t area = atomic_load_explicit(&gyre_restart_offset, memory_order_relaxed);

    /*
     * From 1 to 2 is the sequence, which table 3 describes and which %fs:8 (rseq_cs) announces;
     * broken off, it goes on at 4, which the signature must precede. %fs:4 (cpu_id) is negative in
     * a thread that is not registered. rseq_cs is cleared again because the table may go away with
     * the library.
     */
    /* clang-format off */
    __asm__ goto(
        ".pushsection .data.rel.ro.gyre_restart, \"aw\"\n\t"
        ".balign 32\n"
        "3:\n\t"
        ".long 0, 0\n\t"
        ".quad 1f, 2f - 1f, 4f\n\t"
        ".popsection\n\t"
        "leaq 3b(%%rip), %%rax\n\t"
        "movq %%rax, %%fs:8(%[area])\n"
        "1:\n\t"
        "cmpl $0, %%fs:4(%[area])\n\t"
        "js %l[refused]\n\t"
        "cmpl %[from], (%[word])\n\t"
        "jne %l[refused]\n\t"
        "movl %[to], (%[word])\n"
        "2:\n\t"
        "movq $0, %%fs:8(%[area])\n\t"
        ".pushsection .text.unlikely, \"ax\"\n\t"
        ".byte 0x0f, 0xb9, 0x3d\n\t" /* with the signature, an instruction that traps */
        ".long 0x53053053\n"
        "4:\n\t"
        "jmp %l[refused]\n\t"
        ".popsection"
        :
        : [area] "r"(area), [word] "r"(word), [from] "ir"(from), [to] "ir"(to)
        : "rax", "memory", "cc"
        : refused);
    /* clang-format on */
    return true;
refused:
#endif
    (void)word;
    (void)from;
    (void)to;
    return false;
}

#endif
