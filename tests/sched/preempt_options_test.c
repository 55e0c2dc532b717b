/* The options of preemption, their environment variables, and the program's own SIGURG. */
#include "inside.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static int note_mode(void *mode)
{
    struct gyre_preempt_counts counts = {.size = sizeof counts};
    int error = gyre_preempt_count(&counts);

    *(const char **)mode = counts.mode;
    return error;
}

static int nothing(void *unused)
{
    (void)unused;
    return 0;
}

/* --- options -----------------------------------------------------------------------------------
 */

static void environment(const char *name, const char *value, const char *takes)
{
    char line[256];

    snprintf(line, sizeof line, "gyre: cannot start: %s=%s makes no sense; it takes %s\n", name,
             value, takes);
    setenv(name, value, 1);
    note_messages();
    cr_assert_eq(gyre_run(nothing, NULL), takes ? -EINVAL : 0, "%s=%s", name, value);
    cr_assert_str_eq(messages, takes ? line : "");
    unsetenv(name);
}

Test(options, environment_takes_durations)
{
    static const char *const quanta[] = {"100us", "10ms", "10s", "off", "0200us"};
    static const char *const wrong[] = {"",
                                        "10",
                                        "ms",
                                        "99us",
                                        "11s",
                                        "0ms",
                                        "-10ms",
                                        "10 ms",
                                        "10msx",
                                        "0x10ms",
                                        "10m",
                                        "on",
                                        "1.5ms",
                                        "+1ms",
                                        " 10ms",
                                        "10ms ",
                                        "99999999999999999999s",
                                        "9223372036854775807us",
                                        "111111111111111111111111111us"};
    static const char *const patience[] = {"10ms", "1s", "3600s", "off"};

    for (size_t i = 0; i < sizeof quanta / sizeof *quanta; i++)
        environment("GYRE_QUANTUM", quanta[i], NULL);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        environment("GYRE_QUANTUM", wrong[i], "off, or 100us to 10s, with us, ms or s behind it");
    for (size_t i = 0; i < sizeof patience / sizeof *patience; i++)
        environment("GYRE_WATCHDOG", patience[i], NULL);
    environment("GYRE_WATCHDOG", "9ms", "off, or at least 10ms, with us, ms or s behind it");
    environment("GYRE_WATCHDOG", "3601s", "off, or at least 10ms, with us, ms or s behind it");
}

static void field(int64_t quantum, int64_t watchdog, const char *wanted)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    char line[160];

    options.quantum = quantum;
    options.watchdog = watchdog;
    snprintf(line, sizeof line, "gyre: cannot start: an option makes no sense; %s\n", wanted);
    note_messages();
    cr_assert_eq(gyre_run_options(nothing, NULL, &options), wanted ? -EINVAL : 0);
    cr_assert_str_eq(messages, wanted ? line : "");
}

Test(options, fields_are_checked)
{
    field(100 * GYRE_MICROSECOND, 10 * GYRE_MILLISECOND, NULL);
    field(10 * GYRE_SECOND, GYRE_HOUR, NULL);
    field(INT64_MIN, INT64_MIN, NULL);
    field(100 * GYRE_MICROSECOND - 1, 0, "quantum: 100 us to 10 s");
    field(10 * GYRE_SECOND + 1, 0, "quantum: 100 us to 10 s");
    field(0, 10 * GYRE_MILLISECOND - 1, "watchdog: 10 ms to an hour");
    field(0, GYRE_HOUR + 1, "watchdog: 10 ms to an hour");
}

Test(options, of_a_program_that_knows_no_quantum_are_taken)
{
    struct gyre_options options = GYRE_OPTIONS_INIT;
    const char *mode = NULL;

    options.size = offsetof(struct gyre_options, quantum);
    options.quantum = 1; /* not looked at */
    options.watchdog = 1;
    cr_assert_eq(gyre_run_options(note_mode, &mode, &options), 0);
    cr_assert_str_neq(mode, "off");
}

/* --- the signal --------------------------------------------------------------------------------
 */

static atomic_int urgent;

static void note_urgent(int signal)
{
    (void)signal;
    atomic_fetch_add(&urgent, 1);
}

static int raise_urgent(void *unused)
{
    (void)unused;
    raise(SIGURG);
    kill(getpid(), SIGURG);
    await_flag(&urgent, 2);
    return 0;
}

Test(signal, of_the_program_is_passed_on_and_its_handler_put_back)
{
    struct sigaction action = {.sa_handler = note_urgent}, now;

    sigaction(SIGURG, &action, NULL);
    for (int i = 0; i < 2; i++) {
        atomic_store(&urgent, 0);
        cr_assert_eq(run_with_workers(2, raise_urgent, NULL), 0);
        cr_assert_eq(atomic_load(&urgent), 2);
        sigaction(SIGURG, NULL, &now);
        cr_assert_eq(now.sa_handler, note_urgent);
    }
}
