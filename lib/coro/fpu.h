/*
 * The floating-point control words (rounding, masks of exceptions, flush to zero), for a coroutine
 * that asked to have its own. The calling convention leaves them alone, and so does a switch:
 * saving and loading them costs as much as the switch itself.
 */
#ifndef GYRE_LIB_CORO_FPU_H
#define GYRE_LIB_CORO_FPU_H

#include <stdint.h>

#if defined(__x86_64__)

struct fpu_control {
    uint32_t mxcsr;
    uint16_t x87;
};

static inline void fpu_control_save(struct fpu_control *control)
{
    __asm__ __volatile__("stmxcsr %0" : "=m"(control->mxcsr));
    __asm__ __volatile__("fnstcw %0" : "=m"(control->x87));
}

static inline void fpu_control_restore(const struct fpu_control *control)
{
    __asm__ __volatile__("ldmxcsr %0" : : "m"(control->mxcsr));
    __asm__ __volatile__("fldcw %0" : : "m"(control->x87));
}

#elif defined(__aarch64__)

struct fpu_control {
    uint64_t fpcr;
};

static inline void fpu_control_save(struct fpu_control *control)
{
    __asm__ __volatile__("mrs %0, fpcr" : "=r"(control->fpcr));
}

static inline void fpu_control_restore(const struct fpu_control *control)
{
    __asm__ __volatile__("msr fpcr, %0" : : "r"(control->fpcr));
}

#else

#include <fenv.h>

/* ISO C knows the whole environment only. */
struct fpu_control {
    fenv_t environment;
};

static inline void fpu_control_save(struct fpu_control *control)
{
    fegetenv(&control->environment);
}

static inline void fpu_control_restore(const struct fpu_control *control)
{
    fesetenv(&control->environment);
}

#endif
#endif
