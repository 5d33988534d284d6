/* The service's TCP connections: lines in, lines out, and never a wait for a client. */
#ifndef STREAM_H
#define STREAM_H
#include <poll.h>
#include <stddef.h>
#include <stdint.h>

enum { STREAMS_MAX = 64, STREAM_FDS = STREAMS_MAX + 1 };

/* Open the listening socket; returns it, or -1 with errno. */
int streams_open(uint32_t address, int port);

/* Fill in what to poll for; returns 1 when a whole request is waiting already, so that there is nothing to wait for. */
int streams_poll(struct pollfd waiting[STREAM_FDS]);

/* Take new connections and all bytes that have arrived. */
void streams_read(void);

/* Copy the next whole line of a connection without its end; returns 0 when there is none. */
int stream_take(int number, char *line, size_t size);

/* Send one line. A client that does not read its answers loses its connection; nobody waits for it. */
void stream_answer(int number, const char *text, size_t length);

#endif
