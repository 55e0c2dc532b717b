/*
 * Streams stay whole: lines that many coroutines print to one stream arrive whole and in each one's
 * order, files of one's own read back as written, strings print and scan as they should, and
 * functions of the program that a stream calls (fopencookie), while it is locked, are never
 * interrupted.
 */
#include "storm.h"

#include <fcntl.h>

enum { PRINTERS = 4 };

/* --- one stream for all: a pipe whose other end a foreign thread reads -----------------------
 */

static FILE *shared;
static pthread_t reader;
static uint64_t printed[PRINTERS], arrived[PRINTERS];

static unsigned sum(const char *text, size_t length)
{
    unsigned sum = 0;

    for (size_t i = 0; i < length; i++)
        sum = sum * 31 + (unsigned char)text[i];
    return sum;
}

static void *read_lines(void *arg)
{
    FILE *in = arg;
    char line[4096];

    while (fgets(line, sizeof line, in)) {
        unsigned printer, got;
        unsigned long long number;
        int at = 0;

        STORM_CHECK(sscanf(line, "%u %llu %x:%n", &printer, &number, &got, &at) == 3 && at > 0,
                    "a torn line: %.200s", line);
        STORM_CHECK(printer < PRINTERS && number == arrived[printer], "line %llu instead of %llu",
                    number, (unsigned long long)arrived[printer % PRINTERS]);
        arrived[printer]++;
        STORM_CHECK(got == sum(line + at, strlen(line + at) - 1), "a line's end is another's: %s",
                    line);
    }
    fclose(in);
    return NULL;
}

static void open_shared(void)
{
    int fds[2];

    STORM_CHECK(pipe2(fds, O_CLOEXEC) == 0, "no pipe");
    shared = fdopen(fds[1], "w");
    STORM_CHECK(shared, "no stream");
    memset(printed, 0, sizeof printed);
    memset(arrived, 0, sizeof arrived);
    STORM_CHECK(!pthread_create(&reader, NULL, read_lines, fdopen(fds[0], "r")), "no thread");
}

static void close_shared(void)
{
    STORM_CHECK(fclose(shared) == 0, "not flushed");
    pthread_join(reader, NULL);
    for (int i = 0; i < PRINTERS; i++)
        STORM_CHECK(arrived[i] == printed[i], "%llu lines of %llu arrived",
                    (unsigned long long)arrived[i], (unsigned long long)printed[i]);
}

static int print_lines(struct storm_player *player)
{
    char text[1001];

    while (!storm_over()) {
        for (int n = 0; n < 20; n++) {
            size_t length = random_below(&player->random, n ? 60 : sizeof text - 1);

            for (size_t i = 0; i < length; i++)
                text[i] = (char)('0' + random_below(&player->random, 75));
            text[length] = '\0';
            STORM_CHECK(fprintf(shared, "%u %llu %x:%s\n", player->index,
                                (unsigned long long)printed[player->index], sum(text, length),
                                text) > 0,
                        "not printed");
            printed[player->index]++;
        }
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

/* --- streams of one's own --------------------------------------------------------------------
 */

static int write_and_read(struct storm_player *player)
{
    while (!storm_over()) {
        FILE *file = tmpfile();
        struct random replay;
        char line[200];
        int lines = (int)random_below(&player->random, 100), n;

        STORM_CHECK(file, "no temporary file");
        replay = player->random;
        for (n = 0; n < lines; n++) {
            unsigned number = random_below(&player->random, 1000000);

            switch (n % 3) {
            case 0:
                fprintf(file, "line %d has %u\n", n, number);
                break;
            case 1:
                snprintf(line, sizeof line, "line %d has %u\n", n, number);
                fwrite(line, strlen(line), 1, file);
                break;
            default:
                snprintf(line, sizeof line, "line %d has %u", n, number);
                fputs(line, file);
                putc('\n', file);
            }
        }
        storm_compute(&player->random);
        rewind(file);
        for (n = 0; fgets(line, sizeof line, file); n++) {
            int index;
            unsigned number;

            STORM_CHECK(sscanf(line, "line %d has %u", &index, &number) == 2 && index == n,
                        "line %d: %s", n, line);
            STORM_CHECK(number == random_below(&replay, 1000000), "line %d: %s", n, line);
        }
        STORM_CHECK(n == lines, "%d lines of %d", n, lines);
        fclose(file);
        player->rounds++;
    }
    return 0;
}

static int strings(struct storm_player *player)
{
    while (!storm_over()) {
        char text[512], *grown = NULL;
        size_t size = 0;
        double value = (double)(int64_t)random_next(&player->random) / 1024, scanned = 0;
        long long number = (long long)random_next(&player->random), other = 0;
        FILE *stream;

        STORM_CHECK(snprintf(text, sizeof text, "%.17g %lld %200s", value, number, "end") > 0,
                    "nothing");
        STORM_CHECK(sscanf(text, "%lf %lld", &scanned, &other) == 2, "%s", text);
        STORM_CHECK(memcmp(&scanned, &value, sizeof value) == 0 && other == number, "%s", text);
        stream = open_memstream(&grown, &size);
        STORM_CHECK(stream, "no stream");
        for (int i = 0; i < 50; i++)
            fprintf(stream, "%05d%c", i, i % 10 == 9 ? '\n' : ' ');
        storm_compute(&player->random);
        fclose(stream);
        STORM_CHECK(size == 300 && memcmp(grown + 294, "00049\n", 6) == 0, "%zu", size);
        stream = fmemopen(grown, size, "r");
        STORM_CHECK(stream, "no stream");
        for (int i = 0, got; i < 50; i++)
            STORM_CHECK(fscanf(stream, "%d", &got) == 1 && got == i, "%d", got);
        fclose(stream);
        free(grown);
        player->rounds++;
    }
    return 0;
}

/* --- functions that a stream calls ------------------------------------------------------------
 */

static ssize_t take(void *cookie, const char *text, size_t size)
{
    struct storm_player *player = cookie;

    (void)text;
    storm_enter("a stream's write function");
    for (int i = 0; i < 30; i++)
        storm_work(&player->random);
    storm_leave();
    return (ssize_t)size;
}

static int called_back(struct storm_player *player)
{
    const cookie_io_functions_t functions = {.write = take};
    FILE *stream = fopencookie(player, "w", functions);

    STORM_CHECK(stream, "no stream");
    setvbuf(stream, NULL, _IOLBF, 64);
    while (!storm_over()) {
        fprintf(stream, "%d\n", 1);
        storm_compute(&player->random);
        player->rounds++;
    }
    fclose(stream);
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"lines", print_lines, PRINTERS},
                                              {"files", write_and_read, 2},
                                              {"strings", strings, 2},
                                              {"cookies", called_back, 1}};

    storm_settings.before = open_shared;
    storm_settings.finish = close_shared;
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
