#include "broker/txn_verify.h"

void txn_verify(struct txn_verify *v) { v->done(v, ERR_NONE); }
