/* Restartable sequences: whether there are any, and the barrier that breaks them off. */
#include "base/restart.h"

#include "base/panic.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef RESTART_SEQUENCES
#include <linux/membarrier.h>
#include <sys/rseq.h>
#endif

atomic_ptrdiff_t gyre_restart_offset;

void gyre_restart_init(void)
{
#ifdef RESTART_SEQUENCES
    if (__rseq_size &&
        !syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0))
        /* Release: pairs with restart_possible. */
        atomic_store_explicit(&gyre_restart_offset, __rseq_offset, memory_order_release);
#endif
}

void gyre_restart_all(void)
{
#ifdef RESTART_SEQUENCES
    while (unlikely(syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0))) {
        if (errno != ENOMEM)
            gyre_panic("membarrier was allowed at start and fails now: %s", strerror(errno));
    }
#else
    gyre_panic("no restartable sequences");
#endif
}
