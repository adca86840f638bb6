/* Socket.IO (protocol 5) over WebSockets: a connection for all of a client's questions. */
#define _GNU_SOURCE
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static long asked;

/* A client must mask what it sends; a mask of zeros leaves it as it is. */
static void send_text(Client *client, const char *text) {
    size_t length = strlen(text);
    unsigned char frame[65536 + 8] = {0x81};
    size_t head = length < 126 ? 6 : 8;
    if (length > 65535)
        exit(2);
    frame[1] = 0x80 | (length < 126 ? length : 126);
    if (length >= 126) {
        frame[2] = length >> 8;
        frame[3] = length;
    }
    memset(frame + head - 4, 0, 4);
    memcpy(frame + head, text, length);
    send_all(client, frame, head + length);
}

void sockets_connected(Client *client) {
    char request[512];
    int length = sprintf(request,
                         "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                         "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n",
                         options.port);
    client->state = GREETING;
    send_all(client, request, length);
}

/* $N in the body is a new number each time. */
void sockets_ask(Client *client) {
    char packet[32768];
    const char *number = strstr(options.body, "$N");
    int until = number ? number - options.body : (int)strlen(options.body);
    snprintf(packet, sizeof packet, "420[\"chat_stream\",%.*s", until, options.body);
    if (number)
        sprintf(packet + strlen(packet), "%d-%ld%s", (int)getpid(), asked++, number + 2);
    strcat(packet, "]");
    client->state = ASKING;
    send_text(client, packet);
}

static int begins(const char *text, size_t length, const char *with) {
    return length >= strlen(with) && memcmp(text, with, strlen(with)) == 0;
}

static void understand(Client *client, const char *text, size_t length, double at_s) {
    if (begins(text, length, "42[\"chat_token\"")) {
        const char *count = memmem(text, length, "\"count\":", 8);
        heard_tokens(client, count ? atol(count + 8) - client->tokens : 0, at_s);
    } else if (begins(text, length, "42[\"chat_complete\""))
        ended(client, 1, at_s);
    else if (begins(text, length, "42[\"chat_stream_error\"") || begins(text, length, "430[{\"ok\":false"))
        ended(client, 0, at_s);
    else if (begins(text, length, "2"))
        send_text(client, "3");
    else if (begins(text, length, "0"))
        send_text(client, "40");
    else if (begins(text, length, "40"))
        opened(client);
}

/* The length of the frame at the start of what has come in, and of its head; 0 if it is not all there. */
static size_t frame_at(const Client *client, size_t offset, size_t *head) {
    const unsigned char *frame = (unsigned char *)client->in + offset;
    size_t there = client->in_len - offset, length;
    if (there < 2)
        return 0;
    length = frame[1];
    *head = length < 126 ? 2 : length == 126 ? 4 : 10;
    if (there < *head)
        return 0;
    if (length == 126)
        length = frame[2] << 8 | frame[3];
    else if (length == 127) {
        length = 0;
        for (int i = 2; i < 10; i++)
            length = length << 8 | frame[i];
    }
    return there < *head + length ? 0 : *head + length;
}

void sockets_heard(Client *client, double at_s) {
    size_t offset = 0, length, head;
    if (client->status == 0) {
        char *blank = memmem(client->in, client->in_len, "\r\n\r\n", 4);
        if (!blank)
            return;
        client->status = atoi(client->in + 9);
        offset = blank + 4 - client->in;
    }
    while (client->state != ABSENT && (length = frame_at(client, offset, &head))) {
        understand(client, client->in + offset + head, length - head, at_s);
        offset += length;
    }
    if (client->state != ABSENT)
        forget(client, offset);
}
