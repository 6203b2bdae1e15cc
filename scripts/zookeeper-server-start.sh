#!/bin/sh
# There is no ZooKeeper to start, and nothing is missing without it.
echo "No ZooKeeper is needed: the controllers keep the cluster's metadata" \
    "themselves (process.roles in the server's file)."
echo "Go on with the next step:"
echo "  ID=\$(kafka-storage.sh random-uuid)"
echo "  kafka-storage.sh format -t \$ID -c server.properties"
echo "  kafka-server-start.sh server.properties"
