/* Each path of what src/ chooses by the CPU, for a test to call. */
#include "decode.c"
#include "sha256.c"

enum { PLAIN, WITH_AVX2, WITH_AVX512, WITH_SHA };

EXPORTED int test_can(int path) {
    switch (path) {
    case WITH_AVX2: return !!__builtin_cpu_supports("avx2");
    case WITH_AVX512: return !!__builtin_cpu_supports("avx512f");
    case WITH_SHA: return has_sha_ni();
    default: return 1;
    }
}

EXPORTED void test_sha256(int path, const void *data, size_t size, unsigned char digest[32]) {
    hash(path == WITH_SHA ? blocks_ni : blocks_plain, data, size, digest);
}

EXPORTED int test_zeros(int path, float *to, int64_t count, const unsigned char *mask, size_t mask_bytes,
                        const float *values, size_t values_count) {
    const Expand paths[] = {expand_plain, expand_avx2, expand_avx512};
    return zeros(paths[path], to, count, mask, mask_bytes, values, values_count);
}

EXPORTED int test_transformed(int path, float *to, const float *filters, int64_t l, int n, int r,
                              const double *matrix, int64_t begin, int64_t end) {
    void (*const paths[])(const Transform *, int64_t, int64_t) = {transform_plain, transform_avx2,
                                                                   transform_avx512};
    return transformed(paths[path], (Transform){to, filters, matrix, l, n, r}, begin, end);
}
