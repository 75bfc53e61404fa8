/** Tables that are kept: powers of fixed bases, alone or as products over several bases. */
#ifndef DUOVEIL_COMB_H
#define DUOVEIL_COMB_H

#include "multiexp.h"

/** Read-only once made, shared by threads, counted by whoever holds it. */
typedef struct {
  atomic_size_t references;
  ring *ring;
  power_table table;
  size_t terms;
  size_t max_exponent_bits;
} comb;

/** NULL if memory runs out. */
comb *comb_create(ring *r, const number_list *bases, size_t max_exponent_bits, BN_CTX *ctx);
comb *comb_retain(comb *c);
void comb_release(comb *c);

/** `Π base^exponent` for `exponents[from .. from + c->terms)`, of `c->ring->words` words. */
bool comb_power(const comb *c, uint64_t *result, const number_list *exponents, size_t from,
                bool secret, BN_CTX *ctx);

#endif
