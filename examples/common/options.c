/*
 * The table of entries becomes getopt_long's: the index of an entry is its code. Numbers are
 * taken only whole ("8x" is an error), and within their limits.
 */
#include "common/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTIONS_MAX = 32, HELP = OPTIONS_MAX };

static void limits(const struct option_entry *entry, long *least, long *most)
{
    *least = entry->least;
    *most = entry->least == 0 && entry->most == 0 ? INT32_MAX : entry->most;
}

static const char *placeholder(const struct option_entry *entry)
{
    if (entry->placeholder)
        return entry->placeholder;
    if (entry->kind == OPTION_FLAG)
        return "";
    return entry->kind == OPTION_SECONDS ? "S" : "N";
}

static void help(const char *program, const char *about, const struct option_entry *entries,
                 size_t count, const char *operands)
{
    printf("usage: %s [options] %s\n%s\n\n", program, operands, about);
    for (size_t i = 0; i < count; i++) {
        int width = printf("  --%s %s", entries[i].name, placeholder(&entries[i]));

        printf("%*s%s\n", width < 28 ? 28 - width : 1, "", entries[i].help);
    }
    printf("  --help%*sthis text\n", 20, "");
}

static void bad_value(const char *program, const struct option_entry *entry, const char *text)
{
    long least, most;

    limits(entry, &least, &most);
    fprintf(stderr, "%s: --%s takes %s from %ld to %ld, not '%s'\n", program, entry->name,
            entry->kind == OPTION_SECONDS ? "seconds" : "a number", least, most, text);
    exit(2);
}

static void store(const char *program, const struct option_entry *entry, const char *text)
{
    char *end;
    long least, most;

    limits(entry, &least, &most);
    errno = 0;
    if (entry->kind == OPTION_FLAG) {
        *(bool *)entry->value = true;
    } else if (entry->kind == OPTION_TEXT) {
        *(const char **)entry->value = text;
    } else if (entry->kind == OPTION_NUMBER) {
        long value = strtol(text, &end, 10);

        if (errno || end == text || *end || value < least || value > most)
            bad_value(program, entry, text);
        *(long *)entry->value = value;
    } else {
        double value = strtod(text, &end);

        /* written so that a NaN is refused as well */
        if (errno || end == text || *end || !(value >= (double)least && value <= (double)most))
            bad_value(program, entry, text);
        *(int64_t *)entry->value = (int64_t)(value * 1e9);
    }
}

int options_parse_operands(int argc, char **argv, const char *about,
                           const struct option_entry *entries, size_t count, const char *operands,
                           int least, int most)
{
    struct option known[OPTIONS_MAX + 2] = {{0}};
    const char *slash = strrchr(argv[0], '/'), *program = slash ? slash + 1 : argv[0];
    int choice;

    if (count > OPTIONS_MAX)
        abort();
    for (size_t i = 0; i < count; i++)
        known[i] = (struct option){entries[i].name,
                                   entries[i].kind == OPTION_FLAG ? no_argument : required_argument,
                                   NULL, (int)i};
    known[count] = (struct option){"help", no_argument, NULL, HELP};
    while ((choice = getopt_long(argc, argv, "", known, NULL)) != -1) {
        if (choice == HELP) {
            help(program, about, entries, count, operands);
            exit(0);
        }
        if (choice >= OPTIONS_MAX) { /* getopt_long said what is wrong */
            fprintf(stderr, "try %s --help\n", program);
            exit(2);
        }
        store(program, &entries[choice], optarg);
    }
    if (argc - optind > most) {
        fprintf(stderr, "%s: '%s' is %s; try %s --help\n", program, argv[optind + most],
                most ? "one too many" : "not an option", program);
        exit(2);
    }
    if (argc - optind < least) {
        fprintf(stderr, "%s: %s is missing; try %s --help\n", program, operands, program);
        exit(2);
    }
    return optind;
}

void options_parse(int argc, char **argv, const char *about, const struct option_entry *entries,
                   size_t count)
{
    options_parse_operands(argc, argv, about, entries, count, "", 0, 0);
}
