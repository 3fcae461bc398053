#include "forward.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Tokens that share one pass over the keys of a head; the score buffer is [TILE][context] a thread.
enum { TILE = 32, MAX_PRODUCTS = 3 };

struct aq_session {
    const struct aq_model *model;
    const struct aq_kernels *kernels;
    struct aq_pool *pool;
    const atomic_bool *stop;
    size_t context, chunk, logit_rows, position, rows;
    size_t ld, ld_kv, ld_ffn, ld_scores; // strides of rows of dim, kv_dim, ffn and context elements

    // [chunk][...] each
    float *x;         // [dim] residual stream
    float *normed;    // [dim]
    float *q;         // [dim]
    float *k, *v;     // [kv_dim]
    float *mixed;     // [dim] attention output
    float *gate, *up; // [ffn]
    float *logits;    // [logit_rows][vocab]
    struct aq_rows quantized;

    float *cosine, *sine; // [context][rope_dim / 2]

    // fp16, in panels of NR so that attention is two products (shapes in docs/engine-native.md):
    uint16_t *keys;                // [layers][kv_heads][context / NR][head_dim][NR]
    uint16_t *values;              // [layers][kv_heads][head_dim / NR][context][NR]
    size_t head_keys, head_values; // elements of one head

    uint8_t *scratch; // per thread: kernel scratch, then scores [TILE][context]
    size_t scratch_kernel, scratch_thread;

    uint8_t *memory;
    size_t memory_size;
};

// Strides that are multiples of a kilobyte would put the rows of a tile into the same few cache sets.
static size_t row_stride(size_t n) {
    n = aq_round_up(n, 16);
    return n % 256 == 0 ? n + 16 : n;
}

// Gives out 64-byte aligned pieces; with base NULL it only counts.
struct carver {
    uint8_t *base;
    size_t used;
    bool overflow;
};

static void *carve(struct carver *c, size_t a, size_t b, size_t unit) {
    size_t bytes;
    if (!aq_mul(a, b, &bytes) || !aq_mul(bytes, unit, &bytes) || bytes > SIZE_MAX / 4 || c->used > SIZE_MAX / 4) {
        c->overflow = true;
        return NULL;
    }
    void *p = c->base ? c->base + c->used : NULL;
    c->used += aq_round_up(bytes, 64);
    return p;
}

static void lay_out(struct aq_session *s, struct carver *c) {
    const struct aq_model *m = s->model;
    size_t nr = s->kernels->panel[AQ_F16], widest = aq_max(m->dim, m->ffn), half = m->rope_dim / 2;
    size_t capacity = aq_round_up(s->context, nr), heads = m->layers * m->kv_heads;
    s->ld = row_stride(m->dim);
    s->ld_kv = row_stride(m->kv_dim);
    s->ld_ffn = row_stride(m->ffn);
    s->ld_scores = row_stride(s->context);
    s->x = carve(c, s->chunk, s->ld, 4);
    s->normed = carve(c, s->chunk, s->ld, 4);
    s->q = carve(c, s->chunk, s->ld, 4);
    s->k = carve(c, s->chunk, s->ld_kv, 4);
    s->v = carve(c, s->chunk, s->ld_kv, 4);
    s->mixed = carve(c, s->chunk, s->ld, 4);
    s->gate = carve(c, s->chunk, s->ld_ffn, 4);
    s->up = carve(c, s->chunk, s->ld_ffn, 4);
    s->logits = carve(c, s->logit_rows, m->vocab, 4);
    s->cosine = carve(c, s->context, half, 4);
    s->sine = carve(c, s->context, half, 4);
    s->quantized.ld = aq_round_up(widest, 128) + 32;
    if (m->precision != AQ_FP16) {
        size_t rows = aq_max(s->chunk, s->logit_rows);
        s->quantized.q = carve(c, rows, s->quantized.ld, 1);
        s->quantized.q16 = carve(c, rows, s->quantized.ld, 2);
        s->quantized.offsets = carve(c, rows, s->quantized.ld / 32, 4);
        s->quantized.scale = carve(c, rows, 1, 4);
    }
    s->head_keys = capacity * m->head_dim;
    s->head_values = aq_round_up(m->head_dim, nr) * capacity;
    s->keys = carve(c, heads, s->head_keys, 2);
    s->values = carve(c, heads, s->head_values, 2);
    s->scratch_kernel = aq_round_up(s->kernels->scratch_bytes(aq_max(widest, s->context)), 64);
    s->scratch_thread = s->scratch_kernel + aq_round_up(aq_max(TILE, m->heads) * s->ld_scores * 4, 64);
    s->scratch = carve(c, aq_pool_threads(s->pool), s->scratch_thread, 1);
}

// Angles pos * base^(-2i/d) / freqs[i] in fp64.
static void fill_rope(struct aq_session *s) {
    const struct aq_model *m = s->model;
    size_t half = m->rope_dim / 2;
    for (size_t i = 0; i < half; i++) {
        double frequency = pow(m->rope_base, -2.0 * (double)i / (double)m->rope_dim);
        if (m->rope_freqs) frequency /= (double)m->rope_freqs[i];
        for (size_t p = 0; p < s->context; p++) {
            s->cosine[p * half + i] = (float)cos((double)p * frequency);
            s->sine[p * half + i] = (float)sin((double)p * frequency);
        }
    }
}

struct aq_session *aq_session_create(const struct aq_model *model, struct aq_pool *pool, size_t context, size_t chunk,
                                     size_t logit_rows, const atomic_bool *stop, struct aq_error *err) {
    if (context < 1 || context > (1u << 24) || chunk < 1 || chunk > (1u << 16) || logit_rows < 1) {
        aq_fail(err, "plan", "context %zu or chunk %zu is out of range", context, chunk);
        return NULL;
    }
    struct aq_session *s = calloc(1, sizeof *s);
    if (!s) {
        aq_fail(err, "memory", "out of memory for a session");
        return NULL;
    }
    s->model = model;
    s->kernels = model->kernels;
    s->pool = pool;
    s->stop = stop;
    s->context = context;
    s->chunk = aq_min(chunk, context);
    s->logit_rows = aq_min(logit_rows, s->chunk);
    struct carver counter = {0};
    lay_out(s, &counter);
    if (counter.overflow) {
        aq_fail(err, "memory", "context %zu with %zu rows a step is too big", context, chunk);
        free(s);
        return NULL;
    }
    s->memory_size = counter.used;
    s->memory = aq_big_alloc(counter.used, "the KV cache and buffers", err);
    if (!s->memory) {
        free(s);
        return NULL;
    }
    struct carver c = {.base = s->memory};
    lay_out(s, &c);
    fill_rope(s);
    return s;
}

void aq_session_free(struct aq_session *s) {
    if (!s) return;
    aq_big_free(s->memory, s->memory_size);
    free(s);
}

void aq_session_reset(struct aq_session *s) {
    s->position = 0;
    s->rows = 0;
}

// ---- linears ----

struct products {
    struct aq_session *s;
    size_t count, m;
    struct aq_product part[MAX_PRODUCTS];
    size_t panels[MAX_PRODUCTS];
};

// [first, last) counts panels of all parts one after the other.
static void run_products(void *context, size_t first, size_t last, unsigned thread) {
    struct products *ps = context;
    for (size_t i = 0; i < ps->count && first < last; i++) {
        if (first < ps->panels[i]) {
            struct aq_product p = ps->part[i];
            p.first = first;
            p.last = aq_min(last, ps->panels[i]);
            p.scratch = ps->s->scratch + thread * ps->s->scratch_thread;
            ps->s->kernels->product[p.w->format](&p);
            first = p.last;
        }
        first -= ps->panels[i];
        last -= ps->panels[i];
        if ((ptrdiff_t)last <= 0) return;
    }
}

static void add_product(struct products *ps, const struct aq_matrix *w, const float *x, size_t ldx, float *y,
                        size_t ldy) {
    struct aq_product *p = &ps->part[ps->count];
    *p = (struct aq_product){.w = w, .m = ps->m, .x = x, .ldx = ldx, .rows = &ps->s->quantized, .y = y, .ldy = ldy};
    ps->panels[ps->count++] = aq_panels(ps->s->kernels, w->format, w->n);
}

static void multiply(struct products *ps) {
    size_t total = 0, threads = aq_pool_threads(ps->s->pool);
    for (size_t i = 0; i < ps->count; i++) total += ps->panels[i];
    // Enough chunks to balance cores of unequal speed, few enough to keep streams long.
    aq_pool_run(ps->s->pool, total, aq_max(1, total / (threads * 8)), run_products, ps);
}

// ---- row-wise steps ----

enum row_step { STEP_ATTENTION_IN, STEP_FFN_IN, STEP_QUANTIZE_MIXED, STEP_SWIGLU, STEP_OUTPUT_NORM };

struct row_task {
    struct aq_session *s;
    const struct aq_layer *layer;
    enum row_step step;
};

static void run_rows(void *context, size_t first, size_t last, unsigned thread) {
    (void)thread;
    struct row_task *t = context;
    struct aq_session *s = t->s;
    const struct aq_model *m = s->model;
    bool quantized = m->precision != AQ_FP16;
    for (size_t row = first; row < last; row++) {
        float *x = s->x + row * s->ld, *normed = s->normed + row * s->ld, *mixed = s->mixed + row * s->ld;
        float *gate = s->gate + row * s->ld_ffn;
        switch (t->step) {
        case STEP_ATTENTION_IN:
            s->kernels->rmsnorm(normed, x, t->layer->attn_norm, m->dim, m->epsilon);
            if (quantized) s->kernels->quantize(&s->quantized, row, normed, m->dim);
            break;
        case STEP_QUANTIZE_MIXED:
            if (quantized) s->kernels->quantize(&s->quantized, row, mixed, m->dim);
            break;
        case STEP_FFN_IN: // the attention output stands in `normed`, see below
            s->kernels->add(x, normed, m->dim);
            s->kernels->rmsnorm(normed, x, t->layer->ffn_norm, m->dim, m->epsilon);
            if (quantized) s->kernels->quantize(&s->quantized, row, normed, m->dim);
            break;
        case STEP_SWIGLU:
            s->kernels->swiglu(gate, s->up + row * s->ld_ffn, m->ffn);
            if (quantized) s->kernels->quantize(&s->quantized, row, gate, m->ffn);
            break;
        case STEP_OUTPUT_NORM:
            s->kernels->rmsnorm(normed, x, m->output_norm, m->dim, m->epsilon);
            break;
        }
    }
}

static void each_row(struct aq_session *s, const struct aq_layer *layer, enum row_step step) {
    struct row_task t = {s, layer, step};
    aq_pool_run(s->pool, s->rows, 4, run_rows, &t);
}

// ---- attention ----

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
        float *k = s->k + row * s->ld_kv, *v = s->v + row * s->ld_kv;
        rotate(s, s->q + row * s->ld, m->heads, position);
        rotate(s, k, m->kv_heads, position);
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

// rows of q against one head's cache. `visible[r]` = first_visible + r / per_token is how many positions row r sees.
static void attend(struct aq_session *s, const float *q, size_t ldq, float *out, size_t rows, size_t first_visible,
                   bool same_token, const uint16_t *keys, const uint16_t *values, void *scratch, float *scores) {
    const struct aq_model *m = s->model;
    size_t nr = s->kernels->panel[AQ_F16], capacity = aq_round_up(s->context, nr);
    size_t longest = same_token ? first_visible : first_visible + rows - 1;
    struct aq_matrix key_matrix = {
        .format = AQ_F16, .n = longest, .k = m->head_dim, .stride = m->head_dim, .weights = keys};
    struct aq_product p = {.w = &key_matrix,
                           .m = rows,
                           .x = q,
                           .ldx = ldq,
                           .y = scores,
                           .ldy = s->ld_scores,
                           .last = aq_panels(s->kernels, AQ_F16, longest),
                           .scratch = scratch};
    s->kernels->product[AQ_F16](&p);
    float scale = 1.0f / sqrtf((float)m->head_dim);
    for (size_t r = 0; r < rows; r++) {
        size_t visible = same_token ? first_visible : first_visible + r;
        s->kernels->softmax(scores + r * s->ld_scores, visible, scale, m->precision == AQ_W4A4);
        memset(scores + r * s->ld_scores + visible, 0, (longest - visible) * sizeof(float));
    }
    struct aq_matrix value_matrix = {
        .format = AQ_F16, .n = m->head_dim, .k = longest, .stride = capacity, .weights = values};
    p = (struct aq_product){.w = &value_matrix,
                            .m = rows,
                            .x = scores,
                            .ldx = s->ld_scores,
                            .y = out,
                            .ldy = ldq,
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
        size_t h = item / a->tiles, row = (a->tiles - 1 - item % a->tiles) * TILE, rows = aq_min(TILE, s->rows - row);
        const uint16_t *keys = s->keys + (a->layer * m->kv_heads + h) * s->head_keys;
        const uint16_t *values = s->values + (a->layer * m->kv_heads + h) * s->head_values;
        size_t at = row * s->ld + h * per_kv * m->head_dim, visible = s->position + row + 1;
        if (rows == 1) { // all heads of the group share the keys in one product
            attend(s, s->q + at, m->head_dim, s->mixed + at, per_kv, visible, true, keys, values, scratch, scores);
            continue;
        }
        for (size_t j = 0; j < per_kv; j++, at += m->head_dim)
            attend(s, s->q + at, s->ld, s->mixed + at, rows, visible, false, keys, values, scratch, scores);
    }
}

// ---- the pass ----

static void run_layer(struct aq_session *s, size_t index) {
    const struct aq_model *m = s->model;
    const struct aq_layer *layer = &m->layer[index];
    s->quantized.limit = m->precision == AQ_W4A4 ? 7 : 127;

    each_row(s, layer, STEP_ATTENTION_IN);
    struct products qkv = {.s = s, .m = s->rows};
    add_product(&qkv, &layer->q, s->normed, s->ld, s->q, s->ld);
    add_product(&qkv, &layer->k, s->normed, s->ld, s->k, s->ld_kv);
    add_product(&qkv, &layer->v, s->normed, s->ld, s->v, s->ld_kv);
    multiply(&qkv);

    struct attention a = {s, index, (s->rows + TILE - 1) / TILE};
    aq_pool_run(s->pool, s->rows, 4, store_rows, &a);
    aq_pool_run(s->pool, m->kv_heads * a.tiles, 1, run_attention, &a);

    if (m->precision != AQ_FP16) each_row(s, layer, STEP_QUANTIZE_MIXED);
    struct products o = {.s = s, .m = s->rows};
    add_product(&o, &layer->o, s->mixed, s->ld, s->normed, s->ld);
    multiply(&o);

    each_row(s, layer, STEP_FFN_IN);
    struct products gate_up = {.s = s, .m = s->rows};
    add_product(&gate_up, &layer->gate, s->normed, s->ld, s->gate, s->ld_ffn);
    add_product(&gate_up, &layer->up, s->normed, s->ld, s->up, s->ld_ffn);
    multiply(&gate_up);

    each_row(s, layer, STEP_SWIGLU);
    struct products down = {.s = s, .m = s->rows};
    add_product(&down, &layer->down, s->gate, s->ld_ffn, s->normed, s->ld);
    multiply(&down);
    for (size_t row = 0; row < s->rows; row++) s->kernels->add(s->x + row * s->ld, s->normed + row * s->ld, m->dim);
}

bool aq_session_forward(struct aq_session *s, const int32_t *ids, size_t count, struct aq_error *err) {
    const struct aq_model *m = s->model;
    if (count < 1 || count > s->chunk || count > s->context - s->position)
        return aq_fail(err, "plan", "%zu tokens at position %zu do not fit a context of %zu (chunk %zu)", count,
                       s->position, s->context, s->chunk);
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= m->vocab)
            return aq_fail(err, "tokens", "token %d is outside the vocabulary of %zu", ids[i], m->vocab);
        s->kernels->widen(s->x + i * s->ld, m->embedding + (size_t)ids[i] * m->dim, m->dim);
    }
    s->rows = count;
    for (size_t i = 0; i < m->layers; i++) {
        if (s->stop && atomic_load_explicit(s->stop, memory_order_relaxed)) return aq_fail(err, "stopped", "stopped");
        run_layer(s, i);
    }
    each_row(s, NULL, STEP_OUTPUT_NORM);
    s->position += count;
    return true;
}

const float *aq_session_logits(struct aq_session *s, size_t first, size_t rows) {
    const struct aq_model *m = s->model;
    const float *x = s->normed + first * s->ld;
    if (m->precision != AQ_FP16) { // the head is int8 x int8, whatever the other linears are
        s->quantized.limit = 127;
        for (size_t row = 0; row < rows; row++) s->kernels->quantize(&s->quantized, row, x + row * s->ld, m->dim);
    }
    struct products head = {.s = s, .m = rows};
    add_product(&head, &m->output, x, s->ld, s->logits, m->vocab);
    multiply(&head);
    return s->logits;
}

struct nll_task {
    const struct aq_session *s;
    const int32_t *targets;
    double *out;
};

static void run_nll(void *context, size_t first, size_t last, unsigned thread) {
    (void)thread;
    struct nll_task *t = context;
    size_t vocab = t->s->model->vocab;
    for (size_t i = first; i < last; i++)
        t->out[i] = t->s->kernels->nll(t->s->logits + i * vocab, vocab, (size_t)t->targets[i]);
}

void aq_session_nll(struct aq_session *s, const int32_t *targets, size_t rows, double *out) {
    struct nll_task t = {s, targets, out};
    aq_pool_run(s->pool, rows, 1, run_nll, &t);
}
