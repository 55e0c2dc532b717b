/*
 * The echo server over TLS, by OpenSSL. OpenSSL reads and writes memory, gyre the socket: so
 * deadlines and cancellation hold as everywhere, and SIGPIPE, O_NONBLOCK and errno don't matter.
 * docs/tls.md says why it is done in this way.
 *
 *     $ openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem \
 *           -out certificate.pem
 *     $ tls_echo --certificate certificate.pem --key key.pem
 *     $ openssl s_client -connect 127.0.0.1:7778 -CAfile certificate.pem
 */
#include "common/options.h"
#include "common/server.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>

enum { RECORD = 16 << 10 }; /* bytes of the longest */

static long port = 7778, workers;
static int64_t timeout = 60 * GYRE_SECOND;
static const char *certificate = "certificate.pem", *key = "key.pem";
static SSL_CTX *context;

/* --- TLS on a descriptor: one coroutine at a time ---------------------------------------------
 */

struct tls {
    int fd;
    SSL *ssl;           /* owns the two */
    BIO *received;      /* from the peer, to be decrypted */
    BIO *sealed;        /* to be sent */
    char bytes[RECORD]; /* as they come */
};

enum action { HANDSHAKE, READ, WRITE, SHUTDOWN };

/* One call of OpenSSL and its reason: > 0, or -SSL_ERROR_*. Whole, for the reason is found in a
 * queue of the thread's, where other coroutines leave their errors. */
GYRE_NO_PREEMPT static int step(const struct tls *tls, enum action action, void *data, int size)
{
    int result = 0;

    ERR_clear_error();
    switch (action) {
    case HANDSHAKE:
        result = SSL_do_handshake(tls->ssl);
        break;
    case READ:
        result = SSL_read(tls->ssl, data, size);
        break;
    case WRITE:
        result = SSL_write(tls->ssl, data, size);
        break;
    case SHUTDOWN:
        result = SSL_shutdown(tls->ssl);
        break;
    }
    if (result <= 0)
        result = -SSL_get_error(tls->ssl, result);
    ERR_clear_error();
    return result;
}

/* Sends what OpenSSL wants sent. 0 or -errno; after an error the connection is of no more use. */
static int flush(const struct tls *tls)
{
    char *data;
    long size = BIO_get_mem_data(tls->sealed, &data);
    ssize_t n = size > 0 ? gyre_write_all(tls->fd, data, (size_t)size, NULL) : 0;

    (void)BIO_reset(tls->sealed);
    return n < 0 ? (int)n : 0;
}

/* 0 or -errno; -ECONNRESET: the end, without the peer having said so (somebody may have cut it). */
static int receive(struct tls *tls)
{
    ssize_t n = gyre_read(tls->fd, tls->bytes, sizeof tls->bytes);

    if (n <= 0)
        return n ? (int)n : -ECONNRESET;
    return BIO_write(tls->received, tls->bytes, (int)n) == n ? 0 : -ENOMEM;
}

/* > 0, as OpenSSL; 0: the peer has ended its side; -errno, -EPROTO for what is no proper TLS. */
static int perform(struct tls *tls, enum action action, void *data, int size)
{
    for (;;) {
        int result = step(tls, action, data, size);
        int error = flush(tls); /* alerts and handshakes go out in any case */

        if (error)
            return error;
        if (result > 0)
            return result;
        if (result == -SSL_ERROR_ZERO_RETURN || action == SHUTDOWN)
            return 0;
        if (result != -SSL_ERROR_WANT_READ)
            return -EPROTO;
        error = receive(tls);
        if (error)
            return error;
    }
}

static int tls_accept(struct tls *tls, int fd)
{
    tls->fd = fd;
    tls->ssl = SSL_new(context);
    tls->received = BIO_new(BIO_s_mem());
    tls->sealed = BIO_new(BIO_s_mem());
    if (!tls->ssl || !tls->received || !tls->sealed) {
        BIO_free(tls->received);
        BIO_free(tls->sealed);
        SSL_free(tls->ssl);
        return -ENOMEM;
    }
    SSL_set_bio(tls->ssl, tls->received, tls->sealed);
    SSL_set_accept_state(tls->ssl);
    return 0;
}

/* --- the server -------------------------------------------------------------------------------
 */

/* Echoes what comes next; > 0, or the end as of perform. */
static int echo(struct tls *tls)
{
    GYRE_TIMEOUT(timeout);
    char data[RECORD];
    int n = perform(tls, READ, data, sizeof data);

    return n > 0 ? perform(tls, WRITE, data, n) : n;
}

static int handshake(struct tls *tls)
{
    GYRE_TIMEOUT(timeout);

    return perform(tls, HANDSHAKE, NULL, 0);
}

static void goodbye(struct tls *tls)
{
    GYRE_TIMEOUT(timeout);

    perform(tls, SHUTDOWN, NULL, 0);
}

static int serve(void *arg)
{
    int fd = *(int *)arg;
    struct tls tls;
    int n = tls_accept(&tls, fd);

    if (!n) {
        n = handshake(&tls);
        while (n > 0)
            n = echo(&tls);
        if (!n)
            goodbye(&tls);
        SSL_free(tls.ssl);
    }
    gyre_close(fd);
    return n;
}

static int start(void *arg)
{
    struct gyre_listener *listener;
    int fd, error;

    (void)arg;
    GYRE_CANCELLABLE();
    if ((error = gyre_signal_cancels(SIGINT, SIGTERM)) || (error = server_listen(&listener, port)))
        return error;
    while ((fd = gyre_accept(listener)) >= 0)
        if (gyre_go_copy(serve, &fd, sizeof fd) < 0)
            gyre_close(fd);
    gyre_listener_close(listener);
    return fd;
}

int main(int argc, char **argv)
{
    const struct option_entry options[] = {
        OPTION_PORT(&port),
        OPTION_WORKERS(&workers),
        {"certificate", "FILE", "the chain, in PEM", OPTION_TEXT, 0, 0, &certificate},
        {"key", "FILE", "its private key, in PEM", OPTION_TEXT, 0, 0, &key},
        {"timeout", NULL, "for the handshake, and each echo", OPTION_SECONDS, 0, 0, &timeout},
    };
    int status = 1;

    options_parse(argc, argv, "Sends back what it receives, over TLS.", options, 5);
    context = SSL_CTX_new(TLS_server_method());
    if (context && SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
        SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1) {
        SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
        SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS); /* an idle one holds no 32 KiB */
        status = server_run(start, NULL, workers);
    } else {
        ERR_print_errors_fp(stderr);
    }
    SSL_CTX_free(context);
    return status;
}
