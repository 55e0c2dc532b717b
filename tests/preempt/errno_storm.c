/*
 * errno is the coroutine's between two calls that may park, though it is a variable of the thread
 * and others compute, and fail, on the same one.
 */
#include "storm.h"

#include <fcntl.h>
#include <sys/stat.h>

/* A function of its own: errno's address may not be kept over a park. */
static __attribute__((noinline)) void keep(struct storm_player *player)
{
    int mine = 1000 + (int)random_below(&player->random, 100000);

    for (int i = 0; i < 20; i++) {
        errno = mine + i;
        storm_work(&player->random);
        STORM_CHECK(errno == mine + i, "%d instead of %d", errno, mine + i);
    }
}

static __attribute__((noinline)) void fail(struct storm_player *player)
{
    char byte;
    unsigned i = random_below(&player->random, 6);
    int result = 0, wanted = 0;

    errno = 0;
    switch (i) {
    case 0:
        result = open("/none/such", O_RDONLY | O_CLOEXEC);
        wanted = ENOENT;
        break;
    case 1:
        result = (int)read(-1, &byte, 1);
        wanted = EBADF;
        break;
    case 2:
        result = mkdir("/", 0700);
        wanted = EEXIST;
        break;
    case 3:
        result = open("/", O_WRONLY | O_CLOEXEC);
        wanted = EISDIR;
        break;
    case 4:
        result = strtol("99999999999999999999999", NULL, 10) == INT64_MAX ? -1 : 0;
        wanted = ERANGE;
        break;
    default:
        result = (int)lseek(-1, 0, SEEK_SET);
        wanted = EBADF;
    }
    STORM_CHECK(result == -1 && errno == wanted, "%u gave %d, errno %d", i, result, errno);
    storm_work(&player->random);
    STORM_CHECK(errno == wanted, "%d instead of %d", errno, wanted);
}

static int play(struct storm_player *player)
{
    while (!storm_over()) {
        keep(player);
        fail(player);
        player->rounds++;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static const struct storm_part parts[] = {{"errno", play, 8}};

    return storm(argc, argv, parts, ARRAY_SIZE(parts));
}
