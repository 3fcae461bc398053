// RoPE, the KV cache, and attention as two fp16 products a head with a softmax between.
#include "session.h"

#include <math.h>
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

struct attention {
    struct aq_session *s;
    size_t layer, tiles;
};

// RoPE, then keys and values of the rows into the cache. Work item: one token.
static void store_rows(void *context, size_t first, size_t last, unsigned thread) {
    (void)thread;
    struct attention *a = context;
    struct aq_session *s = a->s;
    const struct aq_model *m = s->model;
    size_t nr = s->kernels->panel[AQ_F16], capacity = aq_round_up(s->context, nr);
    uint16_t half[512];
    for (size_t row = first; row < last; row++) {
        size_t position = s->position + row;
        float *q = s->qkv + row * s->ld_qkv, *k = q + m->dim, *v = k + m->kv_dim;
        if (m->arch->positions == AQ_ROPE) {
            rotate(s, q, m->heads, position);
            rotate(s, k, m->kv_heads, position);
        }
        for (size_t h = 0; h < m->kv_heads; h++) {
            uint16_t *keys = s->keys + (a->layer * m->kv_heads + h) * s->head_keys;
            uint16_t *values = s->values + (a->layer * m->kv_heads + h) * s->head_values;
            for (size_t start = 0; start < m->head_dim; start += 512) {
                size_t count = aq_min(512, m->head_dim - start);
                s->kernels->narrow(half, k + h * m->head_dim + start, count);
                for (size_t i = 0; i < count; i++)
                    keys[(position / nr * m->head_dim + start + i) * nr + position % nr] = half[i];
                s->kernels->narrow(half, v + h * m->head_dim + start, count);
                for (size_t i = 0; i < count; i++)
                    values[((start + i) / nr * capacity + position) * nr + (start + i) % nr] = half[i];
            }
        }
    }
}

// Rows of q against one head of the cache: the rows of consecutive tokens for one head, or those of one token for
// consecutive heads, which share the keys.
struct queries {
    const float *q;
    float *out;
    size_t rows, ldq, ldo;
    size_t head, visible; // of the first row; `visible` counts the cache entries that it sees
    bool same_token;
    const uint16_t *keys, *values;
};

static void attend(struct aq_session *s, const struct queries *a, void *scratch, float *scores) {
    const struct aq_model *m = s->model;
    size_t nr = s->kernels->panel[AQ_F16], capacity = aq_round_up(s->context, nr);
    size_t longest = a->same_token ? a->visible : a->visible + a->rows - 1;
    struct aq_matrix key_matrix = {
        .format = AQ_F16, .n = longest, .k = m->head_dim, .stride = m->head_dim, .weights = a->keys};
    struct aq_product p = {.w = &key_matrix,
                           .m = a->rows,
                           .x = a->q,
                           .ldx = a->ldq,
                           .y = scores,
                           .ldy = s->ld_scores,
                           .last = aq_panels(s->kernels, AQ_F16, longest),
                           .scratch = scratch};
    s->kernels->product[AQ_F16](&p);
    for (size_t r = 0; r < a->rows; r++) {
        size_t visible = a->same_token ? a->visible : a->visible + r, head = a->same_token ? a->head + r : a->head;
        float *row = scores + r * s->ld_scores, scale = 1.0f / sqrtf((float)m->head_dim);
        if (s->slopes) {
            s->kernels->alibi(row, visible, scale, s->slopes[head], s->key_positions, s->key_positions[visible - 1]);
            scale = 1.0f;
        }
        s->kernels->softmax(row, visible, scale, m->probabilities);
        memset(row + visible, 0, (longest - visible) * sizeof(float));
    }
    struct aq_matrix value_matrix = {
        .format = AQ_F16, .n = m->head_dim, .k = longest, .stride = capacity, .weights = a->values};
    p = (struct aq_product){.w = &value_matrix,
                            .m = a->rows,
                            .x = scores,
                            .ldx = s->ld_scores,
                            .y = a->out,
                            .ldy = a->ldo,
                            .last = aq_panels(s->kernels, AQ_F16, m->head_dim),
                            .scratch = scratch};
    s->kernels->product[AQ_F16](&p);
}

// Work item: one (key-value head, tile of tokens).
static void run_attention(void *context, size_t first, size_t last, unsigned thread) {
    struct attention *a = context;
    struct aq_session *s = a->s;
    const struct aq_model *m = s->model;
    uint8_t *scratch = s->scratch + thread * s->scratch_thread;
    float *scores = (float *)(void *)(scratch + s->scratch_kernel);
    size_t per_kv = m->heads / m->kv_heads;
    for (size_t item = first; item < last; item++) {
        size_t h = item / a->tiles, row = (a->tiles - 1 - item % a->tiles) * AQ_TILE,
               rows = aq_min(AQ_TILE, s->rows - row);
        const uint16_t *keys = s->keys + (a->layer * m->kv_heads + h) * s->head_keys;
        const uint16_t *values = s->values + (a->layer * m->kv_heads + h) * s->head_values;
        size_t at = h * per_kv * m->head_dim;
        struct queries queries = {.q = s->qkv + row * s->ld_qkv + at,
                                  .out = s->mixed + row * s->ld + at,
                                  .rows = rows,
                                  .ldq = s->ld_qkv,
                                  .ldo = s->ld,
                                  .head = h * per_kv,
                                  .visible = s->position + row + 1,
                                  .keys = keys,
                                  .values = values};
        if (rows == 1) { // all heads of the group share the keys in one product
            queries.rows = per_kv;
            queries.ldq = queries.ldo = m->head_dim;
            queries.same_token = true;
            attend(s, &queries, scratch, scores);
            continue;
        }
        for (size_t j = 0; j < per_kv; j++) {
            attend(s, &queries, scratch, scores);
            queries.q += m->head_dim;
            queries.out += m->head_dim;
            queries.head++;
        }
    }
}

void aq_attention_run(struct aq_session *s, size_t layer) {
    struct attention a = {s, layer, (s->rows + AQ_TILE - 1) / AQ_TILE};
    aq_pool_run(s->pool, s->rows, 4, store_rows, &a);
    aq_pool_run(s->pool, s->model->kv_heads * a.tiles, 1, run_attention, &a);
}
