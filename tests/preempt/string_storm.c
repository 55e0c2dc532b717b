/* String functions find what simple loops find, interrupted or not. */
#include "storm.h"

#include <ctype.h>
#include <wchar.h>

enum { SIZE = 3000 };

static size_t length_of(const char *text)
{
    size_t n = 0;

    while (__atomic_load_n(&text[n], __ATOMIC_RELAXED))
        n++;
    return n;
}

static void find(char *text, size_t length, struct random *random)
{
    size_t where = random_below(random, (uint32_t)length);
    char saved = text[where];

    text[where] = '!';
    STORM_CHECK(strchr(text, '!') == text + where, "strchr");
    STORM_CHECK(strrchr(text, '!') == text + where, "strrchr");
    STORM_CHECK(strcspn(text, "?!") == where, "strcspn");
    STORM_CHECK(strspn(text, "abcdefghijklmnopqrstuvwxyz") == where, "strspn");
    STORM_CHECK(strpbrk(text, "!?") == text + where, "strpbrk");
    STORM_CHECK(strstr(text, "!") == text + where, "strstr");
    text[where] = saved;
}

static void copy(const char *text, size_t length, struct random *random)
{
    static const char tail[] = "-tail";
    char other[SIZE + sizeof tail], *end = stpcpy(other, text);

    STORM_CHECK(end == other + length && strcmp(other, text) == 0, "stpcpy");
    strcat(other, tail);
    STORM_CHECK(strncmp(other, text, length) == 0 && strcmp(other, text) > 0, "strcat");
    storm_work(random);
    STORM_CHECK(strcmp(strstr(other, tail), tail) == 0, "strstr");
    for (size_t i = 0; i < length; i++)
        other[i] = (char)toupper((unsigned char)other[i]);
    STORM_CHECK(strncasecmp(other, text, length) == 0, "strncasecmp");
}

static void split(struct random *random)
{
    unsigned numbers[50], count = 1 + random_below(random, ARRAY_SIZE(numbers)), i = 0;
    char text[1000], *rest = NULL;
    size_t at = 0;

    for (unsigned n = 0; n < count; n++) {
        numbers[n] = random_below(random, 1000000);
        at += (size_t)snprintf(text + at, sizeof text - at, "%u,", numbers[n]);
    }
    for (char *word = strtok_r(text, ",", &rest); word; word = strtok_r(NULL, ",", &rest), i++) {
        char *end;

        STORM_CHECK(i < count && strtoul(word, &end, 10) == numbers[i] && !*end, "%s", word);
        storm_work(random);
    }
    STORM_CHECK(i == count, "%u words of %u", i, count);
}

static void widen(const char *text, size_t length)
{
    wchar_t wide[SIZE];

    for (size_t i = 0; i <= length; i++)
        wide[i] = (wchar_t)text[i];
    STORM_CHECK(wcslen(wide) == length, "wcslen");
    STORM_CHECK(wcschr(wide, L'!') == NULL && wmemchr(wide, 0, SIZE) == wide + length, "wcschr");
}

static int play(struct storm_player *player)
{
    char text[SIZE];

    while (!storm_over()) {
        size_t length = 1 + random_below(&player->random, SIZE - 2);

        for (size_t i = 0; i < length; i++)
            text[i] = (char)('a' + random_below(&player->random, 26));
        text[length] = '\0';
        STORM_CHECK(strlen(text) == length && length_of(text) == length, "strlen");
        find(text, length, &player->random);
        copy(text, length, &player->random);
        split(&player->random);
        widen(text, length);
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"strings", play, 6}};

    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
