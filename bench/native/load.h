#ifndef LOAD_H
#define LOAD_H

#include "tally.h"

#include <sys/types.h>

/* What the command line says; load.c tells what it means. */
typedef struct {
    const char *door, *method, *path, *body, *mark;
    int port, streams, hold;
    long total, tokens;
    double for_s, ramp_s, limit_s;
} Options;

typedef enum { ABSENT, CONNECTING, GREETING, IDLE, ASKING, SILENT } State;

typedef struct {
    State state;
    int fd, status;
    long tokens;                      /* of the answer under way */
    double asked_s, last_s;           /* when it was asked for, and when its last token came */
    char *in;                         /* what has come in and is not understood yet */
    size_t in_len, in_room;
} Client;

extern Options options;

/* Bytes came in at a time; the door reads what it can from client->in. */
void sse_heard(Client *client, double at_s);
void sockets_heard(Client *client, double at_s);

/* The connection stands. */
void sse_connected(Client *client);
void sockets_connected(Client *client);

/* Asks the next question on an open socket. */
void sockets_ask(Client *client);

/* The load's own steps, for the doors. */
void send_all(Client *client, const void *bytes, size_t length);
void forget(Client *client, size_t length);
void heard_tokens(Client *client, long count, double at_s);
void opened(Client *client);
void ended(Client *client, int well, double at_s);

#endif
