/*
 * What newer kernels offer and the linked liburing's header may lack: constants of
 * include/uapi/linux/io_uring.h, each under its kernel name, and nothing else. Whether the
 * running kernel knows one is always probed.
 */
#ifndef GYRE_LIB_RING_ABI_H
#define GYRE_LIB_RING_ABI_H

#include <liburing.h>

#ifndef IORING_FEAT_NO_IOWAIT
#define IORING_FEAT_NO_IOWAIT (1U << 17)
#endif

#define ABI_OP_FTRUNCATE           55U
#define ABI_ENTER_NO_IOWAIT        (1U << 7)
#define ABI_REGISTER_SEND_MSG_RING 31U
#define ABI_MSG_DATA               0U

/* A zero-copy send tells in its notification whether the kernel copied all the same. */
#define ABI_SEND_ZC_REPORT_USAGE (1U << 3)
#define ABI_NOTIF_USAGE_COPIED   (1U << 31)

/* An enumerator of newer headers. With FUTEX2_SIZE_U32 and FUTEX2_PRIVATE of linux/futex.h. */
#define ABI_OP_FUTEX_WAIT  51U
#define ABI_FUTEX_SIZE_U32 0x02U
#define ABI_FUTEX_PRIVATE  0x80U

/* An operation that was interrupted on a kernel worker may complete with ERESTARTSYS or its like.
 */
#define ABI_RESTART_FIRST 512
#define ABI_RESTART_LAST  516

#endif
