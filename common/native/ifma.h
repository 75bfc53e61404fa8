/**
 * The inner loop of `split.h`: products modulo n², on AVX-512's 52-bit multiply-and-add (IFMA).
 *
 * Nothing here branches on, or addresses memory by, a digit: time depends on the modulus's length
 * only.
 */
#ifndef DUOVEIL_IFMA_H
#define DUOVEIL_IFMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Numbers are stored as digits of so many bits, eight to a vector, little-endian. */
#define IFMA_DIGIT_BITS 52
#define IFMA_DIGIT_MASK (((uint64_t)1 << IFMA_DIGIT_BITS) - 1)
#define IFMA_LANES 8
#define IFMA_MAX_VECTORS 10
#define IFMA_MAX_DIGITS (IFMA_LANES * IFMA_MAX_VECTORS)
/** `R = 2^(52 digits)` is at least `2^IFMA_SLACK_BITS` times the modulus. */
#define IFMA_SLACK_BITS 6

/** What the loop needs to know about n. */
typedef struct {
  /** Digits in use, and the vectors that they fill; digits above are zero. */
  size_t digits;
  size_t vectors;
  /** `-n⁻¹ mod 2^52` */
  uint64_t inverse;
  uint64_t modulus[IFMA_MAX_DIGITS];
  /** `1 - R mod n` */
  uint64_t correction[IFMA_MAX_DIGITS];
} ifma_modulus;

/** Whether this processor, this system and this build can do it. */
bool ifma_available(void);

/**
 * `abR⁻¹` modulo n², each number a pair: `low + high·n`, first `8 vectors` digits of `low`, then as
 * many of `high`. Both parts are at most 4n, and the result's are below 2n. The result may be an
 * operand. A part of `a` may also be any number below R, if both parts of `b` are below n; then
 * both parts of the result are at most 2n, as long as the other part of `a` is 0.
 */
void ifma_multiply(const ifma_modulus *m, uint64_t *result, const uint64_t *a, const uint64_t *b);
/** `a²R⁻¹` */
void ifma_square(const ifma_modulus *m, uint64_t *result, const uint64_t *a);

/**
 * Look up one of `count` entries for a secret index: every byte is read. Entries lie in blocks as
 * `lookup.h` says.
 */
void ifma_gather(uint64_t *entry, const unsigned char *table, size_t count, size_t index,
                 size_t blocks);

#endif
