/*
 * A coroutine's life: made, entered, ended, joined or let go, released.
 *
 * The end. What the function returned is stored, the inherited context left, and the coroutine
 * switches away for ever; whoever runs next executes commit_end, which clears LIFE_ALIVE. From
 * that moment the memory belongs to the joiner, or, detached, goes back to the cache. Where a
 * joiner waits already, finish_to_joiner clears it before the switch, and the memory is the
 * joiner's once it runs or finds its address gone (model: tests/models/join.pml). Of a detached one
 * somebody may be told (at_end), after all of that.
 *
 * The join. The joiner's commit stores its address in the child's life word, then publishes its
 * wait. The end takes the address from there and claims the wait; if it comes between the two, the
 * commit fails to publish and readies the joiner itself. A joiner that was interrupted takes its
 * address back, which succeeds only while the child lives; else the child has ended, and the result
 * won. Rejected: to publish first, for an interrupted joiner could then be gone when its address is
 * stored.
 */
#include "sched/spawn.h"

#include "base/grow.h"
#include "base/panic.h"
#include "sched/entry.h"
#include "sched/handover.h"
#include "sched/park.h"

#include <errno.h>
#include <string.h>
#ifdef GYRE_ASAN
#include <sanitizer/asan_interface.h>
#endif

/* What version 0.1 had of struct gyre_spawn_options. */
#define OPTIONS_LEAST (offsetof(struct gyre_spawn_options, copy_size) + sizeof(size_t))

enum { ID_BATCH = 1024, COPY_MAX = 16384, FOREIGN_STACKS = 8 };

/* --- made ---------------------------------------------------------------------------------- */

static uint64_t next_id(struct gyre_runtime *runtime, struct worker *worker)
{
    if (unlikely(!worker))
        return atomic_fetch_add_explicit(&runtime->next_id, 1, memory_order_relaxed);
    if (unlikely(worker->next_id == worker->last_id)) {
        worker->next_id =
            atomic_fetch_add_explicit(&runtime->next_id, ID_BATCH, memory_order_relaxed);
        worker->last_id = worker->next_id + ID_BATCH;
    }
    return worker->next_id++;
}

static struct gyre_coro *take_block(struct gyre_runtime *runtime, struct worker *worker,
                                    size_t size)
{
    struct stack_block *block;

    if (likely(worker)) {
        block = stack_acquire(&runtime->stacks, &worker->stacks, size);
    } else {
        spin_lock(&runtime->foreign_lock);
        block = stack_acquire(&runtime->stacks, &runtime->foreign_stacks, size);
        spin_unlock(&runtime->foreign_lock);
    }
    return block ? container_of(block, struct gyre_coro, stack) : NULL;
}

static void give_block(struct worker *worker, struct gyre_coro *coro)
{
    gyre_switch_release(&coro->frame);
    stack_release(&gyre_runtime_instance->stacks, &worker->stacks, &coro->stack);
}

static int check_options(struct gyre_runtime *runtime, const struct gyre_spawn_options *options)
{
    const unsigned known = GYRE_SPAWN_PINNED | GYRE_SPAWN_SAVE_FPU | GYRE_SPAWN_OUTSIDE_CONTEXT;

    if (options->flags & ~known || options->worker > runtime->worker_count ||
        (options->copy && options->copy_size > COPY_MAX))
        return -EINVAL;
    return 0;
}

static struct worker *pinned_to(struct gyre_runtime *runtime, struct worker *worker,
                                const struct gyre_spawn_options *options)
{
    if (!(options->flags & GYRE_SPAWN_PINNED))
        return NULL;
    return options->worker ? &runtime->workers[options->worker - 1] : worker;
}

/* Started before counted as ended anywhere, so that the difference never reads zero too early. */
static void count_started(struct gyre_runtime *runtime, struct worker *worker)
{
    if (likely(worker))
        atomic_store_explicit(&worker->started,
                              atomic_load_explicit(&worker->started, memory_order_relaxed) + 1,
                              memory_order_release);
    else
        atomic_fetch_add_explicit(&runtime->foreign_started, 1, memory_order_seq_cst);
}

static void set_up(struct gyre_coro *coro, struct worker *worker, const char *site, gyre_fn fn,
                   void *arg, const struct gyre_spawn_options *options)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    char *top = coro->stack.top;

    if (options && options->copy) {
        top -= (options->copy_size + 15) & ~(size_t)15;
#ifdef GYRE_ASAN
        /* An earlier owner's frames left their red zones here. */
        __asan_unpoison_memory_region(top, options->copy_size);
#endif
        memcpy(top, options->copy, options->copy_size);
        arg = top;
    }
    coro->fn = fn;
    coro->arg = arg;
    coro->site = site;
    coro->name = options ? options->name : NULL;
    coro->flags = options ? (uint8_t)options->flags : 0;
    coro->pinned = options ? pinned_to(runtime, worker, options) : NULL;
    coro->locals = NULL;
    coro->sliced = false;
    coro->sections = coro->locks = 0;
    coro->park_reason = PARK_NONE;
    coro->carries = exceptions_exist() || coro->flags & GYRE_SPAWN_SAVE_FPU;
    coro->exceptions = (struct exceptions_state){0};
    if (unlikely(coro->flags & GYRE_SPAWN_SAVE_FPU))
        fpu_control_save(&coro->fpu);
    gyre_switch_prepare(&coro->frame, coro->stack.low, top, gyre_coro_entry, coro);
}

int gyre_coro_create(struct worker *worker, const char *site, gyre_handle *handle, gyre_fn fn,
                     void *arg, const struct gyre_spawn_options *options,
                     struct gyre_context *context, struct gyre_coro **created)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;
    struct gyre_coro *coro;
    uintptr_t life = LIFE_ALIVE | (handle ? 0 : LIFE_DETACHED);

    if (unlikely(!fn || (options && check_options(runtime, options))))
        return -EINVAL;
    /* Acquire: pairs with the release that begins the shutdown. */
    if (unlikely(atomic_load_explicit(&runtime->phase, memory_order_acquire) != PHASE_RUNNING))
        return -ECANCELED;
    coro = take_block(runtime, worker, options ? options->stack_size : 0);
    if (unlikely(!coro))
        return options && options->stack_size > STACK_SIZE_MAX ? -EINVAL : -ENOMEM;
    set_up(coro, worker, site, fn, arg, options);
    coro->id = next_id(runtime, worker);
    count_started(runtime, worker);
    gyre_context_inherit(coro, context);
    atomic_store_explicit(&coro->wait, WAIT_NONE, memory_order_relaxed);
    /* Release: whoever finds it alive finds the rest set up. */
    atomic_store_explicit(&coro->life, life, memory_order_release);
    if (handle)
        *handle = (gyre_handle){coro, coro->id};
    *created = coro;
    return 0;
}

int gyre_coro_start(const char *site, gyre_fn fn, void *arg,
                    const struct gyre_spawn_options *options, struct gyre_context *context,
                    struct coro_end at_end)
{
    struct worker *worker = worker_current();
    struct gyre_coro *coro;
    int error = gyre_coro_create(worker, site, NULL, fn, arg, options, context, &coro);

    if (unlikely(error))
        return error;
    coro->at_end = at_end;
    coro->flags |= CORO_TELLS;
    gyre_ready_new(worker, coro);
    return 0;
}

static int spawn(const char *call, const char *site, gyre_handle *handle, gyre_fn fn, void *arg,
                 const struct gyre_spawn_options *options)
{
    struct gyre_coro *self = coro_required(call), *coro;
    struct worker *worker = worker_current();
    struct gyre_context *context = coro_context(self);
    int error;

    if (options && options->flags & GYRE_SPAWN_OUTSIDE_CONTEXT)
        context = &gyre_runtime_instance->contexts.root;
    error = gyre_coro_create(worker, site, handle, fn, arg, options, context, &coro);
    if (likely(!error))
        gyre_ready_new(worker, coro);
    return error;
}

int gyre_go_at(const char *site, gyre_fn fn, void *arg)
{
    return spawn("gyre_go", site, NULL, fn, arg, NULL);
}

int gyre_go_copy_at(const char *site, gyre_fn fn, const void *arg, size_t size)
{
    struct gyre_spawn_options options = GYRE_SPAWN_INIT;

    if (!arg && size)
        return -EINVAL;
    options.copy = arg ? arg : "";
    options.copy_size = size;
    return spawn("gyre_go_copy", site, NULL, fn, NULL, &options);
}

int gyre_spawn_at(const char *site, gyre_handle *handle, gyre_fn fn, void *arg,
                  const struct gyre_spawn_options *options)
{
    struct gyre_spawn_options known;

    if (!options)
        return spawn("gyre_spawn", site, handle, fn, arg, NULL);
    if (grow_copy(&known, sizeof known, OPTIONS_LEAST, options, options->size))
        return -EINVAL;
    return spawn("gyre_spawn", site, handle, fn, arg, &known);
}

int gyre_runtime_go(struct gyre_runtime *runtime, gyre_fn fn, void *arg)
{
    struct gyre_coro *coro;
    int error;

    if (!runtime || runtime != gyre_runtime_instance)
        gyre_panic("gyre_runtime_go with a runtime that does not run");
    error = gyre_coro_create(NULL, "gyre_runtime_go\0foreign", NULL, fn, arg, NULL,
                             &runtime->contexts.root, &coro);
    if (!error)
        gyre_ready_new(worker_current(), coro);
    return error;
}

/* --- ended --------------------------------------------------------------------------------- */

static struct gyre_coro *joiner_in(uintptr_t life)
{
    return (struct gyre_coro *)(life & ~(uintptr_t)LIFE_FLAGS);
}

/* False when the joiner was interrupted, and waits in take_back. */
static bool wake_joiner(struct gyre_coro *joiner)
{
    uint32_t wait = atomic_load_explicit(&joiner->wait, memory_order_relaxed);

    /* Acquire and release: as wait_claim. */
    do {
        if (wait == WAIT_INTERRUPTED)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&joiner->wait, &wait, WAIT_WOKEN,
                                                    memory_order_acq_rel, memory_order_relaxed));
    if (wait == WAIT_OBJECT) /* else its commit still runs, and readies it */
        gyre_ready(joiner);
    return true;
}

static inline void count_ended(struct worker *worker)
{
    /* Release: a count of zero living ones also says that their memory is at rest. */
    atomic_store_explicit(&worker->ended,
                          atomic_load_explicit(&worker->ended, memory_order_relaxed) + 1,
                          memory_order_release);
}

/* Wakes the joiner, or lets an interrupted one go: it spins until its address is gone from here, so
 * that wake_joiner never hits a later wait of its. */
static void commit_wake_joiner(struct worker *worker, struct gyre_coro *coro, void *joiner)
{
    if (!wake_joiner(joiner))
        atomic_fetch_and_explicit(&coro->life, LIFE_FLAGS, memory_order_release);
    count_ended(worker);
}

/* The joiner was claimed before: it is the one that executes this. */
static void commit_handed_over(struct worker *worker, struct gyre_coro *coro, void *unused)
{
    (void)coro;
    (void)unused;
    count_ended(worker);
}

/* The call comes last: whom it wakes may count the coroutines, and take this one's stack. */
static void commit_tell(struct worker *worker, struct gyre_coro *coro)
{
    struct coro_end at_end = coro->at_end;
    int result = coro->result;

    gyre_coro_release(worker, coro);
    count_ended(worker);
    at_end.call(at_end.argument, result);
}

static void commit_end(struct worker *worker, struct gyre_coro *coro, void *unused)
{
    struct gyre_coro *joiner;
    uintptr_t life;

    (void)unused;
    /* Release the result to the joiner; acquire the joiner's wait. */
    life = atomic_fetch_sub_explicit(&coro->life, LIFE_ALIVE, memory_order_acq_rel);
    if (life & LIFE_DETACHED) {
        if (coro->flags & CORO_TELLS) {
            commit_tell(worker, coro);
            return;
        }
        gyre_coro_release(worker, coro);
    }
    joiner = joiner_in(life);
    if (joiner)
        commit_wake_joiner(worker, coro, joiner);
    else
        count_ended(worker);
}

/*
 * Ends with a joiner that waits already, who may then run next without passing through a queue.
 *
 * The exchange clears LIFE_ALIVE while the joiner's address stands there. From then on the joiner
 * can't take it back, nor can anyone else join, so nobody touches the stack that this still runs on
 * before the commit, or the joiner itself, arrives on another. Returns when the joiner is not there
 * (any more). Rejected: claiming the joiner first; it could have left, and be claimed in a later
 * wait.
 */
static void finish_to_joiner(struct worker *worker, struct gyre_coro *self)
{
    uintptr_t life = atomic_load_explicit(&self->life, memory_order_relaxed);
    struct gyre_coro *joiner = joiner_in(life);

    /* Acquire: pairs with the release in commit_join. Release: the result, to the joiner. */
    if (!joiner || !handover_may_pass(worker, joiner) ||
        !atomic_compare_exchange_strong_explicit(&self->life, &life, life & ~(uintptr_t)LIFE_ALIVE,
                                                 memory_order_acq_rel, memory_order_relaxed))
        return;
    if (wait_claim(joiner, WAIT_WOKEN))
        handover_final(worker, joiner, commit_handed_over, NULL);
    handover_final(worker, NULL, commit_wake_joiner, joiner);
}

_Noreturn void gyre_coro_finish(struct gyre_coro *self)
{
    struct worker *worker;

    if (coro_context(self) != self->inherited)
        gyre_panic("a coroutine ended inside a scope that it entered");
    gyre_context_disinherit(self);
    worker = worker_current();
    finish_to_joiner(worker, self);
    handover_final(worker, NULL, commit_end, NULL);
}

void gyre_coro_release(struct worker *worker, struct gyre_coro *coro)
{
    coro->id = 0;
    /* Acquire: not queued now means never again, for it is not alive. */
    if (unlikely(atomic_load_explicit(&coro->life, memory_order_acquire) & LIFE_QUEUED) &&
        atomic_fetch_or_explicit(&coro->life, LIFE_RELEASED, memory_order_acq_rel) & LIFE_QUEUED)
        return;
    give_block(worker, coro);
}

void gyre_coro_discard(struct worker *worker, struct gyre_coro *coro)
{
    gyre_context_disinherit(coro);
    atomic_fetch_and_explicit(&coro->life, ~(uintptr_t)LIFE_ALIVE, memory_order_acq_rel);
    gyre_coro_release(worker, coro);
    count_ended(worker);
}

bool gyre_coro_unqueue(struct worker *worker, struct gyre_coro *coro)
{
    /* Pairs with the fetch_or above: exactly one of the two gives the memory back. */
    uintptr_t life =
        atomic_fetch_and_explicit(&coro->life, ~(uintptr_t)LIFE_QUEUED, memory_order_seq_cst);

    if (!(life & LIFE_RELEASED))
        return true;
    give_block(worker, coro);
    return false;
}

size_t gyre_coro_live(struct gyre_runtime *runtime)
{
    uint64_t ended = 0, started = 0;

    /* Ended first: the sum of those started, read later, can only be larger. */
    for (unsigned i = 0; i < runtime->worker_count; i++)
        ended += atomic_load_explicit(&runtime->workers[i].ended, memory_order_acquire);
    for (unsigned i = 0; i < runtime->worker_count; i++)
        started += atomic_load_explicit(&runtime->workers[i].started, memory_order_acquire);
    started += atomic_load_explicit(&runtime->foreign_started, memory_order_acquire);
    return (size_t)(started - ended);
}

/* --- joined -------------------------------------------------------------------------------- */

static void check_handle(gyre_handle handle, const char *call)
{
    if (!handle.coro || !handle.id || handle.coro->id != handle.id ||
        atomic_load_explicit(&handle.coro->life, memory_order_relaxed) & LIFE_DETACHED)
        gyre_panic("%s with a handle that was joined or let go before", call);
}

static _Noreturn void refuse_second(struct gyre_coro *child, const char *what)
{
    gyre_panic("%s coroutine %lu \"%s\", which another one joins", what, (unsigned long)child->id,
               coro_name(child));
}

static void commit_join(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct gyre_coro *child = argument;
    struct gyre_context *context = coro_context(self);
    /* Acquire, here and where the exchange fails: pairs with the releases in commit_end and
     * finish_to_joiner; when it has ended, its result is there. */
    uintptr_t life = atomic_load_explicit(&child->life, memory_order_acquire);
    uint32_t wait = WAIT_NONE;

    (void)worker;
    do {
        if (!(life & LIFE_ALIVE) || joiner_in(life)) {
            /* It ended, or another joiner was faster, which is found out on the joiner's own
             * stack. Relaxed: passed on by its being readied. */
            wait = joiner_in(life) ? WAIT_INTERRUPTED : WAIT_WOKEN;
            atomic_store_explicit(&self->wait, wait, memory_order_relaxed);
            gyre_ready(self);
            return;
        }
        /* Release: pairs with the acquires in commit_end and finish_to_joiner, which find the wait.
         */
    } while (!atomic_compare_exchange_weak_explicit(&child->life, &life, life | (uintptr_t)self,
                                                    memory_order_acq_rel, memory_order_acquire));
    /* From here on `child` may be gone. Release: who claims the wait finds the address stored.
     * Acquire where it fails: pairs with wake_joiner; the child's result is there. */
    if (!atomic_compare_exchange_strong_explicit(&self->wait, &wait, WAIT_OBJECT,
                                                 memory_order_acq_rel, memory_order_acquire))
        gyre_ready(self); /* woken already */
    else
        wait_check(self, context);
}

/* After an interruption: true when the child has not ended, and will not look at us any more. */
static bool take_back(struct gyre_coro *child, struct gyre_coro *self)
{
    uintptr_t life = atomic_load_explicit(&child->life, memory_order_acquire);

    while (life & LIFE_ALIVE)
        if (joiner_in(life) != self ||
            atomic_compare_exchange_weak_explicit(&child->life, &life, life & LIFE_FLAGS,
                                                  memory_order_acq_rel, memory_order_acquire))
            return true;
    if (joiner_in(life) && joiner_in(life) != self)
        return true; /* a second joiner: the caller finds out */
    /* It ended and took our address: wait the few instructions until it has tried the claim. */
    for (int spins = 0; joiner_in(life) == self; spins++) {
        if (spins < 100)
            cpu_relax();
        else
            sched_yield();
        life = atomic_load_explicit(&child->life, memory_order_acquire);
    }
    return false;
}

/* Parks until the child has ended (true) or chance or a context's end woke us (false). */
static bool await_child(struct gyre_coro *child, struct gyre_coro *self)
{
    bool ended;

    handover_park(worker_current(), PARK_JOIN, commit_join, child);
    /* The wait is over only when the child's end can't look at it any more. */
    ended = atomic_load_explicit(&self->wait, memory_order_relaxed) == WAIT_WOKEN ||
            !take_back(child, self);
    atomic_store_explicit(&self->wait, WAIT_NONE, memory_order_relaxed);
    return ended;
}

RETURNS_BY_JUMP int gyre_join(gyre_handle handle, int *result)
{
    struct gyre_coro *self = coro_required("gyre_join");
    struct gyre_coro *child = handle.coro;
    int error = coro_error(self);
    uintptr_t life;

    check_handle(handle, "gyre_join");
    if (child == self)
        gyre_panic("a coroutine joins itself");
    if (error)
        return error;
    do {
        /* Acquire: pairs with the releases in commit_end and finish_to_joiner. */
        life = atomic_load_explicit(&child->life, memory_order_acquire);
        if (unlikely(joiner_in(life)))
            refuse_second(child, "gyre_join of");
        if (!(life & LIFE_ALIVE) || await_child(child, self))
            break;
        error = coro_error(self);
    } while (!error);
    if (error)
        return error;
    if (result)
        *result = child->result;
    gyre_coro_release(worker_current(), child);
    return 0;
}

void gyre_detach(gyre_handle handle)
{
    uintptr_t life;

    coro_required("gyre_detach");
    check_handle(handle, "gyre_detach");
    /* Pairs with commit_end: one of the two sees both flags and releases. */
    life = atomic_fetch_or_explicit(&handle.coro->life, LIFE_DETACHED, memory_order_acq_rel);
    if (unlikely(joiner_in(life)))
        refuse_second(handle.coro, "gyre_detach of");
    if (!(life & LIFE_ALIVE))
        gyre_coro_release(worker_current(), handle.coro);
}
