// The pass over the layers, logits and NLL.
#include "session.h"

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

static void run_layer(struct aq_session *s, size_t index) {
    const struct aq_model *m = s->model;
    const struct aq_layer *layer = &m->layer[index];
    s->quantized.limit = m->precision == AQ_W4A4 ? 7 : 127;

    each_row(s, layer, STEP_ATTENTION_IN);
    struct aq_products qkv = {.s = s, .m = s->rows};
    aq_products_add(&qkv, &layer->q, s->normed, s->ld, s->q, s->ld);
    aq_products_add(&qkv, &layer->k, s->normed, s->ld, s->k, s->ld_kv);
    aq_products_add(&qkv, &layer->v, s->normed, s->ld, s->v, s->ld_kv);
    aq_products_run(&qkv);

    aq_attention_run(s, index);

    if (m->precision != AQ_FP16) each_row(s, layer, STEP_QUANTIZE_MIXED);
    struct aq_products o = {.s = s, .m = s->rows};
    aq_products_add(&o, &layer->o, s->mixed, s->ld, s->normed, s->ld);
    aq_products_run(&o);

    each_row(s, layer, STEP_FFN_IN);
    struct aq_products gate_up = {.s = s, .m = s->rows};
    aq_products_add(&gate_up, &layer->gate, s->normed, s->ld, s->gate, s->ld_ffn);
    aq_products_add(&gate_up, &layer->up, s->normed, s->ld, s->up, s->ld_ffn);
    aq_products_run(&gate_up);

    each_row(s, layer, STEP_SWIGLU);
    struct aq_products down = {.s = s, .m = s->rows};
    aq_products_add(&down, &layer->down, s->gate, s->ld_ffn, s->normed, s->ld);
    aq_products_run(&down);
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
    struct aq_products head = {.s = s, .m = rows};
    aq_products_add(&head, &m->output, x, s->ld, s->logits, m->vocab);
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
