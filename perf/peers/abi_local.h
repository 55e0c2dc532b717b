/* Kernel interface that the header of liburing 2.3 lacks and only the raw server uses. */
#ifndef GYRE_PERF_ABI_LOCAL_H
#define GYRE_PERF_ABI_LOCAL_H

#include <liburing.h>

#ifndef IORING_FEAT_MIN_TIMEOUT
#define IORING_FEAT_MIN_TIMEOUT (1U << 15)
#endif

/* struct io_uring_getevents_arg since 6.12: liburing 2.3 calls min_wait_usec `pad`. */
struct abi_getevents_arg {
    __u64 sigmask;
    __u32 sigmask_sz;
    __u32 min_wait_usec;
    __u64 ts;
};

#endif
