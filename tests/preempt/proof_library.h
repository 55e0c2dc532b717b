/*
 * A library like many: nothing is wrong with it on threads, for its state is the thread's, and it
 * knows nothing of coroutines. And how proof.c has itself interrupted at one place, here too.
 */
#ifndef GYRE_TESTS_PREEMPT_PROOF_LIBRARY_H
#define GYRE_TESTS_PREEMPT_PROOF_LIBRARY_H

#include <signal.h>
#include <sys/syscall.h>

/* A tick is pending and blocked: gets it here, at the instruction behind the system call, in the
 * text of whoever this is compiled into. */
static inline __attribute__((always_inline)) void deliver(const sigset_t *mask)
{
#if defined(__x86_64__)
    long result = SYS_rt_sigprocmask;
    register long size __asm__("r10") = 8; /* of the kernel's set */

    __asm__ volatile("syscall"
                     : "+a"(result)
                     : "D"((long)SIG_SETMASK), "S"(mask), "d"(0L), "r"(size)
                     : "rcx", "r11", "memory");
#else
    (void)mask;
#endif
}

/* A number that this thread did not get before. mask not NULL: a tick comes half-way. */
unsigned library_number(const sigset_t *mask);

/* Calls visit, then tells whether the name that the thread works on is still this one. */
int library_visit(const char *name, void (*visit)(void));

#endif
