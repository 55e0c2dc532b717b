/*
 * Command lines of the examples: long options by getopt_long, --help, and an error that says
 * which option and what it may be. A wrong command line ends the program with status 2.
 */
#ifndef EXAMPLES_COMMON_OPTIONS_H
#define EXAMPLES_COMMON_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_NUMBER,  /* long */
    OPTION_SECONDS, /* int64_t, in ns; written as seconds, "0.25" too */
    OPTION_TEXT,    /* const char *, of the command line */
    OPTION_FLAG     /* bool; takes no value */
};

struct option_entry {
    const char *name;
    const char *placeholder; /* NULL: "N" */
    const char *help;
    enum option_kind kind;
    long least, most; /* of a number or of seconds; both 0: 0 to 2^31 - 1 */
    void *value;      /* holds the default, which is untouched where the option is not given */
};

/* What servers have in common. */
#define OPTION_PORT(pointer)                                                                       \
    {                                                                                              \
        "port", NULL, "where to listen, on 127.0.0.1; 0 picks a free one", OPTION_NUMBER, 0,       \
            65535, pointer                                                                         \
    }
#define OPTION_WORKERS(pointer)                                                                    \
    {                                                                                              \
        "workers", NULL, "worker threads; 0 is one per CPU", OPTION_NUMBER, 0, 1024, pointer       \
    }

/* Stores what argv gives; does not return after --help (status 0) or an error (status 2). */
void options_parse(int argc, char **argv, const char *about, const struct option_entry *entries,
                   size_t count);

/*
 * The same for programs that take operands after the options: between least and most of them,
 * named for the help ("PATTERN PATH..."). Returns the index of the first in argv.
 */
int options_parse_operands(int argc, char **argv, const char *about,
                           const struct option_entry *entries, size_t count, const char *operands,
                           int least, int most);

#endif
