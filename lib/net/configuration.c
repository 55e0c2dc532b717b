/* What the files of the machine say about names. What makes no sense there is passed over. */
#include "net/configuration.h"

#include "base/macros.h"

#include <gyre/time.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Which of `seen`. */
enum { FILE_RESOLV, FILE_HOSTS, FILE_SWITCH };

/* Where the variables don't name others. */
static const struct {
    const char *variable, *path;
} places[SEEN_FILES] = {
    [FILE_RESOLV] = {"GYRE_RESOLV_CONF", "/etc/resolv.conf"},
    [FILE_HOSTS] = {"GYRE_HOSTS", "/etc/hosts"},
    [FILE_SWITCH] = {"GYRE_NSSWITCH", "/etc/nsswitch.conf"},
};

/* As in resolv.conf(5). */
enum {
    TIMEOUT = 5,
    TIMEOUT_MOST = 30,
    ATTEMPTS = 2,
    ATTEMPTS_MOST = 5,
    NDOTS = 1,
    NDOTS_MOST = 15
};

static const char blanks[] = " \t\r\n";

static const char *path_of(int file)
{
    const char *path = secure_getenv(places[file].variable);

    return path && *path ? path : places[file].path;
}

/* The servers' port, for tests that may not listen on 53. */
static unsigned short server_port(void)
{
    const char *text = secure_getenv("GYRE_RESOLV_PORT");
    long port = text ? strtol(text, NULL, 10) : 0;

    return port > 0 && port < 65536 ? (unsigned short)port : 53;
}

static struct seen look(const char *path)
{
    struct stat status;
    struct seen seen = {0};

    if (stat(path, &status) < 0)
        return seen;
    seen.device = status.st_dev;
    seen.inode = status.st_ino;
    seen.size = status.st_size;
    seen.modified = status.st_mtim.tv_sec * GYRE_SECOND + status.st_mtim.tv_nsec;
    seen.changed = status.st_ctim.tv_sec * GYRE_SECOND + status.st_ctim.tv_nsec;
    return seen;
}

bool gyre_configuration_stale(const struct configuration *configuration)
{
    for (int i = 0; i < SEEN_FILES; i++) {
        const struct seen *old = &configuration->seen[i];
        const char *path = path_of(i);
        struct seen now = look(path);

        if (strcmp(old->path, path) || old->device != now.device || old->inode != now.inode ||
            old->size != now.size || old->modified != now.modified || old->changed != now.changed)
            return true;
    }
    return configuration->port != server_port();
}

const char *gyre_configuration_servers(const struct configuration *configuration)
{
    return configuration->seen[FILE_RESOLV].path;
}

void gyre_configuration_free(struct configuration *configuration)
{
    if (!configuration)
        return;
    for (int i = 0; i < SEEN_FILES; i++)
        free(configuration->seen[i].path);
    for (unsigned i = 0; i < configuration->domain_count; i++)
        free(configuration->domains[i]);
    gyre_hosts_free(&configuration->hosts);
    free(configuration);
}

/* --- resolv.conf ------------------------------------------------------------------------------ */

static int set_domains(struct configuration *configuration, char *words, bool single)
{
    char *rest, *word = strtok_r(words, blanks, &rest);

    while (configuration->domain_count)
        free(configuration->domains[--configuration->domain_count]);
    for (; word && configuration->domain_count < DOMAINS_MOST;
         word = single ? NULL : strtok_r(NULL, blanks, &rest)) {
        size_t length = strlen(word);
        char *copy;

        if (word[length - 1] == '.')
            word[--length] = 0;
        if (!length)
            continue; /* the root: names as they are, which are tried anyway */
        copy = strdup(word);
        if (!copy)
            return -ENOMEM;
        configuration->domains[configuration->domain_count++] = copy;
    }
    return 0;
}

static bool number_option(const char *word, const char *name, int least, int most, int *value)
{
    size_t length = strlen(name);
    long number;

    if (strncmp(word, name, length))
        return false;
    number = strtol(word + length, NULL, 10);
    *value = number < least ? least : number > most ? most : (int)number;
    return true;
}

static void set_options(struct configuration *configuration, char *words)
{
    char *rest, *word = strtok_r(words, blanks, &rest);
    int value;

    for (; word; word = strtok_r(NULL, blanks, &rest)) {
        if (number_option(word, "ndots:", 0, NDOTS_MOST, &value))
            configuration->ndots = (unsigned)value;
        else if (number_option(word, "timeout:", 1, TIMEOUT_MOST, &value))
            configuration->timeout = value * 1000;
        else if (number_option(word, "attempts:", 1, ATTEMPTS_MOST, &value))
            configuration->attempts = value;
        else if (!strcmp(word, "use-vc"))
            configuration->tcp = true;
        else if (!strcmp(word, "edns0"))
            configuration->edns = true;
    }
}

static int resolv_line(struct configuration *configuration, char *line)
{
    char *rest, *word = strtok_r(line, blanks, &rest);

    if (!word)
        return 0;
    if (!strcmp(word, "search") || !strcmp(word, "domain"))
        return set_domains(configuration, rest, *word == 'd');
    if (!strcmp(word, "options"))
        set_options(configuration, rest);
    return 0;
}

/* --- nsswitch.conf ---------------------------------------------------------------------------- */

static int switch_line(struct configuration *configuration, char *line)
{
    bool files = false, dns = false, dns_first = false;
    char *rest, *word;

    line[strcspn(line, "#")] = 0;
    line += strspn(line, blanks);
    if (strncmp(line, "hosts:", 6))
        return 0;
    for (word = strtok_r(line + 6, blanks, &rest); word; word = strtok_r(NULL, blanks, &rest)) {
        if (!strcmp(word, "files")) {
            files = true;
        } else if (!strcmp(word, "dns") || !strcmp(word, "resolve")) {
            /* systemd-resolved is what resolv.conf names then */
            dns_first |= !files;
            dns = true;
        }
    }
    if (files || dns) {
        configuration->files = files;
        configuration->dns = dns;
        configuration->dns_first = dns && dns_first;
    }
    return 0;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int each_line(struct configuration *configuration, int file,
                     int (*take)(struct configuration *, char *))
{
    FILE *stream = fopen(configuration->seen[file].path, "re");
    char *line = NULL;
    size_t size = 0;
    int error = 0;

    if (!stream)
        return errno == ENOMEM ? -ENOMEM : 0;
    while (!error && getline(&line, &size, stream) > 0)
        if (*line != '#' && *line != ';')
            error = take(configuration, line);
    free(line);
    fclose(stream);
    return error;
}

/* The host's own, where neither a file nor a variable names one. */
static int default_domain(struct configuration *configuration)
{
    char name[256], *dot;

    if (configuration->domain_count || gethostname(name, sizeof name) < 0)
        return 0;
    name[sizeof name - 1] = 0;
    dot = strchr(name, '.');
    return dot && dot[1] ? set_domains(configuration, dot + 1, true) : 0;
}

static int with_variable(struct configuration *configuration, const char *variable,
                         int (*take)(struct configuration *, char *))
{
    const char *value = secure_getenv(variable);
    char *copy = value ? strdup(value) : NULL;
    int error = 0;

    if (!value)
        return 0;
    if (!copy)
        return -ENOMEM;
    error = take(configuration, copy);
    free(copy);
    return error;
}

static int take_domains(struct configuration *configuration, char *words)
{
    return set_domains(configuration, words, false);
}

static int take_options(struct configuration *configuration, char *words)
{
    set_options(configuration, words);
    return 0;
}

/* The files are looked at before they are read: what changes in between is seen the next time. */
static int read_all(struct configuration *configuration)
{
    int error;

    for (int i = 0; i < SEEN_FILES; i++) {
        const char *path = path_of(i);

        configuration->seen[i] = look(path);
        configuration->seen[i].path = strdup(path);
        if (!configuration->seen[i].path)
            return -ENOMEM;
    }
    error = gyre_hosts_read(&configuration->hosts, configuration->seen[FILE_HOSTS].path);
    if (!error)
        error = each_line(configuration, FILE_RESOLV, resolv_line);
    if (!error)
        error = default_domain(configuration);
    if (!error)
        error = with_variable(configuration, "LOCALDOMAIN", take_domains);
    if (!error)
        error = with_variable(configuration, "RES_OPTIONS", take_options);
    if (!error)
        error = each_line(configuration, FILE_SWITCH, switch_line);
    return error;
}

int gyre_configuration_read(struct configuration **read)
{
    struct configuration *configuration = calloc(1, sizeof *configuration);
    int error;

    if (!configuration)
        return -ENOMEM;
    configuration->files = configuration->dns = true;
    configuration->timeout = TIMEOUT * 1000;
    configuration->attempts = ATTEMPTS;
    configuration->ndots = NDOTS;
    configuration->port = server_port();
    error = read_all(configuration);
    if (error) {
        gyre_configuration_free(configuration);
        return error;
    }
    *read = configuration;
    return 0;
}
