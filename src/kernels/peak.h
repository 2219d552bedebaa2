/* peak.h: what the machine could do, for benchmarks: loops that keep one kind of unit as busy as it
 * can be, and nothing else. A share of these figures, taken in the same run, says more about a
 * kernel than a rate alone.
 */
#ifndef LLLM_KERNELS_PEAK_H
#define LLLM_KERNELS_PEAK_H

#include <stdbool.h>
#include <stddef.h>

enum kernel_unit {
    KERNEL_FLOATS,
    KERNEL_BYTES, /* integers, as fixed.h has them: of two bytes twice as many products */
    KERNEL_TILES,
};

struct kernel_peak {
    const char *name; /* "f32 FMA, AVX-512" */
    enum kernel_unit unit;
    unsigned features; /* enum cpu_feature: all are needed */
    /* Does about `rounds` thousand instructions and returns the number of operations:
     * a multiply and an add count as two. */
    double (*run)(size_t rounds);
};

/* Those that cpu_features() allows, of each unit the slowest first; NULL past the end. */
const struct kernel_peak *kernel_peak_at(size_t index);

/* Reads every byte of data[0..size_bytes) once, in n_streams (1 to KERNEL_READ_STREAMS) stretches
 * side by side, with the widest loads that cpu_features() allows. Returns a number that depends on
 * all of them, so that no read can be left out. size_bytes is cut to a multiple of 512 * n_streams;
 * data is 64-byte aligned. */
enum { KERNEL_READ_STREAMS = 8 };
unsigned kernel_read(const void *data, size_t size_bytes, int n_streams);

#endif
