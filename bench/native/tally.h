#ifndef TALLY_H
#define TALLY_H

/* Counted durations, kept in buckets 0.1 % wide from 1 microsecond to an hour: any number fits. */
typedef struct {
    long counts[23040];
    long total;
    double most_s;
} Tally;

void tally(Tally *durations, double seconds, long times);

/* Prints [p50, p99, max] as JSON, in milliseconds; null if nothing was counted. */
void print_tally(const char *name, const Tally *durations);

#endif
