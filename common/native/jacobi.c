#include "jacobi.h"

#include <string.h>

#include <openssl/crypto.h>

typedef unsigned __int128 wide;

/** Steps that are done on the lowest words alone before the numbers follow. */
#define BATCH_STEPS 62

/** `f ← (uf + vg)/2^62`, `g ← (qf + rg)/2^62`; each row's sum is at most 2^62. */
typedef struct {
  uint64_t u, v, q, r;
} transition;

/**
 * 62 division steps that keep both numbers positive, of D. J. Bernstein and B.-Y. Yang, *Fast
 * constant-time gcd computation and modular inversion*, TCHES 2019, in the variant for Jacobi symbols
 * of libsecp256k1 (`doc/safegcd_implementation.md`, "Optimizing for Jacobi symbols"). The lowest bit
 * of `*sign` changes with the symbol's sign.
 */
static int64_t divide_steps(transition *t, int64_t eta, uint64_t f, uint64_t g, uint64_t *sign) {
  *t = (transition){.u = 1, .r = 1};
  for (int left = BATCH_STEPS;;) {
    // At most as many zeros as there are steps left.
    int zeros = __builtin_ctzll(g | (UINT64_MAX << left));
    g >>= zeros;
    t->u <<= zeros;
    t->v <<= zeros;
    eta -= zeros;
    left -= zeros;
    // Halving changes the sign if f is 3 or 5 modulo 8.
    *sign ^= (uint64_t)zeros & ((f >> 1) ^ (f >> 2));
    if (left == 0) return eta;
    uint64_t multiple;
    bool swapped = eta < 0;
    if (swapped) {
      // Reciprocity: exchanging the two changes the sign if both are 3 modulo 4.
      *sign ^= (f & g) >> 1;
      eta = -eta;
      uint64_t kept = f;
      f = g;
      g = kept;
      *t = (transition){.u = t->q, .v = t->r, .q = t->u, .r = t->v};
    }
    // A multiple of f that clears as many of g's bits as there are steps before the next exchange.
    int limit = eta + 1 > left ? left : (int)eta + 1;
    uint64_t mask = UINT64_MAX >> (64 - limit);
    if (swapped) {
      multiple = (f * g * (f * f - 2)) & mask & 63;
    } else {
      multiple = (0 - (f + (((f + 1) & 4) << 1)) * g) & mask & 15;
    }
    g += f * multiple;
    t->q += t->u * multiple;
    t->r += t->v * multiple;
  }
}

static void apply(const transition *t, uint64_t *f, uint64_t *g, size_t words) {
  wide new_f = 0;
  wide new_g = 0;
  for (size_t i = 0; i < words; i++) {
    new_f += (wide)t->u * f[i] + (wide)t->v * g[i];
    new_g += (wide)t->q * f[i] + (wide)t->r * g[i];
    if (i > 0) {
      f[i - 1] |= (uint64_t)new_f << (64 - BATCH_STEPS);
      g[i - 1] |= (uint64_t)new_g << (64 - BATCH_STEPS);
    }
    f[i] = (uint64_t)new_f >> BATCH_STEPS;
    g[i] = (uint64_t)new_g >> BATCH_STEPS;
    new_f >>= 64;
    new_g >>= 64;
  }
  f[words - 1] |= (uint64_t)new_f << (64 - BATCH_STEPS);
  g[words - 1] |= (uint64_t)new_g << (64 - BATCH_STEPS);
}

static bool is_one(const uint64_t *value, size_t words) {
  uint64_t rest = value[0] ^ 1;
  for (size_t i = 1; i < words; i++) rest |= value[i];
  return rest == 0;
}

/**
 * The symbol of `g` over `f`, `0 < g < f`, both of which are used up. False if it is not found: the
 * two then end at their greatest common divisor, or are of the few that take too long.
 */
static bool symbol_by_steps(int *symbol, uint64_t *f, uint64_t *g, size_t words) {
  uint64_t sign = 0;
  int64_t eta = -1;
  // On average some three steps are needed for each bit.
  const size_t most = 4 * words + 16;
  for (size_t batch = 0; batch < most; batch++) {
    transition t;
    eta = divide_steps(&t, eta, f[0], g[0], &sign);
    apply(&t, f, g, words);
    while (words > 1 && f[words - 1] == 0 && g[words - 1] == 0) words--;
    if (f[0] == 1 && is_one(f, words)) {
      *symbol = 1 - 2 * (int)(sign & 1);
      return true;
    }
    if (memcmp(f, g, words * sizeof *f) == 0) return false;
  }
  return false;
}

bool jacobi_symbol(int *symbol, number value, number n, BN_CTX *ctx) {
  BN_CTX_start(ctx);
  BIGNUM *top = BN_CTX_get(ctx);
  BIGNUM *bottom = BN_CTX_get(ctx);
  uint64_t *words = OPENSSL_malloc(2 * n.count * sizeof *words);
  bool done = words != NULL && bottom != NULL && bignum_from_number(top, value) &&
              bignum_from_number(bottom, n) && BN_nnmod(top, top, bottom, ctx) == 1 &&
              bignum_to_words(bottom, words, n.count) &&
              bignum_to_words(top, words + n.count, n.count);
  if (done && !symbol_by_steps(symbol, words, words + n.count, n.count)) {
    *symbol = BN_kronecker(top, bottom, ctx);
    done = *symbol >= -1;
  }
  OPENSSL_free(words);
  BN_CTX_end(ctx);
  return done;
}
