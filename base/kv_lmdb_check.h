/* Is an LMDB file what LMDB takes it for?  Only for base/kv_lmdb.c. */
#ifndef BASE_KV_LMDB_CHECK_H
#define BASE_KV_LMDB_CHECK_H

#include <stddef.h>

/* Reads everything the last commit in `file` reaches, but for large values,
 * whose place and length alone are checked.  To be called while nobody has the
 * store open.  0: LMDB may open it, which includes a file that is missing or
 * empty.  EBADMSG: it may not, and *damage, which the caller frees, says where
 * and what, as in "page 17 is there twice".  Else an errno of the disk.
 * max_bytes: what the file may grow to. */
int kv_lmdb_check(const char *file, size_t max_bytes, char **damage);

#endif
