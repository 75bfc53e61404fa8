/**
 * Tables whose entries can be read without showing, through the cache, which one was read.
 *
 * Reading an entry for a secret index touches every byte of the table and keeps what a mask
 * selects. To do that at the speed of the cache, a table is stored in blocks: the first 64 bytes of
 * all entries, then the next 64 bytes of all, so that what is being gathered stays in registers.
 */
#ifndef DUOVEIL_LOOKUP_H
#define DUOVEIL_LOOKUP_H

#include "ring.h"

#define LOOKUP_BLOCK_BYTES 64
#define LOOKUP_MAX_ENTRIES 256

/**
 * Working memory of look-ups. It has held what was looked up, so its owner wipes it, once, when the
 * last look-up is done: `OPENSSL_cleanse(&buffer, sizeof buffer)`.
 */
typedef struct {
  uint64_t entry[MAX_MODULUS_WORDS + LOOKUP_BLOCK_BYTES / sizeof(uint64_t)];
  uint64_t mask[LOOKUP_MAX_ENTRIES];
} lookup_buffer;

/** Blocks that a number of the ring takes. */
size_t entry_blocks(const ring *r);

/** Store an entry; `count` is the number of entries in the table. */
bool entry_write(unsigned char *table, size_t count, size_t index, const ring *r,
                 const residue *value, lookup_buffer *buffer);
/** Read one, touching all of them if the index is secret. */
bool entry_read(residue *value, const unsigned char *table, size_t count, size_t index, bool secret,
                const ring *r, lookup_buffer *buffer);

#endif
