/*
 * Opening a file may have to wait for a disk, and reading it may: both go through the ring, which
 * does at once what is cached. What is open is looked at by plain system calls: its inode is in
 * memory, and gyre_statx would take a kernel worker's turn for each (docs/operations.md).
 */
#include "http/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL = 16 * 1024, PATH_SIZE = 1024, ATTEMPTS = 8 };

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
    int fd = -EAGAIN;

    /* -EAGAIN: something was renamed meanwhile, and the kernel can't tell whether it is beneath */
    for (int i = 0; i < ATTEMPTS && fd == -EAGAIN; i++)
        fd = gyre_openat2(root, path, &how, sizeof how);
    return fd;
}

/* What can't be looked at is nothing to serve. */
static mode_t kind(int fd, struct stat *status)
{
    return fd < 0 || fstat(fd, status) ? 0 : status->st_mode & S_IFMT;
}

/* Opens what path names, or a folder's index; a regular file, or -errno. */
static int open_file(int root, char *path, struct stat *status)
{
    int fd = open_beneath(root, path);
    mode_t found = kind(fd, status);

    if (found == S_IFDIR) {
        size_t length = strlen(path);

        gyre_close(fd);
        if (length + sizeof "/index.html" > PATH_SIZE)
            return -ENAMETOOLONG;
        memcpy(path + length, "/index.html", sizeof "/index.html");
        fd = open_beneath(root, path);
        found = kind(fd, status);
    }
    if (fd < 0)
        return fd;
    if (found != S_IFREG) {
        gyre_close(fd);
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

/* A small file goes out with the head, in one piece. */
static bool send_small(struct output *output, int file, uint64_t offset, size_t size)
{
    char *piece = malloc(size);
    /* shorter: the file was cut meanwhile, and the length is already promised */
    bool whole = piece && gyre_pread_all(file, piece, size, (off_t)offset, NULL) == (ssize_t)size &&
                 !output_flush(output, piece, size);

    free(piece);
    return whole;
}

/* --- ranges --------------------------------------------------------------------------------- */

struct range {
    uint64_t first, size;
};

enum range_kind { RANGE_NONE, RANGE_PART, RANGE_OUTSIDE };

/* Digits, no sign, no blanks; true when there is at least one, and *at is behind them. */
static bool take_number(const char **at, uint64_t *number)
{
    const char *start = *at;

    for (*number = 0; **at >= '0' && **at <= '9'; (*at)++)
        if (*number < UINT64_MAX / 20) /* beyond it no file reaches */
            *number = *number * 10 + (uint64_t)(**at - '0');
    return *at > start;
}

/*
 * What a Range header asks of a file (RFC 9110, 14): one range of bytes. Several, or what can't be
 * understood, count as none, as the RFC allows: the whole file is sent.
 */
static enum range_kind find_range(const struct request_word *word, uint64_t size,
                                  struct range *range)
{
    char text[sizeof word->text + 1];
    const char *at = text + sizeof "bytes=" - 1;
    uint64_t first, last = UINT64_MAX;

    if (word->length < sizeof "bytes=" || word->length > sizeof word->text)
        return RANGE_NONE;
    memcpy(text, word->text, word->length);
    text[word->length] = '\0';
    if (strncasecmp(text, "bytes=", sizeof "bytes=" - 1))
        return RANGE_NONE;
    if (*at == '-') {
        at++;
        if (!take_number(&at, &last) || *at)
            return RANGE_NONE;
        if (last == 0 || size == 0)
            return RANGE_OUTSIDE;
        first = last < size ? size - last : 0;
        last = size - 1;
    } else {
        if (!take_number(&at, &first) || *at++ != '-' || (*at && !take_number(&at, &last)) || *at ||
            last < first)
            return RANGE_NONE;
        if (first >= size)
            return RANGE_OUTSIDE;
        if (last >= size)
            last = size - 1;
    }
    range->first = first;
    range->size = last - first + 1;
    return RANGE_PART;
}

/* If-Range: the range counts only for the version that the client has a part of. */
static bool same_version(const struct request *request, time_t modified)
{
    char text[30];

    if (request->if_range.length == 0)
        return true;
    format_date(text, modified);
    return request->if_range.length == 29 && memcmp(request->if_range.text, text, 29) == 0;
}

/* Status, length and extra lines of a file's response; extra has room for them. */
static void choose(struct response *response, const struct request *request,
                   const struct stat *status, struct range *range, char extra[128])
{
    const uint64_t size = (uint64_t)status->st_size;
    enum range_kind kind = RANGE_NONE;

    *range = (struct range){0, size};
    response->modified = status->st_mtime;
    if (unchanged(request, status->st_mtime)) {
        response->status = 304;
        return;
    }
    if (same_version(request, status->st_mtime))
        kind = find_range(&request->range, size, range);
    response->extra = extra;
    if (kind == RANGE_OUTSIDE) {
        response->status = 416;
        snprintf(extra, 128, "Content-Range: bytes */%llu\r\n", (unsigned long long)size);
    } else if (kind == RANGE_PART) {
        response->status = 206;
        snprintf(extra, 128, "Accept-Ranges: bytes\r\nContent-Range: bytes %llu-%llu/%llu\r\n",
                 (unsigned long long)range->first,
                 (unsigned long long)(range->first + range->size - 1), (unsigned long long)size);
    } else {
        response->status = 200;
        response->extra = "Accept-Ranges: bytes\r\n";
    }
    response->length = range->size;
}

/* --- answering ------------------------------------------------------------------------------ */

static bool send_file(struct output *output, int file, const struct range *range)
{
    if (range->size == 0)
        return true;
    if (range->size <= SMALL)
        return send_small(output, file, range->first, range->size);
    return !output_file(output, file, range->first, range->size);
}

bool files_answer(struct output *output, const struct request *request, const struct response *base,
                  const char *path, size_t length)
{
    struct response response = *base;
    bool head = request->parser.method == HTTP_HEAD;
    struct stat status;
    struct range range;
    char name[PATH_SIZE], extra[128];
    bool whole = true;
    int file;

    response.status = decode(path, length, name);
    if (response.status) {
        output_error(output, &response, head);
        return true;
    }
    GYRE_WITH_CONTEXT(output->server->serving);
    file = open_file(output->server->root, name, &status);
    if (file < 0) {
        response.status = status_of(file);
        output_error(output, &response, head);
        return true;
    }
    choose(&response, request, &status, &range, extra);
    if (response.status == 416) {
        output_error(output, &response, head);
    } else {
        if (response.status != 304)
            response.type = type_of(name);
        output_response(output, &response, NULL);
        if (response.type && !head)
            whole = send_file(output, file, &range);
    }
    gyre_close(file);
    return whole;
}
