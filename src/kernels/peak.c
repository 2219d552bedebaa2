/* peak.c: the table of peak loops, and those in portable C. */
#include "kernels/peak.h"

#include <stdint.h>

#include "base/cpu.h"
#include "kernels/rungs.h"

static double run_portable(size_t rounds)
{
    enum { CHAINS = 8, STEPS = 1000 / CHAINS };
    float sum[CHAINS] = {0};
    volatile float factor = 0.5f;
    float a = factor;
    for (size_t r = 0; r < rounds * STEPS; r++) {
        for (int i = 0; i < CHAINS; i++) {
            sum[i] = sum[i] * a + a;
        }
    }
    volatile float kept = 0;
    for (int i = 0; i < CHAINS; i++) {
        kept = kept + sum[i];
    }
    return 2.0 * CHAINS * STEPS * (double)rounds;
}

unsigned kernel_read_ref(const void *data, size_t stretch_bytes, int n_streams)
{
    const uint64_t *p = data;
    size_t n = stretch_bytes / sizeof *p;
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t s = 0; s < (size_t)n_streams; s++) {
            sum ^= p[s * n + i];
        }
    }
    return (unsigned)(sum ^ sum >> 32);
}

static const struct kernel_peak peaks[] = {
    {"f32 multiply-add, portable C", KERNEL_FLOATS, 0, run_portable},
#if defined(__x86_64__)
    {"f32 FMA, AVX2", KERNEL_FLOATS, CPU_AVX2, kernel_peak_fma_avx2},
    {"f32 FMA, AVX-512", KERNEL_FLOATS, CPU_AVX512, kernel_peak_fma_avx512},
    {"products of bytes, AVX2", KERNEL_BYTES, CPU_AVX2, kernel_peak_bytes_avx2},
    {"products of bytes, AVX-VNNI", KERNEL_BYTES, CPU_AVX_VNNI, kernel_peak_bytes_vnni256},
    {"products of bytes, AVX-512 VNNI", KERNEL_BYTES, CPU_VNNI, kernel_peak_bytes_vnni},
    {"bf16 tiles fed from L2, AMX", KERNEL_TILES, CPU_AMX_BF16, kernel_peak_tiles_cached_amx},
    {"bf16 tiles, AMX", KERNEL_TILES, CPU_AMX_BF16, kernel_peak_tiles_amx},
#elif defined(__aarch64__)
    {"f32 FMA, NEON", KERNEL_FLOATS, CPU_NEON, kernel_peak_fma_neon},
    {"products of bytes, dot products", KERNEL_BYTES, CPU_DOTPROD, kernel_peak_bytes_dotprod},
    {"products of bytes, I8MM", KERNEL_BYTES, CPU_I8MM, kernel_peak_bytes_i8mm},
#endif
};

const struct kernel_peak *kernel_peak_at(size_t index)
{
    unsigned features = cpu_features();
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        if ((peaks[i].features & ~features) == 0 && index-- == 0) {
            return &peaks[i];
        }
    }
    return NULL;
}

unsigned kernel_read(const void *data, size_t size_bytes, int n_streams)
{
    n_streams = n_streams < 1                     ? 1
                : n_streams > KERNEL_READ_STREAMS ? KERNEL_READ_STREAMS
                                                  : n_streams;
    size_t stretch_bytes = size_bytes / (size_t)n_streams / 512 * 512;
#if defined(__x86_64__)
    if (cpu_features() & CPU_AVX512) {
        return kernel_read_avx512(data, stretch_bytes, n_streams);
    }
    if (cpu_features() & CPU_AVX2) {
        return kernel_read_avx2(data, stretch_bytes, n_streams);
    }
#elif defined(__aarch64__)
    if (cpu_features() & CPU_NEON) {
        return kernel_read_neon(data, stretch_bytes, n_streams);
    }
#endif
    return kernel_read_ref(data, stretch_bytes, n_streams);
}
