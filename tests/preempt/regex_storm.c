/*
 * Regular expressions: regcomp allocates, and regexec locks the compiled expression, which
 * coroutines share here; each must find what is there.
 */
#include "storm.h"

#include <fnmatch.h>
#include <regex.h>

static regex_t shared;

static void search(const regex_t *expression, struct random *random)
{
    regmatch_t matches[3];
    char text[200];
    unsigned number = random_below(random, 100000), before = random_below(random, 50);
    int length = snprintf(text, sizeof text, "%*s key-%u=value%u; rest", (int)before, "", number,
                          number * 2);

    STORM_CHECK(regexec(expression, text, 3, matches, 0) == 0, "no match: %s", text);
    STORM_CHECK(matches[0].rm_so == (int)before + 1, "at %d: %s", matches[0].rm_so, text);
    STORM_CHECK((unsigned)atoi(text + matches[1].rm_so) == number, "%s", text);
    STORM_CHECK((unsigned)atoi(text + matches[2].rm_so) == number * 2, "%s", text);
    text[length - 7] = 'x'; /* the semicolon */
    text[before + 1] = 'K';
    STORM_CHECK(regexec(expression, text, 3, matches, 0) == REG_NOMATCH, "a match: %s", text);
}

static int share(struct storm_player *player)
{
    while (!storm_over()) {
        search(&shared, &player->random);
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int compile(struct storm_player *player)
{
    while (!storm_over()) {
        regex_t mine;
        char name[64];

        STORM_CHECK(!regcomp(&mine, "key-([0-9]+)=value([[:digit:]]*);", REG_EXTENDED), "regcomp");
        storm_compute(&player->random);
        for (int i = 0; i < 5; i++)
            search(&mine, &player->random);
        regfree(&mine);
        snprintf(name, sizeof name, "file-%u.c", random_below(&player->random, 100));
        STORM_CHECK(fnmatch("f?le-[0-9]*.[ch]", name, 0) == 0, "%s", name);
        player->rounds++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"share", share, 3}, {"compile", compile, 3}};

    STORM_CHECK(!regcomp(&shared, "key-([0-9]+)=value([0-9]+);", REG_EXTENDED), "regcomp");
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
