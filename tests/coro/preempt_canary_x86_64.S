/*
 * The canaries for x86-64. Each keeps its count of rounds at (%rsp), and its scratch above that, so
 * that no register is needed for either; CFA - rsp is the same in all of them.
 */
#define SCRATCH 64                      /* 2 KiB */
#define FRAME   (64 + 2048 + 8)
#define CARRY_PARITY_ADJUST_ZERO_SIGN_DIRECTION_OVERFLOW 0xcd5
#define TRAP    0x100
#define ALIGNMENT 0x40000
#define IDENTIFY 0x200000
#define FLAGS   (CARRY_PARITY_ADJUST_ZERO_SIGN_DIRECTION_OVERFLOW + ALIGNMENT + IDENTIFY)
#define ODD_MXCSR 0xffa1                /* towards zero, flush to zero, some exceptions seen */
#define ODD_X87   0x0a7f                /* up, double precision */

        .macro  canary name
        .p2align 4
        .globl  canary_\name
        .type   canary_\name, @function
canary_\name:
        .cfi_startproc
        endbr64
        .irp    register, %rbp, %rbx, %r12, %r13, %r14, %r15
        pushq   \register
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset \register, 0
        .endr
        subq    $FRAME, %rsp
        .cfi_adjust_cfa_offset FRAME
        movq    %rdi, (%rsp)
        .endm

        /* Falls through with all well; 9: is where a check goes that fails. */
        .macro  canary_ends name
        xorl    %eax, %eax
        jmp     8f
9:      movl    $1, %eax
8:      addq    $FRAME, %rsp
        .cfi_adjust_cfa_offset -(FRAME)
        .irp    register, %r15, %r14, %r13, %r12, %rbx, %rbp
        popq    \register
        .cfi_adjust_cfa_offset -8
        .cfi_restore \register
        .endr
        ret
        .cfi_endproc
        .size   canary_\name, . - canary_\name
        .endm

        /* Compares scratch with the table; the registers of rep cmpsb are live as well. */
        .macro  compare bytes
        leaq    SCRATCH(%rsp), %rsi
        leaq    table(%rip), %rdi
        movl    $\bytes, %ecx
        repe cmpsb
        jne     9f
        .endm


        .section .rodata
        .p2align 6
table:
        .set    value, 0x9e3779b97f4a7c15
        .rept   256
        .quad   value
        .set    value, value * 0x5851f42d4c957f2d + 0x14057b7ef767814f
        .endr
odd_mxcsr: .long ODD_MXCSR
odd_x87:   .short ODD_X87

        .text
        .p2align 4
        .globl  canary_begin, canary_end
canary_begin:

        canary  general
        movq    table+0(%rip), %rax
        movq    table+8(%rip), %rbx
        movq    table+16(%rip), %rcx
        movq    table+24(%rip), %rdx
        movq    table+32(%rip), %rsi
        movq    table+40(%rip), %rdi
        movq    table+48(%rip), %rbp
        movq    table+56(%rip), %r8
        movq    table+64(%rip), %r9
        movq    table+72(%rip), %r10
        movq    table+80(%rip), %r11
        movq    table+88(%rip), %r12
        movq    table+96(%rip), %r13
        movq    table+104(%rip), %r14
        movq    table+112(%rip), %r15
        movq    %rsp, SCRATCH(%rsp)
1:      .set    i, 0
        .irp    register, %rax, %rbx, %rcx, %rdx, %rsi, %rdi, %rbp, %r8, %r9, %r10, %r11, %r12, %r13, %r14, %r15
        cmpq    table+i(%rip), \register
        jne     9f
        .set    i, i + 8
        .endr
        cmpq    %rsp, SCRATCH(%rsp)
        jne     9f
        decq    (%rsp)
        jnz     1b
        canary_ends general

        /* Nothing between popfq and pushfq changes a flag, or depends on one. */
        canary  flags
        pushfq
        .cfi_adjust_cfa_offset 8
        popq    SCRATCH(%rsp)
        .cfi_adjust_cfa_offset -8
        movq    SCRATCH(%rsp), %rbx
        andl    $TRAP, %ebx             /* as it was: someone may be stepping */
        orq     $FLAGS, %rbx
1:      pushq   %rbx
        .cfi_adjust_cfa_offset 8
        popfq
        .cfi_adjust_cfa_offset -8
        movl    $20, %ecx
2:      leaq    -1(%rcx), %rcx
        jrcxz   3f
        jmp     2b
3:      pushfq
        .cfi_adjust_cfa_offset 8
        popq    %rax
        .cfi_adjust_cfa_offset -8
        cld
        andq    $(FLAGS + TRAP), %rax
        cmpq    %rbx, %rax
        jne     9f
        xorq    $FLAGS, %rbx            /* all set, none set */
        decq    (%rsp)
        jnz     1b
        pushq   SCRATCH(%rsp)
        .cfi_adjust_cfa_offset 8
        popfq
        .cfi_adjust_cfa_offset -8
        xorl    %eax, %eax
        jmp     8f
9:      pushq   SCRATCH(%rsp)
        .cfi_adjust_cfa_offset 8
        popfq
        .cfi_adjust_cfa_offset -8
        jmp     9f
        canary_ends flags

        .macro  vectors from, to, size, move, kind
        .altmacro
        .set    i, \from
        .rept   \to - \from
        vector_load \move, \kind, %i, %(i * \size)
        .set    i, i + 1
        .endr
        .noaltmacro
        .endm
        .macro  vectors_store from, to, size, move, kind
        .altmacro
        .set    i, \from
        .rept   \to - \from
        vector_store \move, \kind, %i, %(SCRATCH + i * \size)
        .set    i, i + 1
        .endr
        .noaltmacro
        .endm
        .macro  vector_load move, kind, number, place
        \move   table+\place(%rip), %\kind\number
        .endm
        .macro  vector_store move, kind, number, place
        \move   %\kind\number, \place(%rsp)
        .endm

        canary  sse
        vectors 0, 16, 16, movdqu, xmm
1:      vectors_store 0, 16, 16, movdqu, xmm
        compare 256
        decq    (%rsp)
        jnz     1b
        canary_ends sse

        canary  avx
        vectors 0, 16, 32, vmovdqu, ymm
1:      vectors_store 0, 16, 32, vmovdqu, ymm
        compare 512
        decq    (%rsp)
        jnz     1b
        vzeroupper
        canary_ends avx

        canary  avx512
        vectors 0, 32, 64, vmovdqu64, zmm
        vectors 0, 8, 8, kmovq, k
1:      vectors_store 0, 32, 64, vmovdqu64, zmm
        compare 2048
        vectors_store 0, 8, 8, kmovq, k
        compare 64
        decq    (%rsp)
        jnz     1b
        vzeroupper
        canary_ends avx512

        canary  mmx
        vectors 0, 8, 8, movq, mm
1:      vectors_store 0, 8, 8, movq, mm
        compare 64
        decq    (%rsp)
        jnz     1b
        emms
        canary_ends mmx

        /* Eight whole numbers, all the stack has; by the end each must be what it was. */
        canary  x87
        fnstcw  8(%rsp)
        fldcw   odd_x87(%rip)
        .irp    place, 0, 8, 16, 24, 32, 40, 48, 56
        fildq   table+\place(%rip)
        .endr
        leaq    SCRATCH+15(%rsp), %rbx
        andq    $-16, %rbx
        fxsave64 (%rbx)
1:      fxsave64 512(%rbx)
        cmpw    $ODD_X87, 512(%rbx)
        jne     9f
        testw   $0x3800, 514(%rbx)      /* the top of the stack */
        jne     9f
        cmpb    $0xff, 516(%rbx)        /* none is empty */
        jne     9f
        leaq    32(%rbx), %rsi
        leaq    512+32(%rbx), %rdi
        movl    $128, %ecx
        repe cmpsb
        jne     9f
        decq    (%rsp)
        jnz     1b
        .irp    place, 56, 48, 40, 32, 24, 16, 8, 0
        fistpq  16(%rsp)
        movq    16(%rsp), %rax
        cmpq    table+\place(%rip), %rax
        jne     9f
        .endr
        fldcw   8(%rsp)
        xorl    %eax, %eax
        jmp     8f
9:      fninit
        jmp     9f
        canary_ends x87

        canary  control_words
        stmxcsr 8(%rsp)
        fnstcw  12(%rsp)
        ldmxcsr odd_mxcsr(%rip)
        fldcw   odd_x87(%rip)
1:      stmxcsr 16(%rsp)
        fnstcw  20(%rsp)
        cmpl    $ODD_MXCSR, 16(%rsp)
        jne     9f
        cmpw    $ODD_X87, 20(%rsp)
        jne     9f
        decq    (%rsp)
        jnz     1b
        ldmxcsr 8(%rsp)
        fldcw   12(%rsp)
        xorl    %eax, %eax
        jmp     8f
9:      ldmxcsr 8(%rsp)
        fldcw   12(%rsp)
        jmp     9f
        canary_ends control_words

        canary  red_zone
        .set    i, 0
        .rept   16
        movq    table+i(%rip), %rax
        movq    %rax, i-128(%rsp)
        .set    i, i + 8
        .endr
1:      leaq    -128(%rsp), %rsi
        leaq    table(%rip), %rdi
        movl    $128, %ecx
        repe cmpsb
        jne     9f
        decq    (%rsp)
        jnz     1b
        canary_ends red_zone

        /* A pc at a function's first instruction and its last, with no frame yet, and with none
         * any more; a leaf that keeps its only value in the red zone. */
        .p2align 4
        .type   inner, @function
inner:
        .cfi_startproc
        movq    %rdi, -8(%rsp)
        leaq    3(%rdi), %rdi
        movq    -8(%rsp), %rax
        ret
        .cfi_endproc
        .size   inner, . - inner
        .type   outer, @function
outer:
        .cfi_startproc
        pushq   %rbp
        .cfi_adjust_cfa_offset 8
        .cfi_rel_offset %rbp, 0
        movq    %rsp, %rbp
        .cfi_def_cfa_register %rbp
        subq    $24, %rsp
        movq    %rdi, -8(%rbp)
        call    inner
        addq    -8(%rbp), %rax
        leave
        .cfi_def_cfa %rsp, 8
        .cfi_restore %rbp
        ret
        .cfi_endproc
        .size   outer, . - outer

        canary  calls
1:      movq    (%rsp), %rdi
        call    outer
        movq    (%rsp), %rdi
        addq    %rdi, %rdi
        cmpq    %rdi, %rax
        jne     9f
        decq    (%rsp)
        jnz     1b
        canary_ends calls

canary_end:

        /* eax: a bit for each thing found wrong. edi: 1 AVX, 2 AVX-512; esi, dx: the control words
         * expected. Leaves 8 values on the x87 stack and exceptions seen in mxcsr. */
        .p2align 4
        .globl  canary_trash_registers
        .type   canary_trash_registers, @function
canary_trash_registers:
        .cfi_startproc
        endbr64
        pushfq
        .cfi_adjust_cfa_offset 8
        popq    %rcx
        .cfi_adjust_cfa_offset -8
        cld
        xorl    %eax, %eax
        testl   $0x40400, %ecx
        jz      1f
        orl     $1, %eax
1:      fnstenv -40(%rsp)
        fldenv  -40(%rsp)
        cmpw    $0xffff, -32(%rsp)
        je      1f
        orl     $2, %eax
1:      cmpw    %dx, -40(%rsp)
        je      1f
        orl     $4, %eax
1:      stmxcsr -8(%rsp)
        cmpl    %esi, -8(%rsp)
        je      1f
        orl     $8, %eax
1:      leaq    8(%rsp), %rdx
        testb   $15, %dl
        jz      1f
        orl     $16, %eax
1:      orl     $0x3f, -8(%rsp)
        ldmxcsr -8(%rsp)
        .rept   8
        ffree   %st(0)
        fincstp
        .endr
        .rept   8
        fldpi
        .endr
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        pcmpeqb %xmm\n, %xmm\n
        .endr
        testl   $1, %edi
        jz      1f
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vinsertf128 $1, %xmm\n, %ymm\n, %ymm\n
        .endr
1:      testl   $2, %edi
        jz      1f
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        vpternlogd $255, %zmm\n, %zmm\n, %zmm\n
        .endr
        .irp    n, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31
        vpternlogd $255, %zmm\n, %zmm\n, %zmm\n
        .endr
        .irp    n, 0, 1, 2, 3, 4, 5, 6, 7
        kxnorq  %k\n, %k\n, %k\n
        .endr
1:      movq    $-1, %rcx
        .irp    register, %rdx, %rsi, %rdi, %r8, %r9, %r10, %r11
        movq    %rcx, \register
        .endr
        .set    i, 16                   /* its own red zone */
        .rept   16
        movq    %rcx, -i(%rsp)
        .set    i, i + 8
        .endr
        addq    %rcx, %rcx
        ret
        .cfi_endproc
        .size   canary_trash_registers, . - canary_trash_registers

        .section .note.GNU-stack, "", @progbits
