/* Shapes and types of arrays and tensors. */
#ifndef SPARSEGEN_FORM_H
#define SPARSEGEN_FORM_H

#include <stdint.h>

#include "bump.h"
#include "dtypes.h"
#include "json.h"

#define LARGEST_BYTES ((int64_t)1 << 46) /* sums of a few such sizes are within int64 */

/* `count` elements of a type, row-major, in `bytes` bytes. */
typedef struct {
    const Dtype *dtype;
    int32_t rank;
    const int64_t *shape;
    int64_t count, bytes;
} Form;

/* The form that `shape` and `dtype` of an object tell. Returns 0, or -1, without a message but where memory
 * is missing, where that is none: a negative extent, a size past LARGEST_BYTES, an unknown type. */
int form_read(Bump *memory, const Json *object, Form *form);

/* Whether two have the same shape, and the same form. */
int same_shape(const Form *one, const Form *other);
int same_form(const Form *one, const Form *other);

/* Whether a list of JSON is the shape; where `nulls`, null stands for any extent. */
int shape_is(const Form *form, const Json *shape, int nulls);

/* Words for a shape, such as "[1, 64]", into `to`, which is returned. */
typedef struct { char text[96]; } ShapeText;
const char *shape_text(const Form *form, ShapeText *to);

#endif
