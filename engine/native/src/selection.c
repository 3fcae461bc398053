// Which rows carry 4-bit activations and which leave, by their importance in a layer (docs/packed-model.md, "Token
// importance"). Everything is decided from a row's own probabilities, except the paper's share of a prompt.
#include "session.h"

#include <math.h>
#include <stdlib.h>

void aq_selection_begin(struct aq_session *s, enum aq_pass pass) {
    s->pass = pass;
    s->active = s->feed_rows = s->rows;
    s->low_rows = s->feed_low = 0;
    for (size_t i = 0; i < s->rows; i++) {
        s->token[i] = s->order[i] = s->feed_slot[i] = s->feed_token[i] = (uint32_t)i;
        s->is_low[i] = s->has_left[i] = false;
    }
}

// The start token and the last token of a prompt are never low and never leave.
static bool is_protected(const struct aq_session *s, size_t token) {
    return (s->position == 0 && token == 0) || (s->pass == AQ_PROMPT_END && token == s->rows - 1);
}

// Probabilities on the first cache entry, summed over heads in ascending order.
static void sum_importance(struct aq_session *s) {
    for (size_t slot = 0; slot < s->active; slot++) {
        float sum = 0.0f;
        for (size_t h = 0; h < s->model->heads; h++) sum += s->first[h * s->chunk + slot];
        s->importance[slot] = sum;
    }
}

void aq_selection_low(struct aq_session *s, const struct aq_layer *layer) {
    if (!s->first) return;
    sum_importance(s);
    if (!s->model->low || s->pass == AQ_GENERATED) return;
    for (size_t slot = 0; slot < s->active; slot++) {
        size_t token = s->token[slot];
        if (!is_protected(s, token) && s->importance[slot] < layer->low_below[s->other_start]) s->is_low[token] = true;
    }
    size_t next = 0;
    for (int low = 0; low < 2; low++) {
        s->low_rows = s->active - next; // in the end: of the second turn
        for (size_t slot = 0; slot < s->active; slot++)
            if (s->is_low[s->token[slot]] == low) s->order[next++] = (uint32_t)slot;
    }
}

// Least important first; of equals the later one.
static int compare(const void *a, const void *b) {
    const struct aq_ranked *x = a, *y = b;
    if (x->importance != y->importance) return x->importance < y->importance ? -1 : 1;
    return x->slot < y->slot ? 1 : -1;
}

// The paper's way: of n rows, floor(n * (1 - keep)), in fp32, leave.
static void leave_share(struct aq_session *s, float keep) {
    size_t count = (size_t)floorf((float)s->active * (1.0f - keep)), candidates = 0;
    for (size_t slot = 0; slot < s->active; slot++)
        if (!is_protected(s, s->token[slot]))
            s->ranked[candidates++] = (struct aq_ranked){s->importance[slot], (uint32_t)slot};
    qsort(s->ranked, candidates, sizeof *s->ranked, compare);
    for (size_t i = 0; i < aq_min(count, candidates); i++) s->has_left[s->token[s->ranked[i].slot]] = true;
}

static void leave_below(struct aq_session *s, float threshold) {
    for (size_t slot = 0; slot < s->active; slot++) {
        size_t token = s->token[slot];
        if (!is_protected(s, token) && s->importance[slot] < threshold) s->has_left[token] = true;
    }
}

void aq_selection_leave(struct aq_session *s, const struct aq_layer *layer) {
    enum aq_prune prune = s->model->prune;
    if (prune == AQ_PRUNE_THRESHOLD) leave_below(s, layer->prune_below[s->other_start]);
    if (prune == AQ_PRUNE_PAPER && s->pass != AQ_GENERATED) leave_share(s, layer->keep);
    if (s->first) {
        size_t next = 0, high = s->active - s->low_rows;
        s->feed_low = 0;
        for (size_t i = 0; i < s->active; i++) {
            uint32_t token = s->token[s->order[i]];
            s->feed_slot[i] = s->has_left[token] ? AQ_HAS_LEFT : (uint32_t)next;
            if (s->has_left[token]) continue;
            s->feed_token[next++] = token;
            if (i >= high) s->feed_low++;
        }
        s->feed_rows = next;
    }
    s->rows_ran += s->active + s->feed_rows;
    s->rows_given += 2 * s->rows;
}

void aq_selection_next(struct aq_session *s) {
    if (!s->first) return;
    size_t next = 0;
    for (size_t slot = 0; slot < s->active; slot++)
        if (!s->has_left[s->token[slot]]) s->token[next++] = s->token[slot];
    s->active = next;
    s->low_rows = 0;
    for (size_t i = 0; i < next; i++) s->order[i] = (uint32_t)i;
}
