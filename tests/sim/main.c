#include "base/alloc.h"
#include "tests/sim/check.h"
#include "tests/sim/trace.h"
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static struct check *check;
static void turned(struct env *loop, void *arg) { check_turn(check, loop); }

int main(int argc, char **argv)
{
    struct world *w = world_new(argc > 1 ? strtoull(argv[1], NULL, 10) : 1);
    static struct node *nodes[3];
    int n = 3;
    trace_start(w, argc > 2);
    for (int i = 0; i < 3; i++)
        nodes[i] = node_new(
            w, i + 1,
            xasprintf("process.roles=broker,controller\nnode.id=%d\n"
                      "controller.quorum.voters=1@n1:9093,2@n2:9093,3@n3:9093\n"
                      "listeners=PLAINTEXT://n%d:9092,CONTROLLER://n%d:9093\n"
                      "controller.listener.names=CONTROLLER\nlog.dirs=/"
                      "data\nnum.network.threads=2\n",
                      i + 1, i + 1, i + 1));
    struct history_promise promise = {0};
    struct check_options o = {
        .history = history_new(&promise), .nodes = nodes, .nodes_len = &n};
    check = check_new(&o);
    w->turned = turned;
    for (int i = 0; i < 3; i++)
        node_start(nodes[i]);
    clock_t c0 = clock();
    while (world_step(w, 61000000))
        ;
    const char *s = NULL;
    const char *v = history_verdict(o.history, &s);
    printf("verdict %s %s; unhealed: %s\n", v ? v : "-", s ? s : "",
           check_unhealed(check));
    printf("%lld steps, hash %016llx, %.3f s cpu\n", (long long)w->steps,
           (unsigned long long)w->hash,
           (double)(clock() - c0) / CLOCKS_PER_SEC);
    return 0;
}
