/*
 * The outermost frame of every coroutine on aarch64. gyre_switch jumps to gyre_switch_start; for
 * a coroutine that never ran that is also the return address which unwinders look up by the
 * instruction before it: hence the nop. It is in gyre_entry (base/text.h), as what it calls.
 * All jumps land on pads, so the object is marked for BTI.
 */
        .section gyre_entry, "ax", %progbits
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
        hint    #38                     /* bti jc */
        ldp     x9, x0, [sp]
        /* The others' values would be stored, and taken for callers by who looks for such. */
        mov     x19, xzr
        mov     x20, xzr
        mov     x21, xzr
        mov     x22, xzr
        mov     x23, xzr
        mov     x24, xzr
        mov     x25, xzr
        mov     x26, xzr
        mov     x27, xzr
        mov     x28, xzr
        blr     x9
        brk     #1
        .cfi_endproc
        .size   gyre_switch_start, . - gyre_switch_start
        .size   start_frame, . - start_frame

        .section .note.gnu.property, "a", %note
        .p2align 3
        .word   4, 16, 5                /* name size, description size, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .word   0xc0000000, 4, 1, 0     /* AARCH64_FEATURE_1_AND: BTI */

        .section .note.GNU-stack, "", %progbits
