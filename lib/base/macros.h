/* Small helpers that every layer uses. */
#ifndef GYRE_LIB_BASE_MACROS_H
#define GYRE_LIB_BASE_MACROS_H

#include <stddef.h>
#include <stdint.h>

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Two lines: adjacent-line prefetch makes a pair of them travel together on current x86. */
#define CACHE_LINE      64
#define CACHE_LINE_PAIR 128

#if defined(__SANITIZE_ADDRESS__)
#define GYRE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define GYRE_ASAN 1
#endif
#endif

#if defined(__SANITIZE_THREAD__)
#define GYRE_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GYRE_TSAN 1
#endif
#endif

#endif
