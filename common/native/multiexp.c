#include "multiexp.h"

#include <openssl/crypto.h>

#include "lookup.h"

/** A group's table has at most 2^8 entries: more cost more to read than they save. */
#define MAX_INDEX_BITS 8
#define MAX_WIDTH 6
#define MAX_PARTS 64
/**
 * About what a kept table may take: 128 KiB, and twice that for long exponents, whose bases are
 * those of randomisers and live as long as a key. Many terms may take more.
 */
#define KEPT_BYTES ((size_t)128 * 1024)
#define LONG_EXPONENT_BITS 512
#define KEPT_ENTRIES_PER_TERM 16
/** More terms than this are taken in several goes, so that a table stays in the cache. */
#define MAX_TERMS 64
/** Lengths of secret exponents show in multiples of this many bits. */
#define SECRET_LENGTH_GRANULE 16

static size_t ceiling(size_t a, size_t b) { return (a + b - 1) / b; }

/** First tooth of a group; `group == groups` gives the number of teeth. */
static size_t first_tooth(const table_plan *plan, size_t group) {
  return group * plan->terms * plan->parts / plan->groups;
}

static size_t group_entries(const table_plan *plan, size_t group) {
  size_t teeth = first_tooth(plan, group + 1) - first_tooth(plan, group);
  return (size_t)1 << (plan->width * teeth);
}

/** The sum of `group_entries`: teeth are dealt evenly, so groups have one of two sizes. */
static size_t plan_entries(const table_plan *plan) {
  size_t teeth = plan->terms * plan->parts;
  size_t smaller = (size_t)1 << (plan->width * (teeth / plan->groups));
  size_t larger = teeth % plan->groups;
  return (plan->groups - larger) * smaller + larger * (smaller << plan->width);
}

/**
 * Nanoseconds of the steps, measured on x86-64: of OpenSSL 3.0, and of split rings. Only their
 * ratios matter, and they differ little between machines.
 */
typedef struct {
  double square;
  double multiply;
  double read;
  double scan_entry;
  double write;
} step_costs;

static step_costs costs_of(const ring *r, bool secret) {
  double n = (double)r->words;
  if (r->split != NULL) {
    return (step_costs){
        .square = 0.13 * n * n + 30,
        .multiply = 0.146 * n * n + 30,
        .read = 0.7 * n + 20,
        .scan_entry = secret ? 0.08 * n : 0,
        .write = 1.5 * n,
    };
  }
  return (step_costs){
      .square = 0.66 * n * n + 40,
      .multiply = 0.95 * n * n + 40,
      .read = 4.5 * n + 20,
      .scan_entry = secret ? 0.1 * n : 0,
      .write = 9.5 * n,
  };
}

static double evaluation_cost(const table_plan *plan, size_t entries, const step_costs *cost) {
  double column = (double)plan->width * cost->square +
                  (double)plan->groups * (cost->multiply + cost->read) +
                  (double)entries * cost->scan_entry;
  return (double)plan->columns * column;
}

table_plan plan_single_use(const ring *r, size_t terms, size_t exponent_bits, bool secret) {
  step_costs cost = costs_of(r, secret);
  table_plan best = {0};
  double best_cost = 0;
  for (size_t width = 1; width <= MAX_WIDTH; width++) {
    for (size_t teeth = 1; teeth * width <= MAX_INDEX_BITS && teeth <= terms; teeth++) {
      table_plan plan = {
          .terms = terms,
          .parts = 1,
          .groups = ceiling(terms, teeth),
          .width = width,
          .columns = ceiling(exponent_bits, width),
      };
      size_t entries = plan_entries(&plan);
      double total = evaluation_cost(&plan, entries, &cost) +
                     (double)entries * (cost.multiply + cost.read + cost.write);
      if (best.groups == 0 || total < best_cost) {
        best = plan;
        best_cost = total;
      }
    }
  }
  return best;
}

table_plan plan_kept(const ring *r, size_t terms, size_t exponent_bits) {
  step_costs cost = costs_of(r, true);
  size_t bytes = exponent_bits > LONG_EXPONENT_BITS ? 2 * KEPT_BYTES : KEPT_BYTES;
  size_t budget = bytes / (entry_blocks(r) * LOOKUP_BLOCK_BYTES);
  if (budget < KEPT_ENTRIES_PER_TERM * terms) budget = KEPT_ENTRIES_PER_TERM * terms;
  table_plan best = {0};
  double best_cost = 0;
  for (size_t parts = 1; parts <= MAX_PARTS && parts <= exponent_bits; parts++) {
    size_t fewest = ceiling(parts * terms, MAX_INDEX_BITS);
    // Groups of 8 teeth down to 4; still smaller ones never win.
    for (size_t groups = fewest; groups <= 2 * fewest; groups++) {
      table_plan plan = {
          .terms = terms,
          .parts = parts,
          .groups = groups,
          .width = 1,
          .columns = ceiling(exponent_bits, parts),
      };
      size_t entries = plan_entries(&plan);
      double total = evaluation_cost(&plan, entries, &cost);
      if (entries <= budget && (best.groups == 0 || total < best_cost)) {
        best = plan;
        best_cost = total;
      }
    }
  }
  return best;
}

/**
 * Fill one group. Entry `i` is the entry with the lowest tooth's digit one smaller, times that
 * tooth: one product an entry.
 */
static bool build_group(unsigned char *entries, const ring *r, const table_plan *plan, size_t count,
                        const residue *teeth, residue *scratch, lookup_buffer *buffer,
                        BN_CTX *ctx) {
  if (!entry_write(entries, count, 0, r, &r->one, buffer)) return false;
  for (size_t index = 1; index < count; index++) {
    size_t tooth = (size_t)__builtin_ctzll(index) / plan->width;
    size_t rest = index - ((size_t)1 << (tooth * plan->width));
    if (rest == 0) {
      if (!entry_write(entries, count, index, r, &teeth[tooth], buffer)) return false;
    } else if (!entry_read(scratch, entries, count, rest, false, r, buffer) ||
               !residue_multiply(r, scratch, scratch, &teeth[tooth], ctx) ||
               !entry_write(entries, count, index, r, scratch, buffer)) {
      return false;
    }
  }
  return true;
}

/** The next tooth: its base itself, or the tooth before, raised to the span of a piece. */
static bool next_tooth(const ring *r, const table_plan *plan, size_t tooth, residue *value,
                       const number_list *bases, size_t from, BN_CTX *ctx) {
  if (tooth % plan->parts == 0) {
    return residue_enter(r, value, number_at(bases, from + tooth / plan->parts), ctx);
  }
  for (size_t i = 0; i < plan->columns * plan->width; i++) {
    if (!residue_multiply(r, value, value, value, ctx)) return false;
  }
  return true;
}

static bool build_groups(power_table *table, const ring *r, const number_list *bases, size_t from,
                         residue *numbers, lookup_buffer *buffer, BN_CTX *ctx) {
  const table_plan *plan = &table->plan;
  residue *teeth = numbers;
  residue *current = &numbers[MAX_INDEX_BITS];
  residue *scratch = &numbers[MAX_INDEX_BITS + 1];
  unsigned char *entries = table->entries;
  bool done = true;
  for (size_t group = 0; done && group < plan->groups; group++) {
    size_t first = first_tooth(plan, group);
    size_t end = first_tooth(plan, group + 1);
    for (size_t tooth = first; done && tooth < end; tooth++) {
      done = next_tooth(r, plan, tooth, current, bases, from, ctx) &&
             residue_copy(r, &teeth[tooth - first], current);
    }
    size_t count = group_entries(plan, group);
    done = done && build_group(entries, r, plan, count, teeth, scratch, buffer, ctx);
    entries += count * entry_blocks(r) * LOOKUP_BLOCK_BYTES;
  }
  return done;
}

bool power_table_build(power_table *table, const ring *r, const table_plan *plan,
                       const number_list *bases, size_t from, BN_CTX *ctx) {
  size_t entry_bytes = entry_blocks(r) * LOOKUP_BLOCK_BYTES;
  *table = (power_table){.plan = *plan, .bytes = plan_entries(plan) * entry_bytes};
  table->entries = OPENSSL_zalloc(table->bytes);

  residue numbers[MAX_INDEX_BITS + 2];
  lookup_buffer buffer;
  bool done = residues_create(r, numbers, MAX_INDEX_BITS + 2) && table->entries != NULL &&
              build_groups(table, r, bases, from, numbers, &buffer, ctx);
  OPENSSL_cleanse(&buffer, sizeof buffer);
  residues_free(numbers, MAX_INDEX_BITS + 2);
  if (!done) power_table_free(table);
  return done;
}

void power_table_free(power_table *table) {
  OPENSSL_clear_free(table->entries, table->bytes);
  *table = (power_table){0};
}

/** What a group's teeth say at one column: the index into the group's table. */
static size_t column_index(const table_plan *plan, size_t group, size_t column,
                           const number_list *exponents, size_t from) {
  size_t first = first_tooth(plan, group);
  size_t end = first_tooth(plan, group + 1);
  size_t index = 0;
  size_t shift = 0;
  for (size_t tooth = first; tooth < end; tooth++) {
    number exponent = number_at(exponents, from + tooth / plan->parts);
    size_t position = ((tooth % plan->parts) * plan->columns + column) * plan->width;
    for (size_t bit = 0; bit < plan->width; bit++) {
      index |= (size_t)number_bit(exponent, position + bit) << shift++;
    }
  }
  return index;
}

bool power_table_evaluate(const power_table *table, const ring *r, residue *result,
                          const number_list *exponents, size_t from, bool secret, BN_CTX *ctx) {
  const table_plan *plan = &table->plan;
  size_t entry_bytes = entry_blocks(r) * LOOKUP_BLOCK_BYTES;
  residue entry;
  lookup_buffer buffer;
  bool done = residues_create(r, &entry, 1);
  bool started = false;

  for (size_t column = plan->columns; done && column-- > 0;) {
    for (size_t i = 0; done && started && i < plan->width; i++) {
      done = residue_multiply(r, result, result, result, ctx);
    }
    const unsigned char *entries = table->entries;
    for (size_t group = 0; done && group < plan->groups; group++) {
      size_t count = group_entries(plan, group);
      size_t index = column_index(plan, group, column, exponents, from);
      // Only public exponents may skip a product; secret ones multiply by one instead.
      if (secret || index != 0) {
        residue *target = started ? &entry : result;
        done = entry_read(target, entries, count, index, secret, r, &buffer) &&
               (!started || residue_multiply(r, result, result, &entry, ctx));
        started = true;
      }
      entries += count * entry_bytes;
    }
  }
  if (done && !started) done = residue_copy(r, result, &r->one);
  OPENSSL_cleanse(&buffer, sizeof buffer);
  residues_free(&entry, 1);
  return done;
}

/** At most `MAX_TERMS` terms at once; the result is in Montgomery form. */
static bool multi_power_once(const ring *r, residue *result, const number_list *bases,
                             const number_list *exponents, size_t from, size_t to, bool secret,
                             BN_CTX *ctx) {
  size_t bits = 1;
  for (size_t i = from; i < to; i++) {
    size_t length = number_bits(number_at(exponents, i));
    if (length > bits) bits = length;
  }
  if (secret) bits = ceiling(bits, SECRET_LENGTH_GRANULE) * SECRET_LENGTH_GRANULE;

  table_plan plan = plan_single_use(r, to - from, bits, secret);
  power_table table;
  if (!power_table_build(&table, r, &plan, bases, from, ctx)) return false;
  bool done = power_table_evaluate(&table, r, result, exponents, from, secret, ctx);
  power_table_free(&table);
  return done;
}

bool multi_power(const ring *r, uint64_t *result, const number_list *bases,
                 const number_list *exponents, size_t from, size_t to, bool secret, BN_CTX *ctx) {
  if (to - from == 1 && (secret || r->split == NULL)) {
    return ring_power(r, result, number_at(bases, from), number_at(exponents, from), secret, ctx);
  }
  residue powers[2];
  bool done = residues_create(r, powers, 2) && residue_copy(r, &powers[0], &r->one);
  for (size_t start = from; done && start < to; start += MAX_TERMS) {
    size_t end = to - start > MAX_TERMS ? start + MAX_TERMS : to;
    done = multi_power_once(r, &powers[1], bases, exponents, start, end, secret, ctx) &&
           residue_multiply(r, &powers[0], &powers[0], &powers[1], ctx);
  }
  done = done && residue_leave(r, result, &powers[0], ctx);
  residues_free(powers, 2);
  return done;
}
