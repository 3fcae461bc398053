// selftest: every kernel this CPU would use against the scalar one. One line a kernel, then `end`.
#include "commands.h"
#include "selftest.h"

#include <string.h>

static bool print_line(const char *isa, const char *name, const struct aq_tally *tally) {
    struct aq_text line = {0};
    aq_text_printf(&line, "{\"event\":\"selftest\"");
    aq_json_kv_string(&line, "kernel", name);
    aq_json_kv_string(&line, "isa", isa);
    aq_json_kv_int(&line, "shapes", (int64_t)tally->shapes);
    aq_json_kv_number(&line, "max_difference", tally->worst);
    aq_json_kv_bool(&line, "ok", !tally->wrong);
    aq_text_printf(&line, "}");
    return aq_print(&line) == AQ_OK && !tally->wrong;
}

// A table's lines; tallies of its products were made before.
static bool test_set(const struct aq_kernels *kernels, const struct aq_kernels *scalar, const struct aq_tally *products,
                     struct aq_error *err) {
    bool ok = true;
    for (size_t i = 0; i < AQ_SELFTEST_PRODUCTS; i++)
        if (products[i].shapes) ok = print_line(kernels->isa, aq_selftest_product_name(i), &products[i]) && ok;
    struct aq_tally elementwise = {0}, halves = {0};
    if (!aq_selftest_elementwise(kernels, scalar, &elementwise, err)) return false;
    ok = print_line(kernels->isa, "elementwise", &elementwise) && ok;
    aq_selftest_halves(kernels, scalar, &halves);
    ok = print_line(kernels->isa, "half", &halves) && ok;
    if (!ok) aq_fail(err, "selftest", "a kernel for %s differs from the scalar one on this CPU", kernels->isa);
    return ok;
}

int aq_cmd_selftest(const struct aq_args *args) {
    struct aq_error err = {0};
    const char *isa = aq_arg(args, "isa");
    const struct aq_kernels *scalar = aq_kernels_select("scalar", &err), *wanted = NULL;
    if (isa && strcmp(isa, "auto") != 0 && !(wanted = aq_kernels_select(isa, &err))) return aq_report(&err, AQ_FAILED);
    const struct aq_kernels *sets[AQ_KERNEL_SETS];
    struct aq_tally products[AQ_KERNEL_SETS][AQ_SELFTEST_PRODUCTS] = {0};
    size_t count = 0;
    for (const struct aq_kernels *const *set = aq_kernel_sets; *set; set++)
        if (wanted ? *set == wanted : (*set)->supported()) sets[count++] = *set;
    if (!aq_selftest_products(sets, count, scalar, aq_arg(args, "quick") != NULL, products, &err))
        return aq_report(&err, AQ_FAILED);
    bool ok = true;
    for (size_t i = 0; i < count; i++) ok = test_set(sets[i], scalar, products[i], &err) && ok;
    ok = aq_selftest_sha256(&err) && ok;
    struct aq_text line = {0};
    aq_text_printf(&line, "{\"event\":\"end\"");
    aq_json_kv_string(&line, "status", ok ? "done" : "failed");
    aq_text_printf(&line, "}");
    int code = aq_print(&line);
    if (!ok) return aq_report(&err, AQ_FAILED);
    return code;
}
