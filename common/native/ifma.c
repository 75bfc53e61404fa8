#include "ifma.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include <immintrin.h>

/* The compiler may use these instructions in the functions that say so, and nowhere else. */
#define IFMA __attribute__((target("avx512f,avx512ifma")))
#define IFMA_INLINE IFMA __attribute__((always_inline)) static inline

/* Loops over a number's vectors are unrolled, so that the vectors stay in registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("clang loop unroll(full)")
#else
#define UNROLLED _Pragma("GCC unroll 10")
#endif

typedef __m512i vector;
typedef unsigned __int128 wide;

bool ifma_available(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512ifma");
}

IFMA_INLINE void load(vector *to, const uint64_t *from, size_t vectors) {
  UNROLLED
  for (size_t j = 0; j < vectors; j++) to[j] = _mm512_loadu_si512(from + IFMA_LANES * j);
}

/** One digit down: what was the lowest one is gone. */
IFMA_INLINE void shift_down(vector *sum, size_t vectors) {
  UNROLLED
  for (size_t j = 0; j + 1 < vectors; j++) sum[j] = _mm512_alignr_epi64(sum[j + 1], sum[j], 1);
  sum[vectors - 1] = _mm512_alignr_epi64(_mm512_setzero_si512(), sum[vectors - 1], 1);
}

/** `value[j]` of the lane below, for every lane. */
IFMA_INLINE vector from_below(const vector *value, size_t j) {
  return _mm512_alignr_epi64(value[j], j == 0 ? _mm512_setzero_si512() : value[j - 1], 7);
}

IFMA_INLINE void add_low(vector *sum, const vector *a, vector digit, size_t vectors) {
  UNROLLED
  for (size_t j = 0; j < vectors; j++) sum[j] = _mm512_madd52lo_epu64(sum[j], a[j], digit);
}

IFMA_INLINE void add_high(vector *sum, const vector *a, vector digit, size_t vectors) {
  UNROLLED
  for (size_t j = 0; j < vectors; j++) sum[j] = _mm512_madd52hi_epu64(sum[j], a[j], digit);
}

IFMA_INLINE uint64_t lowest(const vector *sum) {
  return (uint64_t)_mm_cvtsi128_si64(_mm512_castsi512_si128(sum[0]));
}

/**
 * Carry until every digit has 52 bits. After one step a digit is at most 2^52 + 2^12, and what
 * remains are carries of one, which an addition of bit masks lets ripple through eight lanes.
 */
IFMA_INLINE void store_carried(uint64_t *to, vector *sum, size_t vectors) {
  const vector mask = _mm512_set1_epi64((long long)IFMA_DIGIT_MASK);
  const vector one = _mm512_set1_epi64(1);
  vector carry[IFMA_MAX_VECTORS];
  UNROLLED
  for (size_t j = 0; j < vectors; j++) carry[j] = _mm512_srli_epi64(sum[j], IFMA_DIGIT_BITS);
  unsigned rippling = 0;
  UNROLLED
  for (size_t j = 0; j < vectors; j++) {
    vector digits = _mm512_add_epi64(_mm512_and_si512(sum[j], mask), from_below(carry, j));
    unsigned generates = _mm512_cmpgt_epu64_mask(digits, mask);
    unsigned passes = _mm512_cmpeq_epu64_mask(digits, mask);
    unsigned carries = 2 * generates + passes + rippling;
    digits = _mm512_mask_add_epi64(digits, (__mmask8)(carries ^ passes), digits, one);
    rippling = carries >> IFMA_LANES;
    _mm512_storeu_si512(to + IFMA_LANES * j, _mm512_and_si512(digits, mask));
  }
}

/**
 * One number on its way through Montgomery's reduction: what has been summed up so far, with the
 * lowest digit, on which everything waits, kept by itself.
 */
typedef struct {
  vector sum[IFMA_MAX_VECTORS];
  uint64_t digit;
} reduction;

/** The quotient's digit, for which `lowest + quotient·n` ends on a zero. */
IFMA_INLINE uint64_t quotient_of(const ifma_modulus *m, wide lowest_digit) {
  return ((uint64_t)lowest_digit * m->inverse) & IFMA_DIGIT_MASK;
}

/** Drop that zero: the digit above is the lowest one now. High halves are still to be added. */
IFMA_INLINE void drop_lowest(reduction *r, const ifma_modulus *m, wide lowest_digit,
                             uint64_t quotient, size_t vectors) {
  shift_down(r->sum, vectors);
  lowest_digit += (wide)m->modulus[0] * quotient;
  r->digit = lowest(r->sum) + (uint64_t)(lowest_digit >> IFMA_DIGIT_BITS);
}

IFMA_INLINE void finish(uint64_t *result, reduction *r, size_t vectors) {
  r->sum[0] = _mm512_mask_set1_epi64(r->sum[0], 1, (long long)r->digit);
  store_carried(result, r->sum, vectors);
}

/**
 * With `a = a₀ + a₁n` and likewise b, `ab = a₀b₀ + (a₀b₁ + a₁b₀)n` modulo n². Reducing
 * `a₀b₀ = cR - qn` leaves c as the low part, and takes the quotient q off the high part, which is
 * then reduced itself. That is done digit by digit, both at once: instead of `-q`, the complement
 * of its digit is added, and `correction` makes up for the difference.
 *
 * Sums have room: a lane takes at most six 52-bit numbers a step and 80 steps.
 * Parts of at most 4n are in bounds again afterwards: c ≤ (16n² + Rn)/R < 2n, and the high part is
 * at most (32n² + n + R + Rn)/R < 2n, as R ≥ 64n.
 */
IFMA_INLINE void multiply(const ifma_modulus *m, uint64_t *result, const uint64_t *a,
                          const uint64_t *b, size_t vectors) {
  const size_t half = IFMA_LANES * vectors;
  vector n[IFMA_MAX_VECTORS];
  vector a0[IFMA_MAX_VECTORS];
  vector a1[IFMA_MAX_VECTORS];
  reduction low = {.digit = 0};
  reduction high = {.digit = m->correction[0]};
  load(n, m->modulus, vectors);
  load(a0, a, vectors);
  load(a1, a + half, vectors);
  load(high.sum, m->correction, vectors);
  UNROLLED
  for (size_t j = 0; j < vectors; j++) low.sum[j] = _mm512_setzero_si512();

  for (size_t i = 0; i < m->digits; i++) {
    const vector b0 = _mm512_set1_epi64((long long)b[i]);
    const vector b1 = _mm512_set1_epi64((long long)b[half + i]);

    wide digit = (wide)a[0] * b[i] + low.digit;
    uint64_t quotient = quotient_of(m, digit);
    vector q = _mm512_set1_epi64((long long)quotient);
    add_low(low.sum, a0, b0, vectors);
    add_low(low.sum, n, q, vectors);
    drop_lowest(&low, m, digit, quotient, vectors);
    add_high(low.sum, a0, b0, vectors);
    add_high(low.sum, n, q, vectors);

    digit = (wide)a[0] * b[half + i] + (wide)a[half] * b[i] + high.digit;
    digit += IFMA_DIGIT_MASK - quotient;
    quotient = quotient_of(m, digit);
    q = _mm512_set1_epi64((long long)quotient);
    add_low(high.sum, a0, b1, vectors);
    add_low(high.sum, a1, b0, vectors);
    add_low(high.sum, n, q, vectors);
    drop_lowest(&high, m, digit, quotient, vectors);
    add_high(high.sum, a0, b1, vectors);
    add_high(high.sum, a1, b0, vectors);
    add_high(high.sum, n, q, vectors);
  }
  finish(result, &low, vectors);
  finish(result + half, &high, vectors);
}

/** The same for `a² = a₀² + 2a₀a₁n`: one product less. */
IFMA_INLINE void square(const ifma_modulus *m, uint64_t *result, const uint64_t *a,
                        size_t vectors) {
  const size_t half = IFMA_LANES * vectors;
  const vector mask = _mm512_set1_epi64((long long)IFMA_DIGIT_MASK);
  vector n[IFMA_MAX_VECTORS];
  vector a0[IFMA_MAX_VECTORS];
  vector top[IFMA_MAX_VECTORS];
  vector twice[IFMA_MAX_VECTORS];
  reduction low = {.digit = 0};
  reduction high = {.digit = m->correction[0]};
  load(n, m->modulus, vectors);
  load(a0, a, vectors);
  load(high.sum, m->correction, vectors);
  UNROLLED
  for (size_t j = 0; j < vectors; j++) {
    low.sum[j] = _mm512_setzero_si512();
    top[j] = _mm512_srli_epi64(a0[j], IFMA_DIGIT_BITS - 1);
  }
  UNROLLED
  for (size_t j = 0; j < vectors; j++) {
    vector shifted = _mm512_and_si512(_mm512_slli_epi64(a0[j], 1), mask);
    twice[j] = _mm512_or_si512(shifted, from_below(top, j));
  }
  const uint64_t lowest_twice = lowest(twice);

  for (size_t i = 0; i < m->digits; i++) {
    const vector b0 = _mm512_set1_epi64((long long)a[i]);
    const vector b1 = _mm512_set1_epi64((long long)a[half + i]);

    wide digit = (wide)a[0] * a[i] + low.digit;
    uint64_t quotient = quotient_of(m, digit);
    vector q = _mm512_set1_epi64((long long)quotient);
    add_low(low.sum, a0, b0, vectors);
    add_low(low.sum, n, q, vectors);
    drop_lowest(&low, m, digit, quotient, vectors);
    add_high(low.sum, a0, b0, vectors);
    add_high(low.sum, n, q, vectors);

    digit = (wide)lowest_twice * a[half + i] + high.digit;
    digit += IFMA_DIGIT_MASK - quotient;
    quotient = quotient_of(m, digit);
    q = _mm512_set1_epi64((long long)quotient);
    add_low(high.sum, twice, b1, vectors);
    add_low(high.sum, n, q, vectors);
    drop_lowest(&high, m, digit, quotient, vectors);
    add_high(high.sum, twice, b1, vectors);
    add_high(high.sum, n, q, vectors);
  }
  finish(result, &low, vectors);
  finish(result + half, &high, vectors);
}

/* One function for each length, so that the compiler knows how many vectors there are. */

typedef void (*multiplication)(const ifma_modulus *, uint64_t *, const uint64_t *,
                               const uint64_t *);
typedef void (*squaring)(const ifma_modulus *, uint64_t *, const uint64_t *);

#define OF_LENGTH(vectors)                                                             \
  IFMA static void multiply_##vectors(const ifma_modulus *m, uint64_t *result,         \
                                      const uint64_t *a, const uint64_t *b) {          \
    multiply(m, result, a, b, vectors);                                                \
  }                                                                                    \
  IFMA static void square_##vectors(const ifma_modulus *m, uint64_t *result,           \
                                    const uint64_t *a) {                               \
    square(m, result, a, vectors);                                                     \
  }

OF_LENGTH(1)
OF_LENGTH(2)
OF_LENGTH(3)
OF_LENGTH(4)
OF_LENGTH(5)
OF_LENGTH(6)
OF_LENGTH(7)
OF_LENGTH(8)
OF_LENGTH(9)
OF_LENGTH(10)

static const multiplication MULTIPLICATIONS[] = {
    multiply_1, multiply_2, multiply_3, multiply_4, multiply_5,
    multiply_6, multiply_7, multiply_8, multiply_9, multiply_10,
};
static const squaring SQUARINGS[] = {
    square_1, square_2, square_3, square_4, square_5,
    square_6, square_7, square_8, square_9, square_10,
};

void ifma_multiply(const ifma_modulus *m, uint64_t *result, const uint64_t *a, const uint64_t *b) {
  MULTIPLICATIONS[m->vectors - 1](m, result, a, b);
}

void ifma_square(const ifma_modulus *m, uint64_t *result, const uint64_t *a) {
  SQUARINGS[m->vectors - 1](m, result, a);
}

/** Blocks that are gathered at once: each has a register, and the comparison serves them all. */
#define GATHERED 4
/** `vpternlog`'s truth table of `a | (b & c)`. */
#define KEPT_OR_READ_AND_SELECT 0xf8

IFMA_INLINE void gather(uint64_t *entry, const unsigned char *table, size_t count, size_t index,
                        size_t blocks) {
  const size_t block_bytes = IFMA_LANES * sizeof(uint64_t);
  const vector wanted = _mm512_set1_epi64((long long)index);
  const vector one = _mm512_set1_epi64(1);
  vector kept[GATHERED];
  vector number = _mm512_setzero_si512();
  UNROLLED
  for (size_t j = 0; j < blocks; j++) kept[j] = number;
  for (size_t i = 0; i < count; i++) {
    __mmask8 here = _mm512_cmpeq_epu64_mask(number, wanted);
    // As bits, not as a mask of lanes: a load under such a mask need not touch what it leaves out.
    const vector select = _mm512_maskz_set1_epi64(here, -1);
    UNROLLED
    for (size_t j = 0; j < blocks; j++) {
      vector read = _mm512_loadu_si512(table + (j * count + i) * block_bytes);
      kept[j] = _mm512_ternarylogic_epi64(kept[j], read, select, KEPT_OR_READ_AND_SELECT);
    }
    number = _mm512_add_epi64(number, one);
  }
  UNROLLED
  for (size_t j = 0; j < blocks; j++) _mm512_storeu_si512(entry + IFMA_LANES * j, kept[j]);
}

IFMA void ifma_gather(uint64_t *entry, const unsigned char *table, size_t count, size_t index,
                      size_t blocks) {
  const size_t block_bytes = IFMA_LANES * sizeof(uint64_t);
  size_t block = 0;
  for (; block + GATHERED <= blocks; block += GATHERED) {
    gather(entry + block * IFMA_LANES, table + block * count * block_bytes, count, index, GATHERED);
  }
  for (; block < blocks; block++) {
    gather(entry + block * IFMA_LANES, table + block * count * block_bytes, count, index, 1);
  }
}

#else

/* Never called where `ifma_available` is false. */

bool ifma_available(void) { return false; }

void ifma_multiply(const ifma_modulus *m, uint64_t *result, const uint64_t *a, const uint64_t *b) {
  (void)m, (void)result, (void)a, (void)b;
}

void ifma_square(const ifma_modulus *m, uint64_t *result, const uint64_t *a) {
  (void)m, (void)result, (void)a;
}

void ifma_gather(uint64_t *entry, const unsigned char *table, size_t count, size_t index,
                 size_t blocks) {
  (void)entry, (void)table, (void)count, (void)index, (void)blocks;
}

#endif
