/*
 * Where a function injected by preempt_aarch64.c returns to: sp is a copy of the signal's frame, which
 * the kernel takes all registers from.
 *
 * On purpose without CFI: unwinders (libgcc, libunwind, gdb) know these two instructions, without any
 * CFI at the byte before them, for the return from a signal handler, and take the registers from
 * the frame as well. CFI could not do that: pc and x30 both have to come back, and no number for pc
 * is understood by all of them.
 */
        .text
        .p2align 4
        nop
        .globl  gyre_preempt_return
        .hidden gyre_preempt_return
        .type   gyre_preempt_return, %function
gyre_preempt_return:
        mov     x8, #139                /* rt_sigreturn */
        svc     #0
        brk     #1                      /* the kernel did not like the frame */
        .size   gyre_preempt_return, . - gyre_preempt_return

        .section .note.gnu.property, "a", %note
        .p2align 3
        .word   4, 16, 5                /* name size, description size, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .word   0xc0000000, 4, 1, 0     /* AARCH64_FEATURE_1_AND: BTI */

        .section .note.GNU-stack, "", %progbits
