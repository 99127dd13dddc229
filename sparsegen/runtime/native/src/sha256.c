#include "sha256.h"

#include <cpuid.h>
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 64

/* Takes `count` blocks into a state. */
typedef void (*Blocks)(uint32_t state[8], const unsigned char *data, size_t count);

/* The first 32 bits of the fractions of the first 64 primes' cube roots. */
static const uint32_t constants[64] __attribute__((aligned(16))) = {
    0x428a2f98u, 0x71374491u, 0xb5c0fbcfu, 0xe9b5dba5u, 0x3956c25bu, 0x59f111f1u, 0x923f82a4u, 0xab1c5ed5u,
    0xd807aa98u, 0x12835b01u, 0x243185beu, 0x550c7dc3u, 0x72be5d74u, 0x80deb1feu, 0x9bdc06a7u, 0xc19bf174u,
    0xe49b69c1u, 0xefbe4786u, 0x0fc19dc6u, 0x240ca1ccu, 0x2de92c6fu, 0x4a7484aau, 0x5cb0a9dcu, 0x76f988dau,
    0x983e5152u, 0xa831c66du, 0xb00327c8u, 0xbf597fc7u, 0xc6e00bf3u, 0xd5a79147u, 0x06ca6351u, 0x14292967u,
    0x27b70a85u, 0x2e1b2138u, 0x4d2c6dfcu, 0x53380d13u, 0x650a7354u, 0x766a0abbu, 0x81c2c92eu, 0x92722c85u,
    0xa2bfe8a1u, 0xa81a664bu, 0xc24b8b70u, 0xc76c51a3u, 0xd192e819u, 0xd6990624u, 0xf40e3585u, 0x106aa070u,
    0x19a4c116u, 0x1e376c08u, 0x2748774cu, 0x34b0bcb5u, 0x391c0cb3u, 0x4ed8aa4au, 0x5b9cca4fu, 0x682e6ff3u,
    0x748f82eeu, 0x78a5636fu, 0x84c87814u, 0x8cc70208u, 0x90befffau, 0xa4506cebu, 0xbef9a3f7u, 0xc67178f2u,
};

/* ---- plain C ------------------------------------------------------------------------------------ */

static inline uint32_t turned(uint32_t x, int bits) { return x >> bits | x << (32 - bits); }

static inline uint32_t big_endian(const unsigned char *from) {
    uint32_t word;
    memcpy(&word, from, sizeof word);
    return __builtin_bswap32(word);
}

static void blocks_plain(uint32_t state[8], const unsigned char *data, size_t count) {
    for (; count; count--, data += BLOCK) {
        uint32_t w[64], s[8];
        for (int t = 0; t < 16; t++) w[t] = big_endian(data + 4 * t);
        for (int t = 16; t < 64; t++) {
            uint32_t before = w[t - 15], last = w[t - 2];
            w[t] = w[t - 16] + (turned(before, 7) ^ turned(before, 18) ^ before >> 3) + w[t - 7] +
                   (turned(last, 17) ^ turned(last, 19) ^ last >> 10);
        }
        memcpy(s, state, sizeof s);
        for (int t = 0; t < 64; t++) {
            uint32_t a = s[0], e = s[4];
            uint32_t choice = (e & s[5]) ^ (~e & s[6]), majority = (a & s[1]) ^ (a & s[2]) ^ (s[1] & s[2]);
            uint32_t first =
                s[7] + (turned(e, 6) ^ turned(e, 11) ^ turned(e, 25)) + choice + constants[t] + w[t];
            uint32_t second = (turned(a, 2) ^ turned(a, 13) ^ turned(a, 22)) + majority;
            memmove(s + 1, s, 7 * sizeof *s);
            s[4] += first;
            s[0] = first + second;
        }
        for (int i = 0; i < 8; i++) state[i] += s[i];
    }
}

/* ---- SHA-NI ------------------------------------------------------------------------------------- */

#define SHA_NI __attribute__((target("sha,sse4.1")))

/* Four rounds, with four words of a message; the instruction has the state as (a, b, e, f), (c, d, g, h). */
SHA_NI static inline void rounds(__m128i *abef, __m128i *cdgh, __m128i words, int t) {
    __m128i sum = _mm_add_epi32(words, _mm_load_si128((const __m128i *)(constants + t)));
    *cdgh = _mm_sha256rnds2_epu32(*cdgh, *abef, sum);
    *abef = _mm_sha256rnds2_epu32(*abef, *cdgh, _mm_shuffle_epi32(sum, 0x0e));
}

SHA_NI static void blocks_ni(uint32_t state[8], const unsigned char *data, size_t count) {
    const __m128i swapped = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    __m128i low = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *)state), 0xb1);        /* c d a b */
    __m128i high = _mm_shuffle_epi32(_mm_loadu_si128((__m128i *)(state + 4)), 0x1b); /* e f g h */
    __m128i abef = _mm_alignr_epi8(low, high, 8), cdgh = _mm_blend_epi16(high, low, 0xf0);
    for (; count; count--, data += BLOCK) {
        __m128i abef_before = abef, cdgh_before = cdgh, w[4];
        for (int i = 0; i < 4; i++) {
            w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *)(data + 16 * i)), swapped);
            rounds(&abef, &cdgh, w[i], 4 * i);
        }
#pragma GCC unroll 12
        for (int i = 4; i < 16; i++) {
            __m128i last = w[(i + 3) % 4], middle = _mm_alignr_epi8(last, w[(i + 2) % 4], 4);
            __m128i sum = _mm_add_epi32(_mm_sha256msg1_epu32(w[i % 4], w[(i + 1) % 4]), middle);
            w[i % 4] = _mm_sha256msg2_epu32(sum, last);
            rounds(&abef, &cdgh, w[i % 4], 4 * i);
        }
        abef = _mm_add_epi32(abef, abef_before);
        cdgh = _mm_add_epi32(cdgh, cdgh_before);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1b), dchg = _mm_shuffle_epi32(cdgh, 0xb1);
    _mm_storeu_si128((__m128i *)state, _mm_blend_epi16(feba, dchg, 0xf0));
    _mm_storeu_si128((__m128i *)(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static int has_sha_ni(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_SSSE3) || !(c & bit_SSE4_1)) return 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & bit_SHA);
}

/* ---- the whole ---------------------------------------------------------------------------------- */

static void hash(Blocks blocks, const void *data, size_t size, unsigned char digest[32]) {
    /* The first 32 bits of the fractions of the first 8 primes' square roots. */
    uint32_t state[8] = {0x6a09e667u, 0xbb67ae85u, 0x3c6ef372u, 0xa54ff53au,
                         0x510e527fu, 0x9b05688cu, 0x1f83d9abu, 0x5be0cd19u};
    unsigned char end[2 * BLOCK] = {0};
    size_t whole = size / BLOCK, rest = size % BLOCK, ends = rest < BLOCK - 8 ? 1 : 2;
    blocks(state, data, whole);
    if (rest) memcpy(end, (const unsigned char *)data + whole * BLOCK, rest);
    end[rest] = 0x80;
    uint64_t bits = __builtin_bswap64((uint64_t)size * 8);
    memcpy(end + ends * BLOCK - 8, &bits, sizeof bits);
    blocks(state, end, ends);
    for (int i = 0; i < 8; i++) state[i] = __builtin_bswap32(state[i]);
    memcpy(digest, state, sizeof state);
}

void sha256(const void *data, size_t size, unsigned char digest[32]) {
    static int known = -1; /* asking the CPU is slow in a virtual machine */
    int ni = __atomic_load_n(&known, __ATOMIC_RELAXED);
    if (ni < 0) __atomic_store_n(&known, ni = has_sha_ni(), __ATOMIC_RELAXED);
    hash(ni ? blocks_ni : blocks_plain, data, size, digest);
}
