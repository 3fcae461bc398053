#include "gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_KEYS = 65536, MAX_TENSORS = 65536, MAX_NAME = 65535, MAX_NESTING = 4 };

// A reader that cannot leave [at, end): after the first failure everything reads as 0 and `bad` stays set.
struct reader {
    const uint8_t *at, *end;
    bool bad;
};

static const uint8_t *take(struct reader *r, uint64_t n) {
    if (r->bad || n > (uint64_t)(r->end - r->at)) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *p = r->at;
    r->at += n;
    return p;
}

static uint64_t read_uint(struct reader *r, unsigned bytes) {
    const uint8_t *p = take(r, bytes);
    uint64_t value = 0;
    for (unsigned i = 0; p && i < bytes; i++) value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static unsigned scalar_size(uint32_t type) {
    static const uint8_t sizes[GGUF_TYPES] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    return type < GGUF_TYPES ? sizes[type] : 0;
}

// Moves past `count` values of `type`; false on an unknown type or the end of the file.
static bool skip_values(struct reader *r, uint32_t type, uint64_t count, int nesting) {
    unsigned size = scalar_size(type);
    if (size) {
        uint64_t bytes;
        if (__builtin_mul_overflow(count, (uint64_t)size, &bytes))
            r->bad = true;
        else
            take(r, bytes);
        return !r->bad;
    }
    if (nesting >= MAX_NESTING || (type != GGUF_STRING && type != GGUF_ARRAY)) return false;
    for (uint64_t i = 0; i < count; i++) {
        if (type == GGUF_STRING) {
            take(r, read_uint(r, 8));
        } else {
            uint32_t element = (uint32_t)read_uint(r, 4);
            uint64_t n = read_uint(r, 8);
            if (r->bad || !skip_values(r, element, n, nesting + 1)) return false;
        }
        if (r->bad) return false;
    }
    return true;
}

static bool read_key(struct reader *r, struct aq_gguf_key *key) {
    key->name_length = read_uint(r, 8);
    if (r->bad || key->name_length == 0 || key->name_length > MAX_NAME) return false;
    key->name = (const char *)take(r, key->name_length);
    key->type = (uint32_t)read_uint(r, 4);
    if (r->bad) return false;
    uint64_t count = 1;
    uint32_t type = key->type;
    if (type == GGUF_ARRAY) {
        type = key->element_type = (uint32_t)read_uint(r, 4);
        count = key->count = read_uint(r, 8);
    } else if (type == GGUF_STRING) {
        key->length = read_uint(r, 8);
        key->value = take(r, key->length);
        return !r->bad;
    }
    key->value = r->at;
    if (!skip_values(r, type, count, 0)) return false;
    key->length = (uint64_t)(r->at - key->value);
    return true;
}

static bool read_tensor(struct reader *r, struct aq_gguf_tensor *t) {
    t->name_length = read_uint(r, 8);
    if (r->bad || t->name_length == 0 || t->name_length > MAX_NAME) return false;
    t->name = (const char *)take(r, t->name_length);
    t->dimensions = (uint32_t)read_uint(r, 4);
    if (r->bad || t->dimensions < 1 || t->dimensions > 4) return false;
    t->elements = 1;
    for (unsigned i = 0; i < 4; i++) {
        t->size[i] = i < t->dimensions ? read_uint(r, 8) : 1;
        if (t->size[i] == 0 || __builtin_mul_overflow(t->elements, t->size[i], &t->elements)) return false;
    }
    t->type = (uint32_t)read_uint(r, 4);
    t->offset = read_uint(r, 8);
    return !r->bad;
}

static int compare_names(const char *a, size_t a_length, const char *b, size_t b_length) {
    int c = memcmp(a, b, aq_min(a_length, b_length));
    return c ? c : (a_length > b_length) - (a_length < b_length);
}

static int compare_tensors(const void *a, const void *b) {
    const struct aq_gguf_tensor *x = a, *y = b;
    return compare_names(x->name, x->name_length, y->name, y->name_length);
}

static bool parse(struct aq_gguf *g, const char *path, struct aq_error *err) {
    struct reader r = {g->map, g->map + g->map_size, false};
    const uint8_t *magic = take(&r, 4);
    if (!magic || memcmp(magic, "GGUF", 4) != 0) return aq_fail(err, "model-corrupt", "%s is not a GGUF file", path);
    uint64_t version = read_uint(&r, 4), tensors = read_uint(&r, 8), keys = read_uint(&r, 8);
    if (!r.bad && version != 3)
        return aq_fail(err, "model-corrupt", "%s: GGUF version %u, need 3 (import the model again)", path,
                       (unsigned)version);
    // A key takes at least 13 bytes, a tensor at least 33: refuses counts that the file cannot hold.
    if (r.bad || keys > MAX_KEYS || tensors > MAX_TENSORS || keys > g->map_size / 13 || tensors > g->map_size / 33)
        return aq_fail(err, "model-corrupt", "%s: header is cut off or has impossible counts", path);
    g->keys = calloc(keys ? keys : 1, sizeof *g->keys);
    g->tensors = calloc(tensors ? tensors : 1, sizeof *g->tensors);
    if (!g->keys || !g->tensors) return aq_fail(err, "memory", "out of memory while reading %s", path);
    for (; g->key_count < keys; g->key_count++)
        if (!read_key(&r, &g->keys[g->key_count]))
            return aq_fail(err, "model-corrupt", "%s: key %zu of %llu is cut off or malformed", path, g->key_count,
                           (unsigned long long)keys);
    for (; g->tensor_count < tensors; g->tensor_count++)
        if (!read_tensor(&r, &g->tensors[g->tensor_count]))
            return aq_fail(err, "model-corrupt", "%s: tensor %zu of %llu is cut off or malformed", path,
                           g->tensor_count, (unsigned long long)tensors);
    uint64_t alignment = 32;
    if (aq_gguf_find(g, "general.alignment") && (!aq_gguf_uint(g, "general.alignment", &alignment) || alignment < 8 ||
                                                 alignment > 65536 || (alignment & (alignment - 1))))
        return aq_fail(err, "model-corrupt", "%s: impossible alignment", path);
    size_t start = aq_round_up((size_t)(r.at - g->map), (size_t)alignment);
    if (start > g->map_size) return aq_fail(err, "model-corrupt", "%s: no tensor data; the file is cut off", path);
    g->data = g->map + start;
    g->data_size = g->map_size - start;
    for (size_t i = 0; i < g->tensor_count; i++) {
        struct aq_gguf_tensor *t = &g->tensors[i];
        if (t->offset % alignment || t->offset > g->data_size)
            return aq_fail(err, "model-corrupt", "%s: tensor %.*s starts outside the file", path,
                           (int)aq_min(t->name_length, 100), t->name);
    }
    qsort(g->tensors, g->tensor_count, sizeof *g->tensors, compare_tensors);
    for (size_t i = 1; i < g->tensor_count; i++)
        if (compare_tensors(&g->tensors[i - 1], &g->tensors[i]) == 0)
            return aq_fail(err, "model-corrupt", "%s: two tensors have the same name", path);
    return true;
}

bool aq_gguf_open(struct aq_gguf *g, const char *path, struct aq_error *err) {
    *g = (struct aq_gguf){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return aq_fail(err, "artifact-missing", "cannot open %s: %s", path, strerror(errno));
    struct stat st;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return aq_fail(err, "artifact-missing", "%s is not a file", path);
    }
    if (st.st_size < 24 || (uint64_t)st.st_size > SIZE_MAX / 2) {
        close(fd);
        return aq_fail(err, "model-corrupt", "%s is too short for a GGUF file", path);
    }
    g->map_size = (size_t)st.st_size;
    void *map = mmap(NULL, g->map_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int saved = errno;
    close(fd);
    if (map == MAP_FAILED) {
        g->map_size = 0;
        return aq_fail(err, "memory", "cannot map %s: %s", path, strerror(saved));
    }
    g->map = map;
    if (parse(g, path, err)) return true;
    aq_gguf_close(g);
    return false;
}

void aq_gguf_close(struct aq_gguf *g) {
    if (g->map) munmap((void *)(uintptr_t)g->map, g->map_size);
    free(g->keys);
    free(g->tensors);
    *g = (struct aq_gguf){0};
}

const struct aq_gguf_key *aq_gguf_find(const struct aq_gguf *g, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < g->key_count; i++)
        if (compare_names(g->keys[i].name, g->keys[i].name_length, name, n) == 0) return &g->keys[i];
    return NULL;
}

bool aq_gguf_uint(const struct aq_gguf *g, const char *name, uint64_t *out) {
    const struct aq_gguf_key *key = aq_gguf_find(g, name);
    if (!key || key->type == GGUF_STRING || key->type == GGUF_ARRAY || key->type == GGUF_F32 || key->type == GGUF_F64)
        return false;
    struct reader r = {key->value, key->value + key->length, false};
    unsigned bytes = scalar_size(key->type);
    uint64_t value = read_uint(&r, bytes);
    bool is_signed = key->type == GGUF_I8 || key->type == GGUF_I16 || key->type == GGUF_I32 || key->type == GGUF_I64;
    if (r.bad || (is_signed && value >> (8 * bytes - 1))) return false;
    *out = value;
    return true;
}

bool aq_gguf_float(const struct aq_gguf *g, const char *name, double *out) {
    const struct aq_gguf_key *key = aq_gguf_find(g, name);
    if (!key) return false;
    float f;
    if (key->type == GGUF_F32) {
        memcpy(&f, key->value, sizeof f);
        *out = (double)f;
    } else if (key->type == GGUF_F64) {
        memcpy(out, key->value, sizeof *out);
    } else {
        return false;
    }
    return true;
}

bool aq_gguf_is_true(const struct aq_gguf *g, const char *name) {
    const struct aq_gguf_key *key = aq_gguf_find(g, name);
    return key && key->type == GGUF_BOOL && key->value[0];
}

bool aq_gguf_is_string(const struct aq_gguf *g, const char *name, const char *value) {
    const struct aq_gguf_key *key = aq_gguf_find(g, name);
    return key && key->type == GGUF_STRING && key->length == strlen(value) &&
           memcmp(key->value, value, key->length) == 0;
}

const char *aq_gguf_string(const struct aq_gguf *g, const char *name, size_t *length) {
    const struct aq_gguf_key *key = aq_gguf_find(g, name);
    if (!key || key->type != GGUF_STRING) return NULL;
    *length = (size_t)key->length;
    return (const char *)key->value;
}

static bool element_at(const struct aq_gguf *g, const char *name, uint32_t type, uint64_t count, uint64_t index,
                       void *out) {
    const struct aq_gguf_key *key = aq_gguf_find(g, name);
    if (!key || key->type != GGUF_ARRAY || key->element_type != type || key->count != count || index >= count)
        return false;
    memcpy(out, key->value + index * 4, 4);
    return true;
}

bool aq_gguf_uint_at(const struct aq_gguf *g, const char *name, uint64_t count, uint64_t index, uint32_t *out) {
    return element_at(g, name, GGUF_U32, count, index, out);
}

bool aq_gguf_float_at(const struct aq_gguf *g, const char *name, uint64_t count, uint64_t index, float *out) {
    return element_at(g, name, GGUF_F32, count, index, out);
}

const struct aq_gguf_tensor *aq_gguf_tensor(const struct aq_gguf *g, const char *name) {
    struct aq_gguf_tensor key = {.name = name, .name_length = strlen(name)};
    return bsearch(&key, g->tensors, g->tensor_count, sizeof *g->tensors, compare_tensors);
}

const void *aq_gguf_data(const struct aq_gguf *g, const char *name, uint32_t type, uint64_t size0, uint64_t size1,
                         struct aq_error *err) {
    const struct aq_gguf_tensor *t = aq_gguf_tensor(g, name);
    if (!t) {
        aq_fail(err, "model-corrupt", "tensor %s is missing", name);
        return NULL;
    }
    if (t->size[0] != size0 || t->size[1] != (size1 ? size1 : 1) || t->size[2] != 1 || t->size[3] != 1) {
        aq_fail(err, "model-corrupt", "tensor %s is %llu x %llu, expected %llu x %llu", name,
                (unsigned long long)t->size[0], (unsigned long long)t->size[1], (unsigned long long)size0,
                (unsigned long long)(size1 ? size1 : 1));
        return NULL;
    }
    if (t->type != type) {
        aq_fail(err, "model-unsupported",
                "tensor %s has type %u, this precision needs %u (0 F32, 1 F16, 24 I8, 30 BF16)", name, t->type, type);
        return NULL;
    }
    uint64_t bytes, unit = type == AQ_TENSOR_F32 ? 4 : type == AQ_TENSOR_I8 ? 1 : 2;
    if (__builtin_mul_overflow(t->elements, unit, &bytes) || bytes > g->data_size - t->offset) {
        aq_fail(err, "model-corrupt", "tensor %s reaches beyond the end of the file; it was cut off", name);
        return NULL;
    }
    return g->data + t->offset;
}
