#include "tally.h"

#include <math.h>
#include <stdio.h>

#define PER_OCTAVE 700.0

void tally(Tally *durations, double seconds, long times) {
    int last = sizeof durations->counts / sizeof *durations->counts - 1;
    int bucket = log2(seconds * 1e6 + 1) * PER_OCTAVE;
    durations->counts[bucket > last ? last : bucket] += times;
    durations->total += times;
    if (times && seconds > durations->most_s)
        durations->most_s = seconds;
}

static double quantile_ms(const Tally *durations, double share) {
    long wanted = share * (durations->total - 1), seen = 0;
    int bucket = 0;
    while ((seen += durations->counts[bucket]) <= wanted)
        bucket++;
    return (exp2(bucket / PER_OCTAVE) - 1) * 1e-3;
}

void print_tally(const char *name, const Tally *durations) {
    if (durations->total == 0)
        printf("\"%s\": null, ", name);
    else
        printf("\"%s\": [%.4f, %.4f, %.4f], ", name, quantile_ms(durations, 0.5), quantile_ms(durations, 0.99),
               durations->most_s * 1e3);
}
