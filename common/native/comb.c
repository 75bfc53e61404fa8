#include "comb.h"

#include <openssl/crypto.h>

comb *comb_create(ring *r, const number_list *bases, size_t max_exponent_bits, BN_CTX *ctx) {
  comb *c = OPENSSL_zalloc(sizeof *c);
  if (c == NULL) return NULL;
  atomic_init(&c->references, 1);
  c->ring = ring_retain(r);
  c->terms = bases->count;
  c->max_exponent_bits = max_exponent_bits;
  table_plan plan = plan_kept(r, c->terms, max_exponent_bits);
  if (power_table_build(&c->table, r, &plan, bases, 0, ctx)) return c;
  comb_release(c);
  return NULL;
}

comb *comb_retain(comb *c) {
  atomic_fetch_add(&c->references, 1);
  return c;
}

void comb_release(comb *c) {
  if (c == NULL || atomic_fetch_sub(&c->references, 1) != 1) return;
  power_table_free(&c->table);
  ring_release(c->ring);
  OPENSSL_free(c);
}

bool comb_power(const comb *c, uint64_t *result, const number_list *exponents, size_t from,
                bool secret, BN_CTX *ctx) {
  residue power;
  bool done = residues_create(c->ring, &power, 1) &&
              power_table_evaluate(&c->table, c->ring, &power, exponents, from, secret, ctx) &&
              residue_leave(c->ring, result, &power, ctx);
  residues_free(&power, 1);
  return done;
}
