/*
 * Preemption on aarch64. No instruction here loads pc and leaves every register as it was, so the
 * way back is the kernel's: rt_sigreturn. The signal's frame is copied onto the interrupted stack,
 * and fn is entered as if it were a second handler, one that returns to gyre_preempt_return with sp
 * at the copy. The copy holds whatever state the kernel saves, today's and tomorrow's.
 *
 * The price is a system call per resume; and the signal mask is restored as well, to what it was
 * at the interruption.
 *
 * Refused: what must be live for fn, and then would be for all who run before it returns, or is not
 * the kernel's to restore twice: streaming mode and ZA (SME), guarded control stacks. And records
 * of kinds that we don't know.
 */
#include "coro/preempt.h"
#include "coro/fpu.h"

#include <signal.h>
#include <string.h>
#include <sys/auxv.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum {
    ALIGNMENT = 16,
    DEFAULT_FRAME = 16 << 10, /* holds SVE's longest vectors, where the kernel does not say */
    PSTATE_BTYPE = 3 << 10,   /* the instruction before was an indirect branch */
    PSTATE_TCO = 1 << 25,     /* no tag checks */
    NOT_A_FLAG = 1 << 20,     /* of a signal stack */
    SVE_STREAMING = 1,
};

/* The kinds of records in a signal's frame: asm/sigcontext.h, which may be older than the kernel.
 */
enum {
    RECORD_FPSIMD = 0x46508001,
    RECORD_ESR = 0x45535201,
    RECORD_POE = 0x504f4530,
    RECORD_EXTRA = 0x45585401,
    RECORD_SVE = 0x53564501,
    RECORD_ZA = 0x54366345,
    RECORD_TPIDR2 = 0x54504902,
    RECORD_FPMR = 0x46504d52,
};

struct record {
    uint32_t magic, size;
};

struct fpsimd_record {
    struct record head;
    uint32_t fpsr, fpcr;
};

struct sve_record {
    struct record head;
    uint16_t vector_length, flags;
    uint16_t unused[2];
};

struct za_record {
    struct record head;
    uint16_t vector_length, unused[3];
    /* Registers follow only when they are live. */
};

struct extra_record {
    struct record head;
    uint64_t data;
    uint32_t size, unused[3];
};

/* As the kernel lays it out; gyre_preempt_return and rt_sigreturn expect it at sp. */
struct signal_frame {
    siginfo_t info;
    ucontext_t context;
    /* The extra record's data may go on here. */
};

_Static_assert(sizeof(siginfo_t) == 128, "as in the kernel");
_Static_assert(offsetof(ucontext_t, uc_mcontext) == 176, "as in the kernel");

void gyre_preempt_return(void);

static struct fpu_control control; /* that fn finds */
static size_t frame_limit = DEFAULT_FRAME;

int gyre_preempt_prepare(void)
{
    size_t announced = getauxval(AT_MINSIGSTKSZ);

    fpu_control_save(&control);
    if (announced)
        frame_limit =
            announced > sizeof(struct signal_frame) ? announced : sizeof(struct signal_frame);
    return 0;
}

size_t gyre_preempt_room(void)
{
    return frame_limit + 3 * ALIGNMENT;
}

/* Where in context's frame the records are. */
struct layout {
    struct fpsimd_record *fpsimd;
    struct extra_record *extra;
    size_t size; /* of the whole frame */
};

/* Whether a record's content may be copied and restored later. */
static bool is_plain(const struct record *r)
{
    switch (r->magic) {
    case RECORD_FPSIMD:
    case RECORD_ESR:
    case RECORD_POE:
    case RECORD_EXTRA:
    case RECORD_TPIDR2:
    case RECORD_FPMR:
        return true;
    case RECORD_SVE:
        return !(((const struct sve_record *)r)->flags & SVE_STREAMING);
    case RECORD_ZA:
        return r->size <= sizeof(struct za_record);
    default:
        return false;
    }
}

static bool walk_records(char *at, const char *end, struct layout *layout)
{
    while ((size_t)(end - at) >= sizeof(struct record)) {
        struct record *r = (struct record *)at;

        if (r->magic == 0)
            return true;
        if (r->size < sizeof *r || r->size > (size_t)(end - at) || !is_plain(r))
            return false;
        if (r->magic == RECORD_FPSIMD)
            layout->fpsimd = (struct fpsimd_record *)r;
        if (r->magic == RECORD_EXTRA)
            layout->extra = (struct extra_record *)r;
        at += r->size;
    }
    return true;
}

static bool look(ucontext_t *context, struct layout *layout)
{
    struct signal_frame *frame =
        (struct signal_frame *)((char *)context - offsetof(struct signal_frame, context));
    mcontext_t *machine = &context->uc_mcontext;
    char *records = (char *)machine->__reserved;

    *layout = (struct layout){.size = sizeof *frame};
    if (!walk_records(records, records + sizeof machine->__reserved, layout) || !layout->fpsimd)
        return false;
    if (layout->extra) {
        struct layout rest = {NULL};
        char *data = (char *)layout->extra->data; /* just behind the others */
        char *end = data + layout->extra->size;

        if (data < records || !walk_records(data, end, &rest))
            return false;
        if (end > (char *)(frame + 1))
            layout->size = (size_t)(end - (char *)frame);
    }
    return true;
}

bool gyre_preempt_can_save(const ucontext_t *context)
{
    struct layout layout;

    return look((ucontext_t *)context, &layout) && layout.size <= frame_limit;
}

void gyre_preempt_inject(ucontext_t *context, void (*fn)(void))
{
    mcontext_t *machine = &context->uc_mcontext;
    struct signal_frame *frame, *copy;
    struct layout layout;
    uintptr_t *link; /* of the chain of frame pointers */

    look(context, &layout);
    frame = (struct signal_frame *)((char *)context - offsetof(struct signal_frame, context));
    link = (uintptr_t *)(machine->sp & ~(uintptr_t)(ALIGNMENT - 1)) - 2;
    copy = (struct signal_frame *)(((uintptr_t)link - layout.size) & ~(uintptr_t)(ALIGNMENT - 1));

    memcpy(copy, frame, layout.size);
    if (layout.extra) {
        size_t place = (size_t)((char *)layout.extra - (char *)frame);
        struct extra_record *extra = (struct extra_record *)((char *)copy + place);

        extra->data += (uintptr_t)copy - (uintptr_t)frame;
    }
    /* rt_sigreturn sets the thread's signal stack too, and ignores that it can't. It may be
     * another one by then. */
    copy->context.uc_stack.ss_flags = NOT_A_FLAG;

    link[0] = machine->regs[29];
    link[1] = machine->pc;
    machine->regs[29] = (uintptr_t)link;
    machine->regs[30] = (uintptr_t)gyre_preempt_return;
    machine->sp = (uintptr_t)copy;
    machine->pc = (uintptr_t)fn;
    machine->pstate &= ~(uint64_t)(PSTATE_BTYPE | PSTATE_TCO);
    layout.fpsimd->fpcr = (uint32_t)control.fpcr;
    layout.fpsimd->fpsr = 0;
}
