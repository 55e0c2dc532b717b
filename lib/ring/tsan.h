/*
 * What happens before what, where ThreadSanitizer can't see it.
 *
 * The kernel carries an operation from its submission to its completion, on whichever thread that
 * is reaped: told for each target. What its owner did between the two, the commit of the park,
 * comes before the enter that submits it: told for each ring. And it carries bytes from one
 * coroutine to another, which may well be what a program relies on to pass the right to some
 * memory. Which write a read has seen is not known, so all writes are taken to happen before all
 * later reads, as Go's race detector does.
 */
#ifndef GYRE_LIB_RING_TSAN_H
#define GYRE_LIB_RING_TSAN_H

#include "base/macros.h"

#ifdef GYRE_TSAN

#include <sanitizer/tsan_interface.h>

extern char gyre_ring_tsan_bytes; /* an address that all share */

#define ring_tsan_submitted(target) __tsan_release(target)
#define ring_tsan_completed(target) __tsan_acquire(target)
#define ring_tsan_enters(ring)      __tsan_release(ring)
#define ring_tsan_reaps(ring)       __tsan_acquire(ring)
#define ring_tsan_sends()           __tsan_release(&gyre_ring_tsan_bytes)
#define ring_tsan_received()        __tsan_acquire(&gyre_ring_tsan_bytes)

#else

#define ring_tsan_submitted(target) ((void)0)
#define ring_tsan_completed(target) ((void)0)
#define ring_tsan_enters(ring)      ((void)0)
#define ring_tsan_reaps(ring)       ((void)0)
#define ring_tsan_sends()           ((void)0)
#define ring_tsan_received()        ((void)0)

#endif

#endif
