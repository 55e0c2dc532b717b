/*
 * The switch for x86-64 (System V). Saved are rbx, rbp, r12-r15 and the return address.
 *
 * It ends in pop and jmp: a ret would be predicted to go back to the caller, which is the one
 * place it never goes to (9-12 ns instead of 2). The jump goes to an ordinary return address,
 * where no endbr64 stands, hence notrack. For the same reason the object is marked for IBT and
 * not for shadow stacks.
 *
 * The CFI holds on both sides of the change of rsp, as both stacks have the same layout there.
 */
        .text
        .p2align 5
        .globl  gyre_switch_registers
        .hidden gyre_switch_registers
        .type   gyre_switch_registers, @function
gyre_switch_registers:                  /* rdi: from, rsi: to */
        .cfi_startproc
        endbr64
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        pushq   %rbx
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbx, 0
        pushq   %r12
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r12, 0
        pushq   %r13
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r13, 0
        pushq   %r14
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r14, 0
        pushq   %r15
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %r15, 0
        movq    %rsp, (%rdi)
        movq    (%rsi), %rsp
        popq    %r15
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r15
        popq    %r14
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r14
        popq    %r13
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r13
        popq    %r12
        .cfi_adjust_cfa_offset -8
        .cfi_restore %r12
        popq    %rbx
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbx
        popq    %rbp
        .cfi_adjust_cfa_offset -8
        .cfi_restore %rbp
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        .cfi_register %rip, %rcx
        notrack jmp *%rcx
        .cfi_endproc
        .size   gyre_switch_registers, . - gyre_switch_registers

/*
 * The outermost frame of every coroutine. It is entered as a return address, and unwinders look
 * up the byte before a return address: hence the nop.
 */
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
        movq    %r13, %rdi
        call    *%r12
        ud2
        .cfi_endproc
        .size   gyre_switch_start, . - gyre_switch_start
        .size   start_frame, . - start_frame

        .section .note.gnu.property, "a", @note
        .p2align 3
        .long   4, 16, 5                /* name size, description size, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000002, 4, 1, 0     /* X86_FEATURE_1_AND: IBT */

        .section .note.GNU-stack, "", @progbits
