/*
 * gyre/feed.h - receiving ahead, into buffers that the kernel picks: bytes or datagrams are lent
 * to the program, not copied.
 *
 *     while ((n = gyre_feed_next(feed, &piece)) > 0) {
 *         use(piece.data, piece.size);
 *         gyre_feed_return(feed, &piece);
 *     }
 *
 * A feed is a multishot receive on one socket, with buffers from a ring that it shares with the
 * worker's other feeds. An idle connection holds no buffer. The ring's buffers grow in number while
 * they run out, and shrink when they have not been needed for a while. What arrives while nobody
 * asks is kept up to `ahead`; then the receive is stopped, and the socket's own buffer fills, as it
 * should. For servers with very many connections that are mostly idle, and for UDP at high rates;
 * elsewhere gyre_read is as fast (docs/decisions.md).
 */
#ifndef GYRE_FEED_H
#define GYRE_FEED_H

#include <gyre/base.h>
#include <gyre/datagram.h>

GYRE_BEGIN_DECLS

struct gyre_feed;

enum { GYRE_FEED_ADDRESSES = 1 << 0 /* datagrams: each piece tells whom it is from */ };

struct gyre_feed_options {
    size_t size;    /* sizeof (struct gyre_feed_options) */
    unsigned flags; /* GYRE_FEED_* */
    unsigned ahead; /* pieces received and not yet taken; 0: 16 */
};

#define GYRE_FEED_INIT                                                                             \
    {                                                                                              \
        sizeof(struct gyre_feed_options), 0, 0                                                     \
    }

/* Lent: it is the program's until gyre_feed_return. It may write into it. */
struct gyre_piece {
    char *data;
    size_t size;
    int truncated;            /* a datagram that was longer than a buffer (2 KiB, or more) */
    struct gyre_address from; /* with GYRE_FEED_ADDRESSES */
    void *buffer;             /* private */
};

/*
 * Opens a feed of the socket fd, which stays the caller's, who closes it only after the feed;
 * nobody else reads from it meanwhile. options may be NULL. Returns 0, -EINVAL, -EBADF, -ENOTSOCK,
 * -EOPNOTSUPP (a kernel without provided buffers: use gyre_read), -ENOMEM. Never parks.
 */
GYRE_API int gyre_feed_open(struct gyre_feed **feed, int fd,
                            const struct gyre_feed_options *options);
/* The next piece: its length (> 0; a datagram of none is -ENODATA with nothing lent... see
 * piece->size); 0 at the end of the stream; -errno, -ECANCELED, -ETIMEDOUT: nothing is lent,
 * nothing is lost. Parks. One coroutine at a time (-EBUSY). */
GYRE_API ssize_t gyre_feed_next(struct gyre_feed *feed, struct gyre_piece *piece);
/* Gives it back: from any coroutine, in any order, before gyre_feed_close. Never parks. */
GYRE_API void gyre_feed_return(struct gyre_feed *feed, struct gyre_piece *piece);
/* Ends it. What came and was not taken is lost: end with the stream's end, or after a shutdown. Who
 * waits in next gets -EBADF. Parks, is not cancelled. NULL is fine. */
GYRE_API void gyre_feed_close(struct gyre_feed *feed);

GYRE_END_DECLS

#endif
