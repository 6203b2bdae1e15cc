#include "tests/unit/broker/consumer_fixture.h"
Test(consumer_sim, x) {}
