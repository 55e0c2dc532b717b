/*
 * The callbacks only note what they see; at the end of a request the parser is paused, so that the
 * caller answers one request before the next is looked at.
 *
 * What is checked here beyond the library: the version, exactly one Host (RFC 9112, 3.2), and
 * the body's size. Upgrades are not offered: a request that wishes for one is like any other.
 */
#include "http/request.h"

#include "http/server.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static struct request *of(http_parser *parser)
{
    return parser->data;
}

/* Ends the parsing: the callback's result makes http_parser_execute return at once. */
static int refuse(struct request *request, int status)
{
    request->stage = REQUEST_REFUSED;
    request->status = status;
    return -1;
}

static void word_append(struct request_word *word, const char *bytes, size_t size)
{
    if (size > sizeof word->text - word->length || word->length > sizeof word->text) {
        word->length = sizeof word->text + 1;
        return;
    }
    memcpy(word->text + word->length, bytes, size);
    word->length = (unsigned char)(word->length + size);
}

static bool word_is(const struct request_word *word, const char *text)
{
    return word->length == strlen(text) && strncasecmp(word->text, text, word->length) == 0;
}

static int on_message_begin(http_parser *parser)
{
    of(parser)->stage = REQUEST_HEADER;
    return 0;
}

static int on_url(http_parser *parser, const char *bytes, size_t size)
{
    struct request *request = of(parser);
    size_t length = request->target_length + size;

    if (length >= sizeof request->short_target && length >= request->long_size) {
        char *grown = realloc(request->long_target, 2 * length);

        if (!grown)
            return refuse(request, 503);
        if (!request->long_target)
            memcpy(grown, request->short_target, request->target_length);
        request->long_target = grown;
        request->long_size = 2 * length;
    }
    memcpy((request->long_target ? request->long_target : request->short_target) +
               request->target_length,
           bytes, size);
    request->target_length = length;
    return 0;
}

static void header_end(struct request *request)
{
    if (word_is(&request->field, "host"))
        request->hosts++;
    else if (word_is(&request->field, "if-modified-since"))
        request->modified_since = request->value;
    else if (word_is(&request->field, "range"))
        request->range = request->value;
    else if (word_is(&request->field, "if-range"))
        request->if_range = request->value;
    else if (word_is(&request->field, "expect"))
        request->wants_continue = word_is(&request->value, "100-continue");
    request->field.length = request->value.length = 0;
    request->in_value = false;
}

static int on_header_field(http_parser *parser, const char *bytes, size_t size)
{
    struct request *request = of(parser);

    if (request->stage != REQUEST_HEADER)
        return 0; /* a trailer, after a chunked body: none counts */
    if (request->in_value)
        header_end(request);
    word_append(&request->field, bytes, size);
    return 0;
}

static int on_header_value(http_parser *parser, const char *bytes, size_t size)
{
    struct request *request = of(parser);

    if (request->stage != REQUEST_HEADER)
        return 0;
    request->in_value = true;
    word_append(&request->value, bytes, size);
    return 0;
}

static int on_headers_complete(http_parser *parser)
{
    struct request *request = of(parser);

    if (request->in_value)
        header_end(request);
    if (parser->http_major != 1)
        return refuse(request, 505);
    if (request->hosts > 1 || (request->hosts == 0 && parser->http_minor >= 1))
        return refuse(request, 400);
    if (parser->content_length != UINT64_MAX &&
        parser->content_length > (uint64_t)request->settings->body_limit)
        return refuse(request, 413);
    request->stage = REQUEST_BODY;
    return 0;
}

static int on_body(http_parser *parser, const char *bytes, size_t size)
{
    struct request *request = of(parser);

    (void)bytes;
    request->body += size;
    if (request->body > (uint64_t)request->settings->body_limit)
        return refuse(request, 413);
    return 0;
}

static int on_message_complete(http_parser *parser)
{
    struct request *request = of(parser);

    request->keep_alive = http_should_keep_alive(parser);
    request->stage = REQUEST_DONE;
    http_parser_pause(parser, 1);
    return 0;
}

static const http_parser_settings callbacks = {
    .on_message_begin = on_message_begin,
    .on_url = on_url,
    .on_header_field = on_header_field,
    .on_header_value = on_header_value,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

void request_set_header_limit(long bytes)
{
    http_parser_set_max_header_size((uint32_t)bytes);
}

void request_init(struct request *request, const struct settings *settings)
{
    memset(request, 0, sizeof *request);
    http_parser_init(&request->parser, HTTP_REQUEST);
    request->parser.data = request;
    request->settings = settings;
}

size_t request_feed(struct request *request, const char *bytes, size_t size)
{
    size_t taken = http_parser_execute(&request->parser, &callbacks, bytes, size);
    enum http_errno error = HTTP_PARSER_ERRNO(&request->parser);

    if (request->stage != REQUEST_DONE && request->stage != REQUEST_REFUSED && error != HPE_OK)
        refuse(request, error == HPE_HEADER_OVERFLOW   ? 431
                        : error == HPE_INVALID_VERSION ? 505
                                                       : 400);
    return taken;
}

void request_next(struct request *request)
{
    http_parser_pause(&request->parser, 0);
    request->stage = REQUEST_NONE;
    request->wants_continue = request->in_value = false;
    request->hosts = 0;
    request->body = 0;
    request->field.length = request->value.length = 0;
    request->modified_since.length = request->range.length = request->if_range.length = 0;
    request->target_length = 0;
    request_destroy(request);
}

void request_destroy(struct request *request)
{
    free(request->long_target);
    request->long_target = NULL;
    request->long_size = 0;
}

const char *request_target(const struct request *request)
{
    char *target = request->long_target;

    if (!target)
        target = (char *)request->short_target;
    target[request->target_length] = '\0';
    return target;
}
