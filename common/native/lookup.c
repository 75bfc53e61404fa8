#include "lookup.h"

#include <string.h>

/** 16 bytes: what SSE2 and NEON, which every 64-bit machine has, take at once. */
typedef uint64_t lane __attribute__((vector_size(16), aligned(8), may_alias));
#define LANES (LOOKUP_BLOCK_BYTES / sizeof(lane))

size_t entry_blocks(const ring *r) {
  return (r->residue_words * sizeof(uint64_t) + LOOKUP_BLOCK_BYTES - 1) / LOOKUP_BLOCK_BYTES;
}

bool entry_write(unsigned char *table, size_t count, size_t index, const ring *r,
                 const residue *value, lookup_buffer *buffer) {
  size_t blocks = entry_blocks(r);
  // The whole of the last block, zeros above the number.
  memset(buffer->entry, 0, blocks * LOOKUP_BLOCK_BYTES);
  if (!residue_store(r, buffer->entry, value)) return false;
  const unsigned char *bytes = (const unsigned char *)buffer->entry;
  for (size_t block = 0; block < blocks; block++) {
    memcpy(table + (block * count + index) * LOOKUP_BLOCK_BYTES, bytes + block * LOOKUP_BLOCK_BYTES,
           LOOKUP_BLOCK_BYTES);
  }
  return true;
}

static void gather_public(unsigned char *out, const unsigned char *table, size_t count,
                          size_t index, size_t blocks) {
  for (size_t block = 0; block < blocks; block++) {
    memcpy(out + block * LOOKUP_BLOCK_BYTES, table + (block * count + index) * LOOKUP_BLOCK_BYTES,
           LOOKUP_BLOCK_BYTES);
  }
}

/** All ones where `a == b`, else zero; both below 2^63. */
static uint64_t equal_mask(uint64_t a, uint64_t b) { return 0 - (((a ^ b) - 1) >> 63); }

static void gather_secret(lookup_buffer *buffer, const unsigned char *table, size_t count,
                          size_t index, size_t blocks) {
  for (size_t entry = 0; entry < count; entry++) buffer->mask[entry] = equal_mask(entry, index);

  const lane *source = (const lane *)table;
  lane *target = (lane *)buffer->entry;
  for (size_t block = 0; block < blocks; block++) {
    lane kept[LANES] = {{0}};
    for (size_t entry = 0; entry < count; entry++) {
      lane select = {buffer->mask[entry], buffer->mask[entry]};
      kept[0] |= source[0] & select;
      kept[1] |= source[1] & select;
      kept[2] |= source[2] & select;
      kept[3] |= source[3] & select;
      source += LANES;
    }
    for (size_t i = 0; i < LANES; i++) *target++ = kept[i];
  }
}

bool entry_read(residue *value, const unsigned char *table, size_t count, size_t index, bool secret,
                const ring *r, lookup_buffer *buffer) {
  size_t blocks = entry_blocks(r);
  if (!secret) {
    gather_public((unsigned char *)buffer->entry, table, count, index, blocks);
  } else if (r->split != NULL) {
    ifma_gather(buffer->entry, table, count, index, blocks);
  } else {
    gather_secret(buffer, table, count, index, blocks);
  }
  return residue_load(r, value, buffer->entry);
}
