/* CRC-32C (Castagnoli), as record batches v2 use it.  Runs on the processor's
 * instruction where there is one. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Of a whole: crc32c(0, data, len).  Continues: crc32c(previous, more, n). */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The portable table version, for tests and old processors. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
