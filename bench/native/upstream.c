/* An OpenAI-compatible upstream that costs next to nothing.
 *
 * Prints "listening PORT", then for every client that goes away in the middle of an answer
 * "closed SECONDS", the monotonic time at which it was seen. What to answer it reads from the last
 * [[demo tokens=300 tps=30 hang=20]] of the request's body, as the built-in model of Parley does:
 * tps=0 is as fast as the client takes it, after hang=n tokens it says no more. Ends with its stdin.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"

#define MAX_FDS 65536
#define IN_BYTES 65536
#define OUT_BYTES 16384
#define CHUNK_BYTES 512 /* room that one token, or the end of an answer, may take */
#define BURST 32        /* tokens that an unpaced answer gets before the next one has its turn */

typedef struct {
    int fd, answering, blocked, closes;
    long tokens, hang, sent;
    double rate, began_s;
    char in[IN_BYTES + 1], out[OUT_BYTES + CHUNK_BYTES];
    int in_len, out_len, out_sent;
} Client;

static Client *clients[MAX_FDS];
static Client *answering[MAX_FDS];
static int answering_count, poller;

static const char HEAD[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
static const char CHUNK[] = "data: {\"id\":\"chatcmpl-bench\",\"object\":\"chat.completion.chunk\","
                            "\"created\":1767225600,\"model\":\"bench\",\"choices\":[";
static const char *WORDS[] = {"The", " answer", " grows", " word", " by", " word", ",", " and"};

static void watch(Client *client, int action, int blocked) {
    struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0), .data.fd = client->fd};
    client->blocked = blocked;
    epoll_ctl(poller, action, client->fd, &event);
}

static void retire(Client *client) {
    client->answering = 0;
    for (int i = 0; i < answering_count; i++)
        if (answering[i] == client) {
            answering[i] = answering[--answering_count];
            return;
        }
}

static void drop(Client *client) {
    if (client->answering) {
        retire(client);
        printf("closed %.6f\n", now_s());
    }
    close(client->fd);
    clients[client->fd] = NULL;
    free(client);
}

/* One chunk of HTTP's chunked encoding. */
static void put(Client *client, const char *body, int length) {
    char *end = client->out + client->out_len;
    int head = sprintf(end, "%x\r\n", length);
    memcpy(end + head, body, length);
    memcpy(end + head + length, "\r\n", 2);
    client->out_len += head + length + 2;
}

static void put_token(Client *client) {
    char body[CHUNK_BYTES];
    const char *role = client->sent ? "" : "\"role\":\"assistant\",";
    int length = sprintf(body, "%s{\"index\":0,\"delta\":{%s\"content\":\"%s\"},\"finish_reason\":null}]}\n\n",
                         CHUNK, role, WORDS[client->sent % 8]);
    put(client, body, length);
    client->sent++;
}

static void put_end(Client *client) {
    char body[2 * CHUNK_BYTES];
    int length = sprintf(body, "%s{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", CHUNK);
    length += sprintf(body + length,
                      "%s],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":%ld,\"total_tokens\":%ld}}\n\n"
                      "data: [DONE]\n\n",
                      CHUNK, client->tokens, client->tokens + 9);
    put(client, body, length);
    memcpy(client->out + client->out_len, "0\r\n\r\n", 5);
    client->out_len += 5;
    retire(client);
}

/* Whether everything has left; -1 if the client has gone. */
static int flush(Client *client) {
    while (client->out_sent < client->out_len) {
        ssize_t sent = send(client->fd, client->out + client->out_sent, client->out_len - client->out_sent,
                            MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EAGAIN) {
            if (!client->blocked)
                watch(client, EPOLL_CTL_MOD, 1);
            return 0;
        }
        if (sent < 0)
            return -1;
        client->out_sent += sent;
    }
    client->out_len = client->out_sent = 0;
    if (client->blocked)
        watch(client, EPOLL_CTL_MOD, 0);
    return 1;
}

static double field(const char *script, const char *name, double otherwise) {
    const char *found = strstr(script, name);
    return found ? atof(found + strlen(name)) : otherwise;
}

static void begin(Client *client, const char *request) {
    const char *script = "", *next = request;
    while ((next = strstr(next, "[[demo")))
        script = next++;
    const char *end = strstr(script, "]]");
    char fields[128] = "";
    if (end && end - script < (long)sizeof fields)
        memcpy(fields, script, end - script);
    client->tokens = field(fields, " tokens=", 100);
    client->hang = field(fields, " hang=", -1);
    client->rate = field(fields, " tps=", 0);
    client->sent = 0;
    client->began_s = now_s();
    client->answering = 1;
    answering[answering_count++] = client;
    memcpy(client->out, HEAD, sizeof HEAD - 1);
    client->out_len = sizeof HEAD - 1;
}

/* Begin the answer to a request that has come in whole. */
static void take_request(Client *client) {
    char *blank = memmem(client->in, client->in_len, "\r\n\r\n", 4);
    if (client->answering || !blank)
        return;
    client->in[client->in_len] = 0;
    char *length = strcasestr(client->in, "content-length:");
    int total = blank - client->in + 4 + (length && length < blank ? atoi(length + 15) : 0);
    if (client->in_len < total)
        return;
    char *closes = strcasestr(client->in, "connection: close");
    client->closes = closes && closes < blank;
    char after = client->in[total];
    client->in[total] = 0;
    begin(client, client->in);
    client->in[total] = after;
    client->in_len -= total;
    memmove(client->in, client->in + total, client->in_len);
}

/* Hand over what is due, as far as there is room. False if the client was dropped. */
static int advance(Client *client, double now) {
    long due = client->rate > 0 ? (long)((now - client->began_s) * client->rate) + 1 : client->sent + BURST;
    long last = client->hang >= 0 && client->hang < client->tokens ? client->hang : client->tokens;
    while (client->sent < due && client->sent < last && client->out_len < OUT_BYTES - CHUNK_BYTES)
        put_token(client);
    if (client->sent == client->tokens && client->out_len < OUT_BYTES - CHUNK_BYTES)
        put_end(client);
    int left = client->out_len ? flush(client) : 1;
    if (left < 0 || (left > 0 && client->closes && !client->answering)) {
        drop(client);
        return 0;
    }
    return 1;
}

static void greet(int listener) {
    int fd, yes = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        clients[fd] = calloc(1, sizeof(Client));
        clients[fd]->fd = fd;
        watch(clients[fd], EPOLL_CTL_ADD, 0);
    }
}

static void attend(Client *client, unsigned events) {
    if (events & EPOLLOUT) {
        int left = flush(client);
        if (left < 0 || (left > 0 && client->closes && !client->answering)) {
            drop(client);
            return;
        }
    }
    if (!(events & ~EPOLLOUT))
        return;
    ssize_t got = recv(client->fd, client->in + client->in_len, IN_BYTES - client->in_len, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            drop(client);
        return;
    }
    client->in_len += got;
    take_request(client);
}

/* How long nothing need be done, in milliseconds; -1 for as long as nothing comes in. */
static int idle_ms(void) {
    int ms = -1;
    for (int i = 0; i < answering_count; i++) {
        if (answering[i]->blocked || answering[i]->sent == answering[i]->hang)
            continue;
        if (answering[i]->rate <= 0)
            return 0;
        ms = 1;
    }
    return ms;
}

static int listen_anywhere(int *port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (bind(listener, (void *)&address, size) || listen(listener, 8192)) {
        perror("listen");
        exit(1);
    }
    getsockname(listener, (void *)&address, &size);
    *port = ntohs(address.sin_port);
    return listener;
}

int main(void) {
    int port, listener = listen_anywhere(&port);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("listening %d\n", port);
    poller = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener};
    epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = STDIN_FILENO;
    epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &event);
    for (;;) {
        struct epoll_event events[512];
        int count = epoll_wait(poller, events, 512, idle_ms());
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO)
                return 0;
            if (fd == listener)
                greet(listener);
            else if (clients[fd])
                attend(clients[fd], events[i].events);
        }
        double now = now_s();
        for (int i = 0; i < answering_count;) {
            Client *client = answering[i];
            if (!client->blocked && !advance(client, now))
                continue;
            if (!client->answering)
                take_request(client); /* its next one may have come in meanwhile */
            if (i < answering_count && answering[i] == client)
                i++;
        }
    }
}
