#include "weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "decode.h"
#include "errors.h"
#include "sha256.h"
#include "team.h"

#define LINE 64
#define DIGEST 32
#define A_PIECE ((int64_t)1 << 16) /* elements that one thread transforms at a time, and has room for */

typedef enum { RAW, ZEROS, NARROW, DELTAS, TRANSFORMED } Storing;

/* An array of a form that is made of sections, and lies at `data`: in the file, or in a block. */
struct Decoded {
    Decoded *next; /* of the same section */
    const Json *stored;
    Form form;
    const void *data;
    unsigned char digest[DIGEST]; /* of whole numbers */
};

struct Block {
    Block *before;
    Pages pages;
};

/* An array that is to be made: what it is made of. `filters` are a transformed one's, made piece by piece. */
typedef struct Job Job;
struct Job {
    Decoded *array;
    Storing storing;
    const Section *values, *mask;
    int width;
    int32_t base;
    void *to; /* where in a block; NULL: it is used where it lies in the file */
    Job *filters;
    double *matrix;
    int n, r;
    int64_t
        piece; /* filters that one thread transforms at a time: a multiple of 8, for whole bytes of masks */
    int64_t *before; /* of filters without their zeros: how many values lie before each piece, and before the
                        end */
    int64_t next;    /* filter that no thread has taken yet */
};

typedef struct {
    Artefact *artefact;
    Bump memory;
    Job *jobs;
    size_t count, next, next_transformed;
    int failed, lacks_memory;
} Making;

/* What an array takes in a block: whole lines, and something behind it. */
static int64_t in_lines(int64_t bytes) { return (bytes + LINE) & ~(int64_t)(LINE - 1); }

/* ---- how an array is stored --------------------------------------------------------------------- */

static int wrong(const char *why) { return fail_damaged("an array %s", why); }

static int find_section(const Artefact *artefact, const Json *stored, const char *kind, const Section **to) {
    *to = artefact_section(artefact, json_text(json_get(stored, kind)));
    return *to ? 0 : wrong("is stored in a section that is not there");
}

static int section_is(const Section *section, const char *stored, int64_t bytes) {
    return !strcmp(section->dtype->stored, stored) && section->bytes == (size_t)bytes;
}

static int read_raw(Making *making, Job *job) {
    const Form *form = &job->array->form;
    if (find_section(making->artefact, job->array->stored, "raw", &job->values)) return -1;
    if (!section_is(job->values, form->dtype->stored, form->bytes))
        return wrong("has another type or size than its section");
    job->array->data = job->values->data;
    return 0;
}

static int read_zeros(Making *making, Job *job) {
    const Form *form = &job->array->form;
    if (find_section(making->artefact, job->array->stored, "zeros", &job->values) ||
        find_section(making->artefact, job->array->stored, "mask", &job->mask)) return -1;
    if (strcmp(form->dtype->name, "float32") || strcmp(job->values->dtype->stored, "F32") ||
        !section_is(job->mask, "U8", form->count / 8 + (form->count % 8 != 0)))
        return wrong("that is stored without its zeros has a mask or values of another type or size");
    return 0;
}

static int read_numbers(Making *making, Job *job, const char *kind) {
    const Form *form = &job->array->form;
    const Json *base = json_get(job->array->stored, "base");
    int64_t width = json_count(json_get(job->array->stored, "width"));
    if (find_section(making->artefact, job->array->stored, kind, &job->values)) return -1;
    if (strcmp(form->dtype->name, "int32") || !base || base->kind != JSON_INTEGER ||
        base->integer < INT32_MIN || base->integer > INT32_MAX || (width != 1 && width != 2) ||
        !section_is(job->values, width == 1 ? "U8" : "U16", form->count * width))
        return wrong("of small numbers has a base, or a section of another type or size");
    job->width = (int)width;
    job->base = (int32_t)base->integer;
    return 0;
}

static int read_matrix(Making *making, Job *job) {
    size_t rows, columns;
    const Json *matrix = json_items(json_get(job->array->stored, "matrix"), &rows);
    json_items(rows ? &matrix[0] : NULL, &columns);
    if (rows < 1 || rows > MOST_POSITIONS || columns < 1 || columns > MOST_TAPS) return -1;
    job->n = (int)rows;
    job->r = (int)columns;
    job->matrix = bump_new(&making->memory, rows * columns, sizeof *job->matrix);
    if (!job->matrix) return -1;
    for (size_t i = 0; i < rows; i++) {
        size_t count;
        const Json *row = json_items(&matrix[i], &count);
        if (count != columns) return -1;
        for (size_t k = 0; k < columns; k++)
            if (json_real(&row[k], &job->matrix[i * columns + k])) return -1;
    }
    return 0;
}

static int read_stored(Making *making, Job *job);

/* Pieces of filters, and room for what `count_values` finds. */
static int plan_pieces(Making *making, Job *job) {
    int64_t larger = job->n > job->r ? job->n : job->r;
    job->piece = A_PIECE / (larger * larger) & ~(int64_t)7;
    size_t pieces = (size_t)(job->filters->array->form.shape[0] / job->piece) + 2;
    job->before = bump_new(&making->memory, pieces, sizeof *job->before);
    return job->before ? 0 : -1;
}

/* The filters are an array of their own, which nothing keeps. */
static int read_transformed(Making *making, Job *job) {
    const Form *form = &job->array->form;
    int64_t *shape = bump_new(&making->memory, 3, sizeof *shape);
    Decoded *filters = bump_new(&making->memory, 1, sizeof *filters);
    job->filters = bump_new(&making->memory, 1, sizeof *job->filters);
    if (!shape || !filters || !job->filters) return -1;
    if (read_matrix(making, job)) return wrong("that is transformed has no matrix, or one that is too large");
    if (strcmp(form->dtype->name, "float32") || form->rank < 3 || form->shape[0] != job->n ||
        form->shape[1] != job->n)
        return wrong("that is transformed is of another shape or type than its matrix tells");
    shape[0] = form->count / (job->n * job->n);
    shape[1] = shape[2] = job->r;
    int64_t count;
    if (__builtin_mul_overflow(shape[0], (int64_t)job->r * job->r, &count) || count > LARGEST_BYTES / 4)
        return wrong("that is transformed is too large");
    filters->form = (Form){form->dtype, 3, shape, count, 4 * count};
    filters->stored = json_get(job->array->stored, "transformed");
    *job->filters = (Job){.array = filters};
    if (read_stored(making, job->filters)) return -1;
    return job->filters->storing == TRANSFORMED ? wrong("is transformed twice") : plan_pieces(making, job);
}

static int read_stored(Making *making, Job *job) {
    static const struct { const char *name; Storing storing; } kinds[] = {
        {"raw", RAW}, {"zeros", ZEROS}, {"narrow", NARROW}, {"deltas", DELTAS}, {"transformed", TRANSFORMED}};
    size_t kind = 0, count = sizeof kinds / sizeof *kinds;
    while (kind < count && !json_get(job->array->stored, kinds[kind].name)) kind++;
    if (kind == count) return wrong("is stored in a way that this version does not know");
    job->storing = kinds[kind].storing;
    switch (job->storing) {
    case RAW: return read_raw(making, job);
    case ZEROS: return read_zeros(making, job);
    case TRANSFORMED: return read_transformed(making, job);
    default: return read_numbers(making, job, kinds[kind].name);
    }
}

/* ---- making ------------------------------------------------------------------------------------- */

static int decode(const Job *job) {
    const Form *form = &job->array->form;
    switch (job->storing) {
    case ZEROS:
        return decode_zeros(job->to, form->count, job->mask->data, job->mask->bytes,
                            (const float *)job->values->data, job->values->bytes / sizeof(float));
    case NARROW:
        return decode_narrow(job->to, form->count, job->values->data, job->values->bytes, job->width,
                             job->base);
    case DELTAS:
        return decode_deltas(job->to, form->count, job->values->data, job->values->bytes, job->width,
                             job->base);
    default: return 0;
    }
}

static int64_t bits_in(const unsigned char *bytes, int64_t count) {
    int64_t bits = 0;
    uint64_t word;
    for (; count >= 8; count -= 8, bytes += 8) {
        memcpy(&word, bytes, sizeof word);
        bits += __builtin_popcountll(word);
    }
    while (count-- > 0) bits += __builtin_popcount(*bytes++);
    return bits;
}

/* Where the values of each piece of filters begin; -1 where a mask has more than there are. */
static int count_values(Job *job) {
    const Job *filters = job->filters;
    int64_t all = filters->array->form.shape[0], values = (int64_t)(filters->values->bytes / sizeof(float)),
            seen = 0;
    int64_t bytes = job->piece * job->r * job->r / 8, last = 0;
    if (filters->storing != ZEROS) return 0;
    for (int64_t begin = 0; begin < all && seen <= values; begin += job->piece, last++) {
        job->before[last] = seen;
        if (all - begin > job->piece) seen += bits_in(filters->mask->data + last * bytes, bytes);
    }
    job->before[last] = values;
    return seen <= values ? 0 : -1;
}

static void make(Making *making, Job *job) {
    Decoded *array = job->array;
    if (job->storing == TRANSFORMED ? count_values(job) : decode(job))
        __atomic_store_n(&making->failed, 1, __ATOMIC_RELAXED);
    else if (dtype_is_whole(array->form.dtype))
        sha256(array->data, (size_t)array->form.bytes, array->digest);
}

static void make_work(void *pointer, int index, int count) {
    (void)index, (void)count;
    Making *making = pointer;
    for (size_t at; (at = __atomic_fetch_add(&making->next, 1, __ATOMIC_RELAXED)) < making->count;)
        make(making, &making->jobs[at]);
}

/* One piece of filters, by way of `room` where they are stored without their zeros. */
static int transform(const Job *job, int64_t begin, float *room) {
    const Job *filters = job->filters;
    int64_t all = filters->array->form.shape[0], end = all - begin < job->piece ? all : begin + job->piece;
    int64_t first = begin * job->r * job->r, count = (end - begin) * job->r * job->r, at = begin / job->piece;
    const float *from = (const float *)filters->values->data;
    if (filters->storing == ZEROS) {
        if (decode_zeros(room, count, filters->mask->data + first / 8, (size_t)(count / 8 + (count % 8 != 0)),
                         from + job->before[at], (size_t)(job->before[at + 1] - job->before[at])))
            return -1;
        /* Of all filters, those before the piece are not there. */
        from = (const float *)((uintptr_t)room - (uintptr_t)first * sizeof *room);
    }
    return decode_transformed(job->to, from, all, job->n, job->r, job->matrix, begin, end);
}

/* Filters in pieces, as one layer may have most of a network's, and memory of theirs would have to be zeroed.
 */
static void transform_work(void *pointer, int index, int count) {
    (void)index, (void)count;
    Making *making = pointer;
    float *room = malloc((size_t)A_PIECE * sizeof *room);
    if (!room) __atomic_store_n(&making->lacks_memory, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; room && i < making->count; i++) {
        Job *job = &making->jobs[i];
        if (job->storing != TRANSFORMED) continue;
        for (int64_t begin; (begin = __atomic_fetch_add(&job->next, job->piece, __ATOMIC_RELAXED)) <
                            job->filters->array->form.shape[0];)
            if (transform(job, begin, room)) __atomic_store_n(&making->failed, 1, __ATOMIC_RELAXED);
    }
    free(room);
}

static int larger(const void *one, const void *other) {
    int64_t a = ((const Job *)one)->array->form.bytes, b = ((const Job *)other)->array->form.bytes;
    return a > b ? -1 : a < b;
}

/* Gives all jobs but those in the file memory. */
static int place(const Making *making, Weights *weights) {
    int64_t bytes = 0;
    for (size_t i = 0; i < making->count; i++) {
        const Job *job = &making->jobs[i];
        if (job->storing != RAW && __builtin_add_overflow(bytes, in_lines(job->array->form.bytes), &bytes))
            return wrong("is too large");
    }
    if (!bytes) return 0;
    Block *block = calloc(1, sizeof *block);
    if (!block) return fail_memory(sizeof *block, "weights");
    block->before = weights->blocks;
    weights->blocks = block;
    if (pages_new(&block->pages, (size_t)bytes, "weights")) return -1;
    unsigned char *at = block->pages.begin;
    for (size_t i = 0; i < making->count; i++) {
        Job *job = &making->jobs[i];
        if (job->storing == RAW) continue;
        job->array->data = job->to = at;
        at += in_lines(job->array->form.bytes);
    }
    return 0;
}

static int run(Making *making, Weights *weights) {
    if (!making->count) return 0;
    qsort(making->jobs, making->count, sizeof *making->jobs, larger);
    if (place(making, weights)) return -1;
    together(make_work, making);
    if (!making->failed) together(transform_work, making);
    if (making->lacks_memory) return fail_memory((size_t)A_PIECE * sizeof(float), "filters");
    return making->failed ? wrong("is stored in other bytes than its form needs") : 0;
}

/* ---- arrays of a plan --------------------------------------------------------------------------- */

/* The section that an array's stored form begins with; NULL where it has none. */
static Section *first_section(const Artefact *artefact, const Json *stored) {
    const Json *inner = json_get(stored, "transformed");
    for (int depth = 0; inner && depth < 2; depth++, inner = json_get(stored, "transformed")) stored = inner;
    static const char *const kinds[] = {"raw", "zeros", "narrow", "deltas"};
    for (int i = 0; i < 4; i++) {
        Section *section = artefact_section(artefact, json_text(json_get(stored, kinds[i])));
        if (section) return section;
    }
    return NULL;
}

/* The array that a plan's is, with a job where it is new; NULL with a message. */
static Decoded *add(Making *making, const PlanArray *array) {
    Section *section = first_section(making->artefact, array->stored);
    if (!section) {
        wrong("is stored in a section that is not there, or in a way that this version does not know");
        return NULL;
    }
    for (Decoded *other = section->decoded; other; other = other->next)
        if (same_form(&other->form, &array->form) && json_equal(other->stored, array->stored)) return other;
    Decoded *made = bump_new(&making->artefact->memory, 1, sizeof *made);
    if (!made) return NULL;
    *made = (Decoded){.next = section->decoded, .stored = array->stored, .form = array->form};
    Job *job = &making->jobs[making->count];
    *job = (Job){.array = made};
    if (read_stored(making, job)) return NULL;
    making->count++;
    section->decoded = made;
    return made;
}

/* What failed halfway is forgotten. */
static void forget(Making *making) {
    for (size_t i = 0; i < making->artefact->count; i++) {
        Decoded **at = &making->artefact->sections[i].decoded;
        while (*at) {
            size_t job = 0;
            while (job < making->count && making->jobs[job].array != *at) job++;
            if (job < making->count) *at = (*at)->next; else at = &(*at)->next;
        }
    }
}

static int check_integers(const Plan *plan, const Json *integers, Decoded *const *found) {
    for (int32_t i = 0; i < plan->arrays_count; i++) {
        char name[16];
        unsigned char told[DIGEST];
        if (!found[i] || !dtype_is_whole(found[i]->form.dtype)) continue;
        snprintf(name, sizeof name, "%d", i);
        if (digest_from_text(json_text(json_get(integers, name)), told) ||
            memcmp(told, found[i]->digest, DIGEST))
            return fail_damaged("array %d is not the one that the code was made for", i);
    }
    return 0;
}

/* Which arrays calls read. */
static int find_all(Making *making, const Plan *plan, Decoded **found) {
    for (int32_t c = 0; c < plan->calls_count; c++)
        for (int32_t i = 0; i < plan->calls[c].count; i++) {
            const Argument *argument = &plan->calls[c].arguments[i];
            if (argument->place != IN_ARRAY || found[argument->index]) continue;
            found[argument->index] = add(making, &plan->arrays[argument->index]);
            if (!found[argument->index]) return -1;
        }
    return 0;
}

int weights_make(Weights *weights, Artefact *artefact, const Plan *plan, const Json *integers,
                 const void **arrays) {
    Making making = {.artefact = artefact};
    size_t count = (size_t)plan->arrays_count;
    Decoded **found = bump_new(&making.memory, count, sizeof *found);
    making.jobs = bump_new(&making.memory, count, sizeof *making.jobs);
    int failed = !found || !making.jobs || find_all(&making, plan, found) || run(&making, weights);
    if (failed) forget(&making);
    failed = failed || check_integers(plan, integers, found);
    for (size_t i = 0; !failed && i < count; i++) arrays[i] = found[i] ? found[i]->data : NULL;
    bump_free(&making.memory);
    return failed ? -1 : 0;
}

void weights_free(Weights *weights) {
    for (Block *block = weights->blocks, *before; block; block = before) {
        before = block->before;
        pages_free(&block->pages);
        free(block);
    }
    weights->blocks = NULL;
}
