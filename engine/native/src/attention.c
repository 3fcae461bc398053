// Attention as two fp16 products a head with a softmax between.
#include "session.h"

#include <math.h>
#include <string.h>

struct attention {
    struct aq_session *s;
    size_t layer, tiles;
};

// Work item: one row.
static void store_rows(void *context, size_t first, size_t last, unsigned thread) {
    (void)thread;
    struct attention *a = context;
    for (size_t row = first; row < last; row++) aq_cache_store(a->s, a->layer, row);
}

// Rows of q against one head of the cache: the rows of consecutive tokens for one head, or those of one token for
// consecutive heads, which share the keys.
struct queries {
    struct aq_session *s;
    size_t layer, kv_head;
    const float *q;
    float *out;
    size_t rows, ldq, ldo;
    size_t row, head, visible; // of the first row; `visible` counts the cache entries that it sees
    bool same_token;
    // This thread's:
    void *scratch;
    float *scores;  // [rows][ld_scores]
    uint16_t *tile; // int8 caches: AQ_F16_BLOCK widened entries, and what they give
    float *given;   // [rows][head_dim rounded up to NR]
};

static void product(const struct queries *a, const struct aq_matrix *w, const float *x, size_t ldx, float *y,
                    size_t ldy) {
    const struct aq_kernels *kernels = a->s->kernels;
    struct aq_product p = {.w = w,
                           .m = a->rows,
                           .x = x,
                           .ldx = ldx,
                           .y = y,
                           .ldy = ldy,
                           .last = aq_panels(kernels, AQ_F16, w->n),
                           .scratch = a->scratch};
    kernels->product[AQ_F16](&p);
}

// q . k of the first `longest` entries.
static void score(const struct queries *a, size_t longest) {
    const struct aq_session *s = a->s;
    size_t n = s->model->head_dim, head = a->layer * s->model->kv_heads + a->kv_head;
    struct aq_matrix keys = {.format = AQ_F16, .n = longest, .k = n, .stride = n};
    if (!s->model->int8_kv) {
        keys.weights = s->keys + head * s->head_keys;
        product(a, &keys, a->q, a->ldq, a->scores, s->ld_scores);
        return;
    }
    keys.weights = a->tile;
    for (size_t first = 0; first < longest; first += AQ_F16_BLOCK) {
        keys.n = aq_min(AQ_F16_BLOCK, longest - first);
        aq_cache_widen_keys(s, a->layer, a->kv_head, first, keys.n, a->tile);
        product(a, &keys, a->q, a->ldq, a->scores + first, s->ld_scores);
    }
}

// Probabilities times values. A tile is a block of the product's order of additions, so both ways add alike.
static void mix(const struct queries *a, size_t longest) {
    const struct aq_session *s = a->s;
    size_t nr = s->kernels->panel[AQ_F16], n = s->model->head_dim, wide = aq_round_up(n, nr);
    struct aq_matrix values = {.format = AQ_F16, .n = n, .k = longest, .stride = aq_round_up(s->context, nr)};
    if (!s->model->int8_kv) {
        values.weights = s->values + (a->layer * s->model->kv_heads + a->kv_head) * s->head_values;
        product(a, &values, a->scores, s->ld_scores, a->out, a->ldo);
        return;
    }
    values.weights = a->tile;
    for (size_t first = 0; first < longest; first += AQ_F16_BLOCK) {
        values.k = values.stride = aq_min(AQ_F16_BLOCK, longest - first);
        aq_cache_widen_values(s, a->layer, a->kv_head, first, values.k, a->tile);
        product(a, &values, a->scores + first, s->ld_scores, a->given, wide);
        for (size_t r = 0; r < a->rows; r++) {
            if (first)
                s->kernels->add(a->out + r * a->ldo, a->given + r * wide, n);
            else
                memcpy(a->out + r * a->ldo, a->given + r * wide, n * sizeof(float));
        }
    }
}

static void attend(const struct queries *a) {
    struct aq_session *s = a->s;
    const struct aq_model *m = s->model;
    size_t longest = a->same_token ? a->visible : a->visible + a->rows - 1;
    score(a, longest);
    for (size_t r = 0; r < a->rows; r++) {
        size_t visible = a->same_token ? a->visible : a->visible + r, head = a->same_token ? a->head + r : a->head;
        float *row = a->scores + r * s->ld_scores, scale = 1.0f / sqrtf((float)m->head_dim);
        if (s->slopes) {
            const float *positions = aq_key_positions(s, a->layer);
            s->kernels->alibi(row, visible, scale, s->slopes[head], positions, positions[visible - 1]);
            scale = 1.0f;
        }
        s->kernels->softmax(row, visible, scale, m->probabilities);
        if (s->first) s->first[head * s->chunk + a->row + (a->same_token ? 0 : r)] = row[0];
        memset(row + visible, 0, (longest - visible) * sizeof(float));
    }
    mix(a, longest);
}

// Work item: one (key-value head, tile of tokens).
static void run_attention(void *context, size_t first, size_t last, unsigned thread) {
    struct attention *a = context;
    struct aq_session *s = a->s;
    const struct aq_model *m = s->model;
    uint8_t *scratch = s->scratch + thread * s->scratch_thread, *scores = scratch + s->scratch_kernel;
    uint8_t *tile = scores + s->scratch_scores;
    size_t per_kv = m->heads / m->kv_heads;
    for (size_t item = first; item < last; item++) {
        size_t h = item / a->tiles, row = (a->tiles - 1 - item % a->tiles) * AQ_TILE,
               rows = aq_min(AQ_TILE, s->active - row), at = h * per_kv * m->head_dim;
        struct queries queries = {.s = s,
                                  .layer = a->layer,
                                  .kv_head = h,
                                  .q = s->qkv + row * s->ld_qkv + at,
                                  .out = s->mixed + row * s->ld + at,
                                  .rows = rows,
                                  .ldq = s->ld_qkv,
                                  .ldo = s->ld,
                                  .row = row,
                                  .head = h * per_kv,
                                  .visible = s->length[a->layer] + row + 1,
                                  .scratch = scratch,
                                  .scores = (float *)(void *)scores,
                                  .tile = (uint16_t *)(void *)tile,
                                  .given = (float *)(void *)(tile + s->scratch_tile)};
        if (rows == 1) { // all heads of the group share the keys in one product
            queries.rows = per_kv;
            queries.ldq = queries.ldo = m->head_dim;
            queries.same_token = true;
            attend(&queries);
            continue;
        }
        for (size_t j = 0; j < per_kv; j++) {
            attend(&queries);
            queries.q += m->head_dim;
            queries.out += m->head_dim;
            queries.head++;
        }
    }
}

void aq_attention_run(struct aq_session *s, size_t layer) {
    struct attention a = {s, layer, (s->active + AQ_TILE - 1) / AQ_TILE};
    aq_pool_run(s->pool, s->active, 4, store_rows, &a);
    aq_pool_run(s->pool, s->model->kv_heads * a.tiles, 1, run_attention, &a);
}
