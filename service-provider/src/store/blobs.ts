import { ciphertextOf, type Ciphertext, type PublicParameters } from '@duoveil/common/bcp';
import { duoveilError } from '@duoveil/common/errors';
import { bytesFromInteger, integerFromBytes } from '@duoveil/common/random';

/** A column of bytes as the driver returns it: SQLite's gives an `ArrayBuffer`, PostgreSQL's a `Buffer`. */
export function bytesOf(column: Uint8Array | ArrayBuffer): Uint8Array {
  return column instanceof ArrayBuffer
    ? new Uint8Array(column)
    : new Uint8Array(column.buffer, column.byteOffset, column.byteLength);
}

/** Ciphertexts one behind the other, each as `A` then `B` at the width of the parameters. */
export function packCiphertexts(
  list: readonly Ciphertext[],
  { elementBytes }: PublicParameters,
): Buffer {
  return Buffer.concat(
    list.flatMap(({ a, b }) => [
      bytesFromInteger(a, elementBytes),
      bytesFromInteger(b, elementBytes),
    ]),
  );
}

/**
 * The inverse of {@link packCiphertexts}. They were validated before they were stored.
 * @throws DuoveilError `STORAGE_FAILED` where the length is wrong: a damaged store.
 */
export function unpackCiphertexts(
  column: Uint8Array | ArrayBuffer,
  { elementBytes }: PublicParameters,
): Ciphertext[] {
  const bytes = bytesOf(column);
  const width = 2 * elementBytes;
  if (bytes.length % width !== 0) {
    throw duoveilError('STORAGE_FAILED', 'the store holds a ciphertext of the wrong length');
  }
  return Array.from({ length: bytes.length / width }, (_, i) => {
    const [start, middle, end] = [i * width, i * width + elementBytes, (i + 1) * width];
    return ciphertextOf(
      integerFromBytes(bytes.subarray(start, middle)),
      integerFromBytes(bytes.subarray(middle, end)),
    );
  });
}
