/* A node of the cluster under test: a host, its configuration, and the server
 * that runs there, the same one that leatd runs (broker/server.h). */
#ifndef TESTS_SIM_NODE_H
#define TESTS_SIM_NODE_H

#include "broker/server.h"
#include "tests/sim/world.h"

enum { NODE_CLIENT_PORT = 9092, NODE_CONTROLLER_PORT = 9093 };

struct node {
    int32_t id;
    struct world *world;
    struct host *host;
    bool is_broker;
    bool is_controller;
    char *properties; /* its configuration file */
    struct server_config config;

    /* The process that runs now; all NULL between two. */
    struct process *process;
    struct env *main_loop;
    struct server *server;
    struct env_task start, stop, close, finish;
    bool running;  /* server_start() succeeded */
    bool stopping; /* server_ask_stop() is on its way or was called */
    bool closing;

    int64_t epoch;         /* broker epoch, the last one a process knew */
    int64_t crashed_epoch; /* of the last process that just died */
    bool ended;            /* this one closed its logs */
    int starts;
    int failures;       /* starts and runs that ended by themselves */
    bool wanted;        /* should run */
    bool taken_out;     /* its registration was, on the way to `gone` */
    bool gone;          /* has left the cluster for good */
    struct event again; /* the supervisor starts it again */
};

/* `properties` is taken over; keep_entries as in server_config. */
struct node *node_new(struct world *w, int32_t id, char *properties,
                      int64_t keep_entries);
/* Starts a process, unless one runs or the host has no power. */
void node_start(struct node *n);
/* SIGTERM. */
void node_stop(struct node *n);
/* SIGKILL. */
void node_kill(struct node *n);
void node_power_off(struct node *n, enum disk_crash kind);
/* The newest broker epoch that a process of this node knew, or knows; 0 none.
 */
int64_t node_epoch(const struct node *n);
/* Clients are let in. */
bool node_ready(const struct node *n);

#endif
