/* Options: the program's, overridden by the environment, checked once. */
#include "sched/options.h"

#include "base/grow.h"
#include "base/macros.h"
#include "base/message.h"
#include "coro/stack.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { RING_ENTRIES_MIN = 4, RING_ENTRIES_MAX = 32768, HELPERS_DEFAULT = 4, HELPERS_MAX = 1024 };

#define QUANTUM_DEFAULT (10 * GYRE_MILLISECOND)
#define QUANTUM_MIN     (100 * GYRE_MICROSECOND)
#define QUANTUM_MAX     (10 * GYRE_SECOND)
#define WATCHDOG_MIN    (10 * GYRE_MILLISECOND)
#define WATCHDOG_MAX    GYRE_HOUR

/* What version 0.1 had. */
#define OPTIONS_LEAST (offsetof(struct gyre_options, seed) + sizeof(uint64_t))

static int refuse(const char *name, const char *value, const char *wanted)
{
    gyre_message("cannot start: %s=%s makes no sense; it takes %s", name, value, wanted);
    return -EINVAL;
}

/* A number between low and high, with an optional k or m behind it when scaled. */
static bool parse(const char *text, uint64_t low, uint64_t high, bool scaled, uint64_t *number)
{
    char *end;
    uint64_t value;

    if (*text < '0' || *text > '9')
        return false;
    errno = 0;
    /* Hexadecimal where it says so; a leading zero means nothing. */
    value = strtoull(text, &end, text[0] == '0' && (text[1] | 32) == 'x' ? 16 : 10);
    if (errno)
        return false;
    if (scaled && (*end == 'k' || *end == 'K' || *end == 'm' || *end == 'M')) {
        unsigned shift = *end == 'k' || *end == 'K' ? 10 : 20;

        if (value > UINT64_MAX >> shift)
            return false;
        value <<= shift;
        end++;
    }
    if (*end || value < low || value > high)
        return false;
    *number = value;
    return true;
}

/* A number with its unit, or "off", which is stored as -1. */
static bool parse_duration(const char *text, int64_t low, int64_t high, int64_t *duration)
{
    static const struct {
        const char *name;
        int64_t unit;
    } units[] = {{"us", GYRE_MICROSECOND}, {"ms", GYRE_MILLISECOND}, {"s", GYRE_SECOND}};
    char number[24];
    size_t digits = strspn(text, "0123456789");
    uint64_t value;

    if (!strcmp(text, "off")) {
        *duration = -1;
        return true;
    }
    if (digits >= sizeof number)
        return false;
    memcpy(number, text, digits);
    number[digits] = 0;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(text + digits, units[i].name) ||
            !parse(number, 0, (uint64_t)(high / units[i].unit), false, &value))
            continue;
        *duration = (int64_t)value * units[i].unit;
        return *duration >= low;
    }
    return false;
}

static int read_durations(struct gyre_options *options)
{
    const char *text;

    if ((text = getenv("GYRE_QUANTUM")) &&
        !parse_duration(text, QUANTUM_MIN, QUANTUM_MAX, &options->quantum))
        return refuse("GYRE_QUANTUM", text, "off, or 100us to 10s, with us, ms or s behind it");
    if ((text = getenv("GYRE_WATCHDOG")) &&
        !parse_duration(text, WATCHDOG_MIN, WATCHDOG_MAX, &options->watchdog))
        return refuse("GYRE_WATCHDOG", text, "off, or at least 10ms, with us, ms or s behind it");
    return 0;
}

static int read_environment(struct gyre_options *options)
{
    const char *text;
    uint64_t number;

    if ((text = getenv("GYRE_WORKERS"))) {
        if (!parse(text, 1, WORKERS_MAX, false, &number))
            return refuse("GYRE_WORKERS", text, "a number from 1 to 1024");
        options->workers = (unsigned)number;
    }
    if ((text = getenv("GYRE_PINNING"))) {
        static const char *const names[] = {"auto", "off", "on"};
        size_t i = 0;

        while (i < ARRAY_SIZE(names) && strcmp(text, names[i]))
            i++;
        if (i == ARRAY_SIZE(names))
            return refuse("GYRE_PINNING", text, "auto, off or on");
        options->pinning = (enum gyre_pinning)i;
    }
    if ((text = getenv("GYRE_STACK_SIZE"))) {
        if (!parse(text, 1, STACK_SIZE_MAX, true, &number))
            return refuse("GYRE_STACK_SIZE", text, "bytes, up to 1024m, with k or m behind it");
        options->stack_size = number;
    }
    if ((text = getenv("GYRE_RING_ENTRIES"))) {
        if (!parse(text, RING_ENTRIES_MIN, RING_ENTRIES_MAX, false, &number))
            return refuse("GYRE_RING_ENTRIES", text, "a number from 4 to 32768");
        options->ring_entries = (unsigned)number;
    }
    if ((text = getenv("GYRE_HELPERS"))) {
        if (!parse(text, 1, HELPERS_MAX, false, &number))
            return refuse("GYRE_HELPERS", text, "a number from 1 to 1024");
        options->helpers = (unsigned)number;
    }
    if ((text = getenv("GYRE_GRACE"))) {
        if (!parse(text, 0, INT64_MAX / GYRE_MILLISECOND, false, &number))
            return refuse("GYRE_GRACE", text, "milliseconds");
        options->grace = number ? (int64_t)number * GYRE_MILLISECOND : -1;
    }
    if ((text = getenv("GYRE_SEED"))) {
        if (!parse(text, 1, UINT64_MAX, false, &number))
            return refuse("GYRE_SEED", text, "a number from 1");
        options->seed = number;
    }
    return read_durations(options);
}

static int read_debug(struct debug_topics *debug)
{
    const char *text = getenv("GYRE_DEBUG");

    memset(debug, 0, sizeof *debug);
    while (text && *text) {
        size_t length = strcspn(text, ",");

        if (length == 4 && !memcmp(text, "ring", 4))
            debug->ring = true;
        else if (length == 6 && !memcmp(text, "checks", 6))
            debug->checks = true;
        else if (length == 7 && !memcmp(text, "preempt", 7))
            debug->preempt = true;
        else if (length)
            return refuse("GYRE_DEBUG", text, "topics separated by commas: ring, checks, preempt");
        text += length + (text[length] == ',');
    }
    return 0;
}

static int check(const struct gyre_options *options)
{
    const char *wrong = NULL;

    if (options->workers > WORKERS_MAX)
        wrong = "workers: at most 1024";
    else if ((unsigned)options->pinning > GYRE_PINNING_ON)
        wrong = "pinning: one of enum gyre_pinning";
    else if (options->stack_size > STACK_SIZE_MAX)
        wrong = "stack_size: at most 1 GiB";
    else if (options->ring_entries &&
             (options->ring_entries < RING_ENTRIES_MIN || options->ring_entries > RING_ENTRIES_MAX))
        wrong = "ring_entries: 4 to 32768";
    else if (options->helpers > HELPERS_MAX)
        wrong = "helpers: at most 1024";
    else if (options->quantum > 0 &&
             (options->quantum < QUANTUM_MIN || options->quantum > QUANTUM_MAX))
        wrong = "quantum: 100 us to 10 s";
    else if (options->watchdog > 0 &&
             (options->watchdog < WATCHDOG_MIN || options->watchdog > WATCHDOG_MAX))
        wrong = "watchdog: 10 ms to an hour";
    if (!wrong)
        return 0;
    gyre_message("cannot start: an option makes no sense; %s", wrong);
    return -EINVAL;
}

int gyre_options_resolve(struct gyre_options *options, const struct gyre_options *asked,
                         struct debug_topics *debug)
{
    const struct gyre_options none = GYRE_OPTIONS_INIT;
    int error;

    *options = none;
    if (asked) {
        if (grow_copy(options, sizeof *options, OPTIONS_LEAST, asked, asked->size)) {
            gyre_message("cannot start: options not initialised with GYRE_OPTIONS_INIT, or of a "
                         "newer version");
            return -EINVAL;
        }
    }
    error = check(options);
    if (!error)
        error = read_environment(options);
    if (!error)
        error = read_debug(debug);
    if (!options->stack_size)
        options->stack_size = 128 << 10;
    if (!options->ring_entries)
        options->ring_entries = 256;
    if (!options->helpers)
        options->helpers = HELPERS_DEFAULT;
    if (!options->grace)
        options->grace = 5 * GYRE_SECOND;
    if (!options->quantum)
        options->quantum = QUANTUM_DEFAULT;
    return error;
}
