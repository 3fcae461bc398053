// The pass over the layers, logits and NLL.
#include "session.h"

#include "kernels/half.h"

#include <string.h>

// Something done to one row of the session, shared out among the threads by rows.
typedef void row_step(struct aq_session *s, const struct aq_layer *layer, size_t row);

struct row_task {
    struct aq_session *s;
    const struct aq_layer *layer;
    row_step *step;
};

static void run_rows(void *context, size_t first, size_t last, unsigned thread) {
    (void)thread;
    struct row_task *t = context;
    for (size_t row = first; row < last; row++) t->step(t->s, t->layer, row);
}

static void each_row(struct aq_session *s, size_t rows, const struct aq_layer *layer, row_step *step) {
    struct row_task t = {s, layer, step};
    aq_pool_run(s->pool, rows, 4, run_rows, &t);
}

static void normalize(const struct aq_session *s, float *dst, const float *x, const struct aq_norm *norm) {
    const struct aq_model *m = s->model;
    if (m->arch->norm == AQ_LAYERNORM)
        s->kernels->layernorm(dst, x, norm->weight, norm->bias, m->dim, m->epsilon);
    else
        s->kernels->rmsnorm(dst, x, norm->weight, m->dim, m->epsilon);
}

// A row that linears read: rounded to bf16 in place, quantized to integers, or left as it is.
static void linear_input(struct aq_session *s, int limit, const struct aq_input *input, size_t row, float *x,
                         size_t k) {
    struct aq_rows rows = s->quantized;
    rows.limit = limit;
    if (aq_model_quantized(s->model))
        s->kernels->quantize(&rows, row, x, k, input);
    else if (s->model->base == AQ_BASE_BF16)
        s->kernels->round_bf16(&rows, row, x, k);
}

static void layer_input(struct aq_session *s, const struct aq_layer *layer, enum aq_place place, bool low, size_t row,
                        float *x, size_t k) {
    linear_input(s, low ? AQ_LOW_LIMIT : layer->limit[place], &layer->input[place], row, x, k);
}

// What a linear left in row `slot`, added to the residual stream. norm_after: `norm` then takes the sum.
static void add_to_residual(struct aq_session *s, size_t token, size_t slot, const struct aq_norm *norm) {
    float *x = s->x + token * s->ld, *sum = s->qkv + slot * s->ld_qkv;
    s->kernels->add(x, sum, s->model->dim);
    if (!s->model->norm_after) return;
    memcpy(sum, x, s->model->dim * sizeof *x);
    normalize(s, x, sum, norm);
}

static void norm_to_slot(struct aq_session *s, size_t token, size_t slot, const struct aq_norm *norm) {
    float *x = s->x + token * s->ld, *normed = s->normed + slot * s->ld;
    if (s->model->norm_after)
        memcpy(normed, x, s->model->dim * sizeof *x);
    else
        normalize(s, normed, x, norm);
}

static void position_and_norm(struct aq_session *s, const struct aq_layer *layer, size_t row) {
    (void)layer;
    const struct aq_model *m = s->model;
    float *x = s->x + row * s->ld, *normed = s->normed + row * s->ld;
    if (m->positions) {
        s->kernels->widen(normed, m->positions + (s->position + row) * m->dim, m->dim);
        s->kernels->add(x, normed, m->dim);
    }
    if (m->arch->embedding_norm) {
        memcpy(normed, x, m->dim * sizeof *x);
        normalize(s, x, normed, &m->embedding_norm);
    }
}

static void attention_in(struct aq_session *s, const struct aq_layer *layer, size_t slot) {
    norm_to_slot(s, s->token[slot], slot, &layer->attn_norm);
    layer_input(s, layer, AQ_ATTN_IN, false, slot, s->normed + slot * s->ld, s->model->dim);
}

static void attention_out(struct aq_session *s, const struct aq_layer *layer, size_t slot) {
    bool low = slot >= s->active - s->low_rows;
    layer_input(s, layer, AQ_ATTN_OUT, low, slot, s->mixed + s->order[slot] * s->ld, s->model->dim);
}

// From an output slot to a feed-forward slot, unless the row leaves.
static void feed_forward_in(struct aq_session *s, const struct aq_layer *layer, size_t slot) {
    size_t token = s->token[s->order[slot]], to = s->feed_slot[slot];
    add_to_residual(s, token, slot, &layer->attn_norm);
    if (to == AQ_HAS_LEFT) return;
    norm_to_slot(s, token, to, &layer->ffn_norm);
    layer_input(s, layer, AQ_FFN_IN, to >= s->feed_rows - s->feed_low, to, s->normed + to * s->ld, s->model->dim);
}

static void feed_forward_mid(struct aq_session *s, const struct aq_layer *layer, size_t slot) {
    const struct aq_model *m = s->model;
    float *gate = s->gate + slot * s->ld_ffn;
    if (m->arch->activation == AQ_SWIGLU)
        s->kernels->swiglu(gate, s->up + slot * s->ld_ffn, m->ffn);
    else if (m->arch->activation == AQ_RELU)
        s->kernels->relu(gate, m->ffn);
    else
        s->kernels->gelu(gate, m->ffn);
    layer_input(s, layer, AQ_FFN_MID, slot >= s->feed_rows - s->feed_low, slot, gate, m->ffn);
}

static void layer_out(struct aq_session *s, const struct aq_layer *layer, size_t slot) {
    add_to_residual(s, s->feed_token[slot], slot, &layer->ffn_norm);
}

static void output_norm(struct aq_session *s, const struct aq_layer *layer, size_t token) {
    (void)layer;
    norm_to_slot(s, token, token, &s->model->output_norm);
}

static void run_layer(struct aq_session *s, size_t index) {
    const struct aq_model *m = s->model;
    const struct aq_layer *layer = &m->layer[index];

    each_row(s, s->active, layer, attention_in);
    struct aq_products qkv = {.s = s, .m = s->active, .limit = layer->limit[AQ_ATTN_IN]};
    aq_products_add(&qkv, &layer->q, s->normed, s->ld, s->qkv, s->ld_qkv);
    if (!m->arch->fused_qkv) {
        aq_products_add(&qkv, &layer->k, s->normed, s->ld, s->qkv + m->dim, s->ld_qkv);
        aq_products_add(&qkv, &layer->v, s->normed, s->ld, s->qkv + m->dim + m->kv_dim, s->ld_qkv);
    }
    aq_products_run(&qkv);

    aq_attention_run(s, index);
    aq_selection_low(s, layer);

    if (m->base != AQ_BASE_FP16) each_row(s, s->active, layer, attention_out);
    struct aq_products o = {.s = s, .m = s->active, .low = s->low_rows, .limit = layer->limit[AQ_ATTN_OUT]};
    aq_products_add(&o, &layer->o, s->mixed, s->ld, s->qkv, s->ld_qkv);
    aq_products_run(&o);
    aq_selection_leave(s, layer);

    each_row(s, s->active, layer, feed_forward_in);
    struct aq_products up = {.s = s, .m = s->feed_rows, .low = s->feed_low, .limit = layer->limit[AQ_FFN_IN]};
    if (s->up) aq_products_add(&up, &layer->gate, s->normed, s->ld, s->gate, s->ld_ffn);
    aq_products_add(&up, &layer->up, s->normed, s->ld, s->up ? s->up : s->gate, s->ld_ffn);
    aq_products_run(&up);

    each_row(s, s->feed_rows, layer, feed_forward_mid);
    struct aq_products down = {.s = s, .m = s->feed_rows, .low = s->feed_low, .limit = layer->limit[AQ_FFN_MID]};
    aq_products_add(&down, &layer->down, s->gate, s->ld_ffn, s->qkv, s->ld_qkv);
    aq_products_run(&down);
    each_row(s, s->feed_rows, layer, layer_out);
    aq_selection_next(s);
}

static void embedding_row(const struct aq_session *s, float *dst, size_t token) {
    const struct aq_model *m = s->model;
    const uint16_t *row = m->embedding + token * m->width;
    if (m->base != AQ_BASE_BF16) {
        s->kernels->widen(dst, row, m->width);
        return;
    }
    for (size_t i = 0; i < m->width; i++) dst[i] = aq_bf16_to_float(row[i]);
}

// Embeddings of the tokens, then everything that comes before the first layer.
static bool embed(struct aq_session *s, const int32_t *ids, size_t count, struct aq_error *err) {
    const struct aq_model *m = s->model;
    float *to = s->embedded ? s->embedded : s->x;
    size_t ld = s->embedded ? s->ld_width : s->ld;
    for (size_t i = 0; i < count; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= m->vocab)
            return aq_fail(err, "tokens", "token %d is outside the vocabulary of %zu", ids[i], m->vocab);
        embedding_row(s, to + i * ld, (size_t)ids[i]);
    }
    if (s->embedded) {
        struct aq_products in = {.s = s, .m = count};
        aq_products_add(&in, &m->embedding_in, s->embedded, s->ld_width, s->x, s->ld);
        aq_products_run(&in);
    }
    if (m->positions || m->arch->embedding_norm) each_row(s, count, NULL, position_and_norm);
    return true;
}

bool aq_session_forward(struct aq_session *s, const int32_t *ids, size_t count, enum aq_pass pass,
                        struct aq_error *err) {
    const struct aq_model *m = s->model;
    if (count < 1 || count > s->chunk || count > s->context - s->position)
        return aq_fail(err, "plan", "%zu tokens at position %zu do not fit a context of %zu (chunk %zu)", count,
                       s->position, s->context, s->chunk);
    if (m->prune == AQ_PRUNE_PAPER && pass != AQ_GENERATED && (pass == AQ_PROMPT || s->position > 0))
        return aq_fail(err, "plan", "a pack that prunes as in the paper takes a prompt in one piece only");
    s->rows = count;
    if (s->position == 0) s->other_start = m->start_token != UINT64_MAX && (uint64_t)ids[0] != m->start_token;
    aq_selection_begin(s, pass);
    if (!embed(s, ids, count, err)) return false;
    for (size_t i = 0; i < m->layers; i++) {
        if (s->stop && atomic_load_explicit(s->stop, memory_order_relaxed)) return aq_fail(err, "stopped", "stopped");
        s->added[i] = s->active;
        run_layer(s, i);
    }
    each_row(s, count, NULL, output_norm);
    for (size_t i = 0; i < m->layers; i++) s->length[i] += s->added[i];
    s->position += count;
    return true;
}

const float *aq_session_logits(struct aq_session *s, size_t first, size_t rows) {
    const struct aq_model *m = s->model;
    float *x = s->normed + first * s->ld;
    size_t ld = s->ld;
    if (s->embedded) {
        struct aq_products out = {.s = s, .m = rows};
        aq_products_add(&out, &m->embedding_out, x, ld, s->embedded, s->ld_width);
        aq_products_run(&out);
        x = s->embedded;
        ld = s->ld_width;
    }
    const struct aq_input plain = {0}; // the head of integer models is int8 x int8, whatever the other linears are
    for (size_t row = 0; row < rows; row++) linear_input(s, 127, &plain, row, x + row * ld, m->width);
    struct aq_products head = {.s = s, .m = rows, .limit = 127};
    aq_products_add(&head, &m->output, x, ld, s->logits, m->vocab);
    aq_products_run(&head);
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
