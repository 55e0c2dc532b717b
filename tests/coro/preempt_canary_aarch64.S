/*
 * The canaries for aarch64. Each keeps its count of rounds at [sp], and its scratch above that. What
 * needs a register to be looked at is first left alone for a while, then stored, then compared.
 */
#define SCRATCH 16
#define FRAME   (16 + 512 + 96)
#define ODD_FPCR 0x1c00000              /* towards zero, flush to zero */
#define ODD_FPSR 0x0800001f

        .macro  canary name
        .p2align 4
        .globl  canary_\name
        .type   canary_\name, %function
canary_\name:
        .cfi_startproc
        hint    #34                     /* bti c */
        stp     x29, x30, [sp, #-176]!
        .cfi_def_cfa_offset 176
        .cfi_offset 29, -176
        .cfi_offset 30, -168
        saved_pair stp, x19, x20, 16
        saved_pair stp, x21, x22, 32
        saved_pair stp, x23, x24, 48
        saved_pair stp, x25, x26, 64
        saved_pair stp, x27, x28, 80
        saved_pair stp, d8, d9, 96
        saved_pair stp, d10, d11, 112
        saved_pair stp, d12, d13, 128
        saved_pair stp, d14, d15, 144
        sub     sp, sp, #FRAME
        .cfi_adjust_cfa_offset FRAME
        str     x0, [sp]
        .endm

        .macro  saved_pair operation, first, second, place
        \operation \first, \second, [sp, #\place]
        .ifc    \operation, stp
        .cfi_rel_offset \first, \place
        .cfi_rel_offset \second, \place + 8
        .endif
        .endm

        /* Falls through with all well; 9: is where a check goes that fails. */
        .macro  canary_ends name
        mov     x0, #0
        b       8f
9:      mov     x0, #1
8:      add     sp, sp, #FRAME
        .cfi_adjust_cfa_offset -(FRAME)
        saved_pair ldp, x19, x20, 16
        saved_pair ldp, x21, x22, 32
        saved_pair ldp, x23, x24, 48
        saved_pair ldp, x25, x26, 64
        saved_pair ldp, x27, x28, 80
        saved_pair ldp, d8, d9, 96
        saved_pair ldp, d10, d11, 112
        saved_pair ldp, d12, d13, 128
        saved_pair ldp, d14, d15, 144
        ldp     x29, x30, [sp], #176
        .cfi_def_cfa_offset 0
        .cfi_restore 29
        .cfi_restore 30
        ret
        .cfi_endproc
        .size   canary_\name, . - canary_\name
        .endm

        .macro  table_in register
        adrp    \register, table
        add     \register, \register, :lo12:table
        .endm

        /* Compares scratch with the table. */
        .macro  compare bytes
        mov     x3, #\bytes / 8
        compare_words
        .endm

        .macro  compare_words           /* x3 of them */
        table_in x1
        add     x2, sp, #SCRATCH
2:      ldr     x4, [x1], #8
        ldr     x5, [x2], #8
        cmp     x4, x5
        b.ne    9f
        sub     x3, x3, #1
        cbnz    x3, 2b
        .endm

        .macro  again
        ldr     x0, [sp]
        sub     x0, x0, #1
        str     x0, [sp]
        cbnz    x0, 1b
        .endm

        .macro  a_while
        .rept   200
        nop
        .endr
        .endm

        .section .rodata
        .p2align 6
table:
        .set    value, 0x9e3779b97f4a7c15
        .rept   1024 + 64
        .quad   value
        .set    value, value * 0x5851f42d4c957f2d + 0x14057b7ef767814f
        .endr

        .text
        .p2align 4
        .globl  canary_begin, canary_end
canary_begin:

        canary  general
1:      table_in x0
        ldp     x1, x2, [x0, #8]
        ldp     x3, x4, [x0, #24]
        ldp     x5, x6, [x0, #40]
        ldp     x7, x8, [x0, #56]
        ldp     x9, x10, [x0, #72]
        ldp     x11, x12, [x0, #88]
        ldp     x13, x14, [x0, #104]
        ldp     x15, x16, [x0, #120]
        ldp     x17, x18, [x0, #136]
        ldp     x19, x20, [x0, #152]
        ldp     x21, x22, [x0, #168]
        ldp     x23, x24, [x0, #184]
        ldp     x25, x26, [x0, #200]
        ldp     x27, x28, [x0, #216]
        ldp     x29, x30, [x0, #232]
        ldr     x0, [x0]
        a_while
        stp     x0, x1, [sp, #SCRATCH]
        stp     x2, x3, [sp, #SCRATCH + 16]
        stp     x4, x5, [sp, #SCRATCH + 32]
        stp     x6, x7, [sp, #SCRATCH + 48]
        stp     x8, x9, [sp, #SCRATCH + 64]
        stp     x10, x11, [sp, #SCRATCH + 80]
        stp     x12, x13, [sp, #SCRATCH + 96]
        stp     x14, x15, [sp, #SCRATCH + 112]
        stp     x16, x17, [sp, #SCRATCH + 128]
        stp     x18, x19, [sp, #SCRATCH + 144]
        stp     x20, x21, [sp, #SCRATCH + 160]
        stp     x22, x23, [sp, #SCRATCH + 176]
        stp     x24, x25, [sp, #SCRATCH + 192]
        stp     x26, x27, [sp, #SCRATCH + 208]
        stp     x28, x29, [sp, #SCRATCH + 224]
        str     x30, [sp, #SCRATCH + 240]
        compare 248
        again
        canary_ends general

        canary  flags
        mov     x1, #0x50000000
1:      msr     nzcv, x1
        mov     x2, #100
2:      sub     x2, x2, #1
        cbnz    x2, 2b
        mrs     x3, nzcv
        eor     x4, x3, x1
        cbnz    x4, 9f
        eor     x1, x1, #0xf0000000
        again
        canary_ends flags

        .macro  vectors operation, base, place
        \operation q0, q1, [\base, #\place]
        \operation q2, q3, [\base, #\place + 32]
        \operation q4, q5, [\base, #\place + 64]
        \operation q6, q7, [\base, #\place + 96]
        \operation q8, q9, [\base, #\place + 128]
        \operation q10, q11, [\base, #\place + 160]
        \operation q12, q13, [\base, #\place + 192]
        \operation q14, q15, [\base, #\place + 224]
        \operation q16, q17, [\base, #\place + 256]
        \operation q18, q19, [\base, #\place + 288]
        \operation q20, q21, [\base, #\place + 320]
        \operation q22, q23, [\base, #\place + 352]
        \operation q24, q25, [\base, #\place + 384]
        \operation q26, q27, [\base, #\place + 416]
        \operation q28, q29, [\base, #\place + 448]
        \operation q30, q31, [\base, #\place + 480]
        .endm

        canary  vector
        mrs     x19, fpcr
        mrs     x20, fpsr
        ldr     w21, =ODD_FPCR
        ldr     w22, =ODD_FPSR
        msr     fpcr, x21
        msr     fpsr, x22
1:      table_in x0
        vectors ldp, x0, 0
        a_while
        vectors stp, sp, SCRATCH
        mrs     x0, fpcr
        cmp     x0, x21
        b.ne    9f
        mrs     x0, fpsr
        cmp     x0, x22
        b.ne    9f
        compare 512
        again
        msr     fpcr, x19
        msr     fpsr, x20
        mov     x0, #0
        b       8f
9:      msr     fpcr, x19
        b       9f
        canary_ends vector

        /* Scratch is larger by 8 KiB here, so the count is in x22 (and in no vector). */
        .macro  scalable operation, base
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        \operation z\n, [\base, #\n, mul vl]
        .endr
        .endm
        .macro  predicates operation, base
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        \operation p\n, [\base, #\n, mul vl]
        .endr
        .endm

        .arch_extension sve
        canary  sve
        mov     x22, x0
        sub     sp, sp, #8192
        .cfi_adjust_cfa_offset 8192
        add     x19, sp, #SCRATCH
        table_in x20
        cntb    x21
1:      scalable ldr, x20
        predicates ldr, x20
        a_while
        scalable str, x19
        lsl     x3, x21, #2             /* 32 vectors, in words */
        compare_words
        predicates str, x19
        lsr     x3, x21, #2             /* 16 predicates, an eighth of a vector each */
        compare_words
        sub     x22, x22, #1
        cbnz    x22, 1b
        add     sp, sp, #8192
        .cfi_adjust_cfa_offset -8192
        mov     x0, #0
        b       8f
        .cfi_adjust_cfa_offset 8192
9:      add     sp, sp, #8192
        .cfi_adjust_cfa_offset -8192
        b       9f
        canary_ends sve
        .arch_extension nosve

        /* The lowest bytes of the frame, at sp itself; and sp. */
        canary  stack
1:      sub     sp, sp, #256
        .cfi_adjust_cfa_offset 256
        mov     x19, sp
        table_in x0
        .irp    place, 0, 16, 32, 48, 64, 80, 96, 112
        ldp     x1, x2, [x0, #\place]
        stp     x1, x2, [sp, #\place]
        .endr
        a_while
        mov     x1, sp
        cmp     x1, x19
        .irp    place, 0, 16, 32, 48, 64, 80, 96, 112
        ldp     x1, x2, [x0, #\place]
        ldp     x3, x4, [sp, #\place]
        ccmp    x1, x3, #0, eq
        ccmp    x2, x4, #0, eq
        .endr
        add     sp, sp, #256
        .cfi_adjust_cfa_offset -256
        b.ne    9f
        again
        canary_ends stack

        /* A pc at a function's first instruction and its last, with no frame yet, and with none any
         * more; a leaf whose caller is in x30 alone. */
        .p2align 4
        .type   inner, %function
inner:
        .cfi_startproc
        add     x1, x0, #3
        nop
        sub     x0, x1, #3
        ret
        .cfi_endproc
        .size   inner, . - inner
        .type   outer, %function
outer:
        .cfi_startproc
        stp     x29, x30, [sp, #-32]!
        .cfi_def_cfa_offset 32
        .cfi_offset 29, -32
        .cfi_offset 30, -24
        mov     x29, sp
        str     x0, [sp, #16]
        bl      inner
        ldr     x1, [sp, #16]
        add     x0, x0, x1
        ldp     x29, x30, [sp], #32
        .cfi_def_cfa_offset 0
        .cfi_restore 29
        .cfi_restore 30
        ret
        .cfi_endproc
        .size   outer, . - outer

        canary  calls
1:      .rept   20
        ldr     x0, [sp]
        bl      outer
        ldr     x1, [sp]
        cmp     x0, x1, lsl #1
        b.ne    9f
        .endr
        again
        canary_ends calls

        .ltorg
canary_end:

        /* x0: a bit for each thing found wrong. x0, at first: the fpcr expected; x1: 1 SVE. */
        .p2align 4
        .globl  canary_trash_registers
        .type   canary_trash_registers, %function
canary_trash_registers:
        .cfi_startproc
        hint    #34
        mov     x2, x1
        mrs     x1, fpcr
        cmp     x1, x0
        cset    x0, ne
        mrs     x1, fpsr
        cbz     x1, 1f
        orr     x0, x0, #2
1:      mov     x1, sp
        tst     x1, #15
        b.eq    1f
        orr     x0, x0, #4
1:      stp     d8, d9, [sp, #-64]!
        .cfi_def_cfa_offset 64
        stp     d10, d11, [sp, #16]
        stp     d12, d13, [sp, #32]
        stp     d14, d15, [sp, #48]
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        movi    v\n\().16b, #255
        .endr
        cbz     x2, 1f
        .arch_extension sve
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        mov     z\n\().b, #-1
        .endr
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        ptrue   p\n\().b
        .endr
        .arch_extension nosve
1:      ldp     d10, d11, [sp, #16]
        ldp     d12, d13, [sp, #32]
        ldp     d14, d15, [sp, #48]
        ldp     d8, d9, [sp], #64
        .cfi_def_cfa_offset 0
        mov     x1, #0x1f
        msr     fpsr, x1
        .irp    n, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18
        mov     x\n, #-1
        .endr
        cmn     x1, x2
        ret
        .cfi_endproc
        .size   canary_trash_registers, . - canary_trash_registers

        .section .note.GNU-stack, "", %progbits
