/*
 * Preemption on x86-64: the half that runs in the signal handler.
 *
 * It writes the interrupted registers below the red zone of the interrupted stack and points the
 * context at the trampoline, which saves the vector state, calls fn, and puts all back. No register
 * is free at the interrupted instruction, so the way back is `ret $128`: it loads rip and leaves
 * the red zone in one instruction. Rejected: rt_sigreturn for the way back (a system call, 200 ns),
 * iretq (no faster), a jump through memory (its slot would lie below the stack pointer, where the
 * next signal's frame goes).
 *
 * The vector state is not copied from the signal's frame: XSAVEC leaves out what is in its initial
 * state, and the frame's image is full size, with room for AMX tiles (8 KiB).
 *
 * The trampoline's way back does not match a call, so it needs a thread without a shadow stack;
 * gyre's objects are not marked for them, which turns them off.
 */
#include "coro/preempt.h"
#include "coro/fpu.h"
#include "coro/preempt_x86_64.h"

#include <cpuid.h>
#include <errno.h>
#include <signal.h>
#include <string.h>

enum {
    LEGACY_SIZE = 512, /* of the area: what FXSAVE writes */
    HEADER_SIZE = 64,
    AREA_ALIGNMENT = 64,
    MXCSR_CONTROL = 0xffc0, /* the rest is exceptions that were seen */
    FLAG_TF = 1 << 8,
    FLAG_DF = 1 << 10,
    FLAG_NT = 1 << 14,
    FLAG_AC = 1 << 18,
};

/* TILECFG and TILEDATA: 8 KiB for each coroutine is too much. */
#define AMX_COMPONENTS ((uint64_t)3 << 17)

struct preempt_state gyre_preempt_state;

static uint64_t enabled_components(void)
{
    uint32_t low, high;

    __asm__ __volatile__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* Of the standard form a component's place is fixed; in the compacted one they follow each other.
 */
static size_t area_size(uint64_t components, bool compacted)
{
    size_t size = LEGACY_SIZE + HEADER_SIZE;

    for (unsigned i = 2; i < 63; i++) {
        unsigned bytes, offset, flags, unused;

        if (!(components >> i & 1))
            continue;
        __cpuid_count(0xd, i, bytes, offset, flags, unused);
        if (!compacted)
            size = size > offset + bytes ? size : offset + bytes;
        else if (flags & 2)
            size = ((size + AREA_ALIGNMENT - 1) & ~(size_t)(AREA_ALIGNMENT - 1)) + bytes;
        else
            size += bytes;
    }
    return size;
}

int gyre_preempt_prepare(void)
{
    struct preempt_state *state = &gyre_preempt_state;
    struct fpu_control control;
    unsigned a, b, c, d;

    fpu_control_save(&control);
    state->mxcsr = control.mxcsr & MXCSR_CONTROL;
    state->x87 = control.x87;
    if (!__get_cpuid(1, &a, &b, &c, &d))
        return -ENOTSUP;
    if (!(c & bit_OSXSAVE)) {
        state->save = SAVE_FXSAVE;
        state->components = 3; /* x87, SSE */
        state->size = LEGACY_SIZE;
        return 0;
    }
    __cpuid_count(0xd, 1, a, b, c, d);
    state->save = a & bit_XSAVEC ? SAVE_XSAVEC : SAVE_XSAVE;
    state->components = enabled_components() & ~AMX_COMPONENTS;
    state->size = area_size(state->components, state->save == SAVE_XSAVEC);
    return 0;
}

size_t gyre_preempt_room(void)
{
    return RED_ZONE + sizeof(struct preempt_frame) + AREA_ALIGNMENT + gyre_preempt_state.size +
           sizeof(void *);
}

bool gyre_preempt_can_save(const ucontext_t *context)
{
    const char *area = (const char *)context->uc_mcontext.fpregs;
    struct _fpx_sw_bytes description;
    struct _xsave_hdr header;

    if (!area)
        return false;
    if (gyre_preempt_state.save == SAVE_FXSAVE)
        return true;
    memcpy(&description, area + LEGACY_SIZE - sizeof description, sizeof description);
    if (description.magic1 != FP_XSTATE_MAGIC1)
        return false;
    memcpy(&header, area + LEGACY_SIZE, sizeof header);
    return !(header.xstate_bv & ~gyre_preempt_state.components);
}

void gyre_preempt_inject(ucontext_t *context, void (*fn)(void))
{
    greg_t *r = context->uc_mcontext.gregs;
    struct preempt_frame *frame =
        (struct preempt_frame *)((uintptr_t)r[REG_RSP] - RED_ZONE - sizeof *frame);
    char *area =
        (char *)(((uintptr_t)frame - gyre_preempt_state.size) & ~(uintptr_t)(AREA_ALIGNMENT - 1));

    *frame = (struct preempt_frame){
        .rax = r[REG_RAX],
        .rbx = r[REG_RBX],
        .rcx = r[REG_RCX],
        .rdx = r[REG_RDX],
        .rsi = r[REG_RSI],
        .rdi = r[REG_RDI],
        .r8 = r[REG_R8],
        .r9 = r[REG_R9],
        .r10 = r[REG_R10],
        .r11 = r[REG_R11],
        .r12 = r[REG_R12],
        .r13 = r[REG_R13],
        .r14 = r[REG_R14],
        .r15 = r[REG_R15],
        .flags = r[REG_EFL],
        .rbp = r[REG_RBP],
        .rip = r[REG_RIP],
    };
    if (gyre_preempt_state.save != SAVE_FXSAVE) /* which XSAVE reads, or writes only in part */
        memset(area + LEGACY_SIZE, 0, HEADER_SIZE);
    r[REG_RBP] = (greg_t)&frame->rbp;
    r[REG_RSP] = (greg_t)area;
    r[REG_RBX] = (greg_t)fn;
    r[REG_R12] = (greg_t)&gyre_preempt_state;
    r[REG_RIP] = (greg_t)gyre_preempt_trampoline;
    r[REG_EFL] &= ~(greg_t)(FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC);
}
