/*
 * The outermost frame of every coroutine on x86-64. gyre_switch jumps to gyre_switch_start; for
 * a coroutine that never ran that is also the return address which unwinders look up by the byte
 * before it: hence the nop. It is in gyre_entry (base/text.h), as what it calls. The object is marked
 * for IBT, not for shadow stacks.
 */
        .section gyre_entry, "ax", @progbits
        .p2align 4
        .type   start_frame, @function
start_frame:
        .cfi_startproc
        .cfi_personality 0x1b, gyre_switch_personality
        .cfi_undefined %rip
        .cfi_undefined %rbp
        nop
        .globl  gyre_switch_start
        .hidden gyre_switch_start
        .type   gyre_switch_start, @function
gyre_switch_start:
        endbr64
        movq    8(%rsp), %rdi
        /* The others' values would be pushed, and taken for callers by who looks for such. */
        xorl    %ebx, %ebx
        xorl    %r12d, %r12d
        xorl    %r13d, %r13d
        xorl    %r14d, %r14d
        xorl    %r15d, %r15d
        call    *(%rsp)
        ud2
        .cfi_endproc
        .size   gyre_switch_start, . - gyre_switch_start
        .size   start_frame, . - start_frame

/* The return of a function that is marked RETURNS_BY_JUMP; the compiler gives the name, and weak it
 * is because a program that links the static library may have been built with such thunks itself. */
        .text
        .weak   __x86_return_thunk
        .hidden __x86_return_thunk
        .type   __x86_return_thunk, @function
__x86_return_thunk:
        .cfi_startproc
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   __x86_return_thunk, . - __x86_return_thunk

        .section .note.gnu.property, "a", @note
        .p2align 3
        .long   4, 16, 5                /* name size, description size, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000002, 4, 1, 0     /* X86_FEATURE_1_AND: IBT */

        .section .note.GNU-stack, "", @progbits
