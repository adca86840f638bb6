/* Many clients of one server at once; prints what they saw as one line of JSON.
 *
 *     load door=sse port=5000 path=/api/chat/stream body={...} mark='"token": ' tokens=100 streams=50 total=200
 *
 *   door     sse, or sockets (Socket.IO)
 *   method, path, body   what is asked; on sockets the body of chat_stream, without one nothing is asked
 *   mark     what a token can be told by in an event stream
 *   tokens   how many an answer must have; 0: it does not matter
 *   streams  clients at once; each asks its next question when it has its answer
 *   total    questions in all; for_s: or for so long (what has begun is waited for)
 *   ramp_s   the first questions are spread over so long, instead of being asked in one moment
 *   limit_s  so long after its start it stops; whoever has no answer by then has failed
 *   hold     1: stay until stdin ends
 *
 * Before that line it says "ready": when the first question is about to be asked, or, with hold, when every client
 * is there, with its `tokens` read where it asks.
 */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define READ_BYTES 65536
#define GREETED_AT_ONCE 100 /* sockets that are being opened at a time */

Options options = {
    .door = "sse", .method = "POST", .path = "/", .body = "", .mark = "", .streams = 1, .limit_s = 60};

static Client *clients;
static Tally firsts, gaps, answers;
static long begun, finished, failed, tokens, complete, open_sockets;
static double started_s, ended_s;
static int poller, sockets, quiet;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

void send_all(Client *client, const void *bytes, size_t length) {
    if (send(client->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
        client->state = SILENT; /* it has gone; reading will say so */
}

void forget(Client *client, size_t length) {
    client->in_len -= length;
    memmove(client->in, client->in + length, client->in_len);
}

void heard_tokens(Client *client, long count, double at_s) {
    if (count <= 0 || client->state != ASKING)
        return;
    if (client->tokens == 0)
        tally(&firsts, at_s - client->asked_s, 1);
    else
        tally(&gaps, at_s - client->last_s, 1);
    tally(&gaps, 0, count - 1);
    if (client->tokens < options.tokens && client->tokens + count >= options.tokens)
        complete++;
    client->tokens += count;
    client->last_s = at_s;
    tokens += count;
}

void opened(Client *client) {
    if (client->state == GREETING) {
        client->state = IDLE;
        open_sockets++;
    }
}

static void connect_client(Client *client) {
    struct sockaddr_in server = {.sin_family = AF_INET, .sin_port = htons(options.port)};
    int yes = 1;
    server.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0)
        fail("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    client->state = CONNECTING;
    client->status = client->in_len = 0;
    if (connect(client->fd, (void *)&server, sizeof server) && errno != EINPROGRESS)
        fail("connect");
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = client};
    epoll_ctl(poller, EPOLL_CTL_ADD, client->fd, &event);
}

static void ask(Client *client) {
    begun++;
    client->tokens = 0;
    client->asked_s = now_s();
    if (sockets)
        sockets_ask(client);
    else
        connect_client(client);
}

static int more_to_ask(void) {
    if (options.hold || quiet)
        return 0;
    return begun < options.total || (options.for_s > 0 && now_s() < started_s + options.for_s);
}

static void hang_up(Client *client) {
    close(client->fd);
    client->state = ABSENT;
}

void ended(Client *client, int well, double at_s) {
    if (client->state != ASKING)
        return;
    client->state = IDLE;
    well = well && (options.tokens == 0 || client->tokens == options.tokens);
    if (well) {
        finished++;
        tally(&answers, at_s - client->asked_s, 1);
    } else
        failed++;
    ended_s = at_s;
    if (!sockets)
        hang_up(client);
    if (more_to_ask())
        ask(client);
}

static void lost(Client *client) {
    if (!sockets && client->state == ASKING) {
        ended(client, client->status / 100 == 2, now_s());
        return;
    }
    if (sockets && client->state >= IDLE)
        open_sockets--;
    if (client->state != IDLE || quiet)
        failed++;
    hang_up(client);
}

static void receive(Client *client) {
    if (client->in_room < client->in_len + READ_BYTES) {
        client->in_room = client->in_len + 2 * READ_BYTES;
        client->in = realloc(client->in, client->in_room);
    }
    ssize_t got = recv(client->fd, client->in + client->in_len, READ_BYTES, 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        lost(client);
        return;
    }
    client->in_len += got;
    (sockets ? sockets_heard : sse_heard)(client, now_s());
}

static void attend(Client *client, unsigned events) {
    if (client->state == ABSENT)
        return;
    if (client->state == CONNECTING) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        if (events & (EPOLLERR | EPOLLHUP)) {
            lost(client);
            return;
        }
        epoll_ctl(poller, EPOLL_CTL_MOD, client->fd, &event);
        (sockets ? sockets_connected : sse_connected)(client);
        return;
    }
    receive(client);
}

/* Waits so long for something to happen, and lets it. False when stdin has ended. */
static int turn(int wait_ms) {
    struct epoll_event events[512];
    int count = epoll_wait(poller, events, 512, wait_ms);
    for (int i = 0; i < count; i++) {
        if (events[i].data.ptr == NULL)
            return 0;
        attend(events[i].data.ptr, events[i].events);
    }
    return 1;
}

static void say_ready(void) {
    puts("ready");
    fflush(stdout);
}

static void open_all_sockets(double until_s) {
    int begun_sockets = 0;
    while (open_sockets < options.streams && failed == 0 && now_s() < until_s) {
        while (begun_sockets < options.streams && begun_sockets - open_sockets < GREETED_AT_ONCE)
            connect_client(&clients[begun_sockets++]);
        turn(100);
    }
    if (open_sockets < options.streams) {
        fprintf(stderr, "only %ld of %d sockets could be opened\n", open_sockets, options.streams);
        exit(1);
    }
}

static void ask_all(double until_s) {
    int first = 0, said = !options.hold;
    if (said)
        say_ready();
    started_s = ended_s = now_s();
    for (;;) {
        double now = now_s();
        while (first < options.streams && now >= started_s + options.ramp_s * first / options.streams)
            ask(&clients[first++]);
        if (!said && complete >= options.streams) {
            say_ready();
            said = 1;
        }
        if (!options.hold && first == options.streams && finished + failed >= begun && !more_to_ask())
            return;
        if (!turn(first < options.streams ? 1 : 100) || now > until_s) {
            ended_s = now_s();
            return;
        }
    }
}

static void read_options(int count, char **words) {
    for (int i = 1; i < count; i++) {
        char *value = strchr(words[i], '=');
        if (!value)
            exit(2);
        *value++ = 0;
        const char *name = words[i];
        if (!strcmp(name, "door")) options.door = value;
        else if (!strcmp(name, "method")) options.method = value;
        else if (!strcmp(name, "path")) options.path = value;
        else if (!strcmp(name, "body")) options.body = value;
        else if (!strcmp(name, "mark")) options.mark = value;
        else if (!strcmp(name, "port")) options.port = atoi(value);
        else if (!strcmp(name, "streams")) options.streams = atoi(value);
        else if (!strcmp(name, "hold")) options.hold = atoi(value);
        else if (!strcmp(name, "total")) options.total = atol(value);
        else if (!strcmp(name, "tokens")) options.tokens = atol(value);
        else if (!strcmp(name, "for_s")) options.for_s = atof(value);
        else if (!strcmp(name, "ramp_s")) options.ramp_s = atof(value);
        else if (!strcmp(name, "limit_s")) options.limit_s = atof(value);
        else exit(2);
    }
}

static void report(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu_s = used.ru_utime.tv_sec + used.ru_stime.tv_sec;
    cpu_s += (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    printf("{\"finished\": %ld, \"failed\": %ld, \"tokens\": %ld, ", finished, quiet ? failed : begun - finished, tokens);
    print_tally("first_ms", &firsts);
    print_tally("gap_ms", &gaps);
    print_tally("answer_ms", &answers);
    printf("\"wall_s\": %.6f, \"cpu_s\": %.6f, \"open\": %ld}\n", ended_s - started_s, cpu_s, open_sockets);
}

int main(int count, char **words) {
    read_options(count, words);
    sockets = !strcmp(options.door, "sockets");
    quiet = sockets && !*options.body;
    clients = calloc(options.streams, sizeof *clients);
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    double until_s = now_s() + options.limit_s;
    if (sockets)
        open_all_sockets(until_s);
    if (quiet) {
        say_ready();
        while (turn(1000) && now_s() < until_s)
            ;
    } else
        ask_all(until_s);
    report();
    return 0;
}
