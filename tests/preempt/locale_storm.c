/*
 * The C library's locales, environment, time zones, names and character sets: state of the process
 * or of the thread behind locks of its own. A locale in use is the thread's, hence within
 * gyre_preempt_off.
 */
#include "storm.h"

#include <arpa/inet.h>
#include <iconv.h>
#include <locale.h>
#include <netdb.h>
#include <pwd.h>
#include <time.h>
#include <wchar.h>

static int locales(struct storm_player *player)
{
    while (!storm_over()) {
        locale_t c = newlocale(LC_ALL_MASK, "C", NULL), utf8, before;
        wchar_t wide[4];
        mbstate_t state;
        const char *text = "\xc3\xa4";
        size_t n;

        STORM_CHECK(c, "no locale");
        utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", duplocale(c));
        STORM_CHECK(utf8, "no C.UTF-8");
        storm_compute(&player->random);
        STORM_CHECK(strtod_l("1.5", NULL, c) == 1.5, "strtod_l");
        gyre_preempt_off();
        before = uselocale(utf8);
        storm_enter("who uses a locale");
        storm_work(&player->random);
        memset(&state, 0, sizeof state);
        n = mbsrtowcs(wide, &text, 4, &state);
        storm_leave();
        STORM_CHECK(uselocale(before) == utf8, "another's locale");
        gyre_preempt_on();
        STORM_CHECK(n == 1 && wide[0] == 0xe4, "%zu characters", n);
        STORM_CHECK(setlocale(LC_ALL, NULL), "no locale at all");
        freelocale(utf8);
        freelocale(c);
        player->rounds++;
    }
    return 0;
}

/* The only one that sets the process's. */
static int set_locale(struct storm_player *player)
{
    while (!storm_over()) {
        STORM_CHECK(setlocale(LC_TIME, player->rounds % 2 ? "C" : "POSIX"), "setlocale");
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int environment(struct storm_player *player)
{
    while (!storm_over()) {
        const char *path = getenv("STORM_VARIABLE");

        STORM_CHECK(path && strcmp(path, "its value") == 0, "getenv");
        STORM_CHECK(!getenv("STORM_NONE"), "getenv");
        storm_compute(&player->random);
        player->rounds++;
    }
    return 0;
}

static int times(struct storm_player *player)
{
    while (!storm_over()) {
        time_t now = (time_t)random_below(&player->random, 2000000000);
        struct tm utc, local, scanned = {0};
        char text[100], wanted[100];
        int years, days;

        STORM_CHECK(gmtime_r(&now, &utc) && localtime_r(&now, &local), "no time");
        storm_compute(&player->random);
        STORM_CHECK(timegm(&utc) == now, "timegm");
        STORM_CHECK(mktime(&local) == now, "mktime");
        STORM_CHECK(strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S", &utc) == 19, "strftime");
        snprintf(wanted, sizeof wanted, "%04d-%02d-%02d %02d:%02d:%02d", utc.tm_year + 1900,
                 utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
        STORM_CHECK(strcmp(text, wanted) == 0, "%s is %s", wanted, text);
        STORM_CHECK(strptime(text, "%Y-%m-%d %H:%M:%S", &scanned), "strptime");
        years = scanned.tm_year - utc.tm_year;
        days = scanned.tm_yday - utc.tm_yday;
        STORM_CHECK(years == 0 && days == 0, "strptime of %s", text);
        player->rounds++;
    }
    return 0;
}

static int names(struct storm_player *player)
{
    const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
                                   .ai_socktype = SOCK_STREAM};

    while (!storm_over()) {
        char host[32], service[8], back[NI_MAXHOST];
        struct addrinfo *found;
        struct passwd entry, *root;
        char buffer[2048];

        snprintf(host, sizeof host, "10.%u.%u.7", random_below(&player->random, 256),
                 random_below(&player->random, 256));
        snprintf(service, sizeof service, "%u", 1 + random_below(&player->random, 65000));
        STORM_CHECK(!getaddrinfo(host, service, &hints, &found), "getaddrinfo %s", host);
        storm_compute(&player->random);
        STORM_CHECK(!getnameinfo(found->ai_addr, found->ai_addrlen, back, sizeof back, NULL, 0,
                                 NI_NUMERICHOST),
                    "getnameinfo");
        STORM_CHECK(strcmp(back, host) == 0, "%s is %s", host, back);
        freeaddrinfo(found);
        if (player->rounds % 16 == 0) {
            STORM_CHECK(!getpwnam_r("root", &entry, buffer, sizeof buffer, &root), "getpwnam_r");
            STORM_CHECK(!root || root->pw_uid == 0, "root is %u", root->pw_uid);
        }
        player->rounds++;
    }
    return 0;
}

static int character_sets(struct storm_player *player)
{
    while (!storm_over()) {
        iconv_t there = iconv_open("UTF-16LE", "UTF-8"), back = iconv_open("UTF-8", "UTF-16LE");
        char text[64] = "gr\xc3\xbc\xc3\x9f \xe2\x82\xac", wide[200], again[64] = "";
        char *in = text, *out = wide;
        size_t left = strlen(text) + 1, room = sizeof wide;

        /* A C library without its tables has none of these. */
        if (there == (iconv_t)-1 || back == (iconv_t)-1)
            return 0;
        STORM_CHECK(iconv(there, &in, &left, &out, &room) != (size_t)-1, "iconv");
        storm_compute(&player->random);
        in = wide;
        left = sizeof wide - room;
        out = again;
        room = sizeof again;
        STORM_CHECK(iconv(back, &in, &left, &out, &room) != (size_t)-1, "iconv");
        STORM_CHECK(strcmp(text, again) == 0, "%s", again);
        iconv_close(there);
        iconv_close(back);
        player->rounds++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {
        {"locales", locales, 2},    {"setlocale", set_locale, 1},
        {"getenv", environment, 1}, {"times", times, 2},
        {"names", names, 2},        {"character sets", character_sets, 2}};

    setenv("STORM_VARIABLE", "its value", 1);
    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
