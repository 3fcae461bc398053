// The hot tile of one Arm kernel as a function of its own, compiled from the kernel's source with the engine's flags,
// so that arm-figures.sh finds its loop alone. FIGURE_SOURCE is the kernel's file, FIGURE_CALL the tile.
#include FIGURE_SOURCE

void figure(const struct aq_product *p, size_t row, size_t panel, void *one, const void *two, size_t k);
void figure(const struct aq_product *p, size_t row, size_t panel, void *one, const void *two, size_t k) {
    (void)row, (void)panel, (void)one, (void)two, (void)k;
    FIGURE_CALL;
}
