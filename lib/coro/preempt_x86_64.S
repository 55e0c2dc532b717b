/*
 * The trampoline of preempt_x86_64.c: between two instructions of interrupted code, calls fn.
 *
 * All general registers are in the preempt_frame that rbp points into before the first instruction,
 * so the CFI is the same at every one of them, up to the pops. It is a signal's frame to
 * unwinders: the code interrupted made no call, and its pc is looked up as it is, not less one.
 *
 * rbp: &frame->rbp. rsp: the area, 64-byte aligned. rbx: fn. r12: struct preempt_state.
 */
#define COMPONENTS      0(%r12)
#define COMPONENTS_HIGH 4(%r12)
#define SAVE            8(%r12)
#define MXCSR           12(%r12)
#define X87             16(%r12)
#define AVX             4
#define SAVE_XSAVE      1

        .macro  restored register
        popq    \register
        .cfi_same_value \register
        .endm

        .text
        .p2align 4
        .globl  gyre_preempt_trampoline
        .hidden gyre_preempt_trampoline
        .type   gyre_preempt_trampoline, @function
        nop                             /* no unwinder takes the last byte before for a caller */
gyre_preempt_trampoline:
        .cfi_startproc
        .cfi_signal_frame
        .cfi_def_cfa %rbp, 144
        .cfi_offset %rip, -136
        .cfi_offset %rbp, -144
        .cfi_offset %r15, -160
        .cfi_offset %r14, -168
        .cfi_offset %r13, -176
        .cfi_offset %r12, -184
        .cfi_offset %r11, -192
        .cfi_offset %r10, -200
        .cfi_offset %r9, -208
        .cfi_offset %r8, -216
        .cfi_offset %rdi, -224
        .cfi_offset %rsi, -232
        .cfi_offset %rdx, -240
        .cfi_offset %rcx, -248
        .cfi_offset %rbx, -256
        .cfi_offset %rax, -264
        movl    COMPONENTS, %eax
        movl    COMPONENTS_HIGH, %edx
        cmpl    $SAVE_XSAVE, SAVE
        jb      1f
        je      2f
        xsavec64 (%rsp)
        jmp     3f
1:      fxsave64 (%rsp)
        jmp     3f
2:      xsave64 (%rsp)
3:      fninit
        fldcw   X87
        ldmxcsr MXCSR
        testb   $AVX, COMPONENTS
        jz      4f
        vzeroupper                      /* else SSE code is slow on some processors */
4:      call    *%rbx

        movl    COMPONENTS, %eax
        movl    COMPONENTS_HIGH, %edx
        cmpl    $SAVE_XSAVE, SAVE
        jb      5f
        xrstor64 (%rsp)
        jmp     6f
5:      fxrstor64 (%rsp)
6:      leaq    -120(%rbp), %rsp
        restored %rax
        restored %rbx
        restored %rcx
        restored %rdx
        restored %rsi
        restored %rdi
        restored %r8
        restored %r9
        restored %r10
        restored %r11
        restored %r12
        restored %r13
        restored %r14
        restored %r15
        popfq
        popq    %rbp
        .cfi_def_cfa %rsp, 136
        .cfi_same_value %rbp
        ret     $128
        .cfi_endproc
        .globl  gyre_preempt_trampoline_end
        .hidden gyre_preempt_trampoline_end
gyre_preempt_trampoline_end:
        .size   gyre_preempt_trampoline, . - gyre_preempt_trampoline

        .section .note.gnu.property, "a", @note
        .p2align 3
        .long   4, 16, 5                /* name size, description size, NT_GNU_PROPERTY_TYPE_0 */
        .asciz  "GNU"
        .long   0xc0000002, 4, 1, 0     /* X86_FEATURE_1_AND: IBT */

        .section .note.GNU-stack, "", @progbits
