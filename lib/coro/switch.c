/*
 * What goes with every backend: the end of an unwinding at a coroutine's entry, and the hooks by
 * which sanitizers follow a switch.
 */
#include "coro/switch.h"

#include "base/panic.h"

#include <unwind.h>

_Unwind_Reason_Code gyre_switch_personality(int version, _Unwind_Action actions,
                                            _Unwind_Exception_Class kind,
                                            struct _Unwind_Exception *exception,
                                            struct _Unwind_Context *context);

/*
 * The personality routine of a coroutine's outermost frame, which no exception may leave. In the
 * search phase nothing has been unwound yet, so the backtrace shows where it was thrown. C++'s own
 * end (std::terminate) would come next, without a word about the coroutine.
 */
__attribute__((used)) _Unwind_Reason_Code
gyre_switch_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class kind,
                        struct _Unwind_Exception *exception, struct _Unwind_Context *context)
{
    (void)version;
    (void)kind;
    (void)exception;
    (void)context;
    if (actions & _UA_FORCE_UNWIND)
        gyre_panic("the thread was ended (pthread_exit, pthread_cancel) inside a coroutine");
    gyre_panic("an exception left the coroutine's entry function");
}

#if defined(GYRE_ASAN) || defined(GYRE_TSAN)

#include <pthread.h>

#ifdef GYRE_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef GYRE_TSAN
#include <sanitizer/tsan_interface.h>
#endif

/*
 * TSan keeps a stack of calls per fiber: the hook must not be called between a function's
 * instrumented entry and exit.
 */
#define UNINSTRUMENTED __attribute__((noinline, no_sanitize("thread"), no_sanitize("address")))

UNINSTRUMENTED static void begin(void *arg)
{
    struct switch_frame *frame = arg;

#ifdef GYRE_ASAN
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
#endif
    frame->entry(frame->arg);
    __builtin_trap();
}

UNINSTRUMENTED void gyre_switch_prepare(struct switch_frame *frame, void *low, void *top,
                                        void (*entry)(void *arg), void *arg)
{
    frame->entry = entry;
    frame->arg = arg;
    frame->low = low;
    frame->size = (size_t)((char *)top - (char *)low);
    frame->fake_stack = NULL;
#ifdef GYRE_TSAN
    frame->fiber = __tsan_create_fiber(0);
#endif
    gyre_switch_prepare_registers(frame, low, top, begin, frame);
}

UNINSTRUMENTED static void switch_to(struct switch_frame *from, struct switch_frame *to,
                                     void **fake_stack)
{
#ifdef GYRE_ASAN
    __sanitizer_start_switch_fiber(fake_stack, to->low, to->size);
#endif
#ifdef GYRE_TSAN
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
    (void)fake_stack;
    gyre_switch_registers(from, to);
#ifdef GYRE_ASAN
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

UNINSTRUMENTED void gyre_switch(struct switch_frame *from, struct switch_frame *to)
{
    switch_to(from, to, &from->fake_stack);
}

UNINSTRUMENTED void gyre_switch_final(struct switch_frame *from, struct switch_frame *to)
{
    switch_to(from, to, NULL);
}

void gyre_switch_adopt(struct switch_frame *frame)
{
    pthread_attr_t attributes;
    void *low = NULL;
    size_t size = 0;

    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
        pthread_attr_getstack(&attributes, &low, &size);
        pthread_attr_destroy(&attributes);
    }
    *frame = (struct switch_frame){.low = low, .size = size};
#ifdef GYRE_TSAN
    frame->fiber = __tsan_get_current_fiber();
#endif
}

void gyre_switch_release(struct switch_frame *frame)
{
#ifdef GYRE_ASAN
    /* It left its frames' red zones behind, and the next user may write before it prepares. */
    __asan_unpoison_memory_region(frame->low, frame->size);
#endif
#ifdef GYRE_TSAN
    if (frame->fiber)
        __tsan_destroy_fiber(frame->fiber);
#endif
    frame->fiber = NULL;
}

#endif
