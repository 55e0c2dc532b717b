/*
 * gyre_blocking: a queue of calls, and the threads that take from it (model:
 * tests/models/blocking.pml).
 *
 * Guarantees
 * - Each call's function is called once, or, where the context ended while it was queued, never.
 * - Oldest first; as long as calls wait, no helper sleeps and, up to the limit, another is started.
 * - A call is the caller's memory, or the heap's: a helper touches it no more once it has made the
 * caller ready, or has found it interrupted, which then takes the lock.
 *
 * Invariants (under `lock`)
 * - `queued` counts calls from before a helper is started for them; until the commit of the park
 * they are in no list, so a helper may find less than it was started for.
 * - `busy` of the `helpers` run a function; a starting one counts as one that does not.
 * - `sequence` changes with each call that is appended: who saw the queue empty does not sleep
 * through it.
 *
 * The caller waits as for any object, claimable, also while the function runs. Interrupted then,
 * gyre_blocking waits once more, claimable no longer; gyre_blocking_detached leaves the call to the
 * helper.
 *
 * Rejected: to claim the caller when its function begins. What is interrupted for nothing at that
 * moment would lose its place in the queue. Helpers that end after a while: starting one
 * costs more than an idle one does.
 */
#include "base/panic.h"
#include "base/message.h"
#include "base/text.h"
#include "sched/children.h"
#include "sched/helpers.h"
#include "sched/park.h"

#include <gyre/blocking.h>

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum call_state {
    CALL_NEW,
    CALL_QUEUED,
    CALL_RUNNING,
    CALL_DONE,
    CALL_LEFT, /* runs, and nobody waits for it: the helper frees it */
};

struct call {
    struct list link; /* in `queue` or `left` */
    struct gyre_coro *coro;
    gyre_fn fn;
    void *arg;
    void (*drop)(void *copy, int result);
    enum call_state state;
    bool detached;
    bool awaited; /* the caller is not to be claimed, only made ready */
    int result;
};

struct detached_call {
    struct call call;
    _Alignas(max_align_t) unsigned char copy[];
};

struct helper {
    struct helper *next;
    pthread_t thread;
};

struct helper_pool {
    struct spinlock lock;
    struct list queue, left;
    struct helper *threads;
    unsigned helpers, busy, queued;
    unsigned sleeping;
    unsigned named;
    bool ending;
    uint64_t calls;
    _Atomic(uint32_t) sequence; /* a futex */
};

static struct helper_pool pool = {
    .queue = {&pool.queue, &pool.queue},
    .left = {&pool.left, &pool.left},
};

/* --- a helper --------------------------------------------------------------------------------- */

/* NULL: the end. */
static struct call *next_call(void)
{
    struct call *call = NULL;
    struct list *item;

    spin_lock(&pool.lock);
    while (list_empty(&pool.queue) && !pool.ending) {
        uint32_t sequence = atomic_load_explicit(&pool.sequence, memory_order_relaxed);

        pool.sleeping++;
        spin_unlock(&pool.lock);
        gyre_run_futex_wait(&pool.sequence, sequence, -1);
        spin_lock(&pool.lock);
        pool.sleeping--;
    }
    item = list_pop(&pool.queue);
    if (item) {
        call = container_of(item, struct call, link);
        call->state = CALL_RUNNING;
        pool.queued--;
        pool.busy++;
        pool.calls++;
    }
    spin_unlock(&pool.lock);
    return call;
}

CALLS_PROGRAM static int run_function(struct call *call)
{
    return call->fn(call->arg);
}

CALLS_PROGRAM static void drop_copy(struct call *call, int result)
{
    if (call->drop)
        call->drop(call->arg, result);
}

/* With the lock: the result is there. True: the coroutine is the caller's, to be made ready. */
static bool end_call(struct call *call, int result)
{
    call->result = result;
    call->state = CALL_DONE;
    return call->awaited || wait_claim(call->coro, WAIT_WOKEN);
}

static void finish(struct call *call, int result)
{
    struct gyre_coro *coro = call->coro;
    bool ready = false, left;

    spin_lock(&pool.lock);
    left = call->state == CALL_LEFT;
    if (!left) {
        pool.busy--;
        ready = end_call(call, result);
    }
    spin_unlock(&pool.lock);
    if (ready)
        gyre_ready(coro);
    if (left) {
        drop_copy(call, result);
        spin_lock(&pool.lock);
        pool.busy--;
        list_remove(&call->link);
        spin_unlock(&pool.lock);
        free(container_of(call, struct detached_call, call));
    }
    helpers_done();
}

static void *helper_thread(void *unused)
{
    struct call *call;
    char name[16];

    (void)unused;
    gyre_children_take_original();
    spin_lock(&pool.lock);
    snprintf(name, sizeof name, "gyre-help-%u", pool.named++ % 10000);
    spin_unlock(&pool.lock);
    pthread_setname_np(pthread_self(), name);
    while ((call = next_call()))
        finish(call, run_function(call));
    return NULL;
}

/* --- starting and ending them ----------------------------------------------------------------- */

static size_t functions_left(bool lines)
{
    char name[256];
    size_t count = 0;

    spin_lock(&pool.lock);
    for (struct list *item = pool.left.next; item != &pool.left; item = item->next) {
        count++;
        if (lines) {
            /* As of a call's return address, which is behind what is named. */
            gyre_backtrace_name((char *)container_of(item, struct call, link)->fn + 1, name,
                                sizeof name);
            gyre_message_line("    %s", name);
        }
    }
    spin_unlock(&pool.lock);
    return count;
}

static void end_helpers(void)
{
    struct helper *helper = pool.threads;

    spin_lock(&pool.lock);
    pool.ending = true;
    atomic_fetch_add_explicit(&pool.sequence, 1, memory_order_relaxed);
    spin_unlock(&pool.lock);
    gyre_run_futex_wake(&pool.sequence, INT_MAX);
    while (helper) {
        struct helper *next = helper->next;

        pthread_join(helper->thread, NULL);
        free(helper);
        helper = next;
    }
    pool.threads = NULL;
    pool.helpers = pool.named = 0;
    pool.calls = 0;
    pool.ending = false;
    atomic_store_explicit(&gyre_helpers.calls, NULL, memory_order_relaxed);
}

static const struct helpers_calls helpers_calls = {functions_left, end_helpers};

/* With the lock: no helper, and none can be started. */
static void fail_queued(void)
{
    struct list *item;

    while ((item = list_pop(&pool.queue))) {
        struct call *call = container_of(item, struct call, link);
        struct gyre_coro *coro = call->coro;

        pool.queued--;
        if (end_call(call, -EAGAIN))
            gyre_ready(coro);
        helpers_done();
    }
}

/* One that `helpers` counts already. */
static void start_helper(void)
{
    struct helper *helper = malloc(sizeof *helper);
    bool failed;

    /* Release: pairs with the acquire in helpers_end. */
    atomic_store_explicit(&gyre_helpers.calls, &helpers_calls, memory_order_release);
    failed = !helper || pthread_create(&helper->thread, NULL, helper_thread, NULL);
    spin_lock(&pool.lock);
    if (failed) {
        if (!--pool.helpers)
            fail_queued();
    } else {
        helper->next = pool.threads;
        pool.threads = helper;
    }
    spin_unlock(&pool.lock);
    if (failed)
        free(helper);
}

/* --- a call ----------------------------------------------------------------------------------- */

static void commit_call(struct worker *worker, struct gyre_coro *self, void *argument)
{
    struct call *call = argument;
    struct gyre_context *context = coro_context(self);
    bool awaited = call->awaited, wake = false;

    (void)worker;
    if (!awaited)
        wait_publish(self);
    if (call->state == CALL_NEW) {
        call->state = CALL_QUEUED;
        list_append(&pool.queue, &call->link);
        atomic_fetch_add_explicit(&pool.sequence, 1, memory_order_relaxed);
        wake = pool.sleeping;
    }
    spin_unlock(&pool.lock);
    if (wake)
        gyre_run_futex_wake(&pool.sequence, 1);
    if (!awaited)
        wait_check(self, context);
}

/* With the lock, which is let go. Returns how it stands with the call; *error: why it was given up.
 */
static enum call_state wait_for_call(struct call *call, int *error)
{
    struct gyre_coro *self = call->coro;
    enum call_state state;

    for (;;) {
        gyre_park(worker_current(), PARK_BLOCKING, commit_call, call);
        wait_finish(self);
        spin_lock(&pool.lock);
        state = call->state;
        *error = coro_error(self);
        if (state == CALL_DONE)
            break;
        if (*error && state == CALL_QUEUED) {
            list_remove(&call->link);
            pool.queued--;
            break;
        }
        if (*error && call->detached) {
            state = call->state = CALL_LEFT;
            list_append(&pool.left, &call->link);
            break;
        }
        call->awaited = *error != 0;
    }
    spin_unlock(&pool.lock);
    if (state == CALL_QUEUED)
        helpers_done();
    return state;
}

static enum call_state perform(struct call *call, int *error)
{
    bool start;

    *error = coro_error(call->coro);
    if (*error)
        return CALL_NEW;
    helpers_begin();
    spin_lock(&pool.lock);
    pool.queued++;
    start = pool.helpers - pool.busy < pool.queued &&
            pool.helpers < gyre_runtime_instance->options.helpers;
    if (start) {
        pool.helpers++;
        spin_unlock(&pool.lock);
        start_helper();
        spin_lock(&pool.lock);
    }
    if (likely(pool.helpers))
        return wait_for_call(call, error);
    pool.queued--;
    spin_unlock(&pool.lock);
    helpers_done();
    *error = -EAGAIN;
    return CALL_NEW;
}

int gyre_blocking(gyre_fn fn, void *arg)
{
    struct call call = {.coro = coro_required("gyre_blocking"), .fn = fn, .arg = arg};
    int error;

    if (!fn)
        return -EINVAL;
    return perform(&call, &error) == CALL_DONE ? call.result : error;
}

int gyre_blocking_detached(gyre_fn fn, void *arg, size_t size, void (*drop)(void *copy, int result))
{
    struct gyre_coro *self = coro_required("gyre_blocking_detached");
    struct detached_call *block;
    enum call_state state;
    int result;

    if (!fn)
        return -EINVAL;
    block = size <= PTRDIFF_MAX - sizeof *block ? malloc(sizeof *block + size) : NULL;
    if (!block)
        return -ENOMEM;
    block->call =
        (struct call){.coro = self, .fn = fn, .arg = block->copy, .drop = drop, .detached = true};
    if (size)
        memcpy(block->copy, arg, size);
    state = perform(&block->call, &result);
    if (state == CALL_LEFT)
        return result;
    if (state == CALL_DONE) {
        result = block->call.result;
        if (size)
            memcpy(arg, block->copy, size);
    }
    free(block);
    return result;
}

int gyre_blocking_count(struct gyre_blocking_counts *count)
{
    struct gyre_runtime *runtime = gyre_runtime_instance;

    if (!count || count->size != sizeof *count)
        return -EINVAL;
    spin_lock(&pool.lock);
    count->limit = runtime ? runtime->options.helpers : 0;
    count->helpers = pool.helpers;
    count->busy = pool.busy;
    count->queued = pool.queued;
    count->calls = pool.calls;
    spin_unlock(&pool.lock);
    return 0;
}
