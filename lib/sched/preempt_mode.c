/*
 * Whether anything may be interrupted in this process: decided when a runtime starts, and again
 * whenever objects were loaded or unloaded, together with the map of whose code is where.
 */
#include "base/interposed.h"
#include "coro/exceptions.h"
#include "coro/preempt.h"
#include "sched/worker.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* NULL: libgyre-preempt is not there, or something else answers to pthread_mutex_lock. */
static struct gyre_preempt_interposed *interposed(void)
{
    struct gyre_preempt_interposed *found = dlsym(RTLD_DEFAULT, "gyre_preempt_interposed");

    return found && found->version == 1 &&
                   dlsym(RTLD_DEFAULT, "pthread_mutex_lock") == found->lock_function
               ? found
               : NULL;
}

/*
 * What can't change while a runtime runs is asked once, by gyre_run: the watchdog must neither wait
 * for the dynamic linker's lock, which a dlopen holds while it runs constructors, nor read an
 * environment that the program may be changing.
 */
static struct {
    struct gyre_preempt_interposed *hooks; /* or NULL */
    const char *reason;                    /* to interrupt nothing, or NULL */
} process;

static void set_hooks(void (*acquired)(void), void (*released)(void))
{
    struct gyre_preempt_interposed *found = process.hooks;

    if (!found)
        return;
    atomic_store_explicit(&found->acquired, acquired, memory_order_release);
    atomic_store_explicit(&found->released, released, memory_order_release);
}

static const char *reason_of_process(const struct gyre_runtime *runtime)
{
#ifndef PREEMPT_SIGNALS
    return runtime->options.quantum < 0 ? "off" : "cooperative: built for a sanitizer";
#else
    const char *preload = getenv("LD_PRELOAD");

    if (runtime->options.quantum < 0)
        return "off";
    if (preload && strstr(preload, "vgpreload_"))
        return "cooperative: under valgrind";
    if (gyre_preempt_prepare())
        return "cooperative: this processor's registers can't be saved";
    return NULL;
#endif
}

static const char *why_cooperative(const struct text_map *map)
{
    if (process.reason)
        return process.reason;
    if (map->static_libc)
        return "cooperative: the C library is linked statically";
    if (map->no_program)
        return "cooperative: the program's file can't be read, or libraries that it loads can't be "
               "followed";
    if (map->own_cpp)
        return "cooperative: the C++ run-time is linked statically";
    if (map->late_cpp && !exceptions_exist())
        return "cooperative: a C++ run-time was loaded into a program without one";
    if (map->own_malloc)
        return "cooperative: malloc is part of the program's own code";
    if (map->uses_locks && !process.hooks)
        return "cooperative: thread locks are used, and libgyre-preempt is not linked";
    return NULL;
}

static bool is_read(const struct gyre_runtime *runtime, const struct text_map *map)
{
    for (unsigned i = 0; i < runtime->worker_count; i++)
        if (atomic_load_explicit(&runtime->workers[i].preempt.reading, memory_order_seq_cst) ==
                map ||
            atomic_load_explicit(&runtime->workers[i].preempt.reading_call, memory_order_seq_cst) ==
                map)
            return true;
    return false;
}

static int publish_map(struct gyre_runtime *runtime)
{
    /* Relaxed: the watchdog's own, which alone writes it. */
    struct text_map *map, *old = atomic_load_explicit(&runtime->text, memory_order_relaxed);
    int error = gyre_text_map_make(&map);

    if (error)
        return error;
    atomic_store_explicit(&runtime->cooperative, why_cooperative(map), memory_order_relaxed);
    map->older = old;
    /* Seq_cst: a handler that marks the old one as read after this sees the new one; pairs with
     * begin_reading in gate.c. */
    atomic_store_explicit(&runtime->text, map, memory_order_seq_cst);
    for (struct text_map *at = map; at->older;) {
        if (is_read(runtime, at->older)) {
            at = at->older;
            continue;
        }
        old = at->older;
        at->older = old->older;
        old->older = NULL;
        gyre_text_map_free(old);
    }
    return 0;
}

void gyre_preempt_refresh(struct gyre_runtime *runtime)
{
    struct text_map *map = atomic_load_explicit(&runtime->text, memory_order_relaxed);

    if (map && gyre_text_map_stale(map))
        publish_map(runtime);
}

void gyre_preempt_lost(struct gyre_runtime *runtime)
{
    process.reason = "cooperative: the program has replaced the handler of SIGURG";
    atomic_store_explicit(&runtime->cooperative, process.reason, memory_order_relaxed);
}

int gyre_preempt_allow(const void *address)
{
    return gyre_text_allow(address);
}

int gyre_preempt_start(struct gyre_runtime *runtime)
{
    int error;

    process.hooks = interposed();
    process.reason = reason_of_process(runtime);
    error = publish_map(runtime);
    if (error)
        return error;
    set_hooks(gyre_preempt_lock_acquired, gyre_preempt_lock_released);
    error = gyre_tick_install();
    if (error)
        gyre_preempt_stop(runtime);
    return error;
}

void gyre_preempt_stop(struct gyre_runtime *runtime)
{
    gyre_tick_remove();
    set_hooks(NULL, NULL);
    /* Who left its loop without a last poll. */
    for (unsigned i = 0; i < runtime->worker_count; i++)
        gyre_preempt_forget(&runtime->workers[i]);
    gyre_text_map_free(atomic_exchange_explicit(&runtime->text, NULL, memory_order_relaxed));
}
