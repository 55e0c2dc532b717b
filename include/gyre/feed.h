/*
 * gyre/feed.h - receiving ahead, into buffers that the kernel picks: bytes or datagrams are lent
 * to the program, not copied.
 *
 *     while ((n = gyre_feed_next(feed, &piece)) > 0) {
 *         use(piece.data, piece.size);
 *         gyre_feed_return(&piece);
 *     }
 *
 * A feed is a multishot receive on one socket, with buffers from a ring that it shares with the
 * worker's other feeds. An idle connection holds no buffer. The ring's buffers, of 16 KiB, grow in
 * number while they run out, up to 4,096 a worker, and shrink when they have not been needed for
 * some seconds. What arrives while nobody asks is kept up to `ahead`; then the receive is stopped,
 * and the socket's own buffer fills, as it should. For servers with very many connections that are
 * mostly idle, and for UDP at high rates; elsewhere gyre_read is as fast (docs/decisions.md).
 *
 * While all buffers of a worker are lent, or wait to be taken, its feeds stand still until one
 * comes back: who keeps what it was lent for long, copies it. Lent pieces that are never returned
 * are told of at the end of the run, with GYRE_DEBUG=checks.
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
    unsigned ahead; /* pieces received and not yet taken; some more may come until the kernel
                       has heard of it; 0: 16 of a stream, 256 datagrams */
};

#define GYRE_FEED_INIT                                                                             \
    {                                                                                              \
        sizeof(struct gyre_feed_options), 0, 0                                                     \
    }

/* Lent: it is the program's until gyre_feed_return. It may write into it. */
struct gyre_piece {
    char *data;
    size_t size;   /* 0 only for a datagram without content */
    int truncated; /* a datagram or message was longer than a buffer: than 16,240 bytes */
    struct gyre_address from; /* with GYRE_FEED_ADDRESSES; else its length is 0 */
    void *pool;               /* private, as what follows */
    unsigned buffer;
};

/*
 * Opens a feed of the socket fd: of a stream (a piece is what has come, 1 byte at least), of
 * datagrams (each is a piece), or of messages of a connection (SOCK_SEQPACKET: the same, and an
 * empty one is the end). fd stays the caller's, who closes it only after the feed; nobody else
 * reads from it meanwhile. Not for a socket with UDP_GRO: what the kernel has joined does not fit.
 * options may be NULL.
 *
 * It belongs to the ring of the worker that the caller runs on, wherever its pieces are used.
 * Returns 0, -EINVAL (an argument makes no sense; addresses of what is connected), -EBADF,
 * -ENOTSOCK, -EBUSY (the descriptor has a feed), -EOPNOTSUPP (a kernel without provided buffers:
 * use gyre_read), -ENOMEM. Parks at most while a gyre_close of the same number ends. Only from a
 * coroutine. Go: none.
 */
GYRE_API int gyre_feed_open(struct gyre_feed **feed, int fd,
                            const struct gyre_feed_options *options);
/*
 * Lends the next piece. Returns 1: *piece is filled in, its size may be 0 for a datagram; 0: the
 * stream has ended; -ECANCELED, -ETIMEDOUT; -EBADF (the feed is being closed, or fd was closed
 * before it); what recv(2) gives, once what came before was taken: an error of a stream stays, one
 * of a datagram socket (-ECONNREFUSED) is told once. Unless it returns 1 nothing is lent, *piece is
 * untouched, and nothing is lost. Several coroutines may wait, to answer datagrams side by side;
 * each piece goes to one. Parks.
 */
GYRE_API int gyre_feed_next(struct gyre_feed *feed, struct gyre_piece *piece);
/*
 * Gives a piece back: from any coroutine, in any order, after gyre_feed_close as well. A copy of
 * *piece means the same loan: giving that back too panics. *piece is emptied, and returning an
 * empty one does nothing. Never parks.
 */
GYRE_API void gyre_feed_return(struct gyre_piece *piece);
/*
 * Ends it. What came and was not taken is lost: end with the stream's end, or after a shutdown. Who
 * waits in next gets -EBADF; nobody may call it any more. Pieces that are lent stay so. Parks, is
 * not cancelled. NULL is fine.
 */
GYRE_API void gyre_feed_close(struct gyre_feed *feed);

GYRE_END_DECLS

#endif
