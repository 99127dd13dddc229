#include "decode.h"

#include <immintrin.h>
#include <string.h>

#include "export.h"

/* A multiplication and an addition are rounded each, whatever instructions a path has. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("O3,fp-contract=off")
#endif

#define INLINED __attribute__((always_inline)) static inline
#define AVX2 __attribute__((target("avx2,popcnt")))
#define AVX512 __attribute__((target("avx512f,popcnt,prefer-vector-width=512")))

/* ---- zeros -------------------------------------------------------------------------------------- */

/* Makes 8 elements a byte of the mask; returns how many values it took, or -1 where there are too few. */
typedef int64_t (*Expand)(float *to, int64_t bytes, const unsigned char *mask, const float *values,
                          int64_t available);

static int64_t expand_plain(float *to, int64_t bytes, const unsigned char *mask, const float *values,
                            int64_t available) {
    int64_t used = 0;
    for (int64_t i = 0; i < bytes; i++, to += 8) {
        memset(to, 0, 8 * sizeof *to);
        for (unsigned left = mask[i]; left; left &= left - 1) {
            if (used == available) return -1;
            to[__builtin_ctz(left)] = values[used++];
        }
    }
    return used;
}

/* The rest of what a path has begun. */
static int64_t expand_rest(float *to, int64_t bytes, const unsigned char *mask, const float *values,
                           int64_t available, int64_t done, int64_t used) {
    int64_t more = expand_plain(to + 8 * done, bytes - done, mask + done, values + used, available - used);
    return more < 0 ? -1 : used + more;
}

AVX2 static int64_t expand_avx2(float *to, int64_t bytes, const unsigned char *mask, const float *values,
                                int64_t available) {
    const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    const uint64_t each = 0x0101010101010101;
    int64_t i = 0, used = 0;
    for (; i < bytes && available - used >= 8; i++) {
        /* A byte for each bit; then for each how many bits there are before it: where its value is. */
        uint64_t bits = (((mask[i] * each & 0x8040201008040201) + 0x7f * each) >> 7) & each;
        __m256i from = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128((long long)(bits * (each << 8))));
        __m256i kept = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(mask[i]), bit), bit);
        __m256 spread = _mm256_permutevar8x32_ps(_mm256_loadu_ps(values + used), from);
        _mm256_storeu_ps(to + 8 * i, _mm256_and_ps(spread, _mm256_castsi256_ps(kept)));
        used += __builtin_popcount(mask[i]);
    }
    return expand_rest(to, bytes, mask, values, available, i, used);
}

AVX512 static int64_t expand_avx512(float *to, int64_t bytes, const unsigned char *mask, const float *values,
                                    int64_t available) {
    int64_t i = 0, used = 0;
    for (; i + 2 <= bytes; i += 2) {
        uint16_t kept;
        memcpy(&kept, mask + i, sizeof kept);
        int64_t after = used + __builtin_popcount(kept);
        if (after > available) return -1;
        _mm512_storeu_ps(to + 8 * i, _mm512_maskz_expandloadu_ps(kept, values + used));
        used = after;
    }
    return expand_rest(to, bytes, mask, values, available, i, used);
}

static int zeros(Expand expand, float *to, int64_t count, const unsigned char *mask, size_t mask_bytes,
                 const float *values, size_t values_count) {
    int64_t whole = count / 8, rest = count % 8, available = (int64_t)values_count;
    if (count < 0 || available < 0 || mask_bytes != (size_t)(whole + (rest > 0))) return -1;
    int64_t used = expand(to, whole, mask, values, available);
    if (used < 0) return -1;
    if (rest) {
        float last[8];
        if (mask[whole] >> rest) return -1;
        int64_t more = expand_plain(last, 1, mask + whole, values + used, available - used);
        if (more < 0) return -1;
        memcpy(to + 8 * whole, last, (size_t)rest * sizeof *last);
        used += more;
    }
    return used == available ? 0 : -1;
}

int decode_zeros(float *to, int64_t count, const unsigned char *mask, size_t mask_bytes, const float *values,
                 size_t values_count) {
    Expand expand = __builtin_cpu_supports("avx512f") ? expand_avx512
                    : __builtin_cpu_supports("avx2")  ? expand_avx2
                                                      : expand_plain;
    return zeros(expand, to, count, mask, mask_bytes, values, values_count);
}

/* ---- whole numbers ------------------------------------------------------------------------------ */

INLINED int has_size(int64_t count, size_t bytes, int width) {
    size_t expected;
    if (count < 0 || (width != 1 && width != 2)) return 0;
    return !__builtin_mul_overflow((size_t)count, (size_t)width, &expected) && bytes == expected;
}

/* Element i of numbers of `width` bytes, which need not be aligned. */
INLINED uint32_t number(const unsigned char *from, int64_t i, int width) {
    uint16_t wide;
    if (width == 1) return from[i];
    memcpy(&wide, from + 2 * i, sizeof wide);
    return wide;
}

INLINED int narrow(int32_t *to, int64_t count, const void *from, int width, int32_t base) {
    int32_t wrong = 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t sum = (int32_t)((uint32_t)base + number(from, i, width));
        wrong |= sum < base; /* it began anew at the least number */
        to[i] = sum;
    }
    return wrong ? -1 : 0;
}

int decode_narrow(int32_t *to, int64_t count, const void *from, size_t bytes, int width, int32_t base) {
    if (!has_size(count, bytes, width)) return -1;
    return width == 1 ? narrow(to, count, from, 1, base) : narrow(to, count, from, 2, base);
}

INLINED int deltas(int32_t *to, int64_t count, const void *from, int width, int32_t base) {
    int64_t sum = 0;
    for (int64_t i = 0; i < count; i++) {
        sum += (int64_t)base + number(from, i, width);
        if (sum != (int32_t)sum) return -1;
        to[i] = (int32_t)sum;
    }
    return 0;
}

int decode_deltas(int32_t *to, int64_t count, const void *from, size_t bytes, int width, int32_t base) {
    if (!has_size(count, bytes, width)) return -1;
    return width == 1 ? deltas(to, count, from, 1, base) : deltas(to, count, from, 2, base);
}

/* ---- Winograd's domain -------------------------------------------------------------------------- */

#define LANES 64 /* filters at once: what they take while they are transformed stays in the nearest cache */

typedef struct {
    float *to;
    const float *filters;
    const double *matrix;
    int64_t l;
    int n, r;
} Transform;

/* The sums over k of coefficients[k] * from[k][x], in order, k being less than a constant. */
INLINED double sum(const double *coefficients, const double *from, int x, int count) {
    double total = coefficients[0] * from[x];
#pragma GCC unroll 8
    for (int k = 1; k < count; k++) total += coefficients[k] * from[k * LANES + x];
    return total;
}

INLINED void sums(double *restrict to, const double *coefficients, const double *restrict from, int count) {
    for (int x = 0; x < LANES; x++) to[x] = sum(coefficients, from, x, count);
}

INLINED void rounded_sums(float *restrict to, const double *coefficients, const double *restrict from,
                          int count) {
    for (int x = 0; x < LANES; x++) to[x] = (float)sum(coefficients, from, x, count);
}

/* Filters from `begin` on, `lanes` of them; r as a constant. */
INLINED void transform_lanes(const Transform *t, int64_t begin, int lanes, int r) {
    double filter[MOST_TAPS * MOST_TAPS][LANES] __attribute__((aligned(64)));
    double half[MOST_TAPS][LANES] __attribute__((aligned(64)));
    float last[LANES] __attribute__((aligned(64)));
    const float *from = t->filters + begin * r * r;
    if (lanes < LANES) memset(filter, 0, sizeof filter);
    for (int x = 0; x < lanes; x++)
        for (int tap = 0; tap < r * r; tap++) filter[tap][x] = (double)from[x * r * r + tap];
    for (int j = 0; j < t->n; j++) {
        for (int a = 0; a < r; a++) sums(half[a], t->matrix + j * r, filter[a * r], r);
        for (int i = 0; i < t->n; i++) {
            float *to = t->to + ((int64_t)i * t->n + j) * t->l + begin;
            if (lanes == LANES) {
                rounded_sums(to, t->matrix + i * r, half[0], r);
            } else {
                rounded_sums(last, t->matrix + i * r, half[0], r);
                memcpy(to, last, (size_t)lanes * sizeof *last);
            }
        }
    }
}

INLINED void transform_range(const Transform *t, int64_t begin, int64_t end) {
    for (; begin < end; begin += LANES) {
        int lanes = end - begin < LANES ? (int)(end - begin) : LANES;
        switch (t->r) {
#define TAPS(r) case r: transform_lanes(t, begin, lanes, r); break;
            TAPS(1) TAPS(2) TAPS(3) TAPS(4) TAPS(5) TAPS(6) TAPS(7) TAPS(8)
        }
    }
}

static void transform_plain(const Transform *t, int64_t begin, int64_t end) {
    transform_range(t, begin, end);
}

AVX2 static void transform_avx2(const Transform *t, int64_t begin, int64_t end) {
    transform_range(t, begin, end);
}

AVX512 static void transform_avx512(const Transform *t, int64_t begin, int64_t end) {
    transform_range(t, begin, end);
}

static int transformed(void (*range)(const Transform *, int64_t, int64_t), Transform transform, int64_t begin,
                       int64_t end) {
    if (transform.r < 1 || transform.r > MOST_TAPS) return -1;
    if (transform.n < 1 || transform.n > MOST_POSITIONS) return -1;
    if (begin < 0 || begin > end || end > transform.l) return -1;
    unsigned before = _mm_getcsr();
    _mm_setcsr(0x1f80); /* to the nearest, and small numbers are kept: whatever the caller computes with */
    range(&transform, begin, end);
    _mm_setcsr(before);
    return 0;
}

int decode_transformed(float *to, const float *filters, int64_t l, int n, int r, const double *matrix,
                       int64_t begin, int64_t end) {
    return transformed(__builtin_cpu_supports("avx512f") ? transform_avx512
                       : __builtin_cpu_supports("avx2")  ? transform_avx2
                                                         : transform_plain,
                       (Transform){to, filters, matrix, l, n, r}, begin, end);
}

/* ---- for Python --------------------------------------------------------------------------------- */

EXPORTED int sparsegen_decode_zeros(float *to, int64_t count, const unsigned char *mask, size_t mask_bytes,
                                    const float *values, size_t values_count) {
    return decode_zeros(to, count, mask, mask_bytes, values, values_count);
}

EXPORTED int sparsegen_decode_narrow(int32_t *to, int64_t count, const void *from, size_t bytes, int width,
                                     int32_t base) {
    return decode_narrow(to, count, from, bytes, width, base);
}

EXPORTED int sparsegen_decode_deltas(int32_t *to, int64_t count, const void *from, size_t bytes, int width,
                                     int32_t base) {
    return decode_deltas(to, count, from, bytes, width, base);
}

EXPORTED int sparsegen_decode_transformed(float *to, const float *filters, int64_t l, int n, int r,
                                          const double *matrix, int64_t begin, int64_t end) {
    return decode_transformed(to, filters, l, n, r, matrix, begin, end);
}
