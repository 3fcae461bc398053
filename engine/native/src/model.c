// A model's life: memory, loading, release.
#include "model.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t memory_available(void) {
    char *text = aq_read_file("/proc/meminfo", 65536, NULL);
    if (!text) return 0;
    const char *line = strstr(text, "MemAvailable:");
    uint64_t kib = line ? strtoull(line + 13, NULL, 10) : 0;
    free(text);
    return kib * 1024;
}

void *aq_big_alloc(size_t bytes, const char *what, struct aq_error *err) {
    uint64_t available = memory_available();
    if (available && bytes > available) {
        aq_fail(err, "memory", "%s needs %.2f GiB, the board has %.2f GiB available", what, (double)bytes / 0x1p30,
                (double)available / 0x1p30);
        return NULL;
    }
    void *memory = mmap(NULL, bytes ? bytes : 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        aq_fail(err, "memory", "cannot allocate %.2f GiB for %s", (double)bytes / 0x1p30, what);
        return NULL;
    }
    madvise(memory, bytes, MADV_HUGEPAGE); // only a wish
    return memory;
}

void aq_big_free(void *memory, size_t bytes) {
    if (memory) munmap(memory, bytes ? bytes : 1);
}

bool aq_model_load(struct aq_model *m, const char *path, const struct aq_kernels *kernels, struct aq_pool *pool,
                   struct aq_error *err) {
    *m = (struct aq_model){.kernels = kernels};
    if (!aq_gguf_open(&m->file, path, err)) return false;
    if (!aq_model_read_keys(m, err)) goto failed;
    m->layer = calloc(m->layers, sizeof *m->layer);
    if (!m->layer) {
        aq_fail(err, "memory", "out of memory for %zu layers", m->layers);
        goto failed;
    }
    if (aq_model_read_options(m, err) && aq_model_read_tensors(m, pool, err)) return true;
failed:
    aq_model_free(m);
    return false;
}

void aq_model_free(struct aq_model *m) {
    aq_big_free(m->arena, m->arena_size);
    free(m->layer);
    aq_gguf_close(&m->file);
    *m = (struct aq_model){0};
}
