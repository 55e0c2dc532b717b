/*
 * A chat server: what one says all others read. Try it with `nc 127.0.0.1 7779` in two terminals.
 *
 * One coroutine, the room, knows who is there; it alone touches the list, so nothing is locked.
 * Everybody else tells it what happens through one channel. Each client has two coroutines, one
 * that reads lines and one that writes, with a channel between the room and the writer. The room
 * never waits for a client: one whose channel is full is too slow, and has to go.
 *
 * At the end (SIGINT, SIGTERM) the room says so to all and closes their channels; what was said
 * before is still delivered, within the grace.
 */
#include "common/options.h"
#include "common/server.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 32, LINE_MAX_SIZE = 1024, BACKLOG = 256 };

static struct {
    long port, workers;
    int64_t idle_timeout, grace;
} chat = {.port = 7779, .idle_timeout = 10 * GYRE_MINUTE, .grace = 5 * GYRE_SECOND};

/* Said once, read by many: counted. */
struct message {
    atomic_uint holders;
    size_t size;
    char text[];
};

GYRE_CHAN_TYPE(messages, struct message *);

struct client {
    struct client *next; /* the room's */
    struct gyre_stream *stream;
    messages out;      /* the room sends and closes; the writer receives */
    gyre_channel left; /* closed by the room when it knows the client no more */
    bool gone;         /* the room's: closed, about to leave */
    char name[NAME_SIZE];
};

enum event_kind { CLIENT_ENTERS, CLIENT_SPEAKS, CLIENT_LEAVES, ROOM_CLOSES };

struct event {
    enum event_kind kind;
    struct client *client;
    struct message *message; /* of who speaks: the room's from now on */
};

GYRE_CHAN_TYPE(events, struct event);

static events room_events;

/* --- messages --------------------------------------------------------------------------------- */

__attribute__((format(printf, 1, 2))) static struct message *message_make(const char *format, ...)
{
    char text[NAME_SIZE + LINE_MAX_SIZE + 64];
    struct message *message;
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    message = malloc(sizeof *message + (size_t)size);
    if (message) {
        atomic_init(&message->holders, 1);
        message->size = (size_t)size;
        memcpy(message->text, text, (size_t)size);
    }
    return message;
}

static void message_release(struct message *message)
{
    /* Release and acquire: the last one frees what the others have read. */
    if (message && atomic_fetch_sub_explicit(&message->holders, 1, memory_order_acq_rel) == 1)
        free(message);
}

static void drop_message(void *element)
{
    message_release(*(struct message **)element);
}

/* --- the room -----------------------------------------------------------------------------------
 */

struct room {
    struct client *clients;
    unsigned count;
    bool closing;
};

static void dismiss(struct client *client)
{
    if (client->gone)
        return;
    client->gone = true;
    messages_close(client->out.sender);
}

static void tell(struct client *client, struct message *message)
{
    if (client->gone || !message)
        return;
    atomic_fetch_add_explicit(&message->holders, 1, memory_order_relaxed);
    if (!messages_try_send(client->out.sender, message))
        return;
    gyre_yield(); /* its writer may just not have had its turn */
    if (!messages_try_send(client->out.sender, message))
        return;
    /* Relaxed: not the last one, which is the caller's. */
    atomic_fetch_sub_explicit(&message->holders, 1, memory_order_relaxed);
    dismiss(client); /* too slow, and not to be waited for: its writer fails, its reader ends */
    gyre_shutdown(gyre_stream_fd(client->stream), SHUT_RDWR);
}

/* Takes the message over. */
static void tell_all(struct room *room, const struct client *but, struct message *message)
{
    for (struct client *client = room->clients; client; client = client->next)
        if (client != but)
            tell(client, message);
    message_release(message);
}

static void tell_one(struct client *client, struct message *message)
{
    tell(client, message);
    message_release(message);
}

static void enter(struct room *room, struct client *client)
{
    client->next = room->clients;
    room->clients = client;
    room->count++;
    tell_one(client, message_make("* you are %s, one of %u; /name NEW, /who, /quit\n", client->name,
                                  room->count));
    tell_all(room, client, message_make("* %s is here\n", client->name));
    if (room->closing)
        dismiss(client);
}

static void leave(struct room *room, struct client *client)
{
    struct client **at = &room->clients;

    while (*at && *at != client)
        at = &(*at)->next;
    if (*at)
        *at = client->next;
    room->count--;
    dismiss(client);
    if (!room->closing)
        tell_all(room, NULL, message_make("* %s has left\n", client->name));
    gyre_chan_close(client->left.sender);
}

static bool name_is_good(const char *name)
{
    size_t length = strlen(name);

    for (size_t i = 0; i < length; i++)
        if (!isalnum((unsigned char)name[i]) && name[i] != '-' && name[i] != '_')
            return false;
    return length > 0 && length < NAME_SIZE;
}

static void rename_client(struct room *room, struct client *client, const char *name)
{
    struct message *message;

    if (!name_is_good(name)) {
        tell_one(client,
                 message_make("* a name has up to %d letters, digits, - and _\n", NAME_SIZE - 1));
        return;
    }
    for (const struct client *other = room->clients; other; other = other->next)
        if (!strcmp(other->name, name)) {
            tell_one(client, message_make("* there is a %s already\n", name));
            return;
        }
    message = message_make("* %s is now %s\n", client->name, name);
    snprintf(client->name, sizeof client->name, "%s", name);
    tell_all(room, NULL, message);
}

/* What a client says is one line: a command, or for everybody. Takes it over. */
static void speak(struct room *room, struct client *client, struct message *said)
{
    char line[LINE_MAX_SIZE + 1];

    memcpy(line, said->text, said->size);
    line[said->size] = 0;
    message_release(said);
    if (!strncmp(line, "/name ", 6))
        rename_client(room, client, line + 6);
    else if (!strcmp(line, "/who"))
        for (const struct client *other = room->clients; other; other = other->next)
            tell_one(client, message_make("* %s\n", other->name));
    else if (!strcmp(line, "/quit"))
        dismiss(client);
    else if (*line)
        tell_all(room, NULL, message_make("%s: %s\n", client->name, line));
}

static int run_room(void *unused)
{
    struct room room = {0};
    struct event event;

    (void)unused;
    GYRE_SHIELD(); /* it ends when everybody has left: start closes the channel */
    while (events_recv(room_events.receiver, &event) > 0) {
        switch (event.kind) {
        case CLIENT_ENTERS:
            enter(&room, event.client);
            break;
        case CLIENT_SPEAKS:
            speak(&room, event.client, event.message);
            break;
        case CLIENT_LEAVES:
            leave(&room, event.client);
            break;
        case ROOM_CLOSES:
            room.closing = true;
            tell_all(&room, NULL, message_make("* the room closes\n"));
            for (struct client *client = room.clients; client; client = client->next)
                dismiss(client);
            break;
        }
    }
    return 0;
}

static int tell_room(enum event_kind kind, struct client *client, struct message *message)
{
    const struct event event = {kind, client, message};

    return events_send(room_events.sender, event);
}

/* --- a client -----------------------------------------------------------------------------------
 */

/* Until the room closes the channel. What is there is sent, in one write where it fits. */
static int write_to_client(void *arg)
{
    struct client *client = arg;
    struct message *message;
    ssize_t error = 0;

    GYRE_SHIELD(); /* the room ends it, after its last words */
    while (messages_recv(client->out.receiver, &message) > 0) {
        gyre_stream_set_write_deadline(client->stream, gyre_now() + chat.grace);
        if (error >= 0)
            error = gyre_stream_write(client->stream, message->text, message->size, NULL);
        if (error >= 0 && !messages_len(client->out.receiver))
            error = gyre_stream_flush(client->stream);
        message_release(message);
        if (error < 0)
            gyre_shutdown(gyre_stream_fd(client->stream), SHUT_RDWR); /* the reader is to end too */
    }
    if (error >= 0)
        gyre_stream_flush(client->stream);
    gyre_shutdown(gyre_stream_fd(client->stream), SHUT_RDWR);
    return 0;
}

static void read_from_client(struct client *client)
{
    struct message *message;
    char *line;
    int result;

    for (;;) {
        gyre_stream_set_read_deadline(client->stream, gyre_now() + chat.idle_timeout);
        result = gyre_stream_line(client->stream, &line, NULL);
        if (result <= 0)
            break; /* gone, silent for too long, a line that is too long, or the server ends */
        message = message_make("%s", line);
        if (message && tell_room(CLIENT_SPEAKS, client, message)) {
            message_release(message);
            break;
        }
    }
}

static gyre_waitgroup present = GYRE_WAITGROUP_INIT;

static void live(struct client *client)
{
    gyre_handle writer;
    bool entered, server_ends;

    if (gyre_spawn(&writer, write_to_client, client)) {
        messages_close(client->out.sender);
        return;
    }
    entered = !tell_room(CLIENT_ENTERS, client, NULL);
    if (entered)
        read_from_client(client);
    else
        messages_close(client->out.sender);
    server_ends = gyre_context_error() != 0;

    GYRE_SHIELD();
    if (entered && !server_ends)
        tell_room(CLIENT_LEAVES, client, NULL);
    gyre_join(writer, NULL); /* else it ends when the room has said goodbye */
    if (entered && server_ends)
        tell_room(CLIENT_LEAVES, client, NULL);
    if (entered)
        gyre_chan_recv(client->left.receiver, NULL);
}

static int serve(void *arg)
{
    static atomic_uint visitors;
    const struct gyre_chan_options channel = {sizeof channel, "client", drop_message};
    struct gyre_stream_options options = GYRE_STREAM_INIT;
    struct client client = {0};
    int fd = *(int *)arg;

    options.limit = LINE_MAX_SIZE; /* longer ones end it */
    snprintf(client.name, sizeof client.name, "guest-%u", atomic_fetch_add(&visitors, 1) + 1);
    if (gyre_stream_open(&client.stream, fd, &options)) {
        gyre_close(fd);
    } else {
        if (!messages_make_options(&client.out, BACKLOG, &channel) &&
            !gyre_chan_make(&client.left, 0, 0))
            live(&client);
        gyre_chan_release(client.left); /* nil, where there is none */
        messages_release(client.out);
        gyre_stream_close(client.stream);
    }
    gyre_waitgroup_done(&present);
    return 0;
}

/* --- the server ---------------------------------------------------------------------------------
 */

static int accept_clients(void)
{
    struct gyre_listener *listener;
    int fd, error = server_listen(&listener, chat.port);

    if (error)
        return error;
    while ((fd = gyre_accept(listener)) >= 0) {
        gyre_waitgroup_add(&present, 1);
        if (gyre_go_copy(serve, &fd, sizeof fd)) {
            gyre_waitgroup_done(&present);
            gyre_close(fd);
        }
    }
    gyre_listener_close(listener);
    return fd;
}

static int start(void *unused)
{
    gyre_handle room;
    int result;

    (void)unused;
    result = events_make(&room_events, BACKLOG);
    if (!result)
        result = gyre_spawn(&room, run_room, NULL);
    if (result)
        return result;
    {
        GYRE_CANCELLABLE();
        result = gyre_signal_cancels(SIGINT, SIGTERM);
        if (!result)
            result = accept_clients();
        GYRE_SHIELD();
        tell_room(ROOM_CLOSES, NULL, NULL);
    }
    /* Writers give up after the grace by themselves; a second is for the rest. */
    {
        GYRE_TIMEOUT(chat.grace + GYRE_SECOND);
        if (gyre_waitgroup_wait(&present))
            return result;
    }
    events_close(room_events.sender);
    gyre_join(room, NULL);
    events_release(room_events);
    return result;
}

int main(int argc, char **argv)
{
    static const struct option_entry options[] = {
        OPTION_PORT(&chat.port),
        {"idle-timeout", NULL, "seconds after which one who says nothing is sent away",
         OPTION_SECONDS, 0, 0, &chat.idle_timeout},
        {"grace", NULL, "seconds that a client may take to read what it is sent", OPTION_SECONDS, 0,
         0, &chat.grace},
        OPTION_WORKERS(&chat.workers),
    };

    options_parse(argc, argv, "A chat server: what one says all others read.", options,
                  sizeof options / sizeof *options);
    return server_run(start, NULL, chat.workers);
}
