/*
 * Opening and looking at a file are plain system calls: they are short on any local file system.
 * Its contents are read through the ring, which may have to wait for a disk.
 *
 * The plain calls stand in functions of their own that don't park, because they read errno:
 * its address belongs to the thread, and a compiler may keep it across a park in the same function.
 */
#include "http/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PIECE = 64 * 1024, PATH_SIZE = 1024, ATTEMPTS = 8 };

int files_open_root(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

static int open_beneath(int root, const char *path)
{
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, /* a FIFO would wait for a writer */
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    /* -EAGAIN: something was renamed meanwhile, and the kernel can't tell whether it is beneath */
    for (int i = 0; i < ATTEMPTS; i++)
        if ((fd = syscall(SYS_openat2, root, path, &how, sizeof how)) >= 0 || errno != EAGAIN)
            return fd < 0 ? -errno : (int)fd;
    return -EAGAIN;
}

/* Opens what path names, or a folder's index; a regular file, or -errno. */
__attribute__((noinline)) static int open_file(int root, char *path, struct stat *status)
{
    int fd = open_beneath(root, path);

    if (fd >= 0 && !fstat(fd, status) && S_ISDIR(status->st_mode)) {
        size_t length = strlen(path);

        close(fd);
        if (length + sizeof "/index.html" > PATH_SIZE)
            return -ENAMETOOLONG;
        memcpy(path + length, "/index.html", sizeof "/index.html");
        fd = open_beneath(root, path);
    }
    if (fd < 0)
        return fd;
    if (fstat(fd, status) || !S_ISREG(status->st_mode)) {
        close(fd);
        return -ENOENT;
    }
    fcntl(fd, F_SETFL, 0); /* a non-blocking file may answer a read with -EAGAIN */
    return fd;
}

static int hex(char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    digit |= 0x20;
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

/* Decodes into path, relative to the root: no slash in front, "." for nothing. Status 0, or of
 * the refusal. */
static int decode(const char *from, size_t length, char path[PATH_SIZE])
{
    size_t used = 0;

    for (size_t i = 0; i < length; i++) {
        int c = (unsigned char)from[i];

        if (c == '%') {
            int high = i + 2 < length ? hex(from[i + 1]) : -1;
            int low = i + 2 < length ? hex(from[i + 2]) : -1;

            c = 16 * high + low;
            if (high < 0 || low < 0 || c == 0)
                return 400;
            i += 2;
        }
        if (c == '/' && used == 0)
            continue;
        if (used + 1 == PATH_SIZE)
            return 404;
        path[used++] = (char)c;
    }
    if (used == 0)
        path[used++] = '.';
    path[used] = '\0';
    return 0;
}

static const char *type_of(const char *path)
{
    static const struct {
        const char *extension, *type;
    } types[] = {
        {"html", "text/html; charset=utf-8"},
        {"htm", "text/html; charset=utf-8"},
        {"css", "text/css; charset=utf-8"},
        {"js", "text/javascript; charset=utf-8"},
        {"txt", "text/plain; charset=utf-8"},
        {"md", "text/markdown; charset=utf-8"},
        {"json", "application/json"},
        {"xml", "application/xml"},
        {"pdf", "application/pdf"},
        {"wasm", "application/wasm"},
        {"gz", "application/gzip"},
        {"zip", "application/zip"},
        {"svg", "image/svg+xml"},
        {"png", "image/png"},
        {"jpg", "image/jpeg"},
        {"jpeg", "image/jpeg"},
        {"gif", "image/gif"},
        {"webp", "image/webp"},
        {"ico", "image/x-icon"},
        {"woff2", "font/woff2"},
        {"mp3", "audio/mpeg"},
        {"mp4", "video/mp4"},
        {"webm", "video/webm"},
    };
    const char *dot = strrchr(path, '.');

    if (dot && !strchr(dot, '/'))
        for (size_t i = 0; i < sizeof types / sizeof *types; i++)
            if (strcasecmp(dot + 1, types[i].extension) == 0)
                return types[i].type;
    return "application/octet-stream";
}

static int status_of(int error)
{
    switch (error) {
    case -EACCES:
    case -EPERM:
        return 403;
    case -EMFILE:
    case -ENFILE:
    case -ENOMEM:
    case -EAGAIN:
        return 503;
    case -EIO:
        return 500;
    default: /* -ENOENT, -EXDEV (outside), -ELOOP, -ENOTDIR, -ENAMETOOLONG */
        return 404;
    }
}

/* Dates are compared as HTTP has them, by the second; what can't be understood counts as absent. */
static bool unchanged(const struct request *request, time_t modified)
{
    struct tm tm = {0};
    char text[sizeof request->modified_since.text + 1];
    const char *end;
    size_t length = request->modified_since.length;

    if (length == 0 || length >= sizeof text)
        return false;
    memcpy(text, request->modified_since.text, length);
    text[length] = '\0';
    end = strptime(text, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    return end && !*end && timegm(&tm) >= modified;
}

/* The head waits in the output and goes out with the first piece. */
static bool send_contents(struct output *output, int file, uint64_t left)
{
    size_t room = left < PIECE ? left : PIECE;
    char *piece = malloc(room);
    bool whole = piece != NULL;

    while (whole && left > 0) {
        size_t wanted = left < room ? left : room;

        /* shorter: the file was cut meanwhile, and the length is already promised */
        whole = gyre_read_all(file, piece, wanted, NULL) == (ssize_t)wanted &&
                !output_flush(output, piece, wanted);
        left -= wanted;
    }
    free(piece);
    return whole;
}

bool files_answer(struct output *output, const struct request *request, const struct response *base,
                  const char *path, size_t length)
{
    struct response response = *base;
    bool head = request->parser.method == HTTP_HEAD;
    struct stat status;
    char name[PATH_SIZE];
    bool whole = true;
    int file;

    response.status = decode(path, length, name);
    if (response.status) {
        output_error(output, &response, head);
        return true;
    }
    file = open_file(output->server->root, name, &status);
    if (file < 0) {
        response.status = status_of(file);
        output_error(output, &response, head);
        return true;
    }

    GYRE_WITH_CONTEXT(output->server->serving);
    response.modified = status.st_mtime;
    response.status = unchanged(request, status.st_mtime) ? 304 : 200;
    if (response.status == 200) {
        response.type = type_of(name);
        response.length = (uint64_t)status.st_size;
    }
    output_response(output, &response, NULL);
    if (response.status == 200 && !head && response.length > 0)
        whole = send_contents(output, file, response.length);
    gyre_close(file);
    return whole;
}
