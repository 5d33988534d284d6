/*
 * The workload service: an append-only log of request ids, served over UDP, and over TCP with one request in a line.
 *
 * An id is acknowledged only after its record is on disk (unless nosync=1 plants that defect). As the first process
 * of a guest it also loads the two Xen front-end drivers and sets up its network card; with --device FILE --port N
 * it runs as an ordinary process on the loopback address, for its tests.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "guest.h"
#include "record.h"
#include "stream.h"

enum { DATAGRAMS_MAX = 192, BATCH_MAX = DATAGRAMS_MAX + STREAMS_MAX };
enum { REQUEST_MAX = 512, REPLY_MAX = 1200, IDS_PER_REPLY = 24, SCAN_RECORDS = 128 };
enum { ANNOUNCEMENTS = 3, ANNOUNCEMENT_GAP_MS = 200 };

struct request {
    struct sockaddr_in from;
    int stream; /* the number of its TCP connection, or -1 for a datagram */
    char text[REQUEST_MAX];
    int is_put;
    uint64_t index;
    const char *refusal;
};

struct log {
    int file;
    uint64_t capacity;
    uint64_t total;
    char (*ids)[ID_MAX + 1];
    uint64_t ids_capacity;
    char boot[BOOT_DIGITS + 1];
    int nosync;
};

static struct request batch[BATCH_MAX];

static void die(const char *what)
{
    fprintf(stderr, "workload: %s: %s\n", what, strerror(errno));
    if (getpid() == 1)
        for (;;)
            pause(); /* the end of process 1 would panic the kernel and hide the line above */
    exit(1);
}

static void remember(struct log *log, uint64_t index, const char *id)
{
    if (index >= log->ids_capacity) {
        log->ids_capacity = log->ids_capacity ? log->ids_capacity * 2 : 1024;
        log->ids = realloc(log->ids, log->ids_capacity * sizeof log->ids[0]);
        if (!log->ids)
            die("memory for the ids");
    }
    snprintf(log->ids[index], sizeof log->ids[index], "%s", id);
}

/* Read records from the start until the first one that is not valid: that is the end of the log. */
static void scan(struct log *log)
{
    static struct record block[SCAN_RECORDS];
    ssize_t got;
    uint64_t i;

    do {
        got = pread(log->file, block, sizeof block, (off_t)(log->total * RECORD_BYTES));
        if (got < 0)
            die("reading the device");
        for (i = 0; i < (uint64_t)got / RECORD_BYTES; i++) {
            if (!record_is_valid(&block[i], log->total))
                return;
            remember(log, log->total++, block[i].id);
        }
    } while (got == sizeof block);
}

static void open_log(struct log *log, const char *device)
{
    struct stat facts;
    off_t size;
    unsigned char bytes[BOOT_DIGITS / 2];
    size_t i;

    log->file = open(device, O_RDWR | O_CLOEXEC);
    if (log->file < 0 || fstat(log->file, &facts) < 0)
        die(device);
    size = lseek(log->file, 0, SEEK_END);
    if (size < 0)
        die(device);
    log->capacity = (uint64_t)size / RECORD_BYTES;
    /* Not for secrets, so a guest without entropy need not wait for it. */
    if (getrandom(bytes, sizeof bytes, GRND_INSECURE) != sizeof bytes)
        die("random bytes");
    for (i = 0; i < sizeof bytes; i++)
        snprintf(log->boot + 2 * i, 3, "%02x", bytes[i]);
    scan(log);
}

static int id_is_valid(const char *id)
{
    size_t length = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-");

    return length >= 1 && length <= ID_MAX && id[length] == '\0';
}

/* Write the record of a PUT at the given position; it is not yet safe on disk. */
static void write_record(struct log *log, struct request *request, uint64_t index)
{
    struct record record;
    const char *id = request->text + 4;

    request->is_put = 1;
    request->index = index;
    if (!id_is_valid(id)) {
        request->refusal = "the id is not 1 to 40 of A-Z a-z 0-9 . _ -";
        return;
    }
    if (index >= log->capacity) {
        request->refusal = "the device is full";
        return;
    }
    record_fill(&record, index, id, log->boot);
    if (pwrite(log->file, &record, sizeof record, (off_t)(index * RECORD_BYTES)) != sizeof record) {
        request->refusal = "the record could not be written";
        return;
    }
    remember(log, index, id);
}

/* Write all records of a batch and make them safe with one flush: only then does the log grow. */
static void commit(struct log *log, int count)
{
    uint64_t next = log->total;
    int i;

    for (i = 0; i < count; i++) {
        batch[i].is_put = 0;
        batch[i].refusal = NULL;
        if (strncmp(batch[i].text, "PUT ", 4) != 0)
            continue;
        write_record(log, &batch[i], next);
        if (!batch[i].refusal)
            next++;
    }
    if (next == log->total)
        return;
    if (!log->nosync && fdatasync(log->file) < 0) {
        fprintf(stderr, "workload: fdatasync: %s\n", strerror(errno));
        for (i = 0; i < count; i++)
            if (batch[i].is_put && !batch[i].refusal)
                batch[i].refusal = "the record could not be flushed to the disk";
        return;
    }
    log->total = next;
}

static int list_ids(const struct log *log, char *reply, uint64_t first, uint64_t wanted)
{
    uint64_t end = first < log->total ? log->total : first;
    uint64_t index;
    int used;

    if (wanted > IDS_PER_REPLY)
        wanted = IDS_PER_REPLY;
    if (end - first > wanted)
        end = first + wanted;
    used = snprintf(reply, REPLY_MAX, "IDS %llu %llu", (unsigned long long)log->total, (unsigned long long)first);
    for (index = first; index < end; index++)
        used += snprintf(reply + used, REPLY_MAX - (size_t)used, " %s", log->ids[index]);
    return used;
}

static int answer(const struct log *log, const struct request *request, char *reply)
{
    unsigned long long first, wanted;
    char token[65], rest;

    if (request->is_put && request->refusal)
        return snprintf(reply, REPLY_MAX, "ERR %s", request->refusal);
    if (request->is_put)
        return snprintf(reply, REPLY_MAX, "OK %s %llu", request->text + 4, (unsigned long long)request->index);
    if (sscanf(request->text, "GET %20llu %20llu%c", &first, &wanted, &rest) == 2 && !strchr(request->text, '-'))
        return list_ids(log, reply, first, wanted);
    if (sscanf(request->text, "PING %64s%c", token, &rest) == 1)
        return snprintf(reply, REPLY_MAX, "PONG %s %s %llu", token, log->boot, (unsigned long long)log->total);
    return snprintf(reply, REPLY_MAX, "ERR the request is none of PUT <id>, GET <first> <n>, PING <token>");
}

/* Take every datagram that waits, up to their share of a batch. */
static int receive(int socket)
{
    int count = 0;
    ssize_t got;
    socklen_t length;

    while (count < DATAGRAMS_MAX) {
        length = sizeof batch[count].from;
        got = recvfrom(socket, batch[count].text, REQUEST_MAX - 1, MSG_DONTWAIT, (struct sockaddr *)&batch[count].from,
                       &length);
        if (got < 0)
            break;
        batch[count].stream = -1;
        batch[count].text[got] = '\0';
        if (got > 0 && batch[count].text[got - 1] == '\n')
            batch[count].text[got - 1] = '\0';
        count++;
    }
    return count;
}

/* Add at most one request of each TCP connection: a client that sends many cannot hold up the others. */
static int receive_lines(int count)
{
    int i;

    streams_read();
    for (i = 0; i < STREAMS_MAX; i++) {
        if (!stream_take(i, batch[count].text, REQUEST_MAX))
            continue;
        batch[count++].stream = i;
    }
    return count;
}

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void serve(struct log *log, int socket, int announce)
{
    struct pollfd waiting[1 + STREAM_FDS] = {{.fd = socket, .events = POLLIN}};
    long long next_ms = now_ms() + ANNOUNCEMENT_GAP_MS;
    int left = announce ? ANNOUNCEMENTS - 1 : 0;
    char reply[REPLY_MAX];
    int count, i, length, timeout_ms;

    for (;;) {
        timeout_ms = -1;
        if (left) {
            timeout_ms = (int)(next_ms - now_ms());
            if (timeout_ms < 0)
                timeout_ms = 0;
        }
        if (streams_poll(waiting + 1))
            timeout_ms = 0;
        poll(waiting, 1 + STREAM_FDS, timeout_ms);
        if (left && now_ms() >= next_ms) {
            guest_announce();
            left--;
            next_ms += ANNOUNCEMENT_GAP_MS;
        }
        count = receive_lines(receive(socket));
        commit(log, count);
        for (i = 0; i < count; i++) {
            length = answer(log, &batch[i], reply);
            if (batch[i].stream >= 0)
                stream_answer(batch[i].stream, reply, (size_t)length);
            else
                sendto(socket, reply, (size_t)length, 0, (struct sockaddr *)&batch[i].from, sizeof batch[i].from);
        }
    }
}

/* Tests let the kernel choose the ports and read them here. */
static void say_port(const char *name, int opened)
{
    struct sockaddr_in here = {0};
    socklen_t length = sizeof here;

    if (getpid() != 1 && getsockname(opened, (struct sockaddr *)&here, &length) == 0)
        printf("workload listening %s=%d\n", name, ntohs(here.sin_port));
}

static int open_socket(uint32_t address, int port)
{
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    int buffer_bytes = 1 << 20;
    int opened = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    here.sin_addr.s_addr = address;
    if (opened < 0 || bind(opened, (struct sockaddr *)&here, sizeof here) < 0)
        die("the UDP port");
    setsockopt(opened, SOL_SOCKET, SO_RCVBUF, &buffer_bytes, sizeof buffer_bytes);
    say_port("port", opened);
    return opened;
}

int main(int argc, char **argv)
{
    struct log log = {0};
    const char *device = "/dev/xvda";
    int port = 7000, i, server, lines;
    int is_guest = getpid() == 1;

    if (!is_guest && argc > 0)
        guest_power_command(argv[0]);
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGXFSZ, SIG_IGN); /* a write beyond a limit then fails like any other */
    if (is_guest) {
        struct guest_settings settings;

        if (guest_setup(&settings) < 0)
            die(settings.problem);
        log.nosync = settings.nosync;
    }
    for (i = 1; !is_guest && i < argc; i++) {
        if (strcmp(argv[i], "--nosync") == 0)
            log.nosync = 1;
        else if (strcmp(argv[i], "--device") == 0 && i + 1 < argc)
            device = argv[++i];
        else if (strcmp(argv[i], "--port") == 0 && i + 1 < argc)
            port = atoi(argv[++i]);
        else {
            fprintf(stderr, "usage: workload --device FILE --port N [--nosync]\n");
            return 2;
        }
    }
    open_log(&log, device);
    server = open_socket(htonl(is_guest ? INADDR_ANY : INADDR_LOOPBACK), port);
    lines = streams_open(htonl(is_guest ? INADDR_ANY : INADDR_LOOPBACK), port);
    if (lines < 0)
        die("the TCP port");
    say_port("tcp_port", lines);
    if (is_guest)
        guest_announce();
    printf("workload ready total=%llu\n", (unsigned long long)log.total);
    serve(&log, server, is_guest);
}
