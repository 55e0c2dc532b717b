/*
 * Files under a folder.
 *
 * What a path may reach is left to the kernel: it is opened by openat2 with RESOLVE_BENEATH, so
 * neither "..", nor a symbolic link, nor a rename at the wrong moment leads out of the folder.
 */
#ifndef EXAMPLES_HTTP_FILES_H
#define EXAMPLES_HTTP_FILES_H

#include "http/request.h"
#include "http/response.h"

/* The folder's descriptor, or -errno. From main. */
int files_open_root(const char *path);

/*
 * Answers a GET or HEAD of the path, which is still percent-encoded, by the file or by an
 * error. base holds what every response of this request says. Parks. Returns false when a body was
 * begun and can't be finished: only closing the connection tells the client.
 */
bool files_answer(struct output *output, const struct request *request, const struct response *base,
                  const char *path, size_t length);

#endif
