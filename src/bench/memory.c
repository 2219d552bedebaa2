/* memory.c: what this process holds in memory, and what of it is the model. */
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "bench/bench.h"

/* "RssAnon:   1234 kB" of /proc/self/status (proc(5), Linux 4.5); false where there is none. */
static bool status_kib(const char *name, double *kib)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    bool found = false;
    size_t n = strlen(name);
    while (f && !found && fgets(line, sizeof line, f)) {
        found = strncmp(line, name, n) == 0 && sscanf(line + n, ": %lf kB", kib) == 1;
    }
    if (f) {
        fclose(f);
    }
    return found;
}

struct bench_memory bench_memory(const struct engine *en, uint32_t n_tokens)
{
    const struct gguf *g = engine_gguf(en);
    struct rusage usage;
    struct bench_memory m = {0};
    double file_kib, own_kib;
    getrusage(RUSAGE_SELF, &usage);
    m.peak_mb = (double)usage.ru_maxrss * 1024 / 1e6;
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        m.weights_mb += (double)gguf_tensor_at(g, i)->size_bytes / 1e6;
    }
    m.cache_mb = (double)model_cache_bytes(engine_config(en), engine_kv_type(en), n_tokens) / 1e6;
    m.beside_mb = m.peak_mb - m.weights_mb - m.cache_mb;
    m.has_parts = status_kib("RssFile", &file_kib) && status_kib("RssAnon", &own_kib);
    if (m.has_parts) {
        m.file_mb = file_kib * 1024 / 1e6;
        m.own_mb = own_kib * 1024 / 1e6;
    }
    return m;
}
