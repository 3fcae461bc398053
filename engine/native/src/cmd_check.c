// logits, accumulate: for tests and comparisons with the reference.
#include "commands.h"
#include "forward.h"
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool create_output(const char *path, int *fd, struct aq_error *err) {
    *fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return *fd >= 0 || aq_fail(err, "write", "cannot create %s: %s", path, strerror(errno));
}

static bool write_logits(const struct aq_args *args, const struct aq_model *model, struct aq_pool *pool,
                         const struct aq_tokens *tokens, size_t count, struct aq_error *err) {
    enum { CHUNK = 128 };
    int fd;
    struct aq_session *s = aq_session_create(model, pool, count, CHUNK, CHUNK, NULL, err);
    if (!s) return false;
    bool ok = create_output(aq_arg(args, "out"), &fd, err);
    size_t step = aq_session_chunk(s);
    for (size_t at = 0; ok && at < count; at += step) { // the ids are one prompt
        size_t rows = aq_min(step, count - at);
        ok = aq_session_forward(s, tokens->ids + at, rows, at + rows == count ? AQ_PROMPT_END : AQ_PROMPT, err);
        for (size_t row = 0; ok && row < rows; row += CHUNK) {
            size_t some = aq_min(CHUNK, rows - row);
            if (!aq_write_all(fd, aq_session_logits(s, row, some), some * model->vocab * sizeof(float)))
                ok = aq_fail(err, "write", "cannot write logits: %s", strerror(errno));
        }
    }
    if (fd >= 0 && close(fd) != 0 && ok) ok = aq_fail(err, "write", "cannot write logits: %s", strerror(errno));
    aq_session_free(s);
    return ok;
}

int aq_cmd_logits(const struct aq_args *args) {
    struct aq_error err;
    uint64_t count, threads;
    const char *isa = aq_arg(args, "isa");
    if (!aq_arg_number(args, "count", 1, 1 << 20, &count, &err) ||
        !aq_arg_number(args, "threads", 1, AQ_MAX_THREADS, &threads, &err))
        return aq_report(&err, AQ_USAGE);
    const struct aq_kernels *kernels = aq_kernels_select(isa ? isa : "auto", &err);
    struct aq_tokens tokens = {0};
    struct aq_model model = {0};
    struct aq_pool *pool = NULL;
    bool ok = kernels && aq_tokens_read(&tokens, aq_arg(args, "tokens"), &err);
    if (ok && (count < 1 || count > tokens.count))
        ok = aq_fail(&err, "tokens", "--count %llu: the token file has %llu ids", (unsigned long long)count,
                     (unsigned long long)tokens.count);
    ok = ok && (pool = aq_pool_create((unsigned)threads, NULL, 0, &err)) != NULL;
    ok = ok && aq_model_load(&model, aq_arg(args, "model"), kernels, pool, &err);
    bool loaded = ok;
    ok = ok && write_logits(args, &model, pool, &tokens, count, &err);
    aq_pool_destroy(pool);
    if (loaded) aq_model_free(&model);
    aq_tokens_free(&tokens);
    return ok ? AQ_OK : aq_report(&err, AQ_FAILED);
}

struct accumulate {
    uint32_t m, n, k, group;
    enum aq_format format;
    int limit;
    size_t padded, groups, row_bytes;
    const int8_t *activations;
    const uint8_t *weights;
    const int8_t *zeros; // [n][groups] zero points, or NULL
};

static bool parse_accumulate(struct accumulate *a, const char *kernel, const uint8_t *data, size_t length,
                             struct aq_error *err) {
    static const struct {
        const char *name;
        enum aq_format format;
        int limit;
        bool zeros;
    } kernels[] = {{"w8a8", AQ_I8, 127, false},
                   {"w4a8", AQ_I4, 127, false},
                   {"w4a4", AQ_I4, 7, false},
                   {"w4a8+asym", AQ_I4, 127, true},
                   {"w4a4+asym", AQ_I4, 7, true}};
    size_t index = 0, count = sizeof kernels / sizeof *kernels;
    while (index < count && strcmp(kernels[index].name, kernel) != 0) index++;
    if (index == count) return aq_fail(err, "usage", "--kernel is one of w8a8, w4a8, w4a4, w4a8+asym, w4a4+asym");
    a->format = kernels[index].format;
    a->limit = kernels[index].limit;
    bool zeros = kernels[index].zeros;
    if (length < 16) return aq_fail(err, "input", "the input is cut off");
    memcpy(&a->m, data, 4);
    memcpy(&a->n, data + 4, 4);
    memcpy(&a->k, data + 8, 4);
    memcpy(&a->group, data + 12, 4);
    if (a->m < 1 || a->n < 1 || a->k < 1 || a->m > 65536 || a->n > 1u << 20 || a->k > 131072)
        return aq_fail(err, "input", "m, n or k is out of range");
    if (a->group != 0 && (a->group % 32 || a->group > 131072 || a->format == AQ_I8))
        return aq_fail(err, "input", "group must be 0 for int8, a multiple of 32 or 0 (whole row) for int4");
    size_t group = a->group ? a->group : aq_round_up(a->k, 32);
    a->groups = a->format == AQ_I8 ? 1 : (a->k + group - 1) / group;
    a->padded = a->groups * group;
    a->row_bytes = a->format == AQ_I8 ? a->k : a->padded / 2;
    size_t zero_bytes = zeros ? a->groups * a->n : 0;
    size_t expected = 16 + (size_t)a->m * a->k + a->row_bytes * a->n + zero_bytes;
    if (length != expected) return aq_fail(err, "input", "the input has %zu bytes, expected %zu", length, expected);
    a->activations = (const int8_t *)data + 16;
    a->weights = data + 16 + (size_t)a->m * a->k;
    a->zeros = zeros ? (const int8_t *)a->weights + a->row_bytes * a->n : NULL;
    for (size_t i = 0; i < zero_bytes; i++)
        if (a->zeros[i] < 0 || a->zeros[i] > 15) return aq_fail(err, "input", "zero point %zu is not 0 to 15", i);
    for (size_t i = 0; i < (size_t)a->m * a->k; i++)
        if (a->activations[i] > a->limit || a->activations[i] < -a->limit)
            return aq_fail(err, "input", "activation %zu is beyond %d", i, a->limit);
    for (size_t i = 0; a->format == AQ_I8 && i < (size_t)a->n * a->k; i++)
        if (a->weights[i] == 0x80) return aq_fail(err, "input", "weight %zu is -128", i);
    return true;
}

// Fills rows the way the quantizer does.
static void fill_rows(struct aq_rows *rows, const struct accumulate *a) {
    for (size_t m = 0; m < a->m; m++) {
        for (size_t i = 0; i < a->k; i++) {
            rows->q[m * rows->ld + i] = a->activations[m * a->k + i];
            rows->q16[m * rows->ld + i] = a->activations[m * a->k + i];
        }
        for (size_t i = 0; i < rows->ld; i++)
            rows->offsets[m * (rows->ld / 32) + i / 32] -= 8 * rows->q[m * rows->ld + i];
    }
}

static bool accumulate(const struct accumulate *a, const struct aq_kernels *kernels, int32_t *out,
                       struct aq_error *err) {
    size_t bytes, ld = aq_round_up(aq_max(a->k, a->padded), 128), cells = (size_t)a->m * ld;
    if (!aq_packed_bytes(kernels, a->format, a->n, a->format == AQ_I8 ? a->k : a->padded, &bytes))
        return aq_fail(err, "input", "too big");
    size_t scale_bytes = aq_round_up((a->n + 64) * a->groups * 4, 64), scratch = kernels->scratch_bytes(ld);
    size_t parts[] = {aq_round_up(bytes, 64),          scale_bytes,
                      aq_round_up(cells, 64),          aq_round_up(cells * 2, 64),
                      aq_round_up(cells / 32 * 4, 64), aq_round_up(a->m * 4, 64),
                      aq_round_up(scratch, 64),        scale_bytes};
    size_t total = 0, at = 0;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) total += parts[i];
    uint8_t *memory = aq_big_alloc(total, "the product", err), *part[sizeof parts / sizeof *parts];
    if (!memory) return false;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; at += parts[i], i++) part[i] = memory + at;
    struct aq_rows rows = {
        ld,      (int8_t *)part[2], (int16_t *)(void *)part[3], (int32_t *)(void *)part[4], (float *)(void *)part[5],
        a->limit};
    fill_rows(&rows, a);
    if (a->format == AQ_I8)
        kernels->pack_i8((int8_t *)part[0], (const int8_t *)a->weights, a->n, a->k);
    else
        kernels->pack_i4(part[0], a->weights, a->n, a->padded);
    if (a->zeros) aq_pack_i4_zeros(kernels, (int8_t *)part[7], a->zeros, a->n, a->groups);
    struct aq_matrix w = {.format = a->format,
                          .n = a->n,
                          .k = a->k,
                          .stride = a->k,
                          .padded = a->padded,
                          .group = a->padded / a->groups,
                          .groups = a->groups,
                          .weights = part[0],
                          .scales = part[1],
                          .zeros = a->zeros ? (int8_t *)part[7] : NULL};
    struct aq_product p = {.w = &w,
                           .m = a->m,
                           .rows = &rows,
                           .last = aq_panels(kernels, a->format, a->n),
                           .accumulators = out,
                           .scratch = part[6]};
    kernels->product[a->format](&p);
    aq_big_free(memory, total);
    return true;
}

int aq_cmd_accumulate(const struct aq_args *args) {
    struct aq_error err;
    struct accumulate a = {0};
    size_t length, count;
    int fd = -1;
    const struct aq_kernels *kernels = aq_kernels_select(aq_arg(args, "isa"), &err);
    if (!kernels) return aq_report(&err, AQ_FAILED);
    char *data = aq_read_file(aq_arg(args, "in"), (size_t)1 << 31, &length);
    if (!data) {
        aq_fail(&err, "input", "cannot read %s: %s", aq_arg(args, "in"), strerror(errno));
        return aq_report(&err, AQ_FAILED);
    }
    int32_t *out = NULL;
    bool ok = parse_accumulate(&a, aq_arg(args, "kernel"), (const uint8_t *)data, length, &err);
    if (ok) {
        count = (size_t)a.m * a.n * a.groups;
        out = malloc(count * sizeof *out);
        ok = out ? accumulate(&a, kernels, out, &err) : aq_fail(&err, "memory", "out of memory");
        ok = ok && create_output(aq_arg(args, "out"), &fd, &err);
        if (ok && !aq_write_all(fd, out, count * sizeof *out))
            ok = aq_fail(&err, "write", "cannot write accumulators: %s", strerror(errno));
        if (fd >= 0) close(fd);
    }
    free(out);
    free(data);
    return ok ? AQ_OK : aq_report(&err, AQ_FAILED);
}
