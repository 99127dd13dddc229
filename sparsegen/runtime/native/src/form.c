#include "form.h"

#include <stdio.h>
#include <string.h>

#include "sparsegen.h"

int form_read(Bump *memory, const Json *object, Form *form) {
    size_t rank;
    const Json *extents = json_items(json_get(object, "shape"), &rank);
    form->dtype = dtype_named(json_text(json_get(object, "dtype")));
    if (!form->dtype || !extents || rank > SPARSEGEN_MAX_RANK) return -1;
    int64_t *shape = bump_new(memory, rank, sizeof *shape);
    if (!shape) return -1;
    form->rank = (int32_t)rank;
    form->shape = shape;
    form->count = 1;
    for (size_t i = 0; i < rank; i++) {
        shape[i] = json_count(&extents[i]);
        if (shape[i] < 0 || __builtin_mul_overflow(form->count, shape[i], &form->count)) return -1;
    }
    if (form->count > LARGEST_BYTES / form->dtype->bytes) return -1;
    form->bytes = form->count * form->dtype->bytes;
    return 0;
}

int same_shape(const Form *one, const Form *other) {
    return one->rank == other->rank &&
           !memcmp(one->shape, other->shape, (size_t)one->rank * sizeof *one->shape);
}

int same_form(const Form *one, const Form *other) {
    return one->dtype == other->dtype && same_shape(one, other);
}

int shape_is(const Form *form, const Json *shape, int nulls) {
    size_t rank;
    const Json *extents = json_items(shape, &rank);
    if (!extents || rank != (size_t)form->rank) return 0;
    for (size_t i = 0; i < rank; i++)
        if (!(nulls && extents[i].kind == JSON_NULL) && json_count(&extents[i]) != form->shape[i]) return 0;
    return 1;
}

const char *shape_text(const Form *form, ShapeText *to) {
    size_t at = (size_t)snprintf(to->text, sizeof to->text, "[");
    for (int i = 0; i < form->rank && at < sizeof to->text - 32; i++)
        at += (size_t)snprintf(to->text + at, sizeof to->text - at, "%s%lld", i ? ", " : "",
                               (long long)form->shape[i]);
    snprintf(to->text + at, sizeof to->text - at, "]");
    return to->text;
}
