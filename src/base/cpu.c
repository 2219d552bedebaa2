#include "base/cpu.h"

#include <sched.h>
#include <stdint.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

static uint64_t read_xcr0(void)
{
    uint32_t low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

/* The tile registers are large, so Linux gives them only to processes that ask (since 5.16). */
static bool tiles_granted(void)
{
    enum { ARCH_REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQUEST_PERMISSION, TILE_DATA) == 0;
}

static unsigned detect(void)
{
    unsigned a, b, c, d, found = 0;
    if (!__get_cpuid(1, &a, &b, &c, &d)) {
        return 0;
    }
    bool osxsave = c & (1u << 27), fma = c & (1u << 12), f16c = c & (1u << 29);
    unsigned b7 = 0, c7 = 0, d7 = 0;
    if (!osxsave || !__get_cpuid_count(7, 0, &a, &b7, &c7, &d7)) {
        return 0;
    }
    uint64_t saved = read_xcr0();
    if ((saved & 0x6) == 0x6 && (b7 & (1u << 5)) && fma && f16c) {
        found |= CPU_AVX2;
        unsigned a1, b1, c1, d1;
        bool more = __get_cpuid_count(7, 1, &a1, &b1, &c1, &d1);
        found |= more && (a1 & (1u << 4)) ? CPU_AVX_VNNI : 0;
        const unsigned f = 1u << 16, dq = 1u << 17, bw = 1u << 30, vl = 1u << 31;
        if ((saved & 0xE6) == 0xE6 && (b7 & (f | dq | bw | vl)) == (f | dq | bw | vl)) {
            found |= CPU_AVX512;
            const unsigned vnni = 1u << 11;
            const unsigned vbmi = 1u << 1, gfni = 1u << 8;
            found |= c7 & vnni ? CPU_VNNI : 0;
            found |= (c7 & vnni) && (c7 & gfni) ? CPU_GFNI : 0;
            const unsigned amx = 1u << 24 | 1u << 22, tile_state = 3u << 17;
            bool bf16 = more && (a1 & (1u << 5));
            if ((found & CPU_GFNI) && (c7 & vbmi) && bf16 && (d7 & amx) == amx &&
                (saved & tile_state) == tile_state && tiles_granted()) {
                found |= CPU_AMX_BF16;
            }
        }
    }
    return found;
}

static bool made_by_amd(void)
{
    const unsigned auth = 0x68747541; /* "Auth" of "AuthenticAMD" */
    unsigned top, b, c, d;
    return __get_cpuid(0, &top, &b, &c, &d) && b == auth;
}

const char *cpu_model_name(void)
{
    static char name[49];
    unsigned top, b, c, d;
    if (!__get_cpuid(0x80000000u, &top, &b, &c, &d) || top < 0x80000004u) {
        return "unknown";
    }
    unsigned words[12];
    for (unsigned i = 0; i < 3; i++) {
        __get_cpuid(0x80000002u + i, &words[4 * i], &words[4 * i + 1], &words[4 * i + 2],
                    &words[4 * i + 3]);
    }
    memcpy(name, words, 48);
    char *start = name;
    while (*start == ' ') {
        start++;
    }
    for (size_t n = strlen(start); n && start[n - 1] == ' '; n--) {
        start[n - 1] = 0;
    }
    return start;
}
#else
static unsigned detect(void)
{
#if defined(__aarch64__)
    unsigned found = CPU_NEON;
    if (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) {
        found |= CPU_DOTPROD;
        found |= getauxval(AT_HWCAP2) & HWCAP2_I8MM ? CPU_I8MM : 0;
    }
    return found;
#else
    return 0;
#endif
}

static bool made_by_amd(void)
{
    return false;
}

const char *cpu_model_name(void)
{
    return "unknown";
}
#endif

static atomic_uint allowed = ~0u;

/* CPUID leaves a virtual machine for the hypervisor, which takes microseconds: ask once. */
unsigned cpu_detect(void)
{
    const unsigned unknown = 1u << 31;
    static atomic_uint known = 1u << 31;
    unsigned found = atomic_load_explicit(&known, memory_order_relaxed);
    if (found == unknown) {
        found = detect();
        atomic_store_explicit(&known, found, memory_order_relaxed);
    }
    return found;
}

bool cpu_is_amd(void)
{
    enum { UNKNOWN, YES, NO };
    static atomic_int known = UNKNOWN;
    int is = atomic_load_explicit(&known, memory_order_relaxed);
    if (is == UNKNOWN) {
        is = made_by_amd() ? YES : NO;
        atomic_store_explicit(&known, is, memory_order_relaxed);
    }
    return is == YES;
}

unsigned cpu_features(void)
{
    return cpu_detect() & atomic_load(&allowed);
}

/* A rung stands on those below it: without AVX2 there is no AVX-512 either. */
static const struct {
    const char *word;
    unsigned only, without;
} mask_words[] = {
    {"none", 0, ~0u},
    {"avx2", CPU_AVX2, ~0u},
    {"vnni256", CPU_AVX2 | CPU_AVX_VNNI,
     CPU_AVX_VNNI | CPU_AVX512 | CPU_VNNI | CPU_GFNI | CPU_AMX_BF16},
    {"avx512", CPU_AVX2 | CPU_AVX512, CPU_AVX512 | CPU_VNNI | CPU_GFNI | CPU_AMX_BF16},
    {"vnni", CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI, CPU_VNNI | CPU_GFNI | CPU_AMX_BF16},
    {"gfni", CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI, CPU_GFNI | CPU_AMX_BF16},
    {"amx", CPU_AVX2 | CPU_AVX512 | CPU_VNNI | CPU_GFNI | CPU_AMX_BF16, CPU_AMX_BF16},
    {"neon", CPU_NEON, CPU_NEON | CPU_DOTPROD | CPU_I8MM},
    {"dotprod", CPU_NEON | CPU_DOTPROD, CPU_DOTPROD | CPU_I8MM},
    {"i8mm", CPU_NEON | CPU_DOTPROD | CPU_I8MM, CPU_I8MM},
    {"all", ~0u, 0},
};

bool cpu_set_mask(const char *words, struct error *e)
{
    unsigned mask = ~0u;
    const char *p = words;
    while (*p) {
        size_t n = strcspn(p, ", ");
        bool minus = n && *p == '-';
        const char *word = p + minus;
        size_t length = n - minus;
        bool known = n == 0;
        for (size_t i = 0; i < sizeof mask_words / sizeof *mask_words; i++) {
            bool rung = mask_words[i].without && mask_words[i].only; /* "-all", "-none": no sense */
            if (strlen(mask_words[i].word) == length &&
                strncmp(mask_words[i].word, word, length) == 0 && (rung || !minus)) {
                mask &= minus ? ~mask_words[i].without : mask_words[i].only;
                known = true;
            }
        }
        if (!known) {
            return error_set(
                e, ERROR_USAGE,
                "unknown processor mask \"%.*s\": use all, none, avx2, vnni256, avx512, vnni, "
                "gfni, amx, neon, dotprod, i8mm, or one with a minus to leave it out",
                (int)n, p);
        }
        p += n + (p[n] != 0);
    }
    atomic_store(&allowed, mask);
    return true;
}

int cpu_count(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        int n = CPU_COUNT(&set);
        return n > 0 ? n : 1;
    }
    return 1;
}
