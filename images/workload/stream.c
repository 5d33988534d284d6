/* The service's TCP connections: see stream.h. */
#define _GNU_SOURCE
#include "stream.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 512 };

struct stream {
    int is_open, has_ended; /* ended: the client sends no more, but may still wait for answers */
    int socket;
    size_t used;
    unsigned long heard; /* the round in which it last said something */
    char bytes[LINE_MAX_BYTES];
};

static struct stream streams[STREAMS_MAX];
static int listener = -1;
static unsigned long round_number;

static void hang_up(struct stream *stream)
{
    close(stream->socket);
    stream->is_open = 0;
}

static size_t line_length(const struct stream *stream)
{
    const char *end = memchr(stream->bytes, '\n', stream->used);

    return end ? (size_t)(end - stream->bytes) + 1 : 0;
}

int streams_open(uint32_t address, int port)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int yes = 1;

    here.sin_addr.s_addr = address;
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (listener < 0)
        return -1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) < 0 || listen(listener, STREAMS_MAX) < 0)
        return -1;
    return listener;
}

int streams_poll(struct pollfd waiting[STREAM_FDS])
{
    int i, ready = 0;

    waiting[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (i = 0; i < STREAMS_MAX; i++) {
        int listens = streams[i].is_open && !streams[i].has_ended;

        waiting[i + 1] = (struct pollfd){.fd = listens ? streams[i].socket : -1, .events = POLLIN};
        if (streams[i].is_open && (line_length(&streams[i]) || streams[i].has_ended))
            ready = 1;
    }
    return ready;
}

/* A free place; when there is none, that of the client which has been silent for longest. */
static struct stream *place(void)
{
    struct stream *oldest = &streams[0];
    int i;

    for (i = 0; i < STREAMS_MAX; i++) {
        if (!streams[i].is_open)
            return &streams[i];
        if (streams[i].heard < oldest->heard)
            oldest = &streams[i];
    }
    hang_up(oldest);
    return oldest;
}

static void take_connections(void)
{
    int made, i, yes = 1;

    for (i = 0; i < STREAMS_MAX; i++) {
        struct stream *stream;

        made = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (made < 0)
            return;
        setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        stream = place();
        *stream = (struct stream){.is_open = 1, .socket = made, .heard = round_number};
    }
}

static void take_bytes(struct stream *stream)
{
    static const char refusal[] = "ERR the line is too long\n";
    ssize_t got;

    if (stream->used == sizeof stream->bytes)
        return; /* whole lines wait in it: they go first */
    got = recv(stream->socket, stream->bytes + stream->used, sizeof stream->bytes - stream->used, MSG_DONTWAIT);
    if (got > 0) {
        stream->used += (size_t)got;
        stream->heard = round_number;
        if (stream->used == sizeof stream->bytes && !line_length(stream)) {
            send(stream->socket, refusal, sizeof refusal - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
            hang_up(stream);
        }
    } else if (got == 0) {
        stream->has_ended = 1;
    } else if (errno != EAGAIN && errno != EINTR) {
        hang_up(stream);
    }
}

void streams_read(void)
{
    int i;

    round_number++;
    take_connections();
    for (i = 0; i < STREAMS_MAX; i++) {
        if (streams[i].is_open && !streams[i].has_ended)
            take_bytes(&streams[i]);
        if (streams[i].is_open && streams[i].has_ended && !line_length(&streams[i]))
            hang_up(&streams[i]);
    }
}

int stream_take(int number, char *line, size_t size)
{
    struct stream *stream = &streams[number];
    size_t length = stream->is_open ? line_length(stream) : 0;

    if (!length)
        return 0;
    snprintf(line, size, "%.*s", (int)length - 1, stream->bytes);
    stream->used -= length;
    memmove(stream->bytes, stream->bytes + length, stream->used);
    return 1;
}

void stream_answer(int number, const char *text, size_t length)
{
    struct iovec parts[] = {{.iov_base = (void *)text, .iov_len = length}, {.iov_base = "\n", .iov_len = 1}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    struct stream *stream = &streams[number];

    if (!stream->is_open)
        return;
    if (sendmsg(stream->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)length + 1)
        hang_up(stream);
}
