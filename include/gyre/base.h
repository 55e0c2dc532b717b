/*
 * gyre/base.h - what every other header of gyre needs: version, visibility, durations, the
 * function type that coroutines run, and where messages go.
 */
#ifndef GYRE_BASE_H
#define GYRE_BASE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GYRE_VERSION_MAJOR 0
#define GYRE_VERSION_MINOR 1
#define GYRE_VERSION_PATCH 0
#define GYRE_VERSION       "0.1.0"

#ifdef __cplusplus
#define GYRE_BEGIN_DECLS extern "C" {
#define GYRE_END_DECLS   }
#else
#define GYRE_BEGIN_DECLS
#define GYRE_END_DECLS
#endif

#define GYRE_API       __attribute__((visibility("default")))
#define GYRE_NODISCARD __attribute__((warn_unused_result))

/* Durations and points of the monotonic clock are int64_t nanoseconds. */
#define GYRE_NANOSECOND  ((int64_t)1)
#define GYRE_MICROSECOND ((int64_t)1000)
#define GYRE_MILLISECOND ((int64_t)1000000)
#define GYRE_SECOND      ((int64_t)1000000000)
#define GYRE_MINUTE      ((int64_t)60 * GYRE_SECOND)
#define GYRE_HOUR        ((int64_t)60 * GYRE_MINUTE)

#define GYRE_STRING_(x) #x
#define GYRE_STRING(x)  GYRE_STRING_(x)

/*
 * Where a coroutine was started and what it is called, as one literal: "file:line", a NUL, the
 * name. The spawning macros make it.
 */
#define GYRE_SITE(name) (__FILE__ ":" GYRE_STRING(__LINE__) "\0" name)

GYRE_BEGIN_DECLS

/*
 * What a coroutine runs. Returns 0 or -errno; the value reaches whoever joins the coroutine.
 */
typedef int (*gyre_fn)(void *arg);

/*
 * The version of the library that is linked, as "major.minor.patch"; GYRE_VERSION is that of the
 * headers. Never fails; may be called from anywhere. Go: runtime.Version.
 */
GYRE_API const char *gyre_version(void);

/*
 * Receives each message that the library would print: one call per line, without the newline.
 * It runs wherever the message arose, a signal handler for a stack overflow included, so it may
 * only do what is async-signal-safe, and must not call gyre.
 */
typedef void (*gyre_message_fn)(void *user, const char *line, size_t length);

/*
 * Sends the library's messages (warnings, reports, the lines of a panic) to fn instead of
 * standard error; NULL puts standard error back. user is passed through and must outlive the
 * use. Call it before gyre_run: not safe against a message being printed at the same moment.
 * Never parks, never fails; from any thread. Go: none (debug.SetCrashOutput is the nearest).
 */
GYRE_API void gyre_set_message_handler(gyre_message_fn fn, void *user);

GYRE_END_DECLS

#endif
