/* Server-sent events: a connection a question; an answer ends with its connection. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void sse_connected(Client *client) {
    char *request;
    int length = asprintf(&request,
                          "%s %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: text/event-stream\r\n"
                          "Content-Type: application/json\r\nConnection: close\r\nContent-Length: %zu\r\n\r\n%s",
                          options.method, options.path, options.port, strlen(options.body), options.body);
    client->state = ASKING;
    send_all(client, request, length);
    free(request);
}

/* Counts the marks, each of which stands for a token; without one, the first byte is the only token. */
void sse_heard(Client *client, double at_s) {
    if (!client->status && client->in_len >= 12)
        client->status = atoi(client->in + 9);
    size_t mark_len = strlen(options.mark);
    if (mark_len == 0) {
        if (client->in_len && client->tokens == 0)
            heard_tokens(client, 1, at_s);
        forget(client, client->in_len);
        return;
    }
    long count = 0;
    char *from = client->in, *end = client->in + client->in_len, *found;
    while ((found = memmem(from, end - from, options.mark, mark_len))) {
        count++;
        from = found + mark_len;
    }
    if (end - from >= (long)mark_len)
        from = end - mark_len + 1;
    if (client->status)
        forget(client, from - client->in);
    heard_tokens(client, count, at_s);
}
