/*
 * What the two halves of preemption on x86-64 agree on: preempt_x86_64.c, which fills a
 * preempt_frame in the signal handler, and the trampoline in preempt_x86_64.S, which lives on it.
 */
#ifndef GYRE_LIB_CORO_PREEMPT_X86_64_H
#define GYRE_LIB_CORO_PREEMPT_X86_64_H

#include <stddef.h>
#include <stdint.h>

enum { RED_ZONE = 128 };

enum preempt_save { SAVE_FXSAVE, SAVE_XSAVE, SAVE_XSAVEC };

/* How this processor's vector and x87 state is saved. Written by gyre_preempt_prepare only. */
struct preempt_state {
    uint64_t components; /* of XCR0, those that are saved */
    enum preempt_save save;
    uint32_t mxcsr; /* the control words that fn finds */
    uint16_t x87;
    size_t size;
};
extern struct preempt_state gyre_preempt_state;

/*
 * Ends where the red zone of the interrupted code begins. The trampoline pops it from rax on and
 * leaves by `ret $128`, so each field's place matters; rbp and rip make it a link of the chain of
 * frame pointers.
 */
struct preempt_frame {
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15;
    uint64_t flags, rbp, rip;
};

_Static_assert(offsetof(struct preempt_state, components) == 0, "preempt_x86_64.S");
_Static_assert(offsetof(struct preempt_state, save) == 8, "preempt_x86_64.S");
_Static_assert(offsetof(struct preempt_state, mxcsr) == 12, "preempt_x86_64.S");
_Static_assert(offsetof(struct preempt_state, x87) == 16, "preempt_x86_64.S");
_Static_assert(offsetof(struct preempt_frame, rbp) == 15 * 8, "preempt_x86_64.S");

/* Where an interrupted context goes on: rbp is &frame->rbp, rsp the area of the vector state, rbx
 * fn, r12 the preempt_state. Not callable. */
void gyre_preempt_trampoline(void);
extern const char gyre_preempt_trampoline_end[];

#endif
