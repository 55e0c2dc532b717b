/*
 * The gate: may this coroutine be interrupted at this instruction? docs/preemption.md tells for
 * each condition what goes wrong without it, and which test shows that.
 *
 * All but gyre_gate_call runs in a signal handler. What it reads of the coroutine and the worker
 * belongs to the interrupted thread, which stands still.
 *
 * Callers. A function of a library somewhere up the stack (qsort, pthread_once, the dynamic linker)
 * may hold locks, or be half-way through its data. Each word from the stack pointer to the
 * coroutine's entry is looked at: what looks like an address in such code refuses. That finds every
 * return address, whatever the frames' sizes and whether or not there is unwinding information; and
 * also stale ones in buffers that nobody filled. So after REFUSALS of the same coroutine an
 * unwinder walks the frames one by one, and its word counts if it arrives at the entry.
 */
#include "base/recover.h"
#include "coro/overflow.h"
#include "coro/preempt.h"
#include "sched/worker.h"

#include <dlfcn.h>
#include <pthread.h>
#include <string.h>
#include <unwind.h>

enum {
    SCAN_MAX = 256 << 10, /* bytes of stack, some 50 us; twice as many with each refusal */
    SCAN_DOUBLED = 12,
    REFUSALS = 3,
    FRAMES_MAX = 256,
    ENTRY_FRAME_MAX = 512, /* gyre_coro_entry's own */
    OWN_ROOM = 2048        /* what gyre_preempt_here and the switch take */
};

/* tests/preempt/proof.c builds this file with conditions left out, and shows what then happens. */
#ifdef GATE_PROOF
extern unsigned gate_without; /* bits: enum gyre_refusal, and these */
enum { WITHOUT_ROOM = 16, WITHOUT_WHOLE_SCAN, WITHOUT_CONFIRMATION };
#define ASKS(condition) (!(gate_without >> (condition)&1))
#else
#define ASKS(condition) true
#endif

/* --- the map, kept while it is read ------------------------------------------------------------
 */

static const struct text_map *begin_reading(_Atomic(struct text_map *) *mark)
{
    _Atomic(struct text_map *) *text = &gyre_runtime_instance->text;
    struct text_map *map = atomic_load_explicit(text, memory_order_relaxed), *again;

    for (;;) {
        /* Seq_cst, both: either who replaces it sees this mark, or the new one is seen here; pairs
         * with publish_map. */
        atomic_store_explicit(mark, map, memory_order_seq_cst);
        again = atomic_load_explicit(text, memory_order_seq_cst);
        if (again == map)
            return map;
        map = again;
    }
}

static void end_reading(_Atomic(struct text_map *) *mark)
{
    /* Release: the last look; pairs with is_read. */
    atomic_store_explicit(mark, NULL, memory_order_release);
}

#define FORBIDDEN (1u << TEXT_LIBRARY | 1u << TEXT_RUNTIME | 1u << TEXT_GUARDED)

/* --- callers -----------------------------------------------------------------------------------
 */

static bool on_own_stack(const struct gyre_coro *coro, uintptr_t sp)
{
    return sp >= (uintptr_t)coro->stack.low && sp < coro->entry;
}

/* The words of a stack are read whatever they are to the compiler. */
static uintptr_t word_at(uintptr_t address)
{
    uintptr_t word;

    memcpy(&word, (const void *)address, sizeof word);
    return word;
}

/* Whether a word from sp to the entry is an address in one of these kinds (bits). */
static bool finds(const struct text_map *map, const struct gyre_coro *coro, uintptr_t sp,
                  unsigned kinds)
{
    uintptr_t end = coro->entry;

    if (!ASKS(WITHOUT_WHOLE_SCAN) && end - sp > 4096)
        end = sp + 4096;
    for (uintptr_t at = sp & ~(sizeof(uintptr_t) - 1); at < end; at += sizeof(uintptr_t))
        /* A call that is a function's last instruction returns behind it. */
        if (kinds >> text_kind_at(map, word_at(at) - 1) & 1)
            return true;
    return false;
}

/* The same for what a signal interrupted: a leaf's caller may be known to a register only. */
static bool finds_interrupted(const struct text_map *map, const struct gyre_coro *coro,
                              const ucontext_t *context, unsigned kinds)
{
    return kinds >> text_kind_at(map, preempt_link(context) - 1) & 1 ||
           finds(map, coro, preempt_sp(context), kinds);
}

struct walk {
    const struct text_map *map;
    const struct gyre_coro *coro;
    uintptr_t pc;    /* where it was interrupted */
    uintptr_t frame; /* or the end of the runtime's own frames; 0 */
    unsigned frames;
    bool begun; /* the interrupted frame has been passed, or the runtime's own */
    bool arrived;
};

static _Unwind_Reason_Code walk_frame(struct _Unwind_Context *frame, void *argument)
{
    struct walk *walk = argument;
    int exact = 0;
    uintptr_t pc = _Unwind_GetIPInfo(frame, &exact), sp = _Unwind_GetCFA(frame);

    if (++walk->frames > FRAMES_MAX)
        return _URC_END_OF_STACK;
    if (!walk->begun) {
        walk->begun = walk->frame ? sp > walk->frame : exact && pc == walk->pc;
        if (!walk->begun || !walk->frame)
            return _URC_NO_REASON;
    }
    switch (text_kind_at(walk->map, exact ? pc : pc - 1)) {
    case TEXT_PROGRAM:
        return _URC_NO_REASON;
    case TEXT_ENTRY:
        walk->arrived = sp <= walk->coro->entry && sp + ENTRY_FRAME_MAX > walk->coro->entry;
        return walk->arrived ? _URC_END_OF_STACK : _URC_NO_REASON;
    default:
        return _URC_END_OF_STACK;
    }
}

/*
 * Unwinding tables are right where a function calls another. Inline assembly may make them wrong in
 * between, and then the unwinder reads whatever it comes to.
 */
void gyre_gate_walk(_Unwind_Trace_Fn step, void *argument)
{
    sigjmp_buf back;

    if (!gyre_overflow_installed())
        return;
    if (sigsetjmp(back, 1) == 0) {
        gyre_recovery = &back;
        _Unwind_Backtrace(step, argument);
    }
    gyre_recovery = NULL;
}

/* From the handler through the interrupted frame: the unwinder knows the signal frame between. */
static bool unwinds_to_entry(struct walk walk)
{
    gyre_gate_walk(walk_frame, &walk);
    return walk.arrived;
}

/* C++'s call_once leaves word for its other half in these, which are in the program's own code. */
static bool in_call_once(const struct worker *worker)
{
    for (int i = 0; i < ONCE_WORDS; i++)
        if (worker->preempt.once[i] && *worker->preempt.once[i])
            return true;
    return false;
}

/* How often in a row this coroutine has been refused for its callers. */
static unsigned refusals(struct worker *worker)
{
    struct preemption *preempt = &worker->preempt;
    uint64_t progress = atomic_load_explicit(&worker->progress, memory_order_relaxed);

    if (preempt->refused_progress != progress)
        preempt->refusals = 0;
    preempt->refused_progress = progress;
    return preempt->refusals;
}

/*
 * The unwinder may take a lock of its own where a program has registered frames by hand: not while
 * the interrupted thread is in it. Nor may anything be known about a stack that is not its own.
 */
bool gyre_gate_may_walk(const struct gyre_coro *coro, const ucontext_t *context)
{
#if __GLIBC_PREREQ(2, 35)
    uintptr_t sp = preempt_sp(context), low, size;
    struct dl_find_object unwinder;

    if (!on_own_stack(coro, sp) || _dl_find_object((void *)_Unwind_Backtrace, &unwinder))
        return false;
    low = (uintptr_t)unwinder.dlfo_map_start;
    size = (uintptr_t)unwinder.dlfo_map_end - low;
    if (preempt_pc(context) - low < size)
        return false;
    for (uintptr_t at = sp & ~(sizeof(uintptr_t) - 1); at < coro->entry; at += sizeof(uintptr_t))
        if (word_at(at) - low < size)
            return false;
    return true;
#else
    (void)coro;
    (void)context;
    return false;
#endif
}

static int check_callers(struct worker *worker, const struct text_map *map,
                         const struct gyre_coro *coro, const ucontext_t *context)
{
    uintptr_t sp = preempt_sp(context);
    unsigned before = refusals(worker);
    bool deep = (coro->entry - sp) >> (before < SCAN_DOUBLED ? before : SCAN_DOUBLED) > SCAN_MAX;

    if (!ASKS(GYRE_REFUSED_CALLER) || (!deep && !finds_interrupted(map, coro, context, FORBIDDEN)))
        return GATE_OPEN;
    worker->preempt.refusals++;
    if (ASKS(WITHOUT_CONFIRMATION) && before >= REFUSALS &&
        unwinds_to_entry((struct walk){.map = map, .coro = coro, .pc = preempt_pc(context)})) {
        preempt_count_one(&worker->preempt.confirmed);
        return GATE_OPEN;
    }
    return deep ? GYRE_REFUSED_DEEP : GYRE_REFUSED_CALLER;
}

/* --- the gate ----------------------------------------------------------------------------------
 */

static int check_place(const struct text_map *map, uintptr_t pc)
{
    switch (text_kind_at(map, pc)) {
    case TEXT_PROGRAM:
        return GATE_OPEN;
    case TEXT_RUNTIME:
    case TEXT_ENTRY:
        return GYRE_REFUSED_RUNTIME;
    case TEXT_GUARDED:
        return GYRE_REFUSED_SECTION;
    default:
        return GYRE_REFUSED_LIBRARY;
    }
}

static bool has_own_mask(const struct worker *worker, const ucontext_t *context)
{
    return memcmp(&context->uc_sigmask, &worker->preempt.mask, sizeof worker->preempt.mask) != 0;
}

static int check(struct worker *worker, const struct text_map *map, struct gyre_coro *coro,
                 const ucontext_t *context)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    uintptr_t sp = preempt_sp(context);
    int place = check_place(map, preempt_pc(context));

    if (place == GYRE_REFUSED_RUNTIME && ASKS(GYRE_REFUSED_RUNTIME))
        return place; /* before all else: only here the coroutine may be about to change */
    if (atomic_load_explicit(&runtime->cooperative, memory_order_relaxed))
        return GYRE_REFUSED_MODE;
    if (place != GATE_OPEN && ASKS(place))
        return place;
    if (coro->sections && ASKS(GYRE_REFUSED_SECTION))
        return GYRE_REFUSED_SECTION;
    if ((coro->locks || in_call_once(worker)) && ASKS(GYRE_REFUSED_LOCK))
        return GYRE_REFUSED_LOCK;
    if (has_own_mask(worker, context) && ASKS(GYRE_REFUSED_MASK))
        return GYRE_REFUSED_MASK;
    if (!on_own_stack(coro, sp) && ASKS(GYRE_REFUSED_STACK))
        return GYRE_REFUSED_STACK;
    if (sp - (uintptr_t)coro->stack.low < gyre_preempt_room() + OWN_ROOM && ASKS(WITHOUT_ROOM))
        return GYRE_REFUSED_STACK;
    if (!gyre_preempt_can_save(context) && ASKS(GYRE_REFUSED_STATE))
        return GYRE_REFUSED_STATE;
    place = check_callers(worker, map, coro, context);
    /* Last, for it costs most: with libraries that it does not know, the map proves nothing. */
    return place == GATE_OPEN && gyre_text_map_stale(map) ? GYRE_REFUSED_MODE : place;
}

int gyre_gate(struct worker *worker, struct gyre_coro *coro, const ucontext_t *context)
{
    const struct text_map *map = begin_reading(&worker->preempt.reading);
    int refusal = check(worker, map, coro, context);

    end_reading(&worker->preempt.reading);
    return refusal;
}

bool gyre_gate_outside_runtime(struct worker *worker, struct gyre_coro *coro,
                               const ucontext_t *context)
{
    const struct text_map *map = begin_reading(&worker->preempt.reading);
    uintptr_t sp = preempt_sp(context);
    int place = check_place(map, preempt_pc(context));
    bool outside = place != GYRE_REFUSED_RUNTIME && on_own_stack(coro, sp) &&
                   coro->entry - sp <= SCAN_MAX &&
                   !finds_interrupted(map, coro, context, 1u << TEXT_RUNTIME);

    end_reading(&worker->preempt.reading);
    return outside;
}

bool gyre_gate_call(struct worker *worker, struct gyre_coro *coro, uintptr_t frame)
{
    _Atomic(struct text_map *) *mark = &worker->preempt.reading_call;
    const struct text_map *map = begin_reading(mark);
    uint64_t mask[sizeof(sigset_t) / sizeof(uint64_t)];
    bool open = !atomic_load_explicit(&gyre_runtime_instance->cooperative, memory_order_relaxed) &&
                !coro->sections && !coro->locks && !in_call_once(worker) &&
                !pthread_sigmask(SIG_SETMASK, NULL, (sigset_t *)mask) &&
                mask[0] == worker->preempt.mask && on_own_stack(coro, frame) &&
                frame - (uintptr_t)coro->stack.low > OWN_ROOM && coro->entry - frame <= SCAN_MAX &&
                (!finds(map, coro, frame, FORBIDDEN) ||
                 unwinds_to_entry((struct walk){.map = map, .coro = coro, .frame = frame})) &&
                !gyre_text_map_stale(map);

    end_reading(mark);
    return open;
}
