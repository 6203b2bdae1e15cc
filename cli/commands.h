/* Everything `leat` can be asked to do.  Each function gets the words from the
 * command's own name on and returns an exit code (cli/ui.h). */
#ifndef CLI_COMMANDS_H
#define CLI_COMMANDS_H

/* Our own way of saying it. */
int cmd_storage(int argc, char **argv);
int cmd_topics(int argc, char **argv);
int cmd_produce(int argc, char **argv);
int cmd_consume(int argc, char **argv);
int cmd_groups(int argc, char **argv);
int cmd_configs(int argc, char **argv);
int cmd_quorum(int argc, char **argv);
int cmd_transactions(int argc, char **argv);
int cmd_broker_versions(int argc, char **argv);

/* Kafka's: the flags and the lines of the scripts of the same name. */
int kafka_storage(int argc, char **argv);
int kafka_topics(int argc, char **argv);
int kafka_console_producer(int argc, char **argv);
int kafka_console_consumer(int argc, char **argv);
int kafka_consumer_groups(int argc, char **argv);
int kafka_configs(int argc, char **argv);
int kafka_metadata_quorum(int argc, char **argv);
int kafka_transactions(int argc, char **argv);
int kafka_broker_api_versions(int argc, char **argv);
int kafka_log_dirs(int argc, char **argv);

#endif
