// What attention remembers: RoPE, then keys and values in panels of NR entries, in fp16, or in int8 with a scale for
// each entry and head.
#include "session.h"

#include <string.h>

static void rotate(const struct aq_session *s, float *x, size_t heads, size_t position) {
    size_t half = s->model->rope_dim / 2;
    const float *cosine = s->cosine + position * half, *sine = s->sine + position * half;
    for (size_t h = 0; h < heads; h++, x += s->model->head_dim)
        for (size_t i = 0; i < half; i++) {
            float a = x[2 * i], b = x[2 * i + 1];
            x[2 * i] = a * cosine[i] - b * sine[i];
            x[2 * i + 1] = a * sine[i] + b * cosine[i];
        }
}

// Where element `i` of entry `entry` stands in the panels of a head.
static size_t key_at(const struct aq_session *s, size_t entry, size_t i) {
    size_t nr = s->kernels->panel[AQ_F16];
    return (entry / nr * s->model->head_dim + i) * nr + entry % nr;
}

static size_t value_at(const struct aq_session *s, size_t entry, size_t i) {
    size_t nr = s->kernels->panel[AQ_F16], capacity = aq_round_up(s->context, nr);
    return (i / nr * capacity + entry) * nr + i % nr;
}

static void store_f16(struct aq_session *s, size_t head, size_t entry, const float *k, const float *v) {
    uint16_t *keys = s->keys + head * s->head_keys, *values = s->values + head * s->head_values, half[512];
    for (size_t start = 0; start < s->model->head_dim; start += 512) {
        size_t count = aq_min(512, s->model->head_dim - start);
        s->kernels->narrow(half, k + start, count);
        for (size_t i = 0; i < count; i++) keys[key_at(s, entry, start + i)] = half[i];
        s->kernels->narrow(half, v + start, count);
        for (size_t i = 0; i < count; i++) values[value_at(s, entry, start + i)] = half[i];
    }
}

static void store_i8(struct aq_session *s, size_t head, size_t entry, const float *k, const float *v) {
    size_t capacity = aq_round_up(s->context, s->kernels->panel[AQ_F16]), n = s->model->head_dim;
    int8_t *keys = s->keys8 + head * s->head_keys, *values = s->values8 + head * s->head_values, q[512];
    float key_inverse, value_inverse;
    s->key_scales[head * capacity + entry] = s->kernels->row_scale(k, n, &key_inverse);
    s->value_scales[head * capacity + entry] = s->kernels->row_scale(v, n, &value_inverse);
    for (size_t start = 0; start < n; start += 512) {
        size_t count = aq_min(512, n - start);
        s->kernels->to_int8(q, k + start, count, key_inverse);
        for (size_t i = 0; i < count; i++) keys[key_at(s, entry, start + i)] = q[i];
        s->kernels->to_int8(q, v + start, count, value_inverse);
        for (size_t i = 0; i < count; i++) values[value_at(s, entry, start + i)] = q[i];
    }
}

void aq_cache_store(struct aq_session *s, size_t layer, size_t row) {
    const struct aq_model *m = s->model;
    size_t entry = s->length[layer] + row;
    // The paper's way: survivors close ranks, so the number of the entry is the position.
    size_t position = m->prune == AQ_PRUNE_PAPER ? entry : s->position + s->token[row];
    float *q = s->qkv + row * s->ld_qkv, *k = q + m->dim, *v = k + m->kv_dim;
    if (m->arch->positions == AQ_ROPE) {
        rotate(s, q, m->heads, position);
        rotate(s, k, m->kv_heads, position);
    } else if (m->arch->positions == AQ_ALIBI) {
        aq_key_positions(s, layer)[entry] = (float)position;
    }
    for (size_t h = 0; h < m->kv_heads; h++, k += m->head_dim, v += m->head_dim) {
        if (m->int8_kv)
            store_i8(s, layer * m->kv_heads + h, entry, k, v);
        else
            store_f16(s, layer * m->kv_heads + h, entry, k, v);
    }
}

// rows of NR int8 numbers to fp16; `scale` has NR numbers or, by_row, one a row.
static void widen(const struct aq_session *s, uint16_t *dst, const int8_t *q, const float *scale, size_t rows,
                  bool by_row) {
    enum { ROWS = 32 };
    size_t nr = s->kernels->panel[AQ_F16];
    float wide[ROWS * 16];
    for (size_t row = 0; row < rows; row += ROWS) {
        size_t count = aq_min(ROWS, rows - row);
        s->kernels->from_int8(wide, q + row * nr, by_row ? scale + row : scale, count, by_row);
        s->kernels->narrow(dst + row * nr, wide, count * nr);
    }
}

void aq_cache_widen_keys(const struct aq_session *s, size_t layer, size_t head, size_t first, size_t count,
                         uint16_t *panels) {
    size_t nr = s->kernels->panel[AQ_F16], capacity = aq_round_up(s->context, nr), n = s->model->head_dim;
    head += layer * s->model->kv_heads;
    const int8_t *keys = s->keys8 + head * s->head_keys;
    for (size_t entry = first; entry < first + count; entry += nr)
        widen(s, panels + (entry - first) * n, keys + entry * n, s->key_scales + head * capacity + entry, n, false);
}

void aq_cache_widen_values(const struct aq_session *s, size_t layer, size_t head, size_t first, size_t count,
                           uint16_t *panels) {
    size_t nr = s->kernels->panel[AQ_F16], capacity = aq_round_up(s->context, nr);
    head += layer * s->model->kv_heads;
    const int8_t *values = s->values8 + head * s->head_values;
    for (size_t i = 0; i < s->model->head_dim; i += nr)
        widen(s, panels + i * count, values + i * capacity + first * nr, s->value_scales + head * capacity + first,
              count, true);
}
