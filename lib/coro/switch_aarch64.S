/*
 * The switch for aarch64 (AAPCS64). Saved are x19-x30 and d8-d15.
 *
 * The return address is ordinary code without a landing pad, so where the build asks for BTI the
 * only way there is ret; elsewhere br spares the return stack a wrong prediction (as on x86-64).
 *
 * The CFI holds on both sides of the change of sp, as both stacks have the same layout there.
 */
        .text
        .p2align 5
        .globl  gyre_switch_registers
        .hidden gyre_switch_registers
        .type   gyre_switch_registers, %function
gyre_switch_registers:                  /* x0: from, x1: to */
        .cfi_startproc
        hint    #34                     /* bti c */
        stp     x19, x20, [sp, #-160]!
        .cfi_adjust_cfa_offset 160
        stp     x21, x22, [sp, #16]
        stp     x23, x24, [sp, #32]
        stp     x25, x26, [sp, #48]
        stp     x27, x28, [sp, #64]
        stp     x29, x30, [sp, #80]
        stp     d8, d9, [sp, #96]
        stp     d10, d11, [sp, #112]
        stp     d12, d13, [sp, #128]
        stp     d14, d15, [sp, #144]
        .cfi_rel_offset x19, 0
        .cfi_rel_offset x20, 8
        .cfi_rel_offset x21, 16
        .cfi_rel_offset x22, 24
        .cfi_rel_offset x23, 32
        .cfi_rel_offset x24, 40
        .cfi_rel_offset x25, 48
        .cfi_rel_offset x26, 56
        .cfi_rel_offset x27, 64
        .cfi_rel_offset x28, 72
        .cfi_rel_offset x29, 80
        .cfi_rel_offset x30, 88
        .cfi_rel_offset d8, 96
        .cfi_rel_offset d9, 104
        .cfi_rel_offset d10, 112
        .cfi_rel_offset d11, 120
        .cfi_rel_offset d12, 128
        .cfi_rel_offset d13, 136
        .cfi_rel_offset d14, 144
        .cfi_rel_offset d15, 152
        mov     x9, sp
        ldr     x10, [x1]
        str     x9, [x0]
        mov     sp, x10
        ldp     x21, x22, [sp, #16]
        ldp     x23, x24, [sp, #32]
        ldp     x25, x26, [sp, #48]
        ldp     x27, x28, [sp, #64]
        ldp     x29, x30, [sp, #80]
        ldp     d8, d9, [sp, #96]
        ldp     d10, d11, [sp, #112]
        ldp     d12, d13, [sp, #128]
        ldp     d14, d15, [sp, #144]
        ldp     x19, x20, [sp], #160
        .cfi_adjust_cfa_offset -160
        .cfi_restore x19
        .cfi_restore x20
        .cfi_restore x21
        .cfi_restore x22
        .cfi_restore x23
        .cfi_restore x24
        .cfi_restore x25
        .cfi_restore x26
        .cfi_restore x27
        .cfi_restore x28
        .cfi_restore x29
        .cfi_restore x30
        .cfi_restore d8
        .cfi_restore d9
        .cfi_restore d10
        .cfi_restore d11
        .cfi_restore d12
        .cfi_restore d13
        .cfi_restore d14
        .cfi_restore d15
#ifdef __ARM_FEATURE_BTI_DEFAULT
        ret
#else
        br      x30
#endif
        .cfi_endproc
        .size   gyre_switch_registers, . - gyre_switch_registers

/*
 * The outermost frame of every coroutine. It is entered as a return address, and unwinders look
 * up the instruction before a return address: hence the nop.
 */
        .p2align 4
        .type   start_frame, %function
start_frame:
        .cfi_startproc
        .cfi_personality 0x1b, gyre_switch_personality
        .cfi_undefined x30
        .cfi_undefined x29
        nop
        .globl  gyre_switch_start
        .hidden gyre_switch_start
        .type   gyre_switch_start, %function
gyre_switch_start:
        hint    #36                     /* bti j */
        mov     x0, x20
        blr     x19
        brk     #1
        .cfi_endproc
        .size   gyre_switch_start, . - gyre_switch_start
        .size   start_frame, . - start_frame

#ifdef __ARM_FEATURE_BTI_DEFAULT
        .section .note.gnu.property, "a", %note
        .p2align 3
        .word   4, 16, 5                /* name size, description size, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .word   0xc0000000, 4, 1, 0     /* AARCH64_FEATURE_1_AND: BTI */
#endif

        .section .note.GNU-stack, "", %progbits
